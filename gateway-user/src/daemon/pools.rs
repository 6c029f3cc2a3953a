//! Pools for readers: what the live policy says of them beside what the kernel sent to their targets.

use super::GovernError;
use super::governor::Governor;
use super::live::Live;
use crate::api::types::{Counts, PoolInfo, PoolList, TargetInfo};
use crate::compile::{target_name, target_names};
use crate::policy::{Action, Forward, OuterSource, Policy, Pool, hash_name};
use gateway_common::abi::Count;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

const MILLION: u64 = 1_000_000;

/// Weights that targets have in the place of the policy's, by name (`web/v1`).
pub(super) type Weights = Arc<BTreeMap<String, u16>>;

/// Those of a policy's own targets: a target that a policy does not have loses its live weight.
pub(super) fn of_policy(weights: &Weights, policy: &Policy) -> Weights {
    if weights.is_empty() {
        return Arc::clone(weights);
    }
    let names: HashSet<String> = target_names(policy).into_iter().collect();
    let mine = weights.iter().filter(|(name, _)| names.contains(*name));
    Arc::new(mine.map(|(name, weight)| (name.clone(), *weight)).collect())
}

/// A policy whose targets have these weights.
pub(super) fn weighed<'p>(policy: &'p Policy, weights: &Weights) -> Cow<'p, Policy> {
    if weights.is_empty() {
        return Cow::Borrowed(policy);
    }
    let mut policy = policy.clone();
    for (pool, of) in &mut policy.pools {
        for (name, target) in &mut of.targets {
            if let Some(weight) = weights.get(&target_name(pool, name)) {
                target.weight = *weight;
            }
        }
    }
    Cow::Owned(policy)
}

impl Governor {
    /// The pools of the live policy; none where no policy is live.
    ///
    /// # Errors
    /// [`GovernError::UnknownPolicy`].
    pub fn pool_list(&self) -> Result<PoolList, GovernError> {
        let Some(live) = self.live() else { return Ok(PoolList { generation: 0, pools: Vec::new() }) };
        let policy = policy_of(&live)?;
        let mut routes = routes_by_pool(policy);
        let info = |(name, pool): (&String, &Pool)| {
            self.pool_info(&live, name, pool, routes.remove(name.as_str()).unwrap_or_default())
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
        Ok(self.pool_info(&live, name, pool, routes))
    }

    /// Gives a target a weight in the place of the policy's, until another is given, `None` gives the
    /// policy's back, or a policy goes live that has no such target.
    ///
    /// # Errors
    /// [`GovernError::NoSuchPool`], [`GovernError::NoSuchTarget`], [`GovernError::UnknownPolicy`], or where
    /// it cannot go live; nothing has changed then.
    pub fn set_weight(&self, pool: &str, target: &str, weight: Option<u16>) -> Result<PoolInfo, GovernError> {
        let mut writer = self.writer();
        writer.dataplane()?;
        let none = || GovernError::NoSuchPool { name: pool.to_owned() };
        let live = self.live().ok_or_else(none)?;
        let of = policy_of(&live)?.pools.get(pool).ok_or_else(none)?;
        if !of.targets.contains_key(target) {
            let (pool, name) = (pool.to_owned(), target.to_owned());
            return Err(GovernError::NoSuchTarget { pool, name });
        }
        let name = target_name(pool, target);
        let mut weights = BTreeMap::clone(&live.weights);
        let before = match weight {
            Some(weight) => weights.insert(name.clone(), weight),
            None => weights.remove(&name),
        };
        if before != weight {
            self.compile_again(&mut writer, &Live { weights: Arc::new(weights), ..Live::clone(&live) })?;
            tracing::info!(target = name, weight, "weighed");
        }
        drop(writer);
        self.pool(pool)
    }

    /// What was sent to each target of the live policy: pool, target, packets and bytes. None where what is
    /// live is not known.
    #[must_use]
    pub fn target_counts(&self) -> Vec<(String, String, Count)> {
        let Some(live) = self.live() else { return Vec::new() };
        let Ok(policy) = policy_of(&live) else { return Vec::new() };
        let targets =
            policy.pools.iter().flat_map(|(pool, of)| of.targets.keys().map(move |name| (pool, name)));
        targets.map(|(pool, name)| (pool.clone(), name.clone(), self.sent_to(pool, name))).collect()
    }

    fn pool_info(&self, live: &Live, name: &str, pool: &Pool, routes: Vec<String>) -> PoolInfo {
        // Of a pool of which no target takes packets, every share is 0.
        let share = |place: usize, address: IpAddr| {
            let table = live.pools.as_ref()?.table_for(name, address)?;
            let count = u64::from(*table.counts().get(place)?);
            u32::try_from(count * MILLION / u64::from(table.size().max(1))).ok()
        };
        let target = |(place, (target, of_target)): (usize, (&String, &crate::policy::Target))| {
            let Count { packets, bytes } = self.sent_to(name, target);
            TargetInfo {
                name: target.clone(),
                address: of_target.to_string(),
                weight: live.weights.get(&target_name(name, target)).copied().unwrap_or(of_target.weight),
                policy_weight: of_target.weight,
                share_ppm: share(place, of_target.address),
                sent: Counts { packets, bytes },
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
            routes,
            targets: pool.targets.iter().enumerate().map(target).collect(),
        }
    }

    fn sent_to(&self, pool: &str, target: &str) -> Count {
        let slot = self.slots().target(&target_name(pool, target));
        slot.map_or_else(Count::default, |slot| self.readers().target_counts(slot).sent)
    }
}

fn policy_of(live: &Live) -> Result<&Policy, GovernError> {
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
