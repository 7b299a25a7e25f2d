//! A shard of the tests: rows in memory until they are committed, and the recent cells behind the pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use shipwake_model::sketch::HdrCells;
use shipwake_model::{ReleaseId, Resolution, Source};
use shipwake_store::{
    Commit, HealthCell, HealthQuery, HealthSeries, HotRows, HotShard, PatternQuery, PatternRow, Rejected, ReleaseRow,
    SegmentFile, ShardCommitter, ShardSnapshot, ShardStatus, Table,
};

use super::rows::{self, Log, Requests};

/// Time first: pages ask for a range.
type CellKey = (i64, Arc<ReleaseId>, Source, Arc<str>);

pub struct TestShard {
    state: Mutex<State>,
}

struct State {
    committer: ShardCommitter,
    files: Arc<[SegmentFile]>,
    hot: Vec<(Table, Vec<HotRows>)>,
    /// One second each.
    cells: BTreeMap<CellKey, HealthCell>,
    releases: BTreeMap<Arc<ReleaseId>, ReleaseRow>,
    patterns: Vec<PatternRow>,
    watermark_ms: i64,
    offset: u64,
    /// Log lines so far.
    lines: i64,
}

impl TestShard {
    pub fn new(committer: ShardCommitter) -> Self {
        let files = committer.files();
        let state = State {
            committer,
            files,
            hot: Vec::new(),
            cells: BTreeMap::new(),
            releases: BTreeMap::new(),
            patterns: Vec::new(),
            watermark_ms: 0,
            offset: 0,
            lines: 0,
        };
        Self { state: Mutex::new(state) }
    }

    pub fn log(&self, log: &Log) {
        let mut state = self.state.lock().expect("a test");
        state.see(&log.release, log.time_ns / 1_000_000, 1, 0);
        state.lines += 1;
        let chunk = rows::log_chunk(log, state.lines);
        state.push(Table::Logs, HotRows::Chunk(Arc::new(chunk)));
    }

    pub fn span(&self, requests: &Requests) {
        let mut state = self.state.lock().expect("a test");
        state.push(Table::Spans, HotRows::Batch(rows::span_batch(requests)));
    }

    /// Folds requests into windows of every resolution, as one partial row each, and into the recent cells.
    pub fn requests(&self, requests: &Requests) {
        let mut state = self.state.lock().expect("a test");
        state.see(&requests.release, requests.t_ms, requests.count, requests.count);
        for resolution in Resolution::ALL {
            let table = if resolution == Resolution::S1 { Table::Windows1s } else { Table::Windows };
            state.push(table, HotRows::Batch(rows::window_batch(requests, resolution)));
        }
        state.count(requests);
    }

    /// Only into the recent cells, for tests with many.
    pub fn requests_in_memory(&self, requests: &Requests) {
        let mut state = self.state.lock().expect("a test");
        state.see(&requests.release, requests.t_ms, requests.count, requests.count);
        state.count(requests);
    }

    /// A log pattern: its windows, and what is remembered of it.
    pub fn pattern(&self, row: PatternRow) {
        let mut state = self.state.lock().expect("a test");
        for resolution in [Resolution::S10, Resolution::S60, Resolution::H1] {
            for version in &row.versions {
                state.push(Table::Windows, HotRows::Batch(rows::pattern_batch(&row, version, resolution)));
            }
        }
        state.patterns.push(row);
    }

    /// A release that was seen without a request.
    pub fn see(&self, release: &Arc<ReleaseId>, t_ms: i64) {
        self.state.lock().expect("a test").see(release, t_ms, 1, 0);
    }

    /// Writes what is hot to segments.
    pub fn commit(&self) {
        let mut state = self.state.lock().expect("a test");
        state.offset += 10;
        let commit = Commit {
            next_offset: state.offset,
            watermark_ns: state.watermark_ms * 1_000_000,
            commit_ns: state.watermark_ms * 1_000_000,
            rows: std::mem::take(&mut state.hot),
            state: Bytes::from_static(b"test"),
            drop: Vec::new(),
        };
        state.files = state.committer.commit(commit).expect("a commit");
    }

    pub fn set_watermark(&self, watermark_ms: i64) {
        self.state.lock().expect("a test").watermark_ms = watermark_ms;
    }
}

impl State {
    fn count(&mut self, requests: &Requests) {
        let t_ms = requests.t_ms.div_euclid(1_000) * 1_000;
        let key = (t_ms, requests.release.clone(), requests.source, requests.route.clone());
        let mut duration = HdrCells::new();
        duration.record_n(requests.duration_us, if requests.source == Source::Logs { 0 } else { requests.count });
        let cell = HealthCell { t_ms, requests: requests.count, errors: requests.errors, duration, slots: 1 };
        match self.cells.get_mut(&key) {
            Some(held) => held.add(&cell),
            None => {
                self.cells.insert(key, cell);
            }
        }
    }

