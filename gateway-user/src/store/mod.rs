//! What must survive the daemon: the policy, its history, which slot a name has, and who is a live
//! member of which label.
//!
//! An embedded database in the state folder, and one file beside it. A change of policy is written
//! in two steps, so that an end in between leaves no doubt: [`Store::prepare`] writes the candidate
//! into the file before anything becomes live, [`Store::confirm`] makes it the current policy in the
//! database afterwards, durably, before anybody is told. A daemon that starts and finds a candidate
//! asks the data plane which side of the change the one before it ended on. The file is not synced
//! to the disk, which would take longer than all the rest of a change: what ends the machine ends
//! the live policy as well, and the database has the last one that was confirmed.

mod candidate;
mod error;
mod history;
mod label_files;
mod members;
mod numbers;
mod slots;

#[cfg(test)]
mod tests;

pub use candidate::Candidate;
pub use error::StoreError;
pub use label_files::LabelFileRef;
pub use members::StoredMember;
pub use slots::{NewSlots, SlotError, Slots, Used};

use label_files::LABEL_FILES;
use members::MEMBERS;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Layout of the tables below. Format 1 lacked those of labels and limits, 2 that of targets; both are
/// raised.
const FORMAT: u64 = 3;
/// The oldest that is known.
const FORMAT_OLDEST: u64 = 1;
/// Name of the database in the state folder.
const FILE: &str = "gateway.redb";
/// Memory that the database may keep pages in, bytes.
const CACHE_BYTES: usize = 16 << 20;

/// A row of [`RECORDS`].
type Row = (u32, [u64; 4], &'static str, u64);

/// Single words.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Revision → generation, digest, source, time of application (Unix seconds). Revisions only ever
/// grow; generations start anew with new maps.
const RECORDS: TableDefinition<u64, Row> = TableDefinition::new("policies");
/// Revision → document.
const TEXTS: TableDefinition<u64, &str> = TableDefinition::new("policy_texts");
/// Revision → [`Details`], JSON.
const DETAILS: TableDefinition<u64, &[u8]> = TableDefinition::new("policy_details");
/// Limit name → slot.
const LIMIT_SLOTS: TableDefinition<&str, u32> = TableDefinition::new("limit_slots");
/// Target name → slot.
const TARGET_SLOTS: TableDefinition<&str, u32> = TableDefinition::new("target_slots");
/// Label name → number.
const LABEL_NUMBERS: TableDefinition<&str, u32> = TableDefinition::new("label_numbers");
/// Route name → counter slot.
const ROUTE_SLOTS: TableDefinition<&str, u32> = TableDefinition::new("route_slots");
/// Interface name → slot.
const INTERFACE_SLOTS: TableDefinition<&str, u8> = TableDefinition::new("interface_slots");

const META_FORMAT: &str = "format";
const META_CURRENT: &str = "current_revision";
const META_FIRST_FREE_ROUTE_SLOT: &str = "first_free_route_slot";
const META_FIRST_FREE_LIMIT_SLOT: &str = "first_free_limit_slot";
const META_FIRST_FREE_TARGET_SLOT: &str = "first_free_target_slot";

/// A policy as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Its generation.
    pub generation: u32,
    /// Tells it from other policies, see [`crate::policy::digest`].
    pub digest: [u64; 4],
    /// The document.
    pub text: String,
    /// Where it came from.
    pub source: String,
    /// When it was applied, seconds since the Unix epoch.
    pub applied_at_unix_secs: u64,
    /// What else belongs to it.
    #[serde(default)]
    pub details: Details,
}

/// What belongs to a policy beside its document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The label files that it was read with.
    #[serde(default)]
    pub label_files: Vec<LabelFileRef>,
    /// The sets of labels that live members may give to one source, which it was compiled for: sorted
    /// names.
    #[serde(default)]
    pub live_sets: Vec<Vec<String>>,
    /// What holds of targets of its pools in the place of what it says.
    #[serde(flatten)]
    pub targets: TargetChanges,
}

/// What holds of targets in the place of what the policy says, by name (`web/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetChanges {
    /// Weights.
    #[serde(default)]
    pub weights: BTreeMap<String, u16>,
    /// Those that take no new connections; of pools that translate.
    #[serde(default)]
    pub drains: BTreeMap<String, Drain>,
}

impl TargetChanges {
    /// Whether all is as the policy says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty() && self.drains.is_empty()
    }
}

/// A target that takes no new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// When those that it has end; nothing where they go on to their own end. By the calendar, so that it
    /// holds across a restart of the machine. Milliseconds since the Unix epoch.
    pub ends_at_unix_ms: Option<u64>,
}

impl Details {
    /// Only the store writes them; without, there are no label files, sets and changes of targets. Damaged ones are
    /// told: a policy with label files cannot be made live again from them.
    fn read(bytes: &[u8]) -> Details {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            tracing::error!(%error, "what is kept with a stored policy (label files, live weights, drains) cannot be read");
            Details::default()
        })
    }
}

