//! The bounds of the history.

use super::{RECORDS, StoreError, TEXTS};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

/// Most policies kept.
pub const POLICIES_MAX: u64 = 100;
/// Most bytes of documents kept; the current one is kept whatever its size.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Removes the oldest policies until what is left is within both bounds.
pub(super) fn trim(transaction: &WriteTransaction, current: u64) -> Result<(), StoreError> {
    let mut records = transaction.open_table(RECORDS)?;
    let mut texts = transaction.open_table(TEXTS)?;
    while records.len()? > 1
        && (records.len()? > POLICIES_MAX || texts.stats()?.stored_bytes() > TEXT_BYTES_MAX)
    {
        let Some(oldest) = records.first()?.map(|(revision, _)| revision.value()) else {
            break;
        };
        if current == oldest {
            break;
        }
        records.remove(oldest)?;
        texts.remove(oldest)?;
    }
    Ok(())
}
