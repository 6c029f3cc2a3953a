//! What label files held when a policy was applied: by digest, shared between the policies that are
//! kept, and gone with the last of them.

use super::{Details, Store, StoreError};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use redb::{ReadableDatabase, ReadableTable, Table, TableDefinition};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Digest → prefixes, see [`packed`].
pub(super) const LABEL_FILES: TableDefinition<[u64; 4], &[u8]> = TableDefinition::new("label_files");

/// Bytes of a packed IPv4 prefix.
const V4_BYTES: usize = 5;
/// Bytes of a packed IPv6 prefix.
const V6_BYTES: usize = 17;
/// Bytes in front of them: how many IPv4 prefixes there are.
const COUNT_BYTES: usize = 4;

/// A label file that a policy was read with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelFileRef {
    /// Its path, as the document names it.
    pub path: String,
    /// What it held.
    pub digest: [u64; 4],
}

impl Store {
    /// Keeps what label files held, where it is not kept already, durably. What no policy that is
    /// confirmed refers to goes with the next confirmation.
    ///
    /// # Errors
    /// What the database said; nothing is written then.
    pub fn keep_label_files<'a>(
        &self,
        files: impl Iterator<Item = ([u64; 4], &'a [IpNet])>,
    ) -> Result<(), StoreError> {
        let fresh: Vec<_> = {
            let transaction = self.db.begin_read()?;
            let table = transaction.open_table(LABEL_FILES)?;
            let mut fresh = Vec::new();
            for (digest, prefixes) in files {
                if table.get(digest)?.is_none() {
                    fresh.push((digest, prefixes));
                }
            }
            fresh
        };
        if fresh.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut table = transaction.open_table(LABEL_FILES)?;
            for (digest, prefixes) in fresh {
                table.insert(digest, packed(prefixes).as_slice())?;
            }
            Ok(())
        })
    }

    /// What a label file with this digest held, sorted as it was given; nothing if it is not kept.
    ///
    /// # Errors
    /// What the database said.
    pub fn label_file(&self, digest: [u64; 4]) -> Result<Option<Vec<IpNet>>, StoreError> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(LABEL_FILES)?;
        Ok(table.get(digest)?.and_then(|bytes| unpacked(bytes.value())))
    }
}

/// Removes what no policy refers to.
pub(super) fn sweep(
    files: &mut Table<'_, [u64; 4], &'static [u8]>,
    details: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<(), StoreError> {
    if files.first()?.is_none() {
        return Ok(());
    }
    let mut referred = HashSet::new();
    for row in details.iter()? {
        referred.extend(Details::read(row?.1.value()).label_files.into_iter().map(|file| file.digest));
    }
    files.retain(|digest, _| referred.contains(&digest))?;
    Ok(())
}

/// Prefixes in as few bytes as they need: IPv4's first.
fn packed(prefixes: &[IpNet]) -> Vec<u8> {
    let v4 = prefixes.iter().filter_map(|net| if let IpNet::V4(net) = net { Some(net) } else { None });
    let v6 = prefixes.iter().filter_map(|net| if let IpNet::V6(net) = net { Some(net) } else { None });
    let count = v4.clone().count() as u32;
    let mut bytes = Vec::with_capacity(
        COUNT_BYTES + count as usize * V4_BYTES + (prefixes.len() - count as usize) * V6_BYTES,
    );
    bytes.extend(count.to_be_bytes());
    for net in v4 {
        bytes.push(net.prefix_len());
        bytes.extend(net.network().octets());
    }
    for net in v6 {
        bytes.push(net.prefix_len());
        bytes.extend(net.network().octets());
    }
    bytes
}

fn unpacked(bytes: &[u8]) -> Option<Vec<IpNet>> {
    let (count, bytes) = bytes.split_first_chunk::<COUNT_BYTES>()?;
    let (v4, v6) = bytes.split_at_checked(u32::from_be_bytes(*count) as usize * V4_BYTES)?;
    let v4 = v4
        .as_chunks::<V4_BYTES>()
        .0
        .iter()
        .map(|[length, address @ ..]| Ipv4Net::new(Ipv4Addr::from(*address), *length).map(IpNet::V4));
    let v6 = v6
        .as_chunks::<V6_BYTES>()
        .0
        .iter()
        .map(|[length, address @ ..]| Ipv6Net::new(Ipv6Addr::from(*address), *length).map(IpNet::V6));
    v4.chain(v6).collect::<Result<_, _>>().ok()
}
