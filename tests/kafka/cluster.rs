//! Several processes that share a journal on Kafka and a store in a bucket: whoever is killed, stopped or added, what was
//! acknowledged is counted once.
//!
//! What happens is drawn from a seed, which is printed; `SHIPWAKE_SEED` repeats it. The judge is a process of its own that takes
//! everything over when the others have ended, and so sees what they have left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::broker::Kafka;
use crate::bucket::{Bucket, CREDENTIALS};
use crate::harness::{Shipwake, Start, eventually, free_ports, spawn_with};
use crate::load::{Load, judge};

pub const PARTITIONS: u32 = 4;
/// Records a second: every fault falls into appends, folds and commits, and two cores hold six processes and a broker.
pub const RATE: &str = "1000/s";
/// Ten times that.
const BURST: &str = "10000/s";
/// A process that is gone is out of the group after six seconds; the partitions are moved and their state is read then. Some ten
/// seconds in all; more on a machine that is busy with other tests.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);
/// The session of a member of the group, and what its loss takes to be seen.
const SESSION: Duration = Duration::from_secs(9);

/// For `make torture`: how many times as long.
fn longer() -> u32 {
    std::env::var("SHIPWAKE_CLUSTER_LONGER").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Kafka, a bucket, and a folder for everything else.
pub struct Site {
    kafka: Kafka,
    bucket: Bucket,
    folder: tempfile::TempDir,
}

impl Site {
    pub fn start() -> Self {
        Self::on(Kafka::one())
    }

    fn on(kafka: Kafka) -> Self {
        Site { kafka, bucket: Bucket::start(), folder: tempfile::tempdir().expect("a folder") }
    }

    /// Starts a process with some roles.
    pub fn process(&self, roles: &str) -> Shipwake {
        self.process_with(roles, free_ports(), &[])
    }

    /// The same on these ports, with more options.
    pub fn process_with(&self, roles: &str, ports: [u16; 3], more: &[&str]) -> Shipwake {
        let data = self.folder.path().join(ports[2].to_string());
        let journal = format!("kafka://{}/journal?create=true", self.kafka.bootstrap());
        let store = format!("s3://bucket/shop?endpoint=http://127.0.0.1:{}", self.bucket.port);
        let partitions = PARTITIONS.to_string();
        let options = [
            ["--roles", roles],
            ["--journal", &journal],
            ["--store", &store],
            ["--partitions", &partitions],
            ["--commit-seconds", "1"],
        ];
        let options = [options.as_flattened(), more].concat();
        spawn_with(&Start { data: &data, options: &options, ports: Some(ports) }, &CREDENTIALS)
    }

    /// The same, and waits until it is ready.
    pub async fn ready(&self, roles: &str) -> Shipwake {
        let process = self.process(roles);
        process.wait_ready().await;
        process
    }

    /// Writes a file; gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a folder");
        path.to_str().expect("text").to_owned()
    }

    /// Where the bucket has the objects below a path of the store.
    pub fn objects(&self, path: &str) -> PathBuf {
        self.bucket.folder().join("shop").join(path)
    }

    /// Flips a bit in every second segment of a table, in the bucket itself; gives their paths in the store.
    pub fn damage_segments(&self, table: &str) -> Vec<String> {
        let root = self.bucket.folder().join("shop");
        let segments = self.segments(table);
        let damaged = segments.iter().step_by(2).map(|path| {
            let mut bytes = std::fs::read(path).expect("an object");
            let middle = bytes.len() / 3;
            bytes[middle] ^= 0x11;
            std::fs::write(path, bytes).expect("damaged");
            path.strip_prefix(&root).expect("below it").to_str().expect("text").to_owned()
        });
        damaged.collect()
    }

    /// The segments of a table that are in the bucket, by name.
    pub fn segments(&self, table: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.bucket.folder().join("shop").join("data").join(table)];
        let mut segments = Vec::new();
        while let Some(folder) = folders.pop() {
            // There is no folder before the first segment.
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "parquet") {
                    segments.push(path);
                }
            }
        }
        segments.sort();
        segments
    }

    pub fn oracle(&self) -> PathBuf {
        self.folder.path().join("oracle")
    }

    /// Stops a process (SIGSTOP) between the state and the manifest of a commit: when it goes on, the manifest is the first that
    /// it does, whatever it is told meanwhile.
    async fn stop_in_a_commit(&self, process: &Shipwake) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let shards = shards_of(process).await;
            let is_between = || shards.iter().any(|shard| self.is_between_state_and_manifest(*shard));
            let look = Instant::now();
            while !is_between() && look.elapsed() < Duration::from_secs(3) {
                tokio::task::yield_now().await;
            }
            signal(process, "-STOP");
            // What was on its way to the server has arrived by then.
            tokio::time::sleep(Duration::from_millis(300)).await;
            if is_between() {
                return;
            }
            signal(process, "-CONT");
            assert!(Instant::now() < deadline, "it is never in the middle of a commit\n{}", process.log());
        }
    }

    fn is_between_state_and_manifest(&self, shard: u32) -> bool {
        let newest = |folder: &str, ending: &str| {
            let folder = self.bucket.folder().join("shop").join(folder).join(shard.to_string());
            let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            names.filter_map(|name| name.strip_suffix(ending)?.parse::<u64>().ok()).max()
        };
        newest("state", ".bin") > newest("manifest", ".json")
    }

    /// A beat of a storm of brokers: whoever leads a partition is killed; at the next beat it is started again, and when it is back, it is
    /// the next one's turn. So that one of three is away at the most; the storm of processes goes on meanwhile.
    fn next_broker(&mut self, killed: Option<usize>, partition: u32) -> Option<usize> {
        if let Some(broker) = killed {
            self.kafka.start_broker(broker);
            return None;
        }
        let leader = self.kafka.leader("journal", partition).filter(|_| self.kafka.is_ready())?;
        self.kafka.kill(leader);
        Some(leader)
    }

    /// Ends whoever folds, and lets one process read what is there.
    pub async fn judge(&self, aggregates: Vec<Shipwake>, oracle: &Path) {
        for mut aggregate in aggregates {
            let asked = Instant::now();
            signal(&aggregate, "-TERM");
            let (status, took) = (aggregate.wait_exit().await, asked.elapsed());
            let in_time = status.success() && took < Duration::from_secs(10);
            assert!(in_time, "{status} after {took:?}\n{}", aggregate.log());
        }
        let judge_process = self.ready("all").await;
        wait_shards(&[&judge_process], PARTITIONS).await;
        judge(&judge_process, oracle);
    }
}

