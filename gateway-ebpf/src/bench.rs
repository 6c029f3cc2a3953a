//! The benchmarks' kernel object: puts a fresh frame into the buffer and hands it to the program
//! under test by a tail call.
//!
//! A test run with `repeat` gives a program its own output as the next input; a program that rewrites
//! or leaves metadata would be measured on something else from the second run on. The floor is this
//! very program in front of one that passes everything.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::bindings::{xdp_action, xdp_md};
    use aya_ebpf::btf_maps::{Array, ProgramArray};
    use aya_ebpf::helpers::bpf_xdp_adjust_meta;
    use aya_ebpf::macros::{btf_map, xdp};
    use aya_ebpf::programs::XdpContext;

    /// Words of a frame that are restored: 64 bytes.
    const WORDS: usize = 8;

    /// The frames, used in turn. Its size is set by the loader.
    #[btf_map]
    static FRAMES: Array<[u64; WORDS], 1> = Array::new();

    /// Next frame, and how many there are less one (a power of two).
    #[btf_map]
    static CURSOR: Array<[u32; 2], 1> = Array::new();

    /// Element 0: the program under test.
    #[btf_map]
    static TARGET: ProgramArray<1> = ProgramArray::new();

    #[xdp(frags)]
    pub fn bench_restore(ctx: XdpContext) -> u32 {
        restore(ctx.ctx).unwrap_or(xdp_action::XDP_ABORTED)
    }

    #[inline(always)]
    fn restore(context: *mut xdp_md) -> Option<u32> {
        let cursor = CURSOR.get_ptr_mut(0)?;
        // SAFETY: the one element of CURSOR; benchmarks run on one CPU.
        let index = unsafe {
            let index = (*cursor)[0];
            (*cursor)[0] = (index + 1) & (*cursor)[1];
            index
        };
        let frame = FRAMES.get(index)?;
        // SAFETY: the context that the kernel gave to the program; a frame without metadata again.
        unsafe {
            let metadata = (*context).data - (*context).data_meta;
            if metadata != 0 {
                bpf_xdp_adjust_meta(context, 24);
            }
        }
        // SAFETY: the context again.
        let (data, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
        if data + WORDS * 8 > end {
            return None;
        }
        for (i, word) in frame.iter().enumerate() {
            // SAFETY: the comparison above shows room for all words.
            unsafe { core::ptr::write_volatile((data as *mut u64).add(i), *word) };
        }
        // SAFETY: the program's own context; there is nothing to come back to.
        unsafe { TARGET.tail_call(&XdpContext::new(context), 0) };
        None
    }

    /// A loop, so that the verifier finds a panic path that the optimizer left.
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
