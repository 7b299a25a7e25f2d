//! How long an append takes until it is acknowledged, at the rate that the design promises and at the highest rate,
//! beside what the same disk does for a bare write and `fdatasync`. Open loop: an append is due at its time whether or
//! not the ones before it are done, and its wait is counted from then.
//!
//! `cargo bench --profile release -p shipwake-journal --bench append -- [DIR]`; with `end-mark` instead of a folder, only what the mark
//! of the end (`p0.end`) costs an append.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use shipwake_journal::embedded::Config;
use shipwake_journal::{EmbeddedJournal, Header, Journal, Record};
use shipwake_model::Signal;

/// 1.2 TB a day.
const RATE_BYTES_PER_S: f64 = 13.9e6;
const REQUEST_BYTES: usize = 64 << 10;
const OPEN_LOOP: Duration = Duration::from_secs(20);
const CLOSED_LOOP: Duration = Duration::from_secs(8);
const CALLERS: usize = 64;

fn main() {
    let dir = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    if dir.as_deref() == Some("end-mark") {
        return end_mark();
    }
    let root = match dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let root = root.expect("a directory to write to");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    bare_disk(root.path());
    runtime.block_on(async {
        let journal = open(&root.path().join("journal"));
        open_loop(&journal).await;
        journal.close().await.expect("closing works");
        let journal = open(&root.path().join("throughput"));
        closed_loop(&journal).await;
        let bytes = segment_bytes(&root.path().join("throughput"));
        journal.close().await.expect("closing works");
        println!("  on disk: {:.0} MB", bytes as f64 / 1e6);
        drop(journal);
        let begun = Instant::now();
        let journal = open(&root.path().join("throughput"));
        println!("reopening it: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
        cold_read(&journal).await;
        journal.close().await.expect("closing works");
        many_segments(&root.path().join("many")).await;
    });
}

fn open(dir: &Path) -> Arc<EmbeddedJournal> {
    Arc::new(EmbeddedJournal::open(Config::new(dir), &mut Registry::default()).expect("the journal opens"))
}

/// Text like a request of logs, with ids that do not compress.
fn request(number: u64) -> Bytes {
    let mut state = number | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = Vec::with_capacity(REQUEST_BYTES + 400);
    while text.len() < REQUEST_BYTES {
        let (trace, user, took) = (random(), random() % 10_000, random() % 900);
        let _ = writeln!(
            text,
            "service.name=checkout service.version=1.42.{} http.route=/api/cart/{{id}} trace_id={trace:016x}{:016x} \
             user handled request for user {user} in {took} ms with status {} severity=INFO thread=worker-{}",
            random() % 3,
            random(),
            if took > 880 { 500 } else { 200 },
            random() % 16,
        );
    }
    text.truncate(REQUEST_BYTES);
    Bytes::from(text)
}

fn record(number: u64, value: Bytes) -> Record {
    let header = Header {
        tenant: "default".into(),
        signal: Signal::Logs,
        received_ns: number as i64,
        records: 216,
        time_min_ns: 0,
        time_max_ns: number as i64,
        request_hash: Some(u128::from(number)),
    };
    Record { partition: (number % 2) as u32, header, value }
}

async fn open_loop(journal: &Arc<EmbeddedJournal>) {
    let interval = Duration::from_secs_f64(REQUEST_BYTES as f64 / RATE_BYTES_PER_S);
    let values: Vec<Bytes> = (0..256).map(request).collect();
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut number = 0u64;
    while begun.elapsed() < OPEN_LOOP {
        let due = begun + interval.mul_f64(number as f64);
        tokio::time::sleep_until(due.into()).await;
        let journal = Arc::clone(journal);
        let value = values[number as usize % values.len()].clone();
        tasks.spawn(async move {
            journal.append(vec![record(number, value)]).await.expect("the append succeeds");
            due.elapsed()
        });
        number += 1;
    }
    let waits = tasks.join_all().await;
    let rate = number as f64 * REQUEST_BYTES as f64 / begun.elapsed().as_secs_f64() / 1e6;
    print(
        &format!("open loop, {rate:.1} MB/s of {} KiB requests, wait until acknowledged", REQUEST_BYTES >> 10),
        waits,
    );
}

async fn closed_loop(journal: &Arc<EmbeddedJournal>) {
    let values: Arc<Vec<Bytes>> = Arc::new((0..256).map(request).collect());
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (journal, values) = (Arc::clone(journal), Arc::clone(&values));
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < CLOSED_LOOP {
                let number = (waits.len() * CALLERS + caller) as u64;
                let asked = Instant::now();
                let value = values[number as usize % values.len()].clone();
                journal.append(vec![record(number, value)]).await.expect("the append succeeds");
                waits.push(asked.elapsed());
            }
            waits
        });
    }
    let waits = tasks.join_all().await.concat();
    let rate = (waits.len() * REQUEST_BYTES) as f64 / begun.elapsed().as_secs_f64() / 1e6;
    print(&format!("closed loop, {CALLERS} callers: {rate:.0} MB/s, wait until acknowledged"), waits);
}

