//! Policies go live, share what did not change, and are settled.

use super::super::{Error, Mode};
use super::*;
use crate::compile::{PoolTables, Section};
use crate::policy::{
    Dnat, Forward, Fragment, Label, LabelTest, Limit, OuterSource, Over, Per, Pool, Quantity, Range, Rate,
    RouteLimit, Target, TcpFlags,
};
use gateway_common::abi::{Hook, Line};
use gateway_common::image::{
    HEADER_LINES, HashOver, HeaderHot, HeaderMore, MORE_LINE, PoolEntry, TargetEntry, u16_at,
};
use std::sync::Arc;

#[test]
fn what_did_not_change_is_shared() {
    let dir = PinDir::new();
    let mut dataplane = dir.open();
    let image = dropping(80);
    let lines = image.lines() as u32;
    assert_eq!(dataplane.apply(&image, [1; 4], 1).unwrap().lines_written, lines);
    let again = dataplane.apply(&image, [2; 4], 2).unwrap();
    assert_eq!((again.generation, again.lines_written), (2, HEADER_LINES));
    assert_eq!(dataplane.live().unwrap().digest, [2; 4]);
    let changed = dataplane.apply(&dropping(81), [3; 4], 3).unwrap();
    assert!(changed.lines_written > HEADER_LINES && changed.lines_written < lines, "{changed:?} of {lines}");
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
    let found = |dataplane: &Dataplane| {
        let live = dataplane.live.as_ref().unwrap();
        (live.header, live.sections, live.cold, live.routes)
    };
    let live = found(&dataplane);
    drop(dataplane);
    let mut dataplane = dir.open();
    assert_eq!(dataplane.map_sizes()[0].entries, used);
    assert_eq!(found(&dataplane), live);
    assert_eq!(dataplane.apply(&image, [0; 4], 0).unwrap().lines_written, HEADER_LINES);
}

/// A policy that needs every section; its routes differ by the mark.
fn everything(mark: u32) -> Policy {
    let one = |first, last| Some(vec![Range { first, last }]);
    let prefixes = |text: &str| Some(vec![text.parse().unwrap()]);
    let routes = [
        Match { labels: Some(LabelTest { names: vec!["l1".into()], all: false }), ..Match::default() },
        Match { from: prefixes("10.1.0.0/16"), to: prefixes("2001:db8::/32"), ..Match::default() },
        Match { port: one(1, 2), source_port: one(3, 4), vlan: one(5, 6), ..Match::default() },
        Match { icmp_type: Some(vec![Range { first: 8, last: 8 }]), ..Match::default() },
        Match { icmp_code: Some(vec![Range { first: 0, last: 3 }]), ..Match::default() },
        Match {
            tcp_flags: Some(vec![TcpFlags { set: 2, mask: 18 }]),
            length: one(20, 99),
            ..Match::default()
        },
        Match { dscp: Some(vec![Range { first: 46, last: 46 }]), ..Match::default() },
        Match { fragment: Some(vec![Fragment::Later]), ..Match::default() },
        Match { flow_label: Some(vec![Range { first: 1, last: 9 }]), ..Match::default() },
        Match { ttl: Some(vec![Range { first: 0, last: 1 }]), ..Match::default() },
    ];
    let route = |(i, matches)| Route { mark: Some(mark), ..route(&format!("r{i}"), matches, Action::Pass) };
    let mut policy = Policy::new(routes.into_iter().enumerate().map(route).collect(), PolicyDefault::Drop);
    let label = |prefix| Label { prefixes: Arc::new(prefixes(prefix).unwrap_or_default()), file: None };
    policy.labels.insert("l1".into(), label("10.0.0.0/8"));
    policy.labels.insert("l2".into(), label("10.2.0.0/16"));
    let rate = Rate { per_second: 1_000, burst: 100 };
    let limit = Limit { quantity: Quantity::Packets(rate), per: Per::Label, over: Over::Count, ban: None };
    policy.routes[0].limits = vec![RouteLimit::Own(limit)];
    let target = |host, weight| Target { weight, ..Target::new(IpAddr::from([10, 0, 0, host])) };
    let targets = [("v1".to_owned(), target(11, 95)), ("v2".to_owned(), target(12, 5))];
    policy
        .pools
        .insert("web".into(), Pool { hash: HashOver::Source, ..Pool::new(Forward::L2, targets.into()) });
    let targets = [("v1".to_owned(), target(13, 1))];
    policy.pools.insert("nat".into(), Pool::new(Forward::Dnat(Dnat::default()), targets.into()));
    policy.routes[1].action = Action::pool("nat");
    let ipip = Forward::Ipip { source: OuterSource::default() };
    policy.pools.insert("tun".into(), Pool::new(ipip, [("v1".to_owned(), target(14, 1))].into()));
    policy
}

