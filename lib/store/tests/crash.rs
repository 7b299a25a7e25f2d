//! Failures at every step of a commit: a reopened shard is always as before the commit or as after it, never between.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::failing::{Failing, Fault};
use common::{Lent, SECOND, START, config, log_commit, open, rows, scratch};
use prometheus_client::registry::Registry;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shipwake_store::{Commit, HotRows, SegmentFile, SegmentId, ShardCommitter, Store, StoreError, Table};

/// What can be seen of a shard: position, state, and the rows of each live segment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    next_offset: u64,
    state: Vec<u8>,
    segments: BTreeMap<SegmentId, u64>,
}

fn open_failing(dir: &Path) -> (Arc<Store>, Arc<Failing>) {
    let mut failing = None;
    let store = Store::open_with(config(dir), &mut Registry::default(), |local| {
        let wrapped = Failing::new(local);
        failing = Some(wrapped.clone());
        wrapped
    });
    (store.expect("opens"), failing.expect("was wrapped"))
}

/// Opens the directory as a new process would, and reads every byte of what it shows.
fn seen(dir: &Path) -> Seen {
    let store = open(dir);
    let (_committer, recovered) = store.open_shard(0).expect("the shard opens after any failure");
    let seen = match recovered {
        None => Seen::default(),
        Some(recovered) => Seen {
            next_offset: recovered.next_offset,
            state: recovered.state.to_vec(),
            segments: recovered.files.iter().map(|file| (file.id, rows_of(&store, file))).collect(),
        },
    };
    drop((_committer, store));
    let findings = shipwake_store::check(dir).findings;
    assert!(findings.is_empty(), "{findings:?}");
    seen
}

fn rows_of(store: &Store, file: &SegmentFile) -> u64 {
    let batches = store.read_segment(file, None, i64::MIN..i64::MAX).expect("a live segment can be read");
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    assert_eq!(rows, file.rows, "{}", file.id);
    rows
}

/// A commit with rows of three tables that drops `drop`.
fn wide_commit(next_offset: u64, drop: Vec<SegmentId>) -> Commit {
    let mut commit = log_commit(next_offset, 20);
    commit.rows.push((Table::Spans, vec![HotRows::Chunk(Arc::new(rows::spans(START, 10)))]));
    commit.rows.push((Table::Windows, vec![HotRows::Batch(rows::windows(START + 100 * SECOND, 10, 5))]));
    commit.drop = drop;
    commit
}

