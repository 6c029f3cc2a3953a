//! Answers of the control API → text for people. Pure: what is known goes in, text comes out.

pub mod connection;
pub mod event;
pub mod flow;
pub mod health;
pub mod label;
pub mod limit;
pub mod policy;
pub mod pool;
pub mod pool_top;
pub mod route;
pub mod status;
pub mod talker;

/// `198.51.100.7:4242`, `[2001:db8::1]:443`, or the address alone.
fn endpoint(address: &str, port: Option<u16>) -> String {
    match port {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.to_owned(),
    }
}

/// `tcp`, or for ICMP `icmp 8/0`: type and code.
fn protocol(name: &str, icmp_type: Option<u8>, icmp_code: Option<u8>) -> String {
    match (icmp_type, icmp_code) {
        (Some(kind), Some(code)) => format!("{name} {kind}/{code}"),
        _ => name.to_owned(),
    }
}

/// `pass`, `drop: ipv4_checksum`, `redirect eth1`.
fn verdict(verdict: &str, reason: Option<&str>, redirect: Option<&str>) -> String {
    match (reason, redirect) {
        (Some(reason), _) => format!("{verdict}: {reason}"),
        (None, Some(interface)) => format!("{verdict} {interface}"),
        (None, None) => verdict.to_owned(),
    }
}

/// The first few of many names.
fn names(all: &[String]) -> String {
    const SHOWN: usize = 8;
    if all.len() <= SHOWN {
        return all.join(", ");
    }
    format!("{}, and {} more", all[..SHOWN].join(", "), all.len() - SHOWN)
}

/// `1 route`, `2 routes`.
fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}
