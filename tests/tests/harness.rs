//! The harness itself: namespaces come and go, what is sent is what arrives.

use anyhow::Result;
use gateway_tests::netns::Namespace;
use gateway_tests::packet::Frame;
use gateway_tests::traffic::{Load, Sender};
use gateway_tests::watch::{Watch, settle};
use std::path::Path;
use std::time::Duration;

#[test]
fn namespaces_are_removed_also_after_a_panic() -> Result<()> {
    let name = std::sync::Mutex::new(String::new());
    let result = std::panic::catch_unwind(|| {
        let namespace = Namespace::new("panic").expect("a namespace");
        *name.lock().expect("lock") = namespace.name().to_owned();
        let other = Namespace::new("other").expect("a namespace");
        namespace.veth("a", &other, "b").expect("a veth pair");
        panic!("on purpose");
    });
    assert!(result.is_err());
    let name = name.lock().expect("lock").clone();
    assert!(!name.is_empty() && !Path::new("/run/netns").join(&name).exists());
    Ok(())
}

#[test]
fn what_is_sent_is_what_arrives() -> Result<()> {
    let (near, far) = (Namespace::new("near")?, Namespace::new("far")?);
    near.veth("a", &far, "b")?;
    near.mac("a", [2, 0, 0, 0, 0, 1])?;
    near.address("a", "192.0.2.1/24")?;
    let watch = Watch::new(&far, "b", &[("udp", "udp dport 7"), ("tagged", "vlan id 9")])?;
    let udp = Frame::new().ipv4("192.0.2.1", "192.0.2.2").udp(1, 7).bytes();
    let tagged = Frame::new().tag(9).ipv4("192.0.2.1", "192.0.2.2").udp(1, 8).bytes();
    near.run(|| Sender::open("a")?.send(&[udp.as_slice(); 1000]))?;
    let load = Load::start(&near, "a", vec![udp, tagged], 50_000)?;
    std::thread::sleep(Duration::from_millis(200));
    let rounds = load.stop()?;
    assert!(rounds > 1000, "{rounds} rounds");
    let want = |counts: &std::collections::BTreeMap<String, u64>| {
        counts["udp"] == 1000 + rounds && counts["tagged"] == rounds
    };
    let counts = settle(Duration::from_secs(2), || watch.packets(), want)?;
    assert!(want(&counts), "{counts:?} after {rounds} rounds");
    Ok(())
}
