//! Becoming the writer of a shard: read its manifests, check that what they list is there, remove what nobody lists.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::manifest::{self, Chain, read_chain};
use crate::objects::{Listed, Objects};
use crate::reaper::Reaper;
use crate::shared::Shared;
use crate::{Recovered, SegmentFile, ShardCommitter, StoreError, Table, state};

/// See [`long_unneeded`].
const ORPHAN_AGE_S: i64 = 24 * 3600;

/// How often a shard is read that its writer commits to meanwhile. A commit takes longer than reading.
const ATTEMPTS_MAX: u32 = 5;

/// Opens a shard.
///
/// `alone` says that nobody else can be at work on the shard (the first opening in the process that has the lock). Only
/// then are files removed: what no manifest names may otherwise be a commit on its way, or dropped and still being
/// read.
pub(crate) fn open_shard(
    shared: &Arc<Shared>,
    shard: u32,
    alone: bool,
) -> Result<(ShardCommitter, Option<Recovered>), StoreError> {
    for _ in 1..if alone { 1 } else { ATTEMPTS_MAX } {
        let before = newest(&shared.objects, shard)?;
        match try_open_shard(shared, shard, alone) {
            // Where others commit meanwhile, they also remove what only manifests before theirs name: that is no damage.
            Err(StoreError::Damaged { .. }) if newest(&shared.objects, shard)? != before => {}
            done => return done,
        }
    }
    try_open_shard(shared, shard, alone)
}

/// The number of the newest manifest, if there is any.
fn newest(objects: &Objects, shard: u32) -> Result<Option<u64>, StoreError> {
    let listed = objects.list(&manifest::folder(shard))?;
    Ok(listed.iter().filter_map(|listed| manifest::seq_of(&listed.path)).max())
}

fn try_open_shard(
    shared: &Arc<Shared>,
    shard: u32,
    alone: bool,
) -> Result<(ShardCommitter, Option<Recovered>), StoreError> {
    let objects = &shared.objects;
    shared.proposals.clear(shard, objects);
    let chain = read_chain(objects, shard)?;
    // Where others wait for the shard, that comes later: it takes a look at every object of the store.
    let is_shared = shared.config.advertise.is_some();
    let written = if is_shared { Vec::new() } else { written_files(objects, shard)? };
    let mut committer = ShardCommitter {
        shared: shared.clone(),
        shard,
        writer: rand::random(),
        next_seq: 0,
        first_offset: 0,
        files: Arc::from([]),
        watermark_ns: i64::MIN,
        states: Vec::new(),
        reaper: Reaper::default(),
    };
    let Some(chain) = chain else {
        if alone {
            remove(objects, shard, written.into_iter().map(|file| file.path).collect());
        }
        return Ok((committer, None));
    };
    if !is_shared {
        check_present(objects, &chain.files, &written)?;
        note_missing_sides(shared, &chain.files, &written);
    }
    let state = state::read(objects, &chain.last.state)?;
    if is_shared {
        // See `look_over`.
    } else if alone {
        remove(objects, shard, unneeded(&chain, &written));
    } else if objects.is_remote() {
        remove(objects, shard, long_unneeded(&chain, &written));
    }

    committer.next_seq = chain.last.seq + 1;
    committer.first_offset = chain.last.next_offset;
    committer.files = chain.files.clone();
    committer.watermark_ns = chain.last.watermark_ns;
    committer.states.push(chain.last.state.clone());
    shared.metrics.added(chain.files.iter());
    let recovered = Recovered {
        next_offset: chain.last.next_offset,
        watermark_ns: chain.last.watermark_ns,
        committed_ns: chain.last.committed_ns,
        state,
        files: chain.files,
        seq: chain.last.seq,
    };
    Ok((committer, Some(recovered)))
}

/// What opening a shard leaves out where others wait for it: whether every live segment is there, and the removal of what nobody
/// has needed for a day.
pub(crate) fn look_over(shared: &Shared, shard: u32) -> Result<(), StoreError> {
    let objects = &shared.objects;
    for attempt in 1.. {
        let before = newest(objects, shard)?;
        let result = look_over_once(shared, shard);
        let is_damage = matches!(result, Err(StoreError::Damaged { .. }));
        // See `open_shard`.
        if !is_damage || attempt >= ATTEMPTS_MAX || newest(objects, shard)? == before {
            return result;
        }
    }
    Ok(())
}

