//! `gateway connection`.

use super::super::args::{ConnectionListArgs, ConnectionVerb};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render};
use crate::api::types::ConnectionList;

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: ConnectionVerb) -> Result<(), CliError> {
    let ConnectionVerb::List(args) = verb;
    let ConnectionListArgs { route, pool, target: to, client: of, limit, output } = args;
    let target = Target::new("/v1/connections").query("limit", Some(limit)).query("route", route);
    let target = target.query("pool", pool).query("target", to).query("client", of);
    let list: ConnectionList = client.get(&target).await?;
    output::show(output.output, &list, |wide| render::connection::list(&list, wide))
}
