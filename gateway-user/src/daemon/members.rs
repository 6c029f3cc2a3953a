//! Live members of labels, as the daemon knows them. Pure: the store and the kernel's table are the
//! governor's.

use gateway_common::live::MAX_LABELS;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// A prefix's membership in a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Since when, Unix milliseconds.
    pub since_unix_ms: u64,
    /// Until when, Unix milliseconds; nothing for as long as it is not taken out.
    pub expires_at_unix_ms: Option<u64>,
}

impl Membership {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now_unix_ms: u64) -> bool {
        self.expires_at_unix_ms.is_some_and(|end| end <= now_unix_ms)
    }
}

/// Sources that would carry more labels by live members than a packet's look-up tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// The sources.
    pub prefix: IpNet,
    /// The labels.
    pub labels: Vec<String>,
}

/// What a change was before it: to take it back.
#[derive(Debug, Default)]
pub struct Undo(Vec<(IpNet, Arc<str>, Option<Membership>)>);

/// Every live member of every label.
#[derive(Debug, Default)]
pub struct Members {
    /// By address and then by length, so that what lies in a prefix follows it.
    by_prefix: BTreeMap<IpNet, BTreeMap<Arc<str>, Membership>>,
    /// How many each label has; none has 0.
    counts: BTreeMap<Arc<str>, usize>,
}

impl Members {
    /// How many a label has.
    #[must_use]
    pub fn count(&self, label: &str) -> usize {
        self.counts.get(label).copied().unwrap_or(0)
    }

    /// Labels that have any, and how many.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.counts.iter().map(|(label, count)| (&**label, *count))
    }

    /// A prefix's membership in a label.
    #[must_use]
    pub fn get(&self, label: &str, prefix: &IpNet) -> Option<Membership> {
        self.by_prefix.get(prefix)?.get(label).copied()
    }

    /// Every member in order of the prefixes: prefix, label, membership.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &str, Membership)> {
        self.by_prefix
            .iter()
            .flat_map(|(prefix, labels)| labels.iter().map(|(label, member)| (*prefix, &**label, *member)))
    }

    /// The members of a label in order of their prefixes.
    pub fn of<'m>(&'m self, label: &'m str) -> impl Iterator<Item = (IpNet, Membership)> + 'm {
        self.by_prefix.iter().filter_map(move |(prefix, labels)| Some((*prefix, *labels.get(label)?)))
    }

    /// Makes a prefix a member, with this membership from now on.
    pub fn set(&mut self, label: &str, prefix: IpNet, member: Membership, undo: &mut Undo) {
        let label = self.name(label);
        let before = self.by_prefix.entry(prefix).or_default().insert(Arc::clone(&label), member);
        if before.is_none() {
            *self.counts.entry(Arc::clone(&label)).or_default() += 1;
        }
        undo.0.push((prefix, label, before));
    }

    /// Takes a member out, if it is one.
    pub fn remove(&mut self, label: &str, prefix: &IpNet) -> Option<Membership> {
        let labels = self.by_prefix.get_mut(prefix)?;
        let before = labels.remove(label)?;
        if labels.is_empty() {
            self.by_prefix.remove(prefix);
        }
        if let Some(count) = self.counts.get_mut(label) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(label);
            }
        }
        Some(before)
    }

    /// Takes changes back.
    pub fn undo(&mut self, undo: Undo) {
        for (prefix, label, before) in undo.0.into_iter().rev() {
            match before {
                Some(member) => self.set(&label, prefix, member, &mut Undo::default()),
                None => drop(self.remove(&label, &prefix)),
            }
        }
    }

    /// Every set of labels that some source carries by live members, as sorted names.
    #[must_use]
    pub fn sets(&self) -> BTreeSet<Vec<String>> {
        let mut sets = BTreeSet::new();
        sweep(self.by_prefix.iter(), Vec::new(), |_, labels| insert(&mut sets, labels));
        sets
    }

    /// The sets of labels that sources in these prefixes carry.
    ///
    /// # Errors
    /// Where one is larger than a packet's look-up tells apart.
    pub fn sets_in(&self, prefixes: &[IpNet]) -> Result<BTreeSet<Vec<String>>, TooMany> {
        let mut sets = BTreeSet::new();
        let mut too_many = None;
        for prefix in prefixes {
            let around: Vec<(IpNet, Vec<&Arc<str>>)> = vec![(*prefix, self.around(prefix))];
            let within = self.by_prefix.range(*prefix..=last_in(prefix));
            sweep(within, around, |prefix, labels| {
                if labels.len() > MAX_LABELS && too_many.is_none() {
                    too_many = Some(TooMany { prefix, labels: owned(labels) });
                }
                insert(&mut sets, labels);
            });
        }
        match too_many {
            Some(too_many) => Err(too_many),
            None => Ok(sets),
        }
    }

    /// The labels of the prefixes that hold this one, itself left out.
    fn around(&self, prefix: &IpNet) -> Vec<&Arc<str>> {
        let mut labels: Vec<&Arc<str>> = (0..prefix.prefix_len())
            .filter_map(|length| {
                let wider = IpNet::new(prefix.addr(), length).ok()?.trunc();
                Some(self.by_prefix.get(&wider)?.keys())
            })
            .flatten()
            .collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// The label's name, shared with its other members'.
    fn name(&self, label: &str) -> Arc<str> {
        self.counts.get_key_value(label).map_or_else(|| Arc::from(label), |(name, _)| Arc::clone(name))
    }
}

