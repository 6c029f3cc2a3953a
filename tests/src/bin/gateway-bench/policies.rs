//! The policies of the benchmarks.

use crate::ways;
use anyhow::{Result, anyhow};
use gateway_user::policy::{
    self, Action, KeyLengths, Label, LabelTest, Limit, Match, Over, Per, Policy, Quantity, Range, Rate,
    Route, RouteLimit, SynCookies, TcpFlags,
};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Destination and port of route `n` of [`routes`].
pub fn target(n: u32) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from(0x0a01_0000 + n), 1024 + (n % 4096) as u16)
}

/// One route that takes every UDP packet to port 80; `rest` is its action and what goes with it.
pub fn one(rest: &str) -> String {
    format!(
        "version: 1\nroutes:\n  - {{name: only, match: {{to: 10.0.0.1, protocol: udp, port: 80}}, {rest}}}\n"
    )
}

/// `count` routes, each with a destination and port of its own.
pub fn routes(count: u32) -> String {
    let mut text = String::from("version: 1\nroutes:\n");
    for n in 0..count {
        let (to, port) = target(n);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  - {{name: r{n}, match: {{to: {to}, protocol: udp, port: {port}}}, action: pass}}"
        );
    }
    text
}

/// One route with `count` scattered source prefixes.
pub fn prefixes(count: u32) -> String {
    let mut text = String::from("version: 1\nroutes:\n  - name: sources\n    match:\n      from:\n");
    for n in 0..count {
        // An odd multiplier visits every /24 once.
        let prefix = Ipv4Addr::from(n.wrapping_mul(0x9E37_79B1) & 0x00ff_ffff).octets();
        // Writing to a string does not fail.
        let _ = writeln!(text, "        - {}.{}.{}.0/24", prefix[1], prefix[2], prefix[3]);
    }
    text.push_str("    action: drop\n");
    text
}

/// A policy's model.
pub fn read(text: &str) -> Result<Policy> {
    policy::parse("bench", text).map_err(|errors| anyhow!("{}", errors.render(false)))
}

/// One route that sends every UDP packet to port 80 to a pool of two targets of this network behind
/// [`crate::ways::Ways`].
pub fn pooled(forward: &str, network: u8, ipv6: bool) -> String {
    let target = |host: u8| match ipv6 {
        true => format!("'{}'", ways::ipv6(network, host)),
        false => ways::ipv4(network, host).to_string(),
    };
    let source = match forward {
        "l2" | "dnat" => String::new(),
        _ => format!("source: [{}, '{}'], ", ways::ipv4(network, 1), ways::ipv6(network, 1)),
    };
    format!(
        "{}pools:\n  p: {{forward: {forward}, {source}targets: [{{name: a, address: {}}}, {{name: b, address: {}}}]}}\n",
        one("action: {pool: p}"),
        target(11),
        target(12),
    )
}

/// No route; everything passes.
pub fn empty() -> Policy {
    Policy::new(Vec::new(), policy::Default::Pass)
}

/// A rate that no benchmark reaches, with a burst for which jiffies are exact enough.
pub const WIDE: Rate = Rate { per_second: 100_000_000, burst: 10_000_000 };
/// The same rate, with a burst for which they are not.
pub const NARROW: Rate = Rate { per_second: 100_000_000, burst: 1_000 };
/// By whole source address.
pub const PER_SOURCE: Per = Per::Source(KeyLengths::ADDRESS);

/// A limit that drops.
pub fn limit(quantity: Quantity, per: Per) -> Limit {
    Limit { quantity, per, over: Over::Drop, ban: None }
}

/// The policy with a limit on packets in its first route.
pub fn limited(mut policy: Policy, per: Per, rate: Rate) -> Policy {
    if let Some(first) = policy.routes.first_mut() {
        first.limits.push(RouteLimit::Own(limit(Quantity::Packets(rate), per)));
    }
    policy
}

/// The policy whose first route writes a DSCP.
pub fn with_dscp(mut policy: Policy) -> Policy {
    if let Some(first) = policy.routes.first_mut() {
        first.dscp = Some(10);
    }
    policy
}

/// What the other routes of a policy use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// What is the same for all packets of a flow, and all that a route can do.
    Flows,
    /// What tells packets of a flow apart, too.
    Packets,
}

/// The policy with other routes behind its own, which its packets do not reach.
pub fn beside(mut policy: Policy, beside: Beside) -> Policy {
    let prefixes = (0..16u8).map(|n| ipnet::Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, n << 4), 28).into());
    let label = Label { prefixes: Arc::new(prefixes.collect()), file: None };
    policy.labels.insert("strangers".to_owned(), label);
    for n in 0..16 {
        let mut route = Route::new(format!("other{n}"), Action::Pass);
        let (to, port) = target(n);
        route.matches = Match {
            labels: Some(LabelTest { names: vec!["strangers".to_owned()], all: false }),
            to: Some(vec![ipnet::Ipv4Net::from(to).into()]),
            protocol: Some(vec![6]),
            port: Some(vec![Range { first: port, last: port }]),
            ..Match::default()
        };
        if beside == Beside::Packets {
            route.matches.tcp_flags = Some(vec![TcpFlags { set: 2, mask: 18 }]);
            route.matches.length = Some(vec![Range { first: 40, last: 400 }]);
        }
        route.dscp = Some(10);
        route.limits.push(RouteLimit::Own(limit(Quantity::Packets(WIDE), PER_SOURCE)));
        route.syn_cookies = Some(SynCookies::Above { per_second: 1_000, hold: Duration::from_secs(10) });
        policy.routes.push(route);
    }
    policy
}
