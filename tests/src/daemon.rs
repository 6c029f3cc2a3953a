//! The real daemon and its command line, as a user runs them, in a namespace of their own.

use crate::BPF_FOLDER;
use crate::netns::{Namespace, unique_name};
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the daemon may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where each daemon serves its metrics: its namespace has this loopback to itself.
const METRICS: &str = "127.0.0.1:10300";

/// A daemon with its own socket, pins and store. Dropped, it is ended and everything removed.
#[derive(Debug)]
pub struct Daemon<'a> {
    namespace: &'a Namespace,
    folder: tempfile::TempDir,
    pins: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// What a client command gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub error: String,
}

impl<'a> Daemon<'a> {
    /// Starts a daemon that governs these interfaces; `arguments` are added to `gateway run`.
    ///
    /// # Errors
    /// If it does not come up, with its log.
    pub fn start(namespace: &'a Namespace, interfaces: &[&str], arguments: &[&str]) -> Result<Daemon<'a>> {
        let folder = tempfile::Builder::new().prefix("gwtest-").tempdir()?;
        let pins = Path::new(BPF_FOLDER).join(unique_name("daemon"));
        let interfaces = interfaces.iter().flat_map(|name| ["--interface", name]);
        let arguments = interfaces.chain(arguments.iter().copied()).map(str::to_owned).collect();
        let mut daemon = Daemon { namespace, folder, pins, arguments, child: None };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts it after [`Daemon::kill`] or [`Daemon::stop`], and waits until it answers.
    ///
    /// # Errors
    /// If it does not come up, with its log.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the daemon is running");
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(binary()?);
        command
            .arg("run")
            .args(["--metrics", METRICS])
            .arg("--socket")
            .arg(self.socket())
            .arg("--pin-dir")
            .arg(&self.pins)
            .arg("--state-dir")
            .arg(self.folder.path().join("state"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A child inherits the namespace of the thread that starts it.
        let child = self.namespace.run(|| command.spawn().context("starting the daemon"))?;
        self.child = Some(child);
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                self.child = None;
                bail!("the daemon ended at its start: {status}\n{}", self.log());
            }
            if self.get("/healthz").is_ok() && self.client(&["status"])?.code == 0 {
                return Ok(());
            }
            ensure!(start.elapsed() < START_LIMIT, "the daemon does not answer\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// If it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM and waits.
    ///
    /// # Errors
    /// If it is not running, or ends with an error.
    pub fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon is not running")?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGTERM)?;
        let status = child.wait()?;
        ensure!(status.success(), "the daemon ended with {status}\n{}", self.log());
        Ok(())
    }

    /// The number of its process; nothing while it does not run.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The folder of its pins.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("gateway.sock")
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_else(|error| format!("no log: {error}"))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Runs a client command to its end, whatever its exit code.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn client(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(binary()?);
        command.arg("--socket").arg(self.socket()).args(arguments).stdin(Stdio::null());
        let output = self.namespace.run(|| command.output().context("starting the client"))?;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a client command that must succeed.
    ///
    /// # Errors
    /// If it does not, with what it said and the daemon's log.
    pub fn done(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.client(arguments)?;
        let Answer { code, out, error } = answer;
        ensure!(code == 0, "gateway {}: exit code {code}\n{out}{error}\n{}", arguments.join(" "), self.log());
        Ok(out)
    }

    /// Runs a client command that must succeed, with `-o json`.
    ///
    /// # Errors
    /// If it does not, or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let out = self.done(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&out).with_context(|| format!("gateway {}: {out}", arguments.join(" ")))
    }

    /// Writes a policy document to a file of this daemon's folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn policy_file(&self, name: &str, policy: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, policy)?;
        Ok(path.display().to_string())
    }

    /// Applies a policy document by the command line.
    ///
    /// # Errors
    /// If it is refused.
    pub fn apply(&self, policy: &str) -> Result<()> {
        let path = self.policy_file("policy.yaml", policy)?;
        self.done(&["policy", "apply", &path]).map(drop)
    }

    /// What the metrics server has at `path`.
    ///
    /// # Errors
    /// If it cannot be reached or answers with anything but 200.
    pub fn get(&self, path: &str) -> Result<String> {
        let reply = self.namespace.run(|| {
            let address: SocketAddr = METRICS.parse()?;
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: gateway\r\n\r\n")?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply)?;
            Ok(reply)
        })?;
        let (head, body) = reply.split_once("\r\n\r\n").context("no HTTP reply")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200 "), "{path}: {status}");
        Ok(body.to_owned())
    }

    /// The sum of all series of a metric whose labels contain each of these texts.
    ///
    /// # Errors
    /// If the metrics cannot be read, or hold no such series.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        sum_of(&self.get("/metrics")?, name, labels)
    }
}

/// The sum of all series of a metric, among these metrics, whose labels contain each of these texts.
///
/// # Errors
/// If there is no such series.
pub fn sum_of(metrics: &str, name: &str, labels: &[&str]) -> Result<f64> {
    let series = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        let mine = rest.is_some_and(|rest| rest.starts_with(['{', ' ']));
        mine && labels.iter().all(|label| line.contains(label))
    });
    let values: Vec<f64> = series
        .map(|line| line.rsplit(' ').next().unwrap_or_default().parse().context("a metric's value"))
        .collect::<Result<_>>()?;
    ensure!(!values.is_empty(), "no series {name} with {labels:?} in\n{metrics}");
    Ok(values.iter().sum())
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        if self.child.is_some() && self.kill().is_err() {
            eprintln!("the daemon did not end");
        }
        // Links live by their pins alone now: gone with them.
        if self.pins.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.pins)
        {
            eprintln!("pins {}: {error}", self.pins.display());
        }
    }
}

/// The binary `gateway`, built once for this run: cargo builds a test's own package only.
///
/// # Errors
/// If it does not build.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BINARY.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GATEWAY_BIN") {
        return Ok(path.into());
    }
    // target/<profile>/deps/<test>, or target/<profile>/<binary>: the profile that this was built with.
    let this = std::env::current_exe()?;
    let profile = this.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    let profile = profile.context("this is not in a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "gateway-user", "--bin", "gateway"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    ensure!(command.status().context("cargo")?.success(), "the binary gateway does not build");
    let binary = profile.join("gateway");
    ensure!(binary.exists(), "{} is not there", binary.display());
    Ok(binary)
}
