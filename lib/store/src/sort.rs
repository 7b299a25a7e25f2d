//! Puts the rows of a commit into the order of a segment without copying a text to compare it.
//!
//! The text columns of the order have few different values (a service's versions), so each combination gets a rank
//! once, and rows are sorted by (rank, time, arrival). The sorted rows are then gathered batch by batch, column by
//! column, so the peak of memory is one batch and not a second copy of everything.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::interleave;
use arrow::datatypes::{Int64Type, TimestampNanosecondType};

use crate::chunk::check_types;
use crate::segment::Window;
use crate::tables::RESOURCE_REF;
use crate::{HotRows, StoreError, Table};

/// Rows of one gathered batch: as many as the encoder takes at once, a few times; few enough that a batch (some two
/// megabytes of logs) stays in the cache and the next one finds its memory there, instead of fresh pages of the system.
const BATCH_ROWS: usize = 4 * 1024;

/// A window gets a segment of its own when it has this share of a commit's rows, and with it so many windows at the most:
/// telemetry with wild times must not make a commit write thousands of files.
const OWN_SEGMENT_SHARE: usize = 20;
const OWN_SEGMENTS_MAX: usize = 4;

/// The rows of one segment, in its order.
pub(crate) struct SortedRows {
    table: Table,
    sources: Arc<[Source]>,
    /// The window that all rows are of, if it is one.
    pub(crate) window: Option<Window>,
    order: Vec<Key>,
    /// Smallest and largest time, ns.
    pub(crate) time_min_ns: i64,
    pub(crate) time_max_ns: i64,
}

/// Where a row is and what it is sorted by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    rank: u32,
    time_ns: i64,
    source: u32,
    row: u32,
}

/// Rows as they were handed in.
struct Source {
    rows: RecordBatch,
    /// The resources and, for each row, which one is its own; `None` when the rows hold all columns themselves.
    resources: Option<(Arc<RecordBatch>, UInt32Array)>,
}

impl SortedRows {
    /// Sorts the rows of a commit and gives those of each window apart, the few that are of other windows together.
    pub(crate) fn by_window(table: Table, rows: Vec<HotRows>) -> Result<Vec<Self>, StoreError> {
        let mut sources = Vec::with_capacity(rows.len());
        for rows in rows.into_iter().filter(|rows| rows.num_rows() > 0) {
            sources.push(Source::new(table, rows)?);
        }
        let mut order = unsorted(table, &sources);
        order.sort_unstable();
        let sources: Arc<[Source]> = sources.into();
        let segments = split(table, order).into_iter();
        Ok(segments.map(|(window, order)| Self::new(table, sources.clone(), window, order)).collect())
    }

    fn new(table: Table, sources: Arc<[Source]>, window: Option<Window>, order: Vec<Key>) -> Self {
        let times = || order.iter().map(|key| key.time_ns);
        let (time_min_ns, time_max_ns) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        Self { table, sources, window, order, time_min_ns, time_max_ns }
    }

    /// The table they are of.
    pub(crate) fn table(&self) -> Table {
        self.table
    }

    /// Number of rows.
    pub(crate) fn num_rows(&self) -> usize {
        self.order.len()
    }

    /// The rows in order, in the public schema.
    pub(crate) fn batches(&self) -> impl Iterator<Item = RecordBatch> + '_ {
        self.order.chunks(BATCH_ROWS).map(|keys| self.gather(keys))
    }

    fn gather(&self, keys: &[Key]) -> RecordBatch {
        let schema = self.table.schema();
        let by_row: Vec<(usize, usize)> = keys.iter().map(|key| (key.source as usize, key.row as usize)).collect();
        let by_resource: Vec<(usize, usize)> =
            by_row.iter().map(|&(source, row)| (source, self.sources[source].resource_of(row))).collect();
        let resource_columns = self.table.resources_schema();
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(|field| {
                let arrays: Vec<&dyn Array> = self.sources.iter().map(|source| source.column(field.name())).collect();
                let of_resource = resource_columns.field_with_name(field.name()).is_ok();
                interleave(&arrays, if of_resource { &by_resource } else { &by_row })
                    .expect("new() checked the types, and keys name rows that are there")
            })
            .collect();
        RecordBatch::try_new(schema, columns).expect("new() checked types and nulls of all columns")
    }
}

