//! Interfaces come, go and change while the policy stays.

use super::features;
use super::own_addresses::own_addresses;
use super::{Attachment, Dataplane, Error};
use gateway_common::abi::OwnAddresses;
use std::collections::HashMap;

/// What a look at the interfaces found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceChange {
    /// A governed interface is gone; its programs are taken off, and it is governed again when it
    /// comes back.
    Gone {
        /// Its name.
        interface: String,
    },
    /// A governed interface is back, or another under the same name: it is governed.
    Attached(Attachment),
    /// A governed interface is there and could not be governed; tried again at the next look.
    Failed {
        /// Its name.
        interface: String,
        /// Why not, with all causes.
        reason: String,
    },
    /// A redirect target appeared, disappeared, or takes frames in another way now.
    Target {
        /// Its name.
        interface: String,
    },
}

impl Dataplane {
    /// Looks at every governed interface, its addresses, and every redirect target again, and puts the maps
    /// right. Cheap where nothing changed; to be called on [`super::LinkEvent`]s and every few seconds, since
    /// not every change of a device's features is told.
    ///
    /// # Errors
    /// Where the kernel does not answer; a single interface that cannot be governed is told as
    /// [`InterfaceChange::Failed`].
    pub fn refresh_interfaces(&mut self) -> Result<Vec<InterfaceChange>, Error> {
        let mut changes = Vec::new();
        let addresses = own_addresses()?;
        for interface in self.governed.keys().cloned().collect::<Vec<_>>() {
            changes.extend(self.refresh_governed(&interface, &addresses)?);
        }
        for (interface, slot) in &self.targets {
            if self.refresh_target(interface, *slot)? {
                changes.push(InterfaceChange::Target { interface: interface.clone() });
            }
        }
        Ok(changes)
    }

    fn refresh_governed(
        &mut self,
        interface: &str,
        addresses: &HashMap<u32, OwnAddresses>,
    ) -> Result<Option<InterfaceChange>, Error> {
        let Some(governed) = self.governed.get(interface) else { return Ok(None) };
        let (before, slot, asked) = (governed.attachment.ifindex, governed.attachment.slot, governed.asked);
        match features::index_of(interface)? {
            Some(now) if now == before => {
                self.write_entry(&governed.attachment)?;
                self.write_own_addresses(slot, now, addresses)?;
                Ok(None)
            }
            Some(_) => Ok(Some(match self.try_attach(interface, slot, asked) {
                Ok(attachment) => InterfaceChange::Attached(attachment),
                Err(error) => {
                    let reason = super::links::causes(&error);
                    InterfaceChange::Failed { interface: interface.to_owned(), reason }
                }
            })),
            None if before != 0 => {
                self.take_off(interface)?;
                if let Some(governed) = self.governed.get_mut(interface) {
                    governed.attachment.ifindex = 0;
                }
                Ok(Some(InterfaceChange::Gone { interface: interface.to_owned() }))
            }
            None => Ok(None),
        }
    }
}