#[test]
fn every_section_is_known_again_and_shared() {
    let dir = PinDir::new();
    let options = Options { arena_lines: 1 << 17, ..dir.options() };
    let mut dataplane = Dataplane::open(&options).unwrap();
    let policy = everything(1);
    let labels = LabelTable::build(&policy.labels).unwrap();
    let compiled = |policy: &Policy| {
        let live_sets = [vec!["l2".to_owned()]];
        let surroundings = Surroundings {
            names: &TestNames,
            labels: &labels,
            live_sets: &live_sets,
            pools: &PoolTables::default(),
            ns_per_jiffy: 4_000_000,
        };
        compile::compile(policy, &surroundings).unwrap()
    };
    let image = compiled(&policy);
    assert!(image.sections.iter().all(|section| !section.is_empty()));
    assert_eq!(dataplane.apply(&image, [0; 4], 0).unwrap().lines_written, image.lines() as u32);
    let used = dataplane.map_sizes()[0].entries;
    drop(dataplane);

    let mut dataplane = Dataplane::open(&options).unwrap();
    assert_eq!(dataplane.map_sizes()[0].entries, used);
    let routes = image.sections[Section::Routes as usize].len() as u32;
    let applied = dataplane.apply(&compiled(&everything(2)), [0; 4], 0).unwrap();
    assert_eq!(applied.lines_written, HEADER_LINES + routes);
    // Now the table of the labels is known by its place in memory.
    let live = dataplane.live.as_ref().unwrap();
    let again = compiled(&policy);
    let known = |section: Section| live.was_written_from(section as usize, &again.sections[section as usize]);
    assert!(known(Section::Labels) && !known(Section::Routes));
    assert_eq!(dataplane.apply(&image, [0; 4], 0).unwrap().lines_written, HEADER_LINES + routes);
}

#[test]
fn pools_say_where_their_targets_and_tables_lie() {
    let dir = PinDir::new();
    let options = Options { arena_lines: 1 << 17, ..dir.options() };
    let mut dataplane = Dataplane::open(&options).unwrap();
    let mut policy = Policy::new(Vec::new(), PolicyDefault::Pass);
    policy.pools = everything(1).pools;
    let addresses = |dataplane: &Dataplane| -> Vec<u64> {
        let line = |line| dataplane.arena_lines.load(line).unwrap();
        let header = dataplane.live.as_ref().unwrap().header.first;
        let more: HeaderMore = bytemuck::cast(line(header + MORE_LINE));
        assert_eq!(more.pool_count, 4);
        let hot: HeaderHot = bytemuck::cast(line(header));
        let pool: PoolEntry = bytemuck::cast(line(hot.pools + 3));
        let target =
            |place: u32| bytemuck::cast::<Line, TargetEntry>(line(pool.targets + place)).address[0] >> 32;
        let lines: Vec<Line> = (0..pool.size.div_ceil(32)).map(|i| line(pool.table + i)).collect();
        let mut met: Vec<u64> =
            (0..pool.size).map(|i| target(u16_at(&lines[..], 0, i).unwrap().into())).collect();
        met.sort_unstable();
        met.dedup();
        met
    };
    let image = compiled(&policy);
    assert_eq!(dataplane.apply(&image, [0; 4], 0).unwrap().lines_written, image.lines() as u32);
    assert_eq!(addresses(&dataplane), [0x0a00_000b, 0x0a00_000c]);

    // Another address: pool and target are written, the table stays.
    let targets = &mut policy.pools.get_mut("web").unwrap().targets;
    targets.get_mut("v2").unwrap().address = IpAddr::from([10, 0, 0, 13]);
    let applied = dataplane.apply(&compiled(&policy), [0; 4], 0).unwrap();
    assert_eq!(applied.lines_written, HEADER_LINES + 4 + 4);
    assert_eq!(addresses(&dataplane), [0x0a00_000b, 0x0a00_000d]);

    // Another weight: the table goes elsewhere, and the pool follows it.
    let targets = &mut policy.pools.get_mut("web").unwrap().targets;
    targets.get_mut("v2").unwrap().weight = 0;
    dataplane.apply(&compiled(&policy), [0; 4], 0).unwrap();
    assert_eq!(addresses(&dataplane), [0x0a00_000b]);
    assert_eq!(dataplane.apply(&compiled(&policy), [0; 4], 0).unwrap().lines_written, HEADER_LINES);
    drop(dataplane);
    let mut dataplane = Dataplane::open(&options).unwrap();
    assert_eq!(dataplane.apply(&compiled(&policy), [0; 4], 0).unwrap().lines_written, HEADER_LINES);
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
