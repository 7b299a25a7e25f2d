//! The store's own metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::SegmentFile;

/// One per store.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// How long commits took, failed ones included.
    pub(crate) commit_seconds: Histogram,
    /// Commits that failed.
    pub(crate) commit_failures: Counter,
    segments: Family<TableLabel, Gauge>,
    segment_bytes: Family<TableLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabel {
    table: &'static str,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            // From 1 ms to 32 s.
            commit_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            commit_failures: Counter::default(),
            segments: Family::default(),
            segment_bytes: Family::default(),
        };
        registry.register_with_unit(
            "shipwake_commit",
            "Time to write and publish the segments and state of a shard",
            Unit::Seconds,
            metrics.commit_seconds.clone(),
        );
        registry.register("shipwake_commit_failures", "Commits that failed", metrics.commit_failures.clone());
        registry.register("shipwake_segments", "Live segments by table", metrics.segments.clone());
        registry.register("shipwake_segment_bytes", "Size of live segments by table", metrics.segment_bytes.clone());
        metrics
    }

    /// Counts segments that became live.
    pub(crate) fn added<'a>(&self, files: impl IntoIterator<Item = &'a SegmentFile>) {
        for file in files {
            let label = TableLabel { table: file.table.name() };
            self.segments.get_or_create(&label).inc();
            self.segment_bytes.get_or_create(&label).inc_by(file.bytes as i64);
        }
    }

    /// Counts segments that are live no more.
    pub(crate) fn removed<'a>(&self, files: impl IntoIterator<Item = &'a SegmentFile>) {
        for file in files {
            let label = TableLabel { table: file.table.name() };
            self.segments.get_or_create(&label).dec();
            self.segment_bytes.get_or_create(&label).dec_by(file.bytes as i64);
        }
    }
}
