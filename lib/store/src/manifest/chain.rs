//! From a shard's manifests to its live segments.
//!
//! The newest full snapshot is the base and the deltas after it are applied in order. A gap, a damaged file or a
//! segment that is dropped without being live is an error that names the file: a shard whose history is not whole must
//! not go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Manifest, SNAPSHOT_EVERY, decode, folder, path, seq_of};
use crate::objects::Objects;
use crate::{SegmentFile, SegmentId, StoreError};

/// What the manifests of a shard say.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The newest manifest.
    pub(crate) last: Manifest,
    /// All live segments.
    pub(crate) files: Arc<[SegmentFile]>,
    /// All manifests that are there, also those before the base.
    pub(crate) manifests: Vec<ManifestFile>,
}

/// A manifest file that is there, read or not.
#[derive(Clone, Debug)]
pub(crate) struct ManifestFile {
    pub(crate) seq: u64,
    pub(crate) path: String,
    /// When it was made, in seconds.
    pub(crate) modified_s: i64,
}

/// Reads a shard; `None` when it has no commit.
pub(crate) fn read_chain(objects: &Objects, shard: u32) -> Result<Option<Chain>, StoreError> {
    let mut manifests = Vec::new();
    for listed in objects.list(&folder(shard))? {
        let Some(seq) = seq_of(&listed.path) else {
            return Err(StoreError::damaged(objects.file(&listed.path), "not the name of a manifest"));
        };
        manifests.push(ManifestFile { seq, path: listed.path, modified_s: listed.modified_s });
    }
    let Some(newest) = manifests.iter().map(|manifest| manifest.seq).max() else { return Ok(None) };

    let base = newest - newest % SNAPSHOT_EVERY;
    let mut live = BTreeMap::new();
    let mut last = read_there(objects, shard, base)?;
    let Some(snapshot) = &last.snapshot else {
        return Err(StoreError::damaged(objects.file(&path(shard, base)), "it must list all segments and does not"));
    };
    live.extend(snapshot.iter().map(|file| (file.id, file.clone())));
    for seq in base + 1..=newest {
        last = read_there(objects, shard, seq)?;
        apply(&mut live, &last).map_err(|reason| StoreError::damaged(objects.file(&path(shard, seq)), reason))?;
    }
    Ok(Some(Chain { last, files: live.into_values().collect(), manifests }))
}

/// Which manifests nobody needs any more once `newest` is there: those before the snapshot before the newest snapshot.
pub(crate) fn superseded(newest: u64) -> std::ops::Range<u64> {
    let base = newest - newest % SNAPSHOT_EVERY;
    0..base.saturating_sub(SNAPSHOT_EVERY)
}

fn read_there(objects: &Objects, shard: u32, seq: u64) -> Result<Manifest, StoreError> {
    let missing =
        || StoreError::damaged(objects.file(&path(shard, seq)), "it is missing, and later ones are there".to_owned());
    read(objects, shard, seq)?.ok_or_else(missing)
}

/// One manifest; `None` when it is not there.
pub(crate) fn read(objects: &Objects, shard: u32, seq: u64) -> Result<Option<Manifest>, StoreError> {
    let path = path(shard, seq);
    let damaged = |reason: String| StoreError::damaged(objects.file(&path), reason);
    let Some(bytes) = objects.get(&path)? else { return Ok(None) };
    let manifest = decode(&bytes).map_err(damaged)?;
    if (manifest.shard, manifest.seq) != (shard, seq) {
        return Err(damaged(format!("it says shard {} and sequence {}", manifest.shard, manifest.seq)));
    }
    Ok(Some(manifest))
}

/// The live segments after a manifest, from those before it.
pub(crate) fn apply(live: &mut BTreeMap<SegmentId, SegmentFile>, manifest: &Manifest) -> Result<(), String> {
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
