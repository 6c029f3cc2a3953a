//! Where label files come from. The reader of policies opens nothing by itself.

use std::io::{self, Read};
use std::path::PathBuf;

/// Largest label file, bytes: some ten million prefixes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Gives the reader of policies the content of label files.
pub trait LabelFiles {
    /// The content of the file that a policy names.
    ///
    /// # Errors
    /// What the operating system says; [`io::ErrorKind::Unsupported`] where no files are read.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// Reads files below a folder, and those with absolute paths.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl LabelFiles for Folder {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let path = self.0.join(path);
        // Asked before it is opened: opening a pipe would wait for its writer.
        let metadata = std::fs::metadata(&path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or(0));
        std::fs::File::open(&path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
        }
        Ok(bytes)
    }
}

/// Reads no files.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl LabelFiles for NoFiles {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "label files cannot be read here"))
    }
}
