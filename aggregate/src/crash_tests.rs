//! The stage over the embedded journal and a real store: copies of both directories, taken while everything runs, are what
//! a crash leaves. A start from any of them counts every answered record once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use shipwake_journal::{EmbeddedJournal, Journal, Record, embedded};
use shipwake_model::Signal;
use shipwake_store::{HotRows, Store, StoreConfig, Table};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::requests::*;
use crate::{Aggregate, AggregateConfig, AggregateError};

const PARTITIONS: u32 = 2;
const COPIES: usize = 6;
const REQUESTS_BETWEEN: usize = 40;

struct Site {
    store: Arc<Store>,
    journal: Arc<EmbeddedJournal>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AggregateError>>,
}

impl Site {
    fn start(dir: &Path) -> Self {
        let config = embedded::Config {
            partitions: PARTITIONS,
            segment_bytes: 32 << 10,
            retention: Duration::ZERO,
            ..embedded::Config::new(dir.join("journal"))
        };
        let journal = Arc::new(EmbeddedJournal::open(config, &mut Registry::default()).unwrap());
        let config = StoreConfig { free_bytes_min: 0, ..StoreConfig::new(dir.join("store")) };
        let store = Store::open(config, &mut Registry::default()).unwrap();
        let config = AggregateConfig { commit_bytes: 30_000, ..AggregateConfig::default() };
        let stop = CancellationToken::new();
        let stage = Aggregate::new(config, journal.clone(), store.clone(), &mut Registry::default());
        Site { task: tokio::spawn(stage.run(stop.clone())), store, journal, stop }
    }

    fn rows(&self, table: Table) -> Vec<arrow::array::RecordBatch> {
        let snapshot = self.store.snapshot(&[table]);
        let stored = snapshot.files(table).flat_map(|file| self.store.read_segment(file, None, 0..i64::MAX).unwrap());
        stored.chain(snapshot.hot(table).map(|rows: &HotRows| rows.to_batch(None))).collect()
    }

    fn spans(&self) -> usize {
        self.rows(Table::Spans).iter().map(arrow::array::RecordBatch::num_rows).sum()
    }

    /// Requests in windows of ten seconds.
    fn requests(&self) -> i64 {
        use arrow::array::AsArray;
        let mut requests = 0;
        for batch in self.rows(Table::Windows) {
            let column = |name: &str| batch.column_by_name(name).unwrap();
            let (signal, resolution) = (column("signal").as_string::<i32>(), column("resolution_s"));
            let resolution = resolution.as_primitive::<arrow::datatypes::Int32Type>();
            let count = column("count").as_primitive::<arrow::datatypes::Int64Type>();
            for row in 0..batch.num_rows() {
                if signal.value(row) == "requests" && resolution.value(row) == 10 {
                    requests += count.value(row);
                }
            }
        }
        requests
    }

    async fn caught_up(&self) {
        let limit = Duration::from_secs(10);
        let done = || {
            let status = self.store.status();
            status.len() == PARTITIONS as usize && status.iter().all(|shard| shard.next_offset == shard.journal_end)
        };
        let wait = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(limit, wait).await.is_ok(), "never caught up: {:?}", self.store.status());
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        self.journal.close().await.unwrap();
    }
}

/// Copies a directory. Files that are removed meanwhile are not needed.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Manifests before what they name, so that the copy has everything its newest manifest needs.
    entries.sort_by_key(|path| !path.ends_with("manifest"));
    for path in entries {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            // Removed since it was listed: not needed.
            let _ = std::fs::copy(&path, &target);
        }
    }
}

fn request(n: usize, received_ns: i64) -> Record {
    let end_ns = received_ns - (n as i64 % 30) * 1_000_000_000;
    let value = spans("shop", &format!("v{}", n % 3), vec![span("/pay", end_ns, 3, 200); 2]);
    Record { partition: n as u32 % PARTITIONS, ..record(Signal::Traces, received_ns, 2, value, Some(n as u128 + 1)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_from_what_a_crash_leaves_counts_every_answered_record_once() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(&dir.path().join("live"));
    let received_ns = crate::Clock::default().now_ns();
    let mut answered = Vec::new();
    for round in 0..COPIES {
        for n in round * REQUESTS_BETWEEN..(round + 1) * REQUESTS_BETWEEN {
            site.journal.append(vec![request(n, received_ns)]).await.unwrap();
        }
        answered.push((round + 1) * REQUESTS_BETWEEN);
        let (live, image) = (dir.path().join("live"), dir.path().join(format!("copy-{round}")));
        copy(&live.join("store"), &image.join("store"));
        copy(&live.join("journal"), &image.join("journal"));
    }
    site.caught_up().await;
    assert_eq!((site.spans(), site.requests()), (2 * answered[COPIES - 1], 2 * answered[COPIES - 1] as i64));
    site.stop().await;

    for (round, answered) in answered.into_iter().enumerate() {
        let crashed = Site::start(&dir.path().join(format!("copy-{round}")));
        // The client of the last request missed the answer and sends it again.
        let again = request(answered - 1, received_ns + 1);
        crashed.journal.append(vec![again]).await.unwrap();
        crashed.caught_up().await;
        assert_eq!((crashed.spans(), crashed.requests()), (2 * answered, 2 * answered as i64), "copy {round}");
        crashed.stop().await;
        let after = Site::start(&dir.path().join(format!("copy-{round}")));
        after.caught_up().await;
        assert_eq!(
            (after.spans(), after.requests()),
            (2 * answered, 2 * answered as i64),
            "copy {round}, stopped once"
        );
        after.stop().await;
    }
}
