//! A web server that fails in the ways that web servers do: while it takes connections, and not by going away.

use crate::netns::Namespace;
use crate::web::BODY;
use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks whether it is to end.
const BEAT: Duration = Duration::from_millis(5);
/// How long one that is slow takes, and how long any waits for what it is asked.
const SLOW: Duration = Duration::from_secs(2);
/// One connection of so many is reset.
const RESETS_ONE_IN: u32 = 5;

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// It does not.
    Good = 0,
    /// By status 500.
    Error = 1,
    /// Its answers come late.
    Slow = 2,
    /// It resets one connection in five before it has sent anything.
    Resets = 3,
}

/// The server. Dropped, it is ended.
#[derive(Debug)]
pub struct Faulty {
    manner: Arc<AtomicU8>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Faulty {
    /// Starts it in a namespace.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub fn start(namespace: &Namespace, at: SocketAddr) -> Result<Faulty> {
        let listener = namespace.run(|| Ok(TcpListener::bind(at)?))?;
        listener.set_nonblocking(true)?;
        let (manner, end) = (Arc::new(AtomicU8::new(Manner::Good as u8)), Arc::new(AtomicBool::new(false)));
        let (how, told) = (Arc::clone(&manner), Arc::clone(&end));
        let thread = std::thread::spawn(move || serve(&listener, &how, &told));
        Ok(Faulty { manner, end, thread: Some(thread) })
    }

    /// From now on it fails in this way.
    pub fn be(&self, manner: Manner) {
        self.manner.store(manner as u8, Ordering::Relaxed);
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it failed before, other than it was to.
    pub fn stop(mut self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped already")?;
        thread.join().map_err(|_| anyhow::anyhow!("a server panicked"))?
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn serve(listener: &TcpListener, manner: &AtomicU8, end: &AtomicBool) -> Result<()> {
    let mut taken = 0;
    while !end.load(Ordering::Relaxed) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(BEAT);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(false)?;
        let manner = manner.load(Ordering::Relaxed);
        taken += 1;
        if manner == Manner::Resets as u8 && taken % RESETS_ONE_IN == 0 {
            // Closed with what it sent thrown away: a reset (SO_LINGER of socket(7)).
            setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
            continue;
        }
        std::thread::spawn(move || {
            // Whoever only connects asks nothing.
            let _ = answer(stream, manner);
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream, manner: u8) -> Result<()> {
    stream.set_read_timeout(Some(SLOW))?;
    let (mut asked, mut piece) = (Vec::new(), [0; 512]);
    // To its end: what is closed with something unread is reset.
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            length => asked.extend_from_slice(&piece[..length]),
        }
    }
    if manner == Manner::Slow as u8 {
        std::thread::sleep(SLOW);
    }
    let status = if manner == Manner::Error as u8 { "500 Internal Server Error" } else { "200 OK" };
    let length = BODY.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{BODY}")?;
    Ok(())
}
