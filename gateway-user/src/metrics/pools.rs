//! Targets of pools, for `/metrics`.

use super::catalog as c;
use super::family::Family;
use crate::daemon::Governor;
use crate::dataplane::TrackCounts;

/// The families of targets: a policy has some thousands at most.
pub fn collect(governor: &Governor, connections: &TrackCounts) -> [Family; 7] {
    let mut packets = Family::new(c::TARGET_PACKETS);
    let mut bytes = Family::new(c::TARGET_BYTES);
    let mut returned = Family::new(c::TARGET_RETURNED_PACKETS);
    let mut returned_bytes = Family::new(c::TARGET_RETURNED_BYTES);
    let mut open = Family::new(c::TARGET_CONNECTIONS);
    let mut opened = Family::new(c::TARGET_OPENED);
    let mut evicted = Family::new(c::TARGET_EVICTED);
    for (pool, target, counts) in governor.target_counts() {
        let labels = [pool.as_str(), target.as_str()];
        packets.count(&labels, counts.count.sent.packets);
        bytes.count(&labels, counts.count.sent.bytes);
        if !counts.tracks {
            continue;
        }
        returned.count(&labels, counts.count.returned.packets);
        returned_bytes.count(&labels, counts.count.returned.bytes);
        open.count(&labels, counts.slot.map_or(0, |slot| connections.of(slot)));
        opened.count(&labels, counts.count.opened);
        evicted.count(&labels, counts.count.evicted);
    }
    [packets, bytes, returned, returned_bytes, open, opened, evicted]
}
