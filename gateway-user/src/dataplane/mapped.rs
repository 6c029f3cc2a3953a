//! BPF arrays as memory: read and written without a system call.

use super::Error;
use bytemuck::Pod;
use memmap2::{MmapOptions, MmapRaw};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

/// A mapped BPF array of `T`, readable. `T` is plain words whose size is a multiple of eight, so
/// that elements lie one behind the other as in the kernel.
///
/// The kernel writes while we read. A single aligned word is never torn; several words of one
/// element may be of different moments.
pub(super) struct Mapped<T> {
    memory: MmapRaw,
    len: u32,
    element: PhantomData<T>,
}

/// A mapped BPF array of `T`, also writable.
pub(super) struct MappedMut<T>(Mapped<T>);

impl<T: Pod> Mapped<T> {
    /// Maps the array behind `fd`, which has `len` elements. `map` is its name, for errors.
    ///
    /// # Errors
    /// Where the kernel refuses to map it.
    pub(super) fn new(map: &'static str, fd: BorrowedFd<'_>, len: u32) -> Result<Self, Error> {
        let memory =
            options::<T>(len).map_raw_read_only(fd.as_raw_fd()).map_err(Error::map("mapping", map))?;
        Ok(Mapped { memory, len, element: PhantomData })
    }

    /// Elements.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// A copy of element `index`; nothing if it is outside.
    ///
    /// Words are read from the last to the first, each before the next: where a writer counts in
    /// the first word before it counts in a later one, the copy never shows the later without the
    /// first.
    pub(super) fn load(&self, index: u32) -> Option<T> {
        let first = self.word_of(index)?;
        let mut value = T::zeroed();
        for (i, bytes) in bytemuck::bytes_of_mut(&mut value).chunks_exact_mut(WORD).enumerate().rev() {
            bytes.copy_from_slice(&self.word(first + i).load(Ordering::Acquire).to_ne_bytes());
        }
        Some(value)
    }

    /// The word at `byte_offset` (a multiple of eight) of element `index`; nothing if it is outside.
    pub(super) fn load_u64(&self, index: u32, byte_offset: usize) -> Option<u64> {
        let first = self.word_of(index)?;
        if byte_offset >= size_of::<T>() || !byte_offset.is_multiple_of(WORD) {
            return None;
        }
        Some(self.word(first + byte_offset / WORD).load(Ordering::Acquire))
    }

    fn word_of(&self, index: u32) -> Option<usize> {
        (index < self.len).then(|| index as usize * (size_of::<T>() / WORD))
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        debug_assert!((index + 1) * WORD <= self.memory.len());
        // SAFETY: every caller has checked its element against `len`, and the mapping holds `len`
        // elements; the mapping starts at a page, so the word is aligned; it lives as long as self.
        unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().cast::<u64>().add(index)) }
    }
}

impl<T: Pod> MappedMut<T> {
    /// Maps the array behind `fd`, which has `len` elements, for reading and writing.
    ///
    /// # Errors
    /// Where the kernel refuses to map it.
    pub(super) fn new(map: &'static str, fd: BorrowedFd<'_>, len: u32) -> Result<Self, Error> {
        let memory = options::<T>(len).map_raw(fd.as_raw_fd()).map_err(Error::map("mapping", map))?;
        Ok(MappedMut(Mapped { memory, len, element: PhantomData }))
    }

    /// Writes element `index`, word by word; false if it is outside. For elements of one word, or
    /// that no packet reads yet.
    #[must_use]
    pub(super) fn store(&self, index: u32, value: &T) -> bool {
        let Some(first) = self.0.word_of(index) else { return false };
        self.store_words(first, bytemuck::bytes_of(value));
        true
    }

    /// Writes elements from `index` on; false, and nothing written, if they reach outside.
    #[must_use]
    pub(super) fn store_all(&self, index: u32, values: &[T]) -> bool {
        let fits = u64::from(index) + values.len() as u64 <= u64::from(self.0.len);
        if fits && let Some(first) = self.0.word_of(index) {
            self.store_words(first, bytemuck::cast_slice(values));
        }
        fits
    }

    /// Writes one word of element `index` at `byte_offset` (a multiple of eight); all that was
    /// written before is seen by who reads the new word. False if it is outside.
    #[must_use]
    pub(super) fn store_u64(&self, index: u32, byte_offset: usize, value: u64) -> bool {
        let Some(first) = self.0.word_of(index) else { return false };
        if byte_offset >= size_of::<T>() || !byte_offset.is_multiple_of(WORD) {
            return false;
        }
        self.0.word(first + byte_offset / WORD).store(value, Ordering::Release);
        true
    }

    /// Changes one word of element `index` at `byte_offset` as `change` says, though others change it
    /// at the same time; false if it is outside or `change` says nothing.
    #[must_use]
    pub(super) fn fetch_update_u64(
        &self,
        index: u32,
        byte_offset: usize,
        change: impl FnMut(u64) -> Option<u64>,
    ) -> bool {
        let Some(first) = self.0.word_of(index) else { return false };
        if byte_offset >= size_of::<T>() || !byte_offset.is_multiple_of(WORD) {
            return false;
        }
        let word = self.0.word(first + byte_offset / WORD);
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    fn store_words(&self, first: usize, bytes: &[u8]) {
        for (i, bytes) in bytes.as_chunks::<WORD>().0.iter().enumerate() {
            self.0.word(first + i).store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }
}

impl<T> std::ops::Deref for MappedMut<T> {
    type Target = Mapped<T>;
    fn deref(&self) -> &Mapped<T> {
        &self.0
    }
}

fn options<T>(len: u32) -> MmapOptions {
    const { assert!(size_of::<T>() > 0 && size_of::<T>().is_multiple_of(WORD)) };
    let mut options = MmapOptions::new();
    options.len(len as usize * size_of::<T>());
    options
}
