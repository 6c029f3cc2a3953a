//! The kernel side's log.

use super::Error;
use aya::Ebpf;
use aya_log::EbpfLogger;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Carries what the kernel side logs to the `log` crate's logger.
pub struct KernelLog {
    readable: OwnedFd,
    flush: Box<dyn FnMut() + Send>,
}

impl KernelLog {
    /// Takes the log's ring out of a loaded object; nothing if it was built without logging.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Option<KernelLog>, Error> {
        if !super::object::has_log(ebpf) {
            return Ok(None);
        }
        let failed = "opening";
        let map = super::object::LOG_RING;
        let mut logger = EbpfLogger::init(ebpf).map_err(Error::map(failed, map))?;
        let readable = logger.as_fd().try_clone_to_owned().map_err(Error::map(failed, map))?;
        Ok(Some(KernelLog { readable, flush: Box::new(move || logger.flush()) }))
    }

    /// Carries records over for ever. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where waiting fails.
    pub async fn run(self) -> Result<(), Error> {
        let KernelLog { readable, mut flush } = self;
        let fail = |source| Error::Wait { what: "the kernel side's log", source };
        // SAFETY: an OwnedFd is one descriptor, open until it is dropped.
        let readable = unsafe { AsyncFd::register_with_interest(readable, Interest::READABLE) }
            .map_err(|error| fail(error.into()))?;
        loop {
            flush();
            readable.readable().await.map_err(fail)?.clear_ready();
        }
    }
}
