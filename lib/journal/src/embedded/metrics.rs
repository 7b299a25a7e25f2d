//! What the journal tells about itself. Names are whole: register them in a registry without a prefix.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Handles to the registered metrics; clones count into the same.
#[derive(Clone)]
pub(super) struct Metrics {
    /// Time of one `fdatasync`.
    pub fsync_seconds: Histogram,
    /// Bytes of values acknowledged.
    pub append_bytes: Counter,
    /// Bytes reserved in the queues, of all partitions.
    pub queue_bytes: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        // 0.1 ms to 6.5 s: from a good NVMe disk to one that is in trouble.
        let fsync_seconds = Histogram::new(exponential_buckets(0.0001, 2.0, 17));
        let metrics = Self { fsync_seconds, append_bytes: Counter::default(), queue_bytes: Gauge::default() };
        registry.register(
            "shipwake_journal_fsync_seconds",
            "Time of a sync of the journal",
            metrics.fsync_seconds.clone(),
        );
        registry.register(
            "shipwake_journal_append_bytes",
            "Bytes of values acknowledged",
            metrics.append_bytes.clone(),
        );
        registry.register("shipwake_journal_queue_bytes", "Bytes waiting to be written", metrics.queue_bytes.clone());
        metrics
    }
}
