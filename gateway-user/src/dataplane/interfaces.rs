//! The maps of interfaces: what the programs know of those that packets arrive on and leave by.

use super::attach::Governed;
use super::attachment::{AttachedMode, Attachment};
use super::features::{self, Device};
use super::shape::stored;
use super::{Dataplane, Error};
use gateway_common::abi::{
    EGRESS_XDP_FRAMES, Egress, INTERFACE_INDEX_SPACE, INTERFACE_JUDGE_IN_TC, INTERFACE_LOOPBACK,
    INTERFACE_NATIVE, INTERFACE_TX_BY_REDIRECT, INTERFACE_TX_BY_TC, Interface, maps,
};

/// The loopback device's index in every network namespace (include/net/flow.h).
const LOOPBACK_IFINDEX: u32 = 1;

impl Dataplane {
    pub(super) fn entry(&self, ifindex: u32) -> Interface {
        self.interfaces.load(place(ifindex)).unwrap_or_default()
    }

    pub(super) fn store_entry(&self, entry: Interface) -> Result<(), Error> {
        stored(maps::INTERFACES, self.interfaces.store(place(entry.ifindex), &entry))
    }

    pub(super) fn clear_entry(&self, ifindex: u32) -> Result<(), Error> {
        stored(maps::INTERFACES, self.interfaces.store(place(ifindex), &Interface::default()))
    }

    /// Writes the entry that belongs to an attachment.
    pub(super) fn write_entry(&self, attachment: &Attachment) -> Result<(), Error> {
        let mut flags = match attachment.mode {
            AttachedMode::Native => self.native_flags(&attachment.interface, attachment.ifindex)?,
            AttachedMode::Generic => 0,
            AttachedMode::Tc => INTERFACE_JUDGE_IN_TC,
        };
        let Attachment { ifindex, slot, .. } = *attachment;
        if ifindex == LOOPBACK_IFINDEX {
            flags |= INTERFACE_LOOPBACK;
        }
        self.store_entry(Interface { ifindex, slot: u16::from(slot), flags })
    }

    pub(super) fn native_flags(&self, interface: &str, ifindex: u32) -> Result<u16, Error> {
        let Device { xdp_frames, veth } = features::device(interface, ifindex)?;
        // What a veth sends back lands in its peer: XDP_TX only if that has a program, which cannot
        // be seen from here, a redirect if it takes XDP frames, which can.
        let way_back = match (veth, xdp_frames) {
            (false, _) => 0,
            (true, true) => INTERFACE_TX_BY_REDIRECT,
            (true, false) => INTERFACE_TX_BY_TC,
        };
        Ok(INTERFACE_NATIVE | way_back)
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

    pub(super) fn check_slot(&self, interface: &str, slot: u8) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Slot { interface: interface.to_owned(), slot, reason });
        if slot == 0 {
            return refuse("slots are 1 to 255".to_owned());
        }
        match self.targets.iter().find(|(name, taken)| **taken == slot && name.as_str() != interface) {
            Some((name, _)) => refuse(format!("it is {name}'s")),
            None => Ok(()),
        }
    }

    pub(super) fn check_index(&self, interface: &str, ifindex: u32) -> Result<(), Error> {
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

/// Refuses what the kernel would not take for a name.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let blank_or_slash = |c: char| c == '/' || c.is_whitespace() || c == '\0';
    let good = (1..libc::IFNAMSIZ).contains(&name.len()) && !name.contains(blank_or_slash);
    if good && name != "." && name != ".." {
        return Ok(());
    }
    Err(Error::InterfaceName { name: name.to_owned() })
}
