//! The store of one data directory: opened once per process, shared by writers and readers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use prometheus_client::registry::Registry;

use crate::aside::{Aside, LostSegment};
use crate::checked::CheckedObjects;
use crate::durable::{DurableLocal, make_directories};
use crate::elsewhere::{Elsewhere, Incomplete};
use crate::follow::Follower;
use crate::health::{HealthQuery, HealthSeries, SlotSeries, merge_health, merge_slots};
use crate::hot::{HotShard, ReleaseRow, ShardSnapshot, ShardStatus, Snapshot};
use crate::lock::DirectoryLock;
use crate::markers::{MarkerQuery, MarkerRow, VerdictRow, merge_markers, merge_verdicts};
use crate::measures::{MeasureQuery, MeasureSeries, ToggleRow, UsageOfDay, merge_measures, merge_toggles, merge_usage};
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::patterns::{PatternQuery, PatternRow, merge_patterns};
use crate::proposals::Proposals;
use crate::recover::ReadSoFar;
use crate::scan::OpenSegment;
use crate::shared::Shared;
use crate::side::Damaged;
use crate::superblock::{self, SUPERBLOCK, Superblock};
use crate::{
    Candidates, Recovered, SegmentFile, ShardCommitter, StoreConfig, StoreError, Table, Wanted, counts, read, recover,
    s3, side,
};

/// The store of one data directory. The directory's lock is held until the store and all its committers are gone.
///
/// Where other processes fold shards too, [`Store::answer_also_from`] says who asks them; all that is read is then of all shards.
pub struct Store {
    shared: Arc<Shared>,
    superblock: Superblock,
    shards: RwLock<BTreeMap<u32, Arc<dyn HotShard>>>,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
    /// Shards that were opened before, by this process.
    opened: Mutex<HashSet<u32>>,
    /// Held while all objects are looked at.
    looking: Mutex<()>,
}

impl Store {
    /// Opens the directory, or makes it, and takes its lock; or the bucket, which has no lock: there whoever commits first is the writer
    /// of a shard. Blocks on the disk, or on the server.
    ///
    /// Errors: [`StoreError::InUse`], [`StoreError::ReadOnly`], [`StoreError::Full`] when the directory is new and less than
    /// [`StoreConfig::free_bytes_min`] is free, [`StoreError::TooNew`] and [`StoreError::Features`] for a directory of
    /// a newer version, [`StoreError::Damaged`], [`StoreError::Unsuitable`] for a server without conditional writes.
    pub fn open(config: StoreConfig, registry: &mut Registry) -> Result<Arc<Self>, StoreError> {
        Self::open_with(config, registry, |local| local)
    }

    /// Like [`Store::open`], with the object store wrapped: tests inject faults there.
    pub fn open_with(
        config: StoreConfig,
        registry: &mut Registry,
        wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
    ) -> Result<Arc<Self>, StoreError> {
        config.validate()?;
        if let Some(url) = config.url.clone() {
            let objects = Objects::remote(wrap(s3::connect(&url)?), &url)?;
            s3::probe(&objects, &url)?;
            let superblock = superblock::read_or_create_in(&objects, rand::random())?;
            return Ok(Self::over(config, objects, superblock, Access::Bucket, registry));
        }
        let dir = config.dir.clone();
        make_directories(&dir).map_err(|error| StoreError::io("cannot make", &dir, error, 0))?;
        let lock = DirectoryLock::take(&dir)?;
        match check_free_space(&dir, config.free_bytes_min) {
            // What is there can be read. Commits are refused until there is room, and then go on.
            Err(error @ StoreError::Full { .. }) if dir.join(SUPERBLOCK).exists() => {
                tracing::error!(%error, "the disk is full: free some space; what is stored can be read meanwhile");
            }
            checked => checked?,
        }
        let superblock = superblock::read_or_create(&dir, rand::random())?;
        let local = DurableLocal::open(&dir).map_err(|error| {
            let source = std::io::Error::other(error);
            StoreError::Io { operation: "cannot open", path: dir.clone(), source }
        })?;
        let objects = Objects::new(wrap(Arc::new(local)), &dir);
        Ok(Self::over(config, objects, superblock, Access::Directory(lock), registry))
    }

