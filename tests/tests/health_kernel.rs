//! What handshakes tell the kernel of targets, and what follows: the real object, packet by packet, by a clock that
//! stands until it is set.

use anyhow::{Context, Result, ensure};
use gateway_common::abi::{EventKind, HandshakeCount, Hook, PacketEvent};
use gateway_common::health::{Circuit, Standing, WHOLE};
use gateway_common::reason::Reason;
use gateway_tests::health::{ACK, Bench, FIN_ACK, RST, SECOND, SYN, SYN_ACK, TARGETS, for_each_family};

/// Three failures of at least half of all within ten seconds; at most one of three targets at once.
const PASSIVE: &str = "forward: dnat, health: {passive: {failures: 3, window: 10s, ratio: 50%}, \
     eject: {base: 5s, most: 40s}, slow_start: 20s, trial: 5%}";

fn times(count: &HandshakeCount) -> u64 {
    count.times.iter().sum()
}

#[test]
fn answered_handshakes_are_measured() -> Result<()> {
    for hook in Hook::ALL {
        for_each_family(hook, PASSIVE, measured)?;
    }
    Ok(())
}

fn measured(bench: &mut Bench) -> Result<()> {
    const TOOK: u64 = 3_000;
    let port = bench.ask_at(1)?;
    bench.wait(TOOK << 10)?;
    bench.target(1, port, SYN_ACK, 0)?;
    let mut expected = HandshakeCount { time_ns: TOOK << 10, ..HandshakeCount::default() };
    expected.times[12] = 1;
    assert_eq!(bench.told(1), expected);
    assert_eq!((bench.circuit(1).0.successes(), bench.circuit(1).0.failures()), (1, 0));
    bench.client(port, ACK, 0)?;
    let asked = bench.health(1).open;

    // What is sent again, and what is not.
    for (flags, payload, again) in
        [(ACK, 100, 0), (ACK, 100, 1), (ACK, 0, 1), (ACK, 0, 1), (ACK, 200, 1), (ACK, 200, 2), (ACK, 50, 3)]
    {
        bench.client(port, flags, payload)?;
        assert_eq!(bench.told(1).retransmitted, again, "{payload} bytes");
    }
    bench.target(1, port, FIN_ACK, 10)?;
    bench.client(port, FIN_ACK, 0)?;
    assert_eq!(bench.health(1).open, asked - 1, "it ended");

    // A SYN that comes again at once is a copy; later it is one that nothing answered, once.
    let port = bench.ask_at(1)?;
    for (waits, again, unanswered) in
        [(SECOND / 100, 4, 0), (SECOND, 5, 1), (2 * SECOND, 6, 1), (4 * SECOND, 7, 1)]
    {
        bench.wait(waits)?;
        ensure!(bench.client(port, SYN, 0)? == Some(1), "it goes elsewhere");
        let told = bench.told(1);
        assert_eq!((told.retransmitted, told.unanswered), (again, unanswered), "after {waits} ns");
    }
    bench.target(1, port, SYN_ACK, 0)?;
    assert_eq!(times(&bench.told(1)), 1, "whichever it answered");
    Ok(())
}

#[test]
fn failures_open_the_circuit_and_good_handshakes_close_it() -> Result<()> {
    for_each_family(Hook::Xdp, PASSIVE, opens_and_closes)
}

