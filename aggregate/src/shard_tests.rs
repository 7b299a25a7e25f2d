//! Shards over a real store: restarts, retries and failures change no count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use async_trait::async_trait;
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use shipwake_journal::{Journal, JournalError, MemoryJournal, Position, Record, Stored};
use shipwake_model::Signal;
use shipwake_model::window::NS_PER_S;
use shipwake_store::{HealthQuery, HotRows, Snapshot, Store, StoreConfig, Table};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::commit::Cut;
use crate::config::AggregateConfig;
use crate::recover::{recover, reload_recent};
use crate::requests::*;
use crate::view::Shared;
use crate::{Aggregate, AggregateError, Progress};

/// Requests and errors by (version, window start), records by table.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    requests: BTreeMap<(String, i64), i64>,
    orders: i64,
    spans: usize,
}

impl Counts {
    fn of(store: &Store, snapshot: &Snapshot) -> Self {
        let mut counts = Counts::default();
        for table in [Table::Spans, Table::Windows] {
            let stored = snapshot.files(table).flat_map(|file| store.read_segment(file, None, 0..i64::MAX).unwrap());
            let hot = snapshot.hot(table).map(|rows: &HotRows| rows.to_batch(None));
            for batch in stored.chain(hot) {
                counts.add(table, &batch);
            }
        }
        counts
    }

    fn add(&mut self, table: Table, batch: &arrow::array::RecordBatch) {
        if table == Table::Spans {
            self.spans += batch.num_rows();
            return;
        }
        let text =
            |name: &str, row: usize| batch.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
        let resolution = batch.column_by_name("resolution_s").unwrap().as_primitive::<Int32Type>();
        let count = batch.column_by_name("count").unwrap().as_primitive::<Int64Type>();
        let sum = batch.column_by_name("sum").unwrap().as_primitive::<arrow::datatypes::Float64Type>();
        let start = batch.column_by_name("window_start").unwrap();
        let start = start.as_primitive::<arrow::datatypes::TimestampNanosecondType>();
        for row in (0..batch.num_rows()).filter(|row| resolution.value(*row) == 10) {
            if text("signal", row) == "requests" {
                *self.requests.entry((text("version", row), start.value(row))).or_insert(0) += count.value(row);
            } else if text("metric", row) == "orders" {
                self.orders += sum.value(row) as i64;
            }
        }
    }
}

fn config() -> AggregateConfig {
    AggregateConfig { clock: Clock::new(|| NOW + 60 * NS_PER_S), ..AggregateConfig::default() }
}

fn open(dir: &Path) -> Arc<Store> {
    Store::open(StoreConfig { free_bytes_min: 0, ..StoreConfig::new(dir) }, &mut Registry::default()).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// Version, second of event time, and whether the client sends it twice.
    Request(u8, i64, bool),
    /// A point of a running total, some of them repeated.
    Orders(u8),
    Commit,
    /// The process ends without a commit, and another begins.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..3, 0i64..40, any::<bool>()).prop_map(|(version, second, twice)| Step::Request(version, second, twice)),
        3 => (0u8..4).prop_map(Step::Orders),
        1 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ]
}

/// The journal that the steps write, and what must be counted in the end.
fn script(steps: &[Step]) -> (Vec<Record>, Counts) {
    let (mut journal, mut expected, mut total) = (Vec::new(), Counts::default(), 0u64);
    for (at, step) in steps.iter().enumerate() {
        let received_ns = NOW + at as i64 * 1_000_000;
        match step {
            Step::Request(version, second, twice) => {
                let version = format!("v{version}");
                let end_ns = NOW - 40 * NS_PER_S + second * NS_PER_S;
                let value = spans("shop", &version, vec![span("/pay", end_ns, 1, 200); 2]);
                let copies = if *twice { 2 } else { 1 };
                for _ in 0..copies {
                    journal.push(record(Signal::Traces, received_ns, 2, value.clone(), Some(at as u128 + 1)));
                }
                expected.spans += 2;
                let start = end_ns.div_euclid(10 * NS_PER_S) * 10 * NS_PER_S;
                *expected.requests.entry((version, start)).or_insert(0) += 2;
            }
            Step::Orders(more) => {
                total += u64::from(*more);
                let point = number(received_ns, NOW - NS_PER_S, total as f64, vec![]);
                let value = metrics("shop", "v0", vec![sum("orders", 2, vec![point.clone(), point])]);
                journal.push(record(Signal::Metrics, received_ns, 2, value, None));
            }
            Step::Commit | Step::Crash => {}
        }
    }
    expected.orders = total as i64;
    (journal, expected)
}

