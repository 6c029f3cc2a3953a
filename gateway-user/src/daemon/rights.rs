//! The rights that are kept. They belong to threads, so this is done before any other thread is
//! started.

use super::RunError;
use caps::{CapSet, Capability, CapsHashSet};

/// What governing needs: BPF objects, attaching and netlink, and loading programs that parse
/// packets.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Gives up every capability but the needed ones, for this process and all it starts, for good.
///
/// # Errors
/// Where the kernel refuses.
pub fn drop_rights() -> Result<(), RunError> {
    let failed = |what: &'static str| {
        move |error: caps::errors::CapsError| RunError::Rights { reason: format!("{what}: {error}") }
    };
    nix::sys::prctl::set_no_new_privs()
        .map_err(|errno| RunError::Rights { reason: format!("no_new_privs: {errno}") })?;
    let read = |set| caps::read(None, set).map_err(failed("reading capabilities"));
    let kept: CapsHashSet =
        read(CapSet::Permitted)?.intersection(&NEEDED.into_iter().collect()).copied().collect();
    caps::clear(None, CapSet::Ambient).map_err(failed("clearing ambient capabilities"))?;
    if read(CapSet::Effective)?.contains(&Capability::CAP_SETPCAP) {
        for capability in read(CapSet::Bounding)? {
            if !NEEDED.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)
                    .map_err(failed("narrowing the bounding set"))?;
            }
        }
    }
    caps::clear(None, CapSet::Inheritable).map_err(failed("clearing inheritable capabilities"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed("setting effective capabilities"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("setting permitted capabilities"))?;
    tracing::debug!(?kept, "rights given up");
    Ok(())
}
