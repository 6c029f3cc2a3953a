//! Why a policy cannot be compiled.

use super::dimension::Dimension;
use std::fmt;
use std::net::IpAddr;

/// All that stands in the way of a policy, not only the first.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", lines(.problems))]
pub struct CompileError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One reason why a policy cannot be compiled.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// More routes than the tables number.
    #[error("the policy has {count} routes, and {limit} is the most: merge routes that do the same")]
    TooManyRoutes {
        /// Routes in the policy.
        count: usize,
        /// The most there can be.
        limit: usize,
    },
    /// A redirect to an interface that this node does not know.
    #[error(
        "route `{route}` redirects to interface `{interface}`, which this node does not know: \
         correct the name, or tell the daemon of the interface"
    )]
    DanglingRedirect {
        /// The route's name.
        route: String,
        /// The interface's name.
        interface: String,
    },
    /// A limit that the policy does not have.
    #[error(
        "route `{route}` names limit `{limit}`, which the policy does not have: \
         correct the name, or add it to `limits`"
    )]
    UnknownLimit {
        /// The route's name.
        route: String,
        /// The limit's name.
        limit: String,
    },
    /// A pool that the policy does not have.
    #[error(
        "route `{route}` forwards to pool `{pool}`, which the policy does not have: \
         correct the name, or add it to `pools`"
    )]
    UnknownPool {
        /// The route's name.
        route: String,
        /// The pool's name.
        pool: String,
    },
    /// A target that this node would not know what address to write to from.
    #[error(
        "packets for target `{target}` have no source of this node's, since its routing \
         knows no way to {address}: add that route, or name a `source` of its family in the pool"
    )]
    NoSource {
        /// The target's name: `web/v1`.
        target: String,
        /// Its address.
        address: IpAddr,
    },
    /// More pools than the tables number.
    #[error(
        "the policy has {count} pools, the parts that routes narrow them to included, and {limit} is the \
         most: let routes share them"
    )]
    TooManyPools {
        /// Pools in the policy.
        count: usize,
        /// The most there can be.
        limit: usize,
    },
    /// More targets than the counters number.
    #[error("the policy's pools have {count} targets, and {limit} is the most: let routes share pools")]
    TooManyTargets {
        /// Targets of all pools.
        count: usize,
        /// The most there can be.
        limit: usize,
    },
    /// A label that the policy does not have.
    #[error(
        "route `{route}` names label `{label}`, which the policy does not have: \
         correct the name, or add it to `labels`"
    )]
    UnknownLabel {
        /// The first route that names it so.
        route: String,
        /// The label's name.
        label: String,
    },
    /// More limits than the tables number.
    #[error(
        "the policy has {count} limits, those of its routes and SYN cookies included, and {limit} is the \
         most: let routes share named limits"
    )]
    TooManyLimits {
        /// Limits in the policy.
        count: usize,
        /// The most there can be.
        limit: usize,
    },
    /// More limits than a route can have.
    #[error("route `{route}` has {count} limits, and {limit} is the most: leave out those that others imply")]
    TooManyRouteLimits {
        /// The route's name.
        route: String,
        /// Limits of the route.
        count: usize,
        /// The most there can be.
        limit: usize,
    },
    /// A burst that lasts longer than time is told apart.
    #[error(
        "limit `{limit}` allows a burst that takes more than {days} days at its rate: \
         name a smaller burst or a higher rate"
    )]
    BurstTooLong {
        /// The limit's name.
        limit: String,
        /// The longest, days.
        days: u64,
    },
    /// The labels' prefixes carry more different sets of labels than the table can name.
    #[error(
        "the labels' prefixes carry {sets} different sets of labels, and {limit} is the most: \
         use fewer labels, or such whose prefixes overlap less"
    )]
    TooManyLabelSets {
        /// How many there are.
        sets: usize,
        /// The most there can be.
        limit: usize,
    },
    /// The labels overlap so much that their sets do not fit.
    #[error(
        "the labels overlap too often: more than {limit} overlaps, {overlaps} of them with label `{label}`: \
         take the prefixes that others have out of it"
    )]
    LabelOverlaps {
        /// The label which overlaps most.
        label: String,
        /// In how many sets it was when the limit was reached.
        overlaps: usize,
        /// The most overlaps there can be.
        limit: usize,
    },
    /// Live members and the labels' prefixes together make too many sets.
    #[error(
        "the {fixed} sets of labels that prefixes carry and the {live} that live members give make {} sets, \
         and {limit} is the most: remove live members, or use fewer labels that overlap",
        sets.map_or_else(|| "far more".to_owned(), |sets| format!("at least {sets}"))
    )]
    LiveSetsExplode {
        /// Sets that prefixes carry.
        fixed: usize,
        /// Sets that live members give.
        live: usize,
        /// How many sets they made when the limit was reached; nothing where they were not counted.
        sets: Option<usize>,
        /// The most there can be.
        limit: usize,
    },
    /// More sets of dimensions than the kernel probes.
    #[error(
        "the routes name {count} different sets of components, and {limit} is the most; route `{route}` is \
         the first with one too many ({}): let routes name the same components, with all of a component's \
         values where any will do",
        names(.dimensions)
    )]
    TooManyCombinations {
        /// Sets of dimensions in the policy.
        count: usize,
        /// The most there can be.
        limit: usize,
        /// The first route beyond them.
        route: String,
        /// What it names.
        dimensions: Vec<Dimension>,
    },
    /// The lists of one dimension cut it into more classes than its table can name.
    #[error(
        "the policy's `{dimension}` lists cut it into more than {limit} classes: \
         name ranges instead of single values, or merge routes that do the same"
    )]
    TooManyClasses {
        /// The dimension.
        dimension: Dimension,
        /// The most classes it can have.
        limit: usize,
    },
    /// The lists of one dimension overlap so much that their classes do not fit.
    #[error(
        "the `{dimension}` lists overlap too often: more than {limit} overlaps, {overlaps} of them with the \
         list of route `{route}`: name disjoint lists, or leave `{dimension}` out of the wide routes"
    )]
    Overlaps {
        /// The dimension.
        dimension: Dimension,
        /// The first route that names the list which overlaps most.
        route: String,
        /// How many classes that list was cut into when the limit was reached.
        overlaps: usize,
        /// The most overlaps there can be.
        limit: usize,
    },
    /// The routes' combinations of classes are too many.
    #[error(
        "the routes need {total} entries, and {limit} is the most; route `{route}` alone needs {entries} \
         ({}): let it name fewer dimensions, or lists that do not overlap those of other routes",
        product(.counts)
    )]
    Explodes {
        /// The route with the most.
        route: String,
        /// How many entries it needs.
        entries: u64,
        /// In how many classes each dimension of that route lies; entries is their product.
        counts: Vec<(Dimension, usize)>,
        /// How many entries all routes need.
        total: u64,
        /// The most there can be.
        limit: u64,
    },
    /// A hash table that does not come out even: keys that collide in all 64 bits of their hash.
    #[error("{entries} entries of the table of {table} cannot be placed in {lines} lines: merge routes")]
    Unplaceable {
        /// What the table holds.
        table: &'static str,
        /// How many entries there are.
        entries: usize,
        /// How many lines were tried last.
        lines: usize,
    },
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

fn product(counts: &[(Dimension, usize)]) -> impl fmt::Display {
    let factors: Vec<String> =
        counts.iter().map(|(dimension, count)| format!("{count} of `{dimension}`")).collect();
    factors.join(" × ")
}

fn names(dimensions: &[Dimension]) -> String {
    dimensions.iter().map(|dimension| format!("`{dimension}`")).collect::<Vec<_>>().join(", ")
}
