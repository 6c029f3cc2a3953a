//! Which program runs where: governed interfaces and redirect targets.

use super::attachment::{AttachedMode, Attachment, Mode, describe};
use super::features;
use super::interfaces::check_name;
use super::links;
use super::own_addresses::own_addresses;
use super::pins::{InterfacePin, remove_tree};
use super::{Dataplane, Error};
use gateway_common::abi::{INTERFACE_JUDGE_IN_TC, Interface};
use std::fs;
use std::path::Path;

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
    /// Where the interface is not there, the slot or index is another's, or nothing can be attached
    /// in this mode; in the last case the interface is not governed any more.
    pub fn attach(&mut self, interface: &str, slot: u8, mode: Mode) -> Result<Attachment, Error> {
        let result = self.try_attach(interface, slot, mode);
        if result.is_err() && !self.pins.interface(interface).exists() {
            self.governed.remove(interface);
        }
        result
    }

    /// Attaches; an interface that was governed stays to be looked after on an error.
    pub(super) fn try_attach(&mut self, interface: &str, slot: u8, mode: Mode) -> Result<Attachment, Error> {
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
        self.write_own_addresses(slot, ifindex, &own_addresses()?)?;
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
        let egress = links::attach_tc(&mut self.programs.tc_egress, true, dir, interface)?;
        let tc = links::attach_tc(&mut self.programs.tc, false, dir, interface)?;
        let order: &[bool] = match mode {
            Mode::Auto => &[true, false],
            Mode::Native => &[true],
            Mode::Generic => &[false],
            Mode::Tc => &[],
        };
        let mut refusals = Vec::new();
        let mut pins = vec![egress, tc];
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
        if pins.len() == 2 && matches!(mode, Mode::Native | Mode::Generic) {
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
}
