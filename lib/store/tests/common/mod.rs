//! What the tests of the store share: rows to commit, scratch directories, and an object store that fails as planned.

#![allow(dead_code, reason = "every test file uses another part of it")]

pub mod failing;
pub mod rows;

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use shipwake_store::{
    Commit, HealthQuery, HealthSeries, HotRows, HotShard, PatternQuery, PatternRow, ReleaseRow, SegmentFile,
    ShardSnapshot, ShardStatus, Store, StoreConfig, StoreError, Table,
};
use tempfile::TempDir;

pub const SECOND: i64 = 1_000_000_000;
/// 2026-11-23T00:00:00Z.
pub const START: i64 = 1_795_392_000 * SECOND;

/// A directory in memory where there is one, because thousands of fsyncs on a disk take minutes.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory for the test")
}

pub fn config(dir: &Path) -> StoreConfig {
    StoreConfig { free_bytes_min: 0, ..StoreConfig::new(dir) }
}

pub fn open(dir: &Path) -> Arc<Store> {
    try_open(dir).expect("the store opens")
}

pub fn try_open(dir: &Path) -> Result<Arc<Store>, StoreError> {
    Store::open(config(dir), &mut Registry::default())
}

/// A commit of `rows` log rows that ends at `next_offset`, a second later for every offset.
pub fn log_commit(next_offset: u64, rows: usize) -> Commit {
    let now = START + next_offset as i64 * SECOND;
    Commit {
        next_offset,
        watermark_ns: now - SECOND,
        commit_ns: now,
        rows: vec![(Table::Logs, vec![HotRows::Chunk(Arc::new(rows::logs(now, rows)))])],
        state: Bytes::from(format!("state at {next_offset}")),
        drop: Vec::new(),
    }
}

/// A shard that lends its segments and has no hot rows.
#[derive(Debug)]
pub struct Lent {
    files: Mutex<Arc<[SegmentFile]>>,
}

impl Lent {
    pub fn register(store: &Store, files: Arc<[SegmentFile]>) -> Arc<Self> {
        let lent = Arc::new(Self { files: Mutex::new(files) });
        store.register(0, lent.clone());
        lent
    }

    pub fn publish(&self, files: Arc<[SegmentFile]>) {
        *self.files.lock().expect("lock") = files;
    }
}

impl HotShard for Lent {
    fn snapshot(&self, _: &[Table]) -> ShardSnapshot {
        let files = self.files.lock().expect("lock").clone();
        ShardSnapshot {
            shard: 0,
            seq: None,
            writer: 0,
            files,
            hot: Vec::new(),
            next_offset: 0,
            watermark_ns: 0,
            last_line: 0,
        }
    }

    fn health(&self, _: &HealthQuery) -> Vec<HealthSeries> {
        Vec::new()
    }

    fn patterns(&self, _: &PatternQuery) -> Vec<PatternRow> {
        Vec::new()
    }

    fn releases(&self) -> Vec<ReleaseRow> {
        Vec::new()
    }

    fn status(&self) -> ShardStatus {
        ShardStatus::default()
    }
}
