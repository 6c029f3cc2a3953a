//! Interfaces governed, found again, gone and back.

use super::super::features::{self, Device};
use super::super::links;
use super::super::pins::InterfacePin;
use super::super::{
    AttachedMode, Error, InterfaceChange, LinkEvent, LinkWatcher, Mode, TcLink, XdpLink, object_digest, pins,
};
use super::*;
use aya::programs::{SchedClassifier, TcAttachType};
use gateway_common::abi::{
    Hook, INTERFACE_NATIVE, INTERFACE_TX_BY_REDIRECT, INTERFACE_TX_BY_TC, OwnAddresses,
};
use gateway_common::packet::ipv4_address;
use std::net::UdpSocket;
use std::time::Duration;

#[test]
fn auto_takes_native_where_the_driver_has_it() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        let mut dataplane = dir.open();
        let attachment = dataplane.attach("t1", 1, Mode::Auto).unwrap();
        assert_eq!(attachment.mode, AttachedMode::Native);
        assert_eq!((attachment.xdp_link, attachment.tc_link), (Some(XdpLink::Link), TcLink::Tcx));
        assert_eq!((attachment.why, attachment.adopted), (None, false));
        assert_eq!(dataplane.readers().slot_of(attachment.ifindex), 1);

        dataplane.detach("t1").unwrap();
        assert!(!ip("-d link show t1").contains("xdp"));
        assert_eq!(SchedClassifier::query_tcx("t1", TcAttachType::Ingress).unwrap().1.len(), 0);
        assert_eq!(dataplane.readers().slot_of(attachment.ifindex), 0);
        assert_eq!(dataplane.attachments().count(), 0);
        dataplane.detach("t1").unwrap();
    });
}

#[test]
fn auto_says_why_it_was_not_native() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = dir.open();
        let attachment = dataplane.attach("lo", 1, Mode::Auto).unwrap();
        assert_eq!(attachment.mode, AttachedMode::Generic);
        let why = attachment.why.unwrap();
        assert!(why.starts_with("native XDP: "), "{why}");
        match dataplane.attach("lo", 1, Mode::Native) {
            Err(Error::Attach { reason, .. }) => assert!(reason.starts_with("native XDP: "), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(!ip("-d link show lo").contains("xdp"));
        assert_eq!((dataplane.readers().slot_of(1), dataplane.attachments().count()), (0, 0));
    });
}

#[test]
fn a_change_of_mode_attaches_anew_and_the_same_mode_does_not() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        let mut dataplane = dir.open();
        assert_eq!(dataplane.attach("t1", 1, Mode::Tc).unwrap().mode, AttachedMode::Tc);
        assert!(dataplane.attach("t1", 1, Mode::Tc).unwrap().adopted);
        let generic = dataplane.attach("t1", 1, Mode::Generic).unwrap();
        assert_eq!((generic.mode, generic.adopted), (AttachedMode::Generic, false));
        let native = dataplane.attach("t1", 1, Mode::Native).unwrap();
        assert_eq!((native.mode, native.adopted), (AttachedMode::Native, false));
        assert!(dataplane.attach("t1", 1, Mode::Auto).unwrap().adopted);
    });
}

#[test]
fn slots_and_names_are_checked() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        let mut dataplane = dir.open();
        dataplane.register_egress("absent", 7).unwrap();
        assert!(matches!(dataplane.attach("t1", 0, Mode::Tc), Err(Error::Slot { .. })));
        assert!(matches!(dataplane.attach("t1", 7, Mode::Tc), Err(Error::Slot { .. })));
        assert!(matches!(dataplane.attach("t9", 2, Mode::Tc), Err(Error::NoInterface { .. })));
        for name in ["", "a/b", "a b", "sixteen-bytes-xx", ".."] {
            assert!(
                matches!(dataplane.attach(name, 2, Mode::Tc), Err(Error::InterfaceName { .. })),
                "{name}"
            );
        }
    });
}

