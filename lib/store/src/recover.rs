//! Becoming the writer of a shard: read its manifests, set aside what they list and is not there, remove what nobody lists.
//!
//! Damage does not keep a shard from opening: it goes on from the newest commit that is whole, and what that costs is said.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::manifest::{self, Chain, Delta, Manifest, newest_seq, read_chain};
use crate::objects::{Listed, Objects};
use crate::reaper::Reaper;
use crate::shared::Shared;
use crate::{LostSegment, Recovered, SegmentFile, SegmentId, ShardCommitter, StoreError, Table, aside, state};

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
    let objects = &shared.objects;
    shared.proposals.clear(shard, objects);
    for attempt in 1.. {
        let before = newest_seq(objects, shard)?;
        let found = Found::read(shared, shard)?;
        // Where others commit meanwhile, they also remove what only manifests before theirs name: that is no damage.
        if alone || found.is_whole() || attempt >= ATTEMPTS_MAX || newest_seq(objects, shard)? == before {
            return found.open(shared, shard, alone);
        }
    }
    unreachable!("the last attempt is taken as it is")
}

/// What is there of a shard. Reading it changes and says nothing.
struct Found {
    /// `None` when there is no commit; an error when no manifest can be read.
    chain: Result<Option<Chain>, StoreError>,
    /// Where others wait for the shard, whether segments are there is looked at later: it takes a look at every object of the store.
    written: Option<Vec<Listed>>,
    start: Option<Start>,
}

impl Found {
    fn read(shared: &Shared, shard: u32) -> Result<Self, StoreError> {
        let objects = &shared.objects;
        let chain = read_chain(objects, shard);
        let is_shared = is_shared(shared);
        let chain = if is_shared { not_without_manifest(objects, shard, chain) } else { chain };
        let chain = match chain {
            Err(error) if !matches!(error, StoreError::Damaged { .. }) => return Err(error),
            chain => chain,
        };
        let written = if is_shared { None } else { Some(written_files(objects, shard)?) };
        let start = match &chain {
            Ok(Some(chain)) => Some(Start::of(objects, chain)?),
            _ => None,
        };
        Ok(Self { chain, written, start })
    }

    /// Whether nothing is damaged, as far as that can be seen without reading segments.
    fn is_whole(&self) -> bool {
        match (&self.chain, &self.start) {
            (Ok(Some(chain)), Some(start)) => {
                let all_there = |written: &Vec<Listed>| aside::all_there(&start.files, written);
                chain.problems.is_empty() && start.loss.is_none() && self.written.as_ref().is_none_or(all_there)
            }
            (chain, _) => chain.is_ok(),
        }
    }

    fn open(
        self,
        shared: &Arc<Shared>,
        shard: u32,
        alone: bool,
    ) -> Result<(ShardCommitter, Option<Recovered>), StoreError> {
        let Self { chain, written, start } = self;
        let mut committer = new_committer(shared, shard);
        let (chain, start) = match (chain, start) {
            (Ok(Some(chain)), Some(start)) => (chain, start),
            (Err(error), _) if is_shared(shared) => return Err(with_advice(error, shard)),
            (Err(error), _) if !alone && !shared.objects.is_remote() => return Err(error),
            (Err(error), _) => {
                begin_anew(&mut committer, &error, written.map_or(0, |written| written.len()))?;
                return Ok((committer, None));
            }
            _ => {
                let written = written.unwrap_or_default();
                if let Some(seq) = later_commit(&written) {
                    let error = StoreError::damaged(shared.objects.file(&manifest::folder(shard)), NO_MANIFEST);
                    begin_anew(&mut committer, &error, written.len())?;
                    committer.next_seq = committer.next_seq.max(seq + 1);
                } else if alone {
                    remove(&shared.objects, shard, written.into_iter().map(|file| file.path).collect());
                }
                return Ok((committer, None));
            }
        };
        say(&shared.objects, shard, &chain, &start);
        if let Some(written) = &written {
            take_stock(shared, shard, &chain, &start, written, alone)?;
        } else {
            // What is not there is seen later; what is known to be lost is left out from the beginning.
            aside::take_known(shared, &start.files, &known_lost(&chain));
        }
        let recovered = go_on(&mut committer, &chain, start);
        Ok((committer, Some(recovered)))
    }
}

