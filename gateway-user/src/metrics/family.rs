//! Metric families as the crate `prometheus` wants them.

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::HashMap;

/// Counter, gauge or histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds, and the sum of what was counted.
    Histogram,
}

/// A metric, before it has values.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

impl Definition {
    /// A description for the registry; nothing if the name or a label is not valid.
    pub fn desc(&self) -> Option<Desc> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new()).ok()
    }
}

/// A metric with its values.
pub struct Family {
    definition: Definition,
    metrics: Vec<Metric>,
}

impl Family {
    /// Without values yet.
    pub fn new(definition: Definition) -> Family {
        Family { definition, metrics: Vec::new() }
    }

    /// Adds a value. `labels` are the values of the definition's labels, in its order.
    pub fn count(&mut self, labels: &[&str], value: u64) {
        // Exact up to 2^53, which is all that the format can tell.
        self.value(labels, value as f64);
    }

    /// Adds a value that need not be whole.
    pub fn value(&mut self, labels: &[&str], value: f64) {
        let mut metric = self.metric(labels);
        if self.definition.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// Adds a histogram. `buckets` are upper bounds, the least first, and how many lie in each and not in those before
    /// it; `beyond` lie in none.
    pub fn histogram(
        &mut self,
        labels: &[&str],
        buckets: impl Iterator<Item = (f64, u64)>,
        beyond: u64,
        sum: f64,
    ) {
        let mut all = 0;
        let cumulative = |(bound, count)| {
            all += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(all);
            bucket
        };
        let buckets = buckets.map(cumulative).collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(all + beyond);
        histogram.set_sample_sum(sum);
        let mut metric = self.metric(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    fn metric(&self, labels: &[&str]) -> Metric {
        debug_assert_eq!(labels.len(), self.definition.labels.len(), "{}", self.definition.name);
        let pairs = self.definition.labels.iter().zip(labels);
        Metric::from_label(pairs.map(|(name, value)| pair(name, value)).collect())
    }

    /// Done.
    pub fn finish(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.definition.name.to_owned());
        family.set_help(self.definition.help.to_owned());
        family.set_field_type(match self.definition.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(self.metrics);
        family
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
