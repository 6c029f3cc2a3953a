//! Who is at the other end of the control socket, and what that one may do.

use super::error::ApiError;
use super::listener::ControlListener;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use nix::unistd::geteuid;

/// A peer, by its credentials as the kernel tells them (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id when it connected.
    pub uid: u32,
    /// Process id when it connected, if the kernel tells.
    pub pid: Option<i32>,
}

impl Peer {
    /// Whether it may change anything: root, or the user that the daemon runs as.
    #[must_use]
    pub fn may_change(self) -> bool {
        self.uid == 0 || self.uid == geteuid().as_raw()
    }
}

impl Connected<IncomingStream<'_, ControlListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, ControlListener>) -> Peer {
        *stream.remote_addr()
    }
}

/// Proof that the request comes from a peer that may change things: a handler that changes anything
/// takes one, first of its arguments. Who asked is logged.
#[derive(Clone, Copy, Debug)]
pub struct Changer;

impl<S: Sync> FromRequestParts<S> for Changer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Changer, ApiError> {
        match parts.extensions.get::<ConnectInfo<Peer>>() {
            Some(ConnectInfo(peer)) if peer.may_change() => {
                let Parts { method, uri, .. } = parts;
                tracing::info!(uid = peer.uid, pid = peer.pid, %method, %uri, "a change is asked for");
                Ok(Changer)
            }
            Some(ConnectInfo(peer)) => Err(ApiError::forbidden(peer.uid)),
            None => Err(ApiError::forbidden(u32::MAX)),
        }
    }
}
