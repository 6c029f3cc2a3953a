//! Single values: numbers, names, prefixes, ports, protocols. Text in; a value, or what is wrong
//! and what would be right.

use crate::policy::PortRange;
use crate::policy::protocols::{protocol_names, protocol_number};
use crate::policy::suggest::did_you_mean;
use ipnet::IpNet;
use std::net::IpAddr;

/// What is wrong, and what would be right.
pub(super) struct Wrong {
    pub message: String,
    pub help: String,
}

type Read<T> = Result<T, Wrong>;

fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Read<T> {
    Err(Wrong { message: message.into(), help: help.into() })
}

/// Longest route name, bytes.
const ROUTE_NAME_BYTES_MAX: usize = 64;
/// Longest interface name, bytes (IFNAMSIZ without its final zero).
const INTERFACE_NAME_BYTES_MAX: usize = 15;

pub(super) fn route_name(text: &str) -> Read<String> {
    const HELP: &str = "use 1 to 64 of the characters A-Z a-z 0-9 _ . - and no `-` in front";
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.is_empty() {
        return wrong("a route's name is empty", HELP);
    }
    if text.len() > ROUTE_NAME_BYTES_MAX {
        return wrong(format!("a name of {} bytes is too long", text.len()), HELP);
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => wrong(format!("{c:?} may not stand in a route's name"), HELP),
        None if text.starts_with('-') => wrong("a route's name may not begin with `-`", HELP),
        None => Ok(text.to_owned()),
    }
}

/// The kernel's rules (`dev_valid_name`), and no control characters.
pub(super) fn interface_name(text: &str) -> Read<String> {
    const HELP: &str = "name an interface as `ip link` shows it";
    if text.is_empty() {
        return wrong("an interface's name is empty", HELP);
    }
    if text.len() > INTERFACE_NAME_BYTES_MAX {
        let message = format!("{text:?} is no interface name: {} bytes, 15 are the most", text.len());
        return wrong(message, HELP);
    }
    if text == "." || text == ".." {
        return wrong(format!("{text:?} is no interface name"), HELP);
    }
    match text.chars().find(|c| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control()) {
        Some(c) => wrong(format!("{text:?} is no interface name: {c:?} may not stand in one"), HELP),
        None => Ok(text.to_owned()),
    }
}

/// A mark or priority.
pub(super) fn nonzero_u32(text: &str) -> Read<u32> {
    const HELP: &str = "write 1 to 4294967295, or 0x1 to 0xffffffff";
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if is_decimal(text) => text.parse().ok(),
        None => None,
    };
    match parsed {
        Some(0) => wrong("0 says that nothing is set", "leave the key out, or write 1 to 4294967295"),
        Some(value) => Ok(value),
        None => wrong(format!("{text:?} is not a number of 32 bits"), HELP),
    }
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn prefix(text: &str) -> Read<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return match text.parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address)),
            Err(_) => not_a_prefix(text),
        };
    };
    let Ok(address) = address.parse::<IpAddr>() else { return not_a_prefix(text) };
    let length_max = if address.is_ipv4() { 32 } else { 128 };
    let parsed = if is_decimal(length) { length.parse::<u8>().ok() } else { None };
    let Some(net) = parsed.and_then(|length| IpNet::new(address, length).ok()) else {
        let help = format!("write a length of 0 to {length_max}: {address}/{length_max}");
        return wrong(format!("{length:?} is no prefix length here"), help);
    };
    if net.trunc() != net {
        let help = format!("write {} for the network, or {address} for the one address", net.trunc());
        return wrong(format!("{text} has bits set behind its prefix"), help);
    }
    Ok(net)
}

fn not_a_prefix<T>(text: &str) -> Read<T> {
    let looks_like_a_name = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains([':', '/']);
    let help = if looks_like_a_name {
        "write prefixes, 10.0.0.0/8 or 2001:db8::/32 for example: labels and host names are not supported by this version"
    } else {
        "write an address or a prefix: 192.0.2.1, 10.0.0.0/8, 2001:db8::/32"
    };
    wrong(format!("{text:?} is neither an address nor a prefix"), help)
}

pub(super) fn port_range(text: &str) -> Read<PortRange> {
    const HELP: &str = "write a port (80) or a range (8000-8099), each 0 to 65535";
    let number = |digits: &str| if is_decimal(digits) { digits.parse::<u16>().ok() } else { None };
    let (first, last) =
        text.split_once('-').map_or((text, text), |(first, last)| (first.trim(), last.trim()));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(PortRange { first, last }),
        (Some(first), Some(last)) => {
            wrong(format!("the range {text} runs backwards"), format!("write {last}-{first}"))
        }
        _ => wrong(format!("{text:?} is neither a port nor a range of ports"), HELP),
    }
}

pub(super) fn protocol(text: &str) -> Read<u8> {
    let number = if is_decimal(text) { text.parse().ok() } else { protocol_number(text) };
    match number {
        Some(number) => Ok(number),
        None => wrong(
            format!("{text:?} is no IP protocol that is known here"),
            did_you_mean(text, protocol_names(), || {
                "write a name (tcp, udp, sctp, icmp, icmpv6, gre, esp, ah, …) or a number of 0 to 255"
                    .to_owned()
            }),
        ),
    }
}