fn opens_and_closes(bench: &mut Bench) -> Result<()> {
    const DEAD: usize = 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let mut ring = bench.lab.dataplane.event_ring()?;
    let old = bench.connect(DEAD)?;
    let asking = bench.ask_at(DEAD)?;
    bench.fail(DEAD, 2)?;
    assert_eq!(bench.circuit(DEAD).1, Standing::Closed);
    bench.fail(DEAD, 1)?;
    assert_eq!((bench.circuit(DEAD).1, bench.health(DEAD).trips), (Standing::Open, 1));
    assert_eq!(bench.group().ejected, 1);
    let mut events: Vec<PacketEvent> = Vec::new();
    ring.take(10_000, &mut events);
    events.retain(|event| event.kind == EventKind::TargetEjected as u8);
    assert_eq!(events.iter().map(|event| event.limit).collect::<Vec<_>>(), [bench.slot(DEAD)]);

    let spread = bench.spread(300)?;
    assert_eq!(spread[DEAD].len(), 0);
    let passed = bench.told(DEAD).passed_over;
    ensure!((60..140).contains(&passed), "{passed} of 300 were passed over");
    for other in [0, 2] {
        ensure!(spread[other].len() > 100, "{} of 300 went to {other}", spread[other].len());
        assert_eq!(bench.told(other).passed_over, 0);
    }
    // What is under way goes on.
    ensure!(bench.client(old, ACK, 10)? == Some(DEAD), "an open connection moved");
    bench.target(DEAD, old, ACK, 10)?;
    // Who was never answered, and asks again, is sent elsewhere, and stays there.
    let before = bench.told(DEAD);
    let to = bench.client(asking, SYN, 0)?.context("dropped")?;
    ensure!(to != DEAD, "one that nothing answers is left where it is");
    let told = bench.told(DEAD);
    assert_eq!((told.retransmitted, told.unanswered), (before.retransmitted + 1, before.unanswered + 1));
    ensure!(bench.client(asking, SYN, 0)? == Some(to), "it moves again");
    bench.target(to, asking, SYN_ACK, 0)?;

    // Its time is over: a twentieth of its third tries it, and two good handshakes bring it back.
    bench.wait(6 * SECOND)?;
    assert_eq!(bench.circuit(DEAD).1, Standing::Trial);
    let tried = bench.spread(2_000)?[DEAD].clone();
    ensure!((10..70).contains(&tried.len()), "{} of 2,000 tried it", tried.len());
    for port in &tried[..2] {
        assert_eq!(bench.circuit(DEAD).1, Standing::Trial);
        bench.target(DEAD, *port, SYN_ACK, 0)?;
    }
    assert_eq!((bench.circuit(DEAD).1, bench.group().ejected), (Standing::Recovering, 0));
    for (waits, standing, expected) in [
        (0, Standing::Recovering, 1..40),
        (10 * SECOND, Standing::Recovering, 60..140),
        (11 * SECOND, Standing::Closed, 150..250),
    ] {
        bench.wait(waits)?;
        assert_eq!(bench.circuit(DEAD).1, standing);
        let got = bench.spread(600)?[DEAD].len();
        ensure!(expected.contains(&got), "{got} of 600 after {waits} ns");
    }

    // One failure on trial is enough, and the time is twice as long.
    bench.fail(DEAD, 3)?;
    bench.wait(6 * SECOND)?;
    assert_eq!(bench.circuit(DEAD).1, Standing::Trial);
    bench.fail(DEAD, 1)?;
    assert_eq!((bench.circuit(DEAD).1, bench.health(DEAD).trips), (Standing::Open, 3));
    bench.wait(8 * SECOND)?;
    assert_eq!(bench.circuit(DEAD).1, Standing::Open);
    bench.wait(3 * SECOND)?;
    assert_eq!((bench.circuit(DEAD).1, bench.group().ejected), (Standing::Trial, 1));
    events.clear();
    ring.take(10_000, &mut events);
    events.retain(|event| event.kind == EventKind::TargetEjected as u8);
    assert_eq!(events.len(), 2);
    Ok(())
}

