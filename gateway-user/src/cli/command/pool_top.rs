//! `gateway pool top`.

use super::super::args::PoolTopArgs;
use super::super::client::Client;
use super::super::drawing::{Drawing, is_drawn};
use super::super::target::Target;
use super::super::target_rates::compare;
use super::super::{CliError, output, render};
use super::pool::POOLS;
use crate::api::types::{PoolInfo, PoolList};
use std::time::Instant;

/// Draws looks one over the other, or prints one.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, args: &PoolTopArgs) -> Result<(), CliError> {
    let (mut at, mut before) = (Instant::now(), ask(client, args).await?);
    let format = args.output.output;
    if !is_drawn(format, args.once) {
        tokio::time::sleep(args.interval).await;
        let top = compare(&before, &ask(client, args).await?, at.elapsed());
        return output::show(format, &top, |_| render::pool_top::top(&top, usize::MAX));
    }
    let mut drawing = Drawing::begin()?;
    while drawing.pause(args.interval).await {
        let now = ask(client, args).await?;
        let top = compare(&before, &now, at.elapsed());
        (at, before) = (Instant::now(), now);
        let others = render::pool_top::OTHER_LINES + top.panics.len();
        drawing.draw(&render::pool_top::top(&top, drawing.fitting(others)))?;
    }
    Ok(())
}

async fn ask(client: &Client, args: &PoolTopArgs) -> Result<Vec<PoolInfo>, CliError> {
    let pools = Target::new(POOLS);
    if let Some(name) = &args.name {
        return Ok(vec![client.get(&pools.segment(name)).await?]);
    }
    let list: PoolList = client.get(&pools).await?;
    Ok(list.pools)
}
