//! `gateway flow`.

use super::super::args::{FlowListArgs, FlowTopArgs, FlowVerb, Format};
use super::super::client::Client;
use super::super::rates::{Looks, Top};
use super::super::target::Target;
use super::super::{CliError, output, render, units};
use crate::api::types::{Flow, FlowList, FlowOrder};
use tokio::signal::unix::{SignalKind, signal};

/// Flows looked at in each order: those with the most bytes so far and those with the latest packets
/// are where the fastest are.
const LOOKED_AT: u32 = 5_000;
/// Flows shown where no terminal sets the limit.
const SHOWN: usize = 20;
/// Lines of a look that are not flows: totals, an empty one, the heads, and the cursor's.
const OTHER_LINES: usize = 5;

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: FlowVerb) -> Result<(), CliError> {
    match verb {
        FlowVerb::List(args) => list(client, &args).await,
        FlowVerb::Top(args) => top(client, &args).await,
    }
}

async fn list(client: &Client, args: &FlowListArgs) -> Result<(), CliError> {
    let flows = ask(client, args.limit, args.by.into(), args.route.as_deref()).await?;
    let now = units::now_unix_ms();
    output::show(args.output.output, &flows, |wide| render::flow::list(&flows, now, wide))
}

async fn ask(client: &Client, limit: u32, by: FlowOrder, route: Option<&str>) -> Result<FlowList, CliError> {
    let by = match by {
        FlowOrder::Bytes => "bytes",
        FlowOrder::Packets => "packets",
        FlowOrder::Last => "last",
    };
    let target =
        Target::new("/v1/flows").query("limit", Some(limit)).query("by", Some(by)).query("route", route);
    Ok(client.get(&target).await?)
}

async fn top(client: &Client, args: &FlowTopArgs) -> Result<(), CliError> {
    let format = args.output.output;
    let drawn = matches!(format, Format::Table | Format::Wide) && output::to_terminal() && !args.once;
    let mut looks = Looks::default();
    look(client, args, &mut looks).await?;
    if !drawn {
        return print_looks(client, args, &mut looks).await;
    }
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let screen = output::Screen::enter()?;
    screen.draw("looking …\n")?;
    loop {
        tokio::select! {
            () = tokio::time::sleep(args.interval) => {}
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
        let top = look(client, args, &mut looks).await?;
        let limit = args
            .limit
            .map_or_else(|| screen.rows().saturating_sub(OTHER_LINES).max(1), |limit| limit as usize);
        screen.draw(&render::flow::top(&top, limit, format == Format::Wide))?;
    }
}

/// Prints one look, or with JSON and a reader that asked for more than one, a line a look.
async fn print_looks(client: &Client, args: &FlowTopArgs, looks: &mut Looks) -> Result<(), CliError> {
    tokio::time::sleep(args.interval).await;
    let mut top = look(client, args, looks).await?;
    let limit = args.limit.map_or(SHOWN, |limit| limit as usize);
    match args.output.output {
        Format::Table => output::print(&render::flow::top(&top, limit, false)),
        Format::Wide => output::print(&render::flow::top(&top, limit, true)),
        Format::Json => {
            top.flows.truncate(limit);
            output::print(&output::json(&top)?)
        }
        Format::Yaml => {
            top.flows.truncate(limit);
            output::print(&output::yaml(&top)?)
        }
    }
}

async fn look(client: &Client, args: &FlowTopArgs, looks: &mut Looks) -> Result<Top, CliError> {
    let route = args.route.as_deref();
    let latest = ask(client, LOOKED_AT, FlowOrder::Last, route).await?;
    let known = latest.matched;
    let mut flows: Vec<Flow> = latest.flows;
    if known > u64::from(LOOKED_AT) {
        flows.extend(ask(client, LOOKED_AT, FlowOrder::Bytes, route).await?.flows);
    }
    Ok(looks.look(flows, known, units::now_unix_ms(), args.by))
}
