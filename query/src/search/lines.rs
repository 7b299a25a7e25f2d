//! A page of lines: the newest that a search finds, or the first after a line. The scan keeps only their names and places; the
//! lines themselves are read when it is known which ones they are.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::id::LineId;
use super::request::Direction;
use super::rows::Rows;
use super::scan::{Found, Place, Sink, hot_rows};
use super::wire::Line;
use crate::error::QueryError;
use crate::sql::budget::SharedMemory;

const KEY_COLUMNS: [&str; 2] = ["time", "line"];
/// Everything that a line is shown with.
pub(crate) const LINE_COLUMNS: [&str; 16] = [
    "service",
    "namespace",
    "environment",
    "version",
    "instance",
    "time",
    "severity_number",
    "severity_text",
    "body",
    "event_name",
    "pattern_id",
    "trace_id",
    "span_id",
    "scope_name",
    "attributes",
    "line",
];
/// The same with the attributes of the resource.
pub(crate) const LINE_AND_RESOURCE: [&str; 17] = [
    "service",
    "namespace",
    "environment",
    "version",
    "instance",
    "time",
    "severity_number",
    "severity_text",
    "body",
    "event_name",
    "pattern_id",
    "trace_id",
    "span_id",
    "scope_name",
    "attributes",
    "line",
    "resource",
];

/// Where a line is: which of the places, and the row there.
#[derive(Clone, Copy, Debug)]
struct Spot {
    place: usize,
    row: u32,
}

/// Keeps the first lines of a direction.
pub(crate) struct Page {
    direction: Direction,
    /// Lines on this side of it do not count.
    beyond: Option<LineId>,
    limit: usize,
    /// By their names: the first to leave is the last of the direction.
    spots: BTreeMap<LineId, Spot>,
    places: Vec<Place>,
    /// Lines that were found and did not fit.
    pub dropped: u64,
}

impl Page {
    /// The first `limit` lines of the direction, beyond a line.
    pub fn new(direction: Direction, beyond: Option<LineId>, limit: usize) -> Self {
        Self { direction, beyond, limit, spots: BTreeMap::new(), places: Vec::new(), dropped: 0 }
    }

    /// Whether there are as many as there may be.
    pub fn is_full(&self) -> bool {
        self.spots.len() >= self.limit
    }

    fn last(&self) -> Option<LineId> {
        match self.direction {
            Direction::Older => self.spots.first_key_value(),
            Direction::Newer => self.spots.last_key_value(),
        }
        .map(|(id, _)| *id)
    }

    /// Whether the page is full of lines that all come before this time.
    fn is_beyond_last(&self, time_ns: i64) -> bool {
        self.last().filter(|_| self.is_full()).is_some_and(|last| match self.direction {
            Direction::Older => time_ns < last.time_ns,
            Direction::Newer => time_ns > last.time_ns,
        })
    }

    /// Whether `one` comes before `other` on the way.
    fn is_before(&self, one: LineId, other: LineId) -> bool {
        match self.direction {
            Direction::Older => one > other,
            Direction::Newer => one < other,
        }
    }

