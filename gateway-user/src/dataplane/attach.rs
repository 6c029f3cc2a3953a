//! Which program runs where: governed interfaces and redirect targets.

use super::features::{self, Device};
use super::links;
use super::pins::{InterfacePin, remove_tree};
use super::shape::stored;
use super::{Dataplane, Error};
use gateway_common::abi::{
    EGRESS_XDP_FRAMES, Egress, INTERFACE_INDEX_SPACE, INTERFACE_JUDGE_IN_TC, INTERFACE_NATIVE,
    INTERFACE_TX_BY_TC, Interface, maps,
};
use std::fs;
use std::path::Path;

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
    /// What holds the tc program, which sets marks and priorities in every mode.
    pub tc_link: TcLink,
    /// What holds the XDP program; nothing where tc judges.
    pub xdp_link: Option<XdpLink>,
    /// Whether it was found attached, and left as it was.
    pub adopted: bool,
}

/// A governed interface, and what was asked for it.
#[derive(Clone, Debug)]
pub(super) struct Governed {
    pub(super) attachment: Attachment,
    pub(super) asked: Mode,
}

impl Dataplane {
    /// Governs an interface: attaches the programs, or keeps those that are attached already if
    /// they sit on this very interface in a mode that `mode` allows.
    ///
    /// # Errors
    /// Where the interface is not there, the slot or index is another's, or nothing can be attached;
    /// the interface is then not governed.
    pub fn attach(&mut self, interface: &str, slot: u8, mode: Mode) -> Result<Attachment, Error> {
        check_name(interface)?;
        let ifindex = features::index_of(interface)?
            .ok_or_else(|| Error::NoInterface { name: interface.to_owned() })?;
        self.check_slot(interface, slot)?;
        self.check_index(interface, ifindex)?;
        let attachment = match self.adopt_attachment(interface, ifindex, slot, mode)? {
            Some(attachment) => attachment,
            None => {
                self.take_off(interface)?;
                self.attach_anew(interface, ifindex, slot, mode)?
            }
        };
        let governed = Governed { attachment: attachment.clone(), asked: mode };
        self.governed.insert(interface.to_owned(), governed);
        self.register_egress(interface, slot)?;
        Ok(attachment)
    }

    /// Makes an interface a redirect target. It may be absent: packets for it are then dropped with
    /// their reason until [`Dataplane::refresh_interfaces`] finds it.
    ///
    /// # Errors
    /// Where the slot is another's.
    pub fn register_egress(&mut self, interface: &str, slot: u8) -> Result<(), Error> {
        check_name(interface)?;
        self.check_slot(interface, slot)?;
        self.targets.insert(interface.to_owned(), slot);
        self.refresh_target(interface, slot).map(|_| ())
    }

    /// Ends the governing of an interface: packets pass it as if there were no gateway. It stays a
    /// redirect target. An interface that is not governed is no error.
    ///
    /// # Errors
    /// Where a program cannot be taken off.
    pub fn detach(&mut self, interface: &str) -> Result<(), Error> {
        self.take_off(interface)?;
        self.governed.remove(interface);
        Ok(())
    }

    /// Takes all programs off and removes all pins: maps, counters and policy are gone.
    ///
    /// # Errors
    /// Where something cannot be taken off or removed.
    pub fn detach_all(mut self) -> Result<(), Error> {
        for interface in self.pins.interfaces()? {
            self.take_off(&interface)?;
        }
        self.pins.remove()
    }