    /// Opens what other processes write, to read it: takes no lock, makes nothing, and opens no shard. Blocks on the disk, or on
    /// the server.
    ///
    /// Errors: [`StoreError::NotYet`] while there is no store, and those of [`Store::open`] that are about reading.
    pub fn follow(config: StoreConfig, registry: &mut Registry) -> Result<Arc<Self>, StoreError> {
        config.validate()?;
        let place = config.url.clone().unwrap_or_else(|| config.dir.display().to_string());
        let objects = match &config.url {
            Some(url) => Objects::remote(s3::connect(url)?, url)?,
            None => match LocalFileSystem::new_with_prefix(&config.dir) {
                Ok(local) => Objects::new(Arc::new(local), &config.dir).written_by_others(),
                Err(_) => return Err(StoreError::NotYet { place }),
            },
        };
        let superblock = superblock::read_in(&objects)?.ok_or(StoreError::NotYet { place })?;
        Ok(Self::over(config, objects, superblock, Access::Follows, registry))
    }

    fn over(
        config: StoreConfig,
        objects: Objects,
        superblock: Superblock,
        access: Access,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let metrics = Metrics::new(registry, &config.retention);
        let (verified, known) = (Mutex::default(), Mutex::default());
        let (proposals, damaged) = (Proposals::default(), Damaged::default());
        let aside = Aside::default();
        let reads_only = matches!(access, Access::Follows);
        let lock = if let Access::Directory(lock) = access { Some(lock) } else { None };
        let shared =
            Shared { config, objects, metrics, verified, known, proposals, damaged, reads_only, aside, _lock: lock };
        let shared = Arc::new(shared);
        let (shards, elsewhere, opened) = (RwLock::default(), OnceLock::new(), Mutex::default());
        Arc::new(Self { shared, superblock, shards, elsewhere, opened, looking: Mutex::default() })
    }

    /// Follows what other processes publish. Knows nothing until it is asked to look.
    pub fn follower(&self) -> Follower {
        Follower::new(self.shared.clone(), self.shared.reads_only)
    }

    /// Says who asks for the shards that other processes fold. Only the first call counts.
    pub fn answer_also_from(&self, elsewhere: Arc<dyn Elsewhere>) {
        let _ = self.elsewhere.set(elsewhere);
    }

    /// The random name that the directory was given when it was made.
    pub fn id(&self) -> u128 {
        self.superblock.store_id
    }

    /// Whether the disk has room for commits: [`StoreError::Full`] when less than [`StoreConfig::free_bytes_min`] is free.
    /// Cheap; may be asked at any time. A bucket always has.
    pub fn check_room(&self) -> Result<(), StoreError> {
        if self.shared.objects.is_remote() {
            return Ok(());
        }
        check_free_space(&self.shared.config.dir, self.shared.config.free_bytes_min)
    }

    /// Becomes the writer of a shard. `None` when the shard has no commit yet. Blocks on the disk.
    ///
    /// Whoever opens a shard again (after [`StoreError::Fenced`]) takes it over: whichever committer publishes next
    /// wins, and the other is fenced. [`ShardCommitter::take_over`] does it at once.
    pub fn open_shard(&self, shard: u32) -> Result<(ShardCommitter, Option<Recovered>), StoreError> {
        if self.shared.reads_only {
            return Err(StoreError::Config(format!(
                "shard {shard} cannot be written: the store was opened for reading"
            )));
        }
        let first = self.opened.lock().expect("no holder of this lock can panic").insert(shard);
        let alone = first && !self.shared.objects.is_remote();
        recover::open_shard(&self.shared, shard, alone)
    }

    /// How far each shard had read its journal at its last commit. Blocks on the disk.
    pub fn read_so_far(&self) -> Result<Vec<ReadSoFar>, StoreError> {
        recover::read_so_far(&self.shared.objects)
    }

    /// What [`Store::open_shard`] leaves out where several processes work on the store, because others wait for the shard and it takes
    /// a look at every object: segments that are missing are set aside, and the removal of what nobody has needed for a
    /// day. Blocks on the server, for some seconds where there is much; one shard at a time.
    pub fn look_over(&self, shard: u32) -> Result<(), StoreError> {
        let _turn = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        recover::look_over(&self.shared, shard)
    }

    /// Makes a shard visible to readers. A second call for the same shard replaces the first.
    pub fn register(&self, shard: u32, hot: Arc<dyn HotShard>) {
        self.shards.write().expect("no holder of this lock can panic").insert(shard, hot);
    }

