//! Targets of pools, for `/metrics`.

use super::catalog as c;
use super::family::Family;
use crate::daemon::Governor;

/// The families of targets: a policy has some thousands at most.
pub fn collect(governor: &Governor) -> [Family; 2] {
    let mut packets = Family::new(c::TARGET_PACKETS);
    let mut bytes = Family::new(c::TARGET_BYTES);
    for (pool, target, count) in governor.target_counts() {
        packets.count(&[&pool, &target], count.packets);
        bytes.count(&[&pool, &target], count.bytes);
    }
    [packets, bytes]
}
