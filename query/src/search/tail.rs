//! The lines that have come since the last answer, in the order in which they came. A line is new by its number in the shard, so
//! none is missed and none comes twice, however late it is and whether it was committed meanwhile.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::ops::Range;

use shipwake_store::{HotRows, ShardSnapshot, Snapshot, Table};

use super::id::LineId;
use super::lines::{Page, id_of};
use super::request::Direction;
use super::scan::{Found, Sink, hot_rows};
use crate::error::QueryError;

/// Lines of an answer when it does not say: more than a person reads in a second.
pub(crate) const LINES: usize = 200;
/// The most it may ask for: somebody who writes them into a file wants all of them.
pub(crate) const LINES_MAX: usize = 5_000;
/// A body is shown on one or a few rows of a screen.
pub(crate) const BODY_BYTES: usize = 4 << 10;

/// How far a reader is, shard by shard: the number of the last line, and the journal offset from which on there is more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    shards: BTreeMap<u32, (i64, u64)>,
}

impl Cursor {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let bad = || QueryError::BadArgument {
            argument: "cursor",
            value: text.to_owned(),
            reason: "expected the `cursor` of the last answer".to_owned(),
        };
        let mut shards = BTreeMap::new();
        for part in text.split('~').filter(|part| !part.is_empty()) {
            let mut numbers = part.split('.');
            let mut next = || numbers.next().ok_or_else(bad);
            let (shard, line, offset) = (next()?, next()?, next()?);
            let position = (line.parse().map_err(|_| bad())?, offset.parse().map_err(|_| bad())?);
            shards.insert(shard.parse().map_err(|_| bad())?, position);
        }
        Ok(Self { shards })
    }

    /// The end of a snapshot.
    pub fn end_of(snapshot: &Snapshot) -> Self {
        let end = |shard: &ShardSnapshot| (shard.shard, (shard.last_line, shard.next_offset));
        Self { shards: snapshot.shards.iter().map(end).collect() }
    }

    /// The end, but not before where the reader is: a shard that another process takes over is for a moment behind what the one
    /// before has shown, and one that cannot be asked says nothing of its end.
    pub fn not_before(mut self, seen: &Cursor) -> Self {
        for (shard, (line, offset)) in &seen.shards {
            let end = self.shards.entry(*shard).or_insert((*line, *offset));
            *end = (end.0.max(*line), end.1.max(*offset));
        }
        self
    }

    /// Only what can have lines that the reader has not seen: segments with records of later offsets, and hot chunks with higher
    /// numbers. Shards that the reader does not know of are whole new to it.
    pub fn unseen(&self, mut snapshot: Snapshot) -> Snapshot {
        for shard in &mut snapshot.shards {
            let Some((line, offset)) = self.shards.get(&shard.shard).copied() else { continue };
            let files = shard.files.iter().filter(|file| file.table == Table::Logs && file.next_offset > offset);
            shard.files = files.cloned().collect();
            for (_, rows) in &mut shard.hot {
                rows.retain(|rows| last_line(rows).is_none_or(|last| last > line));
            }
        }
        snapshot
    }

    fn has_seen(&self, id: LineId) -> bool {
        self.shards.get(&id.shard).is_some_and(|(line, _)| id.line <= *line)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (shard, (line, offset))) in self.shards.iter().enumerate() {
            if place > 0 {
                f.write_char('~')?;
            }
            write!(f, "{shard}.{line}.{offset}")?;
        }
        Ok(())
    }
}

/// The number of the last line of a chunk, whose lines are in the order of arrival.
fn last_line(rows: &HotRows) -> Option<i64> {
    let columns = hot_rows(rows, &["line"]);
    columns.column("line")?.number(columns.len.checked_sub(1)?)
}

/// Keeps the newest of the lines that a reader has not seen.
pub(crate) struct Unseen {
    pub page: Page,
    seen: Cursor,
}

impl Unseen {
    pub fn new(seen: Cursor, limit: usize) -> Self {
        Self { page: Page::new(Direction::Older, None, limit), seen }
    }
}

impl Sink for Unseen {
    fn columns(&self) -> &'static [&'static str] {
        self.page.columns()
    }

    /// Everything, or the lines that are left out would not be counted.
    fn matters(&self) -> Range<i64> {
        i64::MIN..i64::MAX
    }

    fn take(&mut self, found: &Found<'_>) {
        let is_unseen = |(at, row): (usize, &u32)| {
            let id = id_of(found.place, found.columns, at, *row)?;
            (!self.seen.has_seen(id)).then_some(at as u32)
        };
        let unseen: Vec<u32> = found.rows.iter().enumerate().filter_map(is_unseen).collect();
        if unseen.is_empty() {
            return;
        }
        let rows: Vec<u32> = unseen.iter().map(|at| found.rows[*at as usize]).collect();
        let columns = found.columns.taken(&unseen);
        self.page.take(&Found { place: found.place, rows: &rows, columns: &columns });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_never_goes_back() {
        let seen = Cursor { shards: [(0, (5, 9)), (1, (7, 3)), (2, (1, 1))].into() };
        let end = Cursor { shards: [(0, (4, 12)), (2, (6, 8)), (4, (2, 2))].into() };
        let expected = Cursor { shards: [(0, (5, 12)), (1, (7, 3)), (2, (6, 8)), (4, (2, 2))].into() };
        assert_eq!(end.not_before(&seen), expected);
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor { shards: [(0, (5, 9)), (3, (i64::MIN, 0))].into() };
        assert_eq!(Cursor::parse(&cursor.to_string()).expect("a cursor"), cursor);
        assert_eq!(Cursor::parse("").expect("a cursor"), Cursor::default());
        assert!(Cursor::parse("1.2").is_err() && Cursor::parse("x.1.2").is_err());
    }
}
