//! Why a policy cannot be compiled.

use super::dimension::Dimension;
use std::fmt;

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
