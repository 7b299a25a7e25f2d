//! Reading parts of a segment: some columns of some rows of a row group, and what is known of a row group without reading it.
//!
//! For readers that look at many segments and need little of each. Only the bytes that are needed are read, and the checksums of
//! these are checked (`checked`); a segment of an older version is checked as a whole before its first read.

use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use crate::checked::Known;
use crate::shared::Shared;
use crate::{SegmentFile, Store, StoreError, Table};

/// Rows of a batch, and bytes by what its row group has on average: a batch of long texts must not be too large.
const BATCH_ROWS: usize = 16 * 1024;
const BATCH_BYTES: usize = 8 << 20;
/// Pages of a row group are read at once where they are no more than this, or else one by one.
const FETCHED_BYTES: u64 = 8 << 20;
/// Read at once where pages are read one after the other.
const READ_BYTES: usize = 256 << 10;

/// A segment that is known: cheap to clone, holds no file open. Whoever keeps it need not keep the [`SegmentFile`], but can read
/// only while somebody does.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    table: Table,
    segment: Arc<OpenSegment>,
    groups: Arc<[RowGroup]>,
}

/// What is known of a row group without reading it.
#[derive(Clone, Debug)]
pub struct RowGroup {
    /// Its first row in the segment.
    pub first_row: u64,
    /// Rows.
    pub rows: usize,
    /// Smallest event time, ns.
    pub time_min_ns: i64,
    /// Largest event time, ns.
    pub time_max_ns: i64,
    /// Smallest and largest value of text columns, for those that say so.
    texts: Vec<(String, TextRange)>,
}

/// The values of a text column lie within.
#[derive(Clone, Debug)]
struct TextRange {
    min: Vec<u8>,
    max: Vec<u8>,
    /// Both are values, not only bounds, and no value is missing.
    is_exact: bool,
}

impl RowGroup {
    /// Whether a row can have this value in a text column.
    pub fn may_be(&self, column: &str, value: &str) -> bool {
        self.range(column)
            .is_none_or(|range| range.min.as_slice() <= value.as_bytes() && value.as_bytes() <= range.max.as_slice())
    }

    /// Whether a row can have a value in a text column that begins like this.
    pub fn may_begin(&self, column: &str, beginning: &str) -> bool {
        self.range(column).is_none_or(|range| {
            let wanted = beginning.as_bytes();
            let min = &range.min[..range.min.len().min(wanted.len())];
            min <= wanted && wanted <= range.max.as_slice()
        })
    }

    /// The value that all rows have in a text column, if it is known that they do.
    pub fn only_value(&self, column: &str) -> Option<&str> {
        let range = self.range(column).filter(|range| range.is_exact && range.min == range.max)?;
        std::str::from_utf8(&range.min).ok()
    }

    fn range(&self, column: &str) -> Option<&TextRange> {
        self.texts.iter().find(|(name, _)| name == column).map(|(_, range)| range)
    }
}

impl Store {
    /// Opens a segment for reading in parts. Columns of `few_values` are read as dictionaries. Blocks on the disk.
    pub fn open_segment(&self, file: &SegmentFile, few_values: &[&str]) -> Result<SegmentReader, StoreError> {
        let segment = OpenSegment::open(self.shared(), file)?;
        let wanted = Arc::new(as_dictionaries(segment.metadata.schema(), few_values));
        let options = ArrowReaderOptions::new().with_schema(wanted);
        let metadata = ArrowReaderMetadata::try_new(segment.metadata.metadata().clone(), options);
        let metadata = metadata.map_err(|error| segment.ranges.failed(&error))?;
        let groups = row_groups(&metadata, file.table.time_column(), (file.time_min_ns, file.time_max_ns));
        Ok(SegmentReader { table: file.table, segment: Arc::new(OpenSegment { metadata, ..segment }), groups })
    }
}

impl SegmentReader {
    /// Its row groups, in the order of the segment.
    pub fn groups(&self) -> &[RowGroup] {
        &self.groups
    }

    /// Bytes that keeping it takes.
    pub fn memory_bytes(&self) -> usize {
        self.segment.metadata.metadata().memory_size()
    }

