//! `gateway detach`.

use super::super::args::DetachArgs;
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output};
use crate::api::types::{DetachReport, Status};
use hyper::Method;
use std::io::{self, IsTerminal};

/// Takes the programs off, after asking where somebody is there to answer.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, args: &DetachArgs) -> Result<(), CliError> {
    if !args.yes && io::stdin().is_terminal() && !confirmed(client).await? {
        return Err(CliError::Declined { what: "not detached" });
    }
    let report: DetachReport = client.call(Method::POST, &Target::new("/v1/detach")).await?;
    output::print(&if report.interfaces.is_empty() {
        "detached; the daemon ends\n".to_owned()
    } else {
        format!("no longer governed: {}; the daemon ends\n", report.interfaces.join(", "))
    })
}

async fn confirmed(client: &Client) -> Result<bool, CliError> {
    let status: Status = client.get(&Target::new("/v1/status")).await?;
    let governed: Vec<&str> = status
        .interfaces
        .iter()
        .filter(|interface| interface.governed)
        .map(|interface| interface.name.as_str())
        .collect();
    output::print(&format!("packets on {} will flow ungoverned. Detach? [y/N] ", governed.join(", ")))?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|source| CliError::Read { path: "the answer".into(), source })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
