//! The control socket: made, taken over from a dead daemon, and shared fairly among users.

use super::peer::Peer;
use axum::serve::Listener;
use nix::unistd::{Gid, Group, chown};
use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// Owner and group read and write (connecting needs both); nobody else.
const SOCKET_MODE: u32 = 0o660;
/// Connections that one user other than root may have open, so that none keeps the others out.
const CONNECTIONS_PER_USER_MAX: usize = 64;
/// Wait after a refused `accept`, so that a full file table is not asked again at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("another daemon answers there: stop it, or give this one its own --socket")]
    InUse,
    /// Something that is no socket is in the way.
    #[error("the path is taken by something that is not a socket")]
    NotASocket,
    /// The group does not exist.
    #[error("there is no group `{name}`")]
    NoSuchGroup {
        /// Its name.
        name: String,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl ListenError {
    fn os(what: &'static str) -> impl FnOnce(io::Error) -> ListenError {
        move |source| ListenError::Os { what, source }
    }
}

/// The bound socket. Dropped, it takes its path away if that is still its own.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl ControlSocket {
    /// Makes the socket, and its folder if that is not there. A socket that nobody answers at is
    /// taken over.
    ///
    /// # Errors
    /// Where the path is taken, the group unknown or the file system refuses.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<ControlSocket, ListenError> {
        let group = group.map(group_id).transpose()?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(ListenError::os("making its folder"))?;
        }
        clear(path)?;
        // Bound under another name and renamed once its rights are right: nobody can connect before.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(fresh);
        let bound = bind_at(&fresh, group).and_then(|(listener, inode)| {
            fs::rename(&fresh, path).map_err(ListenError::os("renaming it"))?;
            Ok((listener, inode))
        });
        match bound {
            Ok((listener, inode)) => Ok(ControlSocket { listener, path: path.to_owned(), inode }),
            Err(error) => {
                // The first error is the one to tell; the file may not even be there.
                let _ = fs::remove_file(&fresh);
                Err(error)
            }
        }
    }
}

fn bind_at(path: &Path, group: Option<Gid>) -> Result<(UnixListener, u64), ListenError> {
    let listener = UnixListener::bind(path).map_err(ListenError::os("binding it"))?;
    listener.set_nonblocking(true).map_err(ListenError::os("setting it up"))?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))
        .map_err(ListenError::os("setting its mode"))?;
    if let Some(group) = group {
        chown(path, None, Some(group))
            .map_err(|errno| ListenError::os("giving it to its group")(errno.into()))?;
    }
    let inode = fs::symlink_metadata(path).map_err(ListenError::os("looking at it"))?.ino();
    Ok((listener, inode))
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let own = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if own && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the control socket stays behind");
        }
    }
}

/// The socket, listening.
#[derive(Debug)]
pub struct ControlListener {
    listener: tokio::net::UnixListener,
    connections: Connections,
    /// Takes the path away in the end.
    _socket: ControlSocket,
}

impl ControlListener {
    /// Listens. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where the operating system refuses.
    pub fn new(socket: ControlSocket) -> Result<ControlListener, ListenError> {
        let listener = socket
            .listener
            .try_clone()
            .and_then(tokio::net::UnixListener::from_std)
            .map_err(ListenError::os("listening"))?;
        Ok(ControlListener { listener, connections: Connections::default(), _socket: socket })
    }
}

fn group_id(name: &str) -> Result<Gid, ListenError> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    let found =
        Group::from_name(name).map_err(|errno| ListenError::os("looking its group up")(errno.into()))?;
    found.map(|group| group.gid).ok_or_else(|| ListenError::NoSuchGroup { name: name.to_owned() })
}

/// Takes away what a daemon left behind that ended without a word.
fn clear(path: &Path) -> Result<(), ListenError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListenError::os("looking at it")(error)),
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket);
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(ListenError::os("removing a dead one"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ListenError::os("asking who answers")(error)),
    }
}

impl Listener for ControlListener {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let peer = match stream.peer_cred() {
                Ok(credentials) => Peer { uid: credentials.uid(), pid: credentials.pid() },
                Err(error) => {
                    tracing::warn!(%error, "a control connection without credentials is closed");
                    continue;
                }
            };
            match self.connections.admit(peer.uid) {
                Some(place) => return (Connection { stream, _place: place }, peer),
                None => tracing::warn!(
                    uid = peer.uid,
                    most = CONNECTIONS_PER_USER_MAX,
                    "a control connection too many is closed"
                ),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { uid: nix::unistd::geteuid().as_raw(), pid: None })
    }
}

/// Open connections by user.
#[derive(Clone, Debug, Default)]
struct Connections(Arc<Mutex<HashMap<u32, usize>>>);

impl Connections {
    fn admit(&self, uid: u32) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(uid).or_default();
        if uid != 0 && *count >= CONNECTIONS_PER_USER_MAX {
            return None;
        }
        *count += 1;
        Some(Place { connections: self.clone(), uid })
    }
}

/// A user's place among the connections, given back when dropped.
#[derive(Debug)]
struct Place {
    connections: Connections,
    uid: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// A connection that holds its user's place.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    _place: Place,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_taken_over_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/gateway.sock");
        let first = ControlSocket::bind(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(ControlSocket::bind(&path, None), Err(ListenError::InUse)));
        assert!(path.exists());
        drop(first);
        assert!(!path.exists());

        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = ControlSocket::bind(&path, Some("0")).unwrap();
        drop(second);
        fs::write(&path, "a file").unwrap();
        assert!(matches!(ControlSocket::bind(&path, None), Err(ListenError::NotASocket)));
        let unknown = ControlSocket::bind(&path, Some("no such group here"));
        assert!(matches!(unknown, Err(ListenError::NoSuchGroup { .. })));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_user_has_only_so_many_places_and_root_has_all() {
        let connections = Connections::default();
        let mut places: Vec<Place> =
            (0..CONNECTIONS_PER_USER_MAX).map(|_| connections.admit(1000).unwrap()).collect();
        assert!(connections.admit(1000).is_none());
        assert!(connections.admit(1001).is_some());
        places.pop();
        assert!(connections.admit(1000).is_some());
        assert!((0..1000).map(|_| connections.admit(0)).collect::<Option<Vec<_>>>().is_some());
        drop(places);
        assert!(connections.0.lock().unwrap().is_empty());
    }
}