    /// Governed interfaces, by name.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.governed.values().map(|governed| &governed.attachment)
    }

    /// Names of interfaces that have programs of ours, also of an earlier process: what is in here
    /// and is not to be governed any more is to be detached.
    ///
    /// # Errors
    /// Where the pins cannot be listed.
    pub fn pinned_interfaces(&self) -> Result<Vec<String>, Error> {
        self.pins.interfaces()
    }

    /// Keeps what is attached, if it sits on this interface in an allowed mode.
    fn adopt_attachment(
        &mut self,
        interface: &str,
        ifindex: u32,
        slot: u8,
        mode: Mode,
    ) -> Result<Option<Attachment>, Error> {
        let dir = self.pins.interface(interface);
        let found = InterfacePin::found(&dir);
        for pin in &found {
            // A marker does not tell where; the interface's entry does.
            let sits_on = links::ifindex_of(&dir, *pin)?.unwrap_or_else(|| self.entry(ifindex).ifindex);
            if sits_on != ifindex {
                return Ok(None);
            }
        }
        let Some(mut attachment) = describe(interface, ifindex, slot, &found) else { return Ok(None) };
        let allowed = match mode {
            Mode::Auto => true,
            Mode::Native => attachment.mode == AttachedMode::Native,
            Mode::Generic => attachment.mode == AttachedMode::Generic,
            Mode::Tc => attachment.mode == AttachedMode::Tc,
        };
        if !allowed {
            return Ok(None);
        }
        attachment.adopted = true;
        if let Some(governed) = self.governed.get(interface) {
            attachment.why.clone_from(&governed.attachment.why);
        }
        self.write_entry(&attachment)?;
        Ok(Some(attachment))
    }

    /// Attaches to an interface that has nothing of ours.
    fn attach_anew(
        &mut self,
        interface: &str,
        ifindex: u32,
        slot: u8,
        mode: Mode,
    ) -> Result<Attachment, Error> {
        let dir = self.pins.interface(interface);
        fs::create_dir_all(&dir).map_err(Error::pins("making", &dir))?;
        match self.attach_programs(&dir, interface, ifindex, slot, mode) {
            Ok(attachment) => Ok(attachment),
            Err(error) => {
                if let Err(undo) = self.take_off(interface) {
                    tracing::error!(interface, error = %undo, "cleaning up after a failed attachment");
                }
                Err(error)
            }
        }
    }

    /// tc first: once XDP judges, its marks are to be set. The entry comes before either, so that
    /// the first packet already has its interface.
    fn attach_programs(
        &mut self,
        dir: &Path,
        interface: &str,
        ifindex: u32,
        slot: u8,
        mode: Mode,
    ) -> Result<Attachment, Error> {
        let first = if mode == Mode::Tc { INTERFACE_JUDGE_IN_TC } else { 0 };
        self.store_entry(Interface { ifindex, slot: u16::from(slot), flags: first })?;
        let tc = links::attach_tc(&mut self.programs.tc, dir, interface)?;
        let order: &[bool] = match mode {
            Mode::Auto => &[true, false],
            Mode::Native => &[true],
            Mode::Generic => &[false],
            Mode::Tc => &[],
        };
        let mut refusals = Vec::new();
        let mut pins = vec![tc];
        for &native in order {
            // Flags first: a native program must not run a moment under generic's rules.
            let flags = if native { self.native_flags(interface, ifindex)? } else { 0 };
            self.store_entry(Interface { ifindex, slot: u16::from(slot), flags })?;
            match links::attach_xdp(&mut self.programs.xdp, dir, ifindex, native) {
                Ok(pin) => {
                    pins.push(pin);
                    break;
                }
                Err(reason) => {
                    let name = if native { "native" } else { "generic" };
                    refusals.push(format!("{name} XDP: {reason}"));
                }
            }
        }
        let why = (!refusals.is_empty()).then(|| refusals.join("; "));
        let impossible = || {
            let reason = why.clone().unwrap_or_default();
            Error::Attach { interface: interface.to_owned(), reason }
        };
        if pins.len() == 1 && matches!(mode, Mode::Native | Mode::Generic) {
            return Err(impossible());
        }
        let mut attachment = describe(interface, ifindex, slot, &pins).ok_or_else(impossible)?;
        attachment.why = why;
        self.write_entry(&attachment)?;
        Ok(attachment)
    }

    /// Takes off what is pinned for an interface, wherever it sits, and clears its entry.
    pub(super) fn take_off(&mut self, interface: &str) -> Result<(), Error> {
        let dir = self.pins.interface(interface);
        let known = self.governed.get(interface).map(|governed| governed.attachment.ifindex);
        let mut sat_on = known.map_or_else(|| features::index_of(interface), |index| Ok(Some(index)))?;
        // XDP before tc: nothing may judge whose marks nobody sets.
        for pin in InterfacePin::found(&dir) {
            if let Some(ifindex) = links::ifindex_of(&dir, pin)?.filter(|ifindex| *ifindex != 0) {
                sat_on = Some(ifindex);
            }
            links::take_off(&dir, pin, interface, sat_on.unwrap_or(0))?;
        }
        if let Some(ifindex) = sat_on
            && self.entry(ifindex).ifindex == ifindex
        {
            self.clear_entry(ifindex)?;
        }
        remove_tree(&dir)
    }

    pub(super) fn entry(&self, ifindex: u32) -> Interface {
        self.interfaces.load(place(ifindex)).unwrap_or_default()
    }

    fn store_entry(&self, entry: Interface) -> Result<(), Error> {
        stored(maps::INTERFACES, self.interfaces.store(place(entry.ifindex), &entry))
    }

    fn clear_entry(&self, ifindex: u32) -> Result<(), Error> {
        stored(maps::INTERFACES, self.interfaces.store(place(ifindex), &Interface::default()))
    }

    /// Writes the entry that belongs to an attachment.
    pub(super) fn write_entry(&self, attachment: &Attachment) -> Result<(), Error> {
        let flags = match attachment.mode {
            AttachedMode::Native => self.native_flags(&attachment.interface, attachment.ifindex)?,
            AttachedMode::Generic => 0,
            AttachedMode::Tc => INTERFACE_JUDGE_IN_TC,
        };
        let Attachment { ifindex, slot, .. } = *attachment;
        self.store_entry(Interface { ifindex, slot: u16::from(slot), flags })
    }

    fn native_flags(&self, interface: &str, ifindex: u32) -> Result<u16, Error> {
        let Device { xdp_frames, veth } = features::device(interface, ifindex)?;
        // What a veth sends back lands in its peer, which may have nobody to take XDP frames.
        Ok(INTERFACE_NATIVE | if veth && !xdp_frames { INTERFACE_TX_BY_TC } else { 0 })
    }

    /// Writes a redirect target's entry anew; true if it changed.
    pub(super) fn refresh_target(&self, interface: &str, slot: u8) -> Result<bool, Error> {
        let egress = match features::index_of(interface)? {
            None => Egress::default(),
            Some(ifindex) => {
                let Device { xdp_frames, .. } = features::device(interface, ifindex)?;
                Egress { ifindex, flags: if xdp_frames { EGRESS_XDP_FRAMES } else { 0 } }
            }
        };
        let changed = self.egress.load(u32::from(slot)) != Some(egress);
        if changed {
            stored(maps::EGRESS, self.egress.store(u32::from(slot), &egress))?;
        }
        Ok(changed)
    }

    fn check_slot(&self, interface: &str, slot: u8) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Slot { interface: interface.to_owned(), slot, reason });
        if slot == 0 {
            return refuse("slots are 1 to 255".to_owned());
        }
        match self.targets.iter().find(|(name, taken)| **taken == slot && name.as_str() != interface) {
            Some((name, _)) => refuse(format!("it is {name}'s")),
            None => Ok(()),
        }
    }

    fn check_index(&self, interface: &str, ifindex: u32) -> Result<(), Error> {
        let same_place = |governed: &&Governed| {
            let other = &governed.attachment;
            other.interface != interface && place(other.ifindex) == place(ifindex)
        };
        match self.governed.values().find(same_place) {
            Some(governed) => {
                let other = governed.attachment.ifindex;
                Err(Error::IndexCollision { interface: interface.to_owned(), ifindex, other })
            }
            None => Ok(()),
        }
    }
}

/// An interface's place in the map.
fn place(ifindex: u32) -> u32 {
    ifindex % INTERFACE_INDEX_SPACE as u32
}

/// The attachment that these pins are; nothing if the tc program is missing.
fn describe(interface: &str, ifindex: u32, slot: u8, pins: &[InterfacePin]) -> Option<Attachment> {
    let mut mode = AttachedMode::Tc;
    let mut tc_link = None;
    let mut xdp_link = None;
    for pin in pins {
        match *pin {
            InterfacePin::Xdp { native, link } => {
                mode = if native { AttachedMode::Native } else { AttachedMode::Generic };
                xdp_link = Some(if link { XdpLink::Link } else { XdpLink::Netlink });
            }
            InterfacePin::Tc { link } => tc_link = Some(if link { TcLink::Tcx } else { TcLink::Clsact }),
        }
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

fn check_name(name: &str) -> Result<(), Error> {
    let blank_or_slash = |c: char| c == '/' || c.is_whitespace() || c == '\0';
    let good = (1..libc::IFNAMSIZ).contains(&name.len()) && !name.contains(blank_or_slash);
    if good && name != "." && name != ".." {
        return Ok(());
    }
    Err(Error::InterfaceName { name: name.to_owned() })
}
