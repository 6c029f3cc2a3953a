//! The bounded cursor: the only packet-pointer arithmetic.
//!
//! Three things make it pass every supported verifier. The offset is masked and added to the packet
//! pointer in one `asm!` block, so that the optimizer can neither drop the mask nor compute the
//! pointer a second time; the end is compared with that very pointer; and fields are loaded at
//! constant offsets from it, a word at a time, since a misaligned field read through a Rust
//! reference becomes single-byte loads.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::bpf_csum_diff;
use core::arch::asm;
use gateway_common::parse::Header;

/// Larger than any offset the parser reaches (two tags, IPv6, six extension headers of 2 KiB).
const OFFSET_MASK: u64 = 0x3fff;

/// The packet's bytes between two packet pointers.
#[derive(Clone, Copy)]
pub struct Bytes {
    data: u64,
    end: u64,
}

impl Bytes {
    /// From a context's `data` and `data_end`.
    #[inline(always)]
    fn new(data: usize, end: usize) -> Bytes {
        Bytes { data: data as u64, end: end as u64 }
    }

    /// Of a frame at XDP, as it is now.
    #[inline(always)]
    pub fn of_xdp(context: *mut xdp_md) -> Bytes {
        // SAFETY: the context that the kernel gave to the program. Volatile, so that each caller
        // gets pointers of its own and none is kept alive from the parser to the verdict.
        let (data, end) = unsafe {
            (
                core::ptr::read_volatile(&raw const (*context).data),
                core::ptr::read_volatile(&raw const (*context).data_end),
            )
        };
        Bytes::new(data as usize, end as usize)
    }

    /// Of a frame at tc, as it is now.
    #[inline(always)]
    pub fn of_skb(context: *mut __sk_buff) -> Bytes {
        // SAFETY: as in `of_xdp`.
        let (data, end) = unsafe {
            (
                core::ptr::read_volatile(&raw const (*context).data),
                core::ptr::read_volatile(&raw const (*context).data_end),
            )
        };
        Bytes::new(data as usize, end as usize)
    }

    /// How many bytes can be read.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        (self.end - self.data) as u32
    }

    /// The `N` bytes at `offset`.
    #[inline(always)]
    pub fn header<const N: usize>(&self, offset: u32) -> Option<Checked<N>> {
        const { assert!(N >= 2) };
        let mut pointer = offset as u64;
        // SAFETY: plain arithmetic on registers; nothing is read or written.
        unsafe {
            asm!(
                "{p} &= {mask}",
                "{p} += {data}",
                p = inout(reg) pointer,
                data = in(reg) self.data,
                mask = const OFFSET_MASK,
                options(pure, nomem, nostack),
            );
        }
        if pointer + N as u64 > self.end { None } else { Some(Checked { pointer }) }
    }
}

/// `N` bytes of packet whose presence was checked.
#[derive(Clone, Copy)]
pub struct Checked<const N: usize> {
    pointer: u64,
}

macro_rules! load {
    ($width:literal, $pointer:expr, $offset:expr) => {{
        let value: u64;
        // SAFETY: `Bytes::header` compared pointer + N with the end of the packet, and the caller
        // asserts that offset + width is at most N.
        unsafe {
            asm!(
                concat!("{v} = *(", $width, " *)({p} + {o})"),
                v = out(reg) value,
                p = in(reg) $pointer,
                o = const $offset,
                options(pure, readonly, nostack),
            );
        }
        value
    }};
}

impl<const N: usize> Header<N> for Checked<N> {
    #[inline(always)]
    fn byte<const O: usize>(self) -> u8 {
        const { assert!(O < N) };
        load!("u8", self.pointer, O) as u8
    }
    #[inline(always)]
    fn be16<const O: usize>(self) -> u16 {
        const { assert!(O + 2 <= N) };
        u16::from_be(load!("u16", self.pointer, O) as u16)
    }
    #[inline(always)]
    fn be32<const O: usize>(self) -> u32 {
        const { assert!(O + 4 <= N) };
        u32::from_be(load!("u32", self.pointer, O) as u32)
    }
    #[inline(always)]
    fn be64<const O: usize>(self) -> u64 {
        const { assert!(O + 8 <= N) };
        u64::from_be(load!("u64", self.pointer, O))
    }
}

