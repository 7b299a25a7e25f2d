//! Own metrics of the query stage.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What was asked: `sql`, `overview`, `service`, `pipeline`, `logs_search` and its like, over HTTP and live alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// What came of asking other nodes: `spread`, or `repeated` by this node alone after one of them had failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The metrics, cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    seconds: Family<Kind, Histogram>,
    spread: Family<Outcome, Counter>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        // From half a millisecond to half a minute, which is the default time budget.
        let seconds =
            Family::<Kind, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(0.0005, 2.0, 17)));
        registry.register("shipwake_query_seconds", "Time to answer a question, by its kind", seconds.clone());
        let spread = Family::<Outcome, Counter>::default();
        registry.register(
            "shipwake_sql_spread",
            "Statements computed by several query nodes, by outcome",
            spread.clone(),
        );
        Self { seconds, spread }
    }

    pub(crate) fn count_spread(&self, outcome: &'static str) {
        self.spread.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn observe(&self, kind: &'static str, seconds: f64) {
        self.seconds.get_or_create(&Kind { kind }).observe(seconds);
    }
}
