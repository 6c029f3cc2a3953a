//! Every metric there is: first those of `/metrics`, then those of `/metrics/flows`.

use super::family::{Definition, Kind};

macro_rules! catalog {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)+) => {
        $(pub const $constant: Definition = Definition {
            name: $name,
            help: $help,
            kind: Kind::$kind,
            labels: &[$($label),*],
        };)+
    };
}

catalog! {
    PACKETS = "gateway_packets_total", Counter, ["interface", "hook", "verdict"],
        "Packets judged, counted on exit.";
    BYTES = "gateway_bytes_total", Counter, ["interface", "hook", "verdict"],
        "Bytes of packets judged (frames without FCS).";
    RECEIVED = "gateway_received_packets_total", Counter, ["interface", "hook"],
        "Packets received, counted on entry: the sum of the verdicts and what is under way.";
    RECEIVED_BYTES = "gateway_received_bytes_total", Counter, ["interface", "hook"],
        "Bytes of packets received.";
    DROPS = "gateway_drops_total", Counter, ["interface", "reason"],
        "Packets dropped, by reason.";
    MALFORMED_PASSED = "gateway_malformed_passed_total", Counter, ["interface", "reason"],
        "Malformed packets that passed because the policy says so, by what is wrong with them.";
    ROUTE_PACKETS = "gateway_route_packets_total", Counter, ["route"],
        "Packets that a route decided; (default), (not_ip), (malformed) and (no_policy) are those that none did.";
    ROUTE_BYTES = "gateway_route_bytes_total", Counter, ["route"],
        "Bytes of packets that a route decided.";
    ROUTES_LEFT_OUT = "gateway_route_series_left_out", Gauge, [],
        "Routes of the live policy that have no series here, because there are too many.";
    TARGET_PACKETS = "gateway_target_packets_total", Counter, ["pool", "target"],
        "Packets sent to a target of a pool.";
    TARGET_BYTES = "gateway_target_bytes_total", Counter, ["pool", "target"],
        "Bytes of packets sent to a target of a pool, as they were received.";
    TARGET_RETURNED_PACKETS = "gateway_target_returned_packets_total", Counter, ["pool", "target"],
        "Packets that came back from a target of a pool that translates.";
    TARGET_RETURNED_BYTES = "gateway_target_returned_bytes_total", Counter, ["pool", "target"],
        "Bytes that came back from a target of a pool that translates.";
    TARGET_CONNECTIONS = "gateway_target_connections", Gauge, ["pool", "target"],
        "Connections of a target that are not over, of a pool that translates.";
    TARGET_OPENED = "gateway_target_connections_total", Counter, ["pool", "target"],
        "Connections that began at a target of a pool that translates.";
    TARGET_EVICTED = "gateway_target_connections_evicted_total", Counter, ["pool", "target"],
        "Half-open connections of a target that gave way to others, because the table was full.";
    TARGET_UP = "gateway_target_up", Gauge, ["pool", "target"],
        "1 if new connections go to a target at all: neither its weight nor its share is 0.";
    TARGET_CHECK_PASSING = "gateway_target_check_passing", Gauge, ["pool", "target"],
        "1 if the checks of a target pass, 0 if they fail; there is no series while that is not known.";
    TARGET_CIRCUIT = "gateway_target_circuit", Gauge, ["pool", "target", "state"],
        "1 for the state of a target's circuit: closed, open, half_open or recovering.";
    TARGET_EFFECTIVE_WEIGHT = "gateway_target_effective_weight", Gauge, ["pool", "target"],
        "Weight of a target, 0 while it drains or its checks fail, times its share.";
    TARGET_SHARE = "gateway_target_share_ratio", Gauge, ["pool", "target"],
        "Part of its new connections that a target gets by its circuit.";
    TARGET_HANDSHAKE = "gateway_target_handshake_seconds", Histogram, ["pool", "target"],
        "Time from a client's SYN to the target's answer, or to the client's next packet where answers do not pass here.";
    TARGET_UNANSWERED = "gateway_target_handshakes_unanswered_total", Counter, ["pool", "target"],
        "Connections to a target whose SYN came again, since nothing had answered it.";
    TARGET_REFUSED = "gateway_target_refused_total", Counter, ["pool", "target"],
        "Connections that a target reset before it had sent any data.";
    TARGET_RESETS = "gateway_target_resets_total", Counter, ["pool", "target"],
        "Connections that a target reset after it had sent data.";
    TARGET_RETRANSMISSIONS = "gateway_target_retransmissions_total", Counter, ["pool", "target"],
        "Segments to a target that clients sent again.";
    TARGET_PASSED_OVER = "gateway_target_passed_over_total", Counter, ["pool", "target"],
        "New connections that went to another target, since this one was not to take them.";
    TARGET_EJECTIONS = "gateway_target_ejections_total", Counter, ["pool", "target"],
        "Times that the circuit of a target opened by itself.";
    TARGET_SPARED = "gateway_target_ejections_spared_total", Counter, ["pool", "target"],
        "Times that the circuit of a target did not open, since so many others of its pool were open.";
    TARGET_HALF_OPEN = "gateway_target_half_open_connections", Gauge, ["pool", "target"],
        "Connections of a target of which only the client was heard, of a pool that translates.";
    POOL_PANIC = "gateway_pool_panic", Gauge, ["pool"],
        "1 while so little of a pool's weight is in service that all of its targets are used.";
    CHECKS = "gateway_checks_total", Counter, ["outcome"],
        "Checks of targets: passed, failed, unmade for a reason of this node's, or skipped since the one before went on.";
    CHECK_LATE = "gateway_check_late_seconds", Histogram, [],
        "How much later than planned checks of targets began.";
    TRACKED_REFUSED = "gateway_connections_refused_total", Counter, [],
        "Connections of pools that translate that found no place, and were refused.";
    ERRORS_SENT = "gateway_icmp_errors_sent_total", Counter, [],
        "ICMP errors of the gateway's own that were sent.";
    ERRORS_SUPPRESSED = "gateway_icmp_errors_suppressed_total", Counter, [],
        "ICMP errors of the gateway's own that were not sent, to keep their rate.";
    FRAGMENTS_EVICTED = "gateway_fragments_evicted_total", Counter, [],
        "First fragments that pushed out what others' later fragments would have followed.";
    GENERATION = "gateway_policy_generation", Gauge, [],
        "Generation of the live policy, 0 while there is none.";
    APPLIED = "gateway_policy_applied_timestamp_seconds", Gauge, [],
        "When the live policy was applied, 0 while there is none.";
    ROUTES = "gateway_policy_routes", Gauge, [],
        "Routes of the live policy.";
    LABEL_PREFIXES = "gateway_label_prefixes", Gauge, ["label"],
        "Prefixes that the live policy gives to a label.";
    LABEL_MEMBERS = "gateway_label_members", Gauge, ["label"],
        "Live members of a label.";
    EVENTS_RECEIVED = "gateway_events_received_total", Counter, [],
        "Packet events read since the daemon started.";
    EVENTS_LOST = "gateway_events_lost_total", Counter, [],
        "Packet events that found the ring buffer full.";
    EVENTS_MISSED = "gateway_events_missed_total", Counter, [],
        "Packet events that some follower was too slow for, since the daemon started.";
    FLOW_RECORDS = "gateway_flow_records_total", Counter, [],
        "Flow accounts that left the kernel's memo for the daemon's table.";
    FLOWS_LOST = "gateway_flows_lost_total", Counter, [],
        "Flow accounts that found the ring buffer full.";
    FLOW_PACKETS_LOST = "gateway_flow_packets_lost_total", Counter, [],
        "Packets in flow accounts that were lost.";
    FLOW_BYTES_LOST = "gateway_flow_bytes_lost_total", Counter, [],
        "Bytes in flow accounts that were lost.";
    TABLE_EVICTED = "gateway_flow_table_evicted_total", Counter, [],
        "Flows that left the daemon's table because it was full, since the daemon started.";
    TABLE_EVICTED_PACKETS = "gateway_flow_table_evicted_packets_total", Counter, [],
        "Packets of flows that left the daemon's table because it was full, since the daemon started.";
    TABLE_EVICTED_BYTES = "gateway_flow_table_evicted_bytes_total", Counter, [],
        "Bytes of flows that left the daemon's table because it was full, since the daemon started.";
    TABLE_EXPIRED = "gateway_flow_table_expired_total", Counter, [],
        "Flows that left the daemon's table because they were idle, since the daemon started.";
    MEMO_MISSES = "gateway_memo_misses_total", Counter, [],
        "Packets that were classified; all other IP packets found their flow in the kernel's memo.";
    METADATA_REFUSED = "gateway_metadata_refused_total", Counter, [],
        "Packets whose mark could not be carried to tc, because the driver takes no metadata.";
    SENDS_FAILED = "gateway_sends_failed_total", Counter, [],
        "Packets that tc could not send where it was to: counted as redirected or sent back, and lost.";
    LIMIT_PACKETS = "gateway_limit_packets_total", Counter, ["limit", "result"],
        "Packets at a limit of the live policy: admitted, or refused, whatever was done with them.";
    LIMIT_BYTES = "gateway_limit_bytes_total", Counter, ["limit", "result"],
        "Bytes of packets at a limit of the live policy.";
    LIMIT_KEYS = "gateway_limit_keys", Gauge, ["limit"],
        "Keys of a limit whose bucket is not full, banned ones among them.";
    LIMIT_BANNED = "gateway_limit_banned", Gauge, ["limit"],
        "Keys of a limit that are banned.";
    LIMIT_EVICTIONS = "gateway_limit_evictions_total", Counter, ["limit"],
        "Keys of a limit that lost their bucket while in debt, because the table was full.";
    LIMIT_BANS = "gateway_limit_bans_total", Counter, ["limit"],
        "Bans by a limit.";
    LIMITS_LEFT_OUT = "gateway_limit_series_left_out", Gauge, [],
        "Limits of the live policy that have no series here, because there are too many.";
    COOKIES_SENT = "gateway_syn_cookies_sent_total", Counter, ["route"],
        "SYN cookies sent for a route of the live policy.";
    COOKIES_PROVEN = "gateway_syn_cookies_proven_total", Counter, ["route"],
        "SYN cookies that came back to a route of the live policy.";
    COOKIES_WRONG = "gateway_syn_cookies_wrong_total", Counter, [],
        "Resets to routes under attack that held no cookie.";
    UNDER_ATTACK = "gateway_route_under_attack", Gauge, ["route"],
        "1 while SYN cookies are asked for.";
    HALF_OPEN = "gateway_half_open_connections", Gauge, ["route"],
        "Flows in the memo that are not dropped, of which only SYNs were seen, the last within a minute.";
    KEYS_EVICTED = "gateway_limit_keys_evicted_total", Counter, [],
        "Keys that lost their bucket while in debt, of all limits there ever were.";
    CONNECTIONS_REFUSED = "gateway_limit_connections_refused_total", Counter, [],
        "Connections that found no place in the table of open ones, and were refused.";
    LIMIT_CONTENDED = "gateway_limit_contended_total", Counter, [],
        "Packets refused because too many CPUs changed their limit at once.";
    MAP_ENTRIES = "gateway_map_entries", Gauge, ["map"],
        "Entries in use in a bounded table.";
    MAP_MAX_ENTRIES = "gateway_map_max_entries", Gauge, ["map"],
        "Entries that a bounded table can hold.";
    INTERFACE_MODE = "gateway_interface_mode", Gauge, ["interface", "mode"],
        "1 for the mode in which an interface is governed: native, generic, tc, or none.";
    READY = "gateway_ready", Gauge, [],
        "1 if a policy is live and every configured interface is governed.";
    STARTED = "gateway_start_time_seconds", Gauge, [],
        "When the daemon started.";
    BUILD_INFO = "gateway_build_info", Gauge, ["version", "abi", "object"],
        "1; the labels tell the daemon's version, the ABI's and the kernel object.";
}

