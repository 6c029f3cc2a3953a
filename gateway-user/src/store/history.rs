//! The bounds of the history.

use super::StoreError;
use redb::{ReadableTable, ReadableTableMetadata, Table};

/// Most policies kept.
pub const POLICIES_MAX: u64 = 100;
/// Most bytes of documents kept; the newest is kept whatever its size.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Removes the oldest policies until what is left is within both bounds.
pub(super) fn trim(
    records: &mut Table<'_, u64, (u32, [u64; 4], &'static str, u64)>,
    texts: &mut Table<'_, u64, &'static str>,
) -> Result<(), StoreError> {
    while records.len()? > 1
        && (records.len()? > POLICIES_MAX || texts.stats()?.stored_bytes() > TEXT_BYTES_MAX)
    {
        let Some(oldest) = records.first()?.map(|(revision, _)| revision.value()) else {
            break;
        };
        records.remove(oldest)?;
        texts.remove(oldest)?;
    }
    Ok(())
}
