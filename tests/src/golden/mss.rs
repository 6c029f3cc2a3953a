//! SYNs for pools whose segments are held to a length.

use super::pools::{V4, V6, inner, macs, outer4, to_next_hop};
use super::{Row, TARGET};
use crate::packet::Frame;

const POLICY: &str = "\
version: 1
pools:
  at-most: {forward: ipip, source: 203.0.113.77, mss: 1300, targets: [{name: a, address: 198.18.1.11}]}
  of-way: {forward: ipip, source: 203.0.113.77, mss: clamp, targets: [{name: a, address: 198.18.1.11}]}
routes:
  - {name: at-most, match: {protocol: tcp, port: 1}, action: {pool: at-most}}
  - {name: of-way, match: {protocol: tcp, port: 2}, action: {pool: of-way}}
default: pass
";

/// The option with this value.
fn option(mss: u16) -> Vec<u8> {
    [&[2, 4], &mss.to_be_bytes()[..]].concat()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let around = |front: &[u8], mss: u16, behind: &[u8]| [front, &option(mss), behind].concat();
    for (family, ends) in [("IPv4", V4), ("IPv6", V6)] {
        // 1,500 bytes of way, 20 of the outer header.
        let way = if family == "IPv4" { 1_440 } else { 1_420 };
        let mut row = |name: &str, port: u16, flags: u8, before: Vec<u8>, after: Vec<u8>| {
            let frame = |options: &[u8]| {
                let frame = Frame::new().ip(ends.0, ends.1).tcp(9, port).tcp_with(flags, 0);
                frame.tcp_options(options).payload(5)
            };
            let packet = inner(&frame(&after), 63);
            let protocol = if family == "IPv4" { 4 } else { 41 };
            let out = outer4(("203.0.113.77", "198.18.1.11"), 0, 0x4000, protocol, &packet);
            let name = format!("mss: {family}, {name}");
            let route = if port == 1 { "at-most" } else { "of-way" };
            let row = Row::new(name, POLICY, frame(&before).bytes()).route(route);
            let row = row.sent_to(if port == 1 { "at-most/a" } else { "of-way/a" }, Some(TARGET));
            rows.push(row.comes_out_as(to_next_hop(macs(1, 11), &out)));
        };
        let syn = 2;
        row("lowered", 1, syn, option(1_460), option(1_300));
        row("lowered by one", 1, syn, option(1_301), option(1_300));
        row("not raised", 1, syn, option(1_299), option(1_299));
        row("the largest there is", 1, syn, option(65_535), option(1_300));
        row("to what the way takes", 2, syn, option(1_460), option(way));
        row("within what the way takes", 2, syn, option(way), option(way));
        row("an odd place", 1, syn, around(&[1], 1_460, &[1, 1, 1]), around(&[1], 1_300, &[1, 1, 1]));
        let (front, behind) = ([4, 2, 3, 3, 7, 1, 1], [8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        row("among others", 1, syn, around(&front, 1_460, &behind), around(&front, 1_300, &behind));
        row("behind 36 others", 1, syn, around(&[1; 36], 1_460, &[]), around(&[1; 36], 1_300, &[]));
        row("none", 1, syn, Vec::new(), Vec::new());
        row("behind the end of options", 1, syn, around(&[0], 1_460, &[]), around(&[0], 1_460, &[]));
        row(
            "behind an option without length",
            1,
            syn,
            around(&[9, 0], 1_460, &[]),
            around(&[9, 0], 1_460, &[]),
        );
        row("an option that is too long", 1, syn, vec![2, 5, 5, 180, 1], vec![2, 5, 5, 180, 1]);
        row("an option that is cut short", 1, syn, vec![1, 1, 2, 4], vec![1, 1, 2, 4]);
        row("no SYN", 1, 0x10, option(1_460), option(1_460));
    }
    rows
}
