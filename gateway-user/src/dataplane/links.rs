//! One program on one interface: put on, replaced, taken off. Which link is pinned where is
//! [`super::pins`]' business; which to use is [`super::attach`]'s.

use super::pins::{InterfacePin, open_pin, remove_tree};
use super::{Error, features, sys};
use aya::Ebpf;
use aya::programs::links::{FdLink, Link, LinkError, LinkOrder, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, TcHandle, qdisc_add_clsact,
};
use aya::programs::xdp::XdpLink;
use aya::programs::{Program, ProgramError, SchedClassifier, Xdp, XdpMode};
use gateway_common::abi::programs;
use std::fs;
use std::io;
use std::path::Path;

/// Where our filters stand at the clsact qdisc, under a handle that is found again without a record of it.
const CLSACT_HANDLE: u32 = 0x6777;

/// A side of tc. At ingress we come before all others, at egress behind them: whoever else looks at packets sees
/// those of translated connections as they are on this node.
fn side(egress: bool) -> (TcAttachType, LinkOrder, u16) {
    if egress {
        (TcAttachType::Egress, LinkOrder::last(), 0xfff0)
    } else {
        (TcAttachType::Ingress, LinkOrder::first(), 1)
    }
}

/// Attaches an XDP program and pins its link in `dir`.
///
/// # Errors
/// Every cause in one line: this ends up in the explanation why a mode was not possible.
pub(super) fn attach_xdp(
    xdp: &mut Xdp,
    dir: &Path,
    ifindex: u32,
    native: bool,
) -> Result<InterfacePin, String> {
    let mode = if native { XdpMode::Driver } else { XdpMode::Skb };
    let id = xdp.attach_to_if_index(ifindex, mode).map_err(|error| causes(&error))?;
    let link = xdp.take_link(id).map_err(|error| causes(&error))?;
    match FdLink::try_from(link) {
        Ok(link) => {
            let pin = InterfacePin::Xdp { native, link: true };
            link.pin(dir.join(pin.file())).map_err(|error| causes(&error))?;
            Ok(pin)
        }
        // aya attached by netlink. What it handed out is a note of that, not the attachment.
        Err(LinkError::InvalidLink) => {
            let pin = InterfacePin::Xdp { native, link: false };
            if let Err(error) = fs::create_dir(dir.join(pin.file())) {
                let undone = features::detach_xdp(ifindex, native);
                return Err(format!("{error}; taken off again: {undone:?}"));
            }
            Ok(pin)
        }
        Err(error) => Err(causes(&error)),
    }
}

/// Attaches a tc program, by TCX where the kernel has it, and pins its link.
pub(super) fn attach_tc(
    tc: &mut SchedClassifier,
    egress: bool,
    dir: &Path,
    interface: &str,
) -> Result<InterfacePin, Error> {
    match attach_tcx(tc, egress, dir, interface) {
        // Before 6.6 there is no such attach type.
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINVAL) => {
            attach_clsact(tc, egress, dir, interface)
        }
        other => other.map_err(Error::link("attaching the tc program", interface)),
    }
}

fn attach_tcx(
    tc: &mut SchedClassifier,
    egress: bool,
    dir: &Path,
    interface: &str,
) -> Result<InterfacePin, ProgramError> {
    let (kind, order, _) = side(egress);
    let id = tc.attach_with_options(interface, kind, TcAttachOptions::TcxOrder(order))?;
    let link = FdLink::try_from(tc.take_link(id)?).map_err(io::Error::other)?;
    let pin = InterfacePin::Tc { egress, link: true };
    link.pin(dir.join(pin.file())).map_err(io::Error::other)?;
    Ok(pin)
}

pub(super) fn attach_clsact(
    tc: &mut SchedClassifier,
    egress: bool,
    dir: &Path,
    interface: &str,
) -> Result<InterfacePin, Error> {
    let failed = "attaching the tc program to clsact";
    match qdisc_add_clsact(interface) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        other => other.map_err(Error::link("adding clsact", interface))?,
    }
    let (kind, _, priority) = side(egress);
    let options = NlOptions { priority, handle: TcHandle::from(CLSACT_HANDLE), ..NlOptions::default() };
    let id = tc
        .attach_with_options(interface, kind, TcAttachOptions::Netlink(options))
        .map_err(Error::link(failed, interface))?;
    let link = tc.take_link(id).map_err(Error::link(failed, interface))?;
    let pin = InterfacePin::Tc { egress, link: false };
    let marker = dir.join(pin.file());
    // On an error the link is dropped here, which takes the filter off again.
    fs::create_dir(&marker).map_err(Error::pins("making", marker))?;
    keep(link);
    Ok(pin)
}

/// Lets a filter outlive the process: it is a note of interface, priority and handle, and dropping
/// it would take the filter off.
fn keep(link: SchedClassifierLink) {
    std::mem::forget(link);
}

fn clsact_link(interface: &str, egress: bool) -> io::Result<SchedClassifierLink> {
    let (kind, _, priority) = side(egress);
    SchedClassifierLink::attached(interface, kind, priority, TcHandle::from(CLSACT_HANDLE), None)
}

