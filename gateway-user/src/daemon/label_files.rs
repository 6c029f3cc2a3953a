//! Where the label files of a document are read: beside it when it is applied, and from then on what
//! they held at that time, so that a restart or a change of a route needs none of them.

use super::governor::Governor;
use crate::policy::{Folder, LabelFiles, Policy};
use crate::store::LabelFileRef;
use ipnet::IpNet;
use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Where a document's label files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// In this folder, unless their paths are absolute; nothing where the document has no folder.
    Beside(Option<PathBuf>),
    /// In the store, as they were.
    Kept(Vec<LabelFileRef>),
    /// Whoever asks may have none read: a daemon reads more than they may.
    Forbidden,
}

impl Files {
    /// Beside a document of this name, which has a folder if it is an absolute path.
    #[must_use]
    pub fn beside(source: &str) -> Files {
        let path = Path::new(source);
        Files::Beside(path.is_absolute().then(|| path.parent().map(Path::to_owned)).flatten())
    }

    /// In the folder of this file.
    #[must_use]
    pub fn in_folder_of(file: &Path) -> Files {
        Files::Beside(Some(file.parent().map(Path::to_owned).unwrap_or_default()))
    }
}

/// Reads them.
pub(super) struct Reader<'g> {
    pub governor: &'g Governor,
    pub files: &'g Files,
}

impl LabelFiles for Reader<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match self.files {
            Files::Beside(Some(folder)) => Folder(folder.clone()).read(path),
            Files::Beside(None) if Path::new(path).is_absolute() => Folder(PathBuf::new()).read(path),
            Files::Beside(None) => {
                let reason = "the document was not named by an absolute path, so it has no folder";
                Err(io::Error::new(ErrorKind::NotFound, reason))
            }
            Files::Kept(kept) => self.kept(kept, path),
            Files::Forbidden => {
                let reason = "only who may change the policy may have files read";
                Err(io::Error::new(ErrorKind::PermissionDenied, reason))
            }
        }
    }
}

impl Reader<'_> {
    fn kept(&self, kept: &[LabelFileRef], path: &str) -> io::Result<Vec<u8>> {
        let missing = || io::Error::new(ErrorKind::NotFound, "the store does not have what it held");
        let digest = kept.iter().find(|file| file.path == path).ok_or_else(missing)?.digest;
        let found = self.governor.writer().store.label_file(digest).map_err(io::Error::other)?;
        Ok(lines(&found.ok_or_else(missing)?))
    }
}

/// A prefix a line.
fn lines(prefixes: &[IpNet]) -> Vec<u8> {
    let mut text = String::with_capacity(prefixes.len() * 18);
    for prefix in prefixes {
        let _ = writeln!(text, "{prefix}"); // writing to a String does not fail
    }
    text.into_bytes()
}

/// The files that a policy was read with, and what they held.
pub(super) fn of(policy: &Policy) -> impl Iterator<Item = (LabelFileRef, &[IpNet])> {
    policy.labels.values().filter_map(|label| {
        let file = label.file.as_ref()?;
        Some((LabelFileRef { path: file.path.clone(), digest: file.digest }, label.prefixes.as_slice()))
    })
}