/// Says what is damaged, once for each opening.
fn say(objects: &Objects, shard: u32, chain: &Chain, start: &Start) {
    for problem in &chain.problems {
        tracing::error!(shard, path = %objects.file(&problem.path).display(), "a manifest is damaged: {}", problem.what);
    }
    if let Some(loss) = &start.loss {
        tracing::error!(shard, offset = start.next_offset, "{loss}");
    }
}

/// Sets aside what is not there, and removes what nobody needs.
fn take_stock(
    shared: &Shared,
    shard: u32,
    chain: &Chain,
    start: &Start,
    written: &[Listed],
    alone: bool,
) -> Result<(), StoreError> {
    aside::look_at(shared, &start.files, written, &known_lost(chain))?;
    note_missing_sides(shared, &start.files, written);
    if !chain.problems.is_empty() || start.loss.is_some() {
        // What is not named any more may be needed by a person.
    } else if alone {
        remove(&shared.objects, shard, unneeded(chain, written));
    } else if shared.objects.is_remote() {
        remove(&shared.objects, shard, long_unneeded(chain, written));
    }
    Ok(())
}

fn known_lost(chain: &Chain) -> Vec<LostSegment> {
    chain.in_doubt.iter().chain(&chain.last.lost).cloned().collect()
}

/// The committer goes on from the start that was found.
fn go_on(committer: &mut ShardCommitter, chain: &Chain, start: Start) -> Recovered {
    committer.next_seq = chain.next_seq;
    committer.first_offset = start.next_offset;
    committer.files = start.files.clone();
    committer.watermark_ns = start.watermark_ns;
    committer.journal = chain.last.journal;
    committer.lists_all = !chain.problems.is_empty() || start.loss.is_some();
    committer.undone = start.undone;
    committer.before = Some(last_change(chain));
    let newest = Some(&chain.last).filter(|last| last.seq == start.seq);
    let mut states: Vec<_> = chain.before.iter().chain(newest).map(|commit| commit.state.clone()).collect();
    states.dedup();
    committer.states = states;
    // They go as those that this process drops itself: when there are two commits without them.
    let _ = committer.reaper.due(chain.dropped.clone(), chain.last.committed_ns, i64::MAX);
    committer.shared.metrics.added(start.files.iter());
    Recovered {
        next_offset: start.next_offset,
        watermark_ns: start.watermark_ns,
        committed_ns: start.committed_ns,
        state: start.state,
        files: start.files,
        seq: chain.next_seq - 1,
    }
}

/// What opening a shard leaves out where others wait for it: whether every live segment is there, and the removal of what nobody
/// has needed for a day.
pub(crate) fn look_over(shared: &Shared, shard: u32) -> Result<(), StoreError> {
    let objects = &shared.objects;
    for attempt in 1.. {
        let before = newest_seq(objects, shard)?;
        let Some(chain) = read_chain(objects, shard)? else { return Ok(()) };
        let written = written_files(objects, shard)?;
        // See `open_shard`.
        let is_whole = chain.problems.is_empty() && aside::all_there(&chain.files, &written);
        if !is_whole && attempt < ATTEMPTS_MAX && newest_seq(objects, shard)? != before {
            continue;
        }
        aside::look_at(shared, &chain.files, &written, &known_lost(&chain))?;
        note_missing_sides(shared, &chain.files, &written);
        if is_whole {
            remove(objects, shard, long_unneeded(&chain, &written));
        }
        return Ok(());
    }
    Ok(())
}

