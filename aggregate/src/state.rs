//! Everything a shard knows: a function of the journal's records below `next_offset`, and nothing else.
//!
//! Plain data with a few operations; `fold.rs` changes it record by record, `commit.rs` takes rows and cells out of it,
//! `state_bytes.rs` writes down what must survive.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::release::OVERFLOW;
use shipwake_model::{Resolution, Signal};
use shipwake_store::{HotRows, Rejected, RowChunk, Table};

use crate::config::AggregateConfig;
use crate::cumulative::Streams;
use crate::dedup::Dedup;
use crate::logs::LogRows;
use crate::markers::Markers;
use crate::patterns::{Bounds, Patterns};
use crate::point_values::SharedBounds;
use crate::points::PointRows;
use crate::product::Product;
use crate::recent::Recent;
use crate::releases::Releases;
use crate::resources::Resources;
use crate::routes::Routes;
use crate::series::Series;
use crate::spans::SpanRows;
use crate::watermark::Watermark;
use crate::windows::{Deltas, HealthWindows, MetricWindows};

/// Rows of one open chunk before it is sealed: small enough that a snapshot copies nothing and large enough that the
/// resources of a chunk do not matter.
const CHUNK_ROWS: usize = 16_384;

/// Services whose clocks are ahead and that are counted by name.
pub(crate) const AHEAD_SERVICES_MAX: usize = 100;

/// What has been counted since the data directory was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records stored, by signal in the order of [`Signal::ALL`].
    pub stored: [u64; 3],
    /// Records of requests that were retries.
    pub deduplicated: u64,
    /// Records that came after their window was final, and were added to it.
    pub late: u64,
    /// Records whose clock was too far ahead.
    pub future: u64,
    /// Records that folded into an overflow.
    pub overflow: u64,
    /// Records that could not be used, by reason and signal.
    pub rejected: Vec<Rejected>,
    /// Records that are stored and not counted where they say, by kind and signal.
    pub left_out: Vec<Rejected>,
}

impl Counters {
    /// How many records of each kind were not as they usually are, as `shipwake_unusual_records` names them.
    pub(crate) fn unusual(&self) -> [(&'static str, u64); 6] {
        let left_out = |kind: &str| self.left_out.iter().filter(|one| &*one.reason == kind).map(|one| one.count).sum();
        [
            ("late", self.late),
            (FUTURE, self.future),
            ("overflow", self.overflow),
            (TOO_OLD, left_out(TOO_OLD)),
            (OTHER_UNIT, left_out(OTHER_UNIT)),
            (BAD_MARKER, left_out(BAD_MARKER)),
        ]
    }
}

/// Kind of records whose time was too far ahead: they count when they were received.
pub(crate) const FUTURE: &str = "future";
/// Kind of records that are too old for windows.
pub(crate) const TOO_OLD: &str = "too_old";
/// Kind of events whose value is in another unit than the one that their KPI declares.
pub(crate) const OTHER_UNIT: &str = "other_unit";

/// Kind of markers and verdicts that cannot be used.
pub(crate) const BAD_MARKER: &str = "bad_marker";

/// The state of a shard.
#[derive(Debug)]
pub struct State {
    /// The journal offset after the last record folded.
    pub next_offset: u64,
    pub(crate) config: AggregateConfig,
    pub(crate) watermark: Watermark,
    pub(crate) dedup: Dedup,
    pub(crate) releases: Releases,
    pub(crate) resources: Resources,
    pub(crate) routes: Routes,
    pub(crate) series: Series,
    pub(crate) streams: Streams,
    pub(crate) one: HealthWindows,
    pub(crate) ten: HealthWindows,
    pub(crate) metrics: MetricWindows,
    /// Lines of log patterns.
    pub(crate) lines: MetricWindows,
    pub(crate) patterns: Patterns,
    pub(crate) recent: Recent,
    pub(crate) product: Product,
    pub(crate) markers: Markers,
    pub(crate) counters: Counters,
    /// Records whose time was too far ahead, by service, since they were last taken out.
    ahead: BTreeMap<Arc<str>, u64>,
    pub(crate) rows: Rows,
    /// Receive time of the newest record, ns.
    pub(crate) received_ns: i64,
    /// When quiet series were last forgotten, by receive time, ns.
    pub(crate) swept_ns: i64,
    pub(crate) bounds: SharedBounds,
    pub(crate) scratch: Vec<u8>,
}

/// Rows that are in no segment yet.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) logs: LogRows,
    pub(crate) spans: SpanRows,
    pub(crate) points: PointRows,
    sealed: [Vec<Arc<RowChunk>>; 3],
    sealed_bytes: usize,
}

