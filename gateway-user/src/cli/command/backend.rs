//! `gateway target`.

use super::super::CliError;
use super::super::args::{NamedTargetArgs, SetTargetArgs, TargetVerb};
use super::super::client::Client;
use super::super::target::Target;
use super::pool::show_one;
use crate::api::types::{PoolInfo, SetTargetState, TargetCondition, TargetWeight};
use hyper::Method;

/// Does what the verb says, and shows the pool.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: TargetVerb) -> Result<(), CliError> {
    let state = |state, for_secs| SetTargetState { state, for_secs };
    let (args, asked) = match verb {
        TargetVerb::Set(args) => return set(client, args).await,
        TargetVerb::Drain(args) => (args.target, state(TargetCondition::Draining, args.span)),
        TargetVerb::Disable(args) => (args, state(TargetCondition::Off, None)),
        TargetVerb::Enable(args) => (args, state(TargetCondition::Taking, None)),
    };
    let pool = client.send(Method::PUT, &path(&args, "state"), &asked).await?;
    show(&args, &pool)
}

async fn set(client: &Client, args: SetTargetArgs) -> Result<(), CliError> {
    let weight = TargetWeight { weight: args.weight };
    let pool = client.send(Method::PUT, &path(&args.target, "weight"), &weight).await?;
    show(&args.target, &pool)
}

fn path(args: &NamedTargetArgs, what: &str) -> Target {
    let path = Target::new("/v1/pools").segment(&args.name.pool).segment("targets");
    path.segment(&args.name.target).segment(what)
}

fn show(args: &NamedTargetArgs, pool: &PoolInfo) -> Result<(), CliError> {
    show_one(args.output.output, pool)
}
