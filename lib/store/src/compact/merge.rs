//! The rows of several sorted segments in one order, batch by batch: of each input no more than a batch is in memory, besides what
//! was gathered and not handed on yet.
//!
//! Segments are sorted by a few texts and the time. A batch has few different combinations of texts, in runs; they are compared once
//! a run, and rows by their time. As long as one input stays ahead of all others its rows are taken without asking.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch, interleave};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampNanosecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::Result;

use crate::read::with_columns;
use crate::scan::Ranges;
use crate::{Retention, Table};

/// Rows of an input that are in memory at a time.
const INPUT_ROWS: usize = 512;
/// Rows that are handed on at a time.
const OUTPUT_ROWS: usize = 4096;

/// Ranges of so many rows on average are copied whole: it takes some ten times less than row by row.
const COPIED_ROWS: usize = 8;

/// The texts that rows are sorted by, in the order of the table's sort columns.
type Texts = Arc<[String]>;

/// Rows to be merged, which are in the order of the table.
pub(super) enum Contents {
    /// Read as it is merged.
    File(Box<ParquetRecordBatchReaderBuilder<Ranges>>),
    /// Row groups of what was fetched from a server.
    Bytes(Bytes, Vec<usize>),
}

impl Contents {
    fn batches(self) -> Result<ParquetRecordBatchReader> {
        match self {
            Contents::File(rows) => rows.with_batch_size(INPUT_ROWS).build(),
            Contents::Bytes(bytes, groups) => {
                let rows = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_row_groups(groups);
                rows.with_batch_size(INPUT_ROWS).build()
            }
        }
    }
}

/// Rows of several segments of one table.
pub(super) struct Merge<'a> {
    table: Table,
    schema: SchemaRef,
    inputs: Vec<Input<'a>>,
    /// The next row of each input that has any left.
    heads: BinaryHeap<Reverse<(Texts, i64, usize)>>,
    /// Batches that gathered or current rows are in.
    sources: Vec<RecordBatch>,
    gathered: Gathered,
    /// Rows of the inputs so far, those that are left out included.
    pub(super) rows_read: u64,
    pub(super) time_min_ns: i64,
    pub(super) time_max_ns: i64,
}

/// One segment.
struct Input<'a> {
    batches: ParquetRecordBatchReader,
    retention: &'a Retention,
    age_ns: i64,
    /// Which of the sources its current batch is, and the next row of it.
    source: usize,
    row: usize,
    /// Where each run of equal texts ends in the current batch.
    runs: Vec<(usize, Texts)>,
    times: Int64Array,
}

impl<'a> Merge<'a> {
    /// `segments` are the contents of each and its age in ns, by which rows are left out that `retention` does not keep.
    pub(super) fn new(table: Table, segments: Vec<(Contents, i64)>, retention: &'a Retention) -> Result<Self> {
        let mut merge = Self {
            table,
            schema: table.schema(),
            inputs: Vec::with_capacity(segments.len()),
            heads: BinaryHeap::new(),
            sources: Vec::new(),
            gathered: Gathered::default(),
            rows_read: 0,
            time_min_ns: i64::MAX,
            time_max_ns: i64::MIN,
        };
        for (contents, age_ns) in segments {
            let batches = contents.batches()?;
            let (times, runs) = (Int64Array::from(Vec::<i64>::new()), Vec::new());
            merge.inputs.push(Input { batches, retention, age_ns, source: 0, row: 0, runs, times });
            merge.load(merge.inputs.len() - 1)?;
        }
        Ok(merge)
    }

