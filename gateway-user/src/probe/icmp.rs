//! Asks for ICMP echoes, all of them over one raw socket for each version of IP.

use super::ask::Patience;
use super::echo::{Echo, only_replies};
use super::{Failure, Stage};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// For the replies to a burst of requests, bytes. The kernel gives as much of it as `net.core.rmem_max` lets it.
const RECEIVE_BUFFER_LEN: usize = 1 << 20;
/// A header of IPv4 with all its options, and a reply; what is longer is none.
const DATAGRAM_LEN_MAX: usize = 128;
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Raw sockets that take echo replies to this process and nothing else. They are opened while the process may do so
/// (`CAP_NET_RAW`), and used without that right.
#[derive(Debug)]
pub struct IcmpSockets {
    v4: Option<Socket>,
    v6: Option<Socket>,
    identifier: u16,
}

impl IcmpSockets {
    /// Opens both. On a node without one version of IP there is none of that version, and its probes fail with
    /// [`Failure::NoIcmp`].
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, or where the kernel refuses otherwise.
    pub fn open() -> io::Result<IcmpSockets> {
        // Not the process's number, which in containers is the same for many.
        let identifier = RandomState::new().hash_one(0) as u16;
        Ok(IcmpSockets {
            v4: open(Domain::IPV4, Protocol::ICMPV4, identifier)?,
            v6: open(Domain::IPV6, Protocol::ICMPV6, identifier)?,
            identifier,
        })
    }
}

fn open(domain: Domain, protocol: Protocol, identifier: u16) -> io::Result<Option<Socket>> {
    let socket = match Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol)) {
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(None),
        opened => opened?,
    };
    socket.attach_filter(&only_replies(domain == Domain::IPV4, identifier))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN)?;
    Ok(Some(socket))
}

/// Asks, and brings each reply to whom it is for.
#[derive(Debug)]
pub(super) struct Pinger {
    v4: Option<Arc<UdpSocket>>,
    v6: Option<Arc<UdpSocket>>,
    identifier: u16,
    count: AtomicU64,
    /// Its keys nobody else knows, so that nobody who does not see the request can answer in the target's name.
    nonces: RandomState,
    waiting: Arc<Waiting>,
    readers: Vec<JoinHandle<()>>,
}

impl Drop for Pinger {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl Pinger {
    /// # Errors
    /// If the runtime does not take the sockets.
    pub(super) fn new(sockets: IcmpSockets) -> io::Result<Pinger> {
        let v4 = sockets.v4.map(registered).transpose()?;
        let v6 = sockets.v6.map(registered).transpose()?;
        let waiting = Arc::new(Waiting::default());
        let readers =
            v4.iter().chain(&v6).map(|socket| tokio::spawn(read(socket.clone(), waiting.clone()))).collect();
        let identifier = sockets.identifier;
        Ok(Pinger {
            v4,
            v6,
            identifier,
            count: AtomicU64::new(0),
            nonces: RandomState::new(),
            waiting,
            readers,
        })
    }

    /// Asks once; how long the reply took.
    pub(super) async fn ask(&self, address: IpAddr, patience: &Patience) -> Result<Duration, Failure> {
        let socket = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let socket = socket.as_ref().ok_or(Failure::NoIcmp)?;
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let echo =
            Echo { identifier: self.identifier, sequence: count as u16, nonce: self.nonces.hash_one(count) };
        let (reply, mut wait) = self.waiting.enter(address, echo);
        let exchange = async {
            socket.send_to(&echo.request(address), SocketAddr::new(address, 0)).await?;
            // Who would bring the reply is there for as long as this waits for it.
            (&mut wait).await.map_err(io::Error::other)
        };
        let arrived = patience.with(Stage::Answer, exchange).await;
        drop(reply);
        let arrived = arrived?.map_err(|error| Failure::of_io(&error, Stage::Answer))?;
        Ok(arrived.saturating_duration_since(patience.begun()))
    }
}

/// The runtime knows no raw sockets, but datagrams with an address are sent and received by the same calls as UDP's.
fn registered(socket: Socket) -> io::Result<Arc<UdpSocket>> {
    Ok(Arc::new(UdpSocket::from_std(StdUdpSocket::from(OwnedFd::from(socket)))?))
}

/// Brings replies to whom they are for.
async fn read(socket: Arc<UdpSocket>, waiting: Arc<Waiting>) {
    let mut datagram = [0; DATAGRAM_LEN_MAX];
    loop {
        match socket.recv_from(&mut datagram).await {
            Ok((len, from)) => {
                if let Some(echo) = Echo::of_reply(from.ip(), &datagram[..len]) {
                    waiting.bring(from.ip(), echo, Instant::now());
                }
            }
            Err(error) => {
                tracing::warn!(%error, "ICMP replies cannot be read");
                sleep(FAILURE_PAUSE).await;
            }
        }
    }
}

/// The echoes that have no reply yet, by their nonces.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<u64, Entry>>);

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    echo: Echo,
    arrived: oneshot::Sender<Instant>,
}

