//! What the store knows of a segment without opening it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::checked::Known;
use crate::parts::Parts;
use crate::{Table, manifest};

/// Names a segment. A commit of a shard may publish several of a table: one for each window its rows are of, and what was
/// compacted meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId {
    /// The shard that wrote it.
    pub shard: u32,
    /// The sequence number of the commit that published it.
    pub seq: u64,
    /// The table it belongs to.
    pub table: Table,
    /// Which of the segments of that table and commit it is, from 0.
    pub part: u32,
}

/// The times that all rows of a segment are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// Start, ns, a multiple of the length.
    pub start_ns: i64,
    /// Length, ns.
    pub length_ns: i64,
}

/// A file beside a segment that only makes searching it faster, and can be made again from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideFile {
    /// Where it is in [`crate::Store::object_store`].
    pub path: Arc<str>,
    /// Size of the file.
    pub bytes: u64,
    /// CRC32C of the whole file.
    pub crc32c: u32,
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
    /// The window that all its rows are of; `None` when they are of several: late and early ones share a segment.
    pub window: Option<Window>,
    /// How often its rows have been merged: 0 as committed, 1 merged while their window was filling, 2 merged when it was over.
    pub level: u8,
    /// Rows of services (and resolutions) that are kept for less than this were removed, ns; 0 when none were.
    pub thinned_ns: i64,
    /// Its token blooms, if it has any.
    pub blooms: Option<SideFile>,
    /// Its full-text index, if it has one.
    pub index: Option<SideFile>,
    /// The parts of the file with their checksums; `None` in what older versions wrote, which is checked as a whole.
    pub(crate) parts: Option<Parts>,
    /// Held by every clone; see above.
    pub(crate) pin: Arc<Pin>,
}

/// What all clones of a description share.
#[derive(Debug, Default)]
pub(crate) struct Pin {
    /// How what is read of the file is checked, once it was read.
    pub(crate) known: OnceLock<Arc<Known>>,
}

impl SegmentFile {
    /// Whether the segment can hold rows with an event time in `from_ns..to_ns`. `i64::MAX` as the end has no end.
    pub fn overlaps(&self, from_ns: i64, to_ns: i64) -> bool {
        (self.time_min_ns < to_ns || to_ns == i64::MAX) && self.time_max_ns >= from_ns
    }

    /// The segment as text, for another process of the same store that is to read it.
    pub fn to_text(&self) -> String {
        manifest::segment_text(self)
    }

    /// The segment of such a text.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_text(text: &str) -> Result<Self, String> {
        manifest::segment_of(text)
    }

    /// Lines are counted in it, so that they need not be read to be counted: [`crate::Store::counts`].
    pub fn has_counts(&self) -> bool {
        self.parts.is_some_and(|parts| parts.counts > 0)
    }

    /// Its file and those beside it.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Arc<str>> {
        [Some(&self.path), self.blooms.as_ref().map(|side| &side.path), self.index.as_ref().map(|side| &side.path)]
            .into_iter()
            .flatten()
    }

    /// Whether somebody besides the caller holds a clone.
    pub(crate) fn is_pinned(&self) -> bool {
        Arc::strong_count(&self.pin) > 1
    }
}

impl Window {
    /// The window of this length that a time is in.
    pub fn of(time_ns: i64, length_ns: i64) -> Self {
        Self { start_ns: time_ns.div_euclid(length_ns).saturating_mul(length_ns), length_ns }
    }

    /// Its end, ns, excluded.
    pub fn end_ns(self) -> i64 {
        self.start_ns.saturating_add(self.length_ns)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{}", self.table, self.shard, self.seq)?;
        if self.part > 0 { write!(f, ".{}", self.part) } else { Ok(()) }
    }
}

/// Segments made up for tests of what decides by their descriptions.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn file(table: Table, seq: u64) -> SegmentFile {
        SegmentFile {
            id: SegmentId { shard: 0, seq, table, part: 0 },
            table,
            path: Arc::from(format!("data/{table}/0-{seq}.parquet")),
            rows: 10,
            bytes: 5000,
            time_min_ns: 0,
            time_max_ns: 0,
            shard: 0,
            first_offset: 0,
            next_offset: 0,
            committed_ns: 0,
            crc32c: 0,
            window: None,
            level: 0,
            thinned_ns: 0,
            blooms: None,
            index: None,
            parts: None,
            pin: Arc::default(),
        }
    }

    pub(crate) fn side() -> Option<SideFile> {
        Some(SideFile { path: "side".into(), bytes: 1, crc32c: 1 })
    }
}
