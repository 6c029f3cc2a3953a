//! The ways to targets that a laboratory has, and the kernel's tables that make them so.

use crate::golden::{INTERFACE, TARGET, TARGET_WITHOUT_XDP};
use crate::model::{Targets, Way};
use crate::netns::Namespace;
use anyhow::Result;
use gateway_user::compile::{PoolTable, PoolTables};
use gateway_user::policy::{Policy, TargetLabels};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the interfaces take, bytes.
const MTU: usize = 1_500;
/// What a narrower way takes, over IPv4 and IPv6.
pub const NARROW: (usize, usize) = (600, 1_280);

/// What outer headers come from where the policy does not say.
pub const SOURCES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xf0, 0, 0, 0, 0, 1))];

/// Networks to which there is no way.
const UNREACHABLE: [&str; 2] = ["198.18.4.0/24", "2001:db8:f4::/64"];

/// Each interface, by its place in the addresses below.
const INTERFACES: [&str; 3] = [INTERFACE, TARGET, TARGET_WITHOUT_XDP];

/// MAC address of an interface.
fn mac_of_interface(place: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0x0f, place as u8]
}

/// MAC address of a neighbour.
fn mac_of_neighbour(place: usize, host: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0x10 + place as u8, host]
}

/// Addresses of a host: behind the interface of this place, or behind a route.
fn hosts(place: usize, host: u8) -> [String; 2] {
    [format!("198.18.{place}.{host}"), format!("2001:db8:f{place}::{host}")]
}

/// Sets up addresses, routes and neighbours in the namespace of a laboratory: behind each interface the
/// hosts 11 and 12, and 99, of which nobody knows the link-layer address; a narrower way to network 3,
/// and none to network 4.
///
/// # Errors
/// If the kernel refuses.
pub fn make(namespace: &Namespace) -> Result<()> {
    namespace.sysctl("net.ipv4.ip_forward", "1")?;
    namespace.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    for (place, interface) in INTERFACES.into_iter().enumerate() {
        namespace.sysctl(&format!("net.ipv6.conf.{interface}.disable_ipv6"), "0")?;
        namespace.mac(interface, mac_of_interface(place))?;
        for (address, length) in hosts(place, 1).iter().zip([24, 64]) {
            namespace.address(interface, &format!("{address}/{length}"))?;
        }
        for host in [11, 12] {
            let mac = crate::packet::show::hex(&mac_of_neighbour(place, host), ":");
            for address in hosts(place, host) {
                let neighbour = [&address, "lladdr", &mac, "dev", interface, "nud", "permanent"];
                namespace.ip(&[&["neigh", "replace"], &neighbour[..]].concat())?;
            }
        }
    }
    let via = hosts(1, 11);
    let mtus = [NARROW.0.to_string(), NARROW.1.to_string()];
    for (network, via, mtu) in [("198.18.3.0/24", &via[0], &mtus[0]), ("2001:db8:f3::/64", &via[1], &mtus[1])]
    {
        namespace.ip(&["route", "add", network, "via", via, "dev", TARGET, "mtu", "lock", mtu])?;
    }
    for network in UNREACHABLE {
        namespace.ip(&["route", "add", "unreachable", network])?;
    }
    Ok(())
}

/// The ways that [`make`] made, by target; to others there is none.
///
/// # Panics
/// Never: its addresses are addresses.
#[must_use]
pub fn ways() -> BTreeMap<IpAddr, Way> {
    let mut ways = BTreeMap::new();
    for (place, interface) in INTERFACES.into_iter().enumerate() {
        for host in [11, 12, 99] {
            let destination = (host != 99).then(|| mac_of_neighbour(place, host));
            let way = Way {
                interface: interface.to_owned(),
                source: mac_of_interface(place),
                destination,
                mtu: destination.map(|_| MTU),
            };
            for address in hosts(place, host) {
                ways.insert(parse(&address), way.clone());
            }
        }
    }
    for (via, (address, mtu)) in hosts(1, 11).iter().zip(hosts(3, 11).iter().zip([NARROW.0, NARROW.1])) {
        let way = ways[&parse(via)].clone();
        ways.insert(parse(address), Way { mtu: Some(mtu), ..way });
    }
    ways
}

/// The ways to hosts of which nothing else is known, by network.
fn networks() -> Vec<(IpNet, Option<Way>)> {
    let ways = ways();
    let mut networks = Vec::new();
    for place in 0..=3 {
        // Of a network behind a router the way is the router's; of one behind an interface nobody is known.
        let known = hosts(place, if place == 3 { 11 } else { 99 });
        for (host, length) in known.iter().zip([24, 64]) {
            networks.push((IpNet::new_assert(parse(host), length).trunc(), ways.get(&parse(host)).cloned()));
        }
    }
    networks.extend(UNREACHABLE.iter().filter_map(|network| Some((network.parse().ok()?, None))));
    networks
}

/// The node's own addresses behind each interface.
fn own() -> Vec<IpAddr> {
    (0..INTERFACES.len()).flat_map(|place| hosts(place, 1)).map(|address| parse(&address)).collect()
}

/// Whether this is one of them.
pub fn is_own(address: IpAddr) -> bool {
    own().contains(&address)
}

/// The addresses there that mean all hosts or any router.
fn of_all() -> Vec<IpAddr> {
    let of = |place: usize| {
        let ipv4 = [0, 255].map(|host| format!("198.18.{place}.{host}"));
        ipv4.into_iter()
            .chain([format!("2001:db8:f{place}::")])
            .map(|address| parse(&address))
            .collect::<Vec<_>>()
    };
    (0..INTERFACES.len()).flat_map(of).collect()
}

/// What the node knows of a policy's pools: their tables are the compiler's.
#[must_use]
pub fn targets(policy: Option<&Policy>) -> Targets {
    let mut targets = Targets {
        ways: ways(),
        networks: networks(),
        own: own(),
        of_all: of_all(),
        sources: SOURCES.to_vec(),
        ..Targets::default()
    };
    let Some(policy) = policy else { return targets };
    let built = PoolTables::build(policy, &PoolTables::default());
    for (name, pool) in &policy.pools {
        let names: Vec<_> = pool.targets.keys().cloned().collect();
        let of_table = |table| -> Vec<String> {
            let elements = (0..PoolTable::size(table)).filter_map(|i| built.element(table, i));
            elements.map(|place| names[usize::from(place)].clone()).collect()
        };
        match built.tables(name, &TargetLabels::new()) {
            [ipv4, ipv6] => {
                targets.tables_of_families.insert(name.clone(), [of_table(ipv4), of_table(ipv6)]);
            }
            tables => {
                let table = tables.first().map(of_table).unwrap_or_default();
                targets.tables.insert(name.clone(), table);
            }
        }
    }
    targets
}

fn parse(address: &str) -> IpAddr {
    address.parse().unwrap_or_else(|_| panic!("{address} is not an address"))
}
