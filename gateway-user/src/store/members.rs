//! Live members of labels, as they are kept.

use super::{Store, StoreError};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Label and prefix ([`key`]) → when it became a member, and the end of its time to live, 0 if it has
/// none; Unix milliseconds.
pub(super) const MEMBERS: TableDefinition<(&str, &[u8; KEY_BYTES]), (u64, u64)> =
    TableDefinition::new("label_members");

/// Family, length, address.
const KEY_BYTES: usize = 18;

/// A live member of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    /// The label.
    pub label: String,
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// Since when, Unix milliseconds.
    pub since_unix_ms: u64,
    /// Until when, Unix milliseconds; nothing for as long as it is not taken out.
    pub expires_at_unix_ms: Option<u64>,
}

impl Store {
    /// Every live member.
    ///
    /// # Errors
    /// What the database said.
    pub fn members(&self) -> Result<Vec<StoredMember>, StoreError> {
        let transaction = self.db.begin_read()?;
        let mut all = Vec::new();
        for row in transaction.open_table(MEMBERS)?.iter()? {
            let (place, times) = row?;
            let (label, bytes) = place.value();
            let (since_unix_ms, expires) = times.value();
            // Only `key` writes them.
            let Some(prefix) = prefix(bytes) else { continue };
            all.push(StoredMember {
                label: label.to_owned(),
                prefix,
                since_unix_ms,
                expires_at_unix_ms: (expires != 0).then_some(expires),
            });
        }
        Ok(all)
    }

    /// Adds members, or changes those that are there; durable once this returns.
    ///
    /// # Errors
    /// What the database said; nothing is written then.
    pub fn add_members(&self, members: &[StoredMember]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(MEMBERS)?;
            for member in members {
                let times = (member.since_unix_ms, member.expires_at_unix_ms.unwrap_or(0));
                table.insert((member.label.as_str(), &key(&member.prefix)), times)?;
            }
            Ok(())
        })
    }

    /// Takes members out, those that there are; durable once this returns.
    ///
    /// # Errors
    /// What the database said; nothing is taken out then.
    pub fn remove_members<'a>(
        &self,
        members: impl Iterator<Item = (&'a str, IpNet)>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(MEMBERS)?;
            for (label, prefix) in members {
                table.remove((label, &key(&prefix)))?;
            }
            Ok(())
        })
    }
}

fn key(prefix: &IpNet) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[1] = prefix.prefix_len();
    match prefix {
        IpNet::V4(net) => {
            key[0] = 4;
            key[2..6].copy_from_slice(&net.network().octets());
        }
        IpNet::V6(net) => {
            key[0] = 6;
            key[2..].copy_from_slice(&net.network().octets());
        }
    }
    key
}

fn prefix(key: &[u8; KEY_BYTES]) -> Option<IpNet> {
    let [family, length, address @ ..] = key;
    match family {
        4 => {
            let (address, _) = address.split_first_chunk::<4>()?;
            Ipv4Net::new(Ipv4Addr::from(*address), *length).ok().map(IpNet::V4)
        }
        6 => Ipv6Net::new(Ipv6Addr::from(*address), *length).ok().map(IpNet::V6),
        _ => None,
    }
}
