//! Counts HTTP requests by handler and status.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeMetric as _;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::metrics::counter::ConstCounter;

/// A counter for each handler and status. Statuses that were not declared are counted too.
#[derive(Debug, Default)]
pub(super) struct HttpRequests(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl HttpRequests {
    /// Creates the counters of the statuses with which a handler can respond, at 0.
    pub fn declare(&self, handler: &'static str, statuses: impl IntoIterator<Item = u16>) {
        let mut counts = self.0.lock();
        for status in statuses {
            counts.entry((handler, status)).or_insert(0);
        }
    }

    /// Counts a response.
    pub fn count(&self, handler: &'static str, status: u16) {
        *self.0.lock().entry((handler, status)).or_insert(0) += 1;
    }

    pub fn encode(&self, mut metric: MetricEncoder) -> fmt::Result {
        for ((handler, status), count) in &*self.0.lock() {
            let status = status.to_string();
            let labels = [("handler", *handler), ("code", status.as_str())];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_counted() {
        let requests = HttpRequests::default();
        requests.declare("/", [200, 408]);
        requests.count("/", 408);
        requests.count("/", 418);
        let counts: Vec<_> = requests.0.lock().clone().into_iter().collect();
        assert_eq!(counts, [(("/", 200), 0), (("/", 408), 1), (("/", 418), 1)]);
    }
}
