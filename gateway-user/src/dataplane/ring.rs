//! The consuming end of a ring buffer.
//!
//! The reading position lives in the map itself, so a daemon that adopts a pinned ring goes on where
//! the last one stopped.

use super::Error;
use aya::maps::{Map, MapData, RingBuf};
use bytemuck::Pod;
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) struct Ring {
    map: &'static str,
    ring: AsyncFd<RingBuf<MapData>>,
    /// Whether records may be waiting that no wake-up will tell of.
    pending: bool,
}

impl Ring {
    /// Opens a pinned ring. Must be called inside a tokio runtime.
    pub(super) fn open(map: &'static str, path: &Path) -> Result<Ring, Error> {
        let data = MapData::from_pin(path).map_err(Error::map("opening", map))?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(Error::map("mapping", map))?;
        // SAFETY: the ring owns its descriptor and never changes or closes it before it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| Error::map("watching", map)(error.into_parts().1))?;
        Ok(Ring { map, ring, pending: true })
    }

    /// Returns when there may be something to read, for [`Ring::drain`].
    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        if self.pending {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let what = self.map;
        let mut guard = self.ring.readable_mut().await.map_err(|source| Error::Wait { what, source })?;
        // Cleared before the drain: a record that comes during it wakes the next call.
        guard.clear_ready();
        self.pending = true;
        Ok(())
    }

    /// Hands over up to `max` records.
    pub(super) fn drain<T: Pod>(&mut self, max: usize, mut each: impl FnMut(&T)) {
        let ring = self.ring.get_mut();
        for _ in 0..max {
            let Some(item) = ring.next() else {
                self.pending = false;
                return;
            };
            match bytemuck::try_pod_read_unaligned::<T>(&item) {
                Ok(record) => each(&record),
                Err(_) => tracing::error!(map = self.map, len = item.len(), "a record of the wrong size"),
            }
        }
    }
}
