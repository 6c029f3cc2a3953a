//! Interfaces: governed as soon as they are there, and looked at again when something changes.

use super::governor::{Governor, Writer};
use super::live::Document;
use super::{Mode, RunError};
use crate::dataplane::{self, AttachedMode, Attachment, Dataplane, Error, InterfaceChange};
use crate::store::Slots;
use nix::net::if_::if_nametoindex;
use std::collections::{BTreeMap, BTreeSet};

/// An interface as the daemon knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Its slot.
    pub slot: u8,
    /// Its index, nothing while it is not there.
    pub index: Option<u32>,
    /// Whether it is to be governed (else it is only named by the policy).
    pub wanted: bool,
    /// How it is governed.
    pub mode: Option<AttachedMode>,
    /// Why not better.
    pub note: Option<String>,
}

impl InterfaceState {
    /// Whether packets that arrive on it are judged now.
    #[must_use]
    pub fn is_governed_now(&self) -> bool {
        self.wanted && self.index.is_some() && self.mode.is_some()
    }
}

impl From<Mode> for dataplane::Mode {
    fn from(mode: Mode) -> dataplane::Mode {
        match mode {
            Mode::Auto => dataplane::Mode::Auto,
            Mode::Native => dataplane::Mode::Native,
            Mode::Generic => dataplane::Mode::Generic,
            Mode::Tc => dataplane::Mode::Tc,
        }
    }
}

impl Governor {
    /// Governs the configured interfaces that are there, for the first time; those that have
    /// programs and are not to be governed are let go.
    ///
    /// # Errors
    /// Where nothing was governed before and an interface that is there cannot be.
    pub(super) fn govern_interfaces(&self) -> Result<(), RunError> {
        let mut writer = self.writer();
        let Some(dataplane) = writer.dataplane.as_mut() else { return Ok(()) };
        for interface in dataplane.pinned_interfaces()? {
            if !self.config.interfaces.contains(&interface) {
                dataplane.detach(&interface)?;
                tracing::info!(interface, "is not configured any more: not governed from now on");
            }
        }
        for interface in &self.config.interfaces {
            match self.attach(dataplane, interface) {
                Ok(()) | Err(Error::NoInterface { .. }) => {}
                Err(error) if self.adopted => self.cannot_govern(interface, &error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        self.publish_interfaces(&mut writer);
        Ok(())
    }

    /// Looks at all interfaces again: configured ones that came, governed ones that went or changed,
    /// redirect targets.
    pub(super) fn look_at_interfaces(&self) {
        let mut writer = self.writer();
        let Some(dataplane) = writer.dataplane.as_mut() else { return };
        match dataplane.refresh_interfaces() {
            Ok(changes) => {
                for change in &changes {
                    self.note_change(change);
                }
                self.clear_notice("interfaces");
            }
            Err(error) => self.notice("interfaces", format!("cannot look at the interfaces: {error}")),
        }
        let governed: BTreeSet<String> =
            dataplane.attachments().map(|attachment| attachment.interface.clone()).collect();
        for interface in self.config.interfaces.iter().filter(|name| !governed.contains(*name)) {
            match self.attach(dataplane, interface) {
                Ok(()) | Err(Error::NoInterface { .. }) => {}
                Err(error) => self.cannot_govern(interface, &error.to_string()),
            }
        }
        self.publish_interfaces(&mut writer);
    }

    fn attach(&self, dataplane: &mut Dataplane, interface: &str) -> Result<(), Error> {
        // Every configured name was given a slot before anything else.
        let slot = self.slots().interface(interface).unwrap_or_default();
        let attachment = dataplane.attach(interface, slot, self.config.mode.into())?;
        self.note_attachment(&attachment);
        Ok(())
    }

    fn note_attachment(&self, attachment: &Attachment) {
        let Attachment { interface, ifindex, adopted, why, .. } = attachment;
        let mode = attachment.mode.name();
        let asked = if self.config.mode == Mode::Auto { "the best mode there is" } else { "as configured" };
        let why = why.as_deref().unwrap_or(asked);
        tracing::info!(interface, ifindex, mode, adopted, why, "governed");
        self.clear_notice(&subject(interface));
    }

    fn note_change(&self, change: &InterfaceChange) {
        match change {
            InterfaceChange::Gone { interface } => tracing::warn!(interface, "is gone"),
            InterfaceChange::Attached(attachment) => self.note_attachment(attachment),
            InterfaceChange::Failed { interface, reason } => self.cannot_govern(interface, reason),
            InterfaceChange::Target { interface } => {
                tracing::info!(interface, "came, went or changed as a redirect target");
            }
        }
    }

    fn cannot_govern(&self, interface: &str, reason: &str) {
        self.notice(&subject(interface), format!("{interface} cannot be governed: {reason}"));
    }

    /// Tells readers how the interfaces are.
    pub(super) fn publish_interfaces(&self, writer: &mut Writer) {
        let Some(dataplane) = writer.dataplane.as_ref() else { return };
        let attached: BTreeMap<&str, &Attachment> =
            dataplane.attachments().map(|attachment| (attachment.interface.as_str(), attachment)).collect();
        let live = self.live();
        let named = live.iter().filter_map(|live| live.document.as_deref()).flat_map(Document::interfaces);
        let slots = self.slots();
        let names: BTreeSet<&str> = self.config.interfaces.iter().map(String::as_str).chain(named).collect();
        let notices = self.notices();
        let states = names
            .into_iter()
            .filter_map(|name| {
                let failed = notices.get(&subject(name)).map(String::as_str);
                let wanted = self.config.interfaces.iter().any(|wanted| wanted == name);
                let state = state(&slots, name, wanted, attached.get(name).copied(), failed)?;
                Some((name.to_owned(), state))
            })
            .collect();
        self.set_interface_states(states);
        self.publish_map_sizes(dataplane);
    }
}

/// Subject of an interface's notices.
fn subject(interface: &str) -> String {
    format!("interface {interface}")
}

fn state(
    slots: &Slots,
    name: &str,
    wanted: bool,
    attachment: Option<&Attachment>,
    failed: Option<&str>,
) -> Option<InterfaceState> {
    let slot = slots.interface(name)?;
    let index = if_nametoindex(name).ok();
    let attachment = attachment.filter(|attachment| index == Some(attachment.ifindex));
    let note = match (attachment, index) {
        (Some(attachment), _) => attachment.why.clone(),
        (None, None) => Some("is not there".to_owned()),
        (None, Some(_)) => failed.filter(|_| wanted).map(str::to_owned),
    };
    Some(InterfaceState { slot, index, wanted, mode: attachment.map(|attachment| attachment.mode), note })
}
