use super::*;
use crate::packet::flags;
use proptest::prelude::*;

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// 20 bytes of IPv4 from 10.0.0.1 to 10.0.0.2, then `payload`.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

fn judge(frame: &[u8]) -> (Result<Carries, Reason>, Packet) {
    let mut packet = Packet::default();
    (parse(frame, &mut packet), packet)
}

#[test]
fn udp_over_ipv4() {
    let udp = [0x13, 0x88, 0, 53, 0, 8, 0, 0];
    let (result, packet) = judge(&ethernet(eth::IPV4, &ipv4(17, &udp)));
    assert_eq!(result, Ok(Carries::Ip));
    assert_eq!((packet.source_port, packet.port, packet.flags), (5000, 53, flags::HAS_PORTS));
    assert_eq!(packet.source, [0x0a00_0001 << 32, 0]);
}

#[test]
fn each_shorter_frame_has_a_reason() {
    let mut tcp = [0u8; 20];
    tcp[12] = 0x50;
    tcp[13] = 0x02;
    let frame = ethernet(eth::IPV4, &ipv4(6, &tcp));
    assert_eq!(judge(&frame).0, Ok(Carries::Ip));
    for length in 0..frame.len() {
        let expected = match length {
            0..14 => Reason::EthTruncated,
            14..34 => Reason::Ipv4Truncated,
            _ => Reason::Ipv4BeyondFrame,
        };
        assert_eq!(judge(&frame[..length]).0, Err(expected), "{length} bytes");
    }
}

#[test]
fn a_third_tag_is_too_deep_and_two_are_not() {
    let tag = |inner: &[u8]| [&[0x81, 0, 0, 7], inner].concat();
    let two = [&[0u8; 12][..], &tag(&tag(&[0x08, 0x06]))].concat();
    let (result, packet) = judge(&two);
    assert_eq!((result, packet.vlan), (Ok(Carries::Other), 7));
    let three = [&[0u8; 12][..], &tag(&tag(&tag(&[0x08, 0x06])))].concat();
    assert_eq!(judge(&three).0, Err(Reason::VlanDepth));
}

/// Most packets are plain; what would have to be asked about each packet of its flow is not.
#[test]
fn fragments_options_and_other_protocols_are_not_plain() {
    let is_plain = |frame: &[u8]| plain(frame, &mut Packet::default());
    let udp = [0x13, 0x88, 0, 53, 0, 8, 0, 0];
    let whole = ethernet(eth::IPV4, &ipv4(17, &udp));
    assert!(is_plain(&whole));
    let tagged = [&whole[..12], &[0x81, 0, 0, 7], &whole[12..]].concat();
    assert!(is_plain(&tagged));
    let six = |next: u8, payload: &[u8]| {
        let fixed =
            [&[0x60, 0, 0, 0, 0, payload.len() as u8, next, 64][..], &[0x20; 16], &[0x21; 16]].concat();
        ethernet(eth::IPV6, &[&fixed, payload].concat())
    };
    assert!(is_plain(&six(17, &udp)));
    let options = [17, 0, 0, 0, 0, 0, 0, 0];
    for other in [
        // A first fragment, a later one, ICMP, an EtherType that is not IP, a length too many, a hop-by-hop header.
        [&whole[..20], &[0x20, 0], &whole[22..]].concat(),
        [&whole[..20], &[0, 1], &whole[22..]].concat(),
        ethernet(eth::IPV4, &ipv4(1, &[8, 0, 0, 0, 0, 0, 0, 0])),
        ethernet(0x0806, &ipv4(17, &udp)),
        [&whole[..17], &[29], &whole[18..]].concat(),
        six(0, &[&options[..], &udp].concat()),
    ] {
        assert!(!is_plain(&other), "{other:x?}");
    }
}

proptest! {
    /// No bytes whatever make the parser panic, and what it accepts it has read within the frame.
    #[test]
    fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..256), ethertype in 0..4u8) {
        if bytes.len() >= 15 {
            let (value, version) = [(0x0800u16, 0x45), (0x86dd, 0x60), (0x8100, 0), (0x0806, 0)][ethertype as usize];
            bytes[12..14].copy_from_slice(&value.to_be_bytes());
            bytes[14] = version;
        }
        let (result, packet) = judge(&bytes);
        let mut short = Packet::default();
        if plain(&bytes[..], &mut short) {
            prop_assert_eq!((result, packet), (Ok(Carries::Ip), short));
        }
        if result == Ok(Carries::Ip) {
            prop_assert!(packet.family == 4 || packet.family == 6);
            prop_assert!(bytes.len() >= usize::from(packet.l3_offset) + 20);
        }
    }
}
