//! `gateway target`.

use super::super::args::{NamedTargetArgs, TargetVerb};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render};
use crate::api::types::{PoolInfo, TargetWeight};
use hyper::Method;

/// Does what the verb says, and shows the pool.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: TargetVerb) -> Result<(), CliError> {
    let (args, weight) = match verb {
        TargetVerb::Set(args) => (args.target, Some(args.weight)),
        TargetVerb::Disable(args) => (args, Some(0)),
        TargetVerb::Enable(args) => (args, None),
    };
    let NamedTargetArgs { name, output } = args;
    let path = Target::new("/v1/pools").segment(&name.pool).segment("targets");
    let path = path.segment(&name.target).segment("weight");
    let pool: PoolInfo = match weight {
        Some(weight) => client.send(Method::PUT, &path, &TargetWeight { weight }).await?,
        None => client.call(Method::DELETE, &path).await?,
    };
    output::show(output.output, &pool, |wide| render::pool::one(&pool, None, wide))
}
