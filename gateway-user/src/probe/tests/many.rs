use super::*;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

#[tokio::test]
async fn all_of_many_are_asked() {
    let mut addresses = Vec::new();
    for on in [V4, V6, "127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()] {
        addresses.push(silent(on).await);
    }
    let (mut prober, mut reports) = Prober::new(None).unwrap();
    prober.set((0..500).map(|n| probe(&format!("pool/{n}"), addresses[n % addresses.len()], check(TCP))));
    let mut asked = HashSet::new();
    while asked.len() < 500 {
        let report = next(&mut reports).await;
        assert!(report.outcome.is_ok(), "{report:?}");
        asked.insert(report.probe.key.clone());
    }
}

#[tokio::test]
async fn what_stays_goes_on_and_what_goes_ends() {
    let address = silent(V4).await;
    let elsewhere = silent(V6).await;
    let often = || Check { interval: Check::INTERVAL_LEAST, ..check(TCP) };
    let (mut prober, mut reports) = Prober::new(None).unwrap();
    let before = [("stays", address), ("moves", address), ("goes", address)];
    prober.set(before.into_iter().map(|(key, address)| probe(key, address, often())));
    let mut stayed = None;
    let mut seen = HashSet::new();
    while seen.len() < before.len() {
        let report = next(&mut reports).await;
        seen.insert(report.probe.key.to_string());
        if &*report.probe.key == "stays" {
            stayed = Some(report.probe);
        }
    }

    let after = [("stays", address), ("moves", elsewhere), ("comes", address)];
    prober.set(after.into_iter().map(|(key, address)| probe(key, address, often())));
    // The runtime has this thread alone, so nothing is asked between the two.
    let set = Instant::now();
    let mut counts = [0; 3];
    while counts.iter().any(|&count| count < 3) {
        let report = next(&mut reports).await;
        if report.at <= set {
            continue;
        }
        let known = (&*report.probe.key, report.probe.address);
        let index = after.iter().position(|&one| one == known);
        counts[index.unwrap_or_else(|| panic!("{report:?} should have ended"))] += 1;
        if known.0 == "stays" {
            assert!(Arc::ptr_eq(stayed.as_ref().unwrap(), &report.probe), "it began anew");
        }
    }
}

#[tokio::test]
async fn with_the_prober_its_probes_end() {
    let (mut prober, mut reports) = Prober::new(Some(IcmpSockets::open().unwrap())).unwrap();
    prober.set([probe("pool/target", silent(V4).await, check(TCP))].into_iter());
    next(&mut reports).await;
    drop(prober);
    assert!(timeout(PATIENCE, reports.recv()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_takes_longer_than_its_interval_is_skipped_and_counted() {
    let interval = Check::INTERVAL_LEAST;
    let (mut prober, mut reports) = Prober::new(None).unwrap();
    let check = Check { interval, timeout: interval * 5, ..check(CheckKind::Tls { port: None, name: None }) };
    prober.set([probe("pool/target", silent(V4).await, check)].into_iter());
    assert_eq!(next(&mut reports).await.skipped, 0);
    let report = next(&mut reports).await;
    assert!(report.outcome.is_err() && report.skipped >= 4, "{report:?}");
}

#[tokio::test]
async fn who_waits_for_a_descriptor_is_late_and_says_so() {
    let (mut prober, mut reports) = Prober::new(None).unwrap();
    let connections = &prober.means.clone().connections;
    let all = connections.acquire_many(connections.available_permits() as u32).await.unwrap();
    prober.set([probe("pool/target", silent(V4).await, hasty(TCP))].into_iter());
    // It is due within one interval.
    tokio::time::sleep(SHORT * 3).await;
    assert!(reports.is_empty());
    drop(all);
    let report = next(&mut reports).await;
    assert!(report.outcome.is_ok() && report.late >= SHORT * 2, "{report:?}");
    assert!(next(&mut reports).await.skipped >= 1);
}
