//! Ctrl-C and SIGTERM, so that what was made is removed and what was started is ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on the signals only set a flag here. By a handler and not by a mask, which the programs
/// that are started would inherit.
pub fn catch() -> Result<()> {
    let interrupted = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(interrupted)).context("cannot catch signals")?;
    }
    Ok(())
}

fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|interrupted| interrupted.load(Ordering::Relaxed))
}

/// Fails if a signal came.
pub fn check() -> Result<()> {
    if interrupted() { bail!("interrupted") } else { Ok(()) }
}

/// Returns when a signal comes.
pub fn wait() {
    while !interrupted() {
        thread::sleep(Duration::from_millis(100));
    }
}
