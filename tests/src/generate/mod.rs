//! Random policies and packets over a universe so small that they meet: nested prefixes, a few
//! ports and protocols, addresses on both sides of every edge.

mod packets;
mod policies;

pub use packets::{frame, mutate};
pub use policies::policy;

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