/// A shard without its thread: opened, folded and committed by hand.
struct ByHand {
    store: Arc<Store>,
    shared: Arc<Shared>,
    committer: shipwake_store::ShardCommitter,
}

impl ByHand {
    fn start(dir: &Path, journal: &MemoryJournal) -> Self {
        let store = open(dir);
        let (committer, state) = recover(&store, 0, &config()).unwrap();
        let shared = Arc::new(Shared::new(&committer, Arc::new(journal.clone()), config().clock, state));
        store.register(0, shared.clone());
        ByHand { store, shared, committer }
    }

    /// Folds everything below `end`.
    fn fold(&self, journal: &[Record], end: usize) {
        let mut inner = self.shared.lock();
        while (inner.state.next_offset as usize) < end {
            let offset = inner.state.next_offset;
            inner.state.fold(&stored(offset, journal[offset as usize].clone()));
        }
    }

    fn commit(&mut self) {
        let cut = {
            let mut inner = self.shared.lock();
            let cut = Arc::new(Cut::take(&mut inner.state));
            inner.pending = Some(cut.clone());
            cut
        };
        let during = Counts::of(&self.store, &self.store.snapshot(&Table::ALL));
        cut.commit(&mut self.committer, NOW).unwrap();
        self.shared.publish(&self.committer);
        assert_eq!(Counts::of(&self.store, &self.store.snapshot(&Table::ALL)), during, "a commit changes no count");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    /// Requests, retries and running totals with commits and crashes at random places.
    #[test]
    fn crashes_and_commits_change_no_count(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let (journal, expected) = script(&steps);
        let memory = MemoryJournal::new(1);
        let mut shard = ByHand::start(dir.path(), &memory);
        let mut written = 0;
        for step in &steps {
            match step {
                Step::Request(_, _, twice) => written += if *twice { 2 } else { 1 },
                Step::Orders(_) => written += 1,
                Step::Commit => shard.commit(),
                Step::Crash => {
                    drop(shard);
                    shard = ByHand::start(dir.path(), &memory);
                }
            }
            shard.fold(&journal, written);
        }
        prop_assert_eq!(Counts::of(&shard.store, &shard.store.snapshot(&Table::ALL)), expected);
    }
}

#[test]
fn recent_cells_come_back_from_stored_windows() {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryJournal::new(1);
    let steps: Vec<Step> = (0..30).map(|n| Step::Request((n % 3) as u8, 40 - n, false)).collect();
    let (journal, _) = script(&steps);
    let query = HealthQuery {
        service: None,
        environment: None,
        from_ms: (NOW - 100 * NS_PER_S) / 1_000_000,
        to_ms: (NOW + 100 * NS_PER_S) / 1_000_000,
        step_s: 1,
        by_route: false,
    };
    let health = |shard: &ByHand, step_s, by_route| {
        let series = shard.store.health(&HealthQuery { step_s, by_route, ..query.clone() });
        let cells = series.iter().flat_map(|series| {
            series.cells.iter().map(|cell| {
                let release = series.release.version.to_string();
                (
                    release,
                    series.route.to_string(),
                    cell.t_ms,
                    cell.requests,
                    cell.errors,
                    cell.slots,
                    cell.duration.clone(),
                )
            })
        });
        cells.collect::<Vec<_>>()
    };
    let mut before = ByHand::start(dir.path(), &memory);
    before.fold(&journal, 20);
    before.commit();
    before.fold(&journal, 30);
    let seen = [health(&before, 1, false), health(&before, 10, false), health(&before, 10, true)];
    drop(before);
    let after = ByHand::start(dir.path(), &memory);
    after.fold(&journal, 30);
    reload_recent(&after.store, &after.shared).unwrap();
    assert_eq!([health(&after, 1, false), health(&after, 10, false), health(&after, 10, true)], seen);
    assert!(seen.iter().all(|cells| cells.iter().map(|cell| cell.3).sum::<u64>() == 60));
}

/// The whole stage, on its own threads.
struct Stage {
    store: Arc<Store>,
    registry: Registry,
    progress: Progress,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AggregateError>>,
}

impl Stage {
    fn start(dir: &Path, journal: &MemoryJournal, config: AggregateConfig) -> Self {
        Stage::over(dir, Arc::new(journal.clone()), config)
    }

    fn over(dir: &Path, journal: Arc<dyn Journal>, config: AggregateConfig) -> Self {
        let store = open(dir);
        let stop = CancellationToken::new();
        let mut registry = Registry::default();
        let stage = Aggregate::new(config, journal, store.clone(), &mut registry);
        Stage { store, registry, progress: stage.progress(), task: tokio::spawn(stage.run(stop.clone())), stop }
    }

