//! From a shard's manifests to its live segments.
//!
//! The newest full snapshot is the base and the deltas after it are applied in order. A manifest that is damaged or missing does not end
//! this: the one after it says what it changed. When the newest cannot be read, the one before is the newest: the journal holds what
//! came after it. Where several in a row are gone, segments whose rows may be in another one as well are lost for good: what cannot
//! be told apart must not be counted twice. Everything of this kind is among the chain's problems, with the file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Delta, Manifest, SNAPSHOT_EVERY, decode, folder, newer_version, path, seq_of, version_known};
use crate::objects::Objects;
use crate::{LostSegment, SegmentFile, SegmentId, StoreError};

/// How many manifests are read in search of a full snapshot: two lie within so many unless snapshots are damaged too.
const LOOK_BACK: u64 = 1024;

/// What the manifests of a shard say.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The newest manifest that can be read.
    pub(crate) last: Manifest,
    /// The one before it, if it can be read.
    pub(crate) before: Option<Manifest>,
    /// All live segments.
    pub(crate) files: Arc<[SegmentFile]>,
    /// Segments that the newest manifest dropped: going back to the one before needs them.
    pub(crate) dropped: Vec<SegmentFile>,
    /// All manifests that are there, also those before the base.
    pub(crate) manifests: Vec<ManifestFile>,
    /// Live segments whose rows may be in another live segment too.
    pub(crate) in_doubt: Vec<LostSegment>,
    /// Manifests that are not as they were written.
    pub(crate) problems: Vec<Problem>,
    /// The number of the next commit: no file of that number is there.
    pub(crate) next_seq: u64,
}

/// A manifest that is not as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) path: String,
    /// What is wrong, and what was done about it.
    pub(crate) what: String,
    /// Something is missing for it; otherwise the others say the same.
    pub(crate) costs: bool,
}

/// A manifest file that is there, read or not.
#[derive(Clone, Debug)]
pub(crate) struct ManifestFile {
    pub(crate) seq: u64,
    pub(crate) path: String,
    /// When it was made, in seconds.
    pub(crate) modified_s: i64,
}

/// Reads a shard; `None` when it has no commit. [`StoreError::Damaged`] only when none of its manifests can be read.
pub(crate) fn read_chain(objects: &Objects, shard: u32) -> Result<Option<Chain>, StoreError> {
    let mut problems = Vec::new();
    let manifests = list(objects, shard, &mut problems)?;
    let Some(newest) = manifests.iter().map(|manifest| manifest.seq).max() else { return Ok(None) };
    let found = Found::read(objects, shard, newest, &manifests)?;
    let Some((last_seq, last)) = found.good.last_key_value() else {
        let what = "it cannot be read, and neither can any before it";
        return Err(StoreError::damaged(objects.file(&path(shard, newest)), what));
    };
    if *last_seq < newest {
        for (seq, what) in found.bad.range(last_seq + 1..) {
            let what = format!("{what}; the shard goes on from the commit before it, number {last_seq}");
            problems.push(Problem { path: path(shard, *seq), what, costs: true });
        }
    }
    let mut list = LiveList::default();
    let mut seq = list.begin(&found, shard, &mut problems);
    while seq <= *last_seq {
        list.apply(&found, shard, seq, &mut problems);
        seq += 1;
    }
    Ok(Some(Chain {
        last: last.clone(),
        before: last_seq.checked_sub(1).and_then(|seq| found.good.get(&seq).cloned()),
        files: list.live.into_values().collect(),
        dropped: list.dropped_last,
        in_doubt: list.in_doubt,
        manifests,
        problems,
        next_seq: newest + 1,
    }))
}

/// Which manifests nobody needs any more once `newest` is there: those before the snapshot before the newest snapshot.
pub(crate) fn superseded(newest: u64) -> std::ops::Range<u64> {
    let base = newest - newest % SNAPSHOT_EVERY;
    0..base.saturating_sub(SNAPSHOT_EVERY)
}

/// One manifest; `None` when it is not there.
pub(crate) fn read(objects: &Objects, shard: u32, seq: u64) -> Result<Option<Manifest>, StoreError> {
    let Some(bytes) = objects.get(&path(shard, seq))? else { return Ok(None) };
    let damaged = |reason: String| StoreError::damaged(objects.file(&path(shard, seq)), reason);
    decoded(objects, shard, seq, &bytes)?.map(Some).map_err(damaged)
}

