//! A shard as readers see it. Locks are short: what takes time is done on copies.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shipwake_journal::Journal;
use shipwake_model::{Resolution, Signal};
use shipwake_store::{
    HealthQuery, HealthSeries, HotShard, MarkerQuery, MarkerRow, MeasureQuery, MeasureSeries, PatternQuery, PatternRow,
    ReleaseRow, SegmentFile, ShardCommitter, ShardSnapshot, ShardStatus, SlotSeries, Table, ToggleRow, UsageOfDay,
    VerdictRow,
};

use crate::clock::Clock;
use crate::commit::Cut;
use crate::recent::resolution_of;
use crate::state::State;
use crate::window_rows::{rows_of_seconds, rows_of_windows};

/// The state of a shard with what is needed to read it, shared between the shard's thread and readers.
pub struct Shared {
    shard: u32,
    journal: Arc<dyn Journal>,
    clock: Clock,
    inner: Mutex<Inner>,
    /// Readers that wait for the lock: the shard's thread steps back for them.
    waiting: AtomicU32,
}

/// What the lock guards.
#[derive(Debug)]
pub struct Inner {
    /// What the shard knows.
    pub state: State,
    /// Live segments as of the last commit.
    pub files: Arc<[SegmentFile]>,
    /// Sequence number of that commit; `None` before the first.
    pub seq: Option<u64>,
    /// The writer of the shard, as its manifests name it.
    pub writer: u64,
    /// Cut out of the state and not committed yet.
    pub pending: Option<Arc<Cut>>,
    /// Whether the shard has caught up with what the journal held at its start.
    pub ready: bool,
    /// Why the last commit failed, until one succeeds.
    pub problem: Option<Arc<str>>,
    /// Counts reloads: whoever started before one must not add to the state after it.
    pub epoch: u64,
}

impl Shared {
    /// A shard that begins with `state` on top of what `committer` has taken up.
    pub fn new(committer: &ShardCommitter, journal: Arc<dyn Journal>, clock: Clock, state: State) -> Self {
        let (shard, files) = (committer.shard(), committer.files());
        let (seq, writer) = (committer.seq(), committer.writer());
        let inner = Inner { state, files, seq, writer, pending: None, ready: false, problem: None, epoch: 0 };
        Shared { shard, journal, clock, inner: Mutex::new(inner), waiting: AtomicU32::new(0) }
    }

    /// For the shard's own thread.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // After a panic of the shard its last state is still the best answer; the shard itself has ended.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the cut that was pending by the segments it became. Gives the bytes of rows that are not committed yet.
    pub fn publish(&self, committer: &ShardCommitter) -> usize {
        let mut inner = self.lock();
        (inner.files, inner.seq, inner.pending, inner.problem) = (committer.files(), committer.seq(), None, None);
        inner.row_bytes()
    }

