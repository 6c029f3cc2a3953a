//! `gateway status`.

use super::super::args::OutputArgs;
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render, units};
use crate::api::types::{InterfaceList, Status};

/// Shows the node at a glance.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, args: OutputArgs) -> Result<(), CliError> {
    let status: Status = client.get(&Target::new("/v1/status")).await?;
    let InterfaceList { interfaces } = client.get(&Target::new("/v1/interfaces")).await?;
    // One document: the status, its interfaces with their counters.
    let mut whole = serde_json::to_value(&status).map_err(CliError::format)?;
    whole["interfaces"] = serde_json::to_value(&interfaces).map_err(CliError::format)?;
    let now = units::now_unix_ms() / 1000;
    output::show(args.output, &whole, |wide| render::status::status(&status, &interfaces, now, wide))
}
