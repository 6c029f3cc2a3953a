//! The MSS option of a SYN (RFC 9293 3.1 and 3.7.1), held to a value.

use super::Parsed;

/// Lowers the option's value in an IP packet that begins a frame's rest; the checksum as RFC 1624, equation 3,
/// has it: right stays right, and wrong wrong.
pub(super) fn lower(ip: &mut [u8], packet: &Parsed, most: u16) {
    const SYN: u8 = 2;
    if packet.protocol != 6 || packet.later_fragment || packet.tcp_flags & SYN == 0 {
        return;
    }
    let Some(start) = transport(ip) else { return };
    let tcp = &mut ip[start..];
    let end = usize::from(tcp[12] >> 4) * 4;
    let mut at = 20;
    while at + 1 < end {
        match (tcp[at], usize::from(tcp[at + 1])) {
            (0, _) => return,
            (1, _) => at += 1,
            (2, length) => {
                if length == 4 && at + 4 <= end {
                    lower_at(tcp, at + 2, most);
                }
                return;
            }
            (_, length) if length < 2 => return,
            (_, length) => at += length,
        }
    }
}

fn lower_at(tcp: &mut [u8], at: usize, most: u16) {
    let before = [tcp[at], tcp[at + 1]];
    if u16::from_be_bytes(before) <= most {
        return;
    }
    let after = most.to_be_bytes();
    tcp[at..at + 2].copy_from_slice(&after);
    // As the words of the sum have it.
    let word = |[first, second]: [u8; 2]| match at % 2 {
        0 => u32::from(first) << 8 | u32::from(second),
        _ => u32::from(second) << 8 | u32::from(first),
    };
    let old = u16::from_be_bytes([tcp[16], tcp[17]]);
    let mut sum = u32::from(!old) + (0xffff - word(before)) + word(after);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    tcp[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Where the transport header of a well-formed packet begins.
fn transport(ip: &[u8]) -> Option<usize> {
    if ip[0] >> 4 == 4 {
        return Some(usize::from(ip[0] & 15) * 4);
    }
    let (mut next, mut at) = (ip[6], 40);
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let units = usize::from(*ip.get(at + 1)?);
        let size = match next {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        next = ip[at];
        at += size;
    }
    Some(at)
}
