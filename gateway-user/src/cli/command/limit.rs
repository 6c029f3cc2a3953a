//! `gateway limit`.

use super::super::args::{LimitVerb, UnbanArgs};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render};
use crate::api::types::{ForgiveReport, LimitDetail, LimitList};
use hyper::Method;

const LIMITS: &str = "/v1/limits";

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: LimitVerb) -> Result<(), CliError> {
    match verb {
        LimitVerb::List(args) => {
            let limits: LimitList = client.get(&Target::new(LIMITS)).await?;
            output::show(args.output, &limits, |wide| render::limit::list(&limits, wide))
        }
        LimitVerb::Show(args) => {
            let target = Target::new(LIMITS).segment(&args.name).query("limit", Some(args.limit));
            let limit: LimitDetail = client.get(&target).await?;
            output::show(args.output.output, &limit, |wide| render::limit::one(&limit, wide))
        }
        LimitVerb::Unban(args) => unban(client, &args).await,
    }
}

async fn unban(client: &Client, args: &UnbanArgs) -> Result<(), CliError> {
    let target =
        Target::new(LIMITS).segment(&args.name).segment("keys").query("key", Some(args.keys.join(",")));
    let report: ForgiveReport = client.call(Method::DELETE, &target).await?;
    output::show(args.output.output, &report, |_| render::limit::forgiven(&report))
}
