use super::*;
use crate::packet::ipv4_address;
use proptest::prelude::*;

/// An Ethernet frame with an ICMP error that quotes these bytes.
fn error(six: bool, kind: u8, code: u8, rest: u32, inside: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let length = (8 + inside.len()) as u16;
    if six {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([58, 64]);
        frame.extend([&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9]].concat());
        frame.extend([&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat());
    } else {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((20 + length).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 9, 10, 0, 0, 1]);
    }
    frame.extend([kind, code, 0, 0]);
    frame.extend(rest.to_be_bytes());
    frame.extend(inside);
    frame
}

/// 20 bytes of IPv4 and more options, from 10.0.0.1 to 10.0.0.2.
fn ipv4(words: u8, protocol: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x40 | words, 0, 5, 220, 0, 7];
    packet.extend(offset.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.resize(usize::from(words) * 4, 1);
    packet.extend(payload);
    packet
}

/// IPv6 from 2001:db8::1 to 2001:db8::2.
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 5, 160, next, 64];
    for last in [1, 2] {
        packet.extend([&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[last]].concat());
    }
    packet.extend(payload);
    packet
}

fn read(frame: &[u8]) -> Option<(Packet, Quoted)> {
    let mut packet = Packet::default();
    super::super::parse(frame, &mut packet).ok()?;
    let mut quoted = Quoted::default();
    (quotes(&packet) && parse(frame, &packet, &mut quoted).is_some()).then_some((packet, quoted))
}

const PORTS: [u8; 8] = [0, 80, 0x10, 0x92, 0, 0, 0, 0];

#[test]
fn a_quoted_packet_turned_round_is_its_flows() {
    for (words, protocol) in [(5, 6), (5, 17), (15, 132)] {
        let frame = error(false, 3, 1, 0, &ipv4(words, protocol, 0, &PORTS));
        let (mut packet, quoted) = read(&frame).unwrap();
        assert_eq!((quoted.packet.source_port, quoted.packet.port, quoted.mtu), (80, 4_242, 0));
        assert!(turn(&quoted, &mut packet));
        assert_eq!(
            (packet.source, packet.destination),
            (ipv4_address(0x0a00_0002), ipv4_address(0x0a00_0001))
        );
        assert_eq!((packet.source_port, packet.port, packet.protocol), (4_242, 80, protocol));
        assert_eq!((packet.flags, packet.l4_offset, packet.ttl), (flags::HAS_PORTS, 34, 64));
    }
    let behind_options = [&[17, 1][..], &[0; 14], &PORTS].concat();
    let fragment = [&[60, 0, 0, 1, 0, 0, 0, 9][..], &behind_options].concat();
    for (next, payload) in [(17, PORTS.to_vec()), (60, behind_options), (44, fragment)] {
        let (mut packet, quoted) = read(&error(true, 3, 0, 0, &ipv6(next, &payload))).unwrap();
        assert!(turn(&quoted, &mut packet));
        assert_eq!((packet.source_port, packet.port, packet.protocol), (4_242, 80, 17), "{next}");
        assert_eq!((packet.source[1], packet.destination[1]), (2, 1));
    }
}

#[test]
fn an_echo_and_its_reply_belong_to_who_asked() {
    let turned = |six: bool, kind: u8| {
        let echo = [kind, 0, 0, 0, 0x12, 0x34, 0, 1];
        let frame = if six {
            error(true, 3, 0, 0, &ipv6(58, &echo))
        } else {
            error(false, 11, 0, 0, &ipv4(5, 1, 0, &echo))
        };
        let (mut packet, quoted) = read(&frame).unwrap();
        turn(&quoted, &mut packet).then_some((packet.port, packet.sequence, packet.flags))
    };
    for (six, request, reply) in [(false, 8, 0), (true, 128, 129)] {
        let about = |kind: u8| Some((u16::from(kind) << 8, 0x1234, flags::HAS_ICMP));
        assert_eq!(turned(six, reply), about(request));
        assert_eq!(turned(six, request), about(reply));
    }
    // Timestamp and its reply, router solicitation.
    assert_eq!([(false, 13), (false, 14), (true, 133)].map(|(six, kind)| turned(six, kind)), [None; 3]);
}

#[test]
fn what_is_not_quoted_is_not_known() {
    let whole = ipv4(5, 17, 0, &PORTS);
    for length in 0..whole.len() {
        assert!(read(&error(false, 3, 3, 0, &whole[..length])).is_none(), "{length} bytes");
    }
    let (mut packet, quoted) = read(&error(false, 3, 3, 0, &ipv4(5, 17, 9, &[]))).unwrap();
    assert!(!turn(&quoted, &mut packet), "a later fragment");
    assert!(read(&error(false, 3, 3, 0, &ipv4(4, 17, 0, &PORTS))).is_none());
    assert!(read(&error(false, 3, 3, 0, &ipv6(17, &PORTS))).is_none());
    let deep =
        [&[60, 0][..], &[0; 6], &[60, 0], &[0; 6], &[60, 0], &[0; 6], &[17, 0], &[0; 6], &PORTS].concat();
    assert!(read(&error(true, 1, 0, 0, &ipv6(60, &deep))).is_none());
    for (six, kind) in [(false, 0), (false, 4), (false, 5), (false, 8), (true, 0), (true, 5), (true, 128)] {
        let inside = if six { ipv6(17, &PORTS) } else { whole.clone() };
        assert!(read(&error(six, kind, 0, 0, &inside)).is_none(), "{six} {kind}");
    }
    let (packet, quoted) = read(&error(false, 3, 3, 0, &whole)).unwrap();
    let mut elsewhere = Packet { destination: ipv4_address(0x0a00_0009), ..packet };
    assert!(!turn(&quoted, &mut elsewhere));
}

#[test]
fn an_mtu_is_believed_within_reason() {
    let told = |six: bool, mtu: u32, protocol: u8| {
        let (kind, code) = if six { (2, 0) } else { (3, 4) };
        let inside = if six { ipv6(protocol, &PORTS) } else { ipv4(5, protocol, 0, &PORTS) };
        tells_mtu(&read(&error(six, kind, code, mtu, &inside)).unwrap().1)
    };
    // The packets say that they are 1,500 and 1,480 bytes long.
    assert_eq!([67, 68, 1_499, 1_500].map(|mtu| told(false, mtu, 4)), [false, true, true, false]);
    assert_eq!([1_279, 1_280, 1_479, 1_480].map(|mtu| told(true, mtu, 41)), [false, true, true, false]);
    assert!(told(false, 1_400, 17) && !told(false, 1_400, 6));
    let other = error(false, 3, 3, 1_400, &ipv4(5, 4, 0, &PORTS));
    assert!(!tells_mtu(&read(&other).unwrap().1));
}

proptest! {
    /// No bytes whatever make it panic, and what it reads is within the frame.
    #[test]
    fn any_bytes(inside in proptest::collection::vec(any::<u8>(), 0..160), six: bool, version: bool) {
        let mut inside = inside;
        if version && !inside.is_empty() {
            inside[0] = if six { 0x60 } else { 0x45 };
        }
        let frame = error(six, if six { 1 } else { 3 }, 0, 0, &inside);
        if let Some((mut packet, quoted)) = read(&frame) {
            let least = if six { 40 } else { 20 };
            prop_assert!(inside.len() >= least);
            let before = packet;
            if !turn(&quoted, &mut packet) {
                prop_assert_eq!(packet, before);
            }
        }
    }
}
