//! The benchmarks' kernel object.
//!
//! A test run with `repeat` gives a program its own output as the next input; a program that rewrites
//! or leaves metadata would be measured on something else from the second run on. So `bench_restore`
//! moves the buffer's beginning back to where it was, puts a fresh frame into it and hands it to the program under test by a tail call; the
//! floor is the same in front of a program that passes everything. `bench_lru` and `bench_look_up` are
//! peers: the kernel's LRU hash map as a flow account, or with nothing done to what is found, and nothing
//! else. The others make, forward and end live frames.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::bindings::{xdp_action, xdp_md};
    use aya_ebpf::btf_maps::{Array, LruHashMap, ProgramArray};
    use aya_ebpf::helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_meta,
    };
    use aya_ebpf::macros::{btf_map, xdp};
    use aya_ebpf::programs::XdpContext;
    use core::arch::asm;
    use gateway_common::abi::{Count, MAX_CPUS};

    /// A store at any address: assembly, since an unaligned one becomes single bytes.
    macro_rules! put {
        ($width:literal, $at:expr, $offset:literal, $value:expr) => {
            asm!(
                concat!("*(", $width, " *)({p} + {o}) = {v}"),
                p = in(reg) $at,
                o = const $offset,
                v = in(reg) $value,
                options(nostack),
            )
        };
    }

    /// Words of a frame that are restored: 64 bytes.
    const WORDS: usize = 8;

    /// The frames, used in turn. Its size is set by the loader.
    #[btf_map]
    static FRAMES: Array<[u64; WORDS], 1> = Array::new();

    /// Next frame, how many there are less one (a power of two), and how long the buffer is, bytes.
    #[btf_map]
    static CURSOR: Array<[u32; 3], 1> = Array::new();

    /// Element 0: the program under test.
    #[btf_map]
    static TARGET: ProgramArray<1> = ProgramArray::new();

    /// How many frames were put by when: `CLOCK_MONOTONIC` nanoseconds, and their number. Before that, in two elements,
    /// how many such points there are and how many frames were put, and when the last frame was put and the last
    /// point noted. Its size is set by the loader.
    #[btf_map]
    static PROGRESS: Array<[u64; 2], 2> = Array::new();

    /// Elements of [`PROGRESS`] before the points.
    const HEADS: u32 = 2;
    /// Points are at least so far apart, nanoseconds. No shorter time without a frame is seen.
    const POINTS_NS: u64 = 1_000_000;

    /// As `bench_restore`, and notes how it gets on.
    #[xdp(frags)]
    pub fn bench_restore_watched(ctx: XdpContext) -> u32 {
        watch();
        restore(ctx.ctx).unwrap_or(xdp_action::XDP_ABORTED)
    }

    #[inline(always)]
    fn watch() {
        let (Some(numbers), Some(times)) = (PROGRESS.get_ptr_mut(0), PROGRESS.get_ptr_mut(1)) else { return };
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        // SAFETY: elements of PROGRESS; one sender writes to them.
        let ([points, frames], [last, noted]) = unsafe { (&mut *numbers, &mut *times) };
        let before = [*last, *frames];
        *last = now;
        *frames += 1;
        if now.wrapping_sub(*noted) < POINTS_NS {
            return;
        }
        *noted = now;
        // Two: what lies between them is a time without a frame. Points that do not fit are counted, so that whoever
        // reads them knows.
        for point in [before, [now, before[1]]] {
            if let Some(place) = PROGRESS.get_ptr_mut(HEADS + *points as u32) {
                // SAFETY: as above.
                unsafe { *place = point };
            }
            *points += 1;
        }
    }

    #[xdp(frags)]
    pub fn bench_restore(ctx: XdpContext) -> u32 {
        restore(ctx.ctx).unwrap_or(xdp_action::XDP_ABORTED)
    }

    #[inline(always)]
    fn restore(context: *mut xdp_md) -> Option<u32> {
        write_next(context)?;
        // SAFETY: the program's own context; there is nothing to come back to.
        unsafe { TARGET.tail_call(&XdpContext::new(context), 0) };
        None
    }

    /// Writes the next frame over the buffer, and takes metadata away.
    #[inline(always)]
    fn write_next(context: *mut xdp_md) -> Option<()> {
        let cursor = CURSOR.get_ptr_mut(0)?;
        // SAFETY: the one element of CURSOR; benchmarks run on one CPU.
        let (index, length) = unsafe {
            let index = (*cursor)[0];
            (*cursor)[0] = (index + 1) & (*cursor)[1];
            (index, (*cursor)[2])
        };
        let frame = FRAMES.get(index)?;
        // SAFETY: the context that the kernel gave to the program; a frame without metadata, and without what
        // was put in front of it, again.
        unsafe {
            let metadata = (*context).data - (*context).data_meta;
            if metadata != 0 {
                bpf_xdp_adjust_meta(context, size_of::<gateway_common::abi::Metadata>() as i32);
            }
            let more = ((*context).data_end - (*context).data).wrapping_sub(length);
            if more != 0 {
                bpf_xdp_adjust_head(context, more as i32);
            }
        }
        // SAFETY: the context again.
        let (data, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
        if data + WORDS * 8 > end {
            return None;
        }
        // SAFETY: the comparison above shows room for all words.
        unsafe { write(data, frame) };
        Some(())
    }

    /// Writes a frame in words between which no field of its IP and transport headers lies: one that does would
    /// be read only once both words have left the processor's store buffer, which no frame of a device waits for.
    ///
    /// # Safety
    /// There must be room for the words of a frame.
    #[inline(always)]
    unsafe fn write(at: usize, frame: &[u64; WORDS]) {
        // SAFETY: the caller's promise.
        unsafe {
            put!("u16", at, 0, frame[0]);
            put!("u64", at, 2, frame[0] >> 16 | frame[1] << 48);
            put!("u64", at, 10, frame[1] >> 16 | frame[2] << 48);
            put!("u64", at, 18, frame[2] >> 16 | frame[3] << 48);
            put!("u64", at, 26, frame[3] >> 16 | frame[4] << 48);
            put!("u64", at, 34, frame[4] >> 16 | frame[5] << 48);
            put!("u64", at, 42, frame[5] >> 16 | frame[6] << 48);
            put!("u64", at, 50, frame[6] >> 16 | frame[7] << 48);
            put!("u32", at, 58, frame[7] >> 16);
            put!("u16", at, 62, frame[7] >> 48);
        }
    }

    /// Leaves metadata and passes: what the restorer's taking it away costs shows in this one too.
    #[xdp(frags)]
    pub fn bench_metadata(ctx: XdpContext) -> u32 {
        // SAFETY: the program's own context; room is made in front of the frame.
        unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<gateway_common::abi::Metadata>() as i32)) };
        xdp_action::XDP_PASS
    }

    /// Makes room for an IPv4 header and passes: what moving the frame's beginning costs, there and back.
    #[xdp(frags)]
    pub fn bench_head(ctx: XdpContext) -> u32 {
        // SAFETY: the program's own context.
        unsafe { bpf_xdp_adjust_head(ctx.ctx, -20) };
        xdp_action::XDP_PASS
    }

    /// Flows by addresses and ports, as an LRU hash map keeps them.
    #[btf_map]
    static LRU: LruHashMap<[u64; 2], Count, 131_072> = LruHashMap::new();

    /// Accounts flows of frames without options and tags in an LRU hash map.
    #[xdp(frags)]
    pub fn bench_lru(ctx: XdpContext) -> u32 {
        let (data, end) = (ctx.data(), ctx.data_end());
        if data + 42 > end {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: the comparison above shows 42 bytes; addresses at 26, ports at 34.
        let key = unsafe {
            let word = |at: usize| core::ptr::read_volatile((data + at) as *const u32) as u64;
            [word(26) | word(30) << 32, word(34)]
        };
        let length = (end - data) as u64;
        match LRU.get_ptr_mut(key) {
            Some(count) => {
                // SAFETY: a live element; a race on it costs a count, as in any such program.
                let count = unsafe { &mut *count };
                count.packets += 1;
                count.bytes += length;
            }
            None => {
                let _ = LRU.insert(key, Count { packets: 1, bytes: length }, 0);
            }
        }
        xdp_action::XDP_PASS
    }

    /// Something of each source, as an LRU hash map keeps it.
    #[btf_map]
    static SOURCES: LruHashMap<u32, u64, 131_072> = LruHashMap::new();

    /// Looks the source of a frame without tags up in an LRU hash map; a new one is put into it.
    #[xdp(frags)]
    pub fn bench_look_up(ctx: XdpContext) -> u32 {
        let (data, end) = (ctx.data(), ctx.data_end());
        if data + 34 > end {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: the comparison above shows 34 bytes; the source stands at 26.
        let source = unsafe { core::ptr::read_volatile((data + 26) as *const u32) };
        match SOURCES.get_ptr(source) {
            // SAFETY: a live element; what it holds makes the verdict, so that it is read.
            Some(found) if unsafe { core::ptr::read_volatile(found) } == 0 => xdp_action::XDP_DROP,
            Some(_) => xdp_action::XDP_PASS,
            None => {
                let _ = SOURCES.insert(source, 1, 0);
                xdp_action::XDP_PASS
            }
        }
    }

    /// Element 0: the interface that live frames leave by.
    #[btf_map]
    static OUT: Array<u32, 1> = Array::new();

    /// Frames that `bench_drop` ended, by CPU.
    #[btf_map]
    static ENDED: Array<u64, MAX_CPUS> = Array::new();

    #[inline(always)]
    fn out() -> u32 {
        match OUT.get(0) {
            // SAFETY: a helper that takes plain numbers.
            Some(ifindex) => unsafe { bpf_redirect(*ifindex, 0) as u32 },
            None => xdp_action::XDP_ABORTED,
        }
    }

    /// Writes the next frame and sends it out: the generator, run on live frames.
    #[xdp(frags)]
    pub fn bench_generate(ctx: XdpContext) -> u32 {
        match write_next(ctx.ctx) {
            Some(()) => out(),
            None => xdp_action::XDP_ABORTED,
        }
    }

    /// A bare redirect: the floor of forwarding.
    #[xdp(frags)]
    pub fn bench_redirect(_ctx: XdpContext) -> u32 {
        out()
    }

    /// Counts what is IPv4, and drops everything: the end of the way.
    #[xdp(frags)]
    pub fn bench_drop(ctx: XdpContext) -> u32 {
        let (data, end) = (ctx.data(), ctx.data_end());
        // SAFETY: the first comparison shows 14 bytes.
        if data + 14 > end || unsafe { core::ptr::read_volatile((data + 12) as *const u16) } != 0x0008 {
            return xdp_action::XDP_DROP;
        }
        // SAFETY: a helper without arguments.
        if let Some(ended) = ENDED.get_ptr_mut(unsafe { bpf_get_smp_processor_id() }) {
            // SAFETY: this CPU's element.
            unsafe { *ended += 1 };
        }
        xdp_action::XDP_DROP
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
