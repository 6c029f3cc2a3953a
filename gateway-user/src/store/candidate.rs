//! The candidate's file.

use super::{NewSlots, PolicyRecord, StoreError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

const FILE: &str = "candidate.json";
/// Written first, and then renamed: the file is there as a whole or not at all.
const FRESH: &str = "candidate.json.new";

/// A policy on its way to being live, and the slots that its names need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The policy.
    pub record: PolicyRecord,
    /// Slots that no name had before.
    pub slots: NewSlots,
}

pub(super) fn write(folder: &Path, candidate: &Candidate) -> Result<(), StoreError> {
    let path = folder.join(FRESH);
    let failed = |source: io::Error| StoreError::File { path: path.clone(), source };
    let text = serde_json::to_vec(candidate).map_err(|error| failed(error.into()))?;
    fs::write(&path, text).map_err(failed)?;
    fs::rename(&path, folder.join(FILE)).map_err(failed)
}

pub(super) fn read(folder: &Path) -> Result<Option<Candidate>, StoreError> {
    let path = folder.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::File { path, source }),
    };
    match serde_json::from_slice(&text) {
        Ok(candidate) => Ok(Some(candidate)),
        // Whole unless the machine ended while it was written, and then nothing of it is live.
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a torn candidate is dropped");
            remove(folder)?;
            Ok(None)
        }
    }
}

pub(super) fn remove(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(FILE);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(StoreError::File { path, source }),
        _ => Ok(()),
    }
}
