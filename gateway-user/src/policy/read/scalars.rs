//! Single values: names, marks, prefixes, addresses, protocols. Text in; a value, or what is wrong and what would
//! be right.

use crate::policy::protocols::{protocol_names, protocol_number};
use crate::policy::suggest::did_you_mean;
use crate::policy::{CheckKind, Mss};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is wrong, and what would be right.
pub(super) struct Wrong {
    pub message: String,
    pub help: String,
}

pub(super) type Read<T> = Result<T, Wrong>;

pub(super) fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Read<T> {
    Err(Wrong { message: message.into(), help: help.into() })
}

/// Longest name of a route, a label, a limit, a pool or a target, bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest interface name, bytes (IFNAMSIZ without its final zero).
const INTERFACE_NAME_BYTES_MAX: usize = 15;
/// Longest name of a host, and longest part between its dots, bytes (RFC 1035 2.3.4).
const HOST_NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

pub(super) fn route_name(text: &str) -> Read<String> {
    const HELP: &str = "use 1 to 64 of the characters A-Z a-z 0-9 _ . - and no `-` in front";
    let name = name(text, "route's name", HELP)?;
    if name.starts_with('-') { wrong("a route's name may not begin with `-`", HELP) } else { Ok(name) }
}

/// Begins with a letter, so that it cannot be taken for an address.
pub(super) fn label_name(text: &str) -> Read<String> {
    letter_first(text, "label", &["any", "all", "none"])
}

pub(super) fn limit_name(text: &str) -> Read<String> {
    letter_first(text, "limit", &["none"])
}

pub(super) fn pool_name(text: &str) -> Read<String> {
    letter_first(text, "pool", &["none"])
}

pub(super) fn target_name(text: &str) -> Read<String> {
    letter_first(text, "target", &[])
}

/// The name of something that is said of targets.
pub(super) fn target_label(text: &str) -> Read<String> {
    letter_first(text, "label", &[])
}

/// What is said of a target.
pub(super) fn target_label_value(text: &str) -> Read<String> {
    name(text, "label's value", "use 1 to 64 of the characters A-Z a-z 0-9 _ . -")
}

/// `reserved` are words that stand in a name's place.
fn letter_first(text: &str, what: &str, reserved: &[&str]) -> Read<String> {
    const HELP: &str = "use a letter, then up to 63 of the characters A-Z a-z 0-9 _ . -";
    let name = name(text, &format!("{what}'s name"), HELP)?;
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return wrong(format!("a {what}'s name begins with a letter"), HELP);
    }
    if reserved.contains(&text) {
        return wrong(format!("`{text}` cannot be a {what}'s name: it has a meaning of its own"), HELP);
    }
    Ok(name)
}

