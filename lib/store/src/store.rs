//! The store of one data directory: opened once per process, shared by writers and readers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use prometheus_client::registry::Registry;

use crate::checked::CheckedObjects;
use crate::durable::{DurableLocal, make_directories};
use crate::health::{HealthQuery, HealthSeries, merge_health};
use crate::hot::{HotShard, ReleaseRow, ShardStatus, Snapshot};
use crate::lock::DirectoryLock;
use crate::measures::{MeasureQuery, MeasureSeries, ToggleRow, UsageOfDay, merge_measures, merge_toggles, merge_usage};
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::patterns::{PatternQuery, PatternRow, merge_patterns};
use crate::proposals::Proposals;
use crate::scan::OpenSegment;
use crate::shared::Shared;
use crate::side::Damaged;
use crate::superblock::{self, Superblock};
use crate::{
    Candidates, Recovered, SegmentFile, ShardCommitter, StoreConfig, StoreError, Table, Wanted, counts, read, recover,
    s3, side,
};

/// The store of one data directory. The directory's lock is held until the store and all its committers are gone.
pub struct Store {
    shared: Arc<Shared>,
    superblock: Superblock,
    shards: RwLock<BTreeMap<u32, Arc<dyn HotShard>>>,
    /// Shards that were opened before, by this process.
    opened: Mutex<HashSet<u32>>,
}

impl Store {
    /// Opens the directory, or makes it, and takes its lock; or the bucket, which has no lock: there whoever commits first is the writer
    /// of a shard. Blocks on the disk, or on the server.
    ///
    /// Errors: [`StoreError::InUse`], [`StoreError::ReadOnly`], [`StoreError::Full`] when less than
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
            return Ok(Self::over(config, objects, superblock, None, registry));
        }
        let dir = config.dir.clone();
        make_directories(&dir).map_err(|error| StoreError::io("cannot make", &dir, error, 0))?;
        let lock = DirectoryLock::take(&dir)?;
        check_free_space(&dir, config.free_bytes_min)?;
        let superblock = superblock::read_or_create(&dir, rand::random())?;
        let local = DurableLocal::open(&dir).map_err(|error| {
            let source = std::io::Error::other(error);
            StoreError::Io { operation: "cannot open", path: dir.clone(), source }
        })?;
        let objects = Objects::new(wrap(Arc::new(local)), &dir);
        Ok(Self::over(config, objects, superblock, Some(lock), registry))
    }

    fn over(
        config: StoreConfig,
        objects: Objects,
        superblock: Superblock,
        lock: Option<DirectoryLock>,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let metrics = Metrics::new(registry, &config.retention);
        let (verified, known) = (Mutex::default(), Mutex::default());
        let (proposals, damaged) = (Proposals::default(), Damaged::default());
        let shared = Shared { config, objects, metrics, verified, known, proposals, damaged, _lock: lock };
        let shared = Arc::new(shared);
        Arc::new(Self { shared, superblock, shards: RwLock::default(), opened: Mutex::default() })
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
    /// wins, and the other is fenced.
    pub fn open_shard(&self, shard: u32) -> Result<(ShardCommitter, Option<Recovered>), StoreError> {
        let first = self.opened.lock().expect("no holder of this lock can panic").insert(shard);
        let alone = first && !self.shared.objects.is_remote();
        recover::open_shard(&self.shared, shard, alone)
    }

    /// Makes a shard visible to readers. A second call for the same shard replaces the first.
    pub fn register(&self, shard: u32, hot: Arc<dyn HotShard>) {
        self.shards.write().expect("no holder of this lock can panic").insert(shard, hot);
    }

    /// Files and hot rows of all registered shards. Rows are taken only for `tables`.
    pub fn snapshot(&self, tables: &[Table]) -> Snapshot {
        Snapshot { shards: self.registered().iter().map(|shard| shard.snapshot(tables)).collect() }
    }

    /// Requests, errors and durations, merged over shards.
    pub fn health(&self, query: &HealthQuery) -> Vec<HealthSeries> {
        merge_health(self.registered().iter().map(|shard| shard.health(query)))
    }

    /// Log patterns, merged over shards, in order.
    pub fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow> {
        merge_patterns(self.registered().iter().map(|shard| shard.patterns(query)))
    }

    /// KPIs, usage and toggles, merged over shards.
    pub fn measures(&self, query: &MeasureQuery) -> Vec<MeasureSeries> {
        merge_measures(self.registered().iter().flat_map(|shard| shard.measures(query)))
    }

    /// Users and sessions of the last day by release, merged over shards.
    pub fn usage_of_day(&self, service: &str, environment: &str) -> Vec<UsageOfDay> {
        merge_usage(self.registered().iter().flat_map(|shard| shard.usage_of_day(service, environment)))
    }

    /// Every toggle seen, of one service in one environment or of all, merged over shards, in order.
    pub fn toggles(&self, place: Option<(&str, &str)>) -> Vec<ToggleRow> {
        merge_toggles(self.registered().iter().flat_map(|shard| shard.toggles(place)))
    }

    /// Every release seen, merged over shards, in order.
    pub fn releases(&self) -> Vec<ReleaseRow> {
        let mut merged: HashMap<_, ReleaseRow> = HashMap::new();
        for row in self.registered().iter().flat_map(|shard| shard.releases()) {
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

    /// Status of every registered shard.
    pub fn status(&self) -> Vec<ShardStatus> {
        self.registered().iter().map(|shard| shard.status()).collect()
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

    fn registered(&self) -> Vec<Arc<dyn HotShard>> {
        // The lock is let go before the shards are asked: they have locks of their own.
        self.shards.read().expect("no holder of this lock can panic").values().cloned().collect()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.shared.config.dir).finish_non_exhaustive()
    }
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
    }
}

fn check_free_space(dir: &Path, needed: u64) -> Result<(), StoreError> {
    let found = rustix::fs::statvfs(dir).map_err(|error| StoreError::io("cannot examine", dir, error.into(), 0))?;
    if found.f_bavail.saturating_mul(found.f_frsize) < needed {
        return Err(StoreError::Full { path: dir.to_owned(), needed });
    }
    Ok(())
}