#[test]
fn dots_in_names_are_pinned() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1.100", "p1");
        let mut dataplane = dir.open();
        dataplane.attach("t1.100", 1, Mode::Auto).unwrap();
        assert_eq!(dataplane.pinned_interfaces().unwrap(), ["t1.100"]);
        drop(dataplane);
        let mut dataplane = dir.open();
        assert!(dataplane.attach("t1.100", 1, Mode::Auto).unwrap().adopted);
    });
}

#[test]
fn an_interface_that_comes_back_is_governed_again() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        let mut dataplane = dir.open();
        let first = dataplane.attach("t1", 1, Mode::Auto).unwrap();
        dataplane.register_egress("t2", 2).unwrap();
        assert_eq!(dataplane.refresh_interfaces().unwrap(), []);

        ip("link delete t1");
        let changes = dataplane.refresh_interfaces().unwrap();
        assert!(changes.contains(&InterfaceChange::Gone { interface: "t1".into() }), "{changes:?}");
        assert_eq!(dataplane.readers().slot_of(first.ifindex), 0);
        assert_eq!(dataplane.refresh_interfaces().unwrap(), []);

        veth("t2", "p2");
        veth("t1", "p1");
        let changes = dataplane.refresh_interfaces().unwrap();
        assert!(changes.contains(&InterfaceChange::Target { interface: "t2".into() }), "{changes:?}");
        let attached = changes.iter().find_map(|change| match change {
            InterfaceChange::Attached(attachment) => Some(attachment),
            _ => None,
        });
        let second = attached.unwrap();
        assert!(second.ifindex != first.ifindex && second.mode == AttachedMode::Native);
        assert_eq!(dataplane.readers().slot_of(second.ifindex), 1);
    });
}

#[test]
fn pins_of_an_interface_that_was_made_anew_are_stale() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        let mut dataplane = dir.open();
        dataplane.attach("t1", 1, Mode::Auto).unwrap();
        drop(dataplane);
        ip("link delete t1");
        veth("t1", "p1");
        let mut dataplane = dir.open();
        let attachment = dataplane.attach("t1", 1, Mode::Auto).unwrap();
        assert!(!attachment.adopted);
        assert!(ip("-d link show t1").contains("xdp"));
    });
}

#[test]
fn features_follow_the_peer() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "t2");
        let mut dataplane = dir.open();
        let t1 = dataplane.attach("t1", 1, Mode::Native).unwrap();
        assert_eq!(dataplane.entry(t1.ifindex).flags, INTERFACE_NATIVE | INTERFACE_TX_BY_TC);
        let device = |name: &str| features::device(name, features::index_of(name).unwrap().unwrap()).unwrap();
        assert_eq!(device("t1"), Device { veth: true, xdp_frames: false });
        assert_eq!(device("t2"), Device { veth: true, xdp_frames: true });
        assert_eq!(device("lo"), Device { veth: false, xdp_frames: false });

        dataplane.attach("t2", 2, Mode::Native).unwrap();
        dataplane.refresh_interfaces().unwrap();
        assert_eq!(dataplane.entry(t1.ifindex).flags, INTERFACE_NATIVE | INTERFACE_TX_BY_REDIRECT);
    });
}

/// Kernels before 6.6 have no TCX; the way that is theirs works here too.
#[test]
fn a_filter_at_clsact_outlives_us_and_is_replaced_in_place() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        let mut dataplane = dir.open();
        let attachment = dataplane.attach("t1", 1, Mode::Native).unwrap();
        let folder = dataplane.pins.interface("t1");
        links::take_off(&folder, InterfacePin::Tc { egress: false, link: true }, "t1", attachment.ifindex)
            .unwrap();
        let pin = links::attach_clsact(&mut dataplane.programs.tc, false, &folder, "t1").unwrap();
        assert_eq!(pin, InterfacePin::Tc { egress: false, link: false });
        let adopted = dataplane.attach("t1", 1, Mode::Native).unwrap();
        assert_eq!((adopted.adopted, adopted.tc_link), (true, TcLink::Clsact));
        drop(dataplane);
        let filters = |expected: usize| {
            let text = Command::new("tc").args(["filter", "show", "dev", "t1", "ingress"]).output().unwrap();
            let text = String::from_utf8(text.stdout).unwrap();
            assert_eq!(text.matches("handle 0x6777").count(), expected, "{text}");
            text
        };
        let before = filters(1);

        let pins = pins::Pins::open(dir.path()).unwrap();
        pins.set_object(&object_digest(9)).unwrap();
        drop(pins);
        let mut dataplane = dir.open();
        assert!(dataplane.opened().programs_replaced);
        assert_ne!(filters(1), before);
        assert!(dataplane.attach("t1", 1, Mode::Auto).unwrap().adopted);
        dataplane.detach("t1").unwrap();
        filters(0);
    });
}

