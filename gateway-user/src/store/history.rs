//! The bounds of the history.

use super::{StoreError, Tables, label_files};
use redb::{ReadableTable, ReadableTableMetadata};

/// Most policies kept.
pub const POLICIES_MAX: u64 = 100;
/// Most bytes of documents kept; the newest is kept whatever its size.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of label files kept; those of the newest are kept whatever their size.
pub const LABEL_FILE_BYTES_MAX: u64 = 256 << 20;

/// Removes the oldest policies until what is left is within all bounds, and the label files that none
/// of them refers to.
pub(super) fn trim(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    loop {
        label_files::sweep(&mut tables.files, &tables.details)?;
        let within = tables.records.len()? <= POLICIES_MAX
            && tables.texts.stats()?.stored_bytes() <= TEXT_BYTES_MAX
            && tables.files.stats()?.stored_bytes() <= LABEL_FILE_BYTES_MAX;
        if within || tables.records.len()? <= 1 {
            return Ok(());
        }
        let Some(oldest) = tables.records.first()?.map(|(revision, _)| revision.value()) else {
            return Ok(());
        };
        tables.records.remove(oldest)?;
        tables.texts.remove(oldest)?;
        tables.details.remove(oldest)?;
    }
}
