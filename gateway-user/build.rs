//! Builds the kernel object that the binary embeds.

include!("../gateway-ebpf/build_object.rs");

fn main() {
    build_object("gateway");
}
