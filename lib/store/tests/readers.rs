//! What readers get when several shards are registered.

mod common;

use std::sync::Arc;

use common::{SECOND, START, log_commit, open, rows, scratch};
use shipwake_model::sketch::HdrCells;
use shipwake_model::{ReleaseId, Source};
use shipwake_store::{
    HealthCell, HealthQuery, HealthSeries, HotRows, HotShard, PatternQuery, PatternRow, ReleaseRow, SegmentFile,
    ShardSnapshot, ShardStatus, Table,
};

/// A shard with one release, one series and three hot log rows.
struct Shard {
    number: u32,
    files: Arc<[SegmentFile]>,
    /// (t_ms, requests, errors)
    cells: Vec<(i64, u64, u64)>,
}

fn release(version: &str) -> Arc<ReleaseId> {
    Arc::new(ReleaseId {
        service: "checkout".into(),
        namespace: "".into(),
        environment: "production".into(),
        version: version.into(),
    })
}

impl HotShard for Shard {
    fn snapshot(&self, tables: &[Table]) -> ShardSnapshot {
        let rows = HotRows::Chunk(Arc::new(rows::logs(START, 3)));
        let hot = tables.iter().filter(|table| **table == Table::Logs).map(|table| (*table, vec![rows.clone()]));
        let (shard, files, hot) = (self.number, self.files.clone(), hot.collect());
        ShardSnapshot { shard, seq: None, writer: 0, files, hot, next_offset: 7, watermark_ns: START, last_line: 0 }
    }

    fn health(&self, _query: &HealthQuery) -> Vec<HealthSeries> {
        let cell = |&(t_ms, requests, errors): &(i64, u64, u64)| {
            let mut duration = HdrCells::default();
            duration.record(1000 * requests);
            HealthCell { t_ms, requests, errors, duration, slots: 1 << self.number }
        };
        let cells = self.cells.iter().map(cell).collect();
        vec![HealthSeries { release: release("2.0"), source: Source::Spans, route: "".into(), cells }]
    }

    fn patterns(&self, _query: &PatternQuery) -> Vec<PatternRow> {
        Vec::new()
    }

    fn releases(&self) -> Vec<ReleaseRow> {
        let seen = START + i64::from(self.number) * SECOND;
        vec![ReleaseRow {
            release: release("2.0"),
            first_seen_ns: seen,
            last_seen_ns: seen,
            records: 10,
            requests: 4,
            instances: 2,
            instance_guessed: self.number == 1,
            hashes: Vec::new(),
        }]
    }

    fn status(&self) -> ShardStatus {
        ShardStatus { shard: self.number, ready: true, ..ShardStatus::default() }
    }
}

#[test]
fn shards_are_seen_as_one() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let files = committer.commit(log_commit(1, 5)).expect("commits");
    store.register(1, Arc::new(Shard { number: 1, files: Arc::from([]), cells: vec![(1000, 1, 0), (3000, 3, 1)] }));
    store.register(0, Arc::new(Shard { number: 0, files, cells: vec![(2000, 2, 2), (3000, 4, 0), (4000, 5, 0)] }));

    let snapshot = store.snapshot(&[Table::Logs]);
    assert_eq!(snapshot.shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1]);
    let stored: u64 = snapshot.files(Table::Logs).map(|file| file.rows).sum();
    let hot: usize = snapshot.hot(Table::Logs).map(HotRows::num_rows).sum();
    assert_eq!((stored, hot), (5, 6));
    assert_eq!(store.snapshot(&[Table::Spans]).hot(Table::Spans).count(), 0);

    let query = HealthQuery { service: None, environment: None, from_ms: 0, to_ms: 9000, step_s: 1, by_route: false };
    let health = store.health(&query);
    let cells: Vec<_> =
        health[0].cells.iter().map(|cell| (cell.t_ms, cell.requests, cell.errors, cell.slots)).collect();
    assert_eq!(cells, [(1000, 1, 0, 2), (2000, 2, 2, 1), (3000, 7, 1, 3), (4000, 5, 0, 1)]);
    assert_eq!((health.len(), health[0].cells[2].duration.count()), (1, 2));

    let releases = store.releases();
    assert_eq!((releases.len(), releases[0].records, releases[0].instances), (1, 20, 4));
    assert_eq!((releases[0].first_seen_ns, releases[0].last_seen_ns), (START, START + SECOND));
    assert!(releases[0].instance_guessed);
    assert_eq!(store.status().len(), 2);
}
