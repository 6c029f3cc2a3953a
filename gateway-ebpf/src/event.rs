//! Reports of packets, sampled ones and those that set something off, through the ring buffer.

use crate::account::telemetry;
use crate::classify::generation;
use crate::maps;
use crate::pipeline::Judged;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_log_ebpf::{debug, error};
use gateway_common::abi::{Control, PacketEvent, Telemetry};

/// Steps of the golden ratio visit the 64-bit circle evenly (Weyl): comparing with a threshold
/// samples at its rate without a random number for each packet.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Logs that a flow was classified. The verifier removes it unless the log level is raised at load.
#[inline(always)]
pub fn classified(slot: u16, counter: u32, stamp: u32) {
    debug!(&(), "interface slot {}: a flow goes to counter {} under stamp {}", slot, counter, stamp);
}

/// Logs that the policy's tables could not be read.
#[inline(always)]
pub fn policy_fault(slot: u16, stamp: u32) {
    error!(&(), "interface slot {}: the tables under stamp {} point outside themselves", slot, stamp);
}

/// Whether the packet with this sequence number is to be reported.
#[inline(always)]
pub fn is_sampled(control: &Control, sequence: u64, dropped: bool) -> bool {
    let below = if dropped { control.sample_drops_below } else { control.sample_below };
    sequence.wrapping_mul(GOLDEN) < below
}

/// Reports a packet, or counts the report as lost.
#[inline(always)]
pub fn report(judged: &Judged, hook: u32, ifindex: u32) {
    let Some(mut event) = maps::EVENTS.reserve(0) else {
        telemetry(judged.cpu, Telemetry::EventsLost, 1);
        return;
    };
    let packet = &judged.packet;
    event.write(PacketEvent {
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        source: packet.source,
        destination: packet.destination,
        ifindex,
        length: judged.length,
        counter: judged.counter,
        generation: generation(judged.active),
        mark: judged.mark,
        source_port: packet.source_port,
        port: packet.port,
        family: packet.family,
        protocol: packet.protocol,
        verdict: judged.verdict as u8,
        reason: judged.reason as u8,
        hook: hook as u8,
        tcp_flags: packet.tcp_flags,
        packet_flags: packet.flags,
        kind: judged.event_kind as u8,
        limit: judged.event_limit,
        reserved: 0,
        refused: judged.event_refused,
    });
    event.submit(0);
}
