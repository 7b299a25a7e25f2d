//! Puts the rows of a commit into the order of a segment without copying a text to compare it.
//!
//! The text columns of the order have few different values (a service's versions), so each combination gets a rank
//! once, and rows are sorted by (rank, time, arrival). The sorted rows are then gathered batch by batch, column by
//! column, so the peak of memory is one batch and not a second copy of everything.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampNanosecondType};

use crate::chunk::check_types;
use crate::gather::{gather_map, gather_texts};
use crate::resources::Resources;
use crate::segment::Window;
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
    sources: Arc<Sources>,
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
struct Sources {
    rows: Vec<RecordBatch>,
    /// What is said once for all rows of a resource; `None` when the rows hold all columns themselves.
    resources: Option<Resources>,
    /// Of the gathered batches.
    schema: SchemaRef,
}

impl SortedRows {
    /// Sorts the rows of a commit and gives those of each window apart, the few that are of other windows together.
    pub(crate) fn by_window(table: Table, rows: Vec<HotRows>) -> Result<Vec<Self>, StoreError> {
        let sources = Sources::new(table, rows)?;
        let mut order = sources.unsorted(table);
        order.sort_unstable();
        let sources = Arc::new(sources);
        let segments = split(table, order).into_iter();
        Ok(segments.map(|(window, order)| Self::new(table, sources.clone(), window, order)).collect())
    }

    fn new(table: Table, sources: Arc<Sources>, window: Option<Window>, order: Vec<Key>) -> Self {
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

    /// The rows in order, with the columns of the public schema: what resources say comes as dictionaries, the same in all batches.
    pub(crate) fn batches(&self) -> impl Iterator<Item = RecordBatch> + '_ {
        self.order.chunks(BATCH_ROWS).map(|keys| self.gather(keys))
    }

    fn gather(&self, keys: &[Key]) -> RecordBatch {
        let sources = &*self.sources;
        let places: Vec<(usize, usize)> = keys.iter().map(|key| (key.source as usize, key.row as usize)).collect();
        let numbers = sources.resources.as_ref().map(|resources| {
            UInt32Array::from_iter_values(places.iter().map(|&(source, row)| resources.of_rows[source][row]))
        });
        let column = |field: &Arc<Field>| -> ArrayRef {
            let of_resources = || sources.resources.as_ref()?.columns.column_by_name(field.name());
            if let (DataType::Dictionary(..), Some(said), Some(numbers)) = (field.data_type(), of_resources(), &numbers)
            {
                return Arc::new(DictionaryArray::new(numbers.clone(), said.clone()));
            }
            let arrays = || {
                sources.rows.iter().map(|rows| rows.column_by_name(field.name()).expect("new() checked the columns"))
            };
            match field.data_type() {
                DataType::Utf8 => gather_texts(arrays(), &places),
                DataType::Map(entries, _) if is_of_texts(entries) => gather_map(arrays(), &places),
                _ => {
                    let arrays: Vec<&dyn Array> = arrays().map(AsRef::as_ref).collect();
                    interleave(&arrays, &places).expect("new() checked the types, and keys name rows that are there")
                }
            }
        };
        let columns: Vec<ArrayRef> = sources.schema.fields().iter().map(column).collect();
        RecordBatch::try_new(sources.schema.clone(), columns).expect("new() checked types and nulls of all columns")
    }
}

fn is_of_texts(entries: &Field) -> bool {
    matches!(entries.data_type(), DataType::Struct(fields) if fields[1].data_type() == &DataType::Utf8)
}