impl State {
    /// Nothing known, from the journal's beginning.
    pub fn new(config: &AggregateConfig) -> Self {
        let limits = config.limits;
        State {
            next_offset: 0,
            config: config.clone(),
            watermark: Watermark::new(i64::try_from(config.lateness.as_nanos()).unwrap_or(i64::MAX)),
            dedup: Dedup::new(limits.request_hashes),
            releases: Releases::new(limits.services, limits.releases_per_service),
            resources: Resources::default(),
            routes: Routes::new(limits.routes_per_service),
            series: Series::new(limits.series, limits.series_per_metric),
            streams: Streams::default(),
            one: HealthWindows::new(Resolution::S1),
            ten: HealthWindows::new(Resolution::S10),
            metrics: MetricWindows::default(),
            lines: MetricWindows::default(),
            patterns: Patterns::new(Bounds {
                per_service: limits.patterns_per_service,
                total: limits.patterns,
                recent_bytes: limits.recent_pattern_bytes,
            }),
            recent: Recent::new(limits.recent_bytes),
            product: Product::new(config),
            markers: Markers::new(&limits),
            counters: Counters::default(),
            ahead: BTreeMap::new(),
            rows: Rows::default(),
            received_ns: i64::MIN,
            swept_ns: i64::MIN,
            bounds: SharedBounds::default(),
            scratch: Vec::new(),
        }
    }

    /// Nothing known of the records before `next_offset`, which are stored, but the number of the last log record among them.
    pub fn forgotten(config: &AggregateConfig, next_offset: u64, last_line: i64) -> Self {
        let mut state = State { next_offset, ..State::new(config) };
        state.counters.stored[Signal::Logs as usize - 1] = last_line.max(0) as u64;
        state
    }

    /// A copy of what was folded into windows since the last commit.
    pub fn deltas(&self) -> Deltas {
        Deltas {
            one: self.one.clone(),
            ten: self.ten.clone(),
            metrics: self.metrics.clone(),
            lines: self.lines.clone(),
            product: self.product.windows.clone(),
            health_metas: self.series.health_metas(),
            metric_metas: self.series.metric_metas(),
            watermark: self.watermark.clone(),
        }
    }

    /// Takes out what was folded into windows since the last commit.
    pub fn take_deltas(&mut self) -> Deltas {
        Deltas {
            one: std::mem::replace(&mut self.one, HealthWindows::new(Resolution::S1)),
            ten: std::mem::replace(&mut self.ten, HealthWindows::new(Resolution::S10)),
            metrics: std::mem::take(&mut self.metrics),
            lines: std::mem::take(&mut self.lines),
            product: std::mem::take(&mut self.product.windows),
            health_metas: self.series.health_metas(),
            metric_metas: self.series.metric_metas(),
            watermark: self.watermark.clone(),
        }
    }

    /// Bytes of rows and cells that a commit would write.
    pub fn hot_bytes(&self) -> usize {
        self.rows.bytes() + self.cell_bytes()
    }

    /// Bytes of cells.
    pub fn cell_bytes(&self) -> usize {
        let requests = self.one.heap_bytes() + self.ten.heap_bytes();
        requests + self.metrics.heap_bytes() + self.lines.heap_bytes() + self.product.windows.heap_bytes()
    }

