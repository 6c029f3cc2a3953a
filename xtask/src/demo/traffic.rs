//! The demo's packets: TCP and UDP over IPv4 and IPv6, by ordinary sockets.
//!
//! Each message waits for its answer where there is one, so that no two segments of a connection
//! are on the way at once and nothing merges them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::namespace::Namespace;
use super::network::Network;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection is tried that must not come to be: less than the second after which TCP
/// sends again.
const REFUSAL: Duration = Duration::from_millis(400);

const WEB: [&str; 2] = ["198.51.100.10:80", "[2001:db8:2::10]:80"];
const DNS: [&str; 2] = ["203.0.113.10:53", "[2001:db8:3::10]:53"];
const TELNET: [&str; 2] = ["198.51.100.10:23", "[2001:db8:2::10]:23"];
const CANARY: [&str; 2] = ["198.51.100.20:8080", "[2001:db8:2::20]:8080"];
const REFLECT: [&str; 2] = ["198.51.100.10:7", "[2001:db8:2::10]:7"];
const OTHER: [&str; 2] = ["203.0.113.10:9999", "[2001:db8:3::10]:9999"];

/// Starts the services of both backends. They end with the process.
pub fn serve(network: &Network) -> Result<()> {
    serve_in(&network.backend1, &WEB, &[])?;
    let tcp = [CANARY, OTHER].concat();
    let udp = [DNS, CANARY, OTHER].concat();
    serve_in(&network.backend2, &tcp, &udp)
}

/// Every kind of packet that the policy knows, from the client.
pub fn send(client: &Namespace) -> Result<()> {
    client.run(|| {
        for address in WEB {
            converse(address, 40)?;
        }
        for address in DNS {
            exchange(address, 60)?;
        }
        for address in TELNET {
            refused(address)?;
            throw(address, 30)?;
        }
        for address in CANARY {
            converse(address, 20)?;
            exchange(address, 25)?;
        }
        for address in REFLECT {
            throw(address, 35)?;
        }
        for address in OTHER {
            converse(address, 15)?;
            exchange(address, 10)?;
        }
        Ok(())
    })
}

fn serve_in(namespace: &Namespace, tcp: &[&str], udp: &[&str]) -> Result<()> {
    namespace.run(|| {
        for address in tcp {
            let listener = TcpListener::bind(address).with_context(|| format!("cannot serve {address}"))?;
            thread::spawn(move || listener.incoming().flatten().for_each(echo));
        }
        for address in udp {
            let socket = UdpSocket::bind(address).with_context(|| format!("cannot serve {address}"))?;
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    // A client that has gone away is none of the service's business.
                    let _ = socket.send_to(&buffer[..length], from);
                }
            });
        }
        Ok(())
    })
}

/// Sends back what comes, until the client closes.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn resolve(address: &str) -> Result<SocketAddr> {
    address.parse().with_context(|| format!("{address} is no address"))
}

/// A TCP connection with so many messages and answers.
fn converse(address: &str, rounds: usize) -> Result<()> {
    let context = || format!("TCP to {address}");
    let mut stream = TcpStream::connect_timeout(&resolve(address)?, PATIENCE).with_context(context)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for round in 0..rounds {
        let message = vec![round as u8; 100 + round];
        let mut answer = vec![0; message.len()];
        stream.write_all(&message).with_context(context)?;
        stream.read_exact(&mut answer).with_context(context)?;
        if answer != message {
            bail!("TCP to {address}: the answer is not what was sent");
        }
    }
    Ok(())
}

/// So many UDP datagrams, each answered before the next.
fn exchange(address: &str, count: usize) -> Result<()> {
    let socket = udp_to(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for number in 0..count {
        let message = vec![number as u8; 50 + number];
        let mut answer = [0; 2048];
        socket.send(&message).with_context(|| format!("UDP to {address}"))?;
        let length = socket.recv(&mut answer).with_context(|| format!("UDP from {address}"))?;
        if answer[..length] != message {
            bail!("UDP to {address}: the answer is not what was sent");
        }
    }
    Ok(())
}

/// So many UDP datagrams without an answer.
fn throw(address: &str, count: usize) -> Result<()> {
    let socket = udp_to(address)?;
    for number in 0..count {
        socket.send(&vec![number as u8; 60 + number]).with_context(|| format!("UDP to {address}"))?;
    }
    Ok(())
}

fn udp_to(address: &str) -> Result<UdpSocket> {
    let to = resolve(address)?;
    let own: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(own)?;
    socket.connect(to).with_context(|| format!("no route to {address}"))?;
    Ok(socket)
}

/// A TCP connection that must not come to be.
fn refused(address: &str) -> Result<()> {
    match TcpStream::connect_timeout(&resolve(address)?, REFUSAL) {
        Ok(_) => bail!("TCP to {address} was let through"),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        Err(error) => Err(error).with_context(|| format!("TCP to {address} was not dropped but refused")),
    }
}
