//! `gateway pool`.

use super::super::args::{Format, PoolVerb, ShowPoolArgs};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render, units};
use super::pool_top;
use crate::api::types::{Counts, PoolInfo, PoolList, TargetInfo};
use serde::Serialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Where pools are asked for.
pub const POOLS: &str = "/v1/pools";
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A pool, and how fast packets go to its targets.
#[derive(Debug, PartialEq, Serialize)]
pub struct Rated {
    /// The pool.
    #[serde(flatten)]
    pub pool: PoolInfo,
    /// Of each target, in the pool's order.
    pub rates: Vec<TargetRate>,
}

/// How fast packets go to a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetRate {
    /// Its name.
    pub target: String,
    /// Packets a second.
    pub packets_per_sec: f64,
    /// Bytes a second.
    pub bytes_per_sec: f64,
}

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: PoolVerb) -> Result<(), CliError> {
    match verb {
        PoolVerb::List(args) => {
            let pools: PoolList = client.get(&Target::new(POOLS)).await?;
            output::show(args.output, &pools, |wide| render::pool::list(&pools, wide))
        }
        PoolVerb::Show(args) => show(client, &args).await,
        PoolVerb::Top(args) => pool_top::run(client, &args).await,
    }
}

async fn show(client: &Client, args: &ShowPoolArgs) -> Result<(), CliError> {
    let target = Target::new(POOLS).segment(&args.name);
    let start = Instant::now();
    let before: PoolInfo = client.get(&target).await?;
    if !args.rate {
        return show_one(args.output.output, &before);
    }
    tokio::time::sleep(LOOK).await;
    let pool: PoolInfo = client.get(&target).await?;
    let rates = rates(&before.targets, &pool.targets, start.elapsed());
    let rated = Rated { pool, rates };
    output::show(args.output.output, &rated, |wide| {
        render::pool::one(&rated.pool, Some(&rated.rates), units::now_unix_ms(), wide)
    })
}

/// Shows a pool without rates.
///
/// # Errors
/// As [`output::show`].
pub fn show_one(format: Format, pool: &PoolInfo) -> Result<(), CliError> {
    output::show(format, pool, |wide| render::pool::one(pool, None, units::now_unix_ms(), wide))
}

/// What was sent between two looks; a target that was not there before has no rate yet.
fn rates(before: &[TargetInfo], now: &[TargetInfo], elapsed: Duration) -> Vec<TargetRate> {
    let before: HashMap<&str, Counts> =
        before.iter().map(|target| (target.name.as_str(), target.sent)).collect();
    let rate = |target: &TargetInfo| {
        let then = before.get(target.name.as_str()).copied().unwrap_or(target.sent);
        let per_sec = |now: u64, then: u64| now.saturating_sub(then) as f64 / elapsed.as_secs_f64();
        TargetRate {
            target: target.name.clone(),
            packets_per_sec: per_sec(target.sent.packets, then.packets),
            bytes_per_sec: per_sec(target.sent.bytes, then.bytes),
        }
    };
    now.iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::TargetCondition;
    use std::collections::BTreeMap;

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let target = |name: &str, packets| TargetInfo {
            name: name.into(),
            address: "10.0.0.11".into(),
            weight: 1,
            policy_weight: 1,
            share_ppm: None,
            state: TargetCondition::Taking,
            drains_until_unix_ms: None,
            port: None,
            labels: BTreeMap::new(),
            sent: Counts { packets, bytes: packets * 100 },
            connections: None,
            health: None,
        };
        let before = [target("v1", 1_000), target("v2", 5)];
        let now = [target("v1", 3_000), target("v2", 5), target("v3", 70)];
        let rates = rates(&before, &now, Duration::from_secs(2));
        let speeds: Vec<(f64, f64)> =
            rates.iter().map(|rate| (rate.packets_per_sec, rate.bytes_per_sec)).collect();
        assert_eq!(speeds, [(1_000.0, 100_000.0), (0.0, 0.0), (0.0, 0.0)]);
    }
}