    /// Whether there is anything to commit.
    pub fn has_changes(&self, committed_offset: u64) -> bool {
        self.next_offset != committed_offset
    }

    /// Counts a record of a service whose time was too far ahead.
    pub(crate) fn count_ahead(&mut self, service: Arc<str>) {
        let is_full = self.ahead.len() >= AHEAD_SERVICES_MAX && !self.ahead.contains_key(&service);
        *self.ahead.entry(if is_full { OVERFLOW.into() } else { service }).or_default() += 1;
    }

    /// Takes out how many records of which services had times too far ahead.
    pub(crate) fn take_ahead(&mut self) -> BTreeMap<Arc<str>, u64> {
        std::mem::take(&mut self.ahead)
    }

    /// Counts a record that is stored and not counted where it says. The newest case is put in words once a request.
    pub(crate) fn leave_out(&mut self, kind: &str, signal: Signal, detail: impl FnOnce() -> String) {
        let last_ns = self.received_ns;
        let left_out = &mut self.counters.left_out;
        match left_out.iter_mut().find(|known| known.signal == signal && &*known.reason == kind) {
            Some(known) => {
                known.count += 1;
                if known.last_ns != last_ns {
                    (known.last_ns, known.detail) = (last_ns, detail().into());
                }
            }
            None => left_out.push(Rejected { reason: kind.into(), signal, count: 1, last_ns, detail: detail().into() }),
        }
    }

    /// Counts records that could not be used.
    pub(crate) fn reject(&mut self, signal: Signal, reason: &str, count: u64, detail: String) {
        if count == 0 {
            return;
        }
        let last_ns = self.received_ns;
        let known = self.counters.rejected.iter_mut().find(|known| known.signal == signal && &*known.reason == reason);
        match known {
            Some(known) => {
                known.count += count;
                (known.last_ns, known.detail) = (last_ns, detail.into());
            }
            None => {
                let (reason, detail) = (reason.into(), detail.into());
                self.counters.rejected.push(Rejected { reason, signal, count, last_ns, detail });
            }
        }
    }
}

impl Rows {
    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.sealed_bytes + self.logs.bytes() + self.spans.bytes() + self.points.bytes()
    }

    /// Seals open chunks that are large enough.
    pub(crate) fn seal_large(&mut self) {
        if self.logs.len() >= CHUNK_ROWS {
            self.seal(Table::Logs);
        }
        if self.spans.len() >= CHUNK_ROWS {
            self.seal(Table::Spans);
        }
        if self.points.len() >= CHUNK_ROWS {
            self.seal(Table::Points);
        }
    }

    /// The rows of a table, those of the open chunk included.
    pub(crate) fn of(&mut self, table: Table) -> Vec<HotRows> {
        self.seal(table);
        let sealed = place(table).map(|place| &self.sealed[place]);
        sealed.into_iter().flatten().cloned().map(HotRows::Chunk).collect()
    }

    /// Takes all rows out.
    pub(crate) fn take(&mut self) -> Vec<(Table, Vec<HotRows>)> {
        let rows = [Table::Logs, Table::Spans, Table::Points].map(|table| (table, self.of(table)));
        self.sealed = Default::default();
        self.sealed_bytes = 0;
        rows.into()
    }

    fn seal(&mut self, table: Table) {
        let chunk = match table {
            Table::Logs => self.logs.seal(),
            Table::Spans => self.spans.seal(),
            Table::Points => self.points.seal(),
            Table::Windows | Table::Windows1s => return,
        };
        if let (Some(chunk), Some(place)) = (chunk, place(table)) {
            self.sealed_bytes += chunk.memory_bytes();
            self.sealed[place].push(Arc::new(chunk));
        }
    }
}

fn place(table: Table) -> Option<usize> {
    match table {
        Table::Logs => Some(0),
        Table::Spans => Some(1),
        Table::Points => Some(2),
        Table::Windows | Table::Windows1s => None,
    }
}
