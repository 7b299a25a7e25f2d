//! The store in a bucket of a real S3 server (versitygw), and behind a proxy that lets requests go wrong: every row once, whatever
//! happened to an answer.

#[path = "common/bucket.rs"]
mod bucket;
mod common;
#[path = "common/proxy.rs"]
mod proxy;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow::array::AsArray;
use bucket::{Bucket, CREDENTIALS, versitygw};
use common::failing::Failing;
use common::{Lent, SECOND, START, log_commit, rows};
use prometheus_client::registry::Registry;
use proxy::{Fault, Proxy};
use shipwake_store::{Candidates, Commit, Finding, HotRows, Severity, Store, StoreConfig, StoreError, Table, Wanted};

/// Set in the process that has the credentials in its environment.
const INSIDE: &str = "SHIPWAKE_S3_TEST";

/// A server with an empty bucket, and a proxy in front of it.
struct Server {
    bucket: Bucket,
    proxy: Proxy,
}

/// Runs `test` in a process of its own with credentials in its environment, where it gets a server; `None` in the first process.
fn server(test: &str) -> Option<Server> {
    if std::env::var_os(INSIDE).is_none() {
        versitygw();
        let status = Command::new(std::env::current_exe().expect("is known"))
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1")
            .envs(CREDENTIALS)
            .status()
            .expect("starts");
        assert!(status.success(), "{test} failed with a server");
        return None;
    }
    let bucket = Bucket::start();
    Some(Server { proxy: Proxy::start(bucket.port), bucket })
}

impl Server {
    fn url(&self) -> String {
        format!("s3://bucket/shop/store?endpoint=http://127.0.0.1:{}", self.proxy.port)
    }

    fn config(&self) -> StoreConfig {
        StoreConfig { url: Some(self.url()), drop_grace_ns: 0, ..StoreConfig::new("not-used") }
    }

    fn try_open(&self) -> Result<Arc<Store>, StoreError> {
        Store::open(self.config(), &mut Registry::default())
    }

    fn follow(&self) -> Result<Arc<Store>, StoreError> {
        Store::follow(self.config(), &mut Registry::default())
    }

    fn open(&self) -> Arc<Store> {
        self.try_open().expect("opens")
    }

    /// The names that the store has for so many processes that begin at once.
    fn seen_ids(&self, processes: usize) -> Vec<u128> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..processes).map(|_| scope.spawn(|| self.open().id())).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    /// Position and rows of shard 0, as a process that starts now sees them.
    fn seen(&self) -> (u64, u64) {
        let store = self.open();
        let (_committer, recovered) = store.open_shard(0).expect("opens");
        let recovered = recovered.expect("has commits");
        let rows = |file| -> u64 {
            let batches = store.read_segment(file, None, i64::MIN..i64::MAX).expect("reads");
            batches.iter().map(|batch| batch.num_rows() as u64).sum()
        };
        (recovered.next_offset, recovered.files.iter().map(rows).sum())
    }
}

#[test]
fn a_store_in_a_bucket_commits_compacts_searches_and_goes_on_after_a_restart() {
    let Some(server) = server("a_store_in_a_bucket_commits_compacts_searches_and_goes_on_after_a_restart") else {
        return;
    };
    {
        let store = server.open();
        let (mut committer, recovered) = store.open_shard(0).expect("opens");
        assert!(recovered.is_none());
        for offset in 1..=5 {
            committer.commit(log_commit(offset, 20)).expect("commits");
        }
        let lent = Lent::register(&store, committer.files());
        assert!(store.compact_now(START + 3600 * SECOND).expect("compacts") > 0);
        let now = Commit { commit_ns: START + 3600 * SECOND, ..log_commit(6, 0) };
        let files = committer.commit(now).expect("commits");
        lent.publish(files.clone());
        assert_eq!((files.len(), files[0].rows, files[0].table), (1, 100, Table::Logs));
        assert!(store.candidates(&files[0], &Wanted::text("nowhere")).is_none());
        assert!(!store.candidates(&files[0], &Wanted::text("placed")).is_none());
    }
    assert_eq!(server.seen(), (6, 100));
    // Inside a runtime, as a shard opens it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = server.open();
        let (mut committer, _) = store.open_shard(0).expect("opens");
        committer.commit(log_commit(7, 5)).expect("commits");
    });
    assert_eq!(server.seen(), (7, 105));
}

