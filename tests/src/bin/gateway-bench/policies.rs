//! The policies of the benchmarks.

use std::fmt::Write;
use std::net::Ipv4Addr;

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
