//! Tracked connections, for readers.

use super::GovernError;
use super::governor::Governor;
use super::names;
use crate::api::types::{ConnectionInfo, ConnectionList, ConnectionQuery, ConnectionState, Counts};
use crate::dataplane::Connection;
use gateway_common::abi::Count;
use gateway_common::track::phase;
use ipnet::IpNet;
use std::collections::{BinaryHeap, HashSet};
use std::net::{IpAddr, SocketAddr};

const NS_PER_MS: u64 = 1_000_000;

/// What a connection must have to be shown.
struct Filter {
    counter: Option<u32>,
    slots: Option<HashSet<u32>>,
    client: Option<IpNet>,
}

impl Filter {
    fn takes(&self, connection: &Connection) -> bool {
        self.counter.is_none_or(|counter| counter == connection.counter)
            && self.slots.as_ref().is_none_or(|slots| slots.contains(&connection.slot))
            && self.client.is_none_or(|client| client.contains(&connection.client.ip()))
    }
}

/// Compared by age: the oldest is the greatest.
struct Aged(Connection);

impl Aged {
    fn key(&self) -> (u64, SocketAddr, SocketAddr) {
        (self.0.age_ns, self.0.client, self.0.service)
    }
}

impl PartialEq for Aged {
    fn eq(&self, other: &Aged) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Aged {}

impl PartialOrd for Aged {
    fn partial_cmp(&self, other: &Aged) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Aged {
    fn cmp(&self, other: &Aged) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Governor {
    /// Tracked connections, those that began last first. Blocks for as long as it takes to walk over all.
    ///
    /// # Errors
    /// [`GovernError::NoSuchRoute`], [`GovernError::NoSuchPool`], [`GovernError::NoSuchTarget`] where there
    /// never was one of that name, and [`GovernError::InvalidClient`].
    pub fn connection_list(
        &self,
        query: &ConnectionQuery,
        limit: usize,
    ) -> Result<ConnectionList, GovernError> {
        let filter = self.filter(query)?;
        let mut shown: BinaryHeap<Aged> = BinaryHeap::with_capacity(limit + 1);
        let (mut matched, mut all) = (0, 0);
        self.readers.connections(|connection| {
            all += 1;
            if filter.takes(connection) {
                matched += 1;
                shown.push(Aged(*connection));
                if shown.len() > limit {
                    shown.pop();
                }
            }
        });
        let connections =
            shown.into_sorted_vec().iter().map(|Aged(connection)| self.connection(connection)).collect();
        Ok(ConnectionList { connections, matched, all, max: self.readers.tracked_max() })
    }

    fn filter(&self, query: &ConnectionQuery) -> Result<Filter, GovernError> {
        let counter = match &query.route {
            Some(name) => {
                Some(self.counter_slot(name).ok_or_else(|| GovernError::NoSuchRoute { name: name.clone() })?)
            }
            None => None,
        };
        let client = match &query.client {
            Some(text) => {
                Some(prefix(text).ok_or_else(|| GovernError::InvalidClient { given: text.clone() })?)
            }
            None => None,
        };
        let slots = match (&query.target, &query.pool) {
            (None, None) => None,
            (Some(target), pool) => {
                let slot = self.slots().target(target);
                let of_pool =
                    pool.as_ref().is_none_or(|pool| target.split('/').next() == Some(pool.as_str()));
                let (of, name) = target.split_once('/').unwrap_or(("", target));
                let none = || GovernError::NoSuchTarget { pool: of.to_owned(), name: name.to_owned() };
                Some(HashSet::from([slot.filter(|_| of_pool).ok_or_else(none)?]))
            }
            (None, Some(pool)) => {
                let slots = self.slots();
                let mine = slots.targets().filter(|(name, _)| name.split('/').next() == Some(pool.as_str()));
                let mine: HashSet<u32> = mine.map(|(_, slot)| slot).collect();
                if mine.is_empty() {
                    return Err(GovernError::NoSuchPool { name: pool.clone() });
                }
                Some(mine)
            }
        };
        Ok(Filter { counter, slots, client })
    }

    fn connection(&self, connection: &Connection) -> ConnectionInfo {
        let slots = self.slots();
        let target_name = slots.target_name(connection.slot).unwrap_or_default().to_owned();
        drop(slots);
        // Where only the destination was translated, the target sees the client itself.
        let source = Some(connection.source).filter(|source| *source != connection.client);
        let port = |end: SocketAddr| Some(end.port()).filter(|port| *port != 0);
        let told = |Count { packets, bytes }: Count| Counts { packets, bytes };
        ConnectionInfo {
            family: if connection.client.is_ipv4() { 4 } else { 6 },
            protocol: names::protocol(connection.protocol),
            client: connection.client.ip().to_string(),
            client_port: port(connection.client),
            service: connection.service.ip().to_string(),
            service_port: port(connection.service),
            target_name,
            target: connection.target.ip().to_string(),
            target_port: port(connection.target),
            source: source.map(|source| source.ip().to_string()),
            source_port: source.and_then(port),
            state: match connection.phase {
                phase::HALF_OPEN => ConnectionState::HalfOpen,
                phase::ANSWERED => ConnectionState::Answered,
                phase::OPEN => ConnectionState::Open,
                _ => ConnectionState::Closing,
            },
            age_ms: connection.age_ns / NS_PER_MS,
            left_ms: connection.left_ns / NS_PER_MS,
            sent: told(connection.sent),
            returned: told(connection.returned),
            route: self.route_name(connection.counter),
        }
    }
}

/// A prefix, or an address.
fn prefix(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(client: &str, age_ns: u64, slot: u32) -> Connection {
        let end = |text: &str| text.parse().unwrap();
        Connection {
            protocol: 6,
            client: end(client),
            service: end("203.0.113.10:80"),
            target: end("10.0.0.11:8080"),
            source: end(client),
            phase: phase::OPEN,
            counter: 16,
            slot,
            age_ns,
            left_ns: 0,
            sent: Count::default(),
            returned: Count::default(),
        }
    }

    #[test]
    fn filters_hold_together() {
        let filter = Filter { counter: Some(16), slots: Some([3, 4].into()), client: prefix("192.0.2.0/24") };
        assert!(filter.takes(&connection("192.0.2.7:4000", 0, 3)));
        assert!(!filter.takes(&connection("192.0.3.7:4000", 0, 3)));
        assert!(!filter.takes(&connection("192.0.2.7:4000", 0, 5)));
        assert!(!filter.takes(&Connection { counter: 17, ..connection("192.0.2.7:4000", 0, 3) }));
        assert_eq!(prefix("2001:db8::1").map(|prefix| prefix.prefix_len()), Some(128));
        assert_eq!(prefix("web"), None);
    }

    #[test]
    fn the_youngest_stay() {
        let mut shown = BinaryHeap::new();
        for age in [5, 1, 9, 3] {
            shown.push(Aged(connection("192.0.2.7:4000", age, 1)));
            if shown.len() > 2 {
                shown.pop();
            }
        }
        let ages: Vec<u64> = shown.into_sorted_vec().iter().map(|aged| aged.0.age_ns).collect();
        assert_eq!(ages, [1, 3]);
    }
}
