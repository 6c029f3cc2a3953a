//! Real programs in namespaces, ended when the test is.

use crate::netns::Namespace;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A program that serves. Dropped, it is ended.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: File,
}

impl Process {
    /// Starts it in a namespace, on the CPUs of the calling thread, and waits until something listens at
    /// this TCP port there.
    ///
    /// # Errors
    /// Without the program, or if it does not come up, with what it said.
    pub fn serve(namespace: &Namespace, program: &str, arguments: &[&str], port: u16) -> Result<Process> {
        let log = tempfile::tempfile()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        let child = namespace.run(|| command.spawn().with_context(|| format!("starting {program}")))?;
        let mut process = Process { name: program.to_owned(), child, log };
        let start = Instant::now();
        while !listens(namespace, port)? {
            if let Some(status) = process.child.try_wait()? {
                bail!("{program} ended with {status}\n{}", process.said());
            }
            ensure!(start.elapsed() < START_LIMIT, "{program} does not listen at {port}\n{}", process.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// What it wrote.
    fn said(&mut self) -> String {
        let mut text = String::new();
        let read = self.log.seek(SeekFrom::Start(0)).and_then(|_| self.log.read_to_string(&mut text));
        read.map_or_else(|error| format!("no log: {error}"), |_| text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("{}: {error}", self.name);
        }
        if std::thread::panicking() {
            let said = self.said();
            eprintln!("{} said:\n{said}", self.name);
        }
    }
}

/// Whether a TCP socket of the namespace listens at a port.
fn listens(namespace: &Namespace, port: u16) -> Result<bool> {
    const LISTEN: &str = "0A";
    for list in ["tcp", "tcp6"] {
        let text = namespace.run(|| Ok(std::fs::read_to_string(format!("/proc/thread-self/net/{list}"))?))?;
        // "  0: ADDRESS:PORT ADDRESS:PORT STATE …"
        let mine = text.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().is_some_and(|local| local.ends_with(&format!(":{port:04X}")));
            local && fields.nth(1) == Some(LISTEN)
        });
        if mine {
            return Ok(true);
        }
    }
    Ok(false)
}
