//! Policies go live, share what did not change, and are settled.

use super::super::{Error, Mode};
use super::*;
use gateway_common::abi::Hook;

#[test]
fn what_did_not_change_is_shared() {
    let dir = PinDir::new();
    let mut dataplane = dir.open();
    let image = dropping(80);
    let lines = image.lines() as u32;
    assert_eq!(dataplane.apply(&image, [1; 4], 1).unwrap().lines_written, lines);
    let again = dataplane.apply(&image, [2; 4], 2).unwrap();
    assert_eq!((again.generation, again.lines_written), (2, 16));
    assert_eq!(dataplane.live().unwrap().digest, [2; 4]);
    let changed = dataplane.apply(&dropping(81), [3; 4], 3).unwrap();
    assert!(changed.lines_written > 16 && changed.lines_written < lines, "{changed:?} of {lines}");
    assert_eq!(run(&dataplane, &udp(1, 81), 1).return_value, XDP_DROP);
    assert_eq!(run(&dataplane, &udp(1, 80), 1).return_value, XDP_PASS);
}

#[test]
fn lines_are_used_again_after_a_grace_period() {
    let dir = PinDir::new();
    let options = Options { arena_lines: 8192, ..dir.options() };
    let mut dataplane = Dataplane::open(&options).unwrap();
    let mut waited = 0;
    for i in 0..40 {
        let port = 1000 + i;
        let applied = dataplane.apply(&dropping(port), [0; 4], 0).unwrap();
        waited += u32::from(applied.timing.grace_ns > 0);
        assert_eq!(run(&dataplane, &udp(1, port), 1).return_value, XDP_DROP);
        assert_eq!(run(&dataplane, &udp(1, port - 1), 1).return_value, XDP_PASS);
    }
    assert!((1..40).contains(&waited), "{waited} waits in 40 applications");
    let live = image_lines(&dataplane);
    assert!(live <= dataplane.map_sizes()[0].entries);
}

fn image_lines(dataplane: &Dataplane) -> u64 {
    dataplane.live.as_ref().unwrap().regions().map(|region| u64::from(region.len)).sum()
}

#[test]
fn a_policy_without_room_changes_nothing() {
    let dir = PinDir::new();
    let options = Options { arena_lines: 256, ..dir.options() };
    let mut dataplane = Dataplane::open(&options).unwrap();
    dataplane.apply(&image(Vec::new(), PolicyDefault::Drop), [1; 4], 1).unwrap();
    let (before, sizes) = (dataplane.live(), dataplane.map_sizes());
    match dataplane.apply(&dropping(80), [2; 4], 2) {
        Err(Error::ArenaFull { needed, free, total: 256, .. }) => assert!(needed > 2048 && free < 256),
        other => panic!("{other:?}"),
    }
    assert_eq!((dataplane.live(), dataplane.map_sizes()), (before, sizes));
    assert_eq!(run(&dataplane, &udp(1, 443), 1).return_value, XDP_DROP);
    dataplane.apply(&image(Vec::new(), PolicyDefault::Pass), [3; 4], 3).unwrap();
    assert_eq!(run(&dataplane, &udp(1, 443), 1).return_value, XDP_PASS);
}

#[test]
fn the_arena_is_known_again_after_a_restart() {
    let dir = PinDir::new();
    let mut dataplane = dir.open();
    let from = |prefix: &str| Match { from: Some(vec![prefix.parse().unwrap()]), ..Match::default() };
    let to = |prefix: &str| Match { to: Some(vec![prefix.parse().unwrap()]), ..Match::default() };
    let routes = vec![
        route("r0", from("10.1.0.0/16"), Action::Drop),
        route("r1", to("2001:db8::/32"), Action::Drop),
        route("r2", to_port(53), Action::Drop),
    ];
    let image = image(routes, PolicyDefault::Pass);
    dataplane.apply(&image, [0; 4], 0).unwrap();
    let used = dataplane.map_sizes()[0].entries;
    let live = dataplane.live.clone();
    drop(dataplane);
    let mut dataplane = dir.open();
    assert_eq!(dataplane.map_sizes()[0].entries, used);
    assert_eq!(dataplane.live, live);
    assert_eq!(dataplane.apply(&image, [0; 4], 0).unwrap().lines_written, 16);
}

