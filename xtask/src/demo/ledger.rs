//! What each route of `examples/demo.yaml` is expected to do, and nft's independent count of it.
//!
//! nft counts in every namespace, by rules written here and not derived from the policy: what a
//! sender sends, what reaches the gateway's stack with which mark, and what arrives where.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::network::Network;
use crate::shell::program;

/// Where packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Client,
    Backend1,
    Backend2,
}

impl Place {
    pub const ALL: [Place; 3] = [Place::Client, Place::Backend1, Place::Backend2];

    pub const fn name(self) -> &'static str {
        match self {
            Place::Client => "client",
            Place::Backend1 => "backend1",
            Place::Backend2 => "backend2",
        }
    }
}

/// A route, as the demo expects it.
pub struct Expected {
    /// In the policy; `default` for packets that none matches.
    pub route: &'static str,
    /// The same match in nft's words, any of them.
    nft: &'static [&'static str],
    /// Where all of its packets arrive, if anywhere.
    pub arrives: &'static [Place],
    /// Whether they pass through the gateway's stack, and with which mark.
    pub stack_mark: Option<u32>,
}

/// What the backends send. Told apart by direction, not by its packets.
const RETURNS: Expected = Expected {
    route: "returns",
    nft: &["meta l4proto { tcp, udp }"],
    arrives: &[Place::Client],
    stack_mark: Some(0),
};

/// What the client sends, in an order in which the first that matches counts.
const SENT: [Expected; 6] = [
    Expected {
        route: "web",
        nft: &[
            "ip daddr 198.51.100.10 tcp dport { 80, 5201, 8000-8099 }",
            "ip6 daddr 2001:db8:2::10 tcp dport { 80, 5201, 8000-8099 }",
        ],
        arrives: &[Place::Backend1],
        stack_mark: Some(0x10),
    },
    Expected { route: "dns", nft: &["udp dport 53"], arrives: &[Place::Backend2], stack_mark: Some(0x20) },
    Expected { route: "deny-telnet", nft: &["tcp dport 23", "udp dport 23"], arrives: &[], stack_mark: None },
    Expected {
        route: "canary",
        nft: &["ip daddr 198.51.100.20", "ip6 daddr 2001:db8:2::20"],
        arrives: &[Place::Backend2],
        stack_mark: None,
    },
    Expected { route: "reflect", nft: &["udp dport 7"], arrives: &[Place::Client], stack_mark: None },
    Expected {
        route: "default",
        nft: &["meta l4proto { tcp, udp }"],
        arrives: &[Place::Backend1, Place::Backend2],
        stack_mark: Some(0),
    },
];

/// All routes, in the order in which they are shown.
pub fn expected() -> impl Iterator<Item = &'static Expected> {
    SENT.iter().chain(std::iter::once(&RETURNS))
}

/// What nft counted, by name of the counter.
#[derive(Debug, Default)]
pub struct Ledger(BTreeMap<String, u64>);

impl Ledger {
    /// Sent by whoever sends this route's packets.
    pub fn sent(&self, route: &str) -> u64 {
        self.get(&format!("sent.{route}"))
    }
    /// In the gateway's stack, with the expected mark.
    pub fn marked(&self, route: &str) -> u64 {
        self.get(&format!("marked.{route}"))
    }
    /// In the gateway's stack, with another mark.
    pub fn mismarked(&self, route: &str) -> u64 {
        self.get(&format!("mismarked.{route}"))
    }
    /// Arrived there.
    pub fn arrived(&self, route: &str, place: Place) -> u64 {
        self.get(&format!("arrived.{}.{route}", place.name()))
    }
    fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// Starts counting, everywhere.
pub fn start(network: &Network) -> Result<()> {
    let named = || SENT.iter().filter(|expected| expected.route != "default");

    let mut client = Rules::default();
    SENT.iter().for_each(|expected| client.count(Hook::Output, expected, "", "sent"));
    // The default's match would take what the backends send.
    named()
        .chain([&RETURNS])
        .for_each(|expected| client.count(Hook::Prerouting, expected, "", "arrived.client"));
    network.client.nft(&client.text())?;

    for (namespace, place) in [(&network.backend1, Place::Backend1), (&network.backend2, Place::Backend2)] {
        let mut backend = Rules::default();
        backend.count(Hook::Output, &RETURNS, "", "sent");
        let arrived = format!("arrived.{}", place.name());
        SENT.iter().for_each(|expected| backend.count(Hook::Prerouting, expected, "", &arrived));
        namespace.nft(&backend.text())?;
    }

    let mut gateway = Rules { sets: MARKS, ..Rules::default() };
    gateway.prerouting.push_str("    iifname client update @marks { meta mark counter }\n");
    let returning = std::iter::once((&RETURNS, "iifname != client "));
    for (expected, from) in returning.chain(SENT.iter().map(|expected| (expected, "iifname client "))) {
        let mark = expected.stack_mark.unwrap_or(0);
        gateway.count(Hook::Prerouting, expected, &format!("{from}meta mark {mark:#x} "), "marked");
        gateway.count(Hook::Prerouting, expected, from, "mismarked");
    }
    network.gateway.nft(&gateway.text())
}

/// What was counted up to now.
pub fn read(network: &Network) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for namespace in [&network.client, &network.backend1, &network.backend2, &network.gateway] {
        let text = namespace.output(program("nft", ["-j", "list", "counters"]))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).context("nft wrote something that is not JSON")?;
        let objects = json["nftables"].as_array().context("nft named no counters")?;
        for counter in objects.iter().map(|object| &object["counter"]).filter(|counter| counter.is_object()) {
            let name = counter["name"].as_str().context("a counter of nft has no name")?;
            let packets = counter["packets"].as_u64().context("a counter of nft has no number")?;
            *ledger.0.entry(name.to_owned()).or_default() += packets;
        }
    }
    Ok(ledger)
}

/// For people to look at: what the client sent, by the mark that the packets have in the gateway.
const MARKS: &str = "  set marks {\n    type mark\n    flags dynamic\n    size 1024\n  }\n";

#[derive(Clone, Copy)]
enum Hook {
    Output,
    Prerouting,
}

/// An nft table: named counters, and the rules of two chains that count in them.
#[derive(Default)]
struct Rules {
    sets: &'static str,
    counters: BTreeSet<String>,
    output: String,
    prerouting: String,
}

impl Rules {
    /// Counts what a route matches; packets that were counted meet no later rule.
    fn count(&mut self, hook: Hook, expected: &Expected, condition: &str, counter: &str) {
        let name = format!("{counter}.{}", expected.route);
        let chain = match hook {
            Hook::Output => &mut self.output,
            Hook::Prerouting => &mut self.prerouting,
        };
        for packets in expected.nft {
            chain.push_str(&format!("    {condition}{packets} counter name {name} accept\n"));
        }
        self.counters.insert(name);
    }

    fn text(&self) -> String {
        let counters: String = self.counters.iter().map(|name| format!("  counter {name} {{}}\n")).collect();
        // What IPv6 says of its own accord would be counted nowhere but in the kernel.
        let quiet = "icmpv6 type { mld-listener-report, mld2-listener-report, nd-router-solicit } drop";
        format!(
            "table inet demo {{\n{}{counters}  chain output {{\n    type filter hook output priority 0\n    {quiet}\n{}  }}\n  \
             chain prerouting {{\n    type filter hook prerouting priority 0\n{}  }}\n}}\n",
            self.sets, self.output, self.prerouting
        )
    }
}
