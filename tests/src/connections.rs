//! Many long connections, of which each knows who answers it.

use crate::netns::Namespace;
use anyhow::{Context, Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// An answer comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a server looks whether it is to end, milliseconds.
const BEAT_MS: u8 = 50;

/// Lets this process have so many sockets at once, or as many as the kernel allows it; how many that is.
///
/// # Errors
/// If the limit cannot be read or set.
pub fn allow_sockets(count: u64) -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= count {
        return Ok(count);
    }
    // Beyond the hard limit takes CAP_SYS_RESOURCE.
    if setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count)).is_ok() {
        return Ok(count);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).with_context(|| format!("{hard} open files"))?;
    Ok(hard)
}

/// A server that says its number to whoever connects, and then gives back what it is sent.
#[derive(Debug)]
pub struct Echo {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Echo {
    /// Starts one in a namespace.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub fn start(namespace: &Namespace, at: SocketAddr, number: u8) -> Result<Echo> {
        let listener = namespace.run(|| listen(at))?;
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let thread = std::thread::spawn(move || serve(&listener, number, &told));
        Ok(Echo { end, thread: Some(thread) })
    }

    /// Ends it, and with it its connections.
    ///
    /// # Errors
    /// If it failed before.
    pub fn stop(mut self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped already")?;
        thread.join().map_err(|_| anyhow::anyhow!("a server panicked"))?
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

/// Listens in the calling thread's namespace.
///
/// # Errors
/// If the address cannot be had.
pub fn listen(at: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(at)?;
    // Its backlog is short otherwise, for so many who come at once.
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::MAXALLOWABLE)?;
    Ok(listener)
}

/// Does what an [`Echo`] does until it is told to end.
///
/// # Errors
/// If the kernel refuses.
pub fn serve(listener: &TcpListener, number: u8, end: &AtomicBool) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    listener.set_nonblocking(true)?;
    let listening = listener.as_raw_fd() as u64;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, listening))?;
    let mut streams: HashMap<u64, TcpStream> = HashMap::new();
    let mut events = vec![EpollEvent::empty(); 256];
    while !end.load(Ordering::Relaxed) {
        let count = match epoll.wait(&mut events, EpollTimeout::from(BEAT_MS)) {
            Err(nix::errno::Errno::EINTR) => 0,
            result => result?,
        };
        for event in &events[..count] {
            if event.data() != listening {
                if streams.get_mut(&event.data()).is_some_and(|stream| !echo(stream)) {
                    streams.remove(&event.data());
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                let name = stream.as_raw_fd() as u64;
                stream.set_nonblocking(true)?;
                // One whose client has gone meanwhile is found by its event.
                let _ = stream.write_all(&[number]);
                epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, name))?;
                streams.insert(name, stream);
            }
        }
    }
    Ok(())
}

/// Gives back what came; false where the connection is over.
fn echo(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 512];
    match stream.read(&mut bytes) {
        Ok(0) => false,
        Ok(length) => stream.write_all(&bytes[..length]).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// A connection of a client.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    by: u8,
}

impl Connection {
    /// Connects from the calling thread's namespace.
    ///
    /// # Errors
    /// Without an answer.
    pub fn open(service: SocketAddr) -> Result<Connection> {
        let mut stream = TcpStream::connect_timeout(&service, PATIENCE)
            .with_context(|| format!("connecting to {service}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut by = [0];
        stream.read_exact(&mut by).context("who answers")?;
        Ok(Connection { stream, by: by[0] })
    }

    /// The number of the server.
    #[must_use]
    pub fn by(&self) -> u8 {
        self.by
    }

    /// Sends something, which must come back.
    ///
    /// # Errors
    /// Where it does not: the connection is lost.
    pub fn go_on(&mut self, word: u32) -> Result<()> {
        self.stream.write_all(&word.to_be_bytes()).context("asking")?;
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer).context("no answer")?;
        ensure!(answer == word.to_be_bytes(), "another answer");
        Ok(())
    }
}

/// So many connections from the calling thread's namespace.
///
/// # Errors
/// If one is not answered.
pub fn open(service: SocketAddr, count: usize) -> Result<Vec<Connection>> {
    (0..count).map(|n| Connection::open(service).with_context(|| format!("connection {n}"))).collect()
}

/// How many of these each server has, by its number.
#[must_use]
pub fn by_server<const N: usize>(connections: &[Connection]) -> [usize; N] {
    let mut by = [0; N];
    connections.iter().for_each(|connection| by[usize::from(connection.by())] += 1);
    by
}
