//! The demo's daemon, with a socket, pins, state and metrics of its own, and the client that asks it.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::namespace::{Namespace, pin_folder};
use crate::shell::{self, output, program};

/// Where it serves metrics, inside the gateway's namespace.
pub const METRICS: &str = "127.0.0.1:10300";
const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A running daemon; dropping it stops it and takes its programs off.
pub struct Daemon {
    executable: PathBuf,
    child: Child,
    folder: TempDir,
    log: PathBuf,
}

impl Daemon {
    /// Starts it in the namespace, and waits until it governs.
    pub fn start(executable: &Path, namespace: &Namespace, policy: &Path, mode: &str) -> Result<Daemon> {
        let folder = tempfile::Builder::new().prefix("gateway-demo-").tempdir()?;
        let log = shell::target_folder("demo")?.join("gateway.log");
        let mut command = program(executable, ["run", "--metrics", METRICS, "--mode", mode]);
        for interface in ["client", "backend1", "backend2"] {
            command.args(["--interface", interface]);
        }
        command.arg("--policy").arg(policy);
        command.arg("--socket").arg(folder.path().join("gateway.sock"));
        command.arg("--state-dir").arg(folder.path().join("state"));
        command.arg("--pin-dir").arg(pin_folder());
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // In a group of its own, so that Ctrl-C reaches this process alone, which then cleans up.
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = namespace.run(|| command.spawn().context("cannot start the daemon"))?;
        let mut daemon = Daemon { executable: executable.to_owned(), child, folder, log };
        daemon.wait_until_ready().inspect_err(|_| daemon.show_log())?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended: {status}");
            }
            let answer = self.ask(&["status"]);
            if answer.as_ref().is_ok_and(|status| status["ready"] == true) {
                return Ok(());
            }
            if start.elapsed() > START_PATIENCE {
                let answer = answer.map_or_else(|error| format!("{error:#}"), |status| status.to_string());
                bail!("the daemon is not ready after {} s: {answer}", START_PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The client, as one types it.
    pub fn client(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg("--socket").arg(self.folder.path().join("gateway.sock"));
        command
    }

    /// What the client answers, from JSON.
    pub fn ask(&self, verb: &[&str]) -> Result<Value> {
        let text = output(self.client().args(verb).args(["-o", "json"]))?;
        serde_json::from_str(&text).with_context(|| format!("`{}` wrote no JSON: {text}", verb.join(" ")))
    }

    /// What the daemon wrote, on standard error.
    pub fn show_log(&self) {
        let log = std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        eprintln!("== {}\n{log}== end", self.log.display());
    }

    fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            let pid = i32::try_from(self.child.id()).context("no process id")?;
            kill(Pid::from_raw(pid), Signal::SIGTERM).context("cannot stop the daemon")?;
        }
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > STOP_PATIENCE {
                eprintln!("the daemon did not stop in {} s and is killed", STOP_PATIENCE.as_secs());
                self.child.kill()?;
                self.child.wait()?;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("cannot stop the daemon: {error:#}");
        }
        // A stopped daemon leaves its programs governing: what holds them are the pins.
        let pins = pin_folder();
        if pins.exists()
            && let Err(error) = std::fs::remove_dir_all(&pins)
        {
            eprintln!("cannot remove {}: {error}", pins.display());
        }
    }
}
