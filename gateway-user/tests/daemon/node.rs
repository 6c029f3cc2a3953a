//! A node to test on: two namespaces with a veth pair between them, and a real daemon in one.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Runs a command to its end; fails the test if it fails.
pub fn run(command: &str) -> Output {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Waits until `what` is so.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        sleep(PAUSE);
    }
}

/// An answer of the daemon.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The body, which is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body of an answer that is 200.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// Status and error code of an answer that is not.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap().to_owned())
    }
}

/// Two namespaces: `gateway` has `v0` (10.9.0.1), `client` the other end (10.9.0.2). All is gone
/// once it is dropped.
pub struct Node {
    pub folder: TempDir,
    name: String,
    daemon: Option<Child>,
    /// Log of the daemon that runs or ran last.
    pub log: PathBuf,
}

impl Node {
    pub fn new() -> Node {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gwd{}n{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let node = Node { folder, name, daemon: None, log };
        let Node { name, .. } = &node;
        run(&format!("ip netns add {name} && ip netns add {name}c && ip -n {name} link set lo up"));
        node.plug_in();
        node
    }

    /// Makes the veth pair.
    pub fn plug_in(&self) {
        let name = &self.name;
        run(&format!(
            "ip -n {name} link add v0 type veth peer name v1 netns {name}c &&
             ip netns exec {name}c sysctl -qw net.ipv6.conf.v1.disable_ipv6=1 &&
             ip netns exec {name} sysctl -qw net.ipv6.conf.v0.disable_ipv6=1 &&
             ip -n {name} addr add 10.9.0.1/24 dev v0 && ip -n {name}c addr add 10.9.0.2/24 dev v1 &&
             ip -n {name} link set v0 up && ip -n {name}c link set v1 up"
        ));
    }

    /// Takes the veth pair away.
    pub fn unplug(&self) {
        run(&format!("ip -n {} link del v0", self.name));
    }

    /// A command line that runs `command` in the namespace of the gateway.
    pub fn inside(&self, command: &str) -> String {
        format!("nsenter --net=/run/netns/{} {command}", self.name)
    }

    /// A command line that runs `command` in the namespace of the client.
    pub fn beside(&self, command: &str) -> String {
        format!("nsenter --net=/run/netns/{}c {command}", self.name)
    }

    /// Sends UDP packets from the client to the gateway's port.
    pub fn send(&self, packets: u32, port: u16) {
        self.send_code(packets, &port.to_string());
    }

    /// Sends UDP packets to one port after the other.
    pub fn send_to_ports(&self, packets: u32, ports: u16) {
        self.send_code(packets, &format!("5000 + i % {ports}"));
    }

    /// Sends SYNs from spoofed sources 10.9.0.100 on, one each, to the gateway's port, and nothing after them.
    pub fn send_syns(&self, sources: u8, port: u16) {
        let code = format!(
            "import socket, struct\n\
             raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)\n\
             def sum16(b): s = sum(struct.unpack('!%dH' % (len(b) // 2), b)); s = (s >> 16) + (s & 0xffff); return ~(s + (s >> 16)) & 0xffff\n\
             for i in range({sources}):\n\
             \x20 src, dst = bytes([10, 9, 0, 100 + i]), bytes([10, 9, 0, 1])\n\
             \x20 tcp = lambda check: struct.pack('!HHIIBBHHH', 4000 + i, {port}, 7, 0, 0x50, 2, 1000, check, 0)\n\
             \x20 check = sum16(src + dst + struct.pack('!BBH', 0, 6, 20) + tcp(0))\n\
             \x20 ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 0, 0, 64, 6, 0, src, dst)\n\
             \x20 raw.sendto(ip + tcp(check), ('10.9.0.1', 0))"
        );
        run(&format!("nsenter --net=/run/netns/{}c python3 -c \"{code}\"", self.name));
    }

    fn send_code(&self, packets: u32, port: &str) {
        let code = format!(
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
             for i in range({packets}): s.sendto(b'x' * 20, ('10.9.0.1', {port}))"
        );
        run(&format!("nsenter --net=/run/netns/{}c python3 -c \"{code}\"", self.name));
    }

    pub fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    pub fn pins(&self) -> PathBuf {
        PathBuf::from(format!("/sys/fs/bpf/{}", self.name))
    }

    /// Starts a daemon and waits until it answers.
    pub fn start(&mut self, more: &str) {
        self.spawn(more);
        wait_for("the daemon answers", || {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "ended: {}", self.log_text());
            UnixStream::connect(self.path("socket")).is_ok() && self.get("/v1/status").status == 200
        });
    }

    /// Starts a daemon that is to end by itself, and waits until it has.
    pub fn start_in_vain(&mut self, more: &str) -> (ExitStatus, String) {
        self.spawn(more);
        let status = self.daemon.take().unwrap().wait().unwrap();
        (status, self.log_text())
    }

    fn spawn(&mut self, more: &str) {
        assert!(self.daemon.is_none());
        let gateway = env!("CARGO_BIN_EXE_gateway");
        let command = self.inside(&format!(
            "{gateway} --socket {} run --interface v0 --pin-dir {} --state-dir {} --metrics 127.0.0.1:10300 {more}",
            self.path("socket"),
            self.pins().display(),
            self.path("state"),
        ));
        let log = File::create(&self.log).unwrap();
        let mut words = command.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        self.daemon = Some(command.args(words).stdin(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Process id of the daemon: nsenter has become it.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: &str) {
        run(&format!("kill -{signal} {}", self.pid()));
    }

    /// Waits until the daemon has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.daemon.take().unwrap().wait().unwrap()
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// Sends a request and reads the answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = self.request(method, path, body);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        Answer { status, text: body.to_owned() }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("socket")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        stream
    }

    /// Lines of JSON of an answer without end.
    pub fn follow(&self, path: &str) -> impl Iterator<Item = Value> + use<> {
        let mut lines = BufReader::new(self.request("GET", path, "")).lines().map(Result::unwrap);
        assert!(lines.next().unwrap().contains("200"));
        // Between the lines stand the lengths of chunks.
        lines.filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(&line).unwrap())
    }

    /// Puts a policy.
    pub fn put(&self, policy: &str) -> Answer {
        self.ask("PUT", "/v1/policy", policy)
    }

    /// The metrics, after promtool has found them right.
    pub fn metrics(&self, path: &str) -> String {
        let file = self.path("metrics");
        run(&self.inside(&format!("curl -sf http://127.0.0.1:10300{path} > {file}")));
        run(&format!("promtool check metrics < {file}"));
        std::fs::read_to_string(file).unwrap()
    }

    /// Status of a path at the metrics' address.
    pub fn health(&self, path: &str) -> String {
        let command = format!("curl -s -o /dev/null -w %{{http_code}} http://127.0.0.1:10300{path}");
        String::from_utf8(run(&self.inside(&command)).stdout).unwrap()
    }

    /// Packets that a live route has decided.
    pub fn route_packets(&self, name: &str) -> u64 {
        self.get(&format!("/v1/routes/{name}")).ok()["packets"].as_u64().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // Whatever fails here, the rest is to be cleaned up.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let name = &self.name;
        let pins = self.pins();
        let _ = Command::new("sh")
            .args(["-c", &format!("ip netns del {name}; ip netns del {name}c; rm -rf {}", pins.display())])
            .output();
    }
}