/// The sorted rows of each window that gets a segment of its own, and last those of all others.
fn split(table: Table, order: Vec<Key>) -> Vec<(Option<Window>, Vec<Key>)> {
    if order.is_empty() {
        return Vec::new();
    }
    let Some(length_ns) = table.window_ns() else { return vec![(None, order)] };
    let mut counts: HashMap<Window, usize> = HashMap::new();
    // Rows of a window come one after another.
    for run in order.chunk_by(|a, b| Window::of(a.time_ns, length_ns) == Window::of(b.time_ns, length_ns)) {
        *counts.entry(Window::of(run[0].time_ns, length_ns)).or_default() += run.len();
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

impl Sources {
    fn new(table: Table, rows: Vec<HotRows>) -> Result<Self, StoreError> {
        let rows: Vec<HotRows> = rows.into_iter().filter(|rows| rows.num_rows() > 0).collect();
        for rows in &rows {
            match rows {
                HotRows::Chunk(chunk) if chunk.table() != table => {
                    let reason = format!("the rows are of table {}", chunk.table());
                    return Err(StoreError::Rows { table: table.name(), reason });
                }
                HotRows::Chunk(_) => {}
                HotRows::Batch(batch) => check_types(table, batch, &table.schema())?,
            }
        }
        // Signal and metric of windows are columns of the row, so the resource alone does not order them.
        let is_by_resource = table.sort_columns().len() == 2;
        let chunk = |rows: &HotRows| match rows {
            HotRows::Chunk(chunk) if is_by_resource => Some(chunk.clone()),
            _ => None,
        };
        let chunks: Option<Vec<_>> = rows.iter().map(chunk).collect();
        let Some(chunks) = chunks.filter(|chunks| !chunks.is_empty()) else {
            let whole = |rows: HotRows| match rows {
                HotRows::Chunk(chunk) => chunk.to_batch(None),
                HotRows::Batch(batch) => batch,
            };
            let rows = rows.into_iter().map(whole).collect();
            return Ok(Self { rows, resources: None, schema: table.schema() });
        };
        let of_chunks: Vec<(&RecordBatch, &[u32])> =
            chunks.iter().map(|chunk| (&**chunk.resources(), &**chunk.resource_refs().values())).collect();
        let resources = Resources::of(table.resources_schema(), &of_chunks);
        let rows = chunks.iter().map(|chunk| chunk.rows().clone()).collect();
        Ok(Self { rows, resources: Some(resources), schema: with_dictionaries(table) })
    }

    /// A key for every row, in the order of arrival.
    fn unsorted(&self, table: Table) -> Vec<Key> {
        let mut seen = HashMap::new();
        let numbers: Vec<Vec<u32>> = match &self.resources {
            Some(resources) => vec![combinations(table, &resources.columns, &mut seen)],
            None => self.rows.iter().map(|rows| combinations(table, rows, &mut seen)).collect(),
        };
        let ranks = ranks(seen);
        let mut keys = Vec::with_capacity(self.rows.iter().map(RecordBatch::num_rows).sum());
        for (source, rows) in self.rows.iter().enumerate() {
            let times = rows.column_by_name(table.time_column()).expect("every table has its time column");
            let times: Int64Array = times.as_primitive::<TimestampNanosecondType>().reinterpret_cast::<Int64Type>();
            for (row, time_ns) in times.values().iter().enumerate() {
                let number = match &self.resources {
                    Some(resources) => numbers[0][resources.of_rows[source][row] as usize],
                    None => numbers[source][row],
                };
                let rank = ranks[number as usize];
                keys.push(Key { rank, time_ns: *time_ns, source: source as u32, row: row as u32 });
            }
        }
        keys
    }
}

/// The public schema with dictionaries in the place of the columns of resources.
fn with_dictionaries(table: Table) -> SchemaRef {
    let of_resources = table.resources_schema();
    let field = |field: &Arc<Field>| -> Field {
        let is_of_resources = of_resources.field_with_name(field.name()).is_ok();
        let values = || Box::new(field.data_type().clone());
        let data_type = if is_of_resources {
            DataType::Dictionary(Box::new(DataType::UInt32), values())
        } else {
            field.data_type().clone()
        };
        Field::new(field.name(), data_type, field.is_nullable())
    };
    Arc::new(Schema::new(table.schema().fields().iter().map(field).collect::<Vec<Field>>()))
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

/// The number of the combination of sort columns, for each entry: a resource or a row.
fn combinations(table: Table, entries: &RecordBatch, seen: &mut HashMap<Vec<String>, u32>) -> Vec<u32> {
    let column = |name: &&str| entries.column_by_name(name).expect("a table has its sort columns").as_string::<i32>();
    let columns: Vec<&StringArray> = table.sort_columns().iter().map(column).collect();
    let mut numbers: Vec<u32> = Vec::with_capacity(entries.num_rows());
    for entry in 0..entries.num_rows() {
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