    /// Takes back [`Store::register`]: another process has the shard from now on. What was compacted for it is forgotten too.
    pub fn unregister(&self, shard: u32) {
        self.shards.write().expect("no holder of this lock can panic").remove(&shard);
        self.shared.proposals.clear(shard, &self.shared.objects);
        // Whoever has it now says what is lost in its manifests.
        self.shared.aside.keep_live(shard, &[], &self.shared.metrics);
    }

    /// A registered shard.
    pub fn shard_here(&self, shard: u32) -> Option<Arc<dyn HotShard>> {
        self.shards.read().expect("no holder of this lock can panic").get(&shard).cloned()
    }

    /// Files and hot rows of all shards, without the segments that are damaged. Rows are taken only for `tables`. Like all questions that follow, it may wait for other
    /// processes where those fold shards (see [`Elsewhere`]).
    pub fn snapshot(&self, tables: &[Table]) -> Snapshot {
        let mut snapshot = self.snapshot_here(tables);
        if let Some(elsewhere) = self.elsewhere.get() {
            let here: Vec<u32> = snapshot.shards.iter().map(|shard| shard.shard).collect();
            let (mut shards, incomplete) = elsewhere.snapshot(tables, &here);
            self.leave_out_damaged(&mut shards);
            snapshot.shards.extend(shards);
            snapshot.shards.sort_by_key(|shard| shard.shard);
            snapshot.incomplete = incomplete;
        }
        snapshot
    }

    /// The same of registered shards only.
    pub fn snapshot_here(&self, tables: &[Table]) -> Snapshot {
        let mut shards: Vec<ShardSnapshot> = self.registered().values().map(|shard| shard.snapshot(tables)).collect();
        self.leave_out_damaged(&mut shards);
        Snapshot { shards, incomplete: Vec::new() }
    }

    fn leave_out_damaged(&self, shards: &mut [ShardSnapshot]) {
        for shard in shards {
            shard.files = self.shared.aside.without(&shard.files);
        }
    }

    /// Takes note of an error that a reader of a snapshot has met. Damage of a live segment sets it aside, and the answer is `true`: a
    /// new snapshot has the rest, [`Store::lost`] what is missing.
    pub fn set_aside(&self, error: &StoreError) -> bool {
        let StoreError::Damaged { path, reason } = error else { return false };
        let mut live: Vec<Arc<[SegmentFile]>> =
            self.registered().values().map(|shard| shard.snapshot(&[]).files).collect();
        live.extend(self.elsewhere.get().into_iter().flat_map(|elsewhere| elsewhere.live_files()));
        let Some(file) =
            live.iter().flat_map(|files| files.iter()).find(|file| self.shared.objects.file(&file.path) == *path)
        else {
            return false;
        };
        self.shared.aside.add(LostSegment::of(file, reason.as_str()), path, &self.shared.metrics);
        true
    }

    /// Live segments that answers are made without, because they are damaged.
    pub fn lost(&self) -> Vec<LostSegment> {
        self.shared.aside.all()
    }

    /// Requests, errors and durations, merged over shards.
    pub fn health(&self, query: &HealthQuery) -> Vec<HealthSeries> {
        merge_health(self.each(|shard| shard.health(query), |elsewhere, here| elsewhere.health(query, here)))
    }

    /// The same by replicate slot, in cells of ten seconds.
    pub fn slots(&self, query: &HealthQuery) -> Vec<SlotSeries> {
        merge_slots(self.each(|shard| shard.slots(query), |elsewhere, here| elsewhere.slots(query, here)))
    }

    /// Log patterns, merged over shards, in order.
    pub fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow> {
        merge_patterns(self.each(|shard| shard.patterns(query), |elsewhere, here| elsewhere.patterns(query, here)))
    }

    /// KPIs, usage and toggles, merged over shards.
    pub fn measures(&self, query: &MeasureQuery) -> Vec<MeasureSeries> {
        let found = self.each(|shard| shard.measures(query), |elsewhere, here| vec![elsewhere.measures(query, here)]);
        merge_measures(found.into_iter().flatten())
    }

    /// Users and sessions of the last day by release, merged over shards.
    pub fn usage_of_day(&self, service: &str, environment: &str) -> Vec<UsageOfDay> {
        let found = self.each(
            |shard| shard.usage_of_day(service, environment),
            |elsewhere, here| vec![elsewhere.usage_of_day(service, environment, here)],
        );
        merge_usage(found.into_iter().flatten())
    }

