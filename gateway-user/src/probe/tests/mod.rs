//! Real sockets: servers on loopback that serve, and all that can be wrong with one.

mod failures;
mod http;
mod icmp;
mod many;
mod tcp;
mod tls;

use super::{Failure, IcmpSockets, Probe, Prober, Report};
use crate::policy::{Check, CheckKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const TCP: CheckKind = CheckKind::Tcp { port: None };
/// What is to come comes within this, however busy the machine is, or never.
const PATIENCE: Duration = Duration::from_secs(60);
/// The timeout of probes that are to have one.
const SHORT: Duration = Duration::from_millis(200);

/// A check with time enough.
fn check(kind: CheckKind) -> Check {
    Check { kind, interval: PATIENCE, timeout: PATIENCE, rise: Check::RISE, fall: Check::FALL }
}

/// One that goes on often, and whose time is soon over.
fn hasty(kind: CheckKind) -> Check {
    Check { interval: SHORT, timeout: SHORT, ..check(kind) }
}

fn probe(key: &str, address: SocketAddr, check: Check) -> Probe {
    Probe { key: key.into(), address, check }
}

async fn next(reports: &mut mpsc::Receiver<Report>) -> Report {
    timeout(PATIENCE * 2, reports.recv()).await.expect("no report came").expect("the prober ended")
}

/// What comes of asking once.
async fn ask_with(icmp: Option<IcmpSockets>, address: SocketAddr, check: Check) -> Result<Duration, Failure> {
    let (mut prober, mut reports) = Prober::new(icmp).unwrap();
    prober.set([probe("pool/target", address, check)].into_iter());
    let report = next(&mut reports).await;
    assert_eq!(&*report.probe.key, "pool/target");
    assert_eq!(report.skipped, 0);
    report.outcome
}

async fn ask(address: SocketAddr, check: Check) -> Result<Duration, Failure> {
    ask_with(None, address, check).await
}

/// A server that does this with each connection.
async fn serve<F: Future<Output = ()> + Send + 'static>(
    on: IpAddr,
    answer: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((on, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

/// A server that accepts, reads what it is sent, and says nothing.
async fn silent(on: IpAddr) -> SocketAddr {
    serve(on, |mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

/// A server that resets each connection as soon as it was sent something.
async fn resetting(on: IpAddr) -> SocketAddr {
    serve(on, |mut stream| async move {
        stream.set_zero_linger().unwrap();
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await
}

/// A server that reads what it is sent first, and then closes without a word.
async fn closing(on: IpAddr) -> SocketAddr {
    serve(on, |mut stream| async move {
        let _ = stream.read(&mut [0; 16_384]).await;
    })
    .await
}
