//! What the store can be told: where it is, and how long it keeps what.

use std::path::PathBuf;

use shipwake_model::window::NS_PER_S;

use crate::{StoreError, Table};

const HOUR_NS: i64 = 3_600 * NS_PER_S;

/// Configuration of the store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The directory that holds everything. Made if it does not exist.
    pub dir: PathBuf,
    /// How long segments are kept, by table.
    pub retention: Retention,
    /// How long a dropped segment stays on disk for queries that run, in ns. Default 60 s.
    pub drop_grace_ns: i64,
    /// How many small segments of a table a commit merges with its own rows, at least. Default 16; `usize::MAX` never
    /// merges.
    pub merge_segments_min: usize,
    /// Free space below which the store refuses to open, in bytes. Default 64 MiB: room for a few commits.
    pub free_bytes_min: u64,
}

/// How long segments are kept after they were committed, in ns. A segment is dropped whole, at the first commit after
/// its time. Raise these where the disk has room; the defaults suit 50 GB at a million records an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Log records. Default three days.
    pub logs_ns: i64,
    /// Spans. Default three days.
    pub spans_ns: i64,
    /// Metric points as received. Default one day: their windows are kept longer.
    pub points_ns: i64,
    /// Windows of 10 s, 60 s and 1 h. Default fourteen days: a release is compared with those of the last two weeks.
    pub windows_ns: i64,
    /// Windows of 1 s. Default fifteen minutes: pages show the last five.
    pub windows_1s_ns: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            logs_ns: 72 * HOUR_NS,
            spans_ns: 72 * HOUR_NS,
            points_ns: 24 * HOUR_NS,
            windows_ns: 14 * 24 * HOUR_NS,
            windows_1s_ns: HOUR_NS / 4,
        }
    }
}

impl Retention {
    /// How long segments of `table` are kept, ns.
    pub fn of(&self, table: Table) -> i64 {
        match table {
            Table::Logs => self.logs_ns,
            Table::Spans => self.spans_ns,
            Table::Points => self.points_ns,
            Table::Windows => self.windows_ns,
            Table::Windows1s => self.windows_1s_ns,
        }
    }
}

impl StoreConfig {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            retention: Retention::default(),
            drop_grace_ns: 60 * NS_PER_S,
            merge_segments_min: 16,
            free_bytes_min: 64 << 20,
        }
    }

    /// Refuses what cannot work, with all problems in one message.
    pub(crate) fn validate(&self) -> Result<(), StoreError> {
        let mut problems = Vec::new();
        for table in Table::ALL {
            if self.retention.of(table) <= 0 {
                problems.push(format!("retention of {table} must be more than nothing"));
            }
        }
        if self.merge_segments_min < 2 {
            problems.push("merge_segments_min must be at least 2".to_owned());
        }
        if self.drop_grace_ns < 0 {
            problems.push("drop_grace_ns must not be negative".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(StoreError::Config(problems.join("; "))) }
    }
}