/// The committer of a shard without commits.
fn new_committer(shared: &Arc<Shared>, shard: u32) -> ShardCommitter {
    ShardCommitter {
        shared: shared.clone(),
        shard,
        writer: rand::random(),
        next_seq: 0,
        first_offset: 0,
        files: Arc::from([]),
        watermark_ns: i64::MIN,
        journal: None,
        before: None,
        undone: Vec::new(),
        lists_all: false,
        states: Vec::new(),
        reaper: Reaper::default(),
    }
}

/// Whether other processes fold shards of the store too.
fn is_shared(shared: &Shared) -> bool {
    shared.config.advertise.is_some()
}

/// Where a shard has no manifest, but states of later commits: then it has lost them. A look at few objects, whatever the store's size.
pub(crate) fn not_without_manifest(
    objects: &Objects,
    shard: u32,
    chain: Result<Option<Chain>, StoreError>,
) -> Result<Option<Chain>, StoreError> {
    match chain {
        Ok(None) if later_commit(&objects.list(&format!("{}/{shard}", state::FOLDER))?).is_some() => {
            Err(StoreError::damaged(objects.file(&manifest::folder(shard)), NO_MANIFEST))
        }
        chain => chain,
    }
}

fn with_advice(error: StoreError, shard: u32) -> StoreError {
    match error {
        StoreError::Damaged { path, reason } => {
            StoreError::Damaged { path, reason: format!("{reason}; {}", what_to_do(shard)) }
        }
        error => error,
    }
}

/// What a person does about a shard of several processes of which no manifest can be read. Nothing is lost by waiting, as long as
/// the journal keeps what came since the last commit.
pub(crate) fn what_to_do(shard: u32) -> String {
    format!(
        "restore manifest/{shard}/ from a backup or from older versions of its objects: the shard goes on by itself then, and its records \
         wait in the journal. To give up what it has stored, move manifest/{shard}/ and state/{shard}/ away while no Shipwake runs: it begins \
         with what the journal still holds"
    )
}

/// What is left when no manifest can be read: numbers that no file has, and the journal. No file is removed.
fn begin_anew(committer: &mut ShardCommitter, error: &StoreError, files: usize) -> Result<(), StoreError> {
    tracing::error!(
        shard = committer.shard,
        %error,
        files,
        "no manifest of the shard can be read: it begins anew with what the journal holds. Its files are kept as they are; restore the \
         manifests from a backup to have them back"
    );
    committer.next_seq = newest_seq(&committer.shared.objects, committer.shard)?.map_or(0, |seq| seq + 1);
    committer.lists_all = true;
    Ok(())
}

/// What a shard goes on from.
struct Start {
    /// The commit.
    seq: u64,
    next_offset: u64,
    watermark_ns: i64,
    committed_ns: i64,
    state: Bytes,
    files: Arc<[SegmentFile]>,
    /// Segments of later commits: their rows come again from the journal.
    undone: Vec<SegmentId>,
    /// Why it is not all of the newest commit, and what that costs.
    loss: Option<String>,
}