    /// Calls `each` with batches of the named columns of a row group, of the rows in `rows` (ranges within the group, ascending and
    /// apart; `None` for all), in order, until it breaks. A column that the segment was written without is left out.
    pub fn read(
        &self,
        group: usize,
        columns: &[&str],
        rows: Option<&[Range<usize>]>,
        mut each: impl FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (mut builder, ranges) = self.segment.rows();
        let damaged = |error: ParquetError| ranges.failed(&error);
        let fields = self.segment.metadata.schema().fields().iter().enumerate();
        let roots: Vec<usize> =
            fields.filter(|(_, field)| columns.contains(&field.name().as_str())).map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let rows_of_batch = self.rows_of_batch(group, &mask);
        let pages = self.pages(group, &mask, rows);
        if pages.iter().map(|page| page.end - page.start).sum::<u64>() <= FETCHED_BYTES {
            ranges.fetch(&pages)?;
        }
        builder = builder.with_row_groups(vec![group]).with_projection(mask).with_batch_size(rows_of_batch);
        if let Some(rows) = rows {
            let selection = RowSelection::from_consecutive_ranges(rows.iter().cloned(), self.groups[group].rows);
            builder = builder.with_row_selection(selection);
        }
        for batch in builder.build().map_err(damaged)? {
            if each(batch.map_err(|error| damaged(error.into()))?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Where the pages of some columns are that have some rows of a row group, with what their values are looked up in.
    fn pages(&self, group: usize, mask: &ProjectionMask, rows: Option<&[Range<usize>]>) -> Vec<Range<u64>> {
        let metadata = self.segment.metadata.metadata();
        let places = metadata.offset_index().and_then(|groups| groups.get(group));
        let mut pages = Vec::new();
        for (leaf, column) in metadata.row_group(group).columns().iter().enumerate() {
            if !mask.leaf_included(leaf) {
                continue;
            }
            let (start, length) = column.byte_range();
            let Some((rows, places)) = rows.zip(places.and_then(|places| places.get(leaf))) else {
                pages.push(start..start + length);
                continue;
            };
            let places = places.page_locations();
            let first = places.first().map_or(start, |page| page.offset as u64);
            pages.push(start..first);
            for (at, page) in places.iter().enumerate() {
                let of_page = page.first_row_index as usize
                    ..places.get(at + 1).map_or(self.groups[group].rows, |next| next.first_row_index as usize);
                if rows.iter().any(|rows| rows.start < of_page.end && of_page.start < rows.end) {
                    pages.push(page.offset as u64..page.offset as u64 + page.compressed_page_size as u64);
                }
            }
        }
        pages.retain(|range| !range.is_empty());
        pages
    }

    fn rows_of_batch(&self, group: usize, mask: &ProjectionMask) -> usize {
        let columns = self.segment.metadata.metadata().row_group(group).columns().iter().enumerate();
        let bytes: i64 =
            columns.filter(|(leaf, _)| mask.leaf_included(*leaf)).map(|(_, column)| column.uncompressed_size()).sum();
        let bytes_of_row = usize::try_from(bytes).unwrap_or(0) / self.groups[group].rows.max(1);
        (BATCH_BYTES / bytes_of_row.max(1)).clamp(1, BATCH_ROWS)
    }

    /// The table it is of.
    pub fn table(&self) -> Table {
        self.table
    }
}

fn as_dictionaries(schema: &Schema, few_values: &[&str]) -> Schema {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = schema.fields().iter().map(|field| {
        let is_wanted = few_values.contains(&field.name().as_str()) && *field.data_type() == DataType::Utf8;
        if is_wanted {
            Field::new(field.name(), dictionary.clone(), field.is_nullable())
        } else {
            field.as_ref().clone()
        }
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn row_groups(metadata: &ArrowReaderMetadata, time_column: &str, time_ns: (i64, i64)) -> Arc<[RowGroup]> {
    let mut first_row = 0;
    let groups = metadata.metadata().row_groups().iter().map(|group| {
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let mut found = RowGroup { first_row, rows, time_min_ns: time_ns.0, time_max_ns: time_ns.1, texts: Vec::new() };
        first_row += rows as u64;
        for column in group.columns() {
            let name = column.column_path().string();
            match column.statistics() {
                Some(Statistics::Int64(known)) if name == time_column => {
                    found.time_min_ns = known.min_opt().copied().unwrap_or(time_ns.0);
                    found.time_max_ns = known.max_opt().copied().unwrap_or(time_ns.1);
                }
                Some(Statistics::ByteArray(known)) => {
                    if let Some((min, max)) = known.min_opt().zip(known.max_opt()) {
                        let no_nulls = known.null_count_opt() == Some(0);
                        let is_exact = known.min_is_exact() && known.max_is_exact() && no_nulls;
                        found
                            .texts
                            .push((name, TextRange { min: min.data().to_vec(), max: max.data().to_vec(), is_exact }));
                    }
                }
                _ => {}
            }
        }
        found
    });
    groups.collect()
}

/// A segment that is open: its footer, and how its file is read.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    ranges: Ranges,
    metadata: ArrowReaderMetadata,
}

impl OpenSegment {
    /// Reads the footer with the places of pages.
    pub(crate) fn open(shared: &Arc<Shared>, file: &SegmentFile) -> Result<Self, StoreError> {
        let (known, end) = match shared.known(file)? {
            None => (None, None),
            Some((known, end)) => {
                let offset = known.end_offset();
                let end = end.map_or_else(|| known.read(&shared.objects, offset..file.bytes), Ok)?;
                (Some(known), Some((offset, end)))
            }
        };
        let (shared, path, bytes, failure) = (shared.clone(), file.path.clone(), file.bytes, Arc::default());
        let ranges = Ranges { shared, path, bytes, known, end, fetched: Arc::default(), failure };
        // What pages hold at least and at most is for readers that have conditions; it is most of what is behind the rows.
        let options = ArrowReaderOptions::new()
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .with_column_index_policy(PageIndexPolicy::Skip);
        let metadata = ArrowReaderMetadata::load(&ranges, options).map_err(|error| ranges.failed(&error))?;
        Ok(Self { ranges: Ranges { end: None, ..ranges }, metadata })
    }

    /// What its footer says.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// Its rows, to be narrowed down; and who knows what an error of reading them means.
    pub(crate) fn rows(&self) -> (ParquetRecordBatchReaderBuilder<Ranges>, Ranges) {
        let ranges = Ranges { failure: Arc::default(), fetched: Arc::default(), ..self.ranges.clone() };
        (ParquetRecordBatchReaderBuilder::new_with_metadata(ranges.clone(), self.metadata.clone()), ranges)
    }
}

/// A segment's file, read in ranges that are checked.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    shared: Arc<Shared>,
    path: Arc<str>,
    bytes: u64,
    /// How to check them; `None` for what was checked as a whole.
    known: Option<Arc<Known>>,
    /// Where Parquet's end begins, and the end itself, while it is at hand.
    end: Option<(u64, Bytes)>,
    /// Ranges that were read ahead, by where they begin.
    fetched: Arc<OnceLock<Vec<(u64, Bytes)>>>,
    /// What has gone wrong: the reader of Parquet passes on no more than a text.
    failure: Arc<Mutex<Option<StoreError>>>,
}

impl Ranges {
    /// All of a range.
    fn read(&self, range: Range<u64>) -> ParquetResult<Bytes> {
        if let Some((offset, end)) = &self.end
            && range.start >= *offset
        {
            return Ok(end.slice((range.start - offset) as usize..(range.end - offset) as usize));
        }
        if let Some(fetched) = self.fetched.get() {
            let before = fetched.partition_point(|(start, _)| *start <= range.start);
            if let Some((start, bytes)) = before.checked_sub(1).map(|at| &fetched[at])
                && range.end <= start + bytes.len() as u64
            {
                return Ok(bytes.slice((range.start - start) as usize..(range.end - start) as usize));
            }
        }
        let objects = &self.shared.objects;
        let read = match &self.known {
            Some(known) => known.read(objects, range),
            None => objects.get_range(&self.path, range).and_then(|read| {
                let missing = || objects.missing(&self.path);
                read.map(Bytes::from).ok_or_else(missing)
            }),
        };
        read.map_err(|error| {
            let text = error.to_string();
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            ParquetError::General(text)
        })
    }

    /// Reads ranges ahead, all at once. Where the file was checked as a whole they are read when they are asked for.
    fn fetch(&self, ranges: &[Range<u64>]) -> Result<(), StoreError> {
        let Some(known) = &self.known else { return Ok(()) };
        let fetched = known.read_all(&self.shared.objects, ranges)?;
        self.fetched.set(fetched).expect("a reading begins with this");
        Ok(())
    }

    /// What has gone wrong with the file.
    pub(crate) fn take_failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What an error of reading it means: what the disk or a checksum has said, or else that it was not written as Parquet.
    pub(crate) fn failed(&self, error: &ParquetError) -> StoreError {
        let failure = self.take_failure();
        let damaged = || {
            let file = self.shared.objects.file(&self.path);
            StoreError::damaged(file, format!("not readable as Parquet: {error}"))
        };
        failure.unwrap_or_else(damaged)
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Ranges {
    type T = io::BufReader<FromPlace>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(io::BufReader::with_capacity(READ_BYTES, FromPlace { ranges: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.bytes);
        self.read(start..end.ok_or_else(|| ParquetError::EOF(format!("it ends before {start} + {length}")))?)
    }
}

/// The file from some place on.
pub(crate) struct FromPlace {
    ranges: Ranges,
    at: u64,
}

impl Read for FromPlace {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.ranges.bytes.min(self.at + buffer.len() as u64);
        if end <= self.at {
            return Ok(0);
        }
        let bytes = self.ranges.read(self.at..end).map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}
