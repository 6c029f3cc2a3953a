use super::*;
use crate::packet::ipv4_address;
use proptest::prelude::*;

const TCP: u8 = protocol::TCP;
const UDP: u8 = protocol::UDP;

fn walk(protocol: u8, steps: &[(Direction, u8)]) -> Vec<u8> {
    let mut state = phase::HALF_OPEN;
    let mut phases = Vec::new();
    for (direction, flags) in steps {
        state = next_state(state, *direction, protocol, *flags);
        phases.push(state & PHASE);
    }
    phases
}

#[test]
fn a_tcp_connection_from_its_first_packet_to_its_last() {
    use Direction::{Forward, Return};
    use phase::{ANSWERED, CLOSING, HALF_OPEN, OPEN};
    let steps = [
        (Forward, SYN, HALF_OPEN),
        (Return, SYN | ACK, ANSWERED),
        (Forward, SYN, ANSWERED),
        (Forward, ACK, OPEN),
        (Return, ACK, OPEN),
        (Forward, FIN | ACK, OPEN),
        (Return, ACK, OPEN),
        (Return, FIN | ACK, CLOSING),
        (Forward, ACK, CLOSING),
    ];
    let given: Vec<_> = steps.iter().map(|(direction, flags, _)| (*direction, *flags)).collect();
    let mut expected: Vec<_> = steps.iter().map(|(.., phase)| *phase).collect();
    // The last ACK is no reason to open again, but the walk would: both halves have ended.
    *expected.last_mut().expect("there are steps") = CLOSING;
    assert_eq!(walk(TCP, &given), expected);
}

#[test]
fn a_reset_counts_if_silence_follows() {
    use Direction::{Forward, Return};
    let steps = [(Return, SYN | ACK), (Forward, ACK), (Forward, RST), (Return, ACK)];
    assert_eq!(walk(TCP, &steps), [phase::ANSWERED, phase::OPEN, phase::CLOSING, phase::OPEN]);
}

#[test]
fn no_client_alone_opens_a_connection() {
    use Direction::Forward;
    for steps in [[SYN, RST, ACK], [RST, ACK, ACK], [FIN | ACK, RST, FIN | ACK]] {
        let given = steps.map(|flags| (Forward, flags));
        assert!(!walk(TCP, &given).contains(&phase::OPEN), "{steps:?}");
    }
}

#[test]
fn what_stands_for_a_port_is_known() {
    let packet = |family, protocol, kind: u16, length: u32| Packet {
        family,
        protocol,
        flags: if kind == 0xff { flags::HAS_PORTS } else { flags::HAS_ICMP },
        port: kind << 8,
        l4_offset: 34,
        end: 34 + length,
        ..Packet::default()
    };
    for (family, protocol, kind, length, has, takes) in [
        (4, protocol::ICMP, 8, 8, true, true),
        (4, protocol::ICMP, 0, 8, true, false),
        (4, protocol::ICMP, 3, 36, false, false),
        (6, protocol::ICMPV6, 128, 8, true, true),
        (6, protocol::ICMPV6, 128, 7, false, false),
        (6, protocol::ICMPV6, 129, 8, true, false),
        (4, TCP, 0xff, 20, false, true),
        (6, UDP, 0xff, 8, false, true),
        (4, protocol::SCTP, 0xff, 12, false, false),
    ] {
        let packet = packet(family, protocol, kind, length);
        assert_eq!((has_identifier(&packet), takes_another_port(&packet)), (has, takes), "{packet:?}");
    }
}

#[test]
fn without_handshakes_an_answer_opens() {
    use Direction::{Forward, Return};
    assert_eq!(
        walk(UDP, &[(Forward, 0), (Return, 0), (Forward, 0)]),
        [phase::HALF_OPEN, phase::OPEN, phase::OPEN]
    );
}

#[test]
fn only_a_new_syn_begins_anew_and_only_where_one_is_closing() {
    assert!(begins_anew(phase::CLOSING | CLIENT_ENDED, TCP, SYN));
    assert!(!begins_anew(phase::CLOSING, TCP, ACK));
    assert!(!begins_anew(phase::CLOSING, TCP, SYN | ACK));
    assert!(!begins_anew(phase::OPEN, TCP, SYN));
    assert!(!begins_anew(phase::CLOSING, UDP, SYN));
}

#[test]
fn a_time_out_ends_it_and_turning_over_does_not() {
    let connection = Tracked { idle: 3_600, half_open: 30, closing: 10, ..Tracked::default() };
    for now in [0, 5, TIME_MASK - 5, TIME_MASK] {
        for (state, units) in [(phase::OPEN, 3_600), (phase::ANSWERED, 30), (phase::CLOSING, 10)] {
            let tag = Tag::new(0, state, connection.deadline(state, now));
            let at = |after: u32| now.wrapping_add(after) & TIME_MASK;
            assert!(tag.is_live(now) && tag.is_live(at(units)) && !tag.is_free(at(units)));
            assert!(!tag.is_live(at(units + 1)) && tag.is_free(at(units + 1)));
            assert!(!tag.is_live(at(units + 1_000_000)));
        }
    }
}

#[test]
fn a_place_that_is_being_taken_is_neither_live_nor_free() {
    for now in [0, 1, TIME_MASK] {
        assert!(!Tag::CLAIMED.is_live(now) && !Tag::CLAIMED.is_free(now));
    }
    assert!(Tag(0).is_free(7) && !Tag(0).is_live(7));
}

#[test]
fn both_sides_of_a_connection_are_found_by_what_their_packets_show() {
    let connection = Tracked {
        client: ipv4_address(1),
        service: ipv4_address(2),
        client_port: 3,
        service_port: 4,
        protocol: TCP,
        target: ipv4_address(5),
        source: ipv4_address(6),
        target_port: 7,
        source_port: 8,
        ..Tracked::default()
    };
    assert_eq!(connection.hash(9), hash(9, ipv4_address(1), ipv4_address(2), 3, 4, TCP));
    assert_eq!(connection.return_hash(9), hash(!9, ipv4_address(5), ipv4_address(6), 7, 8, TCP));
}

proptest! {
    #[test]
    fn a_tag_gives_back_what_it_was_made_of(hash: u64, state: u8, deadline in 0..=TIME_MASK) {
        let tag = Tag::new(hash, state, deadline);
        prop_assert!(tag.has(hash));
        prop_assert_eq!(tag.state(), state);
        prop_assert_eq!(tag.deadline(), deadline);
        prop_assert!(!tag.has(hash ^ 1 << 63));
    }

    #[test]
    fn every_state_has_a_phase_of_a_connection(
        steps in proptest::collection::vec((any::<bool>(), any::<u8>()), 0..40),
        protocol in prop_oneof![Just(TCP), Just(UDP), Just(protocol::ICMP)],
    ) {
        let mut state = phase::HALF_OPEN;
        for (is_return, flags) in steps {
            let direction = if is_return { Direction::Return } else { Direction::Forward };
            state = next_state(state, direction, protocol, flags);
            prop_assert!((phase::HALF_OPEN..=phase::CLOSING).contains(&(state & PHASE)));
            if state & (CLIENT_ENDED | TARGET_ENDED) == CLIENT_ENDED | TARGET_ENDED {
                prop_assert_eq!(state & PHASE, phase::CLOSING);
            }
        }
    }
}