/// Fails the second commit at each of its steps in the given way and gives what a restart sees, until it fails no more.
fn each_step(applied: bool, crash: bool, check: impl Fn(u64, Result<(), StoreError>, &Seen, &Seen, &Seen)) -> u64 {
    for step in 0.. {
        let dir = scratch();
        let (store, failing) = open_failing(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        let first = committer.commit(wide_commit(1, Vec::new())).expect("commits");
        let before = Seen {
            next_offset: 1,
            state: b"state at 1".to_vec(),
            segments: first.iter().map(|file| (file.id, file.rows)).collect(),
        };
        let mut after = before.clone();
        (after.next_offset, after.state) = (2, b"state at 2".to_vec());
        after.segments.remove(&first[0].id);
        after.segments.extend(first.iter().map(|file| (SegmentId { seq: 1, ..file.id }, file.rows)));

        failing.plan(Fault { step, applied, crash });
        let result = committer.commit(wide_commit(2, vec![first[0].id])).map(|_| ());
        let failed = failing.has_failed();
        drop((store, committer, first));
        check(step, result, &before, &after, &seen(dir.path()));
        if !failed {
            return step;
        }
    }
    unreachable!("a commit has an end")
}

#[test]
fn a_crash_at_any_step_of_a_commit_leaves_the_state_before_or_after_it() {
    for applied in [false, true] {
        let steps = each_step(applied, true, |step, result, before, after, seen| {
            let expected = if result.is_ok() { seen == after } else { seen == before || seen == after };
            assert!(expected, "step {step}, applied {applied}: {result:?} and {seen:?}");
        });
        assert!(steps >= 5, "three segments, a state and a manifest are at least five steps, not {steps}");
    }
}

#[test]
fn an_error_that_is_not_a_crash_publishes_nothing_and_the_commit_can_be_tried_again() {
    let steps = each_step(false, false, |step, result, before, after, seen| {
        let expected = if result.is_ok() { after } else { before };
        assert_eq!(seen, expected, "step {step}: {result:?}");
    });
    assert!(steps >= 5);
    for step in 0..steps {
        let dir = scratch();
        let (store, failing) = open_failing(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        failing.plan(Fault { step, applied: false, crash: false });
        let mut files = committer.commit(wide_commit(1, Vec::new()));
        if files.is_err() {
            assert!(committer.files().is_empty());
            files = committer.commit(wide_commit(2, Vec::new()));
        }
        assert_eq!(files.expect("the second try works").len(), 3);
        drop((store, committer));
        assert_eq!(seen(dir.path()).segments.len(), 3);
    }
}

#[test]
fn a_manifest_whose_answer_was_lost_is_in_doubt_and_a_restart_finds_it() {
    each_step(true, false, |step, result, before, after, seen| match result {
        Ok(()) => assert_eq!(seen, after),
        Err(StoreError::InDoubt { seq: 1, .. }) => assert_eq!(seen, after, "step {step}"),
        Err(_) => assert_eq!(seen, before, "step {step}"),
    });
    let dir = scratch();
    let (store, failing) = open_failing(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    failing.plan(Fault { step: 3, applied: true, crash: false });
    let error = committer.commit(log_commit(1, 10)).expect_err("segment, blooms, state, manifest: step 3 is the last");
    assert!(matches!(error, StoreError::InDoubt { shard: 0, seq: 0, .. }), "{error}");
    assert!(!error.retryable());
    let error = committer.commit(log_commit(2, 10)).expect_err("the committer does not go on over it");
    assert!(matches!(error, StoreError::Fenced { seq: 0, .. }), "{error}");
    drop((store, committer));
    assert_eq!(seen(dir.path()).next_offset, 1);
}

/// Random commits, drops, failures and restarts against a model; the seed names a failing run.
#[test]
fn random_histories_with_failures_match_a_model() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let dir = scratch();
        let mut model = Seen::default();
        for _restart in 0..4 {
            let (store, failing) = open_failing(dir.path());
            let (mut committer, recovered) = store.open_shard(0).expect("opens");
            assert_eq!(recovered.map_or(0, |recovered| recovered.next_offset), model.next_offset, "seed {seed}");
            let alternatives = one_life(&mut random, &failing, &mut committer, model);
            drop((store, committer));
            let seen = seen(dir.path());
            assert!(alternatives.contains(&seen), "seed {seed}: {seen:?} is none of {alternatives:?}");
            model = seen;
        }
    }
}

/// Commits until a failure that ends the life of the process; gives the states that a restart may find.
fn one_life(random: &mut StdRng, failing: &Failing, committer: &mut ShardCommitter, mut model: Seen) -> Vec<Seen> {
    for _commit in 0..random.random_range(1..80) {
        let next_offset = model.next_offset + random.random_range(1..5);
        let drop: Vec<SegmentId> = model.segments.keys().copied().filter(|_| random.random_bool(0.2)).collect();
        let rows = random.random_range(0..3);
        let commit = Commit { drop: drop.clone(), ..log_commit(next_offset, rows) };
        let fault = random.random_bool(0.1);
        if fault {
            let (applied, crash) = (random.random_bool(0.5), random.random_bool(0.7));
            failing.plan(Fault { step: random.random_range(0..4), applied, crash });
        }
        let seq = committer.next_seq();
        let mut after = model.clone();
        after.segments.retain(|id, _| !drop.contains(id));
        (after.next_offset, after.state) = (next_offset, format!("state at {next_offset}").into_bytes());
        match committer.commit(commit) {
            Ok(files) => {
                after.segments = files.iter().map(|file| (file.id, file.rows)).collect();
                let added = files.iter().filter(|file| !model.segments.contains_key(&file.id)).count();
                assert_eq!(added, usize::from(rows > 0));
                model = after;
            }
            Err(_) => {
                if rows > 0 {
                    after.segments.insert(SegmentId { shard: 0, seq, table: Table::Logs, part: 0 }, rows as u64);
                }
                return vec![model, after];
            }
        }
    }
    vec![model]
}

#[test]
fn random_histories_with_failures_and_compaction_lose_and_double_no_row() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let dir = scratch();
        let (mut next_offset, mut rows, mut jobs) = (0, 0, 0);
        for _restart in 0..4 {
            let (store, failing) = open_failing(dir.path());
            let (mut committer, recovered) = store.open_shard(0).expect("opens");
            let files = recovered.map_or_else(|| Arc::from([]), |recovered| recovered.files);
            let lent = Lent::register(&store, files);
            let mut possible = vec![(next_offset, rows)];
            for _commit in 0..random.random_range(1..40) {
                if random.random_bool(0.15) {
                    let (applied, crash) = (random.random_bool(0.5), random.random_bool(0.7));
                    failing.plan(Fault { step: random.random_range(0..12), applied, crash });
                }
                // Some windows are over by then, others fill.
                let now_ns = START + next_offset as i64 * SECOND + random.random_range(0..3000) * SECOND;
                jobs += store.compact_now(now_ns).unwrap_or(0);
                let more = random.random_range(0..3);
                let (now, after) = ((next_offset, rows), (next_offset + 100, rows + more as u64));
                match committer.commit(log_commit(after.0, more)) {
                    Ok(files) => lent.publish(files),
                    Err(_) => {
                        possible = vec![now, after];
                        break;
                    }
                }
                (next_offset, rows) = after;
                possible = vec![after];
            }
            drop((store, committer, lent));
            let seen = seen(dir.path());
            let found = (seen.next_offset, seen.segments.values().sum::<u64>());
            assert!(possible.contains(&found), "seed {seed}: {found:?} is none of {possible:?}");
            (next_offset, rows) = found;
        }
        assert!(jobs > 0, "seed {seed} has compacted nothing");
    }
}

