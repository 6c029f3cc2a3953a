//! One question and its answer.

use super::descriptors::allow_connections;
use super::icmp::{IcmpSockets, Pinger};
use super::{Failure, Probe, ProberError, Stage, http, tls};
use crate::policy::CheckKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;
use tokio_rustls::rustls::ClientConfig;

/// What all probes ask with.
#[derive(Debug)]
pub(super) struct Means {
    /// One for each connection that may be open at once.
    pub(super) connections: Semaphore,
    tls: Arc<ClientConfig>,
    pinger: Option<Pinger>,
}

impl Means {
    pub(super) fn new(icmp: Option<IcmpSockets>) -> Result<Means, ProberError> {
        let connections = Semaphore::new(allow_connections().map_err(ProberError::Descriptors)?);
        let pinger = icmp.map(Pinger::new).transpose().map_err(ProberError::Icmp)?;
        Ok(Means { connections, tls: tls::config().map_err(ProberError::Tls)?, pinger })
    }

    /// Waits until this node has a file descriptor for the question; nothing where it takes none.
    pub(super) async fn permit(&self, kind: &CheckKind) -> Option<SemaphorePermit<'_>> {
        match kind {
            CheckKind::Icmp => None,
            // It fails only where the semaphore is closed, which nobody does.
            CheckKind::Tcp { .. } | CheckKind::Tls { .. } | CheckKind::Http { .. } => {
                self.connections.acquire().await.ok()
            }
        }
    }

    /// Asks once; how long the answer took.
    pub(super) async fn ask(&self, probe: &Probe, begun: Instant) -> Result<Duration, Failure> {
        let patience = Patience::new(begun, probe.check.timeout);
        // On the heap, each of them: they need up to some kilobytes, which the task of a probe is not to hold between
        // two questions.
        match &probe.check.kind {
            CheckKind::Tcp { .. } => Box::pin(connect(probe.address, &patience)).await.map(drop)?,
            CheckKind::Tls { name, .. } => {
                return Box::pin(tls::ask(&self.tls, probe.address, name.as_deref(), &patience)).await;
            }
            CheckKind::Http { path, host, status, .. } => {
                let request = http::request(probe.address, path, host.as_deref())?;
                Box::pin(http::ask(probe.address, request, status, &patience)).await?;
            }
            CheckKind::Icmp => {
                let pinger = self.pinger.as_ref().ok_or(Failure::NoIcmp)?;
                return Box::pin(pinger.ask(probe.address.ip(), &patience)).await;
            }
        }
        Ok(begun.elapsed())
    }
}

/// How long one probe waits, over all its stages.
#[derive(Debug)]
pub(super) struct Patience {
    begun: Instant,
    timeout: Duration,
}

impl Patience {
    pub(super) fn new(begun: Instant, timeout: Duration) -> Patience {
        Patience { begun, timeout }
    }

    /// Waits for what a stage comes to, or for the end of the probe's time.
    pub(super) async fn with<T>(&self, stage: Stage, coming: impl Future<Output = T>) -> Result<T, Failure> {
        let end = self.begun + self.timeout;
        timeout_at(end.into(), coming).await.map_err(|_| Failure::Timeout { stage, after: self.timeout })
    }

    /// When the question was put.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }
}

/// Opens a connection.
///
/// It ends with a reset, not with FIN (`SO_LINGER` of zero): whoever closes first keeps the connection in TIME-WAIT for
/// a minute (RFC 9293 3.6), and this node closes first. At 5,000 probes a second these would be 300,000 at any time,
/// which take the local ports and the kernel's memory.
pub(super) async fn connect(address: SocketAddr, patience: &Patience) -> Result<TcpStream, Failure> {
    let failed = |error| Failure::of_io(&error, Stage::Connecting);
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    socket.set_zero_linger().map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    patience.with(Stage::Connecting, socket.connect(address)).await?.map_err(failed)
}