fn look_over_once(shared: &Shared, shard: u32) -> Result<(), StoreError> {
    let objects = &shared.objects;
    let Some(chain) = read_chain(objects, shard)? else { return Ok(()) };
    let written = written_files(objects, shard)?;
    check_present(objects, &chain.files, &written)?;
    note_missing_sides(shared, &chain.files, &written);
    remove(objects, shard, long_unneeded(&chain, &written));
    Ok(())
}

/// Segment and state files of a shard that are there.
pub(crate) fn written_files(objects: &Objects, shard: u32) -> Result<Vec<Listed>, StoreError> {
    let mut files = objects.list(&format!("state/{shard}"))?;
    for table in Table::ALL {
        let of_table = objects.list(&format!("data/{table}"))?;
        files.extend(of_table.into_iter().filter(|file| shard_of(&file.path) == Some(shard)));
    }
    Ok(files)
}

/// The shard in the path of a segment or of a file beside it.
fn shard_of(path: &str) -> Option<u32> {
    let (name, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    if !["parquet", "blooms", "index"].contains(&ending) {
        return None;
    }
    name.split('-').next()?.parse().ok()
}

/// Checks that every live segment is there in its size. Its bytes are checked when they are read.
pub(crate) fn check_present(objects: &Objects, files: &[SegmentFile], written: &[Listed]) -> Result<(), StoreError> {
    let sizes: HashMap<&str, u64> = written.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    for file in files {
        let damaged = |reason: String| StoreError::damaged(objects.file(&file.path), reason);
        match sizes.get(&*file.path) {
            None => return Err(damaged("it is missing, and a manifest lists it".to_owned())),
            Some(bytes) if *bytes != file.bytes => {
                return Err(damaged(format!("it has {bytes} bytes instead of {}", file.bytes)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Notes segments that lack a file beside them, or have one of another size: it is made again.
fn note_missing_sides(shared: &Shared, files: &[SegmentFile], written: &[Listed]) {
    let sizes: HashMap<&str, u64> = written.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    for file in files {
        let sides = [&file.blooms, &file.index].into_iter().flatten();
        for side in sides.filter(|side| sizes.get(&*side.path) != Some(&side.bytes)) {
            if shared.damaged.add(file.id) {
                shared.metrics.side_file_damaged();
                let path = shared.objects.file(&side.path);
                tracing::warn!(segment = %file.id, path = %path.display(), "missing, or not as long as it was written; it is made again");
            }
        }
    }
}

/// Files that no manifest names, and manifests that newer snapshots replace.
fn unneeded(chain: &Chain, written: &[Listed]) -> Vec<String> {
    let mut unneeded: Vec<String> = orphans(chain, written).map(str::to_owned).collect();
    let superseded = manifest::superseded(chain.last.seq);
    let old = chain.manifests.iter().filter(|manifest| superseded.contains(&manifest.seq));
    unneeded.extend(old.map(|manifest| manifest.path.clone()));
    unneeded
}

/// Where others may be at work on the shard: of these files those that are a day older than the newest manifest. What is on its way
/// into a manifest, or was dropped and is being read, is younger.
fn long_unneeded(chain: &Chain, written: &[Listed]) -> Vec<String> {
    let newest_s = chain.manifests.iter().map(|manifest| manifest.modified_s).max().unwrap_or(i64::MIN);
    let is_old = |modified_s: i64| newest_s.saturating_sub(modified_s) > ORPHAN_AGE_S;
    let old: HashSet<&str> =
        written.iter().filter(|file| is_old(file.modified_s)).map(|file| file.path.as_str()).collect();
    unneeded(chain, written).into_iter().filter(|path| old.contains(path.as_str())).collect()
}

/// Files that neither the list of live segments nor the newest manifest names.
pub(crate) fn orphans<'a>(chain: &Chain, written: &'a [Listed]) -> impl Iterator<Item = &'a str> {
    let paths = chain.files.iter().flat_map(SegmentFile::paths);
    let mut named: HashSet<String> = paths.map(|path| path.to_string()).collect();
    named.insert(chain.last.state.path.clone());
    written.iter().map(|file| file.path.as_str()).filter(move |path| !named.contains(*path))
}

fn remove(objects: &Objects, shard: u32, paths: Vec<String>) {
    if !paths.is_empty() {
        tracing::info!(shard, files = paths.len(), first = paths[0], "removing files that belong to no commit");
    }
    objects.delete_all(paths);
}
