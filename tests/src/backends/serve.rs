//! What serves on the backends, on threads that end together.

use super::{Delivery, SERVICE, address_of};
use crate::netns::Namespace;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a thread looks whether it is to end.
pub(super) const BEAT: Duration = Duration::from_millis(100);

/// Threads that serve until this is dropped.
#[derive(Debug, Default)]
pub struct Serving {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Serving {
    /// Does this on a thread, which looks now and then whether it is to end.
    pub(super) fn spawn(&mut self, work: impl FnOnce(&AtomicBool) -> Result<()> + Send + 'static) {
        let end = Arc::clone(&self.end);
        self.threads.push(std::thread::spawn(move || work(&end)));
    }

    /// On each backend: answers on these ports of the service, UDP and TCP. An answer is what was asked;
    /// that of UDP and a TCP connection's first byte is the backend's number.
    ///
    /// # Errors
    /// If a socket cannot be had.
    pub fn answer(&mut self, delivery: &Delivery, ports: &[u16]) -> Result<()> {
        for (number, backend) in delivery.backends.iter().enumerate() {
            for service in SERVICE {
                for port in ports {
                    self.answer_at(backend, number, SocketAddr::new(service.parse()?, *port))?;
                }
            }
        }
        Ok(())
    }

    /// The same at this port of the backends' own addresses.
    ///
    /// # Errors
    /// If a socket cannot be had.
    pub fn answer_at_backends(&mut self, delivery: &Delivery, port: u16) -> Result<()> {
        for (number, backend) in delivery.backends.iter().enumerate() {
            for six in [false, true] {
                self.answer_at(backend, number, SocketAddr::new(address_of(number, six).parse()?, port))?;
            }
        }
        Ok(())
    }

    fn answer_at(&mut self, backend: &Namespace, number: usize, at: SocketAddr) -> Result<()> {
        let (udp, tcp) = backend.run(|| Ok((UdpSocket::bind(at)?, TcpListener::bind(at)?)))?;
        self.spawn(move |end| answer_udp(&udp, number as u8, end));
        self.spawn(move |end| answer_tcp(&tcp, number as u8, end));
        Ok(())
    }

    /// Ends all threads.
    ///
    /// # Errors
    /// That of the first thread that failed.
    pub fn stop(mut self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| anyhow::anyhow!("a server panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn answer_udp(socket: &UdpSocket, number: u8, end: &AtomicBool) -> Result<()> {
    socket.set_read_timeout(Some(BEAT))?;
    let mut bytes = [0; 2_048];
    while !end.load(Ordering::Relaxed) {
        match socket.recv_from(&mut bytes[1..]) {
            Ok((length, from)) => {
                bytes[0] = number;
                socket.send_to(&bytes[..=length], from)?;
            }
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn answer_tcp(listener: &TcpListener, number: u8, end: &AtomicBool) -> Result<()> {
    listener.set_nonblocking(true)?;
    while !end.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => converse(stream, number).context("answering over TCP")?,
            Err(error) if is_late(&error) => std::thread::sleep(BEAT / 10),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn converse(mut stream: TcpStream, number: u8) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&[number])?;
    let mut bytes = vec![0; 65_536];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(length) => stream.write_all(&bytes[..length])?,
            // Whether all was answered is the client's to say, who looks at every byte.
            Err(error) if is_late(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether nothing came in time.
pub(super) fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
