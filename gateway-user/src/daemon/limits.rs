//! Limits for readers: what the live policy says of them beside what the kernel counted, and their keys.

use super::GovernError;
use super::clock::monotonic_now_ns;
use super::governor::Governor;
use super::limit_terms::{self, LabelSets, Terms};
use crate::api::types::{
    ForgiveReport, LimitDetail, LimitInfo, LimitKey, LimitList, LimitTables, SynCookieInfo,
};
use crate::compile::{limit_entry, own_limit_name, syn_entry, syn_name};
use crate::dataplane::{ConnectionScan, KeyBucket, KeyScan, Level, LimitTime, LimitsBySlot};
use crate::policy::{Policy, RouteLimit};
use gateway_common::image::LimitEntry;
use gateway_common::limit::{TIME_SHIFT, left};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, PoisonError};

const NS_PER_MS: u64 = 1_000_000;
/// A SYN older than this is not waited for any more, nanoseconds.
const HALF_OPEN_NS: u64 = 60_000_000_000;

/// A limit of the live policy.
#[derive(Debug)]
pub struct LiveLimit {
    /// Its name.
    pub name: String,
    /// As the kernel has it, its slot in it.
    pub entry: LimitEntry,
    /// Routes that name it.
    pub routes: Vec<String>,
    /// What it says.
    pub terms: Terms,
}

/// The limits of the live policy.
#[derive(Debug)]
pub struct LiveLimits {
    /// The named ones, then each route's own and its SYN cookies'.
    pub list: Vec<LiveLimit>,
    /// Their entries by slot.
    pub by_slot: LimitsBySlot,
    /// Names of the policy's labels.
    labels: Vec<String>,
}

/// The clock of limits does not matter to readers: they take the exact one.
const NS_PER_JIFFY: u64 = 1;

impl LiveLimits {
    /// The limits of a policy, with the slots of their names.
    fn new(policy: &Policy, slot: impl Fn(&str) -> u32) -> LiveLimits {
        let mut list = Vec::new();
        let mut places = HashMap::new();
        for (name, limit) in &policy.limits {
            places.insert(name.as_str(), list.len());
            let entry = limit_entry(limit, slot(name), NS_PER_JIFFY);
            list.push(LiveLimit {
                name: name.clone(),
                entry,
                routes: Vec::new(),
                terms: limit_terms::terms(limit),
            });
        }
        for route in &policy.routes {
            for (place, limit) in route.limits.iter().enumerate() {
                match limit {
                    RouteLimit::Named(name) => {
                        let named = places.get(name.as_str()).and_then(|place| list.get_mut(*place));
                        if let Some(named) = named
                            && named.routes.last() != Some(&route.name)
                        {
                            named.routes.push(route.name.clone());
                        }
                    }
                    RouteLimit::Own(limit) => {
                        let name = own_limit_name(route, place);
                        let entry = limit_entry(limit, slot(&name), NS_PER_JIFFY);
                        let terms = limit_terms::terms(limit);
                        list.push(LiveLimit { name, entry, routes: vec![route.name.clone()], terms });
                    }
                }
            }
            if let Some(cookies) = &route.syn_cookies {
                let name = syn_name(route);
                let entry = syn_entry(*cookies, slot(&name), NS_PER_JIFFY);
                let terms = limit_terms::syn_terms(*cookies);
                list.push(LiveLimit { name, entry, routes: vec![route.name.clone()], terms });
            }
        }
        let by_slot = list.iter().map(|limit| limit.entry).collect();
        LiveLimits { list, by_slot, labels: policy.labels.keys().cloned().collect() }
    }
}

impl LiveLimit {
    /// Whether SYN cookies are asked for now, and how long yet; nothing of a limit that is none of them.
    pub fn attack(&self, attack_until: u64, now: LimitTime) -> Option<(bool, Option<u64>)> {
        if !self.terms.is_syn_cookies {
            return None;
        }
        if self.entry.cost == 0 {
            return Some((true, None));
        }
        let left = left(attack_until, now.units(), self.entry.hold) >> TIME_SHIFT;
        Some((left != 0, (left != 0).then_some(left / NS_PER_MS)))
    }
}

/// One walk over the tables of limits.
#[derive(Debug)]
pub struct LimitScan {
    limits: Option<Arc<LiveLimits>>,
    now: LimitTime,
    keys: KeyScan,
    connections: ConnectionScan,
}

impl LimitScan {
    /// The live policy's limits; none where what is live is not known.
    #[must_use]
    pub fn limits(&self) -> &[LiveLimit] {
        self.limits.as_ref().map_or(&[], |limits| &limits.list)
    }

