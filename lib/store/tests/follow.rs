//! Whoever follows a store sees what its writer has published, commit by commit, and never anything else.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{config, log_commit, open, scratch};
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use shipwake_store::{Commit, Follower, SegmentFile, SegmentId, ShardCommitter, Store, StoreError};

fn follow(dir: &std::path::Path) -> (Arc<Store>, Follower) {
    let store = Store::follow(config(dir), &mut Registry::default()).expect("the store is there");
    let follower = store.follower();
    (store, follower)
}

fn ids(files: &[SegmentFile]) -> BTreeSet<SegmentId> {
    files.iter().map(|file| file.id).collect()
}

fn newest(follower: &Follower) -> (u64, u64, BTreeSet<SegmentId>) {
    let newest = follower.newest(0).expect("the shard has commits");
    (newest.seq, newest.next_offset, ids(&newest.files))
}

fn written(committer: &ShardCommitter, next_offset: u64) -> (u64, u64, BTreeSet<SegmentId>) {
    (committer.next_seq() - 1, next_offset, ids(&committer.files()))
}

/// A commit that drops the oldest segment that is live.
fn dropping(committer: &ShardCommitter, offset: u64) -> Commit {
    let oldest = committer.files().first().map(|file| file.id);
    Commit { drop: oldest.into_iter().collect(), ..log_commit(offset, 2) }
}

#[test]
fn a_follower_takes_no_lock_writes_nothing_and_reads_what_the_writer_published() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(5, 7)).expect("commits");
    let (reader, follower) = follow(dir.path());
    assert_eq!(reader.id(), store.id());
    assert_eq!(follower.listed_shards(), [] as [u32; 0]);
    follower.look_for_shards().expect("lists");
    assert_eq!((follower.listed_shards(), follower.known_shards()), (vec![0], vec![]));
    assert!(follower.newest(0).is_none(), "nothing was looked at yet");
    follower.look(0).expect("looks");
    assert_eq!(follower.known_shards(), [0]);
    assert_eq!(newest(&follower), written(&committer, 5));
    let files = follower.newest(0).expect("known").files.clone();
    let rows: usize = files
        .iter()
        .flat_map(|file| reader.read_segment(file, None, i64::MIN..i64::MAX).expect("reads"))
        .map(|batch| batch.num_rows())
        .sum();
    assert_eq!(rows, 7);
    let error = reader.open_shard(0).expect_err("a reader writes nothing");
    assert!(error.to_string().contains("for reading"), "{error}");
}

#[test]
fn a_commit_that_an_owner_speaks_of_is_looked_for_and_those_before_it_stay_known_for_a_while() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(1, 2)).expect("commits");
    let (_reader, follower) = follow(dir.path());
    follower.look(0).expect("looks");
    for offset in 2..=5 {
        committer.commit(log_commit(offset, 2)).expect("commits");
    }
    assert_eq!(newest(&follower).0, 0);
    follower.look_until(0, 3).expect("looks");
    assert_eq!(newest(&follower), written(&committer, 5));
    let at = |seq| follower.at(0, seq).map(|published| published.next_offset);
    assert_eq!((at(0), at(3), at(4), at(5)), (Some(1), Some(4), Some(5), None));
    follower.look_until(0, 9).expect("looks, and does not find it");
    assert_eq!(newest(&follower), written(&committer, 5));
}

#[test]
fn who_was_away_while_manifests_were_removed_begins_at_the_newest_snapshot() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(1, 1)).expect("commits");
    let (_reader, follower) = follow(dir.path());
    follower.look(0).expect("looks");
    for offset in 2..=200 {
        let commit = if offset % 3 == 0 { dropping(&committer, offset) } else { log_commit(offset, 1) };
        committer.commit(commit).expect("commits");
    }
    assert!(!dir.path().join("manifest/0/00000000000000000001.json").exists(), "it was replaced by newer ones");
    // The one after the newest that is known is not there: only a look at the folder shows what is.
    follower.look_until(0, 199).expect("looks");
    assert_eq!(newest(&follower), written(&committer, 200));
    // Without being told of it, it is found in time too.
    let (_again, idle) = follow(dir.path());
    idle.look(0).expect("looks");
    for offset in 201..=400 {
        committer.commit(log_commit(offset, 1)).expect("commits");
    }
    let looks = (1..=100).find(|_| {
        idle.look(0).expect("looks");
        newest(&idle).1 == 400
    });
    assert!(looks.is_some_and(|looks| looks <= 60), "{looks:?}");
}

