//! System calls that neither aya nor nix wraps.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type};

/// `MEMBARRIER_CMD_QUERY` and `MEMBARRIER_CMD_GLOBAL` of linux/membarrier.h.
const MEMBARRIER_QUERY: libc::c_int = 0;
const MEMBARRIER_GLOBAL: libc::c_int = 1;

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkDetail {
    /// The program it runs.
    pub(super) program_id: u32,
    /// The interface it sits on; 0 once that is gone.
    pub(super) ifindex: u32,
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr, size: usize) -> io::Result<i64> {
    // SAFETY: `attr` is a live, initialized union of at least `size` bytes, and what it points to
    // outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Opens a pinned object.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero is a valid bpf_attr: it is a union of integers.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    // SAFETY: the fields of the union's `object` variant are plain integers.
    let object = unsafe { &mut attr.__bindgen_anon_4 };
    object.pathname = path.as_ptr() as u64;
    let size = size_of_val(object);
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attr, size)?;
    // SAFETY: the kernel has just handed us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Asks what a link is attached to.
pub(super) fn link_detail(link: &OwnedFd) -> io::Result<LinkDetail> {
    // SAFETY: all-zero is a valid bpf_link_info and bpf_attr: plain integers.
    let (mut info, mut attr): (bpf_link_info, bpf_attr) = unsafe { (mem::zeroed(), mem::zeroed()) };
    // SAFETY: the fields of the union's `info` variant are plain integers.
    let request = unsafe { &mut attr.info };
    request.bpf_fd = link.as_raw_fd() as u32;
    request.info_len = size_of_val(&info) as u32;
    request.info = (&raw mut info) as u64;
    let size = size_of_val(request);
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr, size)?;
    let ifindex = if info.type_ == bpf_link_type::BPF_LINK_TYPE_XDP as u32 {
        // SAFETY: the kernel filled this variant, as the type says.
        unsafe { info.__bindgen_anon_1.xdp.ifindex }
    } else if info.type_ == bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
        // SAFETY: as above.
        unsafe { info.__bindgen_anon_1.tcx.ifindex }
    } else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("link type {}", info.type_)));
    };
    Ok(LinkDetail { program_id: info.prog_id, ifindex })
}

/// Whether [`wait_for_readers`] can work here.
pub(super) fn can_wait_for_readers() -> io::Result<bool> {
    Ok(membarrier(MEMBARRIER_QUERY)? & i64::from(MEMBARRIER_GLOBAL) != 0)
}

/// Returns when every program run that was under way has ended: an RCU grace period.
pub(super) fn wait_for_readers() -> io::Result<()> {
    membarrier(MEMBARRIER_GLOBAL).map(|_| ())
}

fn membarrier(command: libc::c_int) -> io::Result<i64> {
    // SAFETY: takes integers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Length of the strings in [`DriverInfo`].
const ETHTOOL_STRING: usize = 32;
/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: u32 = 0x8946;
/// `ETHTOOL_GDRVINFO` of linux/ethtool.h.
const ETHTOOL_GET_DRIVER: u32 = 3;

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; ETHTOOL_STRING],
    rest: [u8; 4 * ETHTOOL_STRING + 12],
    counts: [u32; 5],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// The driver of the interface with this name, as `ethtool -i` tells it.
pub(super) fn driver_name(socket: &OwnedFd, interface: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        command: ETHTOOL_GET_DRIVER,
        driver: [0; ETHTOOL_STRING],
        rest: [0; 4 * ETHTOOL_STRING + 12],
        counts: [0; 5],
    };
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the request is complete, NUL-terminated, and points to a structure of the size that
    // its command says, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let end = info.driver.iter().position(|&byte| byte == 0).unwrap_or(ETHTOOL_STRING);
    Ok(String::from_utf8_lossy(&info.driver[..end]).into_owned())
}