    fn push(&mut self, table: Table, rows: HotRows) {
        match self.hot.iter_mut().find(|(held, _)| *held == table) {
            Some((_, all)) => all.push(rows),
            None => self.hot.push((table, vec![rows])),
        }
    }

    fn see(&mut self, release: &Arc<ReleaseId>, t_ms: i64, records: u64, requests: u64) {
        let t_ns = t_ms * 1_000_000;
        self.watermark_ms = self.watermark_ms.max(t_ms);
        let row = self.releases.entry(release.clone()).or_insert_with(|| ReleaseRow {
            release: release.clone(),
            first_seen_ns: t_ns,
            last_seen_ns: t_ns,
            records: 0,
            requests: 0,
            instances: 2,
            instance_guessed: false,
            hashes: Vec::new(),
        });
        row.first_seen_ns = row.first_seen_ns.min(t_ns);
        row.last_seen_ns = row.last_seen_ns.max(t_ns);
        row.records += records;
        row.requests += requests;
    }
}

impl HotShard for TestShard {
    fn snapshot(&self, tables: &[Table]) -> ShardSnapshot {
        let state = self.state.lock().expect("a test");
        ShardSnapshot {
            shard: 0,
            seq: None,
            writer: 0,
            files: state.files.clone(),
            hot: state.hot.iter().filter(|(table, _)| tables.contains(table)).cloned().collect(),
            next_offset: state.offset,
            watermark_ns: state.watermark_ms * 1_000_000,
            last_line: state.lines,
        }
    }

    fn health(&self, query: &HealthQuery) -> Vec<HealthSeries> {
        let state = self.state.lock().expect("a test");
        let step_ms = i64::from(query.step_s) * 1_000;
        let mut series: BTreeMap<(Arc<ReleaseId>, Source, Arc<str>), Vec<HealthCell>> = BTreeMap::new();
        let nobody = rows::release_in("", "", "");
        let first = |t_ms: i64| -> CellKey { (t_ms, nobody.clone(), Source::Spans, "".into()) };
        let from = first(query.from_ms);
        let range = from..first(query.to_ms);
        for ((t_ms, release, source, route), cell) in state.cells.range(range) {
            let wanted = query.service.as_deref().is_none_or(|service| *release.service == *service)
                && query.environment.as_deref().is_none_or(|environment| *release.environment == *environment);
            if !wanted {
                continue;
            }
            let route: Arc<str> = if query.by_route { route.clone() } else { "".into() };
            let t_ms = t_ms.div_euclid(step_ms) * step_ms;
            let cells = series.entry((release.clone(), *source, route)).or_default();
            match cells.iter_mut().rev().find(|held| held.t_ms == t_ms) {
                Some(held) => held.add(cell),
                None => cells.push(HealthCell { t_ms, ..cell.clone() }),
            }
        }
        let all = series.into_iter().map(|((release, source, route), mut cells)| {
            cells.sort_by_key(|cell| cell.t_ms);
            HealthSeries { release, source, route, cells }
        });
        all.collect()
    }

    fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow> {
        let asks = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let wanted =
            |row: &&PatternRow| asks(&query.service, &row.service) && asks(&query.environment, &row.environment);
        self.state.lock().expect("a test").patterns.iter().filter(wanted).cloned().collect()
    }

    fn releases(&self) -> Vec<ReleaseRow> {
        self.state.lock().expect("a test").releases.values().cloned().collect()
    }

    fn status(&self) -> ShardStatus {
        let state = self.state.lock().expect("a test");
        ShardStatus {
            next_offset: state.offset,
            journal_end: state.offset,
            watermark_ns: state.watermark_ms * 1_000_000,
            newest_event_ns: state.watermark_ms * 1_000_000,
            deduplicated: 3,
            rejected: vec![Rejected {
                reason: "nan".into(),
                signal: shipwake_model::Signal::Metrics,
                count: 2,
                last_ns: 5_000_000_000,
                detail: "value is NaN".into(),
            }],
            left_out: [(state.watermark_ms * 1_000_000, "of now"), (1, "of long ago")]
                .map(|(last_ns, detail)| Rejected {
                    reason: "too_old".into(),
                    signal: shipwake_model::Signal::Traces,
                    count: 4,
                    last_ns,
                    detail: detail.into(),
                })
                .into(),
            memory_bytes: vec![("cells", 1_000)],
            ready: true,
            ..ShardStatus::default()
        }
    }
}