#[test]
fn resets_tell_by_when_they_come() -> Result<()> {
    for_each_family(Hook::Xdp, PASSIVE, |bench| {
        let told =
            |bench: &Bench| (bench.told(0).refused, bench.told(0).reset, bench.circuit(0).0.failures());
        // Of a SYN.
        let port = bench.ask_at(0)?;
        bench.target(0, port, RST | ACK, 0)?;
        assert_eq!(told(bench), (1, 0, 1));
        // After the handshake, by a target that takes what it is asked and then does not answer.
        let port = bench.connect(0)?;
        bench.client(port, ACK, 10)?;
        bench.target(0, port, ACK, 0)?;
        bench.target(0, port, RST, 0)?;
        bench.target(0, port, RST, 0)?;
        assert_eq!(told(bench), (2, 0, 2), "once");
        // Of one that it had served.
        let port = bench.connect(0)?;
        bench.client(port, ACK, 10)?;
        bench.target(0, port, ACK, 10)?;
        bench.target(0, port, RST, 0)?;
        assert_eq!(told(bench), (2, 1, 2));
        // Of one that it never had: whoever sends such packets does not make it look bad.
        for port in 50_000..50_200 {
            if bench.client(port, ACK, 10)? == Some(0) {
                bench.target(0, port, RST, 0)?;
                // The client goes on.
                bench.client(port, ACK, 10)?;
                bench.target(0, port, RST, 0)?;
            }
        }
        let (refused, reset, failures) = told(bench);
        assert_eq!((refused, failures), (2, 2));
        ensure!(reset > 1, "none of 200 went there");
        // Its client's own.
        let open = bench.health(0).open;
        let port = bench.connect(0)?;
        bench.client(port, RST, 0)?;
        assert_eq!((bench.told(0).refused, bench.circuit(0).0.failures()), (2, 2));
        // And one that begins so is none.
        bench.client(60_000, RST, 0)?;
        bench.client(60_001, RST, 0)?;
        ensure!(bench.health(0).open >= open, "open connections are less than none");
        bench.fail(0, 1)?;
        assert_eq!(bench.circuit(0).1, Standing::Open);
        Ok(())
    })
}

#[test]
fn so_many_targets_are_passed_over_and_no_more() -> Result<()> {
    for_each_family(Hook::Xdp, PASSIVE, |bench| {
        bench.fail(0, 3)?;
        bench.fail(1, 3)?;
        assert_eq!([0, 1].map(|target| bench.circuit(target).1), [Standing::Open, Standing::Closed]);
        let counted = [0, 1].map(|target| (bench.health(target).trips, bench.health(target).spared));
        assert_eq!((counted, bench.group().ejected), ([(1, 0), (0, 1)], 1));
        // In a panic all are used.
        assert_eq!(bench.spread(100)?[0].len(), 0);
        let readers = bench.lab.dataplane.readers();
        readers.set_panic(bench.health(0).group, true);
        let all = bench.spread(300)?;
        ensure!(all.iter().all(|ports| ports.len() > 50), "{all:?}");
        readers.set_panic(bench.health(0).group, false);
        assert_eq!(bench.spread(100)?[0].len(), 0);
        Ok(())
    })
}

#[test]
fn a_full_target_takes_no_more_until_one_ends() -> Result<()> {
    const EACH: usize = 2;
    let says = format!("forward: dnat, health: {{connections: {EACH}}}");
    for_each_family(Hook::Xdp, &says, |bench| {
        let full = bench.spread(EACH * TARGETS)?;
        ensure!(full.iter().all(|ports| ports.len() == EACH), "{full:?}");
        let before = bench.lab.snapshot();
        let (port, to) = bench.ask()?;
        assert_eq!(to, None);
        let delta = bench.lab.snapshot().since(&before);
        assert_eq!(delta.reasons[&(bench.lab.slot(), Reason::TargetsFull)], (1, 0));
        // An open one goes on, and one that ends makes room: reset by its client, or ended by both.
        let [ends, goes_on] = full[1][..] else { anyhow::bail!("{full:?}") };
        ensure!(bench.client(goes_on, SYN, 0)? == Some(1), "one of a full target goes elsewhere");
        bench.client(ends, RST, 0)?;
        assert_eq!(bench.health(1).open, 1);
        assert_eq!(bench.client(port, SYN, 0)?, Some(1));
        assert_eq!(bench.ask()?.1, None);
        bench.target(1, port, SYN_ACK, 0)?;
        bench.client(port, ACK, 0)?;
        bench.target(1, port, FIN_ACK, 0)?;
        bench.client(port, FIN_ACK, 0)?;
        assert_eq!(bench.ask()?.1, Some(1));
        let open = |bench: &Bench| [0, 1, 2].map(|target| bench.health(target).open);
        assert_eq!(open(bench), [EACH as u64; TARGETS]);
        let passed: u64 = (0..TARGETS).map(|target| bench.told(target).passed_over).sum();
        ensure!(passed > 0, "none was passed over");

        // What ends by the clock alone is for user space to see, and for the kernel no more.
        let readers = bench.lab.dataplane.readers();
        let counted = |bench: &Bench| {
            let counts = bench.lab.dataplane.readers().open_connections();
            [0, 1, 2].map(|target| u64::from(counts[bench.slot(target) as usize]))
        };
        assert_eq!(counted(bench), open(bench));
        bench.wait(48 * 3_600 * SECOND)?;
        assert_eq!(bench.ask()?.1, None);
        assert_eq!((counted(bench), open(bench)), ([0; TARGETS], [EACH as u64; TARGETS]));
        for target in 0..TARGETS {
            readers.correct_open(bench.slot(target), -(EACH as i64));
        }
        let again = full.iter().flatten().map(|port| bench.client(*port, SYN, 0));
        ensure!(again.collect::<Result<Vec<_>>>()?.iter().all(Option::is_some), "there is no room");
        assert_eq!((counted(bench), open(bench)), ([EACH as u64; TARGETS], [EACH as u64; TARGETS]));
        Ok(())
    })
}

