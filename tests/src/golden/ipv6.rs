//! IPv6: extension headers and fragments.

use super::Row;
use crate::packet::{Extension, Extension::*, Frame};

const BY_PORT: &str = "\
version: 1
routes:
  - {name: dns, match: {protocol: udp, port: 53}, mark: 1, action: pass}
  - {name: udp, match: {protocol: udp}, mark: 2, action: pass}
";

fn base() -> Frame {
    Frame::new().ipv6("2001:db8::7", "2001:db8:1::10")
}

fn behind(extensions: &[Extension]) -> Frame {
    extensions.iter().cloned().fold(base().udp(1000, 53).payload(24), Frame::extension)
}

fn dns(name: &str, frame: &Frame) -> Row {
    Row::new(format!("ipv6: {name}"), BY_PORT, frame.bytes()).route("dns").mark(1)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        dns("no extension header", &behind(&[])),
        dns("hop-by-hop options", &behind(&[HopByHop(1)])),
        dns("the longest hop-by-hop options", &behind(&[HopByHop(255)])),
        dns("a routing header", &behind(&[Routing(3)])),
        dns("destination options", &behind(&[Destination(2)])),
        dns("an authentication header", &behind(&[Authentication(6)])),
        dns("the shortest authentication header", &behind(&[Authentication(2)])),
        dns("an atomic fragment", &behind(&[Fragment(0, false)])),
        dns("a first fragment", &behind(&[Fragment(0, true)])),
        dns("destination options twice", &behind(&[Destination(1), Routing(1), Destination(1)])),
        dns(
            "all six kinds",
            &behind(&[
                HopByHop(1),
                Destination(1),
                Routing(2),
                Fragment(0, false),
                Authentication(4),
                Destination(1),
            ]),
        ),
        dns(
            "six, behind two tags",
            &behind(&[
                Destination(1),
                Destination(1),
                Destination(1),
                Destination(1),
                Destination(1),
                Destination(1),
            ])
            .tag(1)
            .tag(2),
        ),
        dns("padding behind the packet", &behind(&[HopByHop(1)]).trailer(8)),
    ];
    // Bytes that would be port 53, had a later fragment ports.
    let later = |offset, more| base().raw(17, &[0, 53].repeat(12)).fragment(offset, more);
    for (name, frame) in [
        ("a middle fragment", later(4, true)),
        ("the last fragment", later(4, false)),
        ("a UDP fragment at offset eight", later(1, false)),
        (
            "a later fragment behind hop-by-hop options",
            base().raw(17, &[0; 24]).extension(HopByHop(1)).fragment(9, true),
        ),
    ] {
        rows.push(
            Row::new(format!("ipv6: {name} has no ports"), BY_PORT, frame.bytes()).route("udp").mark(2),
        );
    }
    let options_later = base().raw(60, &[0xff; 24]).fragment(4, true);
    rows.push(Row::marked("ipv6: nothing behind a later fragment's header is parsed", options_later.bytes()));
    let short = base().raw(6, &[1; 8]).fragment(2, false);
    rows.push(Row::marked("ipv6: a TCP fragment at offset sixteen", short.bytes()));
    // 8191 * 8 + 7 = 65,535: the last byte there is.
    rows.push(Row::marked(
        "ipv6: a fragment that ends at 65,535",
        base().raw(17, &[1; 7]).fragment(8191, false).bytes(),
    ));

    rows.push(Row::marked("ipv6: no next header", base().raw(59, &[]).bytes()));
    rows.push(Row::marked("ipv6: no next header, with bytes behind it", base().raw(59, &[1; 9]).bytes()));
    rows.push(Row::marked(
        "ipv6: no next header behind options",
        base().extension(Destination(1)).raw(59, &[]).bytes(),
    ));
    // 1 is ICMP's number: in IPv6 it is one that nothing is known of.
    for protocol in [1, 2, 4, 41, 47, 50, 89, 135, 139, 140, 253, 255] {
        rows.push(Row::marked(
            format!("ipv6: next header {protocol} is not parsed"),
            base().raw(protocol, &[9]).bytes(),
        ));
    }
    rows
}