#[test]
fn another_writer_is_seen_as_another_and_a_segment_that_is_gone_is_told_from_a_damaged_one() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut first, _) = store.open_shard(0).expect("opens");
    first.commit(log_commit(1, 2)).expect("commits");
    let (reader, follower) = follow(dir.path());
    follower.look(0).expect("looks");
    let before = follower.newest(0).expect("known");
    let (mut second, _) = store.open_shard(0).expect("opens");
    second.commit(log_commit(2, 2)).expect("commits");
    follower.look(0).expect("looks");
    let after = follower.newest(0).expect("known");
    assert_eq!((before.writer, after.writer), (first.writer(), second.writer()));
    assert_ne!(before.writer, after.writer);

    let file = &after.files[0];
    std::fs::remove_file(dir.path().join(&*file.path)).expect("was there");
    let error = reader.read_segment(file, None, i64::MIN..i64::MAX).expect_err("it is gone");
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    assert!(matches!(reader.open_segment(file, &[]), Err(StoreError::Gone { .. })));
}

#[test]
fn a_damaged_manifest_is_named_and_what_was_known_stays() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(1, 2)).expect("commits");
    let (_reader, follower) = follow(dir.path());
    follower.look(0).expect("looks");
    let known = newest(&follower);
    std::fs::write(dir.path().join("manifest/0/00000000000000000001.json"), b"{\"shipwake_manifest\":2")
        .expect("writes");
    let error = follower.look(0).expect_err("it is cut short");
    assert!(error.to_string().contains("00000000000000000001.json"), "{error}");
    assert_eq!(newest(&follower), known);
}

#[derive(Clone, Debug)]
enum Step {
    Commit,
    Drop,
    Look,
    LookUntilNewest,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Commit),
        2 => Just(Step::Drop),
        2 => Just(Step::Look),
        1 => Just(Step::LookUntilNewest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whenever it looks, a follower has exactly the list of the newest commit; and what it has of a commit before is the list that
    /// the writer had then.
    #[test]
    fn a_follower_has_the_writers_list_of_every_commit_that_it_knows(steps in prop::collection::vec(step(), 1..90)) {
        let dir = scratch();
        let store = open(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        committer.commit(log_commit(1, 1)).expect("commits");
        let (_reader, follower) = follow(dir.path());
        follower.look(0).expect("looks");
        let mut history = vec![written(&committer, 1)];
        for (at, step) in (2..).zip(steps) {
            match step {
                Step::Commit => drop(committer.commit(log_commit(at, 1)).expect("commits")),
                Step::Drop => drop(committer.commit(dropping(&committer, at)).expect("commits")),
                Step::Look => follower.look(0).expect("looks"),
                Step::LookUntilNewest => follower.look_until(0, committer.next_seq() - 1).expect("looks"),
            }
            match step {
                Step::Commit | Step::Drop => history.push(written(&committer, at)),
                Step::Look | Step::LookUntilNewest => {
                    prop_assert_eq!(Some(&newest(&follower)), history.last());
                    for (seq, offset, files) in &history {
                        if let Some(known) = follower.at(0, *seq) {
                            prop_assert_eq!((known.next_offset, &ids(&known.files)), (*offset, files));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_the_writer_has_set_aside_is_set_aside_by_whoever_follows_it_until_it_is_good_again() {
    let dir = scratch();
    let victim = {
        let store = open(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        committer.commit(log_commit(1, 7)).expect("commits");
        committer.commit(log_commit(2, 5)).expect("commits");
        dir.path().join(&*committer.files()[0].path)
    };
    let good = std::fs::read(&victim).expect("reads");
    std::fs::remove_file(&victim).expect("removes");
    let (reader, follower) = follow(dir.path());
    follower.look(0).expect("looks");
    assert_eq!(reader.lost(), [], "nobody has noticed yet");
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(3, 1)).expect("commits");
    follower.look(0).expect("looks");
    assert_eq!((reader.lost(), reader.lost()[0].rows), (store.lost(), 7));
    // Whoever comes now is told, too.
    let (late, late_follower) = follow(dir.path());
    late_follower.look(0).expect("looks");
    assert_eq!(late.lost(), store.lost());
    drop((committer, store));

    std::fs::write(&victim, good).expect("restored");
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(4, 1)).expect("commits");
    follower.look(0).expect("looks");
    assert_eq!((store.lost(), reader.lost()), (vec![], vec![]));
}

#[test]
fn a_manifest_that_is_damaged_is_told_to_followers_by_the_one_after_it() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(1, 1)).expect("commits");
    let (_reader, follower) = follow(dir.path());
    follower.look(0).expect("looks");
    committer.commit(log_commit(2, 1)).expect("commits");
    std::fs::write(dir.path().join("manifest/0/00000000000000000001.json"), b"{").expect("writes");
    assert!(matches!(follower.look(0), Err(StoreError::Damaged { .. })), "as long as it is the newest");
    assert_eq!(newest(&follower).0, 0);
    committer.commit(log_commit(3, 1)).expect("commits");
    follower.look(0).expect("looks");
    assert_eq!(newest(&follower), written(&committer, 3));
}
