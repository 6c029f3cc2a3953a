//! `gateway flow`.

use super::super::args::{FlowListArgs, FlowTopArgs, FlowVerb, Format, RateColumn};
use super::super::client::Client;
use super::super::drawing::{Drawing, is_drawn};
use super::super::rates::{Looks, Top};
use super::super::target::Target;
use super::super::{CliError, output, render, units};
use crate::api::types::{Flow, FlowList, FlowOrder, TalkerList};

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
        FlowVerb::Top(args) if args.sources => sources(client, &args).await,
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
    let mut looks = Looks::default();
    look(client, args, &mut looks).await?;
    if !is_drawn(args.output.output, args.once) {
        return print_looks(client, args, &mut looks).await;
    }
    let mut drawing = Drawing::begin()?;
    while drawing.pause(args.interval).await {
        let top = look(client, args, &mut looks).await?;
        let wide = args.output.output == Format::Wide;
        drawing.draw(&render::flow::top(&top, drawn(&drawing, args), wide))?;
    }
    Ok(())
}

async fn sources(client: &Client, args: &FlowTopArgs) -> Result<(), CliError> {
    if !is_drawn(args.output.output, args.once) {
        let limit = args.limit.map_or(SHOWN, |limit| limit as usize);
        let talkers = ask_talkers(client, args, limit).await?;
        return output::show(args.output.output, &talkers, |wide| render::talker::top(&talkers, limit, wide));
    }
    let mut drawing = Drawing::begin()?;
    loop {
        let limit = drawn(&drawing, args);
        let talkers = ask_talkers(client, args, limit).await?;
        drawing.draw(&render::talker::top(&talkers, limit, args.output.output == Format::Wide))?;
        if !drawing.pause(args.interval).await {
            return Ok(());
        }
    }
}

async fn ask_talkers(client: &Client, args: &FlowTopArgs, limit: usize) -> Result<TalkerList, CliError> {
    let by = match args.by {
        RateColumn::Bytes => "bytes",
        RateColumn::Packets => "packets",
    };
    let target = Target::new("/v1/talkers")
        .query("limit", Some(limit))
        .query("by", Some(by))
        .query("group", args.networks.then_some("network"));
    Ok(client.get(&target).await?)
}

/// How many flows are drawn.
fn drawn(drawing: &Drawing, args: &FlowTopArgs) -> usize {
    args.limit.map_or_else(|| drawing.fitting(OTHER_LINES), |limit| limit as usize)
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
