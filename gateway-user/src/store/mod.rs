//! What must survive the daemon: the policy, its history, and which slot a name has.
//!
//! An embedded database in the state folder. A change of policy is written in two steps, so that a
//! crash between them leaves no doubt: [`Store::prepare`] makes the candidate and its new slots
//! durable before anything becomes live, [`Store::confirm`] makes it the current one afterwards. A
//! daemon that starts and finds a candidate asks the data plane which of the two is live.

mod error;
mod history;
mod slots;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use slots::{NewSlots, SlotError, Slots};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::path::Path;

/// Layout of the tables below.
const FORMAT: u64 = 1;
/// Name of the database in the state folder.
const FILE: &str = "gateway.redb";
/// Memory that the database may keep pages in, bytes.
const CACHE_BYTES: usize = 16 << 20;

/// Single words.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Generation → digest, source, time of application (Unix seconds).
const RECORDS: TableDefinition<u32, (&[u8; 32], &str, u64)> = TableDefinition::new("policies");
/// Generation → document.
const TEXTS: TableDefinition<u32, &str> = TableDefinition::new("policy_texts");
/// Route name → counter slot.
const ROUTE_SLOTS: TableDefinition<&str, u32> = TableDefinition::new("route_slots");
/// Interface name → slot.
const INTERFACE_SLOTS: TableDefinition<&str, u8> = TableDefinition::new("interface_slots");

const META_FORMAT: &str = "format";
const META_CURRENT: &str = "current_generation";
const META_CANDIDATE: &str = "candidate_generation";
const META_FIRST_FREE_ROUTE_SLOT: &str = "first_free_route_slot";

/// A policy as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Its generation.
    pub generation: u32,
    /// SHA-256 of the document.
    pub digest: [u8; 32],
    /// The document.
    pub text: String,
    /// Where it came from.
    pub source: String,
    /// When it was applied, seconds since the Unix epoch.
    pub applied_at_unix_secs: u64,
}

/// The open store. One process at a time: the database holds a lock.
#[derive(Debug)]
pub struct Store {
    db: Database,
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
        let store = Store { db };
        store.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let format = meta.get(META_FORMAT)?.map(|word| word.value());
            match format {
                Some(FORMAT) => {}
                Some(found) => return Err(StoreError::Format { path, found, known: FORMAT }),
                None => {
                    meta.insert(META_FORMAT, FORMAT)?;
                }
            }
            transaction.open_table(RECORDS)?;
            transaction.open_table(TEXTS)?;
            transaction.open_table(ROUTE_SLOTS)?;
            transaction.open_table(INTERFACE_SLOTS)?;
            Ok(())
        })?;
        Ok(store)
    }

    /// The policy that was last confirmed to be live.
    ///
    /// # Errors
    /// What the database said.
    pub fn current(&self) -> Result<Option<PolicyRecord>, StoreError> {
        self.record_named(META_CURRENT)
    }

    /// The policy that was prepared and neither confirmed nor abandoned: a daemon ended in between.
    ///
    /// # Errors
    /// What the database said.
    pub fn candidate(&self) -> Result<Option<PolicyRecord>, StoreError> {
        self.record_named(META_CANDIDATE)
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
        let first_free = transaction.open_table(META)?.get(META_FIRST_FREE_ROUTE_SLOT)?;
        if let Some(word) = first_free {
            known.first_free_route = u32::try_from(word.value()).unwrap_or(0);
        }
        let mut slots = Slots::default();
        slots.add(known);
        Ok(slots)
    }

    /// Makes slots durable without a change of policy, and adds them.
    ///
    /// # Errors
    /// What the database said; nothing is written or added then.
    pub fn keep_slots(&self, slots: &mut Slots, new: NewSlots) -> Result<(), StoreError> {
        if !slots.has_all(&new) {
            self.write(|transaction| write_slots(transaction, &new))?;
            slots.add(new);
        }
        Ok(())
    }

    /// Makes a candidate and the slots it needs durable, and adds them.
    ///
    /// # Errors
    /// What the database said; nothing is written or added then.
    pub fn prepare(&self, record: &PolicyRecord, slots: &mut Slots, new: NewSlots) -> Result<(), StoreError> {
        self.write(|transaction| {
            if !slots.has_all(&new) {
                write_slots(transaction, &new)?;
            }
            let row = (&record.digest, record.source.as_str(), record.applied_at_unix_secs);
            transaction.open_table(RECORDS)?.insert(record.generation, row)?;
            transaction.open_table(TEXTS)?.insert(record.generation, record.text.as_str())?;
            transaction.open_table(META)?.insert(META_CANDIDATE, u64::from(record.generation))?;
            Ok(())
        })?;
        slots.add(new);
        Ok(())
    }

    /// The candidate is live: it becomes the current one, and history beyond its bounds goes.
    ///
    /// # Errors
    /// What the database said; the candidate stays one then.
    pub fn confirm(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let Some(generation) = meta.remove(META_CANDIDATE)?.map(|word| word.value()) else {
                return Ok(());
            };
            meta.insert(META_CURRENT, generation)?;
            history::trim(transaction, generation)
        })
    }

    /// The candidate did not become live: it goes; its slots stay.
    ///
    /// # Errors
    /// What the database said; the candidate stays one then.
    pub fn abandon(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let candidate = meta.remove(META_CANDIDATE)?.map(|word| word.value());
            if let Some(generation) = candidate.and_then(|word| u32::try_from(word).ok()) {
                transaction.open_table(RECORDS)?.remove(generation)?;
                transaction.open_table(TEXTS)?.remove(generation)?;
            }
            Ok(())
        })
    }

    /// No policy is live any more; the history stays.
    ///
    /// # Errors
    /// What the database said.
    pub fn forget_current(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(META)?.remove(META_CURRENT)?;
            Ok(())
        })
    }

    /// The highest generation that the store knows, 0 if it knows none.
    ///
    /// # Errors
    /// What the database said.
    pub fn last_generation(&self) -> Result<u32, StoreError> {
        let transaction = self.db.begin_read()?;
        let records = transaction.open_table(RECORDS)?;
        Ok(records.last()?.map_or(0, |(generation, _)| generation.value()))
    }

    fn record_named(&self, name: &str) -> Result<Option<PolicyRecord>, StoreError> {
        let transaction = self.db.begin_read()?;
        let generation = transaction.open_table(META)?.get(name)?.map(|word| word.value());
        let Some(generation) = generation.and_then(|word| u32::try_from(word).ok()) else {
            return Ok(None);
        };
        let records = transaction.open_table(RECORDS)?;
        let texts = transaction.open_table(TEXTS)?;
        let (Some(row), Some(text)) = (records.get(generation)?, texts.get(generation)?) else {
            return Ok(None);
        };
        let (digest, source, applied_at_unix_secs) = row.value();
        Ok(Some(PolicyRecord {
            generation,
            digest: *digest,
            text: text.value().to_owned(),
            source: source.to_owned(),
            applied_at_unix_secs,
        }))
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

fn write_slots(transaction: &WriteTransaction, new: &NewSlots) -> Result<(), StoreError> {
    let mut routes = transaction.open_table(ROUTE_SLOTS)?;
    for (name, slot) in &new.routes {
        routes.insert(name.as_str(), slot)?;
    }
    let mut interfaces = transaction.open_table(INTERFACE_SLOTS)?;
    for (name, slot) in &new.interfaces {
        interfaces.insert(name.as_str(), slot)?;
    }
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_FIRST_FREE_ROUTE_SLOT, u64::from(new.first_free_route))?;
    Ok(())
}
