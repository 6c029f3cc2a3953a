//! Random policies and packets over a universe so small that they meet: nested prefixes, a few
//! ports and protocols, addresses on both sides of every edge.

mod components;
mod limits;
mod packets;
mod policies;
mod talk;

pub use limits::step_ns;
pub use packets::{error_about, fragments, frame, mutate, well_formed};
pub use policies::{LONGEST, Wanted, members, policy};
pub use talk::{asked, next};

/// Prefixes that nest, touch, and end at odd lengths.
const PREFIXES: [&str; 30] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "10.1.2.2/31",
    "10.1.2.128/25",
    "10.1.4.0/22",
    "10.128.0.0/9",
    "32.1.13.184/32",
    "64.0.0.0/2",
    "128.0.0.0/1",
    "192.0.2.0/24",
    "192.0.2.255/32",
    "255.255.255.255/32",
    "::/0",
    "::/1",
    "2001:db8::/32",
    "2001:db8::/48",
    "2001:db8::/63",
    "2001:db8::/64",
    "2001:db8::/65",
    "2001:db8:0:0:8000::/65",
    "2001:db8::1/128",
    "2001:db8::2/127",
    "2001:db8:1::/48",
    "2001:db8:a00::/40",
    "8000::/1",
    "fe80::/10",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
];

/// Ports at the edges of the ranges that policies are made of.
const PORTS: [u16; 16] = [0, 1, 21, 22, 23, 52, 53, 79, 80, 81, 443, 1023, 1024, 8080, 65534, 65535];

/// Protocols that are parsed, those of the other family, and some that nothing is known of.
const PROTOCOLS: [u8; 10] = [6, 17, 132, 1, 58, 0, 47, 59, 89, 255];

/// Sets of TCP flags that packets of a connection bear, the first of one above all.
const TCP_FLAGS: [u8; 14] =
    [0x02, 0x02, 0x02, 0x12, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, 0x14, 0x38, 0xc2, 0x90];

/// Code points at the edges of the ranges that policies are made of.
const DSCPS: [u8; 9] = [0, 1, 8, 10, 18, 34, 46, 62, 63];

/// Times to live, among them the one of a neighbour.
const TTLS: [u8; 8] = [0, 1, 2, 63, 64, 65, 254, 255];

/// IPv6 flow labels.
const FLOW_LABELS: [u32; 7] = [0, 1, 2, 0x7_ffff, 0x8_0000, 0xf_fffe, 0xf_ffff];

/// VLAN identifiers; 0 is that of a tag which only bears a priority.
const VLANS: [u16; 7] = [0, 1, 2, 100, 101, 4094, 4095];

/// Lengths of IP packets that the generator's frames have, or nearly have.
const LENGTHS: [u16; 14] = [0, 20, 28, 40, 41, 48, 60, 68, 100, 128, 148, 1_428, 2_048, 65_535];
