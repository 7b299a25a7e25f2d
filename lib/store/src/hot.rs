//! What the aggregator's shards lend to readers: rows that are not in segments yet, and the state behind the pages.
//!
//! A shard answers from memory, under its own short lock, with a snapshot that is consistent in itself: the hot rows
//! are exactly those of records after the named files, so a reader that adds both counts every record once.

use std::sync::Arc;

use arrow::array::RecordBatch;
use shipwake_model::{ReleaseId, Signal};

use crate::elsewhere::Incomplete;
use crate::health::{HealthQuery, HealthSeries, SlotSeries};
use crate::markers::{MarkerQuery, MarkerRow, VerdictRow};
use crate::measures::{MeasureQuery, MeasureSeries, ToggleRow, UsageOfDay};
use crate::patterns::{PatternQuery, PatternRow};
use crate::{RowChunk, SegmentFile, Table};

/// A shard of the aggregator, as readers see it. Calls must return within a millisecond or two and never wait for I/O:
/// they come from query threads while records are being folded.
pub trait HotShard: Send + Sync {
    /// The hot rows of these tables and the files that they come on top of, taken at one moment.
    fn snapshot(&self, tables: &[Table]) -> ShardSnapshot;
    /// The recent cells of requests, errors and durations, each series sorted by time, each series once.
    fn health(&self, query: &HealthQuery) -> Vec<HealthSeries>;
    /// The same by replicate slot and without routes, in cells of ten seconds: the query's step and routes are not looked at.
    fn slots(&self, _query: &HealthQuery) -> Vec<SlotSeries> {
        Vec::new()
    }
    /// The log patterns the shard remembers, with the recent cells of the range.
    fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow>;
    /// The recent cells of KPIs, usage and toggles, each series sorted by time, each series once.
    fn measures(&self, _query: &MeasureQuery) -> Vec<MeasureSeries> {
        Vec::new()
    }
    /// Users and sessions of a service in an environment over the last day, by release.
    fn usage_of_day(&self, _service: &str, _environment: &str) -> Vec<UsageOfDay> {
        Vec::new()
    }
    /// Every toggle the shard has seen an evaluation of, by variant and version; of one service in one environment, or of all.
    fn toggles(&self, _place: Option<(&str, &str)>) -> Vec<ToggleRow> {
        Vec::new()
    }
    /// The markers that the shard keeps, each id once, newest first.
    fn markers(&self, _query: &MarkerQuery) -> Vec<MarkerRow> {
        Vec::new()
    }
    /// The changes of verdicts that the shard keeps, each once, newest first.
    fn verdicts(&self, _query: &MarkerQuery) -> Vec<VerdictRow> {
        Vec::new()
    }
    /// Every release the shard has seen.
    fn releases(&self) -> Vec<ReleaseRow>;
    /// Counters and positions.
    fn status(&self) -> ShardStatus;
    /// Whether the shard has caught up with what the journal held when it was taken up.
    fn is_ready(&self) -> bool {
        self.status().ready
    }
}

/// Rows in memory.
#[derive(Clone, Debug)]
pub enum HotRows {
    /// Rows with their resources kept once.
    Chunk(Arc<RowChunk>),
    /// Rows in the public schema of their table.
    Batch(RecordBatch),
}

impl HotRows {
    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        match self {
            HotRows::Chunk(chunk) => chunk.num_rows(),
            HotRows::Batch(batch) => batch.num_rows(),
        }
    }

    /// The rows in the public schema of their table, with only the columns of `projection` (indices into that schema).
    pub fn to_batch(&self, projection: Option<&[usize]>) -> RecordBatch {
        match (self, projection) {
            (HotRows::Chunk(chunk), _) => chunk.to_batch(projection),
            (HotRows::Batch(batch), None) => batch.clone(),
            (HotRows::Batch(batch), Some(columns)) => {
                batch.project(columns).expect("the projection has indices of the table's schema")
            }
        }
    }
}