    /// The lines, in the order of the direction, read from where they are. Bodies longer than `body_bytes` are cut.
    pub fn read(
        mut self,
        memory: &Arc<SharedMemory>,
        columns: &[&'static str],
        body_bytes: usize,
    ) -> Result<Vec<Line>, QueryError> {
        let mut held = memory.hold(0)?;
        let mut wanted: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for spot in self.spots.values() {
            wanted.entry(spot.place).or_default().push(spot.row);
        }
        let mut lines: Vec<(LineId, Line)> = Vec::with_capacity(self.spots.len());
        for (place, mut rows) in wanted {
            rows.sort_unstable();
            let place = self.places[place].clone();
            read_lines(&place, &rows, columns, |id, columns, row| {
                let line = Line::new(id, columns, row, body_bytes);
                held.grow(line.bytes())?;
                lines.push((id, line));
                Ok(())
            })?;
        }
        self.spots.clear();
        lines.sort_by_key(|(id, _)| *id);
        if self.direction == Direction::Older {
            lines.reverse();
        }
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}

impl Sink for Page {
    fn columns(&self) -> &'static [&'static str] {
        &KEY_COLUMNS
    }

    fn matters(&self) -> Range<i64> {
        let mut matters = i64::MIN..i64::MAX;
        let after = |id: LineId| id.time_ns.saturating_add(1);
        match self.direction {
            Direction::Older => matters.end = self.beyond.map_or(i64::MAX, after),
            Direction::Newer => matters.start = self.beyond.map_or(i64::MIN, |id| id.time_ns),
        }
        if let Some(last) = self.last().filter(|_| self.is_full()) {
            match self.direction {
                Direction::Older => matters.start = last.time_ns,
                Direction::Newer => matters.end = after(last),
            }
        }
        matters
    }

    fn ends_early(&self) -> bool {
        true
    }

    fn take(&mut self, found: &Found<'_>) {
        let mut place = None;
        let count = found.rows.len();
        let Some(times) = found.columns.column("time").and_then(|column| column.all_times()) else { return };
        for step in 0..count {
            // Rows come oldest first, so from the end most are seen to be too old at once.
            let at = if self.direction == Direction::Older { count - 1 - step } else { step };
            if self.is_beyond_last(times[at]) {
                self.dropped += 1;
                continue;
            }
            let row = found.rows[at];
            let Some(id) = id_of(found.place, found.columns, at, row) else { continue };
            if self.beyond.is_some_and(|beyond| !self.is_before(beyond, id)) {
                continue;
            }
            if self.is_full() {
                self.dropped += 1;
                match self.last() {
                    Some(last) if self.is_before(id, last) => self.spots.remove(&last),
                    _ => continue,
                };
            }
            let place = *place.get_or_insert_with(|| {
                self.places.push(found.place.clone());
                self.places.len() - 1
            });
            self.spots.insert(id, Spot { place, row });
        }
    }
}

/// The name of a row; `at` is its index in the columns, `row` its number at the place.
pub(crate) fn id_of(place: &Place, columns: &Rows, at: usize, row: u32) -> Option<LineId> {
    let time_ns = columns.column("time")?.number(at)?;
    let numbered = columns.column("line").and_then(|column| column.number(at));
    let (shard, line) = match place {
        Place::Hot { shard, .. } => (*shard, numbered?),
        Place::Stored { shard, segment, reader, group } => {
            let in_segment = reader.groups()[*group].first_row + u64::from(row);
            (*shard, numbered.unwrap_or_else(|| LineId::line_of_place(*segment, in_segment)))
        }
    };
    Some(LineId { time_ns, shard, line })
}

/// Reads columns of some rows of a place, ascending; calls `each` with the name of the row and where it is in the columns.
fn read_lines(
    place: &Place,
    rows: &[u32],
    columns: &[&'static str],
    mut each: impl FnMut(LineId, &Rows, usize) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    match place {
        Place::Hot { rows: chunk, .. } => {
            let columns = hot_rows(chunk, columns);
            for row in rows {
                if let Some(id) = id_of(place, &columns, *row as usize, *row) {
                    each(id, &columns, *row as usize)?;
                }
            }
            Ok(())
        }
        Place::Stored { reader, group, .. } => {
            let (mut at, mut refused) = (0, None);
            reader.read(*group, columns, Some(&super::scan::ranges_of(rows)), |batch| {
                let columns = Rows::of_batch(&batch);
                for index in 0..columns.len {
                    let Some(id) = id_of(place, &columns, index, rows[at + index]) else { continue };
                    if let Err(error) = each(id, &columns, index) {
                        refused = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                at += columns.len;
                ControlFlow::Continue(())
            })?;
            refused.map_or(Ok(()), Err)
        }
    }
}
