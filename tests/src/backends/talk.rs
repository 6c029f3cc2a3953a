//! What clients do: they ask by UDP and talk over TCP, and look at every byte of the answers.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Datagrams of each flow.
pub(super) const DATAGRAMS: u64 = 3;
/// Turns of a TCP conversation, and bytes of each.
const TURNS: usize = 30;
const TURN: usize = 900;
/// An answer comes within this, or never.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks from a socket of its own; the backend that answered each time is one and the same.
///
/// # Errors
/// Without an answer, or with a wrong one.
pub fn ask(service: SocketAddr, own_port: u16) -> Result<u8> {
    let any: IpAddr = if service.is_ipv4() { "0.0.0.0".parse()? } else { "::".parse()? };
    let socket = UdpSocket::bind(SocketAddr::new(any, own_port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut by = None;
    for turn in 0..DATAGRAMS {
        let question = vec![turn as u8; 100 + usize::from(own_port % 7) * 200];
        socket.send_to(&question, service)?;
        let mut answer = [0; 2_048];
        let (length, from) =
            socket.recv_from(&mut answer).with_context(|| format!("no answer of {service}"))?;
        ensure!(from == service, "{service} answers from {from}");
        ensure!(answer[1..length] == question, "{service} answers with something else");
        let before = by.replace(answer[0]);
        ensure!(before.is_none_or(|before| before == answer[0]), "{service}: another backend");
    }
    by.context("nothing was asked")
}

/// Talks over TCP in turns, and then without waiting for so many bytes.
///
/// # Errors
/// Without an answer, or with a wrong one.
pub fn talk(service: SocketAddr, bulk: usize) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&service, PATIENCE).with_context(|| service.to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut number = [0];
    stream.read_exact(&mut number)?;
    for turn in 0..TURNS {
        let question = vec![turn as u8; TURN];
        stream.write_all(&question)?;
        let mut answer = vec![0; TURN];
        stream.read_exact(&mut answer).with_context(|| format!("{service}, turn {turn}"))?;
        ensure!(answer == question, "{service} answers with something else");
    }
    let question: Vec<u8> = (0..bulk).map(|i| ((i * 31) >> 3) as u8).collect();
    let mut answer = vec![0; bulk];
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&question));
        stream.read_exact(&mut answer).with_context(|| format!("{service}, in bulk"))?;
        writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.context("writing in bulk")
    })?;
    ensure!(answer == question, "{service} answers with something else, in bulk");
    Ok(())
}