async fn cold_read(journal: &Arc<EmbeddedJournal>) {
    let begun = Instant::now();
    let (mut next, mut bytes) = (0, 0);
    while next < journal.end(0) {
        let records = journal.read(0, next, 4 << 20).await.expect("the read succeeds");
        bytes += records.iter().map(|stored| stored.value.len()).sum::<usize>();
        next += records.len() as u64;
    }
    println!(
        "reading a partition from its files: {:.0} MB/s of values",
        bytes as f64 / begun.elapsed().as_secs_f64() / 1e6
    );
}

/// Opening as many segments as a day at the promised rate fills (273 GB at a compression of 4.4), of 256 KiB each.
async fn many_segments(dir: &Path) {
    const SEGMENTS: u64 = 4000;
    let config = Config { segment_bytes: 256 << 10, ..Config::new(dir) };
    let journal = EmbeddedJournal::open(config.clone(), &mut Registry::default()).expect("the journal opens");
    let value = noise(250 << 10);
    for number in 0..SEGMENTS {
        journal.append(vec![record(number, value.clone())]).await.expect("the append succeeds");
    }
    journal.close().await.expect("closing works");
    let begun = Instant::now();
    let journal = EmbeddedJournal::open(config, &mut Registry::default()).expect("the journal opens");
    let took = begun.elapsed().as_secs_f64() * 1e3;
    println!("opening {} segments: {took:.1} ms", journal.end(0) + journal.end(1));
}

fn noise(bytes: usize) -> Bytes {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// One caller, one small record at a time, so that each has a group, a sync and a mark of its own: with the mark and without it in turn,
/// where a sync costs what it does, and where it costs nothing. Without: a folder stands where the file would be, and the journal
/// does without, as on a full disk.
fn end_mark() {
    const TURNS: usize = 7;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let on_disk = tempfile::tempdir().expect("a directory to write to");
    let in_memory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    for (place, root) in [("on the disk", on_disk.path()), ("in memory", in_memory.path())] {
        let mut waits = [Vec::new(), Vec::new()];
        let mut cpu = [Duration::ZERO; 2];
        for turn in 0..2 * TURNS {
            let dir = root.join(turn.to_string());
            // The order within a pair changes too.
            let is_without = turn % 2 != turn / 2 % 2;
            if is_without {
                for partition in ["p0.end", "p1.end"] {
                    std::fs::create_dir_all(dir.join(partition)).expect("a folder");
                }
            }
            let used = cpu_used();
            waits[usize::from(is_without)].extend(runtime.block_on(one_by_one(&dir)));
            cpu[usize::from(is_without)] += cpu_used() - used;
            std::fs::remove_dir_all(&dir).expect("removes");
        }
        for ((what, waits), cpu) in ["with", "without"].into_iter().zip(waits).zip(cpu) {
            let per_append = cpu.as_secs_f64() * 1e6 / waits.len() as f64;
            print(&format!("{place}, {what} the mark: {per_append:.1} µs of CPU an append"), waits);
        }
    }
}

async fn one_by_one(dir: &Path) -> Vec<Duration> {
    let journal = open(dir);
    let value = request(1).slice(..1000);
    let (mut waits, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        journal.append(vec![record(2 * waits.len() as u64, value.clone())]).await.expect("the append succeeds");
        waits.push(asked.elapsed());
    }
    journal.close().await.expect("closing works");
    waits
}

/// CPU time of this process, all threads, in steps of ten milliseconds.
fn cpu_used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let behind_name = stat.rsplit_once(") ").expect("a name in brackets").1;
    let ticks: u64 = behind_name.split(' ').skip(11).take(2).map(|text| text.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

/// A write of a group of the usual size (one compressed request) and a sync, one after the other.
fn bare_disk(dir: &Path) {
    let mut file = File::create(dir.join("bare")).expect("a file");
    let bytes: Vec<u8> = (0..REQUEST_BYTES / 4).map(|index| (index * 31) as u8).collect();
    let mut waits = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        file.write_all(&bytes).expect("the write succeeds");
        file.sync_data().expect("the sync succeeds");
        waits.push(asked.elapsed());
    }
    print(&format!("the disk itself: write {} KiB and fdatasync", bytes.len() >> 10), waits);
}

fn segment_bytes(dir: &Path) -> u64 {
    let mut bytes = 0;
    for partition in ["p0", "p1"] {
        for entry in std::fs::read_dir(dir.join(partition)).expect("the partition's directory") {
            bytes += entry.and_then(|entry| entry.metadata()).expect("a file").len();
        }
    }
    bytes
}

fn print(what: &str, mut waits: Vec<Duration>) {
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what}: n {}  p50 {:.2} ms  p95 {:.2} ms  p99 {:.2} ms  max {:.2} ms",
        waits.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}
