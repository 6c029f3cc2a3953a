//! What the kernel's routing says of addresses.

use super::Error;
use super::netlink::{self, Message};
use nix::sys::socket::SockProtocol;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// linux/rtnetlink.h.
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_PREFSRC: u16 = 7;
/// Length of `struct rtmsg`.
const ROUTE_HEADER_LEN: usize = 12;
/// Offset of `rtm_type` in it.
const ROUTE_TYPE: usize = 7;

/// The way from this node to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayTo {
    /// The source that this node gives to what it sends there, if that is known.
    pub source: Option<IpAddr>,
    /// It is an address of this node.
    pub is_own: bool,
}

/// The ways to these addresses, as routing is now. What this node has no way to is left out.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn ways_to(targets: impl Iterator<Item = IpAddr>) -> Result<HashMap<IpAddr, WayTo>, Error> {
    let fail = |source| Error::Netlink { action: "asking for the way to a target", source };
    let mut targets = targets.peekable();
    let mut ways = HashMap::new();
    if targets.peek().is_none() {
        return Ok(ways);
    }
    let socket = netlink::open(SockProtocol::NetlinkRoute).map_err(fail)?;
    for target in targets {
        if let Some(way) = way_to(&socket, target).map_err(fail)? {
            ways.insert(target, way);
        }
    }
    Ok(ways)
}

fn way_to(socket: &OwnedFd, target: IpAddr) -> io::Result<Option<WayTo>> {
    let (family, length) = match target {
        IpAddr::V4(_) => (libc::AF_INET, 32),
        IpAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let mut fixed = [0; ROUTE_HEADER_LEN];
    fixed[..2].copy_from_slice(&[family as u8, length]);
    let ask = Message::new(RTM_GETROUTE, &fixed);
    let ask = match target {
        IpAddr::V4(address) => ask.attribute(RTA_DST, &address.octets()),
        IpAddr::V6(address) => ask.attribute(RTA_DST, &address.octets()),
    };
    match netlink::request(socket, ask) {
        Ok(answers) => Ok(answers.first().map(|_| WayTo {
            source: answers.iter().find_map(|body| preferred(body)),
            is_own: answers.iter().any(|body| body.get(ROUTE_TYPE) == Some(&libc::RTN_LOCAL)),
        })),
        // No route, or one of type unreachable, prohibit or blackhole (net/ipv4/fib_semantics.c, fib_props).
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn preferred(body: &[u8]) -> Option<IpAddr> {
    let (_, bytes) = netlink::attributes(body, ROUTE_HEADER_LEN).find(|(kind, _)| *kind == RTA_PREFSRC)?;
    match bytes.len() {
        4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}
