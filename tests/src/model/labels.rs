//! Which labels a sender carries.

use super::World;
use super::matching::prefix_holds;
use gateway_user::policy::Policy;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A prefix that is in a label without standing in the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The label.
    pub label: String,
    /// Whose sources carry it.
    pub prefix: IpNet,
    /// Its time to live is over: it gives nothing any more.
    pub expired: bool,
}

/// The labels of this policy that hold the source, by a prefix of the policy's or by a live member.
pub(super) fn carried<'a>(policy: &'a Policy, world: &World, source: IpAddr) -> BTreeSet<&'a str> {
    let in_policy =
        |name: &str| policy.labels[name].prefixes.iter().any(|prefix| prefix_holds(prefix, source));
    let live = |name: &str| {
        world
            .members
            .iter()
            .any(|member| member.label == name && !member.expired && prefix_holds(&member.prefix, source))
    };
    policy.labels.keys().map(String::as_str).filter(|name| in_policy(name) || live(name)).collect()
}
