//! Client – gateway – backend: the network that end-to-end tests run in.

use crate::netns::{Namespace, receive_offload};
use anyhow::{Context, Result, ensure};
use aya::maps::MapData;
use aya::programs::ProgramInfo;
use aya::programs::links::{FdLink, PinnedLink};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// MAC address of the client's end.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// MAC address of the governed interface.
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
/// The governed interface, in [`Network::gateway`]; its address is 192.0.2.1/24.
pub const GOVERNED: &str = "gw0";
/// The client's end of it; its address is 192.0.2.77/24.
pub const CLIENT: &str = "c0";
/// A redirect target, in [`Network::gateway`].
pub const TARGET: &str = "back0";
/// The backend's end of it.
pub const BACKEND: &str = "b0";

/// The three namespaces. Nothing is sent in them that the test does not send.
#[derive(Debug)]
pub struct Network {
    /// Where frames come from.
    pub client: Namespace,
    /// Where the daemon runs.
    pub gateway: Namespace,
    /// Where redirected frames go.
    pub backend: Namespace,
}

impl Network {
    /// Makes one. With `xdp_frames` the backend takes XDP frames, so that redirects are native where
    /// the mode is.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new(xdp_frames: bool) -> Result<Network> {
        let (client, gateway, backend) =
            (Namespace::new("client")?, Namespace::new("gw")?, Namespace::new("back")?);
        for namespace in [&client, &gateway, &backend] {
            namespace.silence()?;
        }
        gateway.veth(GOVERNED, &client, CLIENT)?;
        gateway.veth(TARGET, &backend, BACKEND)?;
        gateway.mac(GOVERNED, GATEWAY_MAC)?;
        client.mac(CLIENT, CLIENT_MAC)?;
        gateway.address(GOVERNED, "192.0.2.1/24")?;
        client.address(CLIENT, "192.0.2.77/24")?;
        // Who is where is known, so that nobody asks.
        let (of_client, of_gateway) = ("02:00:00:00:01:01", "02:00:00:00:01:02");
        gateway.ip(&[
            "neigh",
            "add",
            "192.0.2.77",
            "lladdr",
            of_client,
            "dev",
            GOVERNED,
            "nud",
            "permanent",
        ])?;
        client.ip(&["neigh", "add", "192.0.2.1", "lladdr", of_gateway, "dev", CLIENT, "nud", "permanent"])?;
        gateway.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        gateway.sysctl("net.ipv4.conf.gw0.rp_filter", "0")?;
        backend.run(|| receive_offload(BACKEND, xdp_frames))?;
        Ok(Network { client, gateway, backend })
    }
}

/// Frames that a link has sent: packets and bytes, as its own counters say.
///
/// # Errors
/// If the link is not there.
pub fn transmitted(namespace: &Namespace, link: &str) -> Result<(u64, u64)> {
    let text = namespace.ip(&["-json", "-statistics", "link", "show", "dev", link])?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let sent = &value[0]["stats64"]["tx"];
    let field = |name: &str| sent[name].as_u64().with_context(|| format!("{link}: {text}"));
    Ok((field("packets")?, field("bytes")?))
}

/// Packets that a link has received, as the kernel's list of devices says.
///
/// # Errors
/// If the link is not there.
pub fn received(namespace: &Namespace, link: &str) -> Result<u64> {
    let list = namespace.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?))?;
    // "  eth0: bytes packets errors …"
    let line = list.lines().find_map(|line| line.trim_start().strip_prefix(link)?.strip_prefix(':'));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    packets.and_then(|packets| packets.parse().ok()).with_context(|| format!("{link}: {list}"))
}

/// A request to the control API over its socket. Gives back the status and the body.
///
/// # Errors
/// If the daemon cannot be reached or its answer is none.
pub fn request(socket: &Path, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Type: application/yaml\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP status")?;
    let body = reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// The ids of everything that is pinned below a folder, by file: a change of any means that the
/// kernel's object is another.
///
/// # Errors
/// If a pin cannot be opened.
pub fn pinned_ids(folder: &Path) -> Result<BTreeMap<String, u32>> {
    let mut ids = BTreeMap::new();
    visit(folder, folder, &mut ids)?;
    Ok(ids)
}

fn visit(top: &Path, folder: &Path, ids: &mut BTreeMap<String, u32>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(top)?.display().to_string();
        if path.is_dir() {
            visit(top, &path, ids)?;
        } else if name.contains("/maps/") {
            ids.insert(name, MapData::from_pin(&path)?.info()?.id());
        } else if name.contains("/programs/") {
            ids.insert(name, ProgramInfo::from_pin(&path)?.id());
        } else if name.contains("/interfaces/") {
            let link = FdLink::from(PinnedLink::from_pin(&path)?);
            ids.insert(name, link.info()?.id());
        }
    }
    ensure!(folder != top || !ids.is_empty(), "nothing is pinned below {}", top.display());
    Ok(())
}
