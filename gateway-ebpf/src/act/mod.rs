//! Where a verdict of the whole way becomes `XDP_*` or `TC_ACT_*`: a file for each hook.

mod tc;
mod xdp;

pub use tc::{SkbFrame, take_over};
pub use xdp::{XdpFrame, gateway_checksum, leave};

use crate::maps;
use crate::pipeline::Judged;
use crate::pool::Forwarding;
use gateway_common::abi::{Egress, NextHop, REDIRECT_BY_FIB, REDIRECT_NEIGHBOUR, Verdict};
use gateway_common::image::Forward;

#[inline(always)]
fn verdict(judged: &Judged) -> Verdict {
    match judged.verdict & 3 {
        0 => Verdict::Pass,
        1 => Verdict::Drop,
        2 => Verdict::Tx,
        _ => Verdict::Redirect,
    }
}

/// Where a redirect goes, if the interface is there.
#[inline(always)]
pub fn egress(slot: u32) -> Option<Egress> {
    maps::EGRESS.get(slot).copied().filter(|egress| egress.ifindex != 0)
}

/// Order to tc for a packet whose neighbour the kernel is to find: as [`gateway_common::abi::Metadata::redirect`].
#[inline(always)]
fn by_neighbour(forwarding: &Forwarding, hop: &NextHop) -> u32 {
    if forwarding.forward == Forward::Dnat as u32 {
        hop.ifindex | REDIRECT_BY_FIB
    } else {
        forwarding.slot | REDIRECT_NEIGHBOUR
    }
}
