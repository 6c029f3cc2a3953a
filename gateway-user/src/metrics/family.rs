//! Metric families as the crate `prometheus` wants them.

use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::HashMap;

/// Counter or gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
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
        debug_assert_eq!(labels.len(), self.definition.labels.len(), "{}", self.definition.name);
        // Exact up to 2^53, which is all that the format can tell.
        let value = value as f64;
        let pairs = self.definition.labels.iter().zip(labels);
        let mut metric = Metric::from_label(pairs.map(|(name, value)| pair(name, value)).collect());
        match self.definition.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.metrics.push(metric);
    }

    /// Done.
    pub fn finish(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.definition.name.to_owned());
        family.set_help(self.definition.help.to_owned());
        family.set_field_type(match self.definition.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
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
