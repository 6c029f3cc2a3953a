//! A site under attack: a client and an attacker, each behind an interface of its own, a gateway that
//! routes, and a web server whose network is open to what the gateway lets through.

use crate::netns::{Namespace, receive_offload};
use crate::packet::Frame;
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};

/// The governed interface on the client's side, in [`Site::gateway`].
pub const TO_CLIENT: &str = "client0";
/// The governed interface on the attacker's side.
pub const TO_ATTACKER: &str = "attack0";
/// The attacker's end of it, in [`Site::attacker`].
pub const ATTACKER: &str = "a0";
/// The client's address.
pub const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// Where the server listens.
pub const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), 80);

const ATTACKER_MAC: [u8; 6] = [2, 0, 0, 0, 3, 1];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 3, 2];
/// Spoofed sources begin here, all in 10.0.0.0/8, which the gateway routes to the attacker.
const SPOOFED: u32 = 0x0a40_0000;

/// The namespaces.
#[derive(Debug)]
pub struct Site {
    /// Where honest fetches come from.
    pub client: Namespace,
    /// Where the flood comes from; answers to spoofed sources end here.
    pub attacker: Namespace,
    /// Where the gateway runs.
    pub gateway: Namespace,
    /// Where the server runs. Its kernel answers with SYN cookies of its own only if told to.
    pub server: Namespace,
}

impl Site {
    /// Makes one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new() -> Result<Site> {
        let (client, attacker) = (Namespace::new("client")?, Namespace::new("attack")?);
        let (gateway, server) = (Namespace::new("gw")?, Namespace::new("web")?);
        for namespace in [&client, &attacker, &gateway, &server] {
            namespace.silence()?;
        }
        gateway.veth(TO_CLIENT, &client, "c0")?;
        gateway.veth(TO_ATTACKER, &attacker, ATTACKER)?;
        gateway.veth("server0", &server, "s0")?;
        gateway.mac(TO_ATTACKER, GATEWAY_MAC)?;
        attacker.mac(ATTACKER, ATTACKER_MAC)?;
        for (link, address) in
            [(TO_CLIENT, "192.0.2.1/24"), (TO_ATTACKER, "198.51.100.1/24"), ("server0", "203.0.113.1/24")]
        {
            gateway.address(link, address)?;
            // Answers to spoofed sources do not leave by where they would be looked for.
            gateway.sysctl(&format!("net.ipv4.conf.{link}.rp_filter"), "0")?;
        }
        gateway.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        gateway.sysctl("net.ipv4.ip_forward", "1")?;
        for (namespace, link, address, router) in [
            (&client, "c0", "192.0.2.77/24", "192.0.2.1"),
            (&attacker, ATTACKER, "198.51.100.66/24", "198.51.100.1"),
            (&server, "s0", "203.0.113.10/24", "203.0.113.1"),
        ] {
            namespace.address(link, address)?;
            namespace.ip(&["route", "add", "default", "via", router])?;
        }
        // The attacker answers nobody: his address is known, and so are the spoofed ones' ways.
        let mac = crate::packet::show::hex(&ATTACKER_MAC, ":");
        gateway.ip(&[
            "neigh",
            "add",
            "198.51.100.66",
            "lladdr",
            &mac,
            "dev",
            TO_ATTACKER,
            "nud",
            "permanent",
        ])?;
        gateway.ip(&["route", "add", "10.0.0.0/8", "via", "198.51.100.66"])?;
        server.sysctl("net.ipv4.tcp_syncookies", "0")?;
        // SYN-ACKs of the gateway go back as XDP frames.
        client.run(|| receive_offload("c0", true))?;
        attacker.run(|| receive_offload(ATTACKER, true))?;
        Ok(Site { client, attacker, gateway, server })
    }
}

/// The `n`th SYN of a flood, from a source of its own: 64 bytes, all of it sound.
#[must_use]
pub fn spoofed_syn(n: u32) -> Frame {
    let source = Ipv4Addr::from(SPOOFED + n).to_string();
    let frame = Frame::new().macs(ATTACKER_MAC, GATEWAY_MAC).ipv4(&source, &SERVER.ip().to_string());
    let port = 1024 + (n.wrapping_mul(0x9E37_79B1) >> 17) as u16;
    frame.tcp(port, SERVER.port()).payload(10)
}