#[test]
fn real_packets_are_judged_in_every_mode() {
    in_namespace(|| {
        let dir = PinDir::new();
        let mut dataplane = dir.open();
        dataplane.apply(&dropping(7001), [0; 4], 0).unwrap();
        let receivers = [7000, 7001].map(|port| {
            let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            socket
        });
        for (mode, hook) in [(Mode::Generic, Hook::Xdp), (Mode::Tc, Hook::TcIngress)] {
            dataplane.attach("lo", 1, mode).unwrap();
            let before = dataplane.readers().interface_stats(1)[hook as usize];
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            for port in [7000, 7001] {
                sender.send_to(b"x", ("127.0.0.1", port)).unwrap();
            }
            let arrived = receivers.each_ref().map(|socket| socket.recv(&mut [0; 8]).is_ok());
            assert_eq!(arrived, [true, false], "{mode:?}");
            let after = dataplane.readers().interface_stats(1)[hook as usize];
            assert_eq!(after.received.packets - before.received.packets, 2, "{mode:?}");
            assert_eq!(after.verdicts[1].packets - before.verdicts[1].packets, 1, "{mode:?}");
        }
    });
}

#[test]
fn the_kernel_side_knows_the_addresses_of_its_interfaces() {
    in_namespace(|| {
        let dir = PinDir::new();
        veth("t1", "p1");
        ip("addr add 10.0.0.1/24 dev t1");
        ip("addr add 10.0.0.2/24 dev t1");
        ip("addr add 10.0.9.1/24 dev t1 scope link");
        let mut dataplane = dir.open();
        let own = |dataplane: &Dataplane, slot| dataplane.own_addresses.load(slot).unwrap();
        dataplane.attach("t1", 1, Mode::Generic).unwrap();
        // fe80:: is not global.
        let [four, none] = [ipv4_address(0x0a00_0001), [0; 2]];
        assert_eq!(own(&dataplane, 1), OwnAddresses { ipv4: four, ipv6: none });
        assert_eq!(own(&dataplane, 2), OwnAddresses::default());

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut watcher = LinkWatcher::new().unwrap();
            ip("addr flush dev t1 scope global");
            ip("addr add 2001:db8::7/64 dev t1 nodad");
            loop {
                let event = tokio::time::timeout(Duration::from_secs(5), watcher.next()).await;
                let event = event.expect("told within five seconds").unwrap();
                dataplane.refresh_interfaces().unwrap();
                let six = [0x2001_0db8_0000_0000, 7];
                let told = matches!(event, LinkEvent::Addresses { .. });
                if told && own(&dataplane, 1) == (OwnAddresses { ipv4: none, ipv6: six }) {
                    break;
                }
            }
        });
    });
}

#[test]
fn link_events_are_told() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut watcher = LinkWatcher::new().unwrap();
            veth("t1", "p1");
            ip("link delete t1");
            let mut seen = Vec::new();
            let removed = |event: &LinkEvent| matches!(event, LinkEvent::Removed { interface, .. } if interface == "t1");
            while !seen.iter().any(removed) {
                let event = tokio::time::timeout(Duration::from_secs(5), watcher.next()).await;
                seen.push(event.expect("told within five seconds").unwrap());
            }
            let changed = |event: &LinkEvent| matches!(event, LinkEvent::Changed { interface, .. } if interface == "t1");
            assert!(changed(&seen[0]) || changed(&seen[1]), "{seen:?}");
        });
    });
}