catalog! {
    FLOW_PACKETS = "gateway_flow_packets", Gauge,
        ["interface", "vlan", "protocol", "source", "source_port", "destination", "port", "icmp",
         "fragment", "verdict", "route"],
        "Packets of the flows with the most bytes; source=\"other\" is the sum of all other flows.";
    FLOW_BYTES = "gateway_flow_bytes", Gauge,
        ["interface", "vlan", "protocol", "source", "source_port", "destination", "port", "icmp",
         "fragment", "verdict", "route"],
        "Bytes of the flows with the most bytes; source=\"other\" is the sum of all other flows.";
    FLOW_COUNT = "gateway_flows", Gauge, [],
        "Flows known now.";
    FLOW_SERIES_LEFT_OUT = "gateway_flow_series_left_out_total", Counter, [],
        "Flows that had no series of their own, added up over all scrapes since the daemon started.";
}

/// The metrics of `/metrics`.
pub const NODE: &[Definition] = &[
    PACKETS,
    BYTES,
    RECEIVED,
    RECEIVED_BYTES,
    DROPS,
    MALFORMED_PASSED,
    ROUTE_PACKETS,
    ROUTE_BYTES,
    ROUTES_LEFT_OUT,
    TARGET_PACKETS,
    TARGET_BYTES,
    TARGET_RETURNED_PACKETS,
    TARGET_RETURNED_BYTES,
    TARGET_CONNECTIONS,
    TARGET_OPENED,
    TARGET_EVICTED,
    TARGET_UP,
    TARGET_CHECK_PASSING,
    TARGET_CIRCUIT,
    TARGET_EFFECTIVE_WEIGHT,
    TARGET_SHARE,
    TARGET_HANDSHAKE,
    TARGET_UNANSWERED,
    TARGET_REFUSED,
    TARGET_RESETS,
    TARGET_RETRANSMISSIONS,
    TARGET_PASSED_OVER,
    TARGET_EJECTIONS,
    TARGET_SPARED,
    TARGET_HALF_OPEN,
    POOL_PANIC,
    CHECKS,
    CHECK_LATE,
    TRACKED_REFUSED,
    ERRORS_SENT,
    ERRORS_SUPPRESSED,
    FRAGMENTS_EVICTED,
    GENERATION,
    APPLIED,
    ROUTES,
    LABEL_PREFIXES,
    LABEL_MEMBERS,
    EVENTS_RECEIVED,
    EVENTS_LOST,
    EVENTS_MISSED,
    FLOW_RECORDS,
    FLOWS_LOST,
    FLOW_PACKETS_LOST,
    FLOW_BYTES_LOST,
    TABLE_EVICTED,
    TABLE_EVICTED_PACKETS,
    TABLE_EVICTED_BYTES,
    TABLE_EXPIRED,
    MEMO_MISSES,
    METADATA_REFUSED,
    SENDS_FAILED,
    LIMIT_PACKETS,
    LIMIT_BYTES,
    LIMIT_KEYS,
    LIMIT_BANNED,
    LIMIT_EVICTIONS,
    LIMIT_BANS,
    LIMITS_LEFT_OUT,
    COOKIES_SENT,
    COOKIES_PROVEN,
    COOKIES_WRONG,
    UNDER_ATTACK,
    HALF_OPEN,
    KEYS_EVICTED,
    CONNECTIONS_REFUSED,
    LIMIT_CONTENDED,
    MAP_ENTRIES,
    MAP_MAX_ENTRIES,
    INTERFACE_MODE,
    READY,
    STARTED,
    BUILD_INFO,
];
