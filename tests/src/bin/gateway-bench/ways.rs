//! The ways to the targets of pools: a namespace with a veth pair for each row that has one.

use anyhow::Result;
use gateway_tests::netns::{Namespace, receive_offload};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Links there can be.
pub const LINKS: u8 = 8;

/// A host of a network: 1 is the gateway, 11 and 12 are targets.
pub fn ipv4(network: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, network, host)
}

/// The same host's other address.
pub fn ipv6(network: u8, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xf0, network.into(), 0, 0, 0, host.into())
}

/// The link to a network.
pub fn link(network: u8) -> String {
    format!("out{network}")
}

/// Where the links are.
pub struct Ways {
    near: Namespace,
    _far: Namespace,
}

impl Ways {
    /// Makes the namespaces, with routes and neighbours that last.
    pub fn make() -> Result<Ways> {
        let (near, far) = (Namespace::new("bench")?, Namespace::new("targets")?);
        for namespace in [&near, &far] {
            namespace.silence()?;
        }
        for network in 0..LINKS {
            let (link, peer) = (link(network), format!("far{network}"));
            near.veth(&link, &far, &peer)?;
            // A veth takes XDP frames where its peer has generic receive offload.
            far.run(|| receive_offload(&peer, true))?;
            near.sysctl(&format!("net.ipv6.conf.{link}.disable_ipv6"), "0")?;
            near.address(&link, &format!("{}/24", ipv4(network, 1)))?;
            near.address(&link, &format!("{}/64", ipv6(network, 1)))?;
            for host in [11, 12] {
                let mac = format!("02:00:00:00:{network:02x}:{host:02x}");
                for address in [ipv4(network, host).to_string(), ipv6(network, host).to_string()] {
                    let neighbour = ["lladdr", &mac, "dev", &link, "nud", "permanent"];
                    near.ip(&[&["neigh", "replace", &address], &neighbour[..]].concat())?;
                }
            }
        }
        near.sysctl("net.ipv4.ip_forward", "1")?;
        near.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        Ok(Ways { near, _far: far })
    }

    /// Does something where the links are.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.near.run(work)
    }
}
