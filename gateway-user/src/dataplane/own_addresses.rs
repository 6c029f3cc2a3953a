//! The addresses of interfaces, from which the kernel side tells senders what went wrong.

use super::netlink::{self, Message};
use super::shape::stored;
use super::{Dataplane, Error};
use gateway_common::abi::{OwnAddresses, maps};
use gateway_common::packet::address_of;
use nix::sys::socket::SockProtocol;
use std::collections::HashMap;
use std::net::IpAddr;

/// linux/rtnetlink.h and linux/if_addr.h.
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
/// Length of `struct ifaddrmsg`.
const ADDRESS_HEADER_LEN: usize = 8;
/// `RT_SCOPE_UNIVERSE`.
const SCOPE_GLOBAL: u8 = 0;
/// Addresses that are not to be used: not the first of their network (of IPv6: temporary), duplicate,
/// deprecated, or not yet known to be nobody else's.
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;
const UNFIT: u32 = IFA_F_SECONDARY | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE;

/// The first fit global address of each family, by interface index.
pub(super) fn own_addresses() -> Result<HashMap<u32, OwnAddresses>, Error> {
    let fail = |source| Error::Netlink { action: "asking for the interfaces' addresses", source };
    let socket = netlink::open(SockProtocol::NetlinkRoute).map_err(fail)?;
    let ask = Message::new(RTM_GETADDR, &[0; ADDRESS_HEADER_LEN]).dump();
    let mut found: HashMap<u32, OwnAddresses> = HashMap::new();
    for body in netlink::request(&socket, ask).map_err(fail)? {
        let Some((ifindex, address)) = address(&body) else { continue };
        let own = found.entry(ifindex).or_default();
        let place = if address.is_ipv4() { &mut own.ipv4 } else { &mut own.ipv6 };
        if *place == [0; 2] {
            *place = address_of(address);
        }
    }
    Ok(found)
}

/// The interface and the address of a message, if that is fit.
fn address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let [_, _, flags, scope, ..] = *body else { return None };
    let ifindex = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
    let attribute = |wanted: u16| {
        netlink::attributes(body, ADDRESS_HEADER_LEN)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let flags = match attribute(IFA_FLAGS) {
        Some(value) => u32::from_ne_bytes(*value.first_chunk()?),
        None => u32::from(flags),
    };
    if scope != SCOPE_GLOBAL || flags & UNFIT != 0 {
        return None;
    }
    // Of a link between two the one is its own, the other the peer's.
    let bytes = attribute(IFA_LOCAL).or_else(|| attribute(IFA_ADDRESS))?;
    let address = match bytes.len() {
        4 => IpAddr::from(*bytes.first_chunk::<4>()?),
        16 => IpAddr::from(*bytes.first_chunk::<16>()?),
        _ => return None,
    };
    Some((ifindex, address))
}

impl Dataplane {
    /// Writes the addresses of an interface into its slot.
    pub(super) fn write_own_addresses(
        &self,
        slot: u8,
        ifindex: u32,
        all: &HashMap<u32, OwnAddresses>,
    ) -> Result<(), Error> {
        let own = all.get(&ifindex).copied().unwrap_or_default();
        if self.own_addresses.load(u32::from(slot)) == Some(own) {
            return Ok(());
        }
        stored(maps::OWN_ADDRESSES, self.own_addresses.store(u32::from(slot), &own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scope: u8, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![libc::AF_INET as u8, 24, flags as u8, scope, 7, 0, 0, 0];
        body.extend(Message::nested(attributes));
        body.extend(Message::nested(&[(IFA_FLAGS, &flags.to_ne_bytes())]));
        body
    }

    #[test]
    fn an_address_is_fit_if_it_is_global_and_nothing_speaks_against_it() {
        let local: &[(u16, &[u8])] = &[(IFA_ADDRESS, &[10, 0, 0, 2]), (IFA_LOCAL, &[10, 0, 0, 1])];
        assert_eq!(address(&message(0, 0x80, local)), Some((7, IpAddr::from([10, 0, 0, 1]))));
        assert_eq!(address(&message(253, 0x80, local)), None);
        for flag in [IFA_F_SECONDARY, IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE] {
            assert_eq!(address(&message(0, flag, local)), None, "{flag:#x}");
        }
        let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(address(&message(0, 0, &[(IFA_ADDRESS, &six)])), Some((7, IpAddr::from(six))));
        assert_eq!(address(&message(0, 0, &[(IFA_ADDRESS, &six[..9])])), None);
        assert_eq!(address(&[2, 24, 0, 0, 7]), None);
    }
}
