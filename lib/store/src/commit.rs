//! The commit of a shard: segments and state first, then the manifest that makes them visible.
//!
//! The create-only manifest is the one commit point. Whatever fails before it leaves only files that no manifest names;
//! they are removed at once where possible and otherwise when the shard is opened. All of it runs in the calling
//! thread.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parquet::errors::ParquetError;

use crate::attempt::Attempt;
use crate::encode::{Beside, SegmentEncoder};
use crate::manifest::{self, Delta, Manifest, SNAPSHOT_EVERY, StateFile};
use crate::objects::Created;
use crate::proposals::Taken;
use crate::reaper::Reaper;
use crate::shared::Shared;
use crate::sort::SortedRows;
use crate::{HotRows, SegmentFile, SegmentId, StoreError, Table, state};

/// What a shard publishes in one atomic step.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Every record below this journal offset is in the rows and the state of this and earlier commits.
    pub next_offset: u64,
    /// The shard's watermark, ns.
    pub watermark_ns: i64,
    /// Now, ns: retention and the grace of dropped segments count by it.
    pub commit_ns: i64,
    /// The rows since the last commit. A table may come more than once; tables without rows make no segment.
    pub rows: Vec<(Table, Vec<HotRows>)>,
    /// What the shard needs to go on after a restart. Opaque to the store.
    pub state: Bytes,
    /// Segments to drop, besides those that retention drops.
    pub drop: Vec<SegmentId>,
}

/// What a shard goes on from after a restart.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Journal offset to read from.
    pub next_offset: u64,
    /// Watermark of the last commit, ns.
    pub watermark_ns: i64,
    /// Time of the last commit, ns.
    pub committed_ns: i64,
    /// State of that commit; empty when neither its state nor that of the one before can be read. Segments and position are good then, and
    /// what the shard remembered besides is lost.
    pub state: Bytes,
    /// Live segments.
    pub files: Arc<[SegmentFile]>,
    /// Sequence number of the last commit.
    pub seq: u64,
}

/// The one writer of a shard. All calls block on the disk: use it from a thread of your own or a blocking task.
#[derive(Debug)]
pub struct ShardCommitter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shard: u32,
    /// Random: tells our commits from another writer's.
    pub(crate) writer: u64,
    /// The sequence number of the next commit.
    pub(crate) next_seq: u64,
    /// The journal offset that the next commit begins at.
    pub(crate) first_offset: u64,
    pub(crate) files: Arc<[SegmentFile]>,
    /// The journal that the offsets are of.
    pub(crate) journal: Option<u128>,
    /// What the last commit has changed; `None` when this committer does not know.
    pub(crate) before: Option<Delta>,
    /// Segments of commits that were gone back behind: the journal gives their rows again, and the next commit drops them.
    pub(crate) undone: Vec<SegmentId>,
    /// The next manifest lists everything, because one before it cannot be read.
    pub(crate) lists_all: bool,
    /// As of the last commit, ns.
    pub(crate) watermark_ns: i64,
    /// State files of the last two commits, older first; one when they have the same.
    pub(crate) states: Vec<StateFile>,
    pub(crate) reaper: Reaper,
}

impl ShardCommitter {
    /// Writes the rows as sorted Parquet, encoded in the calling thread, and publishes them with state and position.
    ///
    /// Returns the new list of live segments; give it to readers in the same step as the rows leave the hot tier. On an
    /// error nothing of the commit is visible, and it may be tried again with the same or more rows when the error is
    /// [`StoreError::retryable`]. After [`StoreError::Fenced`] drop all state and open the shard again; after
    /// [`StoreError::InDoubt`] end the process: what is durable is found out at the next start.
    pub fn commit(&mut self, commit: Commit) -> Result<Arc<[SegmentFile]>, StoreError> {
        let started = Instant::now();
        let result = self.try_commit(commit);
        self.shared.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        match &result {
            Ok(files) => tracing::debug!(
                shard = self.shard,
                seq = self.next_seq - 1,
                segments = files.len(),
                elapsed_ms = started.elapsed().as_millis() as u64,
                "committed"
            ),
            Err(error) => {
                self.shared.metrics.commit_failures.inc();
                tracing::error!(shard = self.shard, seq = self.next_seq, %error, "failed to commit");
            }
        }
        result
    }