/// The first of the two is published with its compaction at every step of failing; what a restart sees is whole.
#[test]
fn a_crash_at_any_step_of_a_compaction_or_its_commit_leaves_what_was_there_or_what_replaces_it() {
    for (applied, crash) in [(false, true), (true, true), (false, false)] {
        for step in 0.. {
            let dir = scratch();
            let (store, failing) = open_failing(dir.path());
            let (mut committer, _) = store.open_shard(0).expect("opens");
            let mut files = Arc::from([]);
            for offset in 1..=5 {
                files = committer.commit(wide_commit(offset, Vec::new())).expect("commits");
            }
            let lent = Lent::register(&store, files);
            failing.plan(Fault { step, applied, crash });
            let compacted = store.compact_now(START + 7200 * SECOND);
            let committed = committer.commit(log_commit(6, 7));
            let failed = failing.has_failed();
            drop((store, committer, lent));
            let seen = seen(dir.path());
            let rows = |table: Table| -> u64 {
                seen.segments.iter().filter(|(id, _)| id.table == table).map(|(_, rows)| rows).sum()
            };
            let logs = if seen.next_offset == 6 { 107 } else { 100 };
            assert_eq!((rows(Table::Logs), rows(Table::Spans), rows(Table::Windows)), (logs, 50, 25), "step {step}");
            if !failed {
                assert!(compacted.expect("compacts") >= 3 && committed.is_ok());
                assert_eq!(seen.segments.len(), 4, "three that were compacted and the new one: {seen:?}");
                assert!(step >= 8, "files of three segments, a new one, state and manifest: not {step} steps");
                break;
            }
        }
    }
}

#[test]
fn left_overs_of_a_crashed_write_are_removed_at_the_next_start() {
    let dir = scratch();
    {
        let (store, failing) = open_failing(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        committer.commit(log_commit(1, 5)).expect("commits");
        failing.plan(Fault { step: 1, applied: true, crash: true });
        committer.commit(log_commit(2, 5)).expect_err("crashes after its segment");
        std::fs::write(dir.path().join("tmp/17"), b"half a segment").expect("writes");
    }
    let segments = || std::fs::read_dir(dir.path().join("data/logs")).expect("lists").count();
    assert_eq!(segments(), 4);
    assert_eq!(seen(dir.path()).next_offset, 1);
    assert_eq!((segments(), std::fs::read_dir(dir.path().join("tmp")).expect("lists").count()), (2, 0));
}

/// A shard's thread opens it inside its runtime, whose tasks have a budget of 128 steps: more files than that to remove
/// must not stop it for ever.
#[test]
fn a_shard_with_hundreds_of_orphans_opens_inside_a_runtime() {
    const ORPHANS: usize = 300;
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(10, 10)).expect("commits");
    drop((committer, store));
    let orphans = dir.path().join("data/logs");
    for number in 0..ORPHANS {
        std::fs::write(orphans.join(format!("0-{:020}-0-1.parquet", 1_000 + number)), b"x").expect("a file");
    }
    let store = open(dir.path());
    let (opened, done) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let recovered = runtime.block_on(async { store.open_shard(0).map(|(_, recovered)| recovered.is_some()) });
        opened.send(recovered.expect("opens")).expect("the test waits");
    });
    assert!(done.recv_timeout(std::time::Duration::from_secs(60)).expect("opening ends"));
    assert_eq!(std::fs::read_dir(&orphans).expect("lists").count(), 2, "the segment of the commit and its blooms stay");
}