fn name(text: &str, what: &str, help: &str) -> Read<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.is_empty() {
        return wrong(format!("a {what} is empty"), help);
    }
    if text.len() > NAME_BYTES_MAX {
        return wrong(format!("a name of {} bytes is too long", text.len()), help);
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => wrong(format!("{c:?} may not stand in a {what}"), help),
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

pub(super) fn is_decimal(text: &str) -> bool {
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

/// An address that one interface can have, to be reached without naming ours.
pub(super) fn interface_address(text: &str) -> Read<IpAddr> {
    const HELP: &str = "write the address of one interface: 10.0.0.11 or \"2001:db8::11\"";
    let Ok(address) = text.parse::<IpAddr>() else {
        let help = match text.split_once('/') {
            Some((address, _)) if address.parse::<IpAddr>().is_ok() => format!("write {address}"),
            _ if looks_like_a_name(text) => format!("{HELP}; host names are not looked up"),
            _ => HELP.to_owned(),
        };
        return wrong(format!("{text:?} is not an address"), help);
    };
    let what = match address {
        _ if address.is_unspecified() => "no address at all",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        IpAddr::V4(address) if address.octets()[0] == 0 => "an address of \"this network\" (RFC 1122)",
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            return wrong(
                format!("{address} is a link-local address, which means something only with an interface"),
                "write one that is routed to: a unique local one (fd00::/8) will do",
            );
        }
        IpAddr::V6(mapped) => match mapped.to_ipv4_mapped() {
            Some(address) => {
                return wrong(format!("{mapped} is an IPv4 address"), format!("write {address}"));
            }
            None => return Ok(address),
        },
        IpAddr::V4(_) => return Ok(address),
    };
    wrong(format!("{address} is {what}, which no packet is forwarded to or from"), HELP)
}

/// The weight of a target.
pub(super) fn target_weight(text: &str) -> Read<u16> {
    match text.parse() {
        Ok(weight) if is_decimal(text) => Ok(weight),
        _ => wrong(
            format!("{text:?} is not a weight"),
            "write 0 to 65535: a target gets its part of the sum, and with 0 nothing",
        ),
    }
}

/// A UDP port that something listens on.
pub(super) fn udp_port(text: &str) -> Read<u16> {
    match text.parse() {
        Ok(port @ 1..) if is_decimal(text) => Ok(port),
        _ => wrong(format!("{text:?} is not a UDP port"), "write 1 to 65535; GUE's own is 6080"),
    }
}

/// The port that a target listens on.
pub(super) fn target_port(text: &str) -> Read<u16> {
    match text.parse() {
        Ok(port @ 1..) if is_decimal(text) => Ok(port),
        _ => {
            wrong(format!("{text:?} is not a port"), "write 1 to 65535, or leave `port` out to keep packets'")
        }
    }
}

/// The port that a check asks.
pub(super) fn check_port(text: &str) -> Read<u16> {
    match text.parse() {
        Ok(port @ 1..) if is_decimal(text) => Ok(port),
        _ => {
            wrong(format!("{text:?} is not a port"), "write 1 to 65535, or leave `port` out for the target's")
        }
    }
}

/// What an HTTP check asks for: path and query as they are sent (RFC 9112 3.2.1).
pub(super) fn http_path(text: &str) -> Read<String> {
    if !text.starts_with('/') {
        let help =
            if text.contains("://") { "write what follows the host: `/healthz`" } else { "write `/healthz`" };
        return wrong(format!("the path {text:?} does not begin with `/`"), help);
    }
    if text.len() > CheckKind::PATH_BYTES_MAX {
        let message = format!("a path of {} bytes is too long", text.len());
        return wrong(message, format!("{} bytes are the most", CheckKind::PATH_BYTES_MAX));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(c) => {
            let encoded: String =
                c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect();
            wrong(
                format!("{c:?} may not stand in a path"),
                format!("write `{encoded}` for it (RFC 3986 2.1)"),
            )
        }
        None => Ok(text.to_owned()),
    }
}

/// What stands in `Host`: a name or an address, and a port if one follows (RFC 9110 7.2).
pub(super) fn http_host(text: &str) -> Read<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = bracketed.map_or(is_host_name(host), |address| address.parse::<Ipv6Addr>().is_ok());
    if is_host && port.is_none_or(|port| check_port(port).is_ok()) {
        return Ok(text.to_owned());
    }
    let help =
        "write a name or an address, and a port if one follows: www.example.org or \"[2001:db8::1]:8080\"";
    wrong(format!("{text:?} is not a host"), help)
}

/// What stands in Server Name Indication: a name without a dot at its end, no address (RFC 6066 3).
pub(super) fn tls_name(text: &str) -> Read<String> {
    if text.parse::<IpAddr>().is_ok() {
        let help = "leave `name` out, or write a name: www.example.org";
        return wrong(format!("{text} is an address, which TLS asks for by no name (RFC 6066 3)"), help);
    }
    if is_host_name(text) {
        return Ok(text.to_owned());
    }
    let help = match text.strip_suffix('.') {
        Some(name) if is_host_name(name) => format!("write {name}"),
        _ if !text.is_ascii() => "write it as DNS has it, in ASCII: xn--…".to_owned(),
        _ => "write a name: www.example.org".to_owned(),
    };
    wrong(format!("{text:?} is not a host's name"), help)
}

/// The rules of RFC 1123 2.1, and underscores, which some names have all the same.
fn is_host_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.chars().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= HOST_NAME_BYTES_MAX && text.split('.').all(is_label)
}

/// The port of a socket of this node.
pub(super) fn proxy_port(text: &str) -> Read<u16> {
    match text.parse() {
        Ok(port @ 1..) if is_decimal(text) => Ok(port),
        _ => wrong(format!("{text:?} is not a port"), "write the port that the proxy listens on, 1 to 65535"),
    }
}

/// What the MSS of SYNs is held to.
pub(super) fn mss(text: &str) -> Read<Mss> {
    const HELP: &str = "write `clamp` for what fits the way to the target, or 536 to 65535 bytes";
    match text.parse() {
        _ if text == "clamp" => Ok(Mss::Way),
        Ok(bytes @ Mss::LEAST..) if is_decimal(text) => Ok(Mss::AtMost(bytes)),
        Ok(bytes) if is_decimal(text) => {
            wrong(format!("an MSS of {bytes} is less than every host takes (RFC 9293 3.7.1)"), HELP)
        }
        _ => wrong(format!("{text:?} is not an MSS"), HELP),
    }
}

/// Whether the text can only be a name: of a label where they may stand.
pub(super) fn looks_like_a_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains([':', '/'])
}

fn not_a_prefix<T>(text: &str) -> Read<T> {
    let help = if looks_like_a_name(text) {
        "write prefixes, 10.0.0.0/8 or 2001:db8::/32 for example: labels tell who sends and stand in `from`, and host names are not looked up"
    } else {
        "write an address or a prefix: 192.0.2.1, 10.0.0.0/8, 2001:db8::/32"
    };
    wrong(format!("{text:?} is neither an address nor a prefix"), help)
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
