//! What can go wrong with the store.

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};
use std::path::{Path, PathBuf};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state folder cannot be made.
    #[error("cannot make the state folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another daemon has it open.
    #[error("{} is in use by another daemon: give this one its own --state-dir", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// Written by a daemon that is newer than this one.
    #[error("{} has format {found}, this daemon knows format {known}", path.display())]
    Format {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format that is known.
        known: u64,
    },
    /// A file cannot be read, written or removed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Reading or writing failed.
    #[error("the store could not be read or written: {0}")]
    Database(#[source] Box<redb::Error>),
}

impl StoreError {
    pub(super) fn open(path: &Path, source: DatabaseError) -> StoreError {
        match source {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
            source => StoreError::Open { path: path.to_owned(), source: Box::new(source.into()) },
        }
    }
}

macro_rules! from_database {
    ($($error:ty),+) => {
        $(impl From<$error> for StoreError {
            fn from(source: $error) -> StoreError {
                StoreError::Database(Box::new(source.into()))
            }
        })+
    };
}

from_database!(StorageError, TableError, TransactionError, CommitError);
