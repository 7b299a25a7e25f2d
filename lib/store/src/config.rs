//! What the store can be told: where it is, how long it keeps what, and how much work it does in the background.

use std::path::PathBuf;

use shipwake_model::window::NS_PER_S;

use crate::{Retention, StoreError};

/// The grace where other processes read.
const OTHERS_GRACE_NS: i64 = 600 * NS_PER_S;

/// Configuration of the store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The directory that holds everything. Made if it does not exist. Not used with [`StoreConfig::url`].
    pub dir: PathBuf,
    /// `s3://bucket/prefix` when everything is in a bucket. Default none.
    pub url: Option<String>,
    /// The base URL under which other processes reach this one, `http://host:4400`, when several work on the store: manifests
    /// name it as the owner of their shard. Only with [`StoreConfig::url`]. Default none: there is one process.
    pub advertise: Option<String>,
    /// How long rows are kept, by table and service.
    pub retention: Retention,
    /// The work in the background.
    pub compaction: Compaction,
    /// How long a dropped segment stays on disk for queries that run, in ns. Default 60 s; with an owner at least ten minutes, because
    /// queries of other processes cannot be seen from here.
    pub drop_grace_ns: i64,
    /// Free space below which a new store is not made and commits are not worth trying, in bytes. Default 64 MiB: room for a few commits.
    pub free_bytes_min: u64,
}

/// The work in the background.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// Size that segments grow to, in bytes; those of half that size are not merged any more. Default 32 MiB: some 700 000 log
    /// lines. A few times this is in memory while one is made. Larger means fewer files.
    pub bytes_max: u64,
    /// How much of one core it may take while the shards keep up, 0 to 1. Default 0.5; a tenth of it while they are behind.
    pub cpu_share: f64,
    /// Whether logs get a full-text index besides their blooms. Default yes; without it, log lines take some 13 % less CPU time and two bytes
    /// less, and searches for words that many row groups have read more.
    pub index: bool,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { bytes_max: 32 << 20, cpu_share: 0.5, index: true }
    }
}

impl StoreConfig {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            url: None,
            advertise: None,
            retention: Retention::default(),
            compaction: Compaction::default(),
            drop_grace_ns: 60 * NS_PER_S,
            free_bytes_min: 64 << 20,
        }
    }

    /// [`StoreConfig::drop_grace_ns`] in force.
    pub(crate) fn grace_ns(&self) -> i64 {
        if self.advertise.is_some() { self.drop_grace_ns.max(OTHERS_GRACE_NS) } else { self.drop_grace_ns }
    }

    /// Refuses what cannot work, with all problems in one message.
    pub(crate) fn validate(&self) -> Result<(), StoreError> {
        let mut problems = self.retention.problems();
        if self.compaction.bytes_max < 1 << 10 {
            problems.push("compaction.bytes_max must be at least 1 KiB".to_owned());
        }
        if !(self.compaction.cpu_share > 0.0 && self.compaction.cpu_share <= 1.0) {
            problems.push("compaction.cpu_share must be more than 0 and at most 1".to_owned());
        }
        if self.advertise.is_some() && self.url.is_none() {
            problems.push("advertise needs url: several processes cannot work on one directory".to_owned());
        }
        if self.drop_grace_ns < 0 {
            problems.push("drop_grace_ns must not be negative".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(StoreError::Config(problems.join("; "))) }
    }
}