    fn counts(&self) -> Counts {
        Counts::of(&self.store, &self.store.snapshot(&Table::ALL))
    }

    async fn wait_for(&self, what: &str, condition: impl Fn(&Stage) -> bool) {
        let limit = Duration::from_secs(10);
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            tokio::time::timeout(limit, wait).await.is_ok(),
            "waited in vain for {what}: {:?}",
            self.store.status()
        );
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The sum of a counter's samples.
fn counted(registry: &Registry, name: &str) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    let samples = text.lines().filter_map(|line| line.strip_prefix(&format!("{name}_total"))?.rsplit_once(' '));
    samples.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

/// A file where commits want to write their state: every commit fails until it is dropped.
struct Obstacle {
    place: PathBuf,
    away: PathBuf,
}

impl Obstacle {
    fn put(dir: &Path) -> Self {
        let (place, away) = (dir.join("state"), dir.join("state.away"));
        if place.exists() {
            std::fs::rename(&place, &away).unwrap();
        }
        std::fs::write(&place, b"in the way").unwrap();
        Obstacle { place, away }
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        std::fs::remove_file(&self.place).unwrap();
        if self.away.exists() {
            std::fs::rename(&self.away, &self.place).unwrap();
        }
    }
}

async fn append(journal: &MemoryJournal, records: &[Record]) {
    for record in records {
        journal.append(vec![record.clone()]).await.unwrap();
    }
}

fn requests(count: usize) -> (Vec<Record>, Counts) {
    let steps: Vec<Step> = (0..count).map(|n| Step::Request((n % 3) as u8, n as i64 % 40, n % 5 == 0)).collect();
    script(&steps)
}

/// A journal on a disk that takes several of a shard's ticks for each read.
struct SlowJournal(MemoryJournal);

#[async_trait]
impl Journal for SlowJournal {
    fn partitions(&self) -> u32 {
        self.0.partitions()
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError> {
        self.0.append(records).await
    }

    async fn read(&self, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Arc<Stored>>, JournalError> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.0.read(partition, from, max_bytes).await
    }

    fn end(&self, partition: u32) -> u64 {
        self.0.end(partition)
    }

    async fn truncate_before(&self, partition: u32, offset: u64) -> Result<(), JournalError> {
        self.0.truncate_before(partition, offset).await
    }

    async fn close(&self) -> Result<(), JournalError> {
        self.0.close().await
    }

    fn record_bytes_max(&self) -> usize {
        self.0.record_bytes_max()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_takes_longer_than_a_tick_ends() {
    let dir = tempfile::tempdir().unwrap();
    let journal = MemoryJournal::new(1);
    let (records, expected) = requests(50);
    append(&journal, &records).await;
    let stage = Stage::over(dir.path(), Arc::new(SlowJournal(journal)), config());
    stage.wait_for("all spans", |stage| stage.counts().spans == 100).await;
    assert_eq!(stage.counts(), expected);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_visible_at_once_and_survive_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let journal = MemoryJournal::new(1);
    let (records, expected) = requests(50);
    let stage = Stage::start(dir.path(), &journal, config());
    append(&journal, &records).await;
    stage.wait_for("all spans", |stage| stage.counts().spans == 100).await;
    assert_eq!(stage.counts(), expected);
    assert!(stage.store.status()[0].ready);
    stage.stop().await;

    let again = Stage::start(dir.path(), &journal, config());
    again.wait_for("registration", |stage| !stage.store.status().is_empty()).await;
    assert_eq!(again.counts(), expected);
    // A retry that comes after the restart is still known.
    append(&journal, &records[..2]).await;
    again.wait_for("the retries", |stage| stage.store.status()[0].deduplicated == 24).await;
    assert_eq!(again.counts(), expected);
    assert_eq!(again.store.releases().iter().map(|release| release.requests).sum::<u64>(), 100);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_keeps_rows_visible_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = MemoryJournal::new(1);
    let (records, expected) = requests(40);
    // Every batch of records makes a commit; the clock runs so that the pause before the next attempt passes.
    let config = AggregateConfig { commit_bytes: 1, clock: Clock::default(), ..AggregateConfig::default() };
    let stage = Stage::start(dir.path(), &journal, config);
    append(&journal, &records[..10]).await;
    let files = |stage: &Stage| stage.store.snapshot(&[]).shards.iter().map(|shard| shard.files.len()).sum::<usize>();
    stage.wait_for("a first commit", |stage| !stage.store.status().is_empty() && files(stage) > 0).await;

    let obstacle = Obstacle::put(dir.path());
    append(&journal, &records[10..]).await;
    stage.wait_for("hot rows", |stage| stage.counts() == expected).await;
    stage.wait_for("the problem to show", |stage| stage.store.status()[0].problem.is_some()).await;
    let before = files(&stage);
    drop(obstacle);
    stage.wait_for("a later commit", |stage| files(stage) > before).await;
    assert_eq!(stage.counts(), expected);
    assert_eq!(stage.store.status()[0].problem, None);
    stage.stop().await;
    assert_eq!(Stage::start(dir.path(), &journal, self::config()).finished_counts().await, expected);
}

impl Stage {
    /// What is there after the start, then stops.
    async fn finished_counts(self) -> Counts {
        self.wait_for("registration", |stage| !stage.store.status().is_empty()).await;
        let counts = self.counts();
        self.stop().await;
        counts
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_lost_its_place_takes_up_the_state_of_the_other_writer() {
    let dir = tempfile::tempdir().unwrap();
    let journal = MemoryJournal::new(1);
    let (records, expected) = requests(40);
    let stage = Stage::start(dir.path(), &journal, AggregateConfig { commit_bytes: usize::MAX, ..config() });
    append(&journal, &records).await;
    stage.wait_for("all spans", |stage| stage.counts().spans == 80).await;
    // Another writer commits the first half; the shard finds out at its own commit, on the way to its end.
    let (mut committer, state) = recover(&stage.store, 0, &config()).unwrap();
    let other = Shared::new(&committer, Arc::new(journal.clone()), config().clock, state);
    for (offset, record) in records.iter().enumerate().take(20) {
        other.lock().state.fold(&stored(offset as u64, record.clone()));
    }
    let cut = Cut::take(&mut other.lock().state);
    cut.commit(&mut committer, NOW).unwrap();
    stage.stop.cancel();
    let Stage { store, registry, task, .. } = stage;
    task.await.unwrap().unwrap();
    // What is folded a second time is one record all the same.
    let received: u64 = records.iter().map(|record| u64::from(record.header.records)).sum();
    assert_eq!(
        counted(&registry, "shipwake_records_stored") + counted(&registry, "shipwake_records_deduplicated"),
        received
    );
    drop((store, committer));
    assert_eq!(Stage::start(dir.path(), &journal, config()).finished_counts().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_stops_reading_when_nothing_can_be_committed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = MemoryJournal::new(1);
    let (records, _) = requests(400);
    let config = AggregateConfig {
        commit_bytes: 20_000,
        hot_bytes_max: 60_000,
        read_bytes: 1,
        clock: Clock::default(),
        ..AggregateConfig::default()
    };
    let stage = Stage::start(dir.path(), &journal, config);
    stage.wait_for("registration", |stage| !stage.store.status().is_empty()).await;
    let obstacle = Obstacle::put(dir.path());
    append(&journal, &records).await;
    let behind = |stage: &Stage| {
        let status = &stage.store.status()[0];
        let hot: u64 = status.memory_bytes.iter().take(3).map(|(_, bytes)| bytes).sum();
        hot >= 60_000 && status.next_offset < status.journal_end
    };
    stage.wait_for("the bound", behind).await;
    drop(obstacle);
    stage
        .wait_for("the end of the journal", |stage| {
            let status = &stage.store.status()[0];
            status.next_offset == status.journal_end
        })
        .await;
    assert_eq!(stage.counts().spans, 800);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_before_it_was_folded_is_said_and_the_rest_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = MemoryJournal::new(1);
    // Every fifth request is there twice: ten requests are twelve records of the journal.
    let (records, _) = requests(30);
    let stage = Stage::start(dir.path(), &journal, config());
    append(&journal, &records[..12]).await;
    stage.wait_for("ten requests", |stage| stage.counts().spans == 20).await;
    assert_eq!(stage.progress.losses(), Vec::<String>::new());
    stage.stop().await;

    append(&journal, &records[12..]).await;
    journal.lose_before(0, 18);
    let again = Stage::start(dir.path(), &journal, config());
    again.wait_for("what is left", |stage| stage.counts().spans == 50).await;
    let losses = again.progress.losses();
    assert!(losses.len() == 1 && losses[0].contains("6 requests of shard 0 are lost"), "{losses:?}");
    assert!(losses[0].contains("offsets 12 to 17"), "{losses:?}");
    assert!(again.store.status()[0].ready);
    again.stop().await;

    let once_more = Stage::start(dir.path(), &journal, config());
    once_more.wait_for("the same", |stage| stage.counts().spans == 50).await;
    assert_eq!(once_more.progress.losses(), Vec::<String>::new(), "the gap is behind the committed position");
    once_more.stop().await;
}