/// A shard at one moment: files and the hot rows on top of them.
#[derive(Clone, Debug)]
pub struct ShardSnapshot {
    /// The shard.
    pub shard: u32,
    /// Sequence number of the commit whose files these are; `None` before the first.
    pub seq: Option<u64>,
    /// The writer of the shard, as its manifests name it: what another writer says about the shard is void once a newer
    /// manifest names a new one.
    pub writer: u64,
    /// Live segments of the asked tables or of all: readers pick by table.
    pub files: Arc<[SegmentFile]>,
    /// Rows that are in no file yet.
    pub hot: Vec<(Table, Vec<HotRows>)>,
    /// Every record below this journal offset is included, none from it on.
    pub next_offset: u64,
    /// The shard's watermark, ns.
    pub watermark_ns: i64,
    /// The largest number (`line`) of a log record that is included; 0 before the first.
    pub last_line: i64,
}

/// All shards, each at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// One entry per shard, in the order of their numbers.
    pub shards: Vec<ShardSnapshot>,
    /// Shards whose entry lacks what is in no file yet, because the process that has it does not answer.
    pub incomplete: Vec<Incomplete>,
}

impl Snapshot {
    /// The live segments of a table.
    pub fn files(&self, table: Table) -> impl Iterator<Item = &SegmentFile> {
        self.shards.iter().flat_map(|shard| shard.files.iter()).filter(move |file| file.table == table)
    }

    /// The hot rows of a table.
    pub fn hot(&self, table: Table) -> impl Iterator<Item = &HotRows> {
        self.shards
            .iter()
            .flat_map(|shard| shard.hot.iter())
            .filter(move |(of, _)| *of == table)
            .flat_map(|(_, rows)| rows.iter())
    }
}

/// What is known of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseRow {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// Event time of its first record, ns.
    pub first_seen_ns: i64,
    /// Event time of its newest record, ns.
    pub last_seen_ns: i64,
    /// Records of all signals.
    pub records: u64,
    /// Requests, from the source in use.
    pub requests: u64,
    /// Instances that run.
    pub instances: u32,
    /// Whether any instance was guessed from the host or the peer.
    pub instance_guessed: bool,
    /// Hashes of the pod templates that it runs from, the newest few.
    pub hashes: Vec<Arc<str>>,
}

/// Records that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why, as one word of `shipwake_records_rejected_total{reason}`.
    pub reason: Arc<str>,
    /// Of which signal.
    pub signal: Signal,
    /// How many.
    pub count: u64,
    /// When last, ns.
    pub last_ns: i64,
    /// The newest case in words.
    pub detail: Arc<str>,
}

/// Counters and positions of a shard. Counts are since the data directory was made, not since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardStatus {
    /// The shard.
    pub shard: u32,
    /// Next journal offset to fold.
    pub next_offset: u64,
    /// Next journal offset that will be written.
    pub journal_end: u64,
    /// Watermark, ns.
    pub watermark_ns: i64,
    /// Newest event time that was plausible, ns.
    pub newest_event_ns: i64,
    /// Series in memory.
    pub series: u64,
    /// Records folded into the overflow series.
    pub overflow_records: u64,
    /// Records that came after the watermark had passed their window.
    pub late_records: u64,
    /// Records with a time too far ahead.
    pub future_records: u64,
    /// Records of requests that were retries.
    pub deduplicated: u64,
    /// Records that are stored.
    pub stored: u64,
    /// The same by signal, in the order of `Signal::ALL`. A restart forgets nothing.
    pub stored_by_signal: [u64; 3],
    /// Records that were refused, by reason and signal.
    pub rejected: Vec<Rejected>,
    /// Records that are stored and not counted where they say, by kind (`too_old`, `future`, `other_unit`, `bad_marker`) and signal.
    pub left_out: Vec<Rejected>,
    /// Bytes in memory, by part.
    pub memory_bytes: Vec<(&'static str, u64)>,
    /// Whether the shard has caught up with what the journal held at its start.
    pub ready: bool,
    /// What keeps the shard from committing, in words; records are safe in the journal and visible meanwhile.
    pub problem: Option<Arc<str>>,
}
