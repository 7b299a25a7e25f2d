//! What a commit costs and how fast a directory opens: `cargo bench -p shipwake-store`.
//!
//! Prints figures for log rows of about 300 bytes as OTLP, on the disk that holds the temporary directory (`TMPDIR`).

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use common::{SECOND, START, config, log_commit, rows};
use prometheus_client::registry::Registry;
use shipwake_store::{Commit, HotRows, Store, Table};

const ROWS: usize = 100_000;
const CHUNK_ROWS: usize = 4096;
/// A day, at one commit a minute.
const COMMITS: u64 = 1440;

fn main() {
    commit_of_log_rows();
    hot_rows();
    open_after_a_day();
}

fn commit_of_log_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(config(dir.path()), &mut Registry::default()).expect("opens");
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let mut best_ms = f64::MAX;
    for round in 0..5 {
        let chunks = (0..ROWS / CHUNK_ROWS + 1)
            .map(|n| rows::logs(START + (n * CHUNK_ROWS) as i64 * SECOND, CHUNK_ROWS.min(ROWS - n * CHUNK_ROWS)))
            .map(|chunk| HotRows::Chunk(Arc::new(chunk)))
            .collect();
        let commit = Commit {
            next_offset: round + 1,
            rows: vec![(Table::Logs, chunks)],
            state: Bytes::from(vec![0; 100_000]),
            ..Commit::default()
        };
        let started = Instant::now();
        committer.commit(commit).expect("commits");
        best_ms = best_ms.min(started.elapsed().as_secs_f64() * 1e3);
    }
    let file = &committer.files()[0];
    let per_row = file.bytes as f64 / file.rows as f64;
    println!("commit of {} log rows, with fsync: {best_ms:.0} ms (best of 5), {per_row:.1} bytes a row", file.rows);
    let started = Instant::now();
    let batches = store.read_segment(file, None, i64::MIN..i64::MAX).expect("reads");
    println!("reading {} rows back: {:.0} ms", file.rows, started.elapsed().as_secs_f64() * 1e3);
    drop(batches);
}

fn hot_rows() {
    let chunk = rows::logs(START, ROWS);
    let started = Instant::now();
    let all = chunk.to_batch(None);
    let all_ms = started.elapsed().as_secs_f64() * 1e3;
    let columns = [0, 3, 5, 8];
    let started = Instant::now();
    let some = chunk.to_batch(Some(&columns));
    let some_ms = started.elapsed().as_secs_f64() * 1e3;
    println!(
        "{ROWS} hot rows as a batch: {all_ms:.1} ms for all columns, {some_ms:.1} ms for service, version, time, body"
    );
    drop((all, some));
}

fn open_after_a_day() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let store = Store::open(config(dir.path()), &mut Registry::default()).expect("opens");
        let (mut committer, _) = store.open_shard(0).expect("opens");
        for minute in 1..=COMMITS {
            let mut commit = log_commit(minute, 100);
            commit.commit_ns = START + minute as i64 * 60 * SECOND;
            commit.rows.push((Table::Spans, vec![HotRows::Chunk(Arc::new(rows::spans(START, 100)))]));
            commit.rows.push((Table::Windows, vec![HotRows::Batch(rows::windows(START, 10, 100))]));
            commit.rows.push((Table::Windows1s, vec![HotRows::Batch(rows::windows(START, 1, 100))]));
            committer.commit(commit).expect("commits");
        }
    }
    let started = Instant::now();
    let store = Store::open(config(dir.path()), &mut Registry::default()).expect("opens");
    let (committer, _) = store.open_shard(0).expect("opens");
    let (ms, files) = (started.elapsed().as_secs_f64() * 1e3, committer.files().len());
    println!("opening after {COMMITS} commits, {files} live segments: {ms:.1} ms");
    let started = Instant::now();
    let mut committer = committer;
    committer.commit(log_commit(COMMITS + 1, 100)).expect("commits");
    println!("commit of 100 rows with that history: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}