impl Start {
    /// The newest commit with a state that can be read. When it is not the newest of all, the journal has to give again what came after
    /// it: it is kept that far, and what it does not hold is lost, which whoever reads it says. So nothing is counted twice.
    fn of(objects: &Objects, chain: &Chain) -> Result<Self, StoreError> {
        let newest = match state::read(objects, &chain.last.state) {
            Ok(state) => return Ok(Self::at(&chain.last, state, chain.files.clone())),
            Err(error @ StoreError::Damaged { .. }) => error,
            Err(error) => return Err(error),
        };
        let end = chain.last.next_offset;
        if let Some(before) = &chain.before {
            let from = before.next_offset;
            let is_older = |file: &&SegmentFile| file.next_offset <= from;
            // A merged segment has rows of commits before the one that published it, so none has rows of both sides.
            let is_divided = !chain.files.iter().any(|file| file.first_offset < from && from < file.next_offset);
            match state::read(objects, &before.state) {
                Ok(state) if is_divided => {
                    let files: Arc<[SegmentFile]> = chain.files.iter().filter(is_older).cloned().collect();
                    let undone = chain.files.iter().filter(|file| !is_older(file)).map(|file| file.id).collect();
                    let loss = format!(
                        "the state of the newest commit cannot be read ({newest}): going on from the one before it; requests {from} to \
                         {end} of the journal are folded again"
                    );
                    return Ok(Self { undone, loss: Some(loss), ..Self::at(before, state, files) });
                }
                Ok(_) | Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let loss = format!(
            "the states of the last two commits cannot be read ({newest}): the shard goes on with its segments at offset {end}, and has \
             forgotten the rest: a retry of a request from before now counts twice, and running totals begin anew"
        );
        Ok(Self { loss: Some(loss), ..Self::at(&chain.last, Bytes::new(), chain.files.clone()) })
    }

    fn at(commit: &Manifest, state: Bytes, files: Arc<[SegmentFile]>) -> Self {
        Self {
            seq: commit.seq,
            next_offset: commit.next_offset,
            watermark_ns: commit.watermark_ns,
            committed_ns: commit.committed_ns,
            state,
            files,
            undone: Vec::new(),
            loss: None,
        }
    }
}

/// What the next manifest says of the commit before it: nothing of one that cannot be read.
fn last_change(chain: &Chain) -> Delta {
    let last = &chain.last;
    if last.seq + 1 == chain.next_seq {
        Delta { added: last.added.clone(), dropped: last.dropped.clone() }
    } else {
        Delta::default()
    }
}

/// How far a shard has read its journal, by its newest commit that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSoFar {
    /// The shard.
    pub shard: u32,
    /// The first offset that is not part of the commit.
    pub next_offset: u64,
    /// The journal, if it has a name.
    pub journal: Option<u128>,
}

/// How far all shards have read. Those whose manifests cannot be read are left out.
pub(crate) fn read_so_far(objects: &Objects) -> Result<Vec<ReadSoFar>, StoreError> {
    let folders = objects.list("manifest")?;
    let shards: BTreeSet<u32> =
        folders.iter().filter_map(|listed| listed.path.split('/').nth(1)?.parse().ok()).collect();
    let mut read = Vec::new();
    for shard in shards {
        match read_chain(objects, shard) {
            Ok(Some(Chain { last, .. })) => {
                read.push(ReadSoFar { shard, next_offset: last.next_offset, journal: last.journal });
            }
            Ok(None) | Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
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

/// What is wrong with a shard that has files of more than a first commit, which may not have come to be, and no manifest.
pub(crate) const NO_MANIFEST: &str = "files of later commits are there, and no manifest";

/// The largest number of a commit in the names of files, if it is not the first.
pub(crate) fn later_commit(written: &[Listed]) -> Option<u64> {
    written.iter().filter_map(|file| seq_of(&file.path)).max().filter(|seq| *seq > 0)
}

/// The number of the commit in the path of a segment or a state.
fn seq_of(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    let mut numbers = name.split(['-', '.']);
    if !path.starts_with("state/") {
        numbers.next();
    }
    numbers.next()?.parse().ok()
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

/// Files that the last two commits do not name: when the newest cannot be read, the shard goes on from the one before.
pub(crate) fn orphans<'a>(chain: &Chain, written: &'a [Listed]) -> impl Iterator<Item = &'a str> {
    let paths = chain.files.iter().chain(&chain.dropped).flat_map(SegmentFile::paths);
    let mut named: HashSet<String> = paths.map(|path| path.to_string()).collect();
    named.extend([Some(&chain.last), chain.before.as_ref()].into_iter().flatten().map(|of| of.state.path.clone()));
    written.iter().map(|file| file.path.as_str()).filter(move |path| !named.contains(*path))
}

fn remove(objects: &Objects, shard: u32, paths: Vec<String>) {
    if !paths.is_empty() {
        tracing::info!(shard, files = paths.len(), first = paths[0], "removing files that belong to no commit");
    }
    objects.delete_all(paths);
}
