//! Builds the kernel object of the benchmarks.

include!("../gateway-ebpf/build_object.rs");

fn main() {
    build_object("bench");
}