/// Tells each prefix and all the labels that it and those around it give, sorted. `stack` holds what is
/// around the first.
fn sweep<'m>(
    prefixes: impl Iterator<Item = (&'m IpNet, &'m BTreeMap<Arc<str>, Membership>)>,
    mut stack: Vec<(IpNet, Vec<&'m Arc<str>>)>,
    mut tell: impl FnMut(IpNet, &[&'m Arc<str>]),
) {
    for (prefix, own) in prefixes {
        while stack.last().is_some_and(|(around, _)| !around.contains(prefix)) {
            stack.pop();
        }
        let mut labels = stack.last().map(|(_, labels)| labels.clone()).unwrap_or_default();
        labels.extend(own.keys());
        labels.sort_unstable();
        labels.dedup();
        tell(*prefix, &labels);
        stack.push((*prefix, labels));
    }
}

/// Adds a set; most are there already.
fn insert(sets: &mut BTreeSet<Vec<String>>, labels: &[&Arc<str>]) {
    let known = |set: &Vec<String>| set.iter().map(String::as_str).eq(labels.iter().map(|name| &***name));
    if !sets.last().is_some_and(known) {
        sets.insert(owned(labels));
    }
}

fn owned(labels: &[&Arc<str>]) -> Vec<String> {
    labels.iter().map(ToString::to_string).collect()
}

/// The last prefix in the order that lies in this one.
fn last_in(prefix: &IpNet) -> IpNet {
    match prefix.broadcast() {
        IpAddr::V4(address) => Ipv4Net::from(address).into(),
        IpAddr::V6(address) => Ipv6Net::from(address).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const FOR_EVER: Membership = Membership { since_unix_ms: 1, expires_at_unix_ms: None };

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn with(all: &[(&str, &str)]) -> Members {
        let mut members = Members::default();
        for (prefix, label) in all {
            members.set(label, net(prefix), FOR_EVER, &mut Undo::default());
        }
        members
    }

    fn texts(sets: &BTreeSet<Vec<String>>) -> Vec<String> {
        sets.iter().map(|set| set.join("+")).collect()
    }

    #[test]
    fn nested_members_add_up_along_each_chain() {
        let members = with(&[
            ("10.0.0.0/8", "a"),
            ("10.1.0.0/16", "b"),
            ("10.1.2.0/24", "c"),
            ("10.2.0.0/16", "a"),
            ("192.0.2.1/32", "c"),
            ("2001:db8::/32", "c"),
            ("2001:db8::1/128", "d"),
        ]);
        assert_eq!(texts(&members.sets()), ["a", "a+b", "a+b+c", "c", "c+d"]);
        let sets = |prefix: &str| texts(&members.sets_in(&[net(prefix)]).unwrap());
        assert_eq!(sets("10.1.0.0/16"), ["a+b", "a+b+c"]);
        assert_eq!(sets("10.1.2.0/24"), ["a+b+c"]);
        assert_eq!(sets("0.0.0.0/0"), ["a", "a+b", "a+b+c", "c"]);
        assert_eq!(sets("198.51.100.0/24"), [""; 0]);
        assert_eq!((members.count("c"), members.count("x")), (3, 0));
        assert_eq!(members.counts().map(|(label, _)| label).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn more_labels_than_can_be_told_apart_are_named() {
        let mut members =
            with(&[("10.0.0.0/8", "a"), ("10.0.0.0/8", "b"), ("10.1.1.0/24", "d"), ("10.1.1.1/32", "e")]);
        let mut undo = Undo::default();
        members.set("c", net("10.1.0.0/16"), FOR_EVER, &mut undo);
        let error = members.sets_in(&[net("10.1.0.0/16")]).unwrap_err();
        assert_eq!(
            (error.prefix, error.labels),
            (net("10.1.1.1/32"), ["a", "b", "c", "d", "e"].map(str::to_owned).into())
        );
        members.undo(undo);
        assert_eq!((members.count("c"), members.iter().count()), (0, 4));
        assert!(members.sets_in(&[net("10.1.0.0/16")]).is_ok());
    }

    #[test]
    fn what_is_taken_back_is_as_before() {
        let mut members = with(&[("10.0.0.0/8", "a")]);
        let mut undo = Undo::default();
        let other = Membership { since_unix_ms: 2, expires_at_unix_ms: Some(3) };
        for _ in 0..2 {
            members.set("a", net("10.0.0.0/8"), other, &mut undo);
            members.set("b", net("10.0.0.0/8"), other, &mut undo);
        }
        assert!(other.is_over(3) && !other.is_over(2) && !FOR_EVER.is_over(u64::MAX));
        members.undo(undo);
        assert_eq!(members.iter().collect::<Vec<_>>(), [(net("10.0.0.0/8"), "a", FOR_EVER)]);
        assert_eq!(members.remove("b", &net("10.0.0.0/8")), None);
        assert_eq!(members.remove("a", &net("10.0.0.0/8")), Some(FOR_EVER));
        assert_eq!((members.counts().count(), members.iter().count()), (0, 0));
    }

    proptest! {
        /// Against each address' labels taken one by one.
        #[test]
        fn sets_are_those_of_the_addresses(
            all in prop::collection::btree_set((0u32..16, 28u8..=32, 0usize..3), 0..20),
            asked in (0u32..16, 27u8..=32),
        ) {
            let prefix = |bits: u32, length: u8| IpNet::new(Ipv4Addr::from(bits).into(), length).unwrap().trunc();
            let mut members = Members::default();
            for (bits, length, label) in &all {
                members.set(["a", "b", "c"][*label], prefix(*bits, *length), FOR_EVER, &mut Undo::default());
            }
            let of = |address: u32| {
                let around = members.iter().filter(|(net, ..)| net.contains(&IpAddr::from(Ipv4Addr::from(address))));
                around.map(|(_, label, _)| label.to_owned()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
            };
            // A set that only covered addresses have is listed all the same; none is missing.
            let sets = members.sets();
            for address in 0..16 {
                prop_assert!(of(address).is_empty() || sets.contains(&of(address)));
            }
            let asked = prefix(asked.0, asked.1);
            let here = members.sets_in(&[asked]).unwrap();
            prop_assert!(here.is_subset(&sets));
            for (net, ..) in members.iter().filter(|(net, ..)| asked.contains(net)) {
                let IpAddr::V4(first) = net.network() else { unreachable!() };
                let widest = members.iter().filter(|(other, ..)| other.contains(&net));
                let set: BTreeSet<String> = widest.map(|(_, label, _)| label.to_owned()).collect();
                prop_assert!(here.contains(&set.into_iter().collect::<Vec<_>>()), "{first}");
            }
        }
    }
}
