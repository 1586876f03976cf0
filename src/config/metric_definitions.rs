//! What all definitions of one custom metric must have in common.

use std::collections::BTreeMap;

use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::messages::quoted;

/// The type of a custom metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomKind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
}

/// What the definitions of one metric have in common, by name, with the key of the first.
#[derive(Debug, Default)]
pub(super) struct MetricDefinitions(BTreeMap<String, Definition>);

#[derive(Debug)]
struct Definition {
    key: String,
    kind: CustomKind,
    help: String,
    labels: Vec<String>,
}

impl MetricDefinitions {
    /// Notes what is different from the first definition of the same metric, or keeps this one as
    /// first.
    pub fn compare(
        &mut self,
        name: &str,
        (kind, help, labels): (CustomKind, &str, &[String]),
        fields: &Fields<'_>,
        decoder: &mut Decoder<'_>,
    ) {
        let mut labels = labels.to_vec();
        labels.sort();
        let Some(first) = self.0.get(name) else {
            let (key, help) = (fields.key.clone(), help.to_owned());
            self.0.insert(name.to_owned(), Definition { key, kind, help, labels });
            return;
        };
        let differences =
            [("type", first.kind != kind), ("help", first.help != help), ("labels", first.labels != labels)];
        for (key, _) in differences.iter().filter(|(_, different)| *different) {
            let message = format!(
                "{} has another {key} in {}; a metric has one type, help and set of labels in all databases",
                quoted(name),
                first.key
            );
            decoder.refuse(fields.position_of(key), &fields.child(key), message);
        }
    }
}