    /// Lets waiting readers go first. The system's locks are not fair: a thread that folds without pause would keep them
    /// out for as long as it catches up.
    pub fn give_way(&self) {
        /// A reader that is not scheduled at once has had its chance.
        const TURNS_MAX: u32 = 64;
        for _ in 0..TURNS_MAX {
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn lock_as_reader(&self) -> MutexGuard<'_, Inner> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }
}

impl HotShard for Shared {
    fn snapshot(&self, tables: &[Table]) -> ShardSnapshot {
        let mut guard = self.lock_as_reader();
        let Inner { state, files, pending, seq, writer, .. } = &mut *guard;
        let wants_windows = tables.iter().any(|table| matches!(table, Table::Windows | Table::Windows1s));
        let deltas = wants_windows.then(|| state.deltas());
        let mut hot: Vec<_> = tables.iter().map(|table| (*table, state.rows.of(*table))).collect();
        let (files, pending, (seq, writer)) = (files.clone(), pending.clone(), (*seq, *writer));
        let (next_offset, watermark_ns) = (state.next_offset, state.watermark.watermark_ns());
        let last_line = i64::try_from(state.counters.stored[Signal::Logs as usize - 1]).unwrap_or(i64::MAX);
        drop(guard);
        for (table, rows) in &mut hot {
            match (&deltas, &table) {
                (Some(deltas), Table::Windows) => rows.extend(rows_of_windows(deltas)),
                (Some(deltas), Table::Windows1s) => rows.extend(rows_of_seconds(deltas)),
                _ => {}
            }
            if let Some(pending) = &pending {
                rows.extend(pending.rows(*table));
            }
        }
        ShardSnapshot { shard: self.shard, seq, writer, files, hot, next_offset, watermark_ns, last_line }
    }

    fn health(&self, query: &HealthQuery) -> Vec<HealthSeries> {
        let guard = self.lock_as_reader();
        let state = &guard.state;
        let fresh = if resolution_of(query).0 == Resolution::S1 { &state.one } else { &state.ten };
        state.recent.health(query, fresh, &state.series.health_metas())
    }

    fn slots(&self, query: &HealthQuery) -> Vec<SlotSeries> {
        let guard = self.lock_as_reader();
        let state = &guard.state;
        state.recent.slots(query, &state.ten, &state.series.health_metas())
    }

    fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow> {
        let guard = self.lock_as_reader();
        let state = &guard.state;
        state.patterns.rows(query, &state.lines, &state.series.metric_metas())
    }

    fn measures(&self, query: &MeasureQuery) -> Vec<MeasureSeries> {
        let guard = self.lock_as_reader();
        let State { product, series, .. } = &guard.state;
        product.recent.measures(query, &product.windows, &series.metric_metas())
    }

    fn usage_of_day(&self, service: &str, environment: &str) -> Vec<UsageOfDay> {
        let guard = self.lock_as_reader();
        let State { product, series, watermark, .. } = &guard.state;
        product.day.totals(service, environment, watermark.newest_ns(), &product.windows, &series.metric_metas())
    }

    fn toggles(&self, place: Option<(&str, &str)>) -> Vec<ToggleRow> {
        let guard = self.lock_as_reader();
        guard.state.product.toggles.rows(place, guard.state.received_ns)
    }

    fn markers(&self, query: &MarkerQuery) -> Vec<MarkerRow> {
        self.lock_as_reader().state.markers.markers(query)
    }

    fn verdicts(&self, query: &MarkerQuery) -> Vec<VerdictRow> {
        self.lock_as_reader().state.markers.verdicts(query)
    }

    fn releases(&self) -> Vec<ReleaseRow> {
        let now_ns = self.clock.now_ns();
        let guard = self.lock_as_reader();
        let rows = guard.state.releases.iter().filter(|release| release.records > 0).map(|release| ReleaseRow {
            release: release.id.clone(),
            first_seen_ns: release.first_seen_ns,
            last_seen_ns: release.last_seen_ns.max(release.first_seen_ns),
            records: release.records,
            requests: release.requests_of_best_source(),
            instances: release.instances(now_ns),
            instance_guessed: release.instance_guessed,
            hashes: release.hashes().to_vec(),
        });
        rows.collect()
    }

    fn is_ready(&self) -> bool {
        self.lock_as_reader().ready
    }

    fn status(&self) -> ShardStatus {
        let journal_end = self.journal.end(self.shard);
        let guard = self.lock_as_reader();
        let (state, counters) = (&guard.state, &guard.state.counters);
        ShardStatus {
            shard: self.shard,
            next_offset: state.next_offset,
            journal_end,
            watermark_ns: state.watermark.watermark_ns(),
            newest_event_ns: state.watermark.newest_ns(),
            series: state.series.len() as u64,
            overflow_records: counters.overflow,
            late_records: counters.late,
            future_records: counters.future,
            deduplicated: counters.deduplicated,
            stored: counters.stored.iter().sum(),
            stored_by_signal: counters.stored,
            rejected: counters.rejected.clone(),
            left_out: counters.left_out.clone(),
            memory_bytes: guard.memory_bytes(),
            ready: guard.ready,
            problem: guard.problem.clone(),
        }
    }
}

impl Inner {
    /// Bytes in memory, by part.
    pub fn memory_bytes(&self) -> Vec<(&'static str, u64)> {
        let state = &self.state;
        let parts = [
            ("rows", state.rows.bytes()),
            ("cells", state.cell_bytes()),
            ("pending_commit", self.pending.as_ref().map_or(0, |cut| cut.bytes)),
            ("recent", state.recent.bytes()),
            ("product", state.product.bytes()),
            ("markers", state.markers.bytes()),
            ("series", state.series.heap_bytes()),
            ("patterns", state.patterns.heap_bytes()),
            ("running_totals", state.streams.heap_bytes()),
            ("request_hashes", state.dedup.heap_bytes()),
        ];
        parts.into_iter().map(|(part, bytes)| (part, bytes as u64)).collect()
    }

    /// Bytes that only a commit frees, besides the cells since the last one.
    pub fn row_bytes(&self) -> usize {
        self.state.rows.bytes() + self.pending.as_ref().map_or(0, |cut| cut.bytes)
    }
}
