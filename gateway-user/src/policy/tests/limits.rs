//! Random limits that keep the model's rules.

use super::generate::LIMITS;
use crate::policy::{Ban, KeyLengths, Limit, Over, Per, Quantity, Rate, RouteLimit, SynCookies};
use proptest::prelude::*;
use std::time::Duration;

fn rate(most: u64) -> impl Strategy<Value = Rate> {
    (1..=most).prop_flat_map(|per_second| {
        let burst_max = per_second.saturating_mul(30 * 86_400).min(1 << 56);
        (1..=burst_max).prop_map(move |burst| Rate { per_second, burst })
    })
}

/// Round numbers among them, which are written with other prefixes.
fn quantity() -> impl Strategy<Value = Quantity> {
    let round = (1u64..=50, prop::sample::select(vec![1_000u64, 125_000, 1_000_000, 125_000_000]))
        .prop_map(|(n, scale)| Rate { per_second: (n * scale).min(150_000_000), burst: n * scale });
    prop_oneof![
        round.prop_map(Quantity::Bytes),
        rate(150_000_000).prop_map(Quantity::Packets),
        rate(12_500_000_000).prop_map(Quantity::Bytes),
        rate(150_000_000).prop_map(Quantity::NewConnections),
        (1u32..).prop_map(Quantity::OpenConnections),
    ]
}

fn per() -> impl Strategy<Value = Per> {
    let lengths = (1u8..=32, 1u8..=128).prop_map(|(ipv4, ipv6)| KeyLengths { ipv4, ipv6 });
    let lengths = prop_oneof![Just(KeyLengths::ADDRESS), lengths];
    (lengths, 0..4).prop_map(|(lengths, kind)| match kind {
        0 => Per::Route,
        1 => Per::Source(lengths),
        2 => Per::Destination(lengths),
        _ => Per::Label,
    })
}

fn over() -> impl Strategy<Value = Over> {
    let demote = (prop::option::of(0u8..64), prop::option::of(1u32..))
        .prop_filter("says something", |(dscp, mark)| dscp.is_some() || mark.is_some());
    prop_oneof![
        2 => Just(Over::Drop),
        1 => Just(Over::Count),
        1 => demote.prop_map(|(dscp, mark)| Over::Demote { dscp, mark }),
    ]
}

/// Whole milliseconds.
fn duration(max_secs: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..=max_secs).prop_map(Duration::from_secs),
        (1_000..=max_secs * 1_000).prop_map(Duration::from_millis),
    ]
}

prop_compose! {
    pub(super) fn any_limit()(
        quantity in quantity(),
        per in per(),
        over in over(),
        ban in prop::option::of((duration(30 * 86_400), 1u16..)),
    ) -> Limit {
        let bans = per != Per::Route && over == Over::Drop;
        let ban = ban.filter(|_| bans).map(|(duration, after)| Ban { duration, after });
        Limit { quantity, per, over, ban }
    }
}

/// A route's: named ones each once.
pub(super) fn any_limits() -> impl Strategy<Value = Vec<RouteLimit>> {
    let named = prop::sample::subsequence(LIMITS.to_vec(), 0..=2);
    let own = prop::collection::vec(any_limit(), 0..=2);
    (named, own).prop_map(|(named, own)| {
        let own = own.into_iter().map(RouteLimit::Own);
        named.into_iter().map(|name| RouteLimit::Named(name.to_owned())).chain(own).collect()
    })
}

pub(super) fn any_syn_cookies() -> impl Strategy<Value = Option<SynCookies>> {
    let above = (1u64..=150_000_000, duration(3_600))
        .prop_map(|(per_second, hold)| Some(SynCookies::Above { per_second, hold }));
    prop_oneof![2 => Just(None), 1 => Just(Some(SynCookies::Always)), 1 => above]
}
