//! The builder against etherparse, which shares no code with it.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use gateway_tests::packet::{Extension, Frame, TPID_SERVICE};

fn transport_checksum_holds(bytes: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(bytes).expect("etherparse refuses the frame");
    let (Some(net), Some(transport)) = (packet.net, packet.transport) else { panic!("no IP or transport") };
    match (net, transport) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header();
            assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
            tcp.calc_checksum_ipv4(header.source(), header.destination()).expect("length") == tcp.checksum()
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header();
            tcp.calc_checksum_ipv6(header.source(), header.destination()).expect("length") == tcp.checksum()
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let want =
                udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), udp.payload()).expect("length");
            want == udp.checksum()
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let want =
                udp.to_header().calc_checksum_ipv6(&ip.header().to_header(), udp.payload()).expect("length");
            want == udp.checksum()
        }
        (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            icmp.is_checksum_valid(ip.header().source(), ip.header().destination())
        }
        (_, other) => panic!("unexpected {other:?}"),
    }
}

#[test]
fn checksums_are_right() {
    for (source, destination) in [("198.51.100.7", "203.0.113.10"), ("2001:db8::1", "2001:db8:1::2")] {
        for payload in [0, 1, 7, 100] {
            let frame = Frame::new().ip(source, destination).payload(payload);
            assert!(transport_checksum_holds(&frame.clone().tcp(1, 65535).bytes()));
            assert!(transport_checksum_holds(&frame.clone().tcp(1, 2).tcp_with(0x12, 9).bytes()));
            assert!(transport_checksum_holds(&frame.udp(53, 1024).bytes()));
        }
    }
    assert!(transport_checksum_holds(&Frame::new().ipv6("fe80::1", "fe80::2").icmpv6(128, 0).bytes()));
}

#[test]
fn tags_options_and_extension_chains_parse() {
    let frame = Frame::new()
        .tag_of(TPID_SERVICE, 7)
        .tag(100)
        .ipv6("2001:db8::1", "2001:db8::2")
        .extension(Extension::HopByHop(2))
        .extension(Extension::Routing(3))
        .extension(Extension::Authentication(5))
        .extension(Extension::Destination(33))
        .tcp(1, 443);
    let bytes = frame.bytes();
    let packet = SlicedPacket::from_ethernet(&bytes).expect("a chain that etherparse refuses");
    assert_eq!(packet.vlan_ids().as_slice().iter().map(|v| v.value()).collect::<Vec<_>>(), [7, 100]);
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP: {packet:?}") };
    assert_eq!(tcp.destination_port(), 443);
    assert_eq!(&bytes[frame.l4_offset()..frame.l4_offset() + 4], [0, 1, 1, 187]);

    let bytes = Frame::new().ipv4("10.0.0.1", "10.0.0.2").options(10).udp(5, 6).payload(3).trailer(9).bytes();
    let packet = SlicedPacket::from_ethernet(&bytes).expect("options that etherparse refuses");
    assert!(matches!(packet.transport, Some(TransportSlice::Udp(udp)) if udp.payload().len() == 3));
}