/// A word that one line of many has: of an object of some megabytes the footer and a few pages are read, in a few requests.
#[test]
fn a_search_reads_a_few_ranges_of_an_object() {
    let Some(server) = server("a_search_reads_a_few_ranges_of_an_object") else { return };
    {
        let store = server.open();
        let (mut committer, _) = store.open_shard(0).expect("opens");
        let chunk = |n: usize| HotRows::Chunk(Arc::new(rows::logs_numbered(START + 600 * SECOND, n * 5000, 5000)));
        let rows = vec![(Table::Logs, (0..40).map(chunk).collect())];
        let lent = Lent::register(&store, committer.commit(Commit { rows, ..log_commit(1, 0) }).expect("commits"));
        assert_eq!(store.compact_now(START + 3600 * SECOND).expect("compacts"), 1);
        lent.publish(committer.commit(log_commit(2, 0)).expect("commits"));
    }
    let config = server.config();
    let mut counting = None;
    let wrap = |inner| -> Arc<dyn object_store::ObjectStore> { counting.insert(Failing::new(inner)).clone() };
    let store = Store::open_with(config, &mut Registry::default(), wrap).expect("opens");
    let counting = counting.expect("it was wrapped");
    let (_committer, recovered) = store.open_shard(0).expect("opens");
    let file = &recovered.expect("has commits").files[0];
    assert!(file.rows == 200_000 && file.index.is_some());
    let taken = || (counting.gets.load(Ordering::Relaxed), counting.bytes.load(Ordering::Relaxed));
    let before = taken();
    let started = Instant::now();
    let Candidates::Rows(found) = store.candidates(file, &Wanted::text("after 123 ms")) else {
        panic!("these words are in the index")
    };
    let asked = taken();
    let reader = store.open_segment(file, &["service"]).expect("opens");
    let group = reader.groups().iter().rposition(|group| group.first_row <= u64::from(found[0])).expect("is there");
    let row = found[0] as usize - reader.groups()[group].first_row as usize;
    let mut bodies = Vec::new();
    let each = |batch: arrow::array::RecordBatch| {
        bodies.push(batch.column_by_name("body").expect("was asked for").as_string::<i32>().value(0).to_owned());
        ControlFlow::Continue(())
    };
    let columns = ["service", "time", "body", "trace_id", "attributes", "line"];
    let one = row..row + 1;
    reader.read(group, &columns, Some(std::slice::from_ref(&one)), each).expect("reads");
    let read = taken();
    println!(
        "of {} bytes and {} beside them: {} bytes in {} requests to find it, {} bytes in {} requests to read it; {:.0} ms",
        file.bytes,
        file.index.as_ref().map_or(0, |side| side.bytes) + file.blooms.as_ref().map_or(0, |side| side.bytes),
        asked.1 - before.1,
        asked.0 - before.0,
        read.1 - asked.1,
        read.0 - asked.0,
        started.elapsed().as_secs_f64() * 1e3
    );
    assert!(bodies.len() == 1 && bodies[0].contains("after 123 ms"), "{bodies:?}");
    assert!((read.1 - asked.1) * 8 < file.bytes && read.0 - asked.0 < 16, "{asked:?} {read:?} of {}", file.bytes);
}

