//! Following shards that other processes write: their newest manifests, and the live segments as of each of the last few.
//!
//! Reads only. A look at an idle shard is one request, for the manifest after the newest one that is known; now and then, and when
//! nothing is known, it is a look at the whole folder, because manifests that newer snapshots replace are removed: who was away for
//! long finds a gap where the next one was. The folding of manifests is the one that the writer of a shard begins with.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::manifest::{self, Manifest, read_chain};
use crate::shared::Shared;
use crate::{SegmentFile, SegmentId, StoreError, aside, recover, state};

/// Commits of a shard whose segments stay known: an owner may answer as of one that is a little older than the newest manifest.
const KEPT: usize = 8;
/// Of so many looks that found nothing one looks at the whole folder.
const LOOKS_PER_FOLDER: u32 = 60;

/// A commit of a shard, as its manifest says it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The shard.
    pub shard: u32,
    /// Its sequence number.
    pub seq: u64,
    /// The writer's random number.
    pub writer: u64,
    /// Where the writer's process answers, a base URL; `None` where it is the only process.
    pub owner: Option<Arc<str>>,
    /// All live segments.
    pub files: Arc<[SegmentFile]>,
    /// Every record below this journal offset is in the segments.
    pub next_offset: u64,
    /// The shard's watermark, ns.
    pub watermark_ns: i64,
    /// When it was committed, ns.
    pub committed_ns: i64,
}

/// What is known of shards from their manifests. Calls that look block on the store; the others never wait for it.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    /// Whether live segments are counted here: where shards are also written, their writers do it.
    counts: bool,
    shards: Mutex<BTreeMap<u32, Arc<Followed>>>,
}

#[derive(Debug, Default)]
struct Followed {
    /// There is a commit, or a reason why it cannot be read.
    is_known: AtomicBool,
    /// Held while somebody looks, so that two do not fold the same manifest.
    looking: Mutex<Looking>,
    /// Newest last.
    known: Mutex<VecDeque<Arc<Published>>>,
    /// Of the last look.
    trouble: Mutex<Option<Arc<str>>>,
}

