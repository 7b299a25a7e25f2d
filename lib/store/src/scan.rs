//! Reading parts of a segment: some columns of some rows of a row group, and what is known of a row group without reading it.
//!
//! For readers that look at many segments and need little of each. Only the bytes that are needed are read. The checksum of the
//! segment is checked before its first read, as for every reader.

use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use crate::shared::Shared;
use crate::{SegmentFile, Store, StoreError, Table};

/// Rows of a batch: a batch of long texts must not be too large.
const BATCH_ROWS: usize = 16 * 1024;
/// Read at once where pages are read one after the other.
const READ_BYTES: usize = 256 << 10;

/// A segment that is known: cheap to clone, holds no file open. Whoever keeps it need not keep the [`SegmentFile`], but can read
/// only while somebody does.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    table: Table,
    shared: Arc<Shared>,
    path: Arc<str>,
    bytes: u64,
    metadata: ArrowReaderMetadata,
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
    /// Opens a segment for reading in parts. Columns of `few_values` are read as dictionaries. Blocks on the disk; the first time
    /// for as long as it takes to read the file.
    pub fn open_segment(&self, file: &SegmentFile, few_values: &[&str]) -> Result<SegmentReader, StoreError> {
        self.verify_segment(file)?;
        let damaged = |error: ParquetError| failed(self.shared().objects.file(&file.path), error);
        let (shared, path, bytes) = (self.shared().clone(), file.path.clone(), file.bytes);
        let ranges = Ranges { shared: shared.clone(), path: path.clone(), bytes };
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&ranges, options).map_err(damaged)?;
        let wanted = Arc::new(as_dictionaries(metadata.schema(), few_values));
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional).with_schema(wanted);
        let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options).map_err(damaged)?;
        let groups = row_groups(&metadata, file.table.time_column(), (file.time_min_ns, file.time_max_ns));
        Ok(SegmentReader { table: file.table, shared, path, bytes, groups, metadata })
    }
}

impl SegmentReader {
    /// Its row groups, in the order of the segment.
    pub fn groups(&self) -> &[RowGroup] {
        &self.groups
    }

    /// Bytes that keeping it takes.
    pub fn memory_bytes(&self) -> usize {
        self.metadata.metadata().memory_size()
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
        let damaged = |error: ParquetError| failed(self.shared.objects.file(&self.path), error);
        let ranges = Ranges { shared: self.shared.clone(), path: self.path.clone(), bytes: self.bytes };
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(ranges, self.metadata.clone());
        let fields = self.metadata.schema().fields().iter().enumerate();
        let roots: Vec<usize> =
            fields.filter(|(_, field)| columns.contains(&field.name().as_str())).map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_row_groups(vec![group]).with_projection(mask).with_batch_size(BATCH_ROWS);
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

/// A segment's file, read in ranges.
struct Ranges {
    shared: Arc<Shared>,
    path: Arc<str>,
    bytes: u64,
}

impl Ranges {
    /// All of a range. What the disk says is carried in the reader's error, where [`failed`] finds it again.
    fn read(&self, range: Range<u64>) -> ParquetResult<Bytes> {
        match self.shared.objects.get_range(&self.path, range) {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => Err(match self.shared.missing(&self.path) {
                gone @ StoreError::Gone { .. } => ParquetError::External(Box::new(gone)),
                _ => ParquetError::General("it is missing or shorter than it was".to_owned()),
            }),
            Err(error) => Err(ParquetError::External(Box::new(error))),
        }
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
        let ranges = Ranges { shared: self.shared.clone(), path: self.path.clone(), bytes: self.bytes };
        Ok(io::BufReader::with_capacity(READ_BYTES, FromPlace { ranges, at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.read(start..start + length as u64)
    }
}

/// The file from some place on.
struct FromPlace {
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

/// A failure of the disk stays one; everything else is damage of the file.
fn failed(file: PathBuf, error: ParquetError) -> StoreError {
    match error {
        ParquetError::External(outside) => match outside.downcast::<StoreError>() {
            Ok(error) => *error,
            Err(error) => StoreError::damaged(file, format!("not readable as Parquet: {error}")),
        },
        error => StoreError::damaged(file, format!("not readable as Parquet: {error}")),
    }
}
