//! `gateway label`.

use super::super::args::{AddMembersArgs, DeleteMembersArgs, LabelVerb, OutputArgs, ShowLabelArgs};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render};
use crate::api::types::{AddMembers, LabelInfo, LabelList, MemberReport};
use hyper::Method;

const LABELS: &str = "/v1/labels";
const MEMBERS: &str = "members";

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: LabelVerb) -> Result<(), CliError> {
    match verb {
        LabelVerb::List(args) => list(client, args).await,
        LabelVerb::Show(args) => show(client, &args).await,
        LabelVerb::Add(args) => add(client, args).await,
        LabelVerb::Delete(args) => delete(client, &args).await,
    }
}

async fn list(client: &Client, args: OutputArgs) -> Result<(), CliError> {
    let list: LabelList = client.get(&Target::new(LABELS)).await?;
    output::show(args.output, &list, |wide| render::label::list(&list, wide))
}

async fn show(client: &Client, args: &ShowLabelArgs) -> Result<(), CliError> {
    let target = Target::new(LABELS).segment(&args.name).query("limit", Some(args.limit));
    let label: LabelInfo = client.get(&target).await?;
    output::show(args.output.output, &label, |wide| render::label::one(&label, wide))
}

async fn add(client: &Client, args: AddMembersArgs) -> Result<(), CliError> {
    let target = Target::new(LABELS).segment(&args.name).segment(MEMBERS);
    let request = AddMembers { prefixes: args.prefixes, ttl_secs: args.ttl };
    let report: MemberReport = client.send(Method::POST, &target, &request).await?;
    output::show(args.output.output, &report, |wide| render::label::changed(&report, wide))
}

async fn delete(client: &Client, args: &DeleteMembersArgs) -> Result<(), CliError> {
    let all = args.all.then_some(true);
    let target = Target::new(LABELS).segment(&args.name).segment(MEMBERS).query("all", all);
    let target = args.prefixes.iter().fold(target, |target, prefix| target.query("prefix", Some(prefix)));
    let report: MemberReport = client.call(Method::DELETE, &target).await?;
    output::show(args.output.output, &report, |wide| render::label::changed(&report, wide))
}
