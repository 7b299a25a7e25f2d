//! What blooms, index and compaction cost, in CPU time of the one thread that does it: `cargo bench -p shipwake-store --bench compact`.
//!
//! Log rows of about 300 bytes as OTLP, on the disk that holds the temporary directory (`TMPDIR`).

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{Lent, SECOND, START, config, log_commit, rows};
use prometheus_client::registry::Registry;
use shipwake_store::{Candidates, Commit, Compaction, HotRows, Store, StoreConfig, Table, Wanted};

const SEGMENTS: u64 = 16;
const SEGMENT_ROWS: usize = 50_000;
const OTLP_BYTES: f64 = 303.0;

fn main() {
    for index in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let compaction = Compaction { index, bytes_max: 64 << 20, ..Compaction::default() };
        let config = StoreConfig { compaction, ..config(dir.path()) };
        let store = Store::open(config, &mut Registry::default()).expect("opens");
        let (mut committer, _) = store.open_shard(0).expect("opens");
        let rows = (SEGMENTS as usize * SEGMENT_ROWS) as f64;
        let before = cpu_ns();
        for segment in 0..SEGMENTS {
            let time_ns = START + (50 + 50 * segment as i64) * SECOND;
            let first = segment as usize * SEGMENT_ROWS;
            let chunk = |n: usize| rows::logs_numbered(time_ns + n as i64 * SECOND, first + n * 5000, 5000);
            let chunks = (0..SEGMENT_ROWS / 5000).map(|n| HotRows::Chunk(Arc::new(chunk(n)))).collect();
            let (next_offset, rows) = (segment + 1, vec![(Table::Logs, chunks)]);
            let commit = Commit { next_offset, rows, commit_ns: time_ns, ..Commit::default() };
            let made = cpu_ns();
            committer.commit(commit).expect("commits");
            if segment == SEGMENTS - 1 {
                report("commit with blooms, one segment", (cpu_ns() - made) as f64 / SEGMENT_ROWS as f64);
            }
        }
        report("rows made up and committed", (cpu_ns() - before) as f64 / rows);
        let lent = Lent::register(&store, committer.files());
        let before = cpu_ns();
        store.compact_now(START + 3600 * SECOND).expect("compacts");
        report(if index { "compaction with index" } else { "compaction" }, (cpu_ns() - before) as f64 / rows);
        let commit = Commit { commit_ns: START + 3600 * SECOND, ..log_commit(1000, 0) };
        let files = committer.commit(commit).expect("commits");
        lent.publish(files.clone());
        let file = &files[0];
        let side = |bytes: Option<u64>| bytes.unwrap_or(0) as f64 / file.rows as f64;
        println!(
            "{} segment of {} rows: {:.1} bytes a row, blooms {:.1}, index {:.1}",
            files.len(),
            file.rows,
            file.bytes as f64 / file.rows as f64,
            side(file.blooms.as_ref().map(|side| side.bytes)),
            side(file.index.as_ref().map(|side| side.bytes)),
        );
        search(&store, file);
    }
}

fn search(store: &Store, file: &shipwake_store::SegmentFile) {
    let mut bodies = Vec::new();
    let ten = Candidates::Rows(vec![400_000]);
    let each = |batch: arrow::array::RecordBatch| {
        use arrow::array::AsArray;
        bodies.push(batch.column(0).as_string::<i32>().value(0).to_owned());
        std::ops::ControlFlow::Continue(())
    };
    store.read_candidates(file, &ten, Some(&["body"]), i64::MIN..i64::MAX, each).expect("reads");
    for (what, wanted) in
        [("a line's words", Wanted::text(&bodies[0])), ("a word that is nowhere", Wanted::text("nowhere"))]
    {
        let started = Instant::now();
        let candidates = store.candidates(file, &wanted);
        let found: u64 = candidates.ranges(file.rows).iter().map(|range| range.end - range.start).sum();
        println!("candidates for {what}: {found} rows in {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    }
}

fn report(what: &str, ns_per_row: f64) {
    println!("{what}: {ns_per_row:.0} ns a row, {:.0} MB OTLP per CPU second", OTLP_BYTES / ns_per_row * 1e3);
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    text.split_whitespace().next().and_then(|first| first.parse().ok()).expect("the first number is the time on a CPU")
}
