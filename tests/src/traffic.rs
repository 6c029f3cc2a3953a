//! Frames sent as they are, counted exactly: what the kernel took and nothing else.

use crate::netns::Namespace;
use anyhow::{Context, Result, bail, ensure};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Frames handed over with one system call.
const BATCH: usize = 32;
/// How long a full queue may stay full before sending is given up.
const STALLED: Duration = Duration::from_secs(5);

/// A packet socket for sending, past every queueing discipline.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// Opens one on a link of the calling thread's namespace.
    ///
    /// # Errors
    /// Without the right to, or without the link.
    pub fn open(link: &str) -> Result<Sender> {
        let index = nix::net::if_::if_nametoindex(link).with_context(|| format!("link {link}"))?;
        // SAFETY: socket has no memory arguments.
        let number = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        ensure!(number >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        let one: libc::c_int = 1;
        // SAFETY: the option's value is an int that lives across the call.
        let set = unsafe {
            libc::setsockopt(
                number,
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const one).cast(),
                size_of_val(&one) as libc::socklen_t,
            )
        };
        ensure!(set == 0, "PACKET_QDISC_BYPASS: {}", io::Error::last_os_error());
        // SAFETY: sockaddr_ll is plain data, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        // SAFETY: the address and its length are right and live across the call.
        let bound = unsafe {
            libc::bind(number, (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
        };
        ensure!(bound == 0, "bind to {link}: {}", io::Error::last_os_error());
        Ok(Sender { socket })
    }

    /// Sends every frame. Where the device's queue is full it waits: a frame is never given up.
    ///
    /// # Errors
    /// If the link refuses frames, or takes none for seconds.
    pub fn send(&self, frames: &[&[u8]]) -> Result<()> {
        for batch in frames.chunks(BATCH) {
            self.send_batch(batch)?;
        }
        Ok(())
    }

    fn send_batch(&self, frames: &[&[u8]]) -> Result<()> {
        let mut pieces: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = pieces
            .iter_mut()
            .map(|piece| {
                // SAFETY: mmsghdr is plain data, for which zero is a value.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = piece;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let mut done = 0;
        let mut stalled: Option<Instant> = None;
        while done < messages.len() {
            let rest = &mut messages[done..];
            // SAFETY: the headers, the vectors and the frames they point to live across the call,
            // which only reads the frames.
            let sent =
                unsafe { libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            if sent > 0 {
                done += sent as usize;
                stalled = None;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // The device's queue is full and the frame was not taken.
                Some(libc::ENOBUFS | libc::EAGAIN) => {
                    if stalled.get_or_insert_with(Instant::now).elapsed() > STALLED {
                        bail!("no frame was taken for {STALLED:?}");
                    }
                    std::thread::yield_now();
                }
                Some(libc::EINTR) => {}
                _ => return Err(error).context("sendmmsg"),
            }
        }
        Ok(())
    }
}

/// A sender in the background, at a steady rate.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<u64>>>,
    started: Instant,
    frames_per_round: u64,
}

impl Load {
    /// Sends the frames, all of them again and again, at about this many frames a second.
    ///
    /// # Errors
    /// If no socket can be opened on the link.
    pub fn start(
        namespace: &Namespace,
        link: &str,
        frames: Vec<Vec<u8>>,
        frames_per_sec: u64,
    ) -> Result<Load> {
        let sender = namespace.run(|| Sender::open(link))?;
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let frames_per_round = frames.len() as u64;
        let shared = (stop.clone(), rounds.clone());
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            let (stop, rounds) = shared;
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let mut sent = 0u64;
            while !stop.load(Ordering::Relaxed) {
                sender.send(&frames)?;
                sent += 1;
                rounds.store(sent, Ordering::Relaxed);
                // Behind the schedule it does not sleep; ahead of it, until the next round is due.
                let due = Duration::from_secs_f64((sent * frames_per_round) as f64 / frames_per_sec as f64);
                if let Some(wait) = due.checked_sub(started.elapsed()) {
                    std::thread::sleep(wait);
                }
            }
            Ok(sent)
        });
        Ok(Load { stop, rounds, thread: Some(thread), started, frames_per_round })
    }

    /// Frames sent by now, a round more or less.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed) * self.frames_per_round
    }

    /// Frames a second since the start.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.sent() as f64 / self.started.elapsed().as_secs_f64()
    }

    /// Stops; gives back how often each frame was sent.
    ///
    /// # Errors
    /// If sending failed.
    pub fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
