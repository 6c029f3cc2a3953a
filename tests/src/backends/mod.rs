//! Client – gateway – two backends that answer the client themselves: the network, who serves in it, how
//! packets come out of what they are wrapped in, and the whole of it as a test.

mod decapsulate;
pub mod nat;
mod run;
mod serve;
mod talk;

pub use decapsulate::Decapsulation;
pub use run::{Case, Done, run};
pub use serve::Serving;
pub use talk::{PATIENCE, ask, talk};

use crate::netns::{Namespace, receive_offload, transmit_offload};
use anyhow::Result;

/// How many backends there are.
pub const BACKENDS: usize = 2;
/// The address that clients know, on every backend's loopback.
pub const SERVICE: [&str; 2] = ["203.0.113.10", "2001:db8:5::10"];
/// What the links to the backends take, so that a client's longest packet fits when it is wrapped.
const MTU: &str = "1600";
/// The client's VLAN, where it is in one.
const VLAN: u16 = 100;

/// What the links around the gateway do with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Nothing.
    Plain,
    /// The backends take XDP frames.
    XdpFrames,
    /// The client sends many segments as one, without checksums.
    Segments,
    /// The client's frames carry an 802.1Q tag. This takes a kernel with `8021q`.
    Tagged,
}

/// The namespaces, with links, addresses and routes. Neighbours find one another.
#[derive(Debug)]
pub struct Delivery {
    /// Whose packets are forwarded.
    pub client: Namespace,
    /// Between `gw0` towards the client, and `back0` and `back1`.
    pub gateway: Namespace,
    /// Behind `back0` and `back1`.
    pub backends: Vec<Namespace>,
}

/// The address of a backend.
#[must_use]
pub fn address_of(backend: usize, six: bool) -> String {
    if six { format!("2001:db8:b{backend}::11") } else { format!("198.18.1{backend}.11") }
}

impl Delivery {
    /// Makes one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new(links: Links) -> Result<Delivery> {
        let (client, gateway) = (Namespace::new("client")?, Namespace::new("gw")?);
        gateway.sysctl("net.ipv4.ip_forward", "1")?;
        gateway.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        client.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
        gateway.veth("gw0", &client, "c0")?;
        client.run(|| transmit_offload("c0", links == Links::Segments))?;
        let tagged = links == Links::Tagged;
        for (namespace, link, host) in [(&gateway, "gw0", 1), (&client, "c0", 77)] {
            let link = if tagged { namespace.vlan(link, VLAN)? } else { link.to_owned() };
            namespace.address(&link, &format!("192.0.2.{host}/24"))?;
            namespace.address(&link, &format!("2001:db8:c::{host}/64"))?;
        }
        client.ip(&["route", "add", "203.0.113.0/24", "via", "192.0.2.1"])?;
        client.ip(&["route", "add", "2001:db8:5::/64", "via", "2001:db8:c::1"])?;
        let backends = (0..BACKENDS).map(|number| backend(number, &client, &gateway, links));
        let backends = backends.collect::<Result<_>>()?;
        Ok(Delivery { client, gateway, backends })
    }

    /// Lets the backends answer by way of the gateway.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn answer_through_gateway(&self) -> Result<()> {
        for (number, backend) in self.backends.iter().enumerate() {
            backend.run(|| transmit_offload("b0", false))?;
            backend.ip(&["route", "replace", "192.0.2.0/24", "via", &format!("198.18.1{number}.1")])?;
            backend.ip(&["route", "replace", "2001:db8:c::/64", "via", &format!("2001:db8:b{number}::1")])?;
        }
        Ok(())
    }
}

/// A backend behind the gateway, with a way to the client of its own.
fn backend(number: usize, client: &Namespace, gateway: &Namespace, links: Links) -> Result<Namespace> {
    let backend = Namespace::new("back")?;
    backend.sysctl("net.ipv4.conf.default.rp_filter", "0")?;
    backend.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
    let near = format!("back{number}");
    gateway.veth(&near, &backend, "b0")?;
    gateway.address(&near, &format!("198.18.1{number}.1/24"))?;
    gateway.address(&near, &format!("2001:db8:b{number}::1/64"))?;
    backend.address("b0", &format!("{}/24", address_of(number, false)))?;
    backend.address("b0", &format!("{}/64", address_of(number, true)))?;
    for (namespace, link) in [(gateway, near.as_str()), (&backend, "b0")] {
        namespace.ip(&["link", "set", "dev", link, "mtu", MTU])?;
    }
    backend.run(|| receive_offload("b0", links == Links::XdpFrames))?;
    let way = format!("d{number}");
    client.veth(&way, &backend, "d0")?;
    client.address(&way, &format!("10.77.{number}.1/24"))?;
    backend.address("d0", &format!("10.77.{number}.2/24"))?;
    client.address(&way, &format!("2001:db8:d{number}::1/64"))?;
    backend.address("d0", &format!("2001:db8:d{number}::2/64"))?;
    backend.ip(&["route", "add", "192.0.2.0/24", "via", &format!("10.77.{number}.1")])?;
    backend.ip(&["route", "add", "2001:db8:c::/64", "via", &format!("2001:db8:d{number}::1")])?;
    for service in SERVICE {
        backend.address("lo", &format!("{service}/{}", if service.contains(':') { 128 } else { 32 }))?;
    }
    Ok(backend)
}
