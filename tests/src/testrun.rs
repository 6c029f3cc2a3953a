//! What a test run does not take.

use gateway_common::abi::Hook;

/// What an Ethernet header takes; a test run wants as many bytes in all.
const ETHERNET: usize = 14;

/// Why some kernels let no such frame into a test run at this hook, if that is so. 6.18 does not.
#[must_use]
pub fn may_be_refused(hook: Hook, frame: &[u8]) -> Option<&'static str> {
    let ip_header = match frame.get(12..14) {
        None => return Some("test runs of this kernel take no frame below 14 bytes"),
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        Some(_) => 0,
    };
    let cut = hook == Hook::TcIngress && frame.len() < ETHERNET + ip_header;
    cut.then_some("tc test runs of this kernel take no IP frame that ends inside the IP header")
}
