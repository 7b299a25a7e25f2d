//! The aggregator as one of several, over a real store and a group that the test plays.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use shipwake_journal::member::Group;
use shipwake_journal::{Journal, Member, MemoryJournal, Order, Record};
use shipwake_model::Signal;
use shipwake_store::{HotRows, Store, StoreConfig, Table};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::requests::*;
use crate::{Aggregate, AggregateConfig, AggregateError, Progress};

const LIMIT: Duration = Duration::from_secs(20);

struct Process {
    store: Arc<Store>,
    journal: MemoryJournal,
    progress: Progress,
    group: Group,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AggregateError>>,
    /// Whoever commits has it.
    commits: Arc<Mutex<()>>,
    _dir: tempfile::TempDir,
}

fn set(shards: &[u32]) -> BTreeSet<u32> {
    shards.iter().copied().collect()
}

fn request(n: u64, partition: u32) -> Record {
    let received_ns = crate::Clock::default().now_ns();
    let value = spans("shop", "v1", vec![span("/pay", received_ns, 3, 200); 2]);
    Record { partition, ..record(Signal::Traces, received_ns, 2, value, Some(u128::from(n) + 1)) }
}

impl Process {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { free_bytes_min: 0, ..StoreConfig::new(dir.path()) };
        let store = Store::open(config, &mut Registry::default()).unwrap();
        let journal = MemoryJournal::new(2);
        let config = AggregateConfig { commit_interval: Duration::from_secs(600), ..AggregateConfig::default() };
        let stage = Aggregate::new(config, Arc::new(journal.clone()), store.clone(), &mut Registry::default());
        let (member, group) = Member::new();
        let (progress, stop, commits) = (stage.progress(), CancellationToken::new(), stage.commit_turn.clone());
        let task = tokio::spawn(stage.run_as_member(member, stop.clone()));
        Process { store, journal, progress, group, stop, task, commits, _dir: dir }
    }

    async fn order(&self, order: Order) {
        self.group.orders.send(order).await.unwrap();
    }

    async fn append(&self, from: u64, to: u64, partition: u32) {
        for n in from..to {
            self.journal.append(vec![request(n, partition)]).await.unwrap();
        }
    }

    /// The shards that readers see.
    fn seen(&self) -> Vec<u32> {
        self.store.status().iter().map(|status| status.shard).collect()
    }

    fn spans(&self, shard: u32) -> usize {
        let snapshot = self.store.snapshot(&[Table::Spans]);
        let of_shard = snapshot.shards.iter().filter(|found| found.shard == shard);
        let rows = of_shard.flat_map(|found| {
            let stored = found.files.iter().filter(|file| file.table == Table::Spans).map(|file| file.rows as usize);
            stored.chain(found.hot.iter().flat_map(|(_, rows)| rows.iter().map(HotRows::num_rows))).collect::<Vec<_>>()
        });
        rows.sum()
    }

    async fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = || (self.store.status(), self.progress.shards());
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "waited in vain for {what}: {:?}", seen());
    }

    async fn let_go(&mut self) -> u32 {
        tokio::time::timeout(LIMIT, self.group.let_go.recv()).await.expect("in time").expect("the member is there")
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_group_gives_is_folded_and_what_it_takes_back_is_committed_first() {
    let mut process = Process::start();
    process.append(0, 10, 0).await;
    process.append(10, 20, 1).await;
    process.order(Order::Take(set(&[0, 1]))).await;
    process.wait_for("both shards", |process| process.spans(0) == 20 && process.spans(1) == 20).await;

    process.order(Order::GiveUp(set(&[1]))).await;
    assert_eq!(process.let_go().await, 1);
    assert_eq!((process.seen(), process.progress.shards()), (vec![0], vec![(0, None)]));
    let (committer, recovered) = process.store.open_shard(1).unwrap();
    assert_eq!(recovered.unwrap().next_offset, 10, "it was committed before it was let go");
    drop(committer);

    process.append(20, 30, 1).await;
    process.order(Order::Take(set(&[1]))).await;
    process.wait_for("the shard that came back", |process| process.spans(1) == 40).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_commit_that_takes_too_long_does_not_keep_the_program_from_ending() {
    let mut process = Process::start();
    process.append(0, 10, 0).await;
    process.order(Order::Take(set(&[0]))).await;
    process.wait_for("the shard", |process| process.spans(0) == 20).await;
    // Another commit is at it, on a disk or a server that takes its time.
    let (commits, (held, is_held)) = (process.commits.clone(), tokio::sync::oneshot::channel());
    let (go_on, goes_on) = std::sync::mpsc::sync_channel::<()>(1);
    let other = std::thread::spawn(move || {
        let _turn = commits.lock().unwrap();
        held.send(()).unwrap();
        let _ = goes_on.recv();
    });
    is_held.await.unwrap();
    let asked = Instant::now();
    process.stop.cancel();
    (&mut process.task).await.unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    assert_eq!(process.let_go().await, 0, "whoever goes on has not to wait for it");
    let (_, recovered) = process.store.open_shard(0).unwrap();
    assert_eq!(recovered.unwrap().next_offset, 0, "what was not committed is folded again from the journal");
    drop(go_on);
    other.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_not_shown_any_more_and_not_committed() {
    let process = Process::start();
    process.append(0, 10, 0).await;
    process.order(Order::Take(set(&[0]))).await;
    process.wait_for("the shard", |process| process.spans(0) == 20).await;
    process.order(Order::Drop(set(&[0]))).await;
    process.wait_for("its end", |process| process.seen().is_empty() && process.progress.shards().is_empty()).await;
    let (committer, recovered) = process.store.open_shard(0).unwrap();
    assert_eq!(recovered.unwrap().next_offset, 0, "nothing but the taking over was committed");
    drop(committer);
    process.order(Order::Take(set(&[0]))).await;
    process.wait_for("the same records again", |process| process.spans(0) == 20).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_another_process_has_taken_over_drops_its_state_and_is_taken_back_while_the_group_wants_it() {
    let process = Process::start();
    process.append(0, 10, 0).await;
    process.order(Order::Take(set(&[0]))).await;
    process.wait_for("the shard", |process| process.spans(0) == 20).await;
    let (mut other, _) = process.store.open_shard(0).unwrap();
    other.take_over(crate::Clock::default().now_ns()).unwrap();
    let seq = other.seq();
    // Another commit than the last one finds out that somebody else was there.
    process.order(Order::GiveUp(set(&[0]))).await;
    process.order(Order::Take(set(&[0]))).await;
    let is_back = |process: &Process| {
        let snapshot = process.store.snapshot(&[]);
        snapshot.shards.first().is_some_and(|shard| shard.seq > seq && shard.writer != other.writer())
    };
    process.wait_for("the shard again", |process| is_back(process) && process.spans(0) == 20).await;
    assert!(other.take_over(0).is_err(), "now the other one is fenced");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_cannot_be_read_keeps_no_other_from_running_and_says_why() {
    let process = Process::start();
    process.append(0, 10, 1).await;
    // A manifest of nobody's.
    std::fs::create_dir_all(process._dir.path().join("manifest/0")).unwrap();
    let path = process._dir.path().join(format!("manifest/0/{:020}.json", 0));
    std::fs::write(&path, b"nonsense").unwrap();
    process.order(Order::Take(set(&[0, 1]))).await;
    process.wait_for("the other shard", |process| process.spans(1) == 20).await;
    process
        .wait_for("the reason", |process| {
            let shards = process.progress.shards();
            shards.iter().any(|(shard, why)| *shard == 0 && why.as_ref().is_some_and(|why| why.contains("damaged")))
        })
        .await;
    std::fs::remove_file(&path).unwrap();
    process.wait_for("the shard that was mended", |process| process.seen() == [0, 1]).await;
    process.end().await;
}