#[test]
fn a_reader_follows_a_bucket_and_leaves_nothing_there() {
    let Some(server) = server("a_reader_follows_a_bucket_and_leaves_nothing_there") else { return };
    let objects = |server: &Server| walk(&server.bucket.folder());
    let before = objects(&server);
    let error = server.follow().expect_err("there is no store");
    assert!(matches!(error, StoreError::NotYet { .. }), "{error}");
    assert_eq!(objects(&server), before);
    let store = server.open();
    let (mut committer, _) = store.open_shard(3).expect("opens");
    committer.commit(log_commit(4, 6)).expect("commits");
    let before = objects(&server);
    let reader = server.follow().expect("it is there now");
    let follower = reader.follower();
    follower.look_for_shards().expect("lists");
    assert_eq!(follower.listed_shards(), [3]);
    follower.look(3).expect("looks");
    committer.commit(log_commit(5, 6)).expect("commits");
    follower.look(3).expect("looks");
    let newest = follower.newest(3).expect("known");
    assert_eq!((newest.seq, newest.next_offset, newest.writer), (1, 5, committer.writer()));
    let rows: usize = (newest.files.iter())
        .flat_map(|file| reader.read_segment(file, None, i64::MIN..i64::MAX).expect("reads"))
        .map(|batch| batch.num_rows())
        .sum();
    assert_eq!(rows, 12);
    drop((store, committer));
    let after = objects(&server);
    assert!(after.len() > before.len(), "the writer wrote");
    follower.look(3).expect("looks");
    assert_eq!(objects(&server), after, "the reader did not");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn of_many_writers_one_commits_each_position() {
    let Some(server) = server("of_many_writers_one_commits_each_position") else { return };
    for round in 0..5 {
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let store = server.open();
                let (committer, recovered) = store.open_shard(0).expect("opens");
                assert_eq!(recovered.map_or(0, |recovered| recovered.next_offset), round);
                (store, committer)
            })
            .collect();
        let commit = move |(store, mut committer): (Arc<Store>, shipwake_store::ShardCommitter)| {
            let result = committer.commit(log_commit(round + 1, 3)).map(|_| ());
            drop((committer, store));
            result
        };
        let threads: Vec<_> = writers.into_iter().map(|writer| std::thread::spawn(move || commit(writer))).collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let fenced = results.iter().filter(|result| matches!(result, Err(StoreError::Fenced { .. }))).count();
        assert_eq!((results.iter().filter(|result| result.is_ok()).count(), fenced), (1, 7), "{results:?}");
    }
    assert_eq!(server.seen(), (5, 15));
}

#[test]
fn a_lost_answer_a_lost_request_and_a_busy_server_count_no_row_twice() {
    let Some(server) = server("a_lost_answer_a_lost_request_and_a_busy_server_count_no_row_twice") else { return };
    let store = server.open();
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let mut rows = 0;
    let mut offset = 0;
    for path in ["data/logs", "state/0", "manifest/0"] {
        for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::SlowDown, Fault::Late, Fault::Conflict] {
            let before = server.proxy.happened();
            server.proxy.plan(path, fault);
            let mut tries = 0;
            offset += 1;
            loop {
                tries += 1;
                assert!(tries < 5, "{path} {fault:?}");
                match committer.commit(log_commit(offset, 2)) {
                    Ok(_) => break,
                    Err(StoreError::Fenced { .. }) => {
                        // Ours came to be after all.
                        let (again, recovered) = store.open_shard(0).expect("opens");
                        committer = again;
                        if recovered.expect("has commits").next_offset == offset {
                            break;
                        }
                    }
                    Err(error) => {
                        assert!(matches!(error, StoreError::Io { .. }), "{path} {fault:?}: {error}");
                        server.proxy.deliver(server.bucket.port);
                    }
                }
            }
            server.proxy.deliver(server.bucket.port);
            rows += 2;
            assert_eq!(server.proxy.happened(), before + 1, "{path} {fault:?}");
            assert_eq!(server.seen(), (offset, rows), "{path} {fault:?}");
        }
    }
}

