use super::super::Stage;
use super::*;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::collections::HashSet;
use std::fs;
use std::process::Command;

fn ping(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 0)
}

#[tokio::test]
async fn who_answers_echoes_is_well() {
    for address in ["127.0.0.1", "127.1.2.3", "::1"] {
        let icmp = Some(IcmpSockets::open().unwrap());
        ask_with(icmp, ping(address), check(CheckKind::Icmp)).await.unwrap();
    }
}

#[tokio::test]
async fn many_echoes_come_back_to_whom_they_are_for() {
    let (mut prober, mut reports) = Prober::new(Some(IcmpSockets::open().unwrap())).unwrap();
    // Another prober of the same node asks the same ones, and each takes only its own.
    let (mut other, mut others) = Prober::new(Some(IcmpSockets::open().unwrap())).unwrap();
    let probes = || {
        (0..500).map(|n| {
            let address =
                if n % 5 == 0 { ping("::1") } else { ping(&format!("127.0.{}.{}", n / 250, n % 250 + 1)) };
            probe(&format!("pool/{n}"), address, check(CheckKind::Icmp))
        })
    };
    prober.set(probes());
    other.set(probes());
    for reports in [&mut reports, &mut others] {
        let mut asked = HashSet::new();
        while asked.len() < 500 {
            let report = next(reports).await;
            assert!(report.outcome.is_ok(), "{report:?}");
            asked.insert(report.probe.key.clone());
        }
    }
}

#[tokio::test]
async fn without_sockets_there_are_no_echoes() {
    let failure = ask(ping("127.0.0.1"), check(CheckKind::Icmp)).await.unwrap_err();
    assert!(failure == Failure::NoIcmp && failure.is_local());
}

/// Asks both addresses of loopback in a network namespace that ends with the thread.
fn ask_apart(prepare: impl FnOnce() + Send + 'static, check: Check) -> [Result<Duration, Failure>; 2] {
    let asked = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        prepare();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut outcomes = Vec::new();
            for address in ["127.0.0.1", "::1"] {
                let icmp = Some(IcmpSockets::open().unwrap());
                outcomes.push(ask_with(icmp, ping(address), check.clone()).await);
            }
            outcomes.try_into().unwrap()
        })
    };
    std::thread::spawn(asked).join().unwrap()
}

#[test]
fn who_does_not_answer_echoes_is_waited_for_and_no_longer() {
    let deaf = || {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").unwrap();
        fs::write("/proc/sys/net/ipv6/icmp/echo_ignore_all", "1").unwrap();
    };
    let failure = Err(Failure::Timeout { stage: Stage::Answer, after: SHORT });
    assert_eq!(ask_apart(deaf, hasty(CheckKind::Icmp)), [failure.clone(), failure]);
}

#[test]
fn where_no_way_leads_it_is_said() {
    let outcomes = ask_apart(|| {}, check(CheckKind::Icmp));
    let [v4, v6] = outcomes.map(Result::unwrap_err);
    assert_eq!(v4, Failure::Unreachable { errno: Errno::ENETUNREACH });
    assert!(matches!(v6, Failure::Unreachable { .. } | Failure::NoPorts), "{v6}");
}