#[test]
fn what_nobody_looks_after_is_as_it_was() -> Result<()> {
    for says in ["forward: dnat", "forward: ipip"] {
        for_each_family(Hook::Xdp, says, |bench| {
            for _ in 0..10 {
                bench.fail(0, 1)?;
            }
            ensure!(bench.spread(300)?.iter().all(|ports| ports.len() > 50), "a target gets less");
            for target in 0..TARGETS {
                assert_eq!(bench.told(target), HandshakeCount::default());
                assert_eq!((bench.health(target).circuit, bench.health(target).open), (0, 0));
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_client_leaves_the_target_that_it_kept() -> Result<()> {
    let says = PASSIVE.replace("dnat", "dnat, affinity: 10m");
    for_each_family(Hook::Xdp, &says, |bench| {
        let (_, first) = bench.ask()?;
        let first = first.context("dropped")?;
        assert_eq!(bench.spread(50)?[first].len(), 50);
        let slot = bench.slot(first);
        let readers = bench.lab.dataplane.readers();
        readers.change_circuit(slot, |circuit, terms| circuit.opened(readers.circuit_now(), terms));
        let (_, second) = bench.ask()?;
        let second = second.context("dropped")?;
        assert_ne!(first, second);
        assert_eq!(bench.spread(50)?[second].len(), 50);
        // It stays there.
        readers.change_circuit(slot, |_, _| Circuit::default());
        assert_eq!(bench.spread(50)?[second].len(), 50);
        Ok(())
    })
}

/// Of a target that answers its clients past this node only the clients are heard.
#[test]
fn handshakes_whose_answers_do_not_pass_here() -> Result<()> {
    const TOOK: u64 = 700;
    let says = PASSIVE.replace("dnat", "ipip");
    for hook in Hook::ALL {
        for_each_family(hook, &says, |bench| {
            let port = bench.ask_at(2)?;
            bench.wait(TOOK << 10)?;
            ensure!(bench.client(port, ACK, 0)? == Some(2), "it went elsewhere");
            let mut expected = HandshakeCount { time_ns: TOOK << 10, ..HandshakeCount::default() };
            expected.times[10] = 1;
            assert_eq!(bench.told(2), expected);
            bench.client(port, ACK, 100)?;
            assert_eq!(bench.told(2), expected);
            assert_eq!((bench.circuit(2).0.successes(), bench.health(2).trial), (1, WHOLE / 20));

            let port = bench.ask_at(2)?;
            for (waits, again, unanswered) in [(SECOND / 100, 1, 0), (SECOND, 2, 1), (2 * SECOND, 3, 1)] {
                bench.wait(waits)?;
                ensure!(bench.client(port, SYN, 0)? == Some(2), "it went elsewhere");
                let told = bench.told(2);
                assert_eq!((told.retransmitted, told.unanswered), (again, unanswered));
            }
            bench.client(port, ACK, 0)?;
            assert_eq!(times(&bench.told(2)), 1, "whichever was answered");
            bench.fail(2, 2)?;
            assert_eq!(bench.circuit(2).1, Standing::Open);
            assert_eq!(bench.spread(300)?[2].len(), 0);
            ensure!(bench.told(2).passed_over >= 60, "{:?}", bench.told(2));
            Ok(())
        })?;
    }
    Ok(())
}
