//! What the store knows of a segment without opening it.

use std::fmt;
use std::sync::Arc;

use crate::Table;

/// Names a segment: at most one per table and commit of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId {
    /// The shard that wrote it.
    pub shard: u32,
    /// The sequence number of the commit that published it.
    pub seq: u64,
    /// The table it belongs to.
    pub table: Table,
}

/// A published Parquet file. It never changes; its rows are sorted by [`Table::sort_columns`] and time.
///
/// Whoever holds a clone keeps the file on disk: a dropped segment is deleted only when no clone is left and the grace
/// period is over. A query must therefore keep its snapshot until its last read.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    /// Its name.
    pub id: SegmentId,
    /// The table, as in `id`.
    pub table: Table,
    /// Where it is in [`crate::Store::object_store`].
    pub path: Arc<str>,
    /// Number of rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Smallest event time of its rows, ns.
    pub time_min_ns: i64,
    /// Largest event time of its rows, ns.
    pub time_max_ns: i64,
    /// The shard, as in `id`.
    pub shard: u32,
    /// First journal offset of the commits whose rows it has.
    pub first_offset: u64,
    /// Journal offset after the last one of the commit that wrote it.
    pub next_offset: u64,
    /// When it was committed, ns. Retention counts from here: a record with a wrong clock neither dies early nor stays.
    pub committed_ns: i64,
    /// CRC32C of the whole file.
    pub crc32c: u32,
    /// Held by every clone; see above.
    pub(crate) pin: Arc<()>,
}

impl SegmentFile {
    /// Whether the segment can hold rows with an event time in `from_ns..to_ns`. `i64::MAX` as the end has no end.
    pub fn overlaps(&self, from_ns: i64, to_ns: i64) -> bool {
        (self.time_min_ns < to_ns || to_ns == i64::MAX) && self.time_max_ns >= from_ns
    }

    /// Whether somebody besides the caller holds a clone.
    pub(crate) fn is_pinned(&self) -> bool {
        Arc::strong_count(&self.pin) > 1
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{}", self.table, self.shard, self.seq)
    }
}
