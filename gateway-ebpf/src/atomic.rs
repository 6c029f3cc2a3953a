//! A word that all CPUs change. `core::sync::atomic` has no read-modify-write for this target, so the
//! three instructions that are needed stand here (BPF instruction set, RFC 9669 5.3).

use core::arch::asm;

/// A 64-bit word of a map element, changed by atomic operations only.
#[derive(Clone, Copy)]
pub struct Word(*mut u64);

impl Word {
    /// # Safety
    /// `word` must be an aligned word of a live map element.
    #[inline(always)]
    pub unsafe fn new(word: *mut u64) -> Word {
        Word(word)
    }

    /// Its value.
    #[inline(always)]
    pub fn load(self) -> u64 {
        // SAFETY: by `new`; an aligned 64-bit load is not torn.
        unsafe { core::ptr::read_volatile(self.0) }
    }

    /// Sets it.
    #[inline(always)]
    pub fn store(self, value: u64) {
        // SAFETY: by `new`; an aligned 64-bit store is not torn.
        unsafe { core::ptr::write_volatile(self.0, value) }
    }

    /// Sets it if it is `old`; whether it was.
    #[inline(always)]
    pub fn replace(self, old: u64, new: u64) -> bool {
        let found: u64;
        // SAFETY: by `new`; r0 is both operand and result of the instruction.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {new})",
                word = in(reg) self.0,
                new = in(reg) new,
                inlateout("r0") old => found,
                options(nostack),
            );
        }
        found == old
    }

    /// Adds to it, wrapping; what it was before.
    #[inline(always)]
    pub fn add(self, value: u64) -> u64 {
        let mut before = value;
        // SAFETY: by `new`.
        unsafe {
            asm!(
                "{value} = atomic_fetch_add((u64 *)({word} + 0), {value})",
                word = in(reg) self.0,
                value = inout(reg) before,
                options(nostack),
            );
        }
        before
    }
}