    /// Every toggle seen, of one service in one environment or of all, merged over shards, in order.
    pub fn toggles(&self, place: Option<(&str, &str)>) -> Vec<ToggleRow> {
        let found = self.each(|shard| shard.toggles(place), |elsewhere, here| vec![elsewhere.toggles(place, here)]);
        merge_toggles(found.into_iter().flatten())
    }

    /// What was said about releases, merged over shards, newest first. From memory: what is kept there is bounded in time, number and
    /// bytes, and more of it may be among the log records.
    pub fn markers(&self, query: &MarkerQuery) -> Vec<MarkerRow> {
        let found = self.each(|shard| shard.markers(query), |elsewhere, here| vec![elsewhere.markers(query, here)]);
        merge_markers(found.into_iter().flatten(), query.limit)
    }

    /// The changes of verdicts, merged over shards, newest first; bounded like [`Store::markers`].
    pub fn verdicts(&self, query: &MarkerQuery) -> Vec<VerdictRow> {
        let found = self.each(|shard| shard.verdicts(query), |elsewhere, here| vec![elsewhere.verdicts(query, here)]);
        merge_verdicts(found.into_iter().flatten(), query.limit)
    }

    /// Every release seen, merged over shards, in order.
    pub fn releases(&self) -> Vec<ReleaseRow> {
        let found = self.each(|shard| shard.releases(), |elsewhere, here| vec![elsewhere.releases(here)]);
        merge_releases(found.into_iter().flatten())
    }

    /// Status of every shard, in the order of their numbers. Never waits: of other processes' shards as of a moment ago.
    pub fn status(&self) -> Vec<ShardStatus> {
        let found = self.each(|shard| vec![shard.status()], |elsewhere, here| vec![elsewhere.status(here)]);
        let mut statuses: Vec<ShardStatus> = found.into_iter().flatten().collect();
        statuses.sort_by_key(|status| status.shard);
        statuses
    }

    /// The same of registered shards only.
    pub fn status_here(&self) -> Vec<ShardStatus> {
        self.registered().values().map(|shard| shard.status()).collect()
    }

    /// The shards whose hot state is missing, or was missing at some time since `since`, so that an answer that was made meanwhile
    /// may lack it. Never waits.
    pub fn incomplete(&self, since: Instant) -> Vec<Incomplete> {
        let Some(elsewhere) = self.elsewhere.get() else { return Vec::new() };
        let here: Vec<u32> = self.registered().into_keys().collect();
        elsewhere.incomplete(since, &here)
    }

