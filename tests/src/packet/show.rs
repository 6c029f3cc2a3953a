//! Frames in words, for failures.

use std::fmt::Write;

/// The bytes in hex, sixteen a line with their offset, and what etherparse makes of them.
#[must_use]
pub fn describe(frame: &[u8]) -> String {
    let mut out = format!("{} bytes\n", frame.len());
    for (i, line) in frame.chunks(16).enumerate().take(32) {
        let _ = writeln!(out, "  {:04x}  {}", i * 16, hex(line, " "));
    }
    if frame.len() > 512 {
        let _ = writeln!(out, "  …");
    }
    match etherparse::SlicedPacket::from_ethernet(frame) {
        Ok(packet) => {
            let _ = writeln!(out, "  vlan {:?}\n  net {:?}", packet.vlan_ids(), packet.net);
            let _ = writeln!(out, "  transport {:?}", packet.transport.map(|t| format!("{t:?}")));
        }
        Err(error) => {
            let _ = writeln!(out, "  etherparse: {error}");
        }
    }
    out
}

/// Bytes in hex.
#[must_use]
pub fn hex(bytes: &[u8], between: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
}
