//! What a commit of log lines costs, in CPU time of the thread that does it: `cargo bench -p shipwake-store --bench lines`.
//!
//! The lines are like those of `shipwake load`, which is what the whole is measured with: of 24 resources with seven attributes each, a
//! thousand of a resource at a time, two attributes and ids on every line, 302 bytes as OTLP. `COMMITS=2 valgrind --tool=callgrind
//! --collect-atstart=no --toggle-collect='*try_commit*' …` counts the instructions, which do not depend on the machine.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, MapArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array,
};
use common::{SECOND, START, config};
use prometheus_client::registry::Registry;
use shipwake_store::tables::text_map_builder;
use shipwake_store::{Commit, HotRows, RowChunk, Store, Table};

const COMMIT_ROWS: usize = 60_000;
const CHUNK_ROWS: usize = 4_000;
const GROUP_ROWS: usize = 1_000;
const RESOURCES: usize = 24;
const OTLP_BYTES: f64 = 302.0;
const PADDING: &str =
    "the quick brown fox jumps over the lazy dog while the harbour sleeps under a pale moon the quick brown fox";

fn main() {
    // `cargo test --all-targets` runs benches with --test: nothing to check here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let commits: usize = std::env::var("COMMITS").map_or(12, |text| text.parse().expect("a number of commits"));
    let dir = common::scratch();
    let store = Store::open(config(dir.path()), &mut Registry::default()).expect("opens");
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let mut costs: Vec<u64> = Vec::new();
    for number in 0..commits {
        let chunks = (0..COMMIT_ROWS / CHUNK_ROWS)
            .map(|at| HotRows::Chunk(Arc::new(chunk(number * COMMIT_ROWS + at * CHUNK_ROWS))))
            .collect();
        let commit_ns = START + number as i64 * SECOND;
        let commit = Commit {
            next_offset: number as u64 + 1,
            rows: vec![(Table::Logs, chunks)],
            commit_ns,
            ..Commit::default()
        };
        let before = cpu_ns();
        committer.commit(commit).expect("commits");
        costs.push(cpu_ns() - before);
    }
    costs.sort_unstable();
    let per_line = |cost: u64| cost as f64 / COMMIT_ROWS as f64;
    let (best, median) = (per_line(costs[0]), per_line(costs[commits / 2]));
    let file = &committer.files()[0];
    println!(
        "commit of {COMMIT_ROWS} lines, {commits} times: {best:.0} ns a line at best, {median:.0} at the median ({:.0} MB of OTLP per \
         CPU second); {:.2} bytes a line, blooms {:.2}",
        OTLP_BYTES / best * 1e3,
        file.bytes as f64 / file.rows as f64,
        file.blooms.as_ref().map_or(0, |blooms| blooms.bytes) as f64 / file.rows as f64
    );
}

/// Lines from number `first` on.
fn chunk(first: usize) -> RowChunk {
    let lines = first..first + CHUNK_ROWS;
    let text =
        |of: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(lines.clone().map(of))) };
    let time = |line: usize| START + (line / GROUP_ROWS / 4) as i64 * 10_000_000 + (line % GROUP_ROWS) as i64 * 20_000;
    let times = || -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(lines.clone().map(time)).with_timezone("UTC"))
    };
    let level = |line: usize| match line % GROUP_ROWS % 100 {
        0..94 => (9, "INFO"),
        94..98 => (13, "WARN"),
        _ => (17, "ERROR"),
    };
    let id = |line: usize| format!("{line:012x}");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(lines.clone().map(|line| (line / GROUP_ROWS % RESOURCES) as u32))),
        times(),
        times(),
        Arc::new(Int32Array::from_iter_values(lines.clone().map(|line| level(line).0))),
        text(&|line| level(line).1.to_owned()),
        text(&body),
        Arc::new(StringArray::new_null(CHUNK_ROWS)),
        text(&|line| format!("{:016x}", mixed(line as u64 % GROUP_ROWS as u64 % 3))),
        text(&|line| format!("{:016x}{:016x}", mixed(line as u64), mixed(line as u64 + 1))),
        text(&|line| format!("{:016x}", mixed(line as u64 + 2))),
        text(&|_| "shipwake-load".to_owned()),
        Arc::new(map(lines.clone().map(|line| {
            vec![("load.id".to_owned(), id(line)), ("code.function.name".to_owned(), "handle_request".to_owned())]
        }))),
        Arc::new(Int64Array::from_iter_values(lines.clone().map(|line| line as i64))),
    ];
    let rows = RecordBatch::try_new(Table::Logs.rows_schema(), columns).expect("the columns fit");
    RowChunk::new(Table::Logs, rows, Arc::new(resources())).expect("the rows fit their table")
}

fn body(line: usize) -> String {
    let (id, hash, us) = (format!("{line:012x}"), mixed(line as u64) as u32, mixed(line as u64 + 7) % 400_000);
    match line % GROUP_ROWS % 3 {
        0 => format!("request {id} of user {hash:08x} answered in {us:08} us {PADDING}"),
        1 => format!("order {id} placed for customer {hash:08x} after {us:08} us {PADDING}"),
        _ => format!("cache entry {hash:08x} refreshed for {id} in {us:08} us {PADDING}"),
    }
}

fn resources() -> RecordBatch {
    let text =
        |of: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..RESOURCES).map(of))) };
    let service = |n: usize| format!("load-{:03}", n % 4);
    let version = |n: usize| format!("1.{}.0", n / 4 % 2);
    let instance = |n: usize| format!("load-{:03}-{}-{}", n % 4, n / 4 % 2, n / 8);
    let columns: Vec<ArrayRef> = vec![
        text(&service),
        text(&|_| "load-run-0001".to_owned()),
        text(&|_| "load".to_owned()),
        text(&version),
        text(&instance),
        Arc::new(map((0..RESOURCES).map(|n| {
            vec![
                ("service.name".to_owned(), service(n)),
                ("service.namespace".to_owned(), "load-run-0001".to_owned()),
                ("service.version".to_owned(), version(n)),
                ("service.instance.id".to_owned(), instance(n)),
                ("deployment.environment.name".to_owned(), "load".to_owned()),
                ("host.name".to_owned(), format!("host-{}", instance(n))),
                ("telemetry.sdk.name".to_owned(), "shipwake-load".to_owned()),
            ]
        }))),
    ];
    RecordBatch::try_new(Table::Logs.resources_schema(), columns).expect("the columns fit")
}

fn map(rows: impl Iterator<Item = Vec<(String, String)>>) -> MapArray {
    let mut builder = text_map_builder();
    for row in rows {
        for (key, value) in row {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true).expect("keys and values are as many");
    }
    builder.finish()
}

/// A number that looks random and is the same in every run.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    text.split_whitespace().next().and_then(|first| first.parse().ok()).expect("the first number is the time on a CPU")
}