/// The live segments after a manifest, from those before it.
pub(crate) fn apply(live: &mut BTreeMap<SegmentId, SegmentFile>, manifest: &Manifest) -> Result<(), String> {
    if let Some(files) = &manifest.snapshot {
        *live = files.iter().map(|file| (file.id, file.clone())).collect();
        return Ok(());
    }
    for id in &manifest.dropped {
        live.remove(id).ok_or_else(|| format!("it drops segment {id}, which is not there"))?;
    }
    for file in &manifest.added {
        if live.insert(file.id, file.clone()).is_some() {
            return Err(format!("it adds segment {} a second time", file.id));
        }
    }
    Ok(())
}

/// The largest number in the name of a manifest, whether it can be read or not.
pub(crate) fn newest_seq(objects: &Objects, shard: u32) -> Result<Option<u64>, StoreError> {
    Ok(objects.list(&folder(shard))?.iter().filter_map(|listed| seq_of(&listed.path)).max())
}

fn list(objects: &Objects, shard: u32, problems: &mut Vec<Problem>) -> Result<Vec<ManifestFile>, StoreError> {
    let mut manifests = Vec::new();
    for listed in objects.list(&folder(shard))? {
        match seq_of(&listed.path) {
            Some(seq) => manifests.push(ManifestFile { seq, path: listed.path, modified_s: listed.modified_s }),
            None => {
                let what = "not the name of a manifest; it is left alone".to_owned();
                problems.push(Problem { path: listed.path, what, costs: false });
            }
        }
    }
    Ok(manifests)
}

/// The manifests from the newest back to the newest full snapshot that can be read, and why others cannot.
#[derive(Default)]
struct Found {
    good: BTreeMap<u64, Manifest>,
    bad: BTreeMap<u64, String>,
}

impl Found {
    fn read(objects: &Objects, shard: u32, newest: u64, manifests: &[ManifestFile]) -> Result<Self, StoreError> {
        let there: BTreeSet<u64> = manifests.iter().map(|manifest| manifest.seq).collect();
        let oldest = there.first().copied().unwrap_or(newest).max(newest.saturating_sub(LOOK_BACK));
        let mut found = Self::default();
        for seq in (oldest..=newest).rev() {
            match try_read(objects, shard, seq)? {
                Ok(manifest) => {
                    let is_base = manifest.snapshot.is_some();
                    found.good.insert(seq, manifest);
                    // The one before the newest is kept whole as well: its state is what one goes back to.
                    if is_base && (found.good.len() > 1 || seq == oldest) {
                        break;
                    }
                }
                Err(what) => {
                    found.bad.insert(seq, what);
                }
            }
        }
        Ok(found)
    }
}

/// The list of live segments while manifests are applied to it.
#[derive(Default)]
struct LiveList {
    live: BTreeMap<SegmentId, SegmentFile>,
    dropped_last: Vec<SegmentFile>,
    in_doubt: Vec<LostSegment>,
    /// Commits of which it is not known what they changed.
    unknown: BTreeSet<u64>,
}

impl LiveList {
    /// Begins with a full snapshot that can be read, the second newest if there are two; gives the number of the next commit.
    fn begin(&mut self, found: &Found, shard: u32, problems: &mut Vec<Problem>) -> u64 {
        let base = found.good.iter().find(|(_, manifest)| manifest.snapshot.is_some());
        if let Some((seq, manifest)) = base {
            self.take_snapshot(manifest);
            return seq + 1;
        }
        let (seq, first) = found.good.first_key_value().expect("one can be read");
        if let (1, Some(before)) = (*seq, &first.before) {
            // The very first commit had nothing before it.
            self.change(before);
            let why = found.bad.get(&0).map_or("it is missing, and later ones are there", String::as_str);
            let what = format!("{why}; the one after it says what was in it, nothing is lost");
            problems.push(Problem { path: path(shard, 0), what, costs: false });
            return 1;
        }
        self.unknown.insert(seq.saturating_sub(1));
        let what =
            "no full list of segments can be read; segments that were committed before this are not known any more";
        problems.push(Problem { path: path(shard, *seq), what: what.to_owned(), costs: true });
        *seq
    }

    fn take_snapshot(&mut self, manifest: &Manifest) {
        let files = manifest.snapshot.iter().flat_map(|files| files.iter());
        self.live = files.map(|file| (file.id, file.clone())).collect();
    }

