//! What routers told of the paths to targets: the longest packet that gets through, for as long as that is
//! believed. Pure; the table is [`crate::abi::maps::PATH_MTUS`].

use crate::abi::PathMtu;
use crate::fragment::UNIT_SHIFT;
use crate::hash::{finish, fold};
use crate::image::{Key, TAG_WRAPPED_TARGET};
use crate::packet::Address;

/// How long an MTU is believed, in units of [`UNIT_SHIFT`]: ten minutes (RFC 1191 6.3, RFC 8201 5.3).
pub const FOR_UNITS: u32 = (600_000_000_000_u64 >> UNIT_SHIFT) as u32;
/// How far a reader's clock may be behind a writer's, in units: a second.
const BEHIND: u32 = 1 << (30 - UNIT_SHIFT);

/// The key under which the slot of a target lies that packets are wrapped for, with this source.
#[inline(always)]
#[must_use]
pub const fn key(target: Address, source: Address) -> Key {
    let c = finish(fold(fold(0, source[0]), source[1]));
    Key { a: target[0], b: target[1], c, tag: TAG_WRAPPED_TARGET }
}

impl PathMtu {
    /// What a packet for this target may be long at `now`; 0 where nothing is known.
    #[inline(always)]
    #[must_use]
    pub const fn mtu_of(&self, target: Address, now: u32) -> u32 {
        let same = (self.address[0] ^ target[0]) | (self.address[1] ^ target[1]) == 0;
        let left = self.until.wrapping_sub(now);
        if same && left != 0 && left <= FOR_UNITS + BEHIND { self.mtu } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ipv4_address;

    #[test]
    fn an_mtu_is_one_targets_and_is_forgotten_in_time() {
        let target = ipv4_address(0x0a00_0001);
        for now in [7, u32::MAX - 9] {
            let path = PathMtu {
                address: target,
                mtu: 1_400,
                until: now.wrapping_add(FOR_UNITS),
                ..PathMtu::default()
            };
            assert_eq!(path.mtu_of(target, now), 1_400);
            assert_eq!(path.mtu_of(target, now.wrapping_add(FOR_UNITS - 1)), 1_400);
            assert_eq!(path.mtu_of(ipv4_address(0x0a00_0002), now), 0);
            for after in [FOR_UNITS, FOR_UNITS + 1, 1 << 31] {
                assert_eq!(path.mtu_of(target, now.wrapping_add(after)), 0);
            }
        }
    }

    #[test]
    fn a_target_with_another_source_is_another() {
        let [a, b, c] = [1, 2, 3].map(ipv4_address);
        assert_ne!(key(a, b), key(a, c));
        assert_ne!(key(a, b), key(b, a));
    }
}
