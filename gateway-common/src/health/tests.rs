use super::*;
use proptest::prelude::*;

fn terms() -> TargetHealth {
    TargetHealth {
        window: 1_000,
        base: 100,
        most: 1_500,
        slow_start: 400,
        failures: 3,
        ratio: 50,
        rise: 2,
        trial: WHOLE / 20,
        ..TargetHealth::default()
    }
}

/// After so many failures at once.
fn failing(mut circuit: Circuit, failures: u32, now: u32) -> Circuit {
    for _ in 0..failures {
        circuit = circuit.failed(now, &terms());
    }
    circuit
}

#[test]
fn it_opens_is_tried_and_comes_back_slowly() {
    // The clock turns over in between.
    let (t, start) = (terms(), u32::MAX - 20);
    let at = |after: u32| start.wrapping_add(after);
    let circuit = failing(Circuit::default(), 2, start);
    assert_eq!((circuit.standing(start, &t), circuit.share(start, &t)), (Standing::Closed, WHOLE));
    let circuit = circuit.failed(start, &t);
    assert_eq!((circuit.standing(at(99), &t), circuit.share(at(99), &t)), (Standing::Open, 0));
    assert_eq!(circuit.left(at(10), &t), 90);
    assert!(circuit.is_ejected());
    // What had begun before does not count.
    assert_eq!(circuit.succeeded(at(1), &t), circuit);
    assert_eq!(circuit.failed(at(1), &t), circuit);
    assert_eq!((circuit.standing(at(100), &t), circuit.share(at(100), &t)), (Standing::Trial, WHOLE / 20));
    let circuit = circuit.succeeded(at(120), &t);
    assert_eq!(circuit.standing(at(120), &t), Standing::Trial);
    let circuit = circuit.succeeded(at(130), &t);
    assert_eq!(circuit.standing(at(130), &t), Standing::Recovering);
    assert!(!circuit.is_ejected());
    assert_eq!(circuit.share(at(130), &t), WHOLE / 20);
    assert_eq!(circuit.share(at(330), &t), WHOLE / 2);
    assert_eq!((circuit.share(at(530), &t), circuit.standing(at(530), &t)), (WHOLE, Standing::Closed));
}

#[test]
fn failing_again_doubles_the_time_up_to_the_most_and_patience_halves_it() {
    let t = terms();
    let mut circuit = Circuit::default();
    let mut now = 0;
    for long in [100, 200, 400, 800, 1_500, 1_500] {
        circuit = if circuit.is_ejected() { circuit.failed(now, &t) } else { failing(circuit, 3, now) };
        assert_eq!(circuit.left(now, &t), long);
        now += long;
        assert_eq!(circuit.standing(now, &t), Standing::Trial);
    }
    assert_eq!(circuit.strikes(), 6);
    let circuit = circuit.succeeded(now, &t).succeeded(now, &t);
    // A quiet window costs nothing yet; four times the base time later four strikes are forgotten, and more after
    // more.
    let later = circuit.succeeded(now + 1_001, &t);
    assert_eq!(later.strikes(), 0);
    let short = TargetHealth { window: 10, slow_start: 0, ..t };
    assert_eq!(circuit.succeeded(now + 400, &short).strikes(), 2);
}

#[test]
fn a_death_is_noticed_at_once_however_long_all_was_well() {
    let t = TargetHealth { failures: 10, ..terms() };
    for before in [0, 1, 19, 20, 21, 1_000] {
        let well = (0..before).fold(Circuit::default(), |circuit, _| circuit.succeeded(5, &t));
        let mut circuit = well;
        let failed = (1..50).find(|_| {
            circuit = circuit.failed(6, &t);
            circuit.is_ejected()
        });
        assert!(failed == Some(10), "{before}: {failed:?}");
    }
}

#[test]
fn one_in_five_is_noticed_where_that_is_asked_for() {
    let t = TargetHealth { ratio: 10, ..terms() };
    let mut circuit = Circuit::default();
    let mut handshakes = 0;
    while !circuit.is_ejected() {
        handshakes += 1;
        circuit = if handshakes % 5 == 0 {
            circuit.failed(handshakes, &t)
        } else {
            circuit.succeeded(handshakes, &t)
        };
        assert!(handshakes < 100);
    }
    assert_eq!(handshakes, 15);
    // And one in twenty is not.
    let mut circuit = Circuit::default();
    for i in 0..100_000u32 {
        circuit = if i % 20 == 0 { circuit.failed(i / 1_000, &t) } else { circuit.succeeded(i / 1_000, &t) };
        assert!(!circuit.is_ejected(), "{i}");
    }
}

#[test]
fn what_is_held_stays_open_and_what_is_released_waits_for_its_time() {
    let t = terms();
    let held = Circuit::default().held(50, &t);
    assert_eq!(held.standing(1_000_000, &t), Standing::Open);
    assert_eq!(held.held(70, &t), held);
    assert_eq!(held.released().standing(149, &t), Standing::Open);
    assert_eq!(held.released().standing(150, &t), Standing::Trial);
    // It keeps the hold however handshakes go.
    assert_eq!(held.succeeded(500, &t), held);
    assert_eq!(held.failed(500, &t), held);
}

#[test]
fn without_passive_measures_only_a_trial_can_fail() {
    let t = TargetHealth { failures: 0, ..terms() };
    assert_eq!(failing_by(Circuit::default(), &t), Circuit::default());
    let tried = Circuit::default().held(0, &t).released();
    assert_eq!(tried.failed(100, &t).standing(101, &t), Standing::Open);
}

fn failing_by(circuit: Circuit, terms: &TargetHealth) -> Circuit {
    (0..50).fold(circuit, |circuit, now| circuit.failed(now, terms))
}

#[test]
fn buckets_are_powers_of_two() {
    for (micros, wanted) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1_023, 10), (1_024, 11), (u32::MAX, 25)]
    {
        assert_eq!(bucket(micros), wanted, "{micros}");
    }
}

proptest! {
    /// Whatever happens to a circuit: its share is a part, what is open has a time within the bounds, and only
    /// opening opens it.
    #[test]
    fn a_circuit_is_always_whole(
        steps in prop::collection::vec((0u8..5, any::<u32>()), 1..50),
        failures in 0u16..50, ratio in 1u8..=100, rise in 1u8..10,
        window in 1u32..100_000, base in 0u32..100_000, slow_start in 0u32..100_000,
    ) {
        let t = TargetHealth { window, base, most: base.saturating_mul(8), slow_start, failures, ratio, rise, trial: 3_000, ..TargetHealth::default() };
        let mut circuit = Circuit::default();
        let mut now = 0u32;
        for (step, passed) in steps {
            now = now.wrapping_add(passed);
            let before = circuit;
            circuit = match step {
                0 => circuit.succeeded(now, &t),
                1 => circuit.failed(now, &t),
                2 => circuit.held(now, &t),
                3 => circuit.released(),
                _ => circuit.spared(now),
            };
            prop_assert!(circuit.share(now, &t) <= WHOLE);
            prop_assert!(circuit.left(now, &t) <= t.most);
            if circuit.is_ejected() && !before.is_ejected() {
                prop_assert!(step == 1 || step == 2);
            }
            if step < 2 {
                prop_assert_eq!(circuit.is_held(), before.is_held());
            }
        }
    }
}
