//! Pools for readers: what the live policy says of them beside what the kernel sent to their targets.

use super::GovernError;
use super::governor::Governor;
use super::health::{self, PoolSight};
use super::live::Live;
use super::targets::{self, Status};
use crate::api::types::{
    Counts, PoolInfo, PoolList, TargetConnections, TargetInfo, TimeoutInfo, TranslationInfo,
};
use crate::compile::target_name;
use crate::dataplane::TrackCounts;
use crate::policy::{
    Action, Dnat, Forward, Mss, OuterSource, Policy, Pool, Target, Timeouts, duration_text, hash_name,
};
use gateway_common::abi::{Count, TargetCount};
use std::collections::HashMap;
use std::net::IpAddr;

const MILLION: u64 = 1_000_000;

impl Governor {
    /// The pools of the live policy; none where no policy is live.
    ///
    /// # Errors
    /// [`GovernError::UnknownPolicy`].
    pub fn pool_list(&self) -> Result<PoolList, GovernError> {
        let Some(live) = self.live() else { return Ok(PoolList { generation: 0, pools: Vec::new() }) };
        let policy = policy_of(&live)?;
        let mut routes = routes_by_pool(policy);
        let connections = self.connections_of(policy.pools.values());
        let info = |(name, pool): (&String, &Pool)| {
            let routes = routes.remove(name.as_str()).unwrap_or_default();
            self.pool_info(&live, (name, pool), routes, connections.as_ref())
        };
        Ok(PoolList { generation: live.generation, pools: policy.pools.iter().map(info).collect() })
    }

    /// A pool of the live policy.
    ///
    /// # Errors
    /// [`GovernError::NoSuchPool`], [`GovernError::UnknownPolicy`].
    pub fn pool(&self, name: &str) -> Result<PoolInfo, GovernError> {
        let none = || GovernError::NoSuchPool { name: name.to_owned() };
        let live = self.live().ok_or_else(none)?;
        let policy = policy_of(&live)?;
        let pool = policy.pools.get(name).ok_or_else(none)?;
        let routes = routes_by_pool(policy).remove(name).unwrap_or_default();
        let connections = self.connections_of(std::iter::once(pool));
        Ok(self.pool_info(&live, (name, pool), routes, connections.as_ref()))
    }

    /// The targets of the live policy and what was counted at them: pool, target, counts. None where what is
    /// live is not known.
    #[must_use]
    pub fn target_counts(&self) -> Vec<(String, String, TargetCounts)> {
        let Some(live) = self.live() else { return Vec::new() };
        let Ok(policy) = policy_of(&live) else { return Vec::new() };
        let each = |(name, pool): (&String, &Pool)| -> Vec<_> {
            let tracks = pool.forward.dnat().is_some();
            let targets = pool.targets.keys();
            targets.map(|target| (name.clone(), target.clone(), self.counted(name, target, tracks))).collect()
        };
        policy.pools.iter().flat_map(each).collect()
    }

    /// The health of the targets of the live policy's pools, where it is looked after. None where what is live is not
    /// known.
    #[must_use]
    pub fn pool_sights(&self) -> Vec<(String, PoolSight)> {
        let Some(live) = self.live() else { return Vec::new() };
        let Ok(policy) = policy_of(&live) else { return Vec::new() };
        let sight = |(name, pool): (&String, &Pool)| Some((name.clone(), self.pool_sight((name, pool))?));
        policy.pools.iter().filter_map(sight).collect()
    }

