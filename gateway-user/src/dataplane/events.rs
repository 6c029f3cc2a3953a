//! Sampled packets.

use super::Error;
use super::ring::Ring;
use gateway_common::abi::{PacketEvent, maps};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Sampled packets, in the order in which they were reported.
///
/// There is one for a data plane. What finds the ring buffer full is counted in
/// [`super::TelemetryCounts::events_lost`].
pub struct EventRing(Ring);

impl EventRing {
    pub(super) fn open(path: &Path) -> Result<EventRing, Error> {
        Ok(EventRing(Ring::open(maps::EVENTS, path)?))
    }

    /// Waits for events and appends up to `max` of them to `batch`; none may have come. Cancelling
    /// it loses nothing.
    ///
    /// # Errors
    /// Where waiting fails; a record of the wrong size is skipped and told in the log.
    pub async fn next_batch(&mut self, max: usize, batch: &mut Vec<PacketEvent>) -> Result<(), Error> {
        self.0.ready().await?;
        self.take(max, batch);
        Ok(())
    }

    /// Appends what is there now, up to `max`, without waiting.
    pub fn take(&mut self, max: usize, batch: &mut Vec<PacketEvent>) {
        self.0.drain(max, |event| batch.push(*event));
    }
}

/// Source and destination of an event's packet; nothing if it was not IP or could not be parsed.
#[must_use]
pub fn addresses(event: &PacketEvent) -> Option<(IpAddr, IpAddr)> {
    let address = |words: [u64; 2]| match event.family {
        4 => Some(IpAddr::V4(Ipv4Addr::from_bits((words[0] >> 32) as u32))),
        6 => Some(IpAddr::V6(Ipv6Addr::from_bits(u128::from(words[0]) << 64 | u128::from(words[1])))),
        _ => None,
    };
    Some((address(event.source)?, address(event.destination)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_by_family() {
        let mut event = PacketEvent {
            source: [0x0a00_0001_0000_0000, 0],
            destination: [0x0a00_0002_0000_0000, 0],
            family: 4,
            ..PacketEvent::default()
        };
        let (source, destination) = addresses(&event).unwrap();
        assert_eq!((source.to_string(), destination.to_string()), ("10.0.0.1".into(), "10.0.0.2".into()));
        event.family = 6;
        event.source = [0x2001_0db8_0000_0000, 1];
        assert_eq!(addresses(&event).unwrap().0.to_string(), "2001:db8::1");
        event.family = 0;
        assert_eq!(addresses(&event), None);
    }
}