/// The numbers of the shards that run in a process.
async fn shards_of(process: &Shipwake) -> Vec<u32> {
    let text = reqwest::get(format!("{}/metrics", process.ui())).await.expect("an answer").text().await.expect("text");
    let numbers = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("shipwake_unfolded_requests{shard=\"")?;
        rest.split('"').next()?.parse().ok()
    });
    numbers.collect()
}

/// How many shards run in a process; none where it does not answer.
pub async fn shards(process: &Shipwake) -> u32 {
    let answer = reqwest::Client::new().get(format!("{}/metrics", process.ui())).timeout(Duration::from_secs(2));
    let Ok(answer) = answer.send().await else { return 0 };
    let text = answer.text().await.unwrap_or_default();
    let sample = text.lines().find_map(|line| line.strip_prefix("shipwake_shards "));
    sample.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn signal(process: &Shipwake, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.pid().to_string()]).status().expect("kill exists");
    assert!(sent.success());
}

/// Waits until the processes run so many shards together.
pub async fn wait_shards(processes: &[&Shipwake], expected: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut found = 0;
        for process in processes {
            found += shards(process).await;
        }
        if found == expected {
            return;
        }
        let logs: Vec<String> = processes.iter().map(|process| process.log()).collect();
        assert!(Instant::now() < deadline, "{found} shards run, and not {expected}:\n{}", logs.join("\n---\n"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until records are folded by these processes, from now on.
pub async fn wait_folding(processes: &[&Shipwake]) {
    let stored = async || {
        let mut stored = 0.0;
        for process in processes {
            stored += process.metric("shipwake_records_stored_total", "").await;
        }
        stored
    };
    let before = stored().await;
    eventually("records are folded", || async { (stored().await > before + 1000.0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_replaced_by_the_others_and_every_record_is_counted_once() {
    let site = Site::start();
    let (first, second) = (site.ready("ingest").await, site.ready("ingest").await);
    let (one, two) = (site.ready("aggregate").await, site.ready("aggregate").await);
    wait_shards(&[&one, &two], PARTITIONS).await;
    eventually("the partitions are shared out", || async {
        (shards(&one).await == PARTITIONS / 2 && shards(&two).await == PARTITIONS / 2).then_some(())
    })
    .await;
    let load = Load::start_at(&format!("{},{}", first.grpc(), second.grpc()), &site.oracle(), RATE);
    wait_folding(&[&one]).await;

    // Whoever folds dies in the middle of it.
    two.kill();
    let killed = Instant::now();
    wait_shards(&[&one], PARTITIONS).await;
    let took = killed.elapsed();
    println!("the partitions of a killed process were taken over within {took:?}");
    assert!(took < TAKEN_OVER_WITHIN, "{took:?}\n{}", one.log());
    wait_folding(&[&one]).await;

    // Whoever takes telemetry dies in the middle of it; its senders go on with the other.
    second.kill();
    wait_folding(&[&one]).await;
    let two = site.ready("aggregate").await;
    eventually("the partitions are shared out again", || async { (shards(&two).await > 0).then_some(()) }).await;
    wait_folding(&[&two]).await;
    load.stop();
    site.judge(vec![one, two], &site.oracle()).await;
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_stopped_and_comes_back_is_fenced_and_counts_nothing_twice() {
    let site = Site::start();
    let ingest = site.ready("ingest").await;
    let (one, two) = (site.ready("aggregate").await, site.ready("aggregate").await);
    wait_shards(&[&one, &two], PARTITIONS).await;
    let load = Load::start_at(&ingest.grpc(), &site.oracle(), RATE);
    for round in 0..longer() {
        // In turn, so that each takes over from the other.
        let (stopped, other) = if round % 2 == 0 { (&two, &one) } else { (&one, &two) };
        wait_folding(&[stopped]).await;
        site.stop_in_a_commit(stopped).await;
        let since = Instant::now();
        wait_shards(&[other], PARTITIONS).await;
        assert!(since.elapsed() < TAKEN_OVER_WITHIN, "{:?}", since.elapsed());
        wait_folding(&[other]).await;
        // Longer than a minute when there is time for it: also what the server and Kafka keep for a process is gone then.
        let stop_for = if longer() > 1 { Duration::from_secs(60) } else { SESSION };
        tokio::time::sleep(stop_for.saturating_sub(since.elapsed())).await;
        signal(stopped, "-CONT");
        eventually("it learns that it is not the owner any more", || async {
            let log = stopped.log();
            (log.contains("ended=Dropped") || log.contains("ended=Fenced")).then_some(())
        })
        .await;
        // The commit that it was stopped in goes on, and finds another's manifest in its place.
        eventually("its commit is refused", || async {
            stopped.log().contains("another writer has committed").then_some(())
        })
        .await;
        eventually("it is given partitions again", || async { (shards(stopped).await > 0).then_some(()) }).await;
        wait_shards(&[&one, &two], PARTITIONS).await;
    }
    load.stop();
    site.judge(vec![one, two], &site.oracle()).await;
}

/// A client that leaves says so to its broker, and would wait for an answer.
#[tokio::test(flavor = "multi_thread")]
async fn processes_end_in_time_while_the_broker_does_not_answer() {
    let site = Site::start();
    let (ingest, aggregate) = (site.ready("ingest").await, site.ready("aggregate").await);
    let both = site.ready("all").await;
    wait_shards(&[&aggregate, &both], PARTITIONS).await;
    let load = Load::start_at(&ingest.grpc(), &site.oracle(), RATE);
    wait_folding(&[&aggregate]).await;
    wait_folding(&[&both]).await;
    load.stop();
    site.kafka.stall(0);
    let ends: Vec<_> = [ingest, aggregate, both]
        .map(|process| tokio::task::spawn_blocking(move || (process.log(), process.terminate())))
        .into();
    for end in ends {
        let (log, (status, took)) = end.await.expect("joined");
        assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}\n{log}");
    }
    site.kafka.go_on(0);
    // What they could not say to the broker costs nothing but the time until they are missed.
    site.judge(Vec::new(), &site.oracle()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_die_under_several_processes_cost_no_record_and_no_process() {
    let mut site = Site::on(Kafka::three());
    let ingest = site.ready("ingest").await;
    let (one, two) = (site.ready("aggregate").await, site.ready("aggregate").await);
    wait_shards(&[&one, &two], PARTITIONS).await;
    let load = Load::start_at(&ingest.grpc(), &site.oracle(), RATE);
    for round in 0..2 * longer() {
        wait_folding(&[&one]).await;
        wait_folding(&[&two]).await;
        // Every broker in turn: one of them leads partitions of the journal, one keeps the group.
        let broker = (round % 3) as usize;
        site.kafka.kill(broker);
        wait_shards(&[&one, &two], PARTITIONS).await;
        wait_folding(&[&one, &two]).await;
        site.kafka.start_broker(broker);
        site.kafka.wait_ready();
    }
    load.stop();
    site.judge(vec![one, two], &site.oracle()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_processes_that_come_and_go_counts_every_record_once_and_is_caught_up_with() {
    let seed = std::env::var("SHIPWAKE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("SHIPWAKE_SEED={seed}");
    let mut random: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    // The long form has three brokers, of which those that lead are killed besides.
    let mut site = if longer() > 1 { Site::on(Kafka::three()) } else { Site::start() };
    let ingest = site.ready("ingest").await;
    let mut aggregates = Vec::new();
    for _ in 0..3 {
        aggregates.push(site.process("aggregate"));
    }
    wait_shards(&aggregates.iter().collect::<Vec<_>>(), PARTITIONS).await;
    let load = Load::start_at(&ingest.grpc(), &site.oracle(), RATE);
    storm(&mut site, &mut aggregates, &mut random).await;
    let over = Instant::now();
    let all: Vec<&Shipwake> = aggregates.iter().collect();
    wait_shards(&all, PARTITIONS).await;
    println!("less than ten seconds behind {:?} after the storm", caught_up(&all, over).await);
    let mut oracles = vec![site.oracle()];
    if longer() > 1 {
        oracles.push(site.oracle().with_extension("burst"));
        let burst = Load::start_at(&ingest.grpc(), &oracles[1], BURST);
        tokio::time::sleep(Duration::from_secs(30)).await;
        burst.stop();
        println!("and {:?} after thirty seconds of {BURST} more", caught_up(&all, Instant::now()).await);
    }
    load.stop();
    for (at, oracle) in oracles.iter().enumerate() {
        let ending = if at == 0 { std::mem::take(&mut aggregates) } else { Vec::new() };
        site.judge(ending, oracle).await;
    }
}

/// Every five seconds a process that folds is added, killed or ended in order; in the long form brokers are killed besides.
async fn storm(site: &mut Site, aggregates: &mut Vec<Shipwake>, random: &mut rand::rngs::StdRng) {
    let lasts = Duration::from_secs(40) * if longer() > 1 { 8 } else { 1 };
    let begun = Instant::now();
    let (mut killed_broker, mut killed_brokers) = (None, 0);
    while begun.elapsed() < lasts {
        let next = Instant::now() + Duration::from_secs(5);
        let what = match aggregates.len() {
            0 | 1 => 0,
            4.. => 1,
            _ => random.random_range(0..3),
        };
        if what == 0 {
            aggregates.push(site.process("aggregate"));
        } else {
            let victim = aggregates.swap_remove(random.random_range(0..aggregates.len()));
            match what {
                1 => victim.kill(),
                _ => drop(tokio::task::spawn_blocking(move || victim.terminate()).await.expect("joined")),
            }
        }
        if longer() > 1 {
            killed_broker = site.next_broker(killed_broker, random.random_range(0..PARTITIONS));
            killed_brokers += u32::from(killed_broker.is_some());
        }
        // The beat of the storm, not a wait for anything.
        tokio::time::sleep_until(next.into()).await;
    }
    if let Some(broker) = killed_broker {
        site.kafka.start_broker(broker);
    }
    if longer() > 1 {
        site.kafka.wait_ready();
        println!("{killed_brokers} times the broker that led a partition was killed");
    }
}

/// Waits until the processes are less than ten seconds of the load behind; how long after `over` that is, a minute at the most.
async fn caught_up(processes: &[&Shipwake], over: Instant) -> Duration {
    // At the load's rate, so many requests of fifty records come in ten seconds.
    const REQUESTS_OF_TEN_SECONDS: f64 = 200.0;
    loop {
        let mut unfolded = 0.0;
        for process in processes {
            unfolded += process.metric("shipwake_unfolded_requests", "").await;
        }
        if unfolded < REQUESTS_OF_TEN_SECONDS {
            return over.elapsed();
        }
        assert!(over.elapsed() < Duration::from_secs(60), "{unfolded} requests are not folded");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