    /// `connections` are all there are, where some pool's are remembered.
    fn pool_info(
        &self,
        live: &Live,
        (name, pool): (&str, &Pool),
        routes: Vec<String>,
        connections: Option<&TrackCounts>,
    ) -> PoolInfo {
        let mut sight = self.pool_sight((name, pool));
        let panic = sight.as_ref().is_some_and(|sight| sight.panic);
        let check = pool.health.as_ref().and_then(|health| health.check.as_ref());
        // Of a pool of which no target takes packets, every share is 0.
        let share = |place: usize, address: IpAddr| {
            let table = live.pools.as_ref()?.table_for(name, address)?;
            let count = u64::from(*table.counts().get(place)?);
            u32::try_from(count * MILLION / u64::from(table.size().max(1))).ok()
        };
        let target = |(place, (target, of_target)): (usize, (&String, &Target))| {
            let sight = sight.as_mut().and_then(|sight| sight.targets.remove(target));
            TargetInfo {
                share_ppm: share(place, of_target.address),
                health: sight.map(|sight| sight.info(check)),
                ..self.target_info(live, (name, pool), (target, of_target), connections)
            }
        };
        let port = match pool.forward {
            Forward::Gue { port, .. } => Some(port),
            Forward::Ipip { .. } | Forward::L2 | Forward::Dnat(_) => None,
        };
        let sources = pool.forward.source().unwrap_or_default();
        PoolInfo {
            name: name.to_owned(),
            forward: pool.forward.name().to_owned(),
            hash: hash_name(pool.hash).to_owned(),
            port,
            source: OuterSource::iter(&sources).map(|address| address.to_string()).collect(),
            translation: pool.forward.dnat().map(translation),
            mss: pool.mss.map(|mss| match mss {
                Mss::Way => "clamp".to_owned(),
                Mss::AtMost(bytes) => bytes.to_string(),
            }),
            health: pool.health.as_ref().map(|health| health::pool_info(health, panic)),
            routes,
            targets: pool.targets.iter().enumerate().map(target).collect(),
        }
    }

    /// A target without what is known of its pool as a whole: its share of the table, and its health.
    fn target_info(
        &self,
        live: &Live,
        (name, pool): (&str, &Pool),
        (target, of_target): (&str, &Target),
        connections: Option<&TrackCounts>,
    ) -> TargetInfo {
        let tracks = pool.forward.dnat().is_some();
        let open = connections.filter(|_| tracks);
        let counts = self.counted(name, target, tracks);
        let slot = counts.slot.unwrap_or(0);
        let Status { weight, condition, drains_until_unix_ms } =
            targets::status(live, (name, pool), (target, of_target));
        TargetInfo {
            name: target.to_owned(),
            address: of_target.address.to_string(),
            port: of_target.port,
            labels: of_target.labels.clone(),
            weight,
            policy_weight: of_target.weight,
            share_ppm: None,
            state: condition,
            drains_until_unix_ms,
            sent: told(counts.count.sent),
            connections: open.map(|open| TargetConnections {
                open: open.of(slot),
                half_open: open.half_open_of(slot),
                opened: counts.count.opened,
                evicted: counts.count.evicted,
                returned: told(counts.count.returned),
            }),
            health: None,
        }
    }

    fn counted(&self, pool: &str, target: &str, tracks: bool) -> TargetCounts {
        let slot = self.slots().target(&target_name(pool, target));
        let count = slot.map_or_else(TargetCount::default, |slot| self.readers().target_counts(slot));
        TargetCounts { slot, tracks, count }
    }

    /// The connections that there are, where these pools remember any.
    fn connections_of<'p>(&self, mut pools: impl Iterator<Item = &'p Pool>) -> Option<TrackCounts> {
        pools.any(|pool| pool.forward.dnat().is_some()).then(|| self.readers().connection_counts())
    }
}

/// What was counted at a target.
pub struct TargetCounts {
    /// Its slot, if it was ever live.
    pub slot: Option<u32>,
    /// Whether its connections are remembered.
    pub tracks: bool,
    /// Under its name, by any policy.
    pub count: TargetCount,
}

fn told(count: Count) -> Counts {
    Counts { packets: count.packets, bytes: count.bytes }
}

pub(super) fn policy_of(live: &Live) -> Result<&Policy, GovernError> {
    let unknown = GovernError::UnknownPolicy { generation: live.generation };
    live.document.as_ref().map(|document| &document.policy).ok_or(unknown)
}

fn routes_by_pool(policy: &Policy) -> HashMap<&str, Vec<String>> {
    let mut routes: HashMap<&str, Vec<String>> = HashMap::new();
    for route in &policy.routes {
        if let Action::Pool { pool, .. } = &route.action {
            routes.entry(pool).or_default().push(route.name.clone());
        }
    }
    routes
}

fn translation(dnat: &Dnat) -> TranslationInfo {
    let timeouts = Timeouts::KEYS.into_iter().zip(dnat.timeouts.all());
    TranslationInfo {
        sources: dnat.source.is_some(),
        ports: dnat.source.map(|source| source.ports.to_string()),
        timeouts: timeouts
            .map(|(key, time)| TimeoutInfo { key: key.to_owned(), time: duration_text(time) })
            .collect(),
        affinity: dnat.affinity.map(duration_text),
    }
}