/// The interface that a pin's link sits on: 0 if that is gone, nothing for a marker.
pub(super) fn ifindex_of(dir: &Path, pin: InterfacePin) -> Result<Option<u32>, Error> {
    if !pin.is_link() {
        return Ok(None);
    }
    let path = dir.join(pin.file());
    let link = open_pin(&path)?;
    sys::link_detail(&link).map(|detail| Some(detail.ifindex)).map_err(Error::pins("asking", path))
}

/// Takes a program off and removes its pin. `ifindex` is where a marker's program was attached, 0 if
/// that interface is gone and took the program with it.
pub(super) fn take_off(dir: &Path, pin: InterfacePin, interface: &str, ifindex: u32) -> Result<(), Error> {
    let path = dir.join(pin.file());
    if pin.is_link() {
        // Closing the last descriptor detaches before the call returns; removing the last pin alone
        // would leave that for later.
        let link = PinnedLink::from_pin(&path).map_err(Error::link("opening the link", interface))?;
        drop(link.unpin().map_err(Error::pins("removing", path))?);
        return Ok(());
    }
    if ifindex != 0 {
        match pin {
            InterfacePin::Xdp { native, .. } => detach_netlink_xdp(interface, ifindex, native)?,
            InterfacePin::Tc { egress, .. } => detach_clsact(interface, egress)?,
        }
    }
    remove_tree(&path)
}

fn detach_netlink_xdp(interface: &str, ifindex: u32, native: bool) -> Result<(), Error> {
    match features::detach_xdp(ifindex, native) {
        Err(error) if !is_gone(error.raw_os_error()) => {
            Err(Error::link("detaching the XDP program", interface)(error))
        }
        _ => Ok(()),
    }
}

fn detach_clsact(interface: &str, egress: bool) -> Result<(), Error> {
    let link = match clsact_link(interface, egress) {
        Err(error) if is_gone(error.raw_os_error()) => return Ok(()),
        other => other.map_err(Error::link("finding the tc program", interface))?,
    };
    match link.detach() {
        Err(ProgramError::NetlinkError(error)) if is_gone(error.raw_os_error()) => Ok(()),
        other => other.map_err(Error::link("detaching the tc program", interface)),
    }
}

/// Whether an error says that there is nothing to detach any more.
fn is_gone(code: Option<i32>) -> bool {
    matches!(code, Some(libc::ENODEV | libc::ENXIO | libc::ENOENT | libc::EINVAL))
}

/// Puts the programs of a newly loaded object in the place of the old ones: an XDP and a TCX link is
/// updated in one step; a filter at clsact is replaced under its handle. A link whose interface is
/// gone is left for who attaches anew.
pub(super) fn replace(ebpf: &mut Ebpf, dir: &Path, pin: InterfacePin, interface: &str) -> Result<(), Error> {
    let (name, what) = match pin {
        InterfacePin::Xdp { .. } => (programs::XDP, "replacing the XDP program"),
        InterfacePin::Tc { egress: false, .. } => (programs::TC_INGRESS, "replacing the tc program"),
        InterfacePin::Tc { egress: true, .. } => (programs::TC_EGRESS, "replacing the tc egress program"),
    };
    let lacks = Error::ObjectLacks { kind: "program", name };
    let result = match ebpf.program_mut(name).ok_or(lacks)? {
        Program::Xdp(xdp) => replace_xdp(xdp, dir, pin, interface),
        Program::SchedClassifier(tc) => replace_tc(tc, dir, pin, interface),
        _ => return Err(Error::ObjectLacks { kind: "XDP or tc program", name }),
    };
    match result {
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOLINK) => {
            Ok(())
        }
        other => other.map_err(Error::link(what, interface)),
    }
}

fn replace_xdp(xdp: &mut Xdp, dir: &Path, pin: InterfacePin, interface: &str) -> Result<(), ProgramError> {
    let InterfacePin::Xdp { native, link } = pin else { return Ok(()) };
    if !link {
        let mode = if native { XdpMode::Driver } else { XdpMode::Skb };
        let id = xdp.attach(interface, mode)?;
        // Not to be taken off when the note of it is dropped.
        let _ = FdLink::try_from(xdp.take_link(id)?);
        return Ok(());
    }
    let old = PinnedLink::from_pin(dir.join(pin.file())).map_err(io::Error::other)?;
    let old = XdpLink::try_from(FdLink::from(old)).map_err(io::Error::other)?;
    let id = xdp.attach_to_link(old)?;
    drop(xdp.take_link(id)?);
    Ok(())
}

fn replace_tc(
    tc: &mut SchedClassifier,
    dir: &Path,
    pin: InterfacePin,
    interface: &str,
) -> Result<(), ProgramError> {
    let InterfacePin::Tc { egress, link } = pin else { return Ok(()) };
    if !link {
        let id = tc.attach_to_link(clsact_link(interface, egress)?)?;
        keep(tc.take_link(id)?);
        return Ok(());
    }
    let old = PinnedLink::from_pin(dir.join(pin.file())).map_err(io::Error::other)?;
    let old = SchedClassifierLink::try_from(FdLink::from(old)).map_err(io::Error::other)?;
    let id = tc.attach_to_link(old)?;
    drop(tc.take_link(id)?);
    Ok(())
}

/// An error with all its causes, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
