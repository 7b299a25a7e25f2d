//! The store's own metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use shipwake_model::window::NS_PER_S;

use crate::{Retention, SegmentFile, Table};

/// One per store.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// How long commits took, failed ones included.
    pub(crate) commit_seconds: Histogram,
    /// Commits that failed.
    pub(crate) commit_failures: Counter,
    segments: Family<TableLabel, Gauge>,
    segment_bytes: Family<TableLabel, Gauge>,
    side_bytes: Family<SideLabel, Gauge>,
    retention_seconds: Family<TableLabel, Gauge>,
    compactions: Family<CompactionLabels, Counter>,
    compacted_bytes: Family<TableLabel, Counter>,
    rows_retired: Family<TableLabel, Counter>,
    compaction_failures: Counter,
    side_files_damaged: Counter,
    damaged_segments: Family<TableLabel, Gauge>,
    damaged_rows: Family<TableLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SideLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CompactionLabels {
    kind: &'static str,
    table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabel {
    table: &'static str,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry, retention: &Retention) -> Self {
        let metrics = Self {
            // From 1 ms to 32 s.
            commit_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            commit_failures: Counter::default(),
            segments: Family::default(),
            segment_bytes: Family::default(),
            side_bytes: Family::default(),
            retention_seconds: Family::default(),
            compactions: Family::default(),
            compacted_bytes: Family::default(),
            rows_retired: Family::default(),
            compaction_failures: Counter::default(),
            side_files_damaged: Counter::default(),
            damaged_segments: Family::default(),
            damaged_rows: Family::default(),
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
        metrics.register_damage(registry);
        metrics.register_background(registry);
        for table in Table::ALL {
            let seconds = retention.of(table) / NS_PER_S;
            metrics.retention_seconds.get_or_create(&TableLabel { table: table.name() }).set(seconds);
        }
        metrics
    }

    fn register_damage(&self, registry: &mut Registry) {
        registry.register(
            "shipwake_store_damaged_segments",
            "Segments that answers are made without, because they are missing or damaged",
            self.damaged_segments.clone(),
        );
        registry.register(
            "shipwake_store_damaged_rows",
            "Rows of these segments, which are missing in answers",
            self.damaged_rows.clone(),
        );
        for table in Table::ALL {
            let label = TableLabel { table: table.name() };
            self.damaged_segments.get_or_create(&label).set(0);
            self.damaged_rows.get_or_create(&label).set(0);
        }
    }

    fn register_background(&self, registry: &mut Registry) {
        registry.register(
            "shipwake_segment_side_bytes",
            "Size of what lies beside live segments: blooms and full-text indexes",
            self.side_bytes.clone(),
        );
        registry.register(
            "shipwake_retention_seconds",
            "How long rows are kept by table, for services without times of their own",
            self.retention_seconds.clone(),
        );
        registry.register(
            "shipwake_compactions",
            "Jobs of the background by table and kind: merge, index, retain or repair",
            self.compactions.clone(),
        );
        registry.register(
            "shipwake_compacted_bytes",
            "Bytes of segments that the background has written",
            self.compacted_bytes.clone(),
        );
        registry.register(
            "shipwake_rows_retired",
            "Rows left out because their time was over, besides those of segments that were dropped whole",
            self.rows_retired.clone(),
        );
        registry.register(
            "shipwake_compaction_failures",
            "Jobs of the background that failed",
            self.compaction_failures.clone(),
        );
        registry.register(
            "shipwake_side_files_damaged",
            "Blooms or indexes that could not be used and are made again",
            self.side_files_damaged.clone(),
        );
    }

    /// Counts a job that has written a segment.
    pub(crate) fn compacted(&self, kind: &'static str, table: Table, retired: u64, bytes: u64) {
        let label = TableLabel { table: table.name() };
        self.compactions.get_or_create(&CompactionLabels { kind, table: table.name() }).inc();
        self.compacted_bytes.get_or_create(&label).inc_by(bytes);
        self.rows_retired.get_or_create(&label).inc_by(retired);
    }

    /// Counts a job that failed.
    pub(crate) fn compaction_failed(&self) {
        self.compaction_failures.inc();
    }

    /// Counts a segment whose blooms or index cannot be used.
    pub(crate) fn side_file_damaged(&self) {
        self.side_files_damaged.inc();
    }

    /// Counts a segment with so many rows that is set aside (`sign` 1) or not any more (-1).
    pub(crate) fn set_aside(&self, table: Table, rows: u64, sign: i64) {
        let label = TableLabel { table: table.name() };
        self.damaged_segments.get_or_create(&label).inc_by(sign);
        self.damaged_rows.get_or_create(&label).inc_by(sign * rows as i64);
    }

    fn add_side_bytes(&self, file: &SegmentFile, sign: i64) {
        for (kind, side) in [("blooms", &file.blooms), ("index", &file.index)] {
            if let Some(side) = side {
                self.side_bytes.get_or_create(&SideLabel { kind }).inc_by(sign * side.bytes as i64);
            }
        }
    }

    /// Counts segments that became live.
    pub(crate) fn added<'a>(&self, files: impl IntoIterator<Item = &'a SegmentFile>) {
        for file in files {
            let label = TableLabel { table: file.table.name() };
            self.segments.get_or_create(&label).inc();
            self.segment_bytes.get_or_create(&label).inc_by(file.bytes as i64);
            self.add_side_bytes(file, 1);
        }
    }

    /// Counts segments that are live no more.
    pub(crate) fn removed<'a>(&self, files: impl IntoIterator<Item = &'a SegmentFile>) {
        for file in files {
            let label = TableLabel { table: file.table.name() };
            self.segments.get_or_create(&label).dec();
            self.segment_bytes.get_or_create(&label).dec_by(file.bytes as i64);
            self.add_side_bytes(file, -1);
        }
    }
}
