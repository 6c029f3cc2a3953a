//! Flows and events, live and handed over.

use super::super::{Error, FlowAccount, Mode, addresses};
use super::*;
use gateway_common::abi::{PacketEvent, Verdict};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A data plane that governs loopback and has a policy, so that flows are kept.
fn governed(options: &Options) -> Dataplane {
    let mut dataplane = Dataplane::open(options).unwrap();
    dataplane.attach("lo", 1, Mode::Generic).unwrap();
    dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
    dataplane
}

#[test]
fn live_flows_are_seen_with_their_times() {
    in_namespace(|| {
        let dir = PinDir::new();
        let dataplane = governed(&dir.options());
        let start = dataplane.readers().clock().unwrap().now_ns();
        let tick_ns = 10_000_000;
        for _ in 0..3 {
            run(&dataplane, &udp(1, 80), 1);
        }
        let scan = dataplane.readers().flows_live().unwrap();
        assert_eq!(scan.unsettled, 0);
        let flow = merged(&scan.flows, 80);
        assert_eq!((flow.packets, flow.bytes), (3, 180));
        assert_eq!((flow.verdict, flow.counter, flow.stamp), (Verdict::Drop, COUNTER_FIRST_ROUTE, 1));
        assert_eq!(flow.reason.unwrap().name(), "route");
        assert_eq!(flow.id.source.to_string(), "10.0.0.1");
        assert_eq!(flow.id.destination.to_string(), "10.0.0.2");
        let key = flow.id.key();
        assert_eq!((key.slot(), key.protocol(), key.source_port(), key.port()), (1, 17, 4000, 80));
        let now = dataplane.readers().clock().unwrap().now_ns();
        assert!(flow.first_ns + tick_ns >= start && flow.last_ns <= now + tick_ns, "{flow:?} {start} {now}");
        assert!(flow.first_ns <= flow.last_ns);
    });
}

/// The account of the flow to a port, over all CPUs that saw it.
fn merged(flows: &[FlowAccount], port: u16) -> FlowAccount {
    let mut parts = flows.iter().filter(|flow| flow.id.key().port() == port);
    let mut sum = *parts.next().expect("the flow is there");
    for part in parts {
        sum.packets += part.packets;
        sum.bytes += part.bytes;
    }
    sum
}

#[test]
fn without_accounting_there_are_no_accounts() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = governed(&Options { flow_accounting: false, ..dir.options() });
        run(&dataplane, &udp(1, 80), 1);
        assert_eq!(dataplane.readers().flows_live().unwrap().flows, []);
        dataplane.set_flow_accounting(true).unwrap();
        run(&dataplane, &udp(1, 80), 1);
        assert_eq!(merged(&dataplane.readers().flows_live().unwrap().flows, 80).packets, 1);
    });
}

/// What leaves the memo arrives, also what left it while no daemon ran, and nothing twice.
#[test]
fn no_packet_of_a_flow_is_forgotten() {
    in_namespace(|| {
        let dir = PinDir::new();
        let options = Options { memo_sets_per_cpu: 1, ..dir.options() };
        let mut dataplane = governed(&options);
        let mut evicted = Vec::new();
        runtime().block_on(async {
            let mut ring = dataplane.flow_ring().unwrap();
            assert!(matches!(dataplane.flow_ring(), Err(Error::RingTaken { .. })));
            for host in 1..=100 {
                run(&dataplane, &udp(host, 81), 1);
            }
            while evicted.len() < 20 {
                let batch = timeout(Duration::from_secs(5), ring.next_batch(16, &mut evicted)).await;
                batch.expect("flows within five seconds").unwrap();
            }
        });
        for host in 101..=200 {
            run(&dataplane, &udp(host, 81), 1);
        }
        drop(dataplane);

        let mut dataplane = Dataplane::open(&options).unwrap();
        runtime().block_on(async {
            dataplane.flow_ring().unwrap().take(usize::MAX, &mut evicted).unwrap();
        });
        let live = dataplane.readers().flows_live().unwrap().flows;
        let mut hosts: Vec<_> =
            evicted.iter().chain(&live).map(|flow| (flow.id.source, flow.packets)).collect();
        hosts.sort_unstable();
        let expected = (1..=200).map(|host| (std::net::Ipv4Addr::new(10, 0, 0, host).into(), 1));
        assert_eq!(hosts, expected.collect::<Vec<_>>());
        let telemetry = dataplane.readers().telemetry();
        assert_eq!((telemetry.flows_evicted, telemetry.flows_lost), (evicted.len() as u64, 0));
    });
}

#[test]
fn sampled_packets_are_reported() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = governed(&Options { sample_drops_one_in: 1, ..dir.options() });
        run(&dataplane, &udp(1, 80), 1);
        run(&dataplane, &udp(1, 81), 1);
        let mut events: Vec<PacketEvent> = Vec::new();
        runtime().block_on(async {
            let mut ring = dataplane.event_ring().unwrap();
            while events.is_empty() {
                let batch = timeout(Duration::from_secs(5), ring.next_batch(16, &mut events)).await;
                batch.expect("an event within five seconds").unwrap();
            }
            ring.take(16, &mut events);
        });
        assert_eq!(events.len(), 1);
        let event = events[0];
        assert_eq!((event.verdict, event.port, event.source_port), (Verdict::Drop as u8, 80, 4000));
        assert_eq!((event.ifindex, event.length, event.generation), (1, 60, 1));
        assert_eq!(addresses(&event).unwrap().0.to_string(), "10.0.0.1");
        let now = dataplane.readers().clock().unwrap().now_ns();
        assert!(event.time_ns <= now && now - event.time_ns < 5_000_000_000);
    });
}

/// A quarter as many flows as the memo has lines: one in a hundred finds no place, and the others are
/// known when they come again.
#[test]
fn flows_that_come_again_are_known() {
    // Each CPU has a memo of its own.
    let mut here = CpuSet::new();
    here.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &here).unwrap();
    let dir = PinDir::new();
    let options = Options { memo_sets_per_cpu: 4_096, ..dir.options() };
    let mut dataplane = Dataplane::open(&options).unwrap();
    dataplane.apply(&dropping(53), [0; 4], 0).unwrap();
    let flows = 2_048_u16;
    let once = || {
        for port in 0..flows {
            run(&dataplane, &udp(1, 1_000 + port), 1);
        }
        dataplane.readers().telemetry().memo_misses
    };
    let first = once();
    assert_eq!(first, u64::from(flows));
    let again = once() - first;
    assert!(again < u64::from(flows) / 30, "{again} of {flows} were not known");
}
