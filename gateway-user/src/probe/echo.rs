//! The messages of an ICMP echo (RFC 792, RFC 4443 4) as raw sockets give and take them.

use socket2::SockFilter;
use std::net::IpAddr;

/// Type, code, checksum, identifier, sequence number, and a nonce.
const LEN: usize = 16;
const V4_REQUEST: u8 = 8;
const V4_REPLY: u8 = 0;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;
/// The shortest header of IPv4.
const V4_HEADER_LEN: usize = 20;

/// What an echo is known by again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    /// That of this process.
    pub(super) identifier: u16,
    /// Counted up.
    pub(super) sequence: u16,
    /// Nobody guesses it.
    pub(super) nonce: u64,
}

impl Echo {
    /// The request to this address. The kernel fills in the checksum of ICMPv6, whose pseudo-header has the address
    /// that it sends from (RFC 3542 3.1), but not that of ICMP.
    pub(super) fn request(self, to: IpAddr) -> [u8; LEN] {
        let mut message = [0; LEN];
        message[0] = if to.is_ipv4() { V4_REQUEST } else { V6_REQUEST };
        message[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        message[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        message[8..].copy_from_slice(&self.nonce.to_be_bytes());
        if to.is_ipv4() {
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        message
    }

    /// The echo that a datagram from this address answers, if it answers one. Raw sockets give the header of IPv4
    /// with it, but not that of IPv6.
    pub(super) fn of_reply(from: IpAddr, datagram: &[u8]) -> Option<Echo> {
        let (message, reply) = if from.is_ipv4() {
            let header_len = usize::from(datagram.first()? & 0xf) * 4;
            (datagram.get(header_len.max(V4_HEADER_LEN)..)?, V4_REPLY)
        } else {
            (datagram, V6_REPLY)
        };
        let message: &[u8; LEN] = message.try_into().ok()?;
        let [kind, code, _, _, i0, i1, s0, s1, nonce @ ..] = *message;
        (kind == reply && code == 0).then_some(Echo {
            identifier: u16::from_be_bytes([i0, i1]),
            sequence: u16::from_be_bytes([s0, s1]),
            nonce: u64::from_be_bytes(nonce),
        })
    }
}

/// RFC 1071, over an even number of bytes.
fn checksum(message: &[u8]) -> u16 {
    let words = message.as_chunks::<2>().0.iter().map(|&word| u32::from(u16::from_be_bytes(word)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

/// A program in the kernel's classic BPF (Documentation/networking/filter.rst) that lets nothing but echo replies with
/// this identifier come to a raw socket. What else the node is sent by ICMP, and the replies to others who ask, is
/// dropped before it takes the socket's memory; `ICMP_FILTER` knows only types.
pub(super) fn only_replies(v4: bool, identifier: u16) -> Vec<SockFilter> {
    let op = |code: u32, k: u32| SockFilter::new(code as u16, 0, 0, k);
    // Where it is not equal to `k`, to the last instruction, which is `over` instructions on.
    let unless =
        |k: u32, over: u8| SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, over, k);
    let reply = u32::from(if v4 { V4_REPLY } else { V6_REPLY });
    // Where the message begins, into X: behind the header of IPv4, or at once.
    let begin = if v4 {
        op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0)
    } else {
        op(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0)
    };
    vec![
        begin,
        op(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0),
        unless(reply, 3),
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 4),
        unless(u32::from(identifier), 1),
        op(libc::BPF_RET | libc::BPF_K, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    const ECHO: Echo = Echo { identifier: 0x1234, sequence: 0x0102, nonce: 0x1122_3344_5566_7788 };

    #[test]
    fn requests_are_as_the_rfcs_say() {
        let tail = [0x12, 0x34, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
        let v4 = ECHO.request(V4);
        // 0x0800 + 0x1234 + 0x0102 + 0x1122 + 0x3344 + 0x5566 + 0x7788 = 0x12c8a; 0x2c8a + 1; the complement of it.
        assert_eq!(v4[..4], [8, 0, 0xd3, 0x74]);
        assert_eq!(v4[4..], tail);
        let v6 = ECHO.request(V6);
        assert_eq!(v6[..4], [128, 0, 0, 0]);
        assert_eq!(v6[4..], tail);
    }

    #[test]
    fn only_a_whole_reply_is_one() {
        let mut message = ECHO.request(V6);
        assert_eq!(Echo::of_reply(V6, &message), None, "a request");
        message[0] = V6_REPLY;
        assert_eq!(Echo::of_reply(V6, &message), Some(ECHO));
        assert_eq!(Echo::of_reply(V6, &message[..LEN - 1]), None);
        message[1] = 1;
        assert_eq!(Echo::of_reply(V6, &message), None, "of another code");
    }

    #[test]
    fn the_header_of_ipv4_is_passed_over_with_its_options() {
        let mut message = ECHO.request(V4);
        message[0] = V4_REPLY;
        for words in [5_u8, 6, 15] {
            let mut datagram = vec![0; usize::from(words) * 4];
            datagram[0] = 0x40 | words;
            datagram.extend_from_slice(&message);
            assert_eq!(Echo::of_reply(V4, &datagram), Some(ECHO));
        }
        assert_eq!(Echo::of_reply(V4, &[]), None);
        assert_eq!(Echo::of_reply(V4, &[0x4f; 40]), None);
    }
}