    fn apply(&mut self, found: &Found, shard: u32, seq: u64, problems: &mut Vec<Problem>) {
        if let Some(manifest) = found.good.get(&seq) {
            let delta = Delta { added: manifest.added.clone(), dropped: manifest.dropped.clone() };
            let is_odd = self.change(&delta);
            if manifest.snapshot.is_some() {
                self.take_snapshot(manifest);
                self.unknown.clear();
                self.in_doubt = manifest.lost.iter().filter(|lost| lost.for_good).cloned().collect();
            } else if let Some(what) = is_odd.filter(|_| self.unknown.is_empty()) {
                problems.push(Problem { path: path(shard, seq), what, costs: true });
            }
            return;
        }
        let why = found.bad.get(&seq).map_or("it is missing, and later ones are there", String::as_str);
        let told = found.good.get(&(seq + 1));
        let (what, costs) = if told.is_some_and(|next| next.snapshot.is_some()) {
            ("the one after it lists everything, nothing is lost", false)
        } else if let Some(delta) = told.and_then(|next| next.before.as_ref()) {
            self.change(delta);
            ("the one after it says what was in it, nothing is lost", false)
        } else {
            self.unknown.insert(seq);
            ("the segments that it added are not known any more", true)
        };
        problems.push(Problem { path: path(shard, seq), what: format!("{why}; {what}"), costs });
    }

    /// Applies what a commit changed; what is odd about it.
    fn change(&mut self, delta: &Delta) -> Option<String> {
        self.dropped_last.clear();
        let mut odd = None;
        let mut is_unknown_dropped = false;
        for id in &delta.dropped {
            match self.live.remove(id) {
                Some(file) => self.dropped_last.push(file),
                None => {
                    is_unknown_dropped = true;
                    odd = Some(format!("it drops segment {id}, which is not there"));
                }
            }
        }
        for file in &delta.added {
            if is_unknown_dropped && file.level > 0 && !self.unknown.is_empty() {
                self.doubt_inputs_of(file);
            }
            if self.live.insert(file.id, file.clone()).is_some() {
                odd = Some(format!("it adds segment {} a second time", file.id));
            }
        }
        odd
    }

    /// What was merged into `merged` by a commit that is not known is not in the list of what it replaced: any segment that may
    /// be among them is in doubt.
    fn doubt_inputs_of(&mut self, merged: &SegmentFile) {
        let first_unknown = self.unknown.first().copied().unwrap_or(0);
        let may_be_in = |file: &&SegmentFile| {
            file.table == merged.table
                && file.id.seq < first_unknown
                && file.first_offset < merged.next_offset
                && file.next_offset > merged.first_offset
                && file.time_min_ns <= merged.time_max_ns
                && file.time_max_ns >= merged.time_min_ns
        };
        for file in self.live.values().filter(may_be_in) {
            let reason = format!("manifests are lost, and its rows may be in {} as well", merged.path);
            self.in_doubt.push(LostSegment { for_good: true, ..LostSegment::of(file, reason) });
        }
    }
}

/// A manifest, or what is wrong with it.
fn try_read(objects: &Objects, shard: u32, seq: u64) -> Result<Result<Manifest, String>, StoreError> {
    match objects.get(&path(shard, seq))? {
        Some(bytes) => decoded(objects, shard, seq, &bytes),
        None => Ok(Err("it is missing, and later ones are there".to_owned())),
    }
}

fn decoded(objects: &Objects, shard: u32, seq: u64, bytes: &[u8]) -> Result<Result<Manifest, String>, StoreError> {
    if let Some(found) = newer_version(bytes) {
        return Err(StoreError::TooNew { path: objects.file(&path(shard, seq)), found, known: version_known() });
    }
    Ok(decode(bytes).and_then(|manifest| match (manifest.shard, manifest.seq) == (shard, seq) {
        true => Ok(manifest),
        false => Err(format!("it says shard {} and sequence {}", manifest.shard, manifest.seq)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_full_snapshots_and_all_after_them_are_kept() {
        assert_eq!(superseded(63), 0..0);
        assert_eq!(superseded(64), 0..0);
        assert_eq!(superseded(127), 0..0);
        assert_eq!(superseded(128), 0..64);
        assert_eq!(superseded(200), 0..128);
    }
}
