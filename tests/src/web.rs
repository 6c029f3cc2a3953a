//! A real web server, nginx, and a client that fetches from it over connections of its own.

use crate::netns::{Namespace, unique_name};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What `/` gives.
pub const BODY: &str = "served\n";
/// Bytes that `/large` gives.
const LARGE: usize = 2_000_000;
/// How long the server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);

/// nginx with one worker and its own defaults otherwise, the listen backlog among them. Dropped, it is
/// ended.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts it in a namespace, on the CPUs of the calling thread, and waits until it answers there, at all
    /// of these addresses.
    ///
    /// # Errors
    /// Without nginx, or if it does not come up, with what it said.
    pub fn start(namespace: &Namespace, addresses: &[SocketAddr]) -> Result<Server> {
        let folder = std::env::temp_dir().join(unique_name("nginx"));
        std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};\n"))
            .concat();
        let listen: String = addresses.iter().map(|address| format!("listen {address};\n")).collect();
        std::fs::write(folder.join("large"), large())?;
        let configuration = folder.join("nginx.conf");
        let text = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\naccess_log off;\n{temporary}\
             server {{\n{listen}root .;\nlocation / {{ return 200 \"{}\"; }}\nlocation /large {{ }}\n}}\n}}\n",
            BODY.escape_default()
        );
        std::fs::write(&configuration, text)?;
        let log = std::fs::File::create(folder.join("log"))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&configuration).args(["-e", "stderr"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = namespace.run(|| command.spawn().context("starting nginx"));
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                std::fs::remove_dir_all(&folder)?;
                return Err(error);
            }
        };
        let mut server = Server { child, folder };
        addresses.iter().try_for_each(|address| server.wait(namespace, *address))?;
        Ok(server)
    }

    fn wait(&mut self, namespace: &Namespace, address: SocketAddr) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("nginx ended with {status}\n{log}");
            }
            let fetched = namespace.run(|| fetch(address, Duration::from_secs(1)));
            match fetched {
                Ok(_) => return Ok(()),
                Err(error) => ensure!(start.elapsed() < START_LIMIT, "nginx does not answer: {error:#}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("nginx: {error}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

/// What `/large` gives.
#[must_use]
pub fn large() -> String {
    (0..LARGE).map(|i| char::from(b'a' + (((i * 31) >> 5) % 26) as u8)).collect()
}

/// Fetches a page over a connection of its own, from the namespace of the calling thread: how long it
/// took.
///
/// # Errors
/// Where it is not there within `patience`.
pub fn fetch(address: SocketAddr, patience: Duration) -> Result<Duration> {
    let start = Instant::now();
    let left = || patience.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address, patience).context("connecting")?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(left()))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").context("asking")?;
    let mut reply = Vec::new();
    let mut piece = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut piece).context("reading")? {
            0 => break,
            read => reply.extend_from_slice(&piece[..read]),
        }
    }
    let reply = String::from_utf8_lossy(&reply);
    ensure!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with(BODY), "got {reply:?}");
    Ok(start.elapsed())
}