#[derive(Debug, Default)]
struct Looking {
    live: BTreeMap<SegmentId, SegmentFile>,
    /// What the newest manifest said is lost.
    lost: Vec<SegmentId>,
    idle_looks: u32,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, counts: bool) -> Self {
        Self { shared, counts, shards: Mutex::default() }
    }

    /// Looks which shards there are: those that have a manifest, or a state, which is there where manifests are lost. New ones are listed from now on, and known when a look has found a commit.
    pub fn look_for_shards(&self) -> Result<(), StoreError> {
        for folder in [manifest::FOLDER, state::FOLDER] {
            for name in self.shared.objects.folders(folder)? {
                let Ok(shard) = name.parse() else { continue };
                self.shards().entry(shard).or_default();
            }
        }
        Ok(())
    }

    /// The shards that were found, by number: those to look at.
    pub fn listed_shards(&self) -> Vec<u32> {
        self.shards().keys().copied().collect()
    }

    /// The shards that have a commit, or one that cannot be read. A shard whose first look is under way is as new as one that is found
    /// a moment later.
    pub fn known_shards(&self) -> Vec<u32> {
        let shards = self.shards();
        let with_commit = shards.iter().filter(|(_, followed)| followed.is_known.load(Ordering::Acquire));
        with_commit.map(|(shard, _)| *shard).collect()
    }

    /// The newest commit of a shard that is known.
    pub fn newest(&self, shard: u32) -> Option<Arc<Published>> {
        self.followed(shard)?.known().back().cloned()
    }

    /// The commit with this number, if it is one of the last few that are known.
    pub fn at(&self, shard: u32, seq: u64) -> Option<Arc<Published>> {
        self.followed(shard)?.known().iter().find(|published| published.seq == seq).cloned()
    }

    /// Why the last look at a shard has failed, if it has.
    pub fn trouble(&self, shard: u32) -> Option<Arc<str>> {
        self.followed(shard)?.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for newer commits of a shard.
    pub fn look(&self, shard: u32) -> Result<(), StoreError> {
        self.look_at(shard, None)
    }

    /// Looks for newer commits of a shard until this one, which somebody knows to be there, is known.
    pub fn look_until(&self, shard: u32, seq: u64) -> Result<(), StoreError> {
        if self.newest(shard).is_some_and(|known| known.seq >= seq) {
            return Ok(());
        }
        self.look_at(shard, Some(seq))
    }

    fn look_at(&self, shard: u32, at_least: Option<u64>) -> Result<(), StoreError> {
        let followed = self.shards().entry(shard).or_default().clone();
        let looked = self.look_further(shard, &followed, at_least);
        *followed.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
            looked.as_ref().err().map(|error| error.to_string().into());
        // The folder of a directory is there a moment before the first manifest in it.
        if looked.is_err() || followed.known().back().is_some() {
            followed.is_known.store(true, Ordering::Release);
        }
        looked
    }

    fn look_further(&self, shard: u32, followed: &Followed, at_least: Option<u64>) -> Result<(), StoreError> {
        let mut looking = followed.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let before = followed.known().back().cloned();
        let Some(before) = before else { return self.read_all(shard, followed, &mut looking) };
        let mut newest = before.seq;
        loop {
            let found = match manifest::read(&self.shared.objects, shard, newest + 1) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                // One that is damaged is told by the one after it, as soon as that is there.
                Err(error @ StoreError::Damaged { .. }) => {
                    self.read_all(shard, followed, &mut looking)?;
                    let is_past = followed.known().back().is_some_and(|known| known.seq > newest + 1);
                    return if is_past { Ok(()) } else { Err(error) };
                }
                Err(error) => return Err(error),
            };
            newest += 1;
            if let Err(reason) = manifest::apply(&mut looking.live, &found) {
                // It may have been applied in part.
                let known = followed.known().back().map(|published| published.files.clone()).unwrap_or_default();
                looking.live = known.iter().map(|file| (file.id, file.clone())).collect();
                let path = self.shared.objects.file(&manifest::path(shard, newest));
                return Err(StoreError::damaged(path, reason));
            }
            self.take(followed, &found, &mut looking);
        }
        let is_short = at_least.is_some_and(|seq| newest < seq);
        if newest > before.seq && !is_short {
            looking.idle_looks = 0;
            return Ok(());
        }
        looking.idle_looks += 1;
        if is_short || looking.idle_looks >= LOOKS_PER_FOLDER {
            self.read_all(shard, followed, &mut looking)?;
        }
        Ok(())
    }

    /// Reads the shard from its newest snapshot on, when that is newer than what is known.
    fn read_all(&self, shard: u32, followed: &Followed, looking: &mut Looking) -> Result<(), StoreError> {
        looking.idle_looks = 0;
        let objects = &self.shared.objects;
        let chain = recover::not_without_manifest(objects, shard, read_chain(objects, shard))?;
        let Some(chain) = chain else { return Ok(()) };
        let known = followed.known().back().map(|published| published.seq);
        if known.is_none_or(|seq| seq < chain.last.seq) {
            looking.live = chain.files.iter().map(|file| (file.id, file.clone())).collect();
            self.take(followed, &chain.last, looking);
        }
        Ok(())
    }

    fn take(&self, followed: &Followed, found: &Manifest, looking: &mut Looking) {
        let files: Arc<[SegmentFile]> = looking.live.values().cloned().collect();
        let mut known = followed.known();
        let before = known.back().map(|published| published.files.clone()).unwrap_or_default();
        known.push_back(Arc::new(Published {
            shard: found.shard,
            seq: found.seq,
            writer: found.writer,
            owner: found.owner.clone(),
            files: files.clone(),
            next_offset: found.next_offset,
            watermark_ns: found.watermark_ns,
            committed_ns: found.committed_ns,
        }));
        while known.len() > KEPT {
            known.pop_front();
        }
        drop(known);
        let is_in = |files: &[SegmentFile]| files.iter().map(|file| file.id).collect::<HashSet<_>>();
        let (ids_before, ids_after) = (is_in(&before), is_in(&files));
        let gone: Vec<SegmentFile> = before.iter().filter(|file| !ids_after.contains(&file.id)).cloned().collect();
        if self.counts {
            self.shared.metrics.removed(&gone);
            self.shared.metrics.added(files.iter().filter(|file| !ids_before.contains(&file.id)));
        }
        self.shared.forget(&gone);
        self.take_lost(found, &files, looking);
    }

    /// What the writer has set aside is set aside here too; what it has taken up again is taken up again.
    fn take_lost(&self, found: &Manifest, files: &[SegmentFile], looking: &mut Looking) {
        let Shared { aside, metrics, .. } = &*self.shared;
        let lost: Vec<SegmentId> = found.lost.iter().map(|lost| lost.id).collect();
        for id in looking.lost.iter().filter(|id| !lost.contains(id)) {
            aside.forget(*id, metrics);
        }
        looking.lost = lost;
        aside::take_known(&self.shared, files, &found.lost);
        aside.keep_live(found.shard, files, metrics);
    }

    fn followed(&self, shard: u32) -> Option<Arc<Followed>> {
        self.shards().get(&shard).cloned()
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Followed>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    fn known(&self) -> MutexGuard<'_, VecDeque<Arc<Published>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
