//! The commit of a shard: segments and state first, then the manifest that makes them visible.
//!
//! The create-only manifest is the one commit point. Whatever fails before it leaves only files that no manifest names;
//! they are removed at once where possible and otherwise when the shard is opened. All of it runs in the calling
//! thread.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::manifest::{self, Manifest, SNAPSHOT_EVERY, StateFile};
use crate::objects::Created;
use crate::reaper::Reaper;
use crate::shared::Shared;
use crate::sort::SortedRows;
use crate::{HotRows, SegmentFile, SegmentId, StoreError, Table, encode, merge, state};

/// How many names of an earlier attempt's left-overs a commit steps over. Left-overs stay only when their removal
/// failed.
const ATTEMPTS_MAX: u32 = 64;

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
    /// State of the last commit.
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
    /// State files of the last two commits, older first.
    pub(crate) states: Vec<String>,
    pub(crate) reaper: Reaper,
}

/// Files that an attempt has written. They are removed when this goes, unless they are to be kept.
struct Attempt<'a> {
    shared: &'a Shared,
    written: Vec<String>,
    /// Whether a manifest names them, or may.
    keep: bool,
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

    /// The live segments as of the last commit.
    pub fn files(&self) -> Arc<[SegmentFile]> {
        self.files.clone()
    }

    /// The sequence number of the next commit.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The shard.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    fn try_commit(&mut self, commit: Commit) -> Result<Arc<[SegmentFile]>, StoreError> {
        let shared = self.shared.clone();
        let mut attempt = Attempt { shared: &shared, written: Vec::new(), keep: false };
        let (position, state) = (Position::of(self, &commit), commit.state.clone());
        let mut dropped = self.to_drop(&commit.drop, commit.commit_ns);
        let mut added = Vec::new();
        for (table, mut rows) in by_table(commit.rows) {
            let merged = self.merge(table, &mut rows, &dropped, commit.commit_ns);
            added.extend(self.write_segment(&mut attempt, table, rows, &position, &merged)?);
            dropped.extend(merged.iter().map(|file| file.id));
        }
        let state = self.write_state(&mut attempt, &state)?;
        let files = with_changes(&self.files, &added, &dropped);
        let manifest = self.manifest(&position, state, added, dropped, &files);
        let published = self.publish(&manifest);
        attempt.keep = !matches!(&published, Err(error) if error.nothing_published());
        published?;
        self.advance(manifest, files);
        Ok(self.files.clone())
    }

    /// The live segments among those asked for, and those whose time is over.
    fn to_drop(&self, asked: &[SegmentId], now_ns: i64) -> Vec<SegmentId> {
        let asked: HashSet<&SegmentId> = asked.iter().collect();
        let retention = &self.shared.config.retention;
        let over = |file: &SegmentFile| now_ns.saturating_sub(file.committed_ns) > retention.of(file.table);
        self.files.iter().filter(|file| asked.contains(&file.id) || over(file)).map(|file| file.id).collect()
    }

    /// Adds the rows of small segments that are worth merging to the rows of the commit, and gives those segments.
    fn merge(&self, table: Table, rows: &mut Vec<HotRows>, dropped: &[SegmentId], now_ns: i64) -> Vec<SegmentFile> {
        if rows.iter().all(|rows| rows.num_rows() == 0) {
            return Vec::new();
        }
        let count_min = self.shared.config.merge_segments_min;
        let chosen = merge::worth_merging(&self.files, table, dropped, now_ns, count_min);
        match merge::rows_of(&self.shared, &chosen) {
            Ok(stored) => {
                rows.extend(stored);
                chosen
            }
            // The commit does not depend on it. A reader of the segment gets the same error.
            Err(error) => {
                tracing::error!(shard = self.shard, %error, "cannot merge small segments");
                Vec::new()
            }
        }
    }

    fn write_segment(
        &self,
        attempt: &mut Attempt<'_>,
        table: Table,
        rows: Vec<HotRows>,
        position: &Position,
        merged: &[SegmentFile],
    ) -> Result<Option<SegmentFile>, StoreError> {
        let Some(sorted) = SortedRows::new(table, rows)? else { return Ok(None) };
        let bytes = encode::encode(table, &sorted)
            .map_err(|error| StoreError::Rows { table: table.name(), reason: error.to_string() })?;
        let (size, crc32c) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        let (shard, seq) = (self.shard, self.next_seq);
        let from = merged.iter().map(|file| file.first_offset).fold(position.first_offset, u64::min);
        let to = position.next_offset;
        let path = attempt.create(&bytes, |number| match number {
            0 => format!("data/{table}/{shard}-{seq}-{from}-{to}.parquet"),
            _ => format!("data/{table}/{shard}-{seq}-{from}-{to}-{number}.parquet"),
        })?;
        Ok(Some(SegmentFile {
            id: SegmentId { shard, seq, table },
            table,
            path: path.into(),
            rows: sorted.num_rows() as u64,
            bytes: size,
            time_min_ns: sorted.time_min_ns,
            time_max_ns: sorted.time_max_ns,
            shard,
            first_offset: from,
            next_offset: to,
            committed_ns: position.commit_ns,
            crc32c,
            pin: Arc::default(),
        }))
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
        Manifest {
            shard: self.shard,
            seq: self.next_seq,
            writer: self.writer,
            next_offset: position.next_offset,
            watermark_ns: position.watermark_ns,
            committed_ns: position.commit_ns,
            state,
            added,
            dropped,
            snapshot: self.next_seq.is_multiple_of(SNAPSHOT_EVERY).then(|| files.clone()),
        }
    }

    /// Creates the manifest. If one is there already, it is either ours, from a call whose answer was lost, or another
    /// writer's: only the same bytes, which include our random writer id, are ours. If the create fails and ours is
    /// there nevertheless, nobody knows whether it would survive a power loss.
    fn publish(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let (shard, seq, objects) = (self.shard, manifest.seq, &self.shared.objects);
        let (path, bytes) = (manifest::path(shard, seq), Bytes::from(manifest::encode(manifest)));
        let failure = match objects.create(&path, bytes.clone()) {
            Ok(Created::Yes) => return Ok(()),
            Ok(Created::Exists) => None,
            Err(error) => Some(error),
        };
        let in_doubt = |error| StoreError::InDoubt { shard, seq, source: Box::new(error) };
        match (objects.get(&path), failure) {
            (Ok(Some(there)), None) if there == bytes => Ok(()),
            (Ok(Some(there)), Some(error)) if there == bytes => Err(in_doubt(error)),
            (Ok(None), Some(error)) => Err(error),
            (Err(_), Some(error)) | (Err(error), None) => Err(in_doubt(error)),
            (Ok(_), _) => Err(StoreError::Fenced { shard, seq }),
        }
    }

    /// What follows from a commit. Nothing in here can fail it any more.
    fn advance(&mut self, manifest: Manifest, files: Arc<[SegmentFile]>) {
        let dropped: HashSet<SegmentId> = manifest.dropped.iter().copied().collect();
        let gone: Vec<SegmentFile> = self.files.iter().filter(|file| dropped.contains(&file.id)).cloned().collect();
        self.shared.metrics.removed(&gone);
        self.shared.metrics.added(&manifest.added);
        self.shared.forget(&gone);
        manifest.added.iter().for_each(|file| self.shared.set_verified(file.id));
        self.files = files;
        self.first_offset = manifest.next_offset;
        self.next_seq = manifest.seq + 1;

        let mut garbage = self.reaper.due(gone, manifest.committed_ns, self.shared.config.drop_grace_ns);
        self.states.push(manifest.state.path);
        while self.states.len() > 2 {
            garbage.push(self.states.remove(0));
        }
        if manifest.snapshot.is_some() {
            let superseded = manifest::superseded(manifest.seq);
            let newest = superseded.end.saturating_sub(SNAPSHOT_EVERY);
            garbage.extend((newest..superseded.end).map(|seq| manifest::path(self.shard, seq)));
        }
        self.shared.objects.delete_all(garbage);
    }
}

impl Drop for ShardCommitter {
    fn drop(&mut self) {
        self.shared.metrics.removed(self.files.iter());
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

impl Attempt<'_> {
    /// Creates an object under the first name that is free. A name is taken only by what an earlier attempt or another
    /// writer has left: it must not be overwritten, because a manifest may name it.
    fn create(&mut self, bytes: &Bytes, name: impl Fn(u32) -> String) -> Result<String, StoreError> {
        for number in 0..ATTEMPTS_MAX {
            let path = name(number);
            if self.shared.objects.create(&path, bytes.clone())? == Created::Yes {
                self.written.push(path.clone());
                return Ok(path);
            }
        }
        Err(StoreError::damaged(self.shared.objects.file(&name(0)), "every name that could be used instead is taken"))
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.shared.objects.delete_all(std::mem::take(&mut self.written));
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