/// 409: two created an object at the same moment, as far as the server can tell. There is nobody else here, so nobody may be taken for a
/// writer before us.
#[test]
fn a_conflict_over_an_object_that_is_not_there_is_no_lost_race() {
    let Some(server) = server("a_conflict_over_an_object_that_is_not_there_is_no_lost_race") else { return };
    server.proxy.plan("SUPERBLOCK", Fault::Conflict);
    let store = server.open();
    assert!(place(&server, "SUPERBLOCK").exists());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let mut offset = 0;
    for path in ["data/logs", "state/0", "manifest/0"] {
        for conflicts in [1, 2] {
            (0..conflicts).for_each(|_| server.proxy.plan(path, Fault::Conflict));
            offset += 1;
            committer.commit(log_commit(offset, 2)).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
    assert_eq!((server.proxy.happened(), server.seen()), (10, (offset, 2 * offset)));
    // A second name has a number more.
    let numbers = |path: &PathBuf| path.file_stem().map_or(0, |name| name.to_string_lossy().split('-').count());
    let renamed = |path: &PathBuf| [2, 6].contains(&numbers(path));
    assert!(!walk(&server.bucket.folder()).iter().any(renamed), "their own names were free");
}

#[test]
fn a_server_that_lets_an_object_be_created_twice_is_refused_in_words() {
    let Some(server) = server("a_server_that_lets_an_object_be_created_twice_is_refused_in_words") else { return };
    server.open();
    server.proxy.plan("probe/", Fault::Lie);
    let error = server.try_open().expect_err("refuses").to_string();
    assert!(error.contains("If-None-Match") && error.contains("s3://bucket/shop/store"), "{error}");
}

#[test]
fn whoever_takes_a_shard_over_fences_the_writer_before_and_says_where_it_is_reached() {
    let Some(server) = server("whoever_takes_a_shard_over_fences_the_writer_before_and_says_where_it_is_reached")
    else {
        return;
    };
    let open = |owner: &str| {
        let url = format!("s3://bucket/shop/store?endpoint=http://127.0.0.1:{}", server.bucket.port);
        let config = StoreConfig { url: Some(url), advertise: Some(owner.to_owned()), ..StoreConfig::new("not-used") };
        Store::open(config, &mut Registry::default()).expect("opens")
    };
    let (first, second) = (open("http://node-1:4400"), open("http://node-2:4400"));
    let (mut old, _) = first.open_shard(0).expect("opens");
    assert!(old.take_over(START).is_err(), "there is nothing to take over yet");
    old.commit(log_commit(1, 10)).expect("commits");
    let (mut new, recovered) = second.open_shard(0).expect("opens");
    new.take_over(START).expect("takes over");
    assert_eq!((recovered.expect("has a commit").seq, new.seq()), (0, Some(1)));
    let error = old.commit(log_commit(2, 10)).expect_err("it is fenced");
    assert!(matches!(error, StoreError::Fenced { seq: 1, .. }), "{error}");
    assert!(matches!(old.take_over(START), Err(StoreError::Fenced { .. })), "for good");
    // The same state serves both manifests, and is kept for as long as one of them may be read.
    for offset in 2..6 {
        new.commit(log_commit(offset, 10)).expect("commits");
    }
    assert_eq!(server.seen(), (5, 50));
    let path = object_store::path::Path::from(format!("manifest/0/{:020}.json", 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let manifest = runtime.block_on(async {
        let found = second.object_store().get_opts(&path, Default::default()).await.expect("is there");
        found.bytes().await.expect("is readable")
    });
    assert!(String::from_utf8_lossy(&manifest).contains(r#""owner":"http://node-2:4400""#));
}

/// The place of an object of the store behind the server.
fn place(server: &Server, path: &str) -> PathBuf {
    server.bucket.folder().join("shop/store").join(path)
}

#[test]
fn a_superblock_that_is_damaged_or_gone_is_made_again_by_one_of_many_and_readers_go_on() {
    let Some(server) = server("a_superblock_that_is_damaged_or_gone_is_made_again_by_one_of_many_and_readers_go_on")
    else {
        return;
    };
    let id = {
        let store = server.open();
        let (mut committer, _) = store.open_shard(0).expect("opens");
        committer.commit(log_commit(1, 10)).expect("commits");
        store.id()
    };
    let superblock = place(&server, "SUPERBLOCK");
    let good = std::fs::read(&superblock).expect("is there");
    let with = |bits: &[usize]| {
        let mut bytes = good.clone();
        bits.iter().for_each(|at| bytes[*at] ^= 1);
        Some(bytes)
    };
    for (damage, keeps_id) in [(with(&[40]), true), (with(&[40, 100]), false), (Some(Vec::new()), false), (None, false)]
    {
        match &damage {
            Some(bytes) => std::fs::write(&superblock, bytes).expect("writes"),
            None => std::fs::remove_file(&superblock).expect("removes"),
        }
        let findings = shipwake_store::check_bucket(&server.url()).expect("the server answers").findings;
        let is_named =
            |finding: &Finding| finding.path.ends_with("SUPERBLOCK") && finding.severity == Severity::Warning;
        assert!(findings.len() == 1 && findings.iter().all(is_named), "{findings:?}");

        // Whoever only reads changes nothing, and has all there is.
        let reader = server.follow().expect("reads");
        let follower = reader.follower();
        follower.look(0).expect("looks");
        assert_eq!(follower.newest(0).expect("known").files[0].rows, 10);
        assert_eq!(std::fs::read(&superblock).ok(), damage);

        // Several processes begin at the same moment; they agree on what is there afterwards.
        let before = server.seen_ids(8);
        let stored = server.open().id();
        assert!(before.iter().all(|found| *found == stored), "{before:?}, and {stored} is stored");
        assert!(!keeps_id || stored == id);
        assert_eq!(shipwake_store::check_bucket(&server.url()).expect("the server answers").findings, []);
        assert_eq!(server.seen(), (1, 10));
        std::fs::write(&superblock, &good).expect("writes");
    }
}

#[test]
fn a_shard_of_several_processes_whose_manifests_are_gone_waits_for_them_and_says_so() {
    let Some(server) = server("a_shard_of_several_processes_whose_manifests_are_gone_waits_for_them_and_says_so")
    else {
        return;
    };
    let config = StoreConfig { advertise: Some("http://node-1:4400".to_owned()), ..server.config() };
    let open = || Store::open(config.clone(), &mut Registry::default()).expect("opens");
    {
        let store = open();
        for shard in [0, 1] {
            let (mut committer, _) = store.open_shard(shard).expect("opens");
            for offset in 1..=3 {
                committer.commit(log_commit(offset, 10)).expect("commits");
            }
        }
    }
    let (folder, kept) = (place(&server, "manifest/0"), server.bucket.folder().join("kept"));
    let nonsense = || {
        std::fs::create_dir_all(&folder).expect("a folder");
        walk(&kept).iter().for_each(|path| {
            std::fs::write(folder.join(path.file_name().expect("a name")), "<html>try again</html>").expect("writes");
        });
    };
    std::fs::rename(&folder, &kept).expect("moves");
    for damage in [&(|| ()) as &dyn Fn(), &nonsense] {
        damage();
        let objects = walk(&server.bucket.folder());
        let store = open();
        let said = store.open_shard(0).expect_err("it is refused").to_string();
        assert!(said.contains("s3://bucket/shop/store/manifest/0") && said.contains("restore manifest/0/"), "{said}");
        assert!(store.open_shard(1).expect("the others go on").1.is_some_and(|found| found.next_offset == 3));
        let follower = server.follow().expect("reads").follower();
        follower.look_for_shards().expect("lists");
        assert_eq!(follower.listed_shards(), [0, 1]);
        follower.look(0).expect_err("nothing of it can be read");
        follower.look(1).expect("reads");
        // Named, and not taken for a shard that there is not.
        assert_eq!(follower.known_shards(), [0, 1]);
        let trouble = follower.trouble(0).expect("it is said");
        assert!(trouble.contains("manifest/0") && follower.trouble(1).is_none(), "{trouble}");
        let findings = shipwake_store::check_bucket(&server.url()).expect("the server answers").findings;
        let is_named = |finding: &Finding| {
            finding.severity == Severity::Error
                && finding.to_string().contains("/manifest/0")
                && finding.what.contains("move")
        };
        assert!(findings.len() == 1 && findings.iter().all(is_named), "{findings:?}");
        assert_eq!(walk(&server.bucket.folder()), objects, "nothing was written or removed");

        // It goes on in the same process when they are back.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        for path in walk(&kept) {
            std::fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("copies");
        }
        let (mut committer, recovered) = store.open_shard(0).expect("opens");
        assert_eq!(recovered.expect("has commits").next_offset, 3);
        committer.take_over(START + 10 * SECOND).expect("takes over");
        follower.look(0).expect("reads");
        assert!(follower.trouble(0).is_none() && follower.newest(0).is_some_and(|newest| newest.files.len() == 3));
        drop((committer, store));
        std::fs::remove_dir_all(&folder).expect("removes");
    }
    // What was moved away is given up.
    std::fs::remove_dir_all(place(&server, "state/0")).expect("removes");
    assert!(open().open_shard(0).expect("opens").1.is_none());
}

/// Where one process has the bucket and its journal, that is short: it does what it does in a folder.
#[test]
fn a_shard_of_one_process_whose_manifests_are_gone_begins_anew_and_keeps_its_files() {
    let Some(server) = server("a_shard_of_one_process_whose_manifests_are_gone_begins_anew_and_keeps_its_files") else {
        return;
    };
    {
        let store = server.open();
        let (mut committer, _) = store.open_shard(0).expect("opens");
        for offset in 1..=3 {
            committer.commit(log_commit(offset, 10)).expect("commits");
        }
    }
    for path in walk(&place(&server, "manifest/0")) {
        std::fs::write(path, "nonsense").expect("writes");
    }
    let objects = walk(&server.bucket.folder());
    let store = server.open();
    let (mut committer, recovered) = store.open_shard(0).expect("opens");
    assert!(recovered.is_none() && committer.next_seq() == 3);
    committer.commit(log_commit(1, 4)).expect("commits");
    drop((committer, store));
    assert_eq!(server.seen(), (1, 4));
    let kept = walk(&server.bucket.folder());
    assert!(objects.iter().all(|object| kept.contains(object)), "a file is gone");
}
