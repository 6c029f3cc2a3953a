//! What a device can do, as the kernel tells it.

use super::netlink::{self, Message};
use super::{Error, sys};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use std::io;

/// Generic netlink's own family and its question for another (linux/genetlink.h).
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Length of `struct genlmsghdr`.
const GENL_HEADER_LEN: usize = 4;
/// The family "netdev" (linux/netdev.h), since 6.3.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 4;
/// `RTM_SETLINK`, `IFLA_XDP` and its parts (linux/rtnetlink.h, linux/if_link.h).
const RTM_SETLINK: u16 = 19;
const IFLA_XDP: u16 = 43 | 0x8000;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const XDP_FLAGS_SKB_MODE: u32 = 2;
const XDP_FLAGS_DRV_MODE: u32 = 4;

/// A device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// Takes frames by `ndo_xdp_xmit`. False also where the kernel cannot tell (before 6.3).
    pub(super) xdp_frames: bool,
    /// One end of a veth pair.
    pub(super) veth: bool,
}

/// The index of an interface in the current network namespace; nothing if there is none.
pub(super) fn index_of(interface: &str) -> Result<Option<u32>, Error> {
    match if_nametoindex(interface) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::ENODEV | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(Error::Netlink { action: "looking an interface up", source: errno.into() }),
    }
}

/// Asks what a device can do.
pub(super) fn device(interface: &str, ifindex: u32) -> Result<Device, Error> {
    let features = xdp_features(ifindex)
        .map_err(|source| Error::Netlink { action: "asking for XDP features", source })?;
    let driver = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(io::Error::from)
        .and_then(|socket| sys::driver_name(&socket, interface));
    Ok(Device {
        xdp_frames: features.is_some_and(|features| features & NETDEV_XDP_ACT_NDO_XMIT != 0),
        // Devices without ethtool support have no driver name; none of them is a veth.
        veth: driver.is_ok_and(|driver| driver == "veth"),
    })
}

/// The device's XDP features; nothing where the kernel does not know the question.
fn xdp_features(ifindex: u32) -> io::Result<Option<u64>> {
    let socket = netlink::open(SockProtocol::NetlinkGeneric)?;
    let ask = Message::new(GENL_ID_CTRL, &[CTRL_CMD_GETFAMILY, 1, 0, 0])
        .attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    let answers = match netlink::request(&socket, ask) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    };
    let id = find(&answers, CTRL_ATTR_FAMILY_ID).and_then(|id| id.first_chunk().copied());
    let Some(family) = id.map(u16::from_ne_bytes) else { return Ok(None) };
    let ask = Message::new(family, &[NETDEV_CMD_DEV_GET, 1, 0, 0])
        .attribute(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes());
    let answers = match netlink::request(&socket, ask) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP)) => {
            return Ok(None);
        }
        other => other?,
    };
    let features = find(&answers, NETDEV_A_DEV_XDP_FEATURES).and_then(|value| value.first_chunk().copied());
    Ok(features.map(u64::from_ne_bytes))
}

fn find(answers: &[Vec<u8>], wanted: u16) -> Option<&[u8]> {
    let mut all = answers.iter().flat_map(|body| netlink::attributes(body, GENL_HEADER_LEN));
    all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Takes an XDP program off that was attached without a link.
pub(super) fn detach_xdp(ifindex: u32, native: bool) -> io::Result<()> {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let flags = if native { XDP_FLAGS_DRV_MODE } else { XDP_FLAGS_SKB_MODE };
    let xdp =
        Message::nested(&[(IFLA_XDP_FD, &(-1i32).to_ne_bytes()), (IFLA_XDP_FLAGS, &flags.to_ne_bytes())]);
    let socket = netlink::open(SockProtocol::NetlinkRoute)?;
    netlink::request(&socket, Message::new(RTM_SETLINK, &fixed).attribute(IFLA_XDP, &xdp)).map(|_| ())
}