    /// When it was.
    #[must_use]
    pub fn now(&self) -> LimitTime {
        self.now
    }

    /// What it found of keys.
    #[must_use]
    pub fn keys(&self) -> &KeyScan {
        &self.keys
    }

    /// What it found of connections.
    #[must_use]
    pub fn connections(&self) -> &ConnectionScan {
        &self.connections
    }
}

impl Governor {
    /// Walks over the tables of limits. Blocks for some milliseconds.
    #[must_use]
    pub fn scan_limits(&self) -> LimitScan {
        let limits = self.live_limits().ok();
        self.scan(limits, |_| {})
    }

    fn scan(&self, limits: Option<Arc<LiveLimits>>, each: impl FnMut(&KeyBucket)) -> LimitScan {
        let now = LimitTime::from_ns(monotonic_now_ns());
        let none = LimitsBySlot::from_iter([]);
        let by_slot = limits.as_ref().map_or(&none, |limits| &limits.by_slot);
        let keys = self.readers.limit_keys(by_slot, now, each);
        LimitScan { limits, now, keys, connections: self.readers.limit_connections() }
    }

    /// TCP connections that look half open, by counter slot, see [`crate::dataplane::Readers::half_open`].
    ///
    /// # Errors
    /// Where the kernel's clock cannot be read.
    pub fn half_open(&self) -> Result<HashMap<u32, u64>, GovernError> {
        Ok(self.readers.half_open(monotonic_now_ns().saturating_sub(HALF_OPEN_NS))?)
    }

    /// A limit's name by its slot.
    #[must_use]
    pub fn limit_name(&self, slot: u32) -> String {
        self.slots().limit_name(slot).map_or_else(|| format!("(slot {slot})"), str::to_owned)
    }

