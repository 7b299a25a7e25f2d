//! Segments that are damaged: set aside, so that everything else goes on without them, and never passed over in silence.
//!
//! A segment is set aside when a shard is opened and its file is missing or has another size, and when a reader finds damage in it. From
//! then on no snapshot has it, and every snapshot says what is missing. It stays live: manifests go on naming it, with what it costs, and
//! its file is neither moved nor deleted before its time is over. What was restored is taken up again when the shard is next opened.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::temporal_conversions::timestamp_ns_to_datetime;

use crate::metrics::Metrics;
use crate::objects::Listed;
use crate::shared::Shared;
use crate::{SegmentFile, SegmentId, StoreError, Table};

/// A live segment that cannot be read: answers are made without its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostSegment {
    /// Its name.
    pub id: SegmentId,
    /// The table, as in `id`.
    pub table: Table,
    /// Where it is in the store.
    pub path: Arc<str>,
    /// Rows that are missing.
    pub rows: u64,
    /// Smallest event time of its rows, ns.
    pub time_min_ns: i64,
    /// Largest event time of its rows, ns.
    pub time_max_ns: i64,
    /// What is wrong with it.
    pub reason: Arc<str>,
    /// It is not taken up again even if its file is good: its rows may be in another segment too.
    pub for_good: bool,
}

impl LostSegment {
    pub(crate) fn of(file: &SegmentFile, reason: impl Into<Arc<str>>) -> Self {
        Self {
            id: file.id,
            table: file.table,
            path: file.path.clone(),
            rows: file.rows,
            time_min_ns: file.time_min_ns,
            time_max_ns: file.time_max_ns,
            reason: reason.into(),
            for_good: false,
        }
    }

    /// Whether rows with an event time in `from_ns..to_ns` can be among those that are missing. `i64::MAX` as the end has no end.
    pub fn overlaps(&self, from_ns: i64, to_ns: i64) -> bool {
        (self.time_min_ns < to_ns || to_ns == i64::MAX) && self.time_max_ns >= from_ns
    }
}

/// What is missing, as a sentence for those who get an answer without it.
impl fmt::Display for LostSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, rows, time_min_ns, time_max_ns, path, reason, .. } = self;
        let (from, to) = (utc(*time_min_ns), utc(*time_max_ns));
        write!(f, "{rows} rows of {table} from {from} to {to} are missing: {path} is damaged ({reason})")
    }
}

/// A time in UTC, to the second.
fn utc(ns: i64) -> String {
    timestamp_ns_to_datetime(ns).map_or_else(|| ns.to_string(), |time| time.format("%FT%TZ").to_string())
}

/// The segments of all shards that are set aside.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    segments: Mutex<BTreeMap<SegmentId, LostSegment>>,
}

impl Aside {
    pub(crate) fn all(&self) -> Vec<LostSegment> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn of_shard(&self, shard: u32) -> Vec<LostSegment> {
        self.lock().values().filter(|lost| lost.id.shard == shard).cloned().collect()
    }

    /// Sets a segment aside and says so, once.
    pub(crate) fn add(&self, lost: LostSegment, file: &Path, metrics: &Metrics) {
        let mut segments = self.lock();
        if segments.contains_key(&lost.id) {
            return;
        }
        metrics.set_aside(lost.table, lost.rows, 1);
        tracing::error!(
            path = %file.display(),
            segment = %lost.id,
            reason = %lost.reason,
            "{lost}; answers are made without them and say so. The file is kept as it is: restored from a backup, it is taken up again at the next start"
        );
        segments.insert(lost.id, lost);
    }

    /// Forgets a segment: it is not live any more, or good again.
    pub(crate) fn forget(&self, id: SegmentId, metrics: &Metrics) {
        if let Some(lost) = self.lock().remove(&id) {
            metrics.set_aside(lost.table, lost.rows, -1);
        }
    }

    /// Forgets the segments of a shard that are not live any more.
    pub(crate) fn keep_live(&self, shard: u32, live: &[SegmentFile], metrics: &Metrics) {
        for lost in self.of_shard(shard) {
            if !live.iter().any(|file| file.id == lost.id) {
                self.forget(lost.id, metrics);
            }
        }
    }

    /// Only those that are not set aside.
    pub(crate) fn without(&self, files: &Arc<[SegmentFile]>) -> Arc<[SegmentFile]> {
        let segments = self.lock();
        if segments.is_empty() || !files.iter().any(|file| segments.contains_key(&file.id)) {
            return files.clone();
        }
        files.iter().filter(|file| !segments.contains_key(&file.id)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SegmentId, LostSegment>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all segments are there in their size.
pub(crate) fn all_there(files: &[SegmentFile], written: &[Listed]) -> bool {
    let sizes: HashMap<&str, u64> = written.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    files.iter().all(|file| sizes.get(&*file.path) == Some(&file.bytes))
}

/// Sets aside the live segments that are known to be lost, without looking at them.
pub(crate) fn take_known(shared: &Shared, files: &[SegmentFile], known: &[LostSegment]) {
    for lost in known.iter().filter(|lost| files.iter().any(|file| file.id == lost.id)) {
        shared.aside.add(lost.clone(), &shared.objects.file(&lost.path), &shared.metrics);
    }
}

/// Sets aside what is missing or has another size, and what was set aside before and has not become good since. Bytes are checked when
/// they are read. `known` is what the newest manifest says is lost.
pub(crate) fn look_at(
    shared: &Shared,
    files: &[SegmentFile],
    written: &[Listed],
    known: &[LostSegment],
) -> Result<(), StoreError> {
    let sizes: BTreeMap<&str, u64> = written.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    let known: BTreeMap<SegmentId, &LostSegment> = known.iter().map(|lost| (lost.id, lost)).collect();
    for file in files {
        let path = shared.objects.file(&file.path);
        if let Some(lost) = known.get(&file.id).filter(|lost| lost.for_good) {
            shared.aside.add((*lost).clone(), &path, &shared.metrics);
            continue;
        }
        let found = sizes.get(&*file.path).copied();
        let reason = match not_whole(file, found) {
            Some(reason) => Some(reason),
            None if known.contains_key(&file.id) => still_damaged(shared, file)?,
            None => None,
        };
        if let Some(reason) = reason {
            shared.aside.add(LostSegment::of(file, reason), &path, &shared.metrics);
        } else {
            shared.aside.forget(file.id, &shared.metrics);
            if known.contains_key(&file.id) {
                tracing::info!(path = %path.display(), rows = file.rows, "a segment that was damaged is good again");
            }
        }
    }
    Ok(())
}

/// What is wrong with a file of this size, if anything.
pub(crate) fn not_whole(file: &SegmentFile, found: Option<u64>) -> Option<String> {
    match found {
        None => Some("it is missing, and a manifest lists it".to_owned()),
        Some(bytes) if bytes != file.bytes => Some(format!("it has {bytes} bytes instead of {}", file.bytes)),
        Some(_) => None,
    }
}

/// What is wrong with the bytes of a segment that was damaged before.
fn still_damaged(shared: &Shared, file: &SegmentFile) -> Result<Option<String>, StoreError> {
    match shared.segment_bytes(file) {
        Ok(_) => Ok(None),
        Err(StoreError::Damaged { reason, .. }) => Ok(Some(reason)),
        Err(error @ StoreError::Gone { .. }) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}
