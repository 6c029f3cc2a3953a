//! The context of tc programs, as the arguments of global functions name it.

/// `struct __sk_buff` of linux/bpf.h, by its name alone, which is what the verifier knows a context by
/// (kernel/bpf/btf.c, `btf_get_prog_ctx_type`).
///
/// aya's has pointers to types that are nowhere defined. With several global functions they stand in the
/// object several times, and in which order the compiler writes them differs from one build to the next.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct __sk_buff {
    words: [u64; 24],
}
