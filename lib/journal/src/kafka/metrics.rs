//! What the journal tells about itself. Names are whole, and those that mean the same are those of the embedded journal.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::reader::Shared;

/// Handles to the registered metrics; clones count into the same.
#[derive(Clone)]
pub(super) struct Metrics {
    /// Time from handing a record over until Kafka has answered for it.
    pub ack_seconds: Histogram,
    /// Bytes of values acknowledged.
    pub append_bytes: Counter,
    /// Bytes of records without an answer.
    pub queue_bytes: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry, shared: &Shared) -> Self {
        // 1 ms to 33 s: from a broker on the same machine to one that is being replaced.
        let ack_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let metrics = Self { ack_seconds, append_bytes: Counter::default(), queue_bytes: Gauge::default() };
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("shipwake_journal_append_bytes", "Bytes of values acknowledged", &metrics.append_bytes);
        counter(
            "shipwake_journal_stalls",
            "Times that a partition stood still although there was something to read",
            &shared.stalls,
        );
        counter(
            "shipwake_journal_foreign_messages",
            "Messages of the journal's topic that somebody else had written",
            &shared.foreign_messages,
        );
        registry.register("shipwake_journal_ack_seconds", "Time until Kafka has answered", metrics.ack_seconds.clone());
        registry.register("shipwake_journal_queue_bytes", "Bytes waiting to be written", metrics.queue_bytes.clone());
        metrics
    }
}
