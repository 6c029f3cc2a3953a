//! Interfaces that come, go and change, and their addresses.

use super::Error;
use super::netlink;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Multicast groups of link and address events (linux/rtnetlink.h), as bits.
const GROUP_LINK: u32 = 1;
const GROUP_IPV4_ADDRESS: u32 = 0x10;
const GROUP_IPV6_ADDRESS: u32 = 0x100;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFLA_IFNAME: u16 = 3;
/// Length of `struct ifinfomsg`.
const LINK_HEADER_LEN: usize = 16;
const BUFFER_LEN: usize = 65_536;

/// What happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is new, or something about it changed.
    Changed {
        /// Its index.
        ifindex: u32,
        /// Its name.
        interface: String,
    },
    /// It is gone.
    Removed {
        /// Its index.
        ifindex: u32,
        /// Its name.
        interface: String,
    },
    /// Its addresses changed.
    Addresses {
        /// Its index.
        ifindex: u32,
    },
    /// Events were lost: look at all interfaces.
    Missed,
}

/// Tells of links and their addresses in the network namespace in which it was made.
pub struct LinkWatcher {
    socket: AsyncFd<OwnedFd>,
    waiting: Vec<LinkEvent>,
}

impl LinkWatcher {
    /// Subscribes. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where the kernel refuses the socket.
    pub fn new() -> Result<LinkWatcher, Error> {
        let fail = |source| Error::Netlink { action: "subscribing to link events", source };
        let subscribe = || -> io::Result<AsyncFd<OwnedFd>> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let protocol = SockProtocol::NetlinkRoute;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
            let groups = GROUP_LINK | GROUP_IPV4_ADDRESS | GROUP_IPV6_ADDRESS;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
            // SAFETY: an OwnedFd is one descriptor, open until it is dropped.
            Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
        };
        Ok(LinkWatcher { socket: subscribe().map_err(fail)?, waiting: Vec::new() })
    }

    /// The next event. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Where the socket fails.
    pub async fn next(&mut self) -> Result<LinkEvent, Error> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Ok(event);
            }
            let mut buffer = vec![0; BUFFER_LEN];
            let received = self
                .socket
                .async_io(Interest::READABLE, |socket| {
                    Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?)
                })
                .await;
            match received {
                Ok(len) => self.waiting.extend(events(&buffer[..len])),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(LinkEvent::Missed),
                Err(source) => return Err(Error::Wait { what: "link events", source }),
            }
            self.waiting.reverse();
        }
    }
}

fn events(datagram: &[u8]) -> Vec<LinkEvent> {
    netlink::messages(datagram).filter_map(|(kind, body)| event(kind, body)).collect()
}

fn event(kind: u16, body: &[u8]) -> Option<LinkEvent> {
    let ifindex = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
    if matches!(kind, RTM_NEWADDR | RTM_DELADDR) {
        return Some(LinkEvent::Addresses { ifindex });
    }
    let name = netlink::attributes(body, LINK_HEADER_LEN).find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
    let interface = String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned();
    match kind {
        RTM_NEWLINK => Some(LinkEvent::Changed { ifindex, interface }),
        RTM_DELLINK => Some(LinkEvent::Removed { ifindex, interface }),
        _ => None,
    }
}