/// The open store. One process at a time: the database holds a lock.
#[derive(Debug)]
pub struct Store {
    db: Database,
    folder: PathBuf,
}

impl Store {
    /// Opens the store in `folder`, making both if they are not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another daemon has it open; [`StoreError::Format`] if a newer
    /// daemon wrote it; else what the file system or the database said.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        let path = folder.join(FILE);
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|source| StoreError::open(&path, source))?;
        let store = Store { db, folder: folder.to_owned() };
        store.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let format = meta.get(META_FORMAT)?.map(|word| word.value());
            match format {
                Some(FORMAT) => {}
                Some(found) if !(FORMAT_OLDEST..FORMAT).contains(&found) => {
                    return Err(StoreError::Format { path, found, known: FORMAT });
                }
                Some(_) | None => {
                    meta.insert(META_FORMAT, FORMAT)?;
                }
            }
            transaction.open_table(RECORDS)?;
            transaction.open_table(TEXTS)?;
            transaction.open_table(ROUTE_SLOTS)?;
            transaction.open_table(INTERFACE_SLOTS)?;
            transaction.open_table(LIMIT_SLOTS)?;
            transaction.open_table(LABEL_NUMBERS)?;
            transaction.open_table(TARGET_SLOTS)?;
            transaction.open_table(DETAILS)?;
            transaction.open_table(LABEL_FILES)?;
            transaction.open_table(MEMBERS)?;
            Ok(())
        })?;
        Ok(store)
    }

    /// The policy that was last confirmed to be live.
    ///
    /// # Errors
    /// What the database said.
    pub fn current(&self) -> Result<Option<PolicyRecord>, StoreError> {
        let transaction = self.db.begin_read()?;
        current(
            &transaction.open_table(META)?,
            &transaction.open_table(RECORDS)?,
            &transaction.open_table(TEXTS)?,
            &transaction.open_table(DETAILS)?,
        )
    }

    /// All slots ever given out.
    ///
    /// # Errors
    /// What the database said.
    pub fn slots(&self) -> Result<Slots, StoreError> {
        let transaction = self.db.begin_read()?;
        let mut known = NewSlots::default();
        for row in transaction.open_table(ROUTE_SLOTS)?.iter()? {
            let (name, slot) = row?;
            known.routes.insert(name.value().to_owned(), slot.value());
        }
        for row in transaction.open_table(INTERFACE_SLOTS)?.iter()? {
            let (name, slot) = row?;
            known.interfaces.insert(name.value().to_owned(), slot.value());
        }
        for row in transaction.open_table(LIMIT_SLOTS)?.iter()? {
            let (name, slot) = row?;
            known.limits.insert(name.value().to_owned(), slot.value());
        }
        for row in transaction.open_table(LABEL_NUMBERS)?.iter()? {
            let (name, number) = row?;
            known.labels.insert(name.value().to_owned(), number.value());
        }
        for row in transaction.open_table(TARGET_SLOTS)?.iter()? {
            let (name, slot) = row?;
            known.targets.insert(name.value().to_owned(), slot.value());
        }
        let meta = transaction.open_table(META)?;
        for (key, first_free) in [
            (META_FIRST_FREE_ROUTE_SLOT, &mut known.first_free_route),
            (META_FIRST_FREE_LIMIT_SLOT, &mut known.first_free_limit),
            (META_FIRST_FREE_TARGET_SLOT, &mut known.first_free_target),
        ] {
            if let Some(word) = meta.get(key)? {
                *first_free = u32::try_from(word.value()).unwrap_or(0);
            }
        }
        let mut slots = Slots::default();
        slots.add(known);
        Ok(slots)
    }

    /// Makes slots durable without a change of policy. [`Slots::add`] is the caller's, afterwards.
    ///
    /// # Errors
    /// What the database said; nothing is written then.
    pub fn keep_slots(&self, new: &NewSlots) -> Result<(), StoreError> {
        self.write(|transaction| write_slots(transaction, new))
    }

    /// The candidate that was prepared and neither confirmed nor abandoned: a daemon ended in between.
    ///
    /// # Errors
    /// What the file system said.
    pub fn candidate(&self) -> Result<Option<Candidate>, StoreError> {
        candidate::read(&self.folder)
    }

    /// Writes a candidate down, in the place of one before.
    ///
    /// # Errors
    /// What the file system said; the one before is there still.
    pub fn prepare(&self, candidate: &Candidate) -> Result<(), StoreError> {
        candidate::write(&self.folder, candidate)
    }

    /// The candidate is live: it becomes the current policy and its slots are kept, durably; history
    /// beyond its bounds goes. The same document again, applied once more, takes the place of what it
    /// was before. Confirmed again, nothing changes.
    ///
    /// # Errors
    /// What the database or the file system said; the candidate stays one then.
    pub fn confirm(&self, candidate: &Candidate) -> Result<(), StoreError> {
        let Candidate { record, slots } = candidate;
        let details = serde_json::to_vec(&record.details)
            .map_err(|error| StoreError::File { path: self.folder.clone(), source: error.into() })?;
        self.write(|transaction| {
            write_slots(transaction, slots)?;
            let mut meta = transaction.open_table(META)?;
            let mut tables = Tables {
                records: transaction.open_table(RECORDS)?,
                texts: transaction.open_table(TEXTS)?,
                details: transaction.open_table(DETAILS)?,
                files: transaction.open_table(LABEL_FILES)?,
            };
            let before = current(&meta, &tables.records, &tables.texts, &tables.details)?;
            if before.as_ref() == Some(record) {
                return Ok(());
            }
            let last = tables.records.last()?.map_or(0, |(revision, _)| revision.value());
            let again = before.is_some_and(|before| before.is_document_of(record));
            let revision = if again { last } else { last + 1 };
            let row = (record.generation, record.digest, record.source.as_str(), record.applied_at_unix_secs);
            tables.records.insert(revision, row)?;
            tables.texts.insert(revision, record.text.as_str())?;
            tables.details.insert(revision, details.as_slice())?;
            meta.insert(META_CURRENT, revision)?;
            history::trim(&mut tables)
        })?;
        candidate::remove(&self.folder)
    }

    /// The candidate did not become live: it goes, and the slots that were planned for it.
    ///
    /// # Errors
    /// What the file system said; the candidate stays one then.
    pub fn abandon(&self) -> Result<(), StoreError> {
        candidate::remove(&self.folder)
    }

    /// Runs `change` in a transaction that is durable once this returns, or leaves no trace.
    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.db.begin_write()?;
        match change(&transaction) {
            Ok(()) => Ok(transaction.commit()?),
            Err(error) => {
                transaction.abort()?;
                Err(error)
            }
        }
    }
}

