//! The bounds of the history.

use super::{RECORDS, StoreError, TEXTS};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

/// Most generations kept.
pub const GENERATIONS_MAX: u64 = 100;
/// Most bytes of documents kept; the current one is kept whatever its size.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Removes the oldest generations until what is left is within both bounds.
pub(super) fn trim(transaction: &WriteTransaction, current: u64) -> Result<(), StoreError> {
    let mut records = transaction.open_table(RECORDS)?;
    let mut texts = transaction.open_table(TEXTS)?;
    while records.len()? > 1
        && (records.len()? > GENERATIONS_MAX || texts.stats()?.stored_bytes() > TEXT_BYTES_MAX)
    {
        let Some(oldest) = records.first()?.map(|(generation, _)| generation.value()) else {
            break;
        };
        if current == u64::from(oldest) {
            break;
        }
        records.remove(oldest)?;
        texts.remove(oldest)?;
    }
    Ok(())
}
