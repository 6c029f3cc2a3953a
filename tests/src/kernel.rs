//! What this kernel can do.

use anyhow::{Result, bail};

/// Whether this kernel tells what its devices can do: since 6.3.
///
/// # Errors
/// If it does not say its release.
pub fn tells_features() -> Result<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor) >= (6, 3)),
        _ => bail!("kernel release {release}"),
    }
}