/// What the history is made of.
struct Tables<'t> {
    records: Table<'t, u64, Row>,
    texts: Table<'t, u64, &'static str>,
    details: Table<'t, u64, &'static [u8]>,
    files: Table<'t, [u64; 4], &'static [u8]>,
}

impl PolicyRecord {
    /// Whether this is the same document with the same meaning, whenever it was applied.
    fn is_document_of(&self, other: &PolicyRecord) -> bool {
        (self.digest, &self.text, &self.source) == (other.digest, &other.text, &other.source)
    }
}

/// The current policy.
fn current(
    meta: &impl ReadableTable<&'static str, u64>,
    records: &impl ReadableTable<u64, Row>,
    texts: &impl ReadableTable<u64, &'static str>,
    details: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<Option<PolicyRecord>, StoreError> {
    let Some(revision) = meta.get(META_CURRENT)?.map(|word| word.value()) else { return Ok(None) };
    let (Some(row), Some(text)) = (records.get(revision)?, texts.get(revision)?) else {
        return Ok(None);
    };
    let (generation, digest, source, applied_at_unix_secs) = row.value();
    let details = details.get(revision)?.map(|bytes| Details::read(bytes.value())).unwrap_or_default();
    Ok(Some(PolicyRecord {
        generation,
        digest,
        text: text.value().to_owned(),
        source: source.to_owned(),
        applied_at_unix_secs,
        details,
    }))
}

fn write_slots(transaction: &WriteTransaction, new: &NewSlots) -> Result<(), StoreError> {
    let mut routes = transaction.open_table(ROUTE_SLOTS)?;
    for (name, slot) in &new.routes {
        routes.insert(name.as_str(), slot)?;
    }
    let mut interfaces = transaction.open_table(INTERFACE_SLOTS)?;
    for (name, slot) in &new.interfaces {
        interfaces.insert(name.as_str(), slot)?;
    }
    let mut limits = transaction.open_table(LIMIT_SLOTS)?;
    for (name, slot) in &new.limits {
        limits.insert(name.as_str(), slot)?;
    }
    let mut labels = transaction.open_table(LABEL_NUMBERS)?;
    for (name, number) in &new.labels {
        labels.insert(name.as_str(), number)?;
    }
    let mut targets = transaction.open_table(TARGET_SLOTS)?;
    for (name, slot) in &new.targets {
        targets.insert(name.as_str(), slot)?;
    }
    let mut meta = transaction.open_table(META)?;
    for (key, first_free) in [
        (META_FIRST_FREE_ROUTE_SLOT, new.first_free_route),
        (META_FIRST_FREE_LIMIT_SLOT, new.first_free_limit),
        (META_FIRST_FREE_TARGET_SLOT, new.first_free_target),
    ] {
        let known = meta.get(key)?.map_or(0, |word| word.value());
        meta.insert(key, known.max(u64::from(first_free)))?;
    }
    Ok(())
}