    /// Says which journal the offsets are of from now on, so that another one is not taken for it after a restart.
    pub fn set_journal(&mut self, journal: Option<u128>) {
        self.journal = journal;
    }

    /// Commits what the last commit left, under this writer's name: whoever had the shard before is fenced from now on. After
    /// [`StoreError::Fenced`] somebody else was first: open the shard again. A shard without a commit needs a real one.
    pub fn take_over(&mut self, now_ns: i64) -> Result<(), StoreError> {
        let Some(state) = self.states.last().cloned() else {
            let reason = format!("shard {} has no commit whose state could be taken over", self.shard);
            return Err(StoreError::Config(reason));
        };
        let (first_offset, watermark_ns) = (self.first_offset, self.watermark_ns);
        let position = Position { first_offset, next_offset: first_offset, watermark_ns, commit_ns: now_ns };
        let files = self.files.clone();
        let manifest = self.manifest(&position, state, Vec::new(), Vec::new(), &files);
        self.publish(&manifest).map_err(|failed| failed.error)?;
        self.advance(manifest, files);
        tracing::info!(shard = self.shard, seq = self.next_seq - 1, "shard taken over");
        Ok(())
    }

    /// The live segments as of the last commit.
    pub fn files(&self) -> Arc<[SegmentFile]> {
        self.files.clone()
    }

    /// The sequence number of the last commit; `None` before the first.
    pub fn seq(&self) -> Option<u64> {
        self.next_seq.checked_sub(1)
    }

    /// The sequence number of the next commit.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The random number that tells this writer's manifests from another's.
    pub fn writer(&self) -> u64 {
        self.writer
    }