impl Waiting {
    /// From now on its reply is waited for, until the first of what is returned is dropped.
    fn enter(&self, address: IpAddr, echo: Echo) -> (Place<'_>, oneshot::Receiver<Instant>) {
        let (arrived, wait) = oneshot::channel();
        self.lock().insert(echo.nonce, Entry { address, echo, arrived });
        (Place { waiting: self, nonce: echo.nonce }, wait)
    }

    /// A reply is good once, from whom was asked and with all that was sent.
    fn bring(&self, from: IpAddr, echo: Echo, now: Instant) {
        let mut entries = self.lock();
        let good = entries.get(&echo.nonce).is_some_and(|entry| entry.address == from && entry.echo == echo);
        if good && let Some(entry) = entries.remove(&echo.nonce) {
            // Who gave up just now does not take it.
            let _ = entry.arrived.send(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those that wait, given up also where the task that waits is ended.
struct Place<'a> {
    waiting: &'a Waiting,
    nonce: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.nonce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_reply_counts_once_and_only_as_it_was_asked() {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        let echo = Echo { identifier: 1, sequence: 2, nonce: 3 };
        let waiting = Waiting::default();
        let (place, mut wait) = waiting.enter(address, echo);
        let now = Instant::now();
        for (from, echo) in [
            (other, echo),
            (address, Echo { identifier: 9, ..echo }),
            (address, Echo { sequence: 9, ..echo }),
            (address, Echo { nonce: 9, ..echo }),
        ] {
            waiting.bring(from, echo, now);
            assert!(wait.try_recv().is_err(), "{from} {echo:?}");
        }
        waiting.bring(address, echo, now);
        assert_eq!(wait.try_recv(), Ok(now));
        waiting.bring(address, echo, now);
        drop(place);
        assert!(waiting.lock().is_empty());
    }

    #[test]
    fn nothing_is_left_of_an_echo_that_is_given_up() {
        let waiting = Waiting::default();
        let echo = Echo { identifier: 1, sequence: 2, nonce: 3 };
        let (place, wait) = waiting.enter(IpAddr::V4(Ipv4Addr::LOCALHOST), echo);
        drop((place, wait));
        assert!(waiting.lock().is_empty());
    }

    /// An echo request to loopback comes back to raw sockets itself, before its reply does.
    #[tokio::test]
    async fn the_sockets_take_no_requests_and_no_replies_to_others() {
        let idle = IcmpSockets::open().unwrap();
        let pinger = Pinger::new(IcmpSockets::open().unwrap()).unwrap();
        let patience = Patience::new(Instant::now(), Duration::from_secs(60));
        for (address, socket) in
            [(IpAddr::V4(Ipv4Addr::LOCALHOST), idle.v4), (IpAddr::V6(Ipv6Addr::LOCALHOST), idle.v6)]
        {
            pinger.ask(address, &patience).await.unwrap();
            let taken = socket.unwrap().read(&mut [0; DATAGRAM_LEN_MAX]);
            assert_eq!(taken.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock), "{address}");
        }
    }
}