    /// The next rows; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.gathered.rows < OUTPUT_ROWS {
            let Some(Reverse((texts, _, number))) = self.heads.pop() else { break };
            self.gather(number, &texts)?;
        }
        if self.gathered.rows == 0 { Ok(None) } else { self.hand_on().map(Some) }
    }

    /// Takes rows of an input whose next row comes before all others, until another one's does.
    fn gather(&mut self, number: usize, texts: &Texts) -> Result<()> {
        // Of other texts all rows of the run come first.
        let until = match self.heads.peek() {
            Some(Reverse((others, time, other))) if others == texts => Some((*time, *other)),
            _ => None,
        };
        let input = &mut self.inputs[number];
        let run_end = input.run_end();
        let first = input.row;
        let run_end = run_end.min(first + OUTPUT_ROWS - self.gathered.rows);
        while input.row < run_end {
            let time_ns = input.times.value(input.row);
            if until.is_some_and(|until| (time_ns, number) > until) {
                break;
            }
            self.time_min_ns = self.time_min_ns.min(time_ns);
            self.time_max_ns = self.time_max_ns.max(time_ns);
            input.row += 1;
        }
        self.gathered.add(input.source, first..input.row);
        if input.row == input.times.len() {
            return self.load(number);
        }
        self.heads.push(Reverse(input.head(number)));
        Ok(())
    }

    /// Makes the next batch of an input its current one; an input without any is out of the race.
    fn load(&mut self, number: usize) -> Result<()> {
        let input = &mut self.inputs[number];
        while let Some(batch) = input.batches.next() {
            let mut batch = with_columns(&batch?, &self.schema)?;
            self.rows_read += batch.num_rows() as u64;
            if let Some(kept) = input.retention.kept(self.table, &batch, input.age_ns) {
                batch = filter_record_batch(&batch, &kept)?;
            }
            if batch.num_rows() > 0 {
                input.take(self.table, &batch, self.sources.len());
                self.sources.push(batch);
                self.heads.push(Reverse(input.head(number)));
                break;
            }
        }
        Ok(())
    }

    /// The gathered rows as a batch. Only current batches are kept.
    fn hand_on(&mut self) -> Result<RecordBatch> {
        let batch = self.gathered.take().batch(&self.schema, &self.sources)?;
        let before = std::mem::take(&mut self.sources);
        for input in self.inputs.iter_mut().filter(|input| input.row < input.times.len()) {
            self.sources.push(before[input.source].clone());
            input.source = self.sources.len() - 1;
        }
        Ok(batch)
    }
}

/// Which rows come next: ranges of rows of the sources.
#[derive(Default)]
struct Gathered {
    ranges: Vec<(usize, Range<usize>)>,
    rows: usize,
}

impl Gathered {
    fn add(&mut self, source: usize, rows: Range<usize>) {
        self.rows += rows.len();
        match self.ranges.last_mut() {
            Some((last, before)) if *last == source && before.end == rows.start => before.end = rows.end,
            _ if rows.is_empty() => {}
            _ => self.ranges.push((source, rows)),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The rows as a batch. Segments of one window follow each other in time, so most ranges are long and are copied as they are;
    /// where rows of several alternate, each is taken by itself.
    fn batch(&self, schema: &SchemaRef, sources: &[RecordBatch]) -> Result<RecordBatch> {
        if self.rows >= self.ranges.len() * COPIED_ROWS {
            let slices = self.ranges.iter().map(|(source, rows)| sources[*source].slice(rows.start, rows.len()));
            return Ok(concat_batches(schema, &slices.collect::<Vec<_>>())?);
        }
        let single =
            |(source, rows): &(usize, Range<usize>)| rows.clone().map(|row| (*source, row)).collect::<Vec<_>>();
        let places: Vec<(usize, usize)> = self.ranges.iter().flat_map(single).collect();
        let mut columns = Vec::with_capacity(schema.fields().len());
        for column in 0..schema.fields().len() {
            let arrays: Vec<&dyn Array> = sources.iter().map(|source| source.column(column).as_ref()).collect();
            columns.push(interleave(&arrays, &places)?);
        }
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

impl Input<'_> {
    fn take(&mut self, table: Table, batch: &RecordBatch, source: usize) {
        let column = |name: &str| batch.column_by_name(name).expect("a table has its columns");
        let texts: Vec<&StringArray> = table.sort_columns().iter().map(|name| column(name).as_string()).collect();
        let times = column(table.time_column()).as_primitive::<TimestampNanosecondType>();
        (self.source, self.row, self.times) = (source, 0, times.reinterpret_cast::<Int64Type>());
        self.runs.clear();
        for row in 0..batch.num_rows() {
            let is_last = row + 1 == batch.num_rows();
            if is_last || texts.iter().any(|text| text.value(row) != text.value(row + 1)) {
                self.runs.push((row + 1, texts.iter().map(|text| text.value(row).to_owned()).collect()));
            }
        }
        // The next run is the last.
        self.runs.reverse();
    }

    fn run_end(&self) -> usize {
        self.runs.last().expect("there is a row").0
    }

    /// What the next row is sorted by.
    fn head(&mut self, number: usize) -> (Texts, i64, usize) {
        while self.run_end() <= self.row {
            self.runs.pop();
        }
        let texts = self.runs.last().expect("there is a row").1.clone();
        (texts, self.times.value(self.row), number)
    }
}