    /// The shard.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    fn try_commit(&mut self, commit: Commit) -> Result<Arc<[SegmentFile]>, StoreError> {
        let shared = self.shared.clone();
        let mut attempt = Attempt::new(&shared.objects);
        let (position, state) = (Position::of(self, &commit), commit.state.clone());
        let mut dropped = self.to_drop(&commit.drop, commit.commit_ns);
        dropped.extend(&self.undone);
        let mut added = Vec::new();
        for (table, rows) in by_table(commit.rows) {
            for (part, sorted) in (0..).zip(SortedRows::by_window(table, rows)?) {
                added.push(self.write_segment(&mut attempt, part, &sorted, &position)?);
            }
        }
        let mut replacements = shared.proposals.take(self.shard, &shared.objects);
        self.replace(&mut replacements, &mut added, &mut dropped);
        let state = self.write_state(&mut attempt, &state)?;
        let files = with_changes(&self.files, &added, &dropped);
        let manifest = self.manifest(&position, state, added, dropped, &files);
        let published = self.publish(&manifest);
        attempt.keep = !matches!(&published, Err(failed) if failed.nothing_published);
        match published {
            Ok(()) => replacements.published(),
            Err(failed) => {
                if !failed.nothing_published {
                    replacements.in_doubt();
                }
                return Err(failed.error);
            }
        }
        self.advance(manifest, files);
        Ok(self.files.clone())
    }

    /// Puts what was compacted in the place of what it was made from. What was made from a segment that is live no more is void.
    fn replace(&self, replacements: &mut Taken<'_>, added: &mut Vec<SegmentFile>, dropped: &mut Vec<SegmentId>) {
        let live: HashSet<SegmentId> = self.files.iter().map(|file| file.id).collect();
        for replacement in replacements.iter_mut() {
            let is_live = |id: &SegmentId| live.contains(id) && !dropped.contains(id);
            replacement.is_void = !replacement.inputs.iter().all(is_live);
            if replacement.is_void {
                continue;
            }
            dropped.extend(&replacement.inputs);
            let Some(output) = &replacement.output else { continue };
            let part = added.iter().filter(|file| file.table == output.table).count() as u32;
            added.push(SegmentFile { id: SegmentId { seq: self.next_seq, part, ..output.id }, ..output.clone() });
        }
    }

    /// The live segments among those asked for, and those whose time is over.
    fn to_drop(&self, asked: &[SegmentId], now_ns: i64) -> Vec<SegmentId> {
        let asked: HashSet<&SegmentId> = asked.iter().collect();
        let retention = &self.shared.config.retention;
        let is_over = |file: &SegmentFile| retention.is_over(file, now_ns);
        self.files.iter().filter(|file| asked.contains(&file.id) || is_over(file)).map(|file| file.id).collect()
    }

    fn write_segment(
        &self,
        attempt: &mut Attempt<'_>,
        part: u32,
        sorted: &SortedRows,
        position: &Position,
    ) -> Result<SegmentFile, StoreError> {
        let table = sorted.table();
        let not_encoded = |error: ParquetError| StoreError::Rows { table: table.name(), reason: error.to_string() };
        let mut encoder = SegmentEncoder::new(table, sorted.num_rows(), 0, Beside::Blooms).map_err(not_encoded)?;
        for batch in sorted.batches() {
            encoder.write(&batch).map_err(not_encoded)?;
        }
        let encoded = encoder.finish().map_err(not_encoded)?;
        let (shard, seq) = (self.shard, self.next_seq);
        let (from, to) = (position.first_offset, position.next_offset);
        let name = format!("data/{table}/{shard}-{seq}-{part}-{from}-{to}");
        let written = attempt.create_segment(&name, &encoded)?;
        Ok(SegmentFile {
            id: SegmentId { shard, seq, table, part },
            table,
            path: written.segment.path,
            rows: encoded.rows,
            bytes: written.segment.bytes,
            time_min_ns: sorted.time_min_ns,
            time_max_ns: sorted.time_max_ns,
            shard,
            first_offset: from,
            next_offset: to,
            committed_ns: position.commit_ns,
            crc32c: written.segment.crc32c,
            window: sorted.window,
            level: 0,
            thinned_ns: 0,
            blooms: written.blooms,
            index: written.index,
            parts: Some(written.parts),
            pin: Arc::default(),
        })
    }

    fn write_state(&self, attempt: &mut Attempt<'_>, bytes: &Bytes) -> Result<StateFile, StoreError> {
        let (shard, seq) = (self.shard, self.next_seq);
        let path = attempt.create(&state::encode(bytes), |number| state::path(shard, seq, number))?;
        Ok(StateFile { path, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
    }

    fn manifest(
        &self,
        position: &Position,
        state: StateFile,
        added: Vec<SegmentFile>,
        dropped: Vec<SegmentId>,
        files: &Arc<[SegmentFile]>,
    ) -> Manifest {
        let lists_all = self.lists_all || self.next_seq.is_multiple_of(SNAPSHOT_EVERY);
        let mut lost = self.shared.aside.of_shard(self.shard);
        lost.retain(|lost| files.binary_search_by_key(&lost.id, |file| file.id).is_ok());
        Manifest {
            shard: self.shard,
            seq: self.next_seq,
            writer: self.writer,
            owner: self.shared.config.advertise.as_deref().map(Arc::from),
            journal: self.journal,
            next_offset: position.next_offset,
            watermark_ns: position.watermark_ns,
            committed_ns: position.commit_ns,
            state,
            added,
            dropped,
            before: self.before.clone(),
            lost,
            snapshot: lists_all.then(|| files.clone()),
        }
    }

    /// Creates the manifest. If one is there already, it is either ours, from a call whose answer was lost, or another
    /// writer's: only the same bytes, which include our random writer id, are ours.
    ///
    /// If the create fails and ours is there nevertheless, nobody knows whether it would survive a power loss of this machine; a server
    /// that shows it has it. If a server does not show it, it may still come to be: what it names is kept, and the next attempt
    /// finds out, because it is then another one's in its place.
    fn publish(&self, manifest: &Manifest) -> Result<(), NotPublished> {
        let (shard, seq, objects) = (self.shard, manifest.seq, &self.shared.objects);
        let (path, bytes) = (manifest::path(shard, seq), Bytes::from(manifest::encode(manifest)));
        let failure = match objects.create(&path, bytes.clone()) {
            Ok(Created::Yes) => return Ok(()),
            Ok(Created::Exists) => None,
            Err(error) => Some(error),
        };
        let there = objects.get(&path);
        if objects.is_remote() {
            return match (there, failure) {
                (Ok(Some(there)), _) if there == bytes => Ok(()),
                (Ok(Some(_)), _) => Err(NotPublished::surely(StoreError::Fenced { shard, seq })),
                (_, Some(error)) | (Err(error), None) => Err(NotPublished::maybe(error)),
                (Ok(None), None) => Err(NotPublished::maybe(StoreError::Fenced { shard, seq })),
            };
        }
        let in_doubt = |error| NotPublished::maybe(StoreError::InDoubt { shard, seq, source: Box::new(error) });
        match (there, failure) {
            (Ok(Some(there)), None) if there == bytes => Ok(()),
            (Ok(Some(there)), Some(error)) if there == bytes => Err(in_doubt(error)),
            (Ok(None), Some(error)) => Err(NotPublished::surely(error)),
            (Err(_), Some(error)) | (Err(error), None) => Err(in_doubt(error)),
            (Ok(_), _) => Err(NotPublished::surely(StoreError::Fenced { shard, seq })),
        }
    }

    /// What follows from a commit. Nothing in here can fail it any more.
    fn advance(&mut self, manifest: Manifest, files: Arc<[SegmentFile]>) {
        let dropped: HashSet<SegmentId> = manifest.dropped.iter().copied().collect();
        let gone: Vec<SegmentFile> = self.files.iter().filter(|file| dropped.contains(&file.id)).cloned().collect();
        self.shared.metrics.removed(&gone);
        self.shared.metrics.added(&manifest.added);
        self.shared.forget(&gone);
        self.shared.aside.keep_live(self.shard, &files, &self.shared.metrics);
        self.files = files;
        self.first_offset = manifest.next_offset;
        self.next_seq = manifest.seq + 1;

        (self.undone, self.lists_all) = (Vec::new(), false);
        let mut garbage = self.reaper.due(gone, manifest.committed_ns, self.shared.config.grace_ns());
        self.watermark_ns = manifest.watermark_ns;
        if self.states.last() != Some(&manifest.state) {
            self.states.push(manifest.state.clone());
        }
        while self.states.len() > 2 {
            garbage.push(self.states.remove(0).path);
        }
        if manifest.seq.is_multiple_of(SNAPSHOT_EVERY) {
            let superseded = manifest::superseded(manifest.seq);
            let newest = superseded.end.saturating_sub(SNAPSHOT_EVERY);
            garbage.extend((newest..superseded.end).map(|seq| manifest::path(self.shard, seq)));
        }
        self.before = Some(Delta { added: manifest.added, dropped: manifest.dropped });
        self.shared.objects.delete_all(garbage);
    }
}

impl Drop for ShardCommitter {
    fn drop(&mut self) {
        self.shared.metrics.removed(self.files.iter());
    }
}

/// A manifest that was not created, as far as is known.
struct NotPublished {
    error: StoreError,
    /// Whether it is certain that it is not there and will not be.
    nothing_published: bool,
}

impl NotPublished {
    fn surely(error: StoreError) -> Self {
        Self { error, nothing_published: true }
    }

    fn maybe(error: StoreError) -> Self {
        Self { error, nothing_published: false }
    }
}

/// The position and times of a commit.
struct Position {
    first_offset: u64,
    next_offset: u64,
    watermark_ns: i64,
    commit_ns: i64,
}

impl Position {
    fn of(committer: &ShardCommitter, commit: &Commit) -> Self {
        Self {
            first_offset: committer.first_offset,
            next_offset: commit.next_offset,
            watermark_ns: commit.watermark_ns,
            commit_ns: commit.commit_ns,
        }
    }
}

fn by_table(rows: Vec<(Table, Vec<HotRows>)>) -> BTreeMap<Table, Vec<HotRows>> {
    let mut tables: BTreeMap<Table, Vec<HotRows>> = BTreeMap::new();
    for (table, rows) in rows {
        tables.entry(table).or_default().extend(rows);
    }
    tables
}

/// The live segments after a commit, in the order of their ids.
fn with_changes(files: &[SegmentFile], added: &[SegmentFile], dropped: &[SegmentId]) -> Arc<[SegmentFile]> {
    let dropped: HashSet<&SegmentId> = dropped.iter().collect();
    let mut live: Vec<SegmentFile> =
        files.iter().filter(|file| !dropped.contains(&file.id)).chain(added).cloned().collect();
    live.sort_by_key(|file| file.id);
    live.into()
}
