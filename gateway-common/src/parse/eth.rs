//! Ethernet and VLAN tags (IEEE 802.3, IEEE 802.1Q): 14 bytes, then up to two tags of four.

use super::{Frame, Header};
use crate::packet::Packet;
use crate::reason::Reason;

/// EtherType of IPv4.
pub(super) const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub(super) const IPV6: u16 = 0x86dd;

/// C-VLAN, S-VLAN, and the number that QinQ used before it had one.
#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

/// The EtherType behind the tags, and the offset behind it.
#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(frame: &F, packet: &mut Packet) -> Result<(u16, u32), Reason> {
    let header = frame.header::<14>(0).ok_or(Reason::EthTruncated)?;
    let mut ethertype = header.be16::<12>();
    let mut offset = 14;
    let mut tags = 0;
    if let Some(tci) = frame.stripped_tag() {
        packet.vlan = tci & 0xfff;
        tags = 1;
    }
    if is_tag(ethertype) {
        let tag = frame.header::<4>(offset).ok_or(Reason::VlanTruncated)?;
        if tags == 0 {
            packet.vlan = tag.be16::<0>() & 0xfff;
        }
        ethertype = tag.be16::<2>();
        offset += 4;
        tags += 1;
        if is_tag(ethertype) && tags < 2 {
            let tag = frame.header::<4>(offset).ok_or(Reason::VlanTruncated)?;
            ethertype = tag.be16::<2>();
            offset += 4;
        }
        if is_tag(ethertype) {
            return Err(Reason::VlanDepth);
        }
    }
    packet.l3_offset = offset as u16;
    Ok((ethertype, offset))
}