/// The sorted rows of each window that gets a segment of its own, and last those of all others.
fn split(table: Table, order: Vec<Key>) -> Vec<(Option<Window>, Vec<Key>)> {
    if order.is_empty() {
        return Vec::new();
    }
    let Some(length_ns) = table.window_ns() else { return vec![(None, order)] };
    let mut counts: HashMap<Window, usize> = HashMap::new();
    for key in &order {
        *counts.entry(Window::of(key.time_ns, length_ns)).or_default() += 1;
    }
    let mut largest: Vec<(usize, Window)> = counts.into_iter().map(|(window, rows)| (rows, window)).collect();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let is_only = largest.len() == 1;
    largest.truncate(OWN_SEGMENTS_MAX);
    largest.retain(|(rows, _)| rows * OWN_SEGMENT_SHARE >= order.len());
    let mut windows: Vec<(Option<Window>, Vec<Key>)> =
        largest.into_iter().map(|(_, window)| (Some(window), Vec::new())).collect();
    if is_only {
        windows[0].1 = order;
        return windows;
    }
    windows.push((None, Vec::new()));
    let others = windows.len() - 1;
    for key in order {
        let window = Window::of(key.time_ns, length_ns);
        let place = windows.iter().position(|(own, _)| *own == Some(window)).unwrap_or(others);
        windows[place].1.push(key);
    }
    windows.retain(|(_, order)| !order.is_empty());
    windows
}

/// A key for every row, in the order of arrival.
fn unsorted(table: Table, sources: &[Source]) -> Vec<Key> {
    let mut seen = HashMap::new();
    let row_ids: Vec<Vec<u32>> = sources.iter().map(|source| source.combinations(table, &mut seen)).collect();
    let ranks = ranks(seen);
    let mut keys = Vec::with_capacity(sources.iter().map(|source| source.rows.num_rows()).sum());
    for (number, (source, ids)) in sources.iter().zip(&row_ids).enumerate() {
        let times = source.times(table);
        for (row, time_ns) in times.values().iter().enumerate() {
            let rank = ranks[ids[source.resource_of(row)] as usize];
            keys.push(Key { rank, time_ns: *time_ns, source: number as u32, row: row as u32 });
        }
    }
    keys
}

/// For each combination's number its place among all combinations.
fn ranks(seen: HashMap<Vec<String>, u32>) -> Vec<u32> {
    let mut sorted: Vec<(Vec<String>, u32)> = seen.into_iter().collect();
    sorted.sort_unstable();
    let mut ranks = vec![0; sorted.len()];
    for (rank, (_, number)) in sorted.into_iter().enumerate() {
        ranks[number as usize] = rank as u32;
    }
    ranks
}

impl Source {
    fn new(table: Table, rows: HotRows) -> Result<Self, StoreError> {
        match rows {
            HotRows::Chunk(chunk) if chunk.table() != table => {
                let reason = format!("the rows are of table {}", chunk.table());
                Err(StoreError::Rows { table: table.name(), reason })
            }
            // Signal and metric of windows are columns of the row, so the resource alone does not order them.
            HotRows::Chunk(chunk) if table.sort_columns().len() > 2 => {
                Ok(Self { rows: chunk.to_batch(None), resources: None })
            }
            HotRows::Chunk(chunk) => {
                let resources = Some((chunk.resources().clone(), chunk.resource_refs().clone()));
                Ok(Self { rows: chunk.rows().clone(), resources })
            }
            HotRows::Batch(batch) => {
                check_types(table, &batch, &table.schema())?;
                Ok(Self { rows: batch, resources: None })
            }
        }
    }

    fn column(&self, name: &str) -> &dyn Array {
        let of_resource = self.resources.as_ref().and_then(|(resources, _)| resources.column_by_name(name));
        let column = of_resource.or_else(|| self.rows.column_by_name(name));
        debug_assert_ne!(name, RESOURCE_REF);
        column.expect("new() checked that every column is there").as_ref()
    }

    /// The index of the row's resource, or the row itself when there are no resources.
    fn resource_of(&self, row: usize) -> usize {
        self.resources.as_ref().map_or(row, |(_, references)| references.value(row) as usize)
    }

    fn times(&self, table: Table) -> Int64Array {
        let times = self.column(table.time_column()).as_primitive::<TimestampNanosecondType>();
        times.reinterpret_cast::<Int64Type>()
    }

    /// The number of the combination of sort columns, for each resource, or for each row when there are no resources.
    fn combinations(&self, table: Table, seen: &mut HashMap<Vec<String>, u32>) -> Vec<u32> {
        let columns: Vec<&StringArray> =
            table.sort_columns().iter().map(|name| self.column(name).as_string::<i32>()).collect();
        let entries = columns[0].len();
        let mut numbers: Vec<u32> = Vec::with_capacity(entries);
        for entry in 0..entries {
            // Rows of one series often come one after another: comparing with the last is cheaper than hashing.
            let as_before = entry > 0 && columns.iter().all(|column| column.value(entry) == column.value(entry - 1));
            if as_before {
                numbers.push(numbers[entry - 1]);
                continue;
            }
            let texts: Vec<String> = columns.iter().map(|column| column.value(entry).to_owned()).collect();
            let next = seen.len() as u32;
            numbers.push(*seen.entry(texts).or_insert(next));
        }
        numbers
    }
}
