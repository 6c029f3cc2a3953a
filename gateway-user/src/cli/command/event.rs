//! `gateway event`.

use super::super::args::{EventListArgs, EventVerb, FollowArgs, Format};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render, units};
use crate::api::types::{Event, EventList};
use gateway_common::abi::EventKind;

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: EventVerb) -> Result<(), CliError> {
    match verb {
        EventVerb::List(args) => list(client, &args).await,
        EventVerb::Follow(args) => follow(client, &args).await,
    }
}

async fn list(client: &Client, args: &EventListArgs) -> Result<(), CliError> {
    let target = Target::new("/v1/events")
        .query("limit", Some(args.limit))
        .query("alerts", args.alerts.then_some(true));
    let list: EventList = client.get(&target).await?;
    output::show(args.output.output, &list, |wide| {
        list.events.iter().map(|event| render::event::line(event, wide)).collect()
    })?;
    if list.totals.lost > 0 {
        output::complain(&format!(
            "{} events lost: the ring buffer was full",
            units::grouped(list.totals.lost)
        ));
    }
    Ok(())
}

async fn follow(client: &Client, args: &FollowArgs) -> Result<(), CliError> {
    let mut lines = client.follow(&Target::new("/v1/events/follow")).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let event: Event = lines.next().await?.ok_or(CliError::Ended)?;
        if event.missed > 0 {
            output::complain(&format!("{} events missed: reading is too slow", units::grouped(event.missed)));
        }
        if args.alerts && event.kind == EventKind::Packet.name() {
            continue;
        }
        output::print(&match args.output.output {
            Format::Table => render::event::line(&event, false),
            Format::Wide => render::event::line(&event, true),
            Format::Json => output::json_line(&event)?,
            Format::Yaml => format!("---\n{}", output::yaml(&event)?),
        })?;
        left -= 1;
    }
    Ok(())
}
