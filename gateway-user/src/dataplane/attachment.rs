//! What there is to say of a governed interface.

use super::pins::InterfacePin;

/// How an interface is to be governed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Native XDP, else generic, else tc.
    #[default]
    Auto,
    /// XDP in the driver, or not at all.
    Native,
    /// XDP in the stack, or not at all.
    Generic,
    /// tc ingress.
    Tc,
}

/// How an interface is governed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// XDP in the driver.
    Native,
    /// XDP in the stack.
    Generic,
    /// tc ingress.
    Tc,
}

impl AttachedMode {
    /// The name in logs, output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AttachedMode::Native => "native",
            AttachedMode::Generic => "generic",
            AttachedMode::Tc => "tc",
        }
    }
}

/// What holds the XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpLink {
    /// A pinned link.
    Link,
    /// An attachment by netlink, which cannot be pinned and is not replaced in one step.
    Netlink,
}

/// What holds the tc program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcLink {
    /// A pinned TCX link.
    Tcx,
    /// A filter at the clsact qdisc: before kernel 6.6.
    Clsact,
}

/// A governed interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Its slot.
    pub slot: u8,
    /// Where packets are judged.
    pub mode: AttachedMode,
    /// Why a mode before it in order was not possible: every refusal.
    pub why: Option<String>,
    /// What holds the tc programs, of which that at ingress sets marks and priorities in every mode.
    pub tc_link: TcLink,
    /// What holds the XDP program; nothing where tc judges.
    pub xdp_link: Option<XdpLink>,
    /// Whether it was found attached, and left as it was.
    pub adopted: bool,
}

/// The attachment that these pins are; nothing if a tc program is missing.
pub(super) fn describe(interface: &str, ifindex: u32, slot: u8, pins: &[InterfacePin]) -> Option<Attachment> {
    let mut mode = AttachedMode::Tc;
    let mut tc_link = None;
    let mut xdp_link = None;
    let mut has_egress = false;
    for pin in pins {
        match *pin {
            InterfacePin::Xdp { native, link } => {
                mode = if native { AttachedMode::Native } else { AttachedMode::Generic };
                xdp_link = Some(if link { XdpLink::Link } else { XdpLink::Netlink });
            }
            InterfacePin::Tc { egress: false, link } => {
                tc_link = Some(if link { TcLink::Tcx } else { TcLink::Clsact });
            }
            InterfacePin::Tc { egress: true, .. } => has_egress = true,
        }
    }
    if !has_egress {
        return None;
    }
    let interface = interface.to_owned();
    Some(Attachment {
        interface,
        ifindex,
        slot,
        mode,
        why: None,
        tc_link: tc_link?,
        xdp_link,
        adopted: false,
    })
}