    /// Where [`SegmentFile::path`] is found, to be read from. What is read of a segment is checked when
    /// [`Store::know_segment`] was called for it before.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(CheckedObjects(self.shared.clone()))
    }

    /// Reads the rows of a segment with an event time in `time_ns`, only the named columns and in their order, all
    /// columns for `None`; `i64::MAX` as the end has no end. What is read is checked. Blocks on the disk.
    pub fn read_segment(
        &self,
        file: &SegmentFile,
        columns: Option<&[&str]>,
        time_ns: Range<i64>,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let mut batches = Vec::new();
        self.read_candidates(file, &Candidates::All, columns, time_ns, |batch| {
            batches.push(batch);
            ControlFlow::Continue(())
        })?;
        Ok(batches)
    }

    /// Which rows of a segment can have all that is wanted, by its blooms and its index. A segment without them, or whose
    /// blooms and index are damaged, rules out nothing: that is said in the log and by `shipwake doctor`, it is put right in the
    /// background, and the search is only slower. Blocks on the disk.
    pub fn candidates(&self, file: &SegmentFile, wanted: &Wanted) -> Candidates {
        side::candidates(&self.shared, file, wanted)
    }

    /// Like [`Store::read_segment`], only the rows of `candidates`, in the order of the segment (see [`Table::sort_columns`]).
    /// Calls `each` with every batch, of some thousand rows at the most, until it breaks.
    pub fn read_candidates(
        &self,
        file: &SegmentFile,
        candidates: &Candidates,
        columns: Option<&[&str]>,
        time_ns: Range<i64>,
        each: impl FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let schema = file.table.schema();
        let projection: Vec<usize> = match columns {
            None => (0..schema.fields().len()).collect(),
            Some(names) => {
                let index = |name: &&str| schema.index_of(name);
                let indices: Result<_, _> = names.iter().map(index).collect();
                indices.map_err(|error| StoreError::Rows { table: file.table.name(), reason: error.to_string() })?
            }
        };
        if candidates.is_none() || !file.overlaps(time_ns.start, time_ns.end) {
            return Ok(());
        }
        let wish = read::Wish { table: file.table, projection: &projection, time_ns, candidates };
        let segment = OpenSegment::open(&self.shared, file)?;
        read::each_batch(&segment, &wish, each)
    }

    /// Reads what is needed to check parts of a segment: a reader that reads it from [`Store::object_store`] calls this before its
    /// first read. A segment of an older version is checked as a whole, once for each process. Blocks on the disk.
    pub fn know_segment(&self, file: &SegmentFile) -> Result<(), StoreError> {
        self.shared.known(file).map(|_| ())
    }

    /// The lines of a segment of logs by minute, service, namespace, environment, version and level: columns of these names (times are
    /// beginnings of minutes) and `lines`, how many there are. A combination may come in several rows. `None` where lines were not
    /// counted, see [`SegmentFile::has_counts`]. Blocks on the disk.
    pub fn counts(&self, file: &SegmentFile) -> Result<Option<RecordBatch>, StoreError> {
        let Some(bytes) = self.shared.counts_of(file)? else { return Ok(None) };
        let unreadable = || StoreError::damaged(self.shared.objects.file(&file.path), "its counts cannot be read");
        counts::read(&bytes).map(Some).ok_or_else(unreadable)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn registered(&self) -> BTreeMap<u32, Arc<dyn HotShard>> {
        // The lock is let go before the shards are asked: they have locks of their own.
        self.shards.read().expect("no holder of this lock can panic").clone()
    }

    /// The answers of all shards.
    fn each<T>(
        &self,
        ask: impl Fn(&dyn HotShard) -> T,
        ask_elsewhere: impl FnOnce(&dyn Elsewhere, &[u32]) -> Vec<T>,
    ) -> Vec<T> {
        let registered = self.registered();
        let mut answers: Vec<T> = registered.values().map(|shard| ask(shard.as_ref())).collect();
        if let Some(elsewhere) = self.elsewhere.get() {
            let here: Vec<u32> = registered.into_keys().collect();
            answers.extend(ask_elsewhere(elsewhere.as_ref(), &here));
        }
        answers
    }
}

/// How a store is opened.
enum Access {
    /// A directory that is this process's alone.
    Directory(DirectoryLock),
    /// A bucket, which several processes may write to.
    Bucket,
    /// What others write.
    Follows,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.shared.config.dir).finish_non_exhaustive()
    }
}

/// Adds up what shards know of the same release; in order.
pub fn merge_releases(found: impl IntoIterator<Item = ReleaseRow>) -> Vec<ReleaseRow> {
    let mut merged: HashMap<_, ReleaseRow> = HashMap::new();
    for row in found {
        match merged.get_mut(&row.release) {
            Some(known) => known.add(&row),
            None => {
                merged.insert(row.release.clone(), row);
            }
        }
    }
    let mut releases: Vec<ReleaseRow> = merged.into_values().collect();
    releases.sort_by(|a, b| a.release.cmp(&b.release));
    releases
}

impl ReleaseRow {
    /// Adds what another shard knows of the same release. A sender's records all go to one shard, so instances add up.
    fn add(&mut self, other: &ReleaseRow) {
        self.first_seen_ns = self.first_seen_ns.min(other.first_seen_ns);
        self.last_seen_ns = self.last_seen_ns.max(other.last_seen_ns);
        self.records += other.records;
        self.requests += other.requests;
        self.instances += other.instances;
        self.instance_guessed |= other.instance_guessed;
        for hash in &other.hashes {
            if !self.hashes.contains(hash) {
                self.hashes.push(hash.clone());
            }
        }
    }
}

fn check_free_space(dir: &Path, needed: u64) -> Result<(), StoreError> {
    let found = rustix::fs::statvfs(dir).map_err(|error| StoreError::io("cannot examine", dir, error.into(), 0))?;
    if found.f_bavail.saturating_mul(found.f_frsize) < needed {
        return Err(StoreError::Full { path: dir.to_owned(), needed });
    }
    Ok(())
}