#[test]
fn a_generation_is_settled_to_the_packet() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = dir.open();
        dataplane.attach("lo", 3, Mode::Generic).unwrap();
        let xdp = |dataplane: &mut Dataplane| {
            let settled = dataplane.settle().unwrap().unwrap();
            let of = |entry: &&super::super::SettledInterface| entry.slot == 3 && entry.hook == Hook::Xdp;
            let stats = settled.interfaces.iter().find(of).map(|entry| entry.stats).unwrap_or_default();
            (settled.generation, settled.exact, stats.received.packets, stats.verdicts.map(|v| v.packets))
        };
        assert_eq!(dataplane.settle().unwrap(), None);
        dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
        assert_eq!(xdp(&mut dataplane), (0, true, 0, [0; 4]));
        for (round, drops) in [(1, 3), (2, 5), (3, 0), (4, 7)] {
            for _ in 0..drops {
                run(&dataplane, &udp(1, 80), 1);
            }
            run(&dataplane, &udp(1, 81), 1);
            dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
            assert_eq!(xdp(&mut dataplane), (round, true, drops + 1, [1, drops, 0, 0]));
        }
        let total = dataplane.readers().interface_stats(3)[Hook::Xdp as usize];
        assert_eq!(total.received.packets, 3 + 5 + 7 + 4);
        drop(dataplane);

        let mut dataplane = dir.open();
        dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
        assert_eq!(dataplane.settle().unwrap(), None, "the start of the adopted generation is unknown");
        dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
        assert_eq!(xdp(&mut dataplane), (6, false, 0, [0; 4]), "who flipped when before us is unknown");
        dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
        assert_eq!(xdp(&mut dataplane), (7, true, 0, [0; 4]));
    });
}

#[test]
fn a_damaged_image_is_not_adopted() {
    let dir = PinDir::new();
    let mut dataplane = dir.open();
    dataplane.apply(&dropping(80), [0; 4], 0).unwrap();
    let header = dataplane.live.as_ref().unwrap().header.first;
    assert!(dataplane.arena_lines.store_u64(header + 1, 0, 7));
    drop(dataplane);
    assert!(matches!(Dataplane::open(&dir.options()), Err(Error::ImageDamaged { .. })));
}

#[test]
fn redirects_go_where_the_slot_points() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        veth("t2", "p2");
        let mut dataplane = dir.open();
        let t1 = dataplane.attach("t1", 1, Mode::Generic).unwrap();
        let action = Action::Redirect { interface: "t2".to_owned() };
        let image = image(vec![route("r0", to_port(80), action)], PolicyDefault::Pass);
        dataplane.apply(&image, [0; 4], 0).unwrap();
        assert_eq!(run(&dataplane, &udp(1, 80), t1.ifindex).return_value, XDP_DROP);
        assert_eq!(dataplane.readers().reasons(1)[0].0.name(), "redirect_target");
        dataplane.register_egress("t2", 2).unwrap();
        assert_eq!(run(&dataplane, &udp(1, 80), t1.ifindex).return_value, XDP_REDIRECT);
    });
}

#[test]
fn test_runs_show_what_tc_is_told_and_what_it_sets() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = dir.open();
        let marked = Route { mark: Some(0x10), priority: Some(7), ..route("r0", to_port(80), Action::Pass) };
        dataplane.apply(&image(vec![marked], PolicyDefault::Drop), [0; 4], 0).unwrap();
        dataplane.attach("lo", 1, Mode::Generic).unwrap();
        let outcome = run(&dataplane, &udp(1, 80), 1);
        assert_eq!((outcome.return_value, outcome.frame), (XDP_PASS, udp(1, 80)));
        let metadata = outcome.metadata.unwrap();
        assert_eq!((metadata.mark, metadata.priority, metadata.generation), (0x10, 7, 1));

        dataplane.attach("lo", 1, Mode::Tc).unwrap();
        let tc = |frame: &[u8]| dataplane.test_run(Program::Tc, frame, Some(1), 3).unwrap();
        let outcome = tc(&udp(1, 80));
        assert_eq!((outcome.mark, outcome.priority, outcome.frame), (0x10, 7, udp(1, 80)));
        const TC_ACT_SHOT: u32 = 2;
        assert_eq!(tc(&udp(1, 81)).return_value, TC_ACT_SHOT);
        assert_eq!(dataplane.readers().interface_stats(1)[Hook::TcIngress as usize].received.packets, 6);
        assert!(matches!(dataplane.test_run(Program::Xdp, &[0; 3], None, 1), Err(Error::TestRun { .. })));
        let pass = dataplane.test_run(Program::Pass, &udp(1, 81), None, 1).unwrap();
        assert_eq!((pass.return_value, pass.metadata), (XDP_PASS, None));
    });
}
