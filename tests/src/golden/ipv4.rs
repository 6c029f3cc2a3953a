//! IPv4: options, padding, fragments.

use super::{MARK_ALL, Row};
use crate::packet::Frame;

const BY_PORT: &str = "\
version: 1
routes:
  - {name: dns, match: {protocol: udp, port: 53}, mark: 1, action: pass}
  - {name: udp, match: {protocol: udp}, mark: 2, action: pass}
";

fn udp() -> Frame {
    Frame::new().ipv4("198.51.100.7", "203.0.113.10").udp(1000, 53).payload(24)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for words in [1, 5, 10] {
        let frame = udp().options(words);
        rows.push(
            Row::new(format!("ipv4: {words} words of options"), BY_PORT, frame.bytes()).route("dns").mark(1),
        );
    }
    let bare = Frame::new().ipv4("198.51.100.7", "203.0.113.10").raw(253, &[]);
    rows.push(Row::marked("ipv4: a header with nothing behind it", bare.bytes()));
    rows.push(Row::marked("ipv4: options with nothing behind them", bare.clone().options(10).bytes()));
    rows.push(Row::marked("ipv4: padding behind the packet", bare.trailer(26).bytes()));
    rows.push(Row::new("ipv4: padding behind UDP", BY_PORT, udp().trailer(7).bytes()).route("dns").mark(1));

    let first = udp().fragment(0, true);
    rows.push(Row::new("ipv4: the first fragment has ports", BY_PORT, first.bytes()).route("dns").mark(1));
    let tagged = first.tag(3).options(2);
    rows.push(
        Row::new("ipv4: a tagged first fragment with options", BY_PORT, tagged.bytes()).route("dns").mark(1),
    );
    // Bytes that would be port 53, had a later fragment ports.
    let later = |offset, more| {
        Frame::new().ipv4("198.51.100.7", "203.0.113.10").raw(17, &[0, 53].repeat(12)).fragment(offset, more)
    };
    for (name, frame) in [
        ("a middle fragment", later(4, true)),
        ("the last fragment", later(4, false)),
        ("a UDP fragment at offset eight", later(1, true)),
        ("the last offset that fits", later(8186, false)),
    ] {
        rows.push(
            Row::new(format!("ipv4: {name} has no ports"), BY_PORT, frame.bytes()).route("udp").mark(2),
        );
    }
    let short = Frame::new().ipv4("198.51.100.7", "203.0.113.10").raw(6, &[1]).fragment(2, false);
    rows.push(Row::marked("ipv4: a TCP fragment at offset sixteen", short.bytes()));
    // 20 + 8189 * 8 + 3 = 65,535: the last byte there is.
    let edge = Frame::new().ipv4("198.51.100.7", "203.0.113.10").raw(17, &[1; 3]).fragment(8189, false);
    rows.push(Row::marked("ipv4: a fragment that ends at 65,535", edge.bytes()));
    let no_bytes = Frame::new().ipv4("198.51.100.7", "203.0.113.10").raw(17, &[]).fragment(100, true);
    rows.push(Row::marked("ipv4: a later fragment without a byte", no_bytes.bytes()));
    let reserved = Frame::new().ipv4("0.0.0.0", "255.255.255.255").udp(68, 67).fragment(0x8000, false);
    rows.push(Row::marked("ipv4: the reserved flag is not looked at", reserved.bytes()));

    // 58 is ICMPv6's number: in IPv4 it is one that nothing is known of.
    for protocol in [0, 2, 4, 41, 43, 44, 47, 50, 51, 58, 60, 89, 103, 112, 253, 255] {
        let frame = Frame::new().ipv4("198.51.100.7", "203.0.113.10").raw(protocol, &[9]);
        rows.push(
            Row::new(format!("ipv4: protocol {protocol} is not parsed"), MARK_ALL, frame.bytes())
                .route("all")
                .mark(0x77),
        );
    }
    rows
}
