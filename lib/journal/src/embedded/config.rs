//! Settings of the embedded journal.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::JournalError;

/// Settings of the embedded journal. The defaults suit a terabyte a day on two cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the journal; created when missing. One process at a time.
    pub dir: PathBuf,
    /// Number of partitions. May grow between starts, never shrink: records of a partition that is gone would be lost.
    pub partitions: u32,
    /// A segment file is sealed when it has reached this many bytes. A file is the unit of removal, so smaller files
    /// give disk space back sooner and cost more file operations.
    pub segment_bytes: u64,
    /// At most this many bytes of values are written with one sync, unless a single append is larger. Larger groups
    /// raise the throughput of a slow disk, and the time until an answer.
    pub group_commit_bytes: usize,
    /// At most this many bytes of values wait to be written, per partition; more appends wait.
    pub queue_bytes: usize,
    /// The newest records are kept in memory up to this many bytes of values, over all partitions.
    pub tail_cache_bytes: usize,
    /// Records younger than this (by receive time, measured from the newest record of the partition) are kept even when
    /// they are no longer needed, so that they can be read again.
    pub retention: Duration,
    /// Records that are no longer needed are removed in spite of `retention` when a partition's sealed files exceed
    /// this many bytes.
    pub retained_bytes_max: u64,
    /// Values larger than this are refused. Must leave room for what tagging adds to the largest request accepted.
    pub record_bytes_max: usize,
    /// What whoever reads the journal has made of it already, if anything.
    pub folded: Option<Folded>,
}

/// How far the journal has been read, as its reader has written down: what is lost below was not lost for the reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The journal that was read, [`crate::Journal::id`]; `None` when that was not written down. Another one is refused.
    pub journal: Option<u128>,
    /// For each partition the first offset that was not read.
    pub offsets: Vec<u64>,
}

impl Folded {
    /// The first offset of a partition that was not read.
    pub(super) fn offset(&self, partition: u32) -> u64 {
        self.offsets.get(partition as usize).copied().unwrap_or(0)
    }
}

/// Partitions that a journal can have.
pub(super) const PARTITIONS_MAX: u32 = 1024;

/// The header stores sizes as 32 bits, and a record is held in memory a few times over.
const RECORD_BYTES_LIMIT: usize = 1 << 30;

impl Config {
    /// The defaults, for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            partitions: 2,
            segment_bytes: 64 << 20,
            group_commit_bytes: 4 << 20,
            queue_bytes: 32 << 20,
            tail_cache_bytes: 32 << 20,
            retention: Duration::from_secs(15 * 60),
            retained_bytes_max: 8 << 30,
            record_bytes_max: 80 << 20,
            folded: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), JournalError> {
        let mut problems = Vec::new();
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            problems.push("partitions must be between 1 and 1024");
        }
        if self.segment_bytes < 4096 || self.segment_bytes > 1 << 30 {
            problems.push("segment_bytes must be between 4 KiB and 1 GiB");
        }
        if self.group_commit_bytes == 0 || self.group_commit_bytes > RECORD_BYTES_LIMIT {
            problems.push("group_commit_bytes must be between 1 byte and 1 GiB");
        }
        if self.queue_bytes == 0 || self.queue_bytes > RECORD_BYTES_LIMIT {
            problems.push("queue_bytes must be between 1 byte and 1 GiB");
        }
        if self.record_bytes_max == 0 || self.record_bytes_max > RECORD_BYTES_LIMIT {
            problems.push("record_bytes_max must be between 1 byte and 1 GiB");
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(JournalError::Incompatible { path: self.dir.clone(), reason: problems.join("; ") })
    }
}