impl<const N: usize> Checked<N> {
    /// The one's complement sum of all bytes, added to `sum`. `N` is a multiple of 4, up to 512.
    #[inline(always)]
    pub fn sum(self, sum: u32) -> Option<u32> {
        const { assert!(N.is_multiple_of(4) && N <= 512) };
        // SAFETY: `Bytes::header` has shown N bytes from here; the helper reads no more.
        let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, self.pointer as *mut u32, N as u32, sum) };
        if sum < 0 { None } else { Some(sum as u32) }
    }

    /// 16 bits from byte `O` as they lie in memory.
    #[inline(always)]
    pub fn raw16<const O: usize>(self) -> u16 {
        const { assert!(O + 2 <= N) };
        load!("u16", self.pointer, O) as u16
    }

    /// 32 bits from byte `O` as they lie in memory.
    #[inline(always)]
    pub fn raw32<const O: usize>(self) -> u32 {
        const { assert!(O + 4 <= N) };
        load!("u32", self.pointer, O) as u32
    }

    /// Writes byte `O`.
    #[inline(always)]
    pub fn put8<const O: usize>(self, value: u8) {
        const { assert!(O < N) };
        // SAFETY: within the N bytes that were checked.
        unsafe {
            asm!("*(u8 *)({p} + {o}) = {v}", p = in(reg) self.pointer, o = const O, v = in(reg) value as u64, options(nostack));
        }
    }

    /// Writes 16 bits at byte `O` as they are.
    #[inline(always)]
    pub fn put_raw16<const O: usize>(self, value: u16) {
        const { assert!(O + 2 <= N) };
        // SAFETY: within the N bytes that were checked.
        unsafe {
            asm!("*(u16 *)({p} + {o}) = {v}", p = in(reg) self.pointer, o = const O, v = in(reg) value as u64, options(nostack));
        }
    }

    /// Writes 32 bits at byte `O` as they are.
    #[inline(always)]
    pub fn put_raw32<const O: usize>(self, value: u32) {
        const { assert!(O + 4 <= N) };
        // SAFETY: within the N bytes that were checked.
        unsafe {
            asm!("*(u32 *)({p} + {o}) = {v}", p = in(reg) self.pointer, o = const O, v = in(reg) value as u64, options(nostack));
        }
    }

    /// Writes 16 bits at byte `O`, in network order.
    #[inline(always)]
    pub fn put16<const O: usize>(self, value: u16) {
        const { assert!(O + 2 <= N) };
        self.put_raw16::<O>(value.to_be());
    }

    /// Writes 32 bits at byte `O`, in network order.
    #[inline(always)]
    pub fn put32<const O: usize>(self, value: u32) {
        const { assert!(O + 4 <= N) };
        self.put_raw32::<O>(value.to_be());
    }
}

impl Checked<14> {
    /// Swaps the Ethernet header's addresses: the frame goes back where it came from.
    #[inline(always)]
    pub fn swap_ethernet_addresses(self) {
        let destination_high = load!("u32", self.pointer, 0);
        let destination_low = load!("u16", self.pointer, 4);
        let source_high = load!("u32", self.pointer, 6);
        let source_low = load!("u16", self.pointer, 10);
        // SAFETY: twelve bytes of a header whose fourteen were checked.
        unsafe {
            asm!(
                "*(u32 *)({p} + 0) = {sh}",
                "*(u16 *)({p} + 4) = {sl}",
                "*(u32 *)({p} + 6) = {dh}",
                "*(u16 *)({p} + 10) = {dl}",
                p = in(reg) self.pointer,
                sh = in(reg) source_high,
                sl = in(reg) source_low,
                dh = in(reg) destination_high,
                dl = in(reg) destination_low,
                options(nostack),
            );
        }
    }
}