    /// The limits of the live policy; none where no policy is live.
    ///
    /// # Errors
    /// [`GovernError::UnknownPolicy`].
    pub fn live_limits(&self) -> Result<Arc<LiveLimits>, GovernError> {
        let live = self.live();
        let generation = live.as_ref().map_or(0, |live| live.generation);
        let mut known = self.known_limits().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, limits)) = &*known
            && *of == generation
        {
            return Ok(Arc::clone(limits));
        }
        let slots = self.slots();
        let slot = |name: &str| slots.limit(name).unwrap_or_default();
        let limits = match live.as_ref().map(|live| live.document.as_ref()) {
            None => LiveLimits::new(&Policy::new(Vec::new(), crate::policy::Default::Pass), slot),
            Some(None) => return Err(GovernError::UnknownPolicy { generation }),
            Some(Some(document)) => LiveLimits::new(&document.policy, slot),
        };
        let limits = Arc::new(limits);
        *known = Some((generation, Arc::clone(&limits)));
        Ok(limits)
    }

    /// Limits with their counters. Blocks for as long as it takes to walk over the keys.
    ///
    /// # Errors
    /// [`GovernError::UnknownPolicy`].
    pub fn limit_list(&self) -> Result<LimitList, GovernError> {
        let scan = self.scan(Some(self.live_limits()?), |_| {});
        Ok(LimitList {
            generation: self.generation(),
            limits: scan.limits().iter().map(|limit| self.limit_info(limit, &scan)).collect(),
            tables: self.limit_tables(&scan),
        })
    }

    /// A limit with its counters and the `keys_max` keys that are banned or most in debt. Blocks as above.
    ///
    /// # Errors
    /// [`GovernError::NoSuchLimit`], [`GovernError::UnknownPolicy`].
    pub fn limit(&self, name: &str, keys_max: usize) -> Result<LimitDetail, GovernError> {
        let limits = self.live_limits()?;
        let limit = find(&limits, name)?;
        let mut top: BinaryHeap<Reverse<Ranked>> = BinaryHeap::new();
        let scan = self.scan(Some(Arc::clone(&limits)), |bucket| {
            if bucket.name.slot == limit.entry.slot {
                top.push(Reverse(Ranked(*bucket)));
                if top.len() > keys_max {
                    top.pop();
                }
            }
        });
        let top = top.into_sorted_vec();
        let sets = if limit.terms.spec.per == "label" {
            LabelSets::of(&limits.labels)
        } else {
            LabelSets::default()
        };
        let key = |Reverse(Ranked(bucket)): &Reverse<Ranked>| limit_key(&sets, limit, bucket);
        Ok(LimitDetail { limit: self.limit_info(limit, &scan), top: top.iter().map(key).collect() })
    }

    /// Fills the buckets of keys up and so ends their bans: addresses, or prefixes of the limit's length,
    /// with commas between them. All or none.
    ///
    /// # Errors
    /// [`GovernError::NoSuchLimit`], [`GovernError::InvalidKey`], [`GovernError::UnknownPolicy`].
    pub fn forgive_keys(&self, name: &str, keys: &str) -> Result<ForgiveReport, GovernError> {
        let limits = self.live_limits()?;
        let limit = find(&limits, name)?;
        let invalid =
            |(key, reason): (String, String)| GovernError::InvalidKey { limit: name.to_owned(), key, reason };
        let keys = limit_terms::keys(limit, keys).map_err(invalid)?;
        let now = LimitTime::from_ns(monotonic_now_ns());
        let mut report = ForgiveReport { forgiven: Vec::new(), unknown: Vec::new() };
        for key in keys {
            let done = self.readers.forgive_key(limit.entry.slot, key.family, key.words, now);
            if done {
                tracing::info!(limit = name, key = key.text, "forgiven");
            }
            let list = if done { &mut report.forgiven } else { &mut report.unknown };
            list.push(key.text);
        }
        Ok(report)
    }

    fn limit_info(&self, limit: &LiveLimit, scan: &LimitScan) -> LimitInfo {
        let now = scan.now;
        let slot = limit.entry.slot;
        let counts = self.readers.limit_counts(slot);
        let bucket = self.readers.bucket(slot);
        let sums = scan.keys.sums(slot);
        let level = Level::of_bucket(&bucket, &limit.entry, now);
        let one_bucket = limit.terms.is_one_bucket();
        let counts_open = limit.terms.counts_open();
        let (used, open) = match level {
            Some(Level::Used { permille, .. }) => (permille, 0),
            Some(Level::Open { connections }) => (0, connections),
            _ => (0, 0),
        };
        let syn_cookies =
            limit.attack(bucket.attack_until, now).map(|(under_attack, left_ms)| SynCookieInfo {
                under_attack,
                left_ms,
                sent: counts.cookies,
                proven: counts.proven,
                sources: sums.in_debt,
            });
        let keyed = if limit.terms.is_syn_cookies { Default::default() } else { sums };
        LimitInfo {
            name: limit.name.clone(),
            routes: limit.routes.clone(),
            text: limit.terms.text.clone(),
            terms: limit.terms.spec.clone(),
            admitted: counts.admitted.into(),
            refused: counts.refused.into(),
            used_permille: (one_bucket && !counts_open).then_some(used),
            open: (one_bucket && counts_open).then_some(open),
            keys: keyed.in_debt,
            banned: keyed.banned,
            evicted: counts.evicted,
            bans: counts.bans,
            syn_cookies,
        }
    }

    fn limit_tables(&self, LimitScan { keys, connections, .. }: &LimitScan) -> LimitTables {
        let lost = self.readers.telemetry();
        LimitTables {
            keys: keys.entries,
            keys_in_debt: keys.in_debt,
            keys_max: self.readers.keys_max(),
            keys_evicted: lost.keys_evicted,
            connections: connections.entries,
            connections_max: self.readers.connections_max(),
            connections_refused: lost.connections_refused,
            contended: lost.limit_contended,
        }
    }
}

fn find<'l>(limits: &'l LiveLimits, name: &str) -> Result<&'l LiveLimit, GovernError> {
    let found = limits.list.iter().find(|limit| limit.name == name);
    found.ok_or_else(|| GovernError::NoSuchLimit { name: name.to_owned() })
}

/// A key as it stands in order: the most indebted is the greatest, and of equals the first address.
struct Ranked(KeyBucket);

type Rank = ((bool, u64), Reverse<(u32, [u64; 2])>);

impl Ranked {
    fn rank(&self) -> Rank {
        (self.0.level.rank(), Reverse((self.0.name.family, self.0.name.key)))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

fn limit_key(sets: &LabelSets, limit: &LiveLimit, bucket: &KeyBucket) -> LimitKey {
    let mut key = LimitKey {
        key: limit_terms::key_text(limit, &bucket.name, sets),
        used_permille: None,
        full_in_ms: None,
        open: None,
        banned_ms: None,
        proven_ms: None,
    };
    match bucket.level {
        Level::Used { permille, full_in_ns } => {
            key.used_permille = Some(permille);
            key.full_in_ms = Some(full_in_ns.div_ceil(NS_PER_MS));
        }
        Level::Open { connections } => key.open = Some(connections),
        Level::Banned { left_ns } => key.banned_ms = Some(left_ns.div_ceil(NS_PER_MS)),
        Level::Proven { left_ns } => key.proven_ms = Some(left_ns.div_ceil(NS_PER_MS)),
    }
    key
}
