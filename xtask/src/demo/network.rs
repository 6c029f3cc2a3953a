//! The demo's network: client – gateway – two backends.
//!
//! ```text
//! client eth0 ── client ┐         ┌ backend1 ── eth0 backend1
//!  192.0.2.2            ├ gateway ┤              198.51.100.10
//!  2001:db8:1::2        ┘         └ backend2 ── eth0 backend2
//!                                                203.0.113.10, and on lo 198.51.100.20
//! ```
//!
//! Neighbours are entered for good, so that nothing crosses a link but what the demo sends. A
//! redirected frame keeps its Ethernet addresses, so backend2 has the address of the gateway that
//! the client sees.

use anyhow::Result;

use super::namespace::Namespace;
use crate::shell::program;

/// The four namespaces.
pub struct Network {
    pub client: Namespace,
    pub backend1: Namespace,
    pub backend2: Namespace,
    pub gateway: Namespace,
}

/// One link of the gateway, named after the namespace at its other end.
struct Link {
    name: &'static str,
    near_mac: &'static str,
    far_mac: &'static str,
    /// Gateway's end, other end, prefix length.
    ipv4: (&'static str, &'static str, u8),
    ipv6: (&'static str, &'static str, u8),
}

const CLIENT: Link = Link {
    name: "client",
    near_mac: "02:00:00:00:01:01",
    far_mac: "02:00:00:00:01:02",
    ipv4: ("192.0.2.1", "192.0.2.2", 24),
    ipv6: ("2001:db8:1::1", "2001:db8:1::2", 64),
};
const BACKEND1: Link = Link {
    name: "backend1",
    near_mac: "02:00:00:00:02:01",
    far_mac: "02:00:00:00:02:02",
    ipv4: ("198.51.100.1", "198.51.100.10", 24),
    ipv6: ("2001:db8:2::1", "2001:db8:2::10", 64),
};
const BACKEND2: Link = Link {
    name: "backend2",
    near_mac: "02:00:00:00:03:01",
    far_mac: CLIENT.near_mac,
    ipv4: ("203.0.113.1", "203.0.113.10", 24),
    ipv6: ("2001:db8:3::1", "2001:db8:3::10", 64),
};

impl Network {
    /// Makes the namespaces; no link is there yet.
    pub fn new() -> Result<Network> {
        let network = Network {
            client: Namespace::new("client")?,
            backend1: Namespace::new("backend1")?,
            backend2: Namespace::new("backend2")?,
            gateway: Namespace::new("gateway")?,
        };
        network.gateway.sysctl("ipv4/ip_forward", "1")?;
        network.gateway.sysctl("ipv6/conf/all/forwarding", "1")?;
        Ok(network)
    }

    /// Makes the links, which may carry packets from now on.
    pub fn connect(&self) -> Result<()> {
        connect(&self.gateway, &CLIENT, &self.client)?;
        connect(&self.gateway, &BACKEND1, &self.backend1)?;
        connect(&self.gateway, &BACKEND2, &self.backend2)?;
        self.backend2.ip("addr add 198.51.100.20/32 dev lo")?;
        self.backend2.ip("addr add 2001:db8:2::20/128 dev lo nodad")?;
        Ok(())
    }
}

impl Drop for Network {
    /// A namespace lives as long as a socket in it; the links go now.
    fn drop(&mut self) {
        for link in [&CLIENT, &BACKEND1, &BACKEND2] {
            // Not there if connecting failed before; its namespace's end would remove it too.
            let _ = self.gateway.ip(&format!("link del {}", link.name));
        }
    }
}

fn connect(gateway: &Namespace, link: &Link, other: &Namespace) -> Result<()> {
    let Link { name, near_mac, far_mac, ipv4, ipv6 } = link;
    gateway.ip(&format!(
        "link add {name} address {near_mac} type veth peer name eth0 address {far_mac} netns {}",
        other.name()
    ))?;
    let ends = [
        (gateway, *name, ipv4.0, ipv6.0, ipv4.1, ipv6.1, far_mac),
        (other, "eth0", ipv4.1, ipv6.1, ipv4.0, ipv6.0, near_mac),
    ];
    for (namespace, device, own4, own6, peer4, peer6, peer_mac) in ends {
        // A frame that XDP sends on is as it was put on the link: its checksums must be complete. And
        // a veth takes frames from XDP only while its end polls, which it does for GRO.
        let mut ethtool = program("ethtool", ["-K", device, "tx", "off", "gro", "on"]);
        ethtool.env("LC_ALL", "C");
        namespace.output(ethtool)?;
        namespace.ip(&format!("addr add {own4}/{} dev {device}", ipv4.2))?;
        namespace.ip(&format!("addr add {own6}/{} dev {device} nodad", ipv6.2))?;
        namespace.ip(&format!("link set {device} up"))?;
        for peer in [peer4, peer6] {
            namespace.ip(&format!("neigh replace {peer} lladdr {peer_mac} dev {device} nud permanent"))?;
        }
    }
    other.ip(&format!("route add default via {}", ipv4.0))?;
    other.ip(&format!("-6 route add default via {}", ipv6.0))?;
    Ok(())
}
