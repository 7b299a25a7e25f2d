//! The rows of a segment as one Parquet file in memory, with blooms and index beside it where there is text to search.
//!
//! zstd level 1 is faster than every other and larger only than level 19 on log lines. Columns whose values hardly repeat (bodies,
//! ids, histograms) skip the dictionary, which would be built and thrown away; so do attributes of log lines, where one that has ids among its values
//! would fill it, and reading a line would read all of it. Times and durations are delta-encoded.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use shipwake_model::words::{each_word_bytes, is_indexed};
use tantivy::TantivyError;

use crate::Table;
use crate::bloom::{BloomsBuilder, attribute_key, trace_key, word_key};
use crate::counts::CountsBuilder;
use crate::index::IndexBuilder;
use crate::parts::{Behind, Parts};
use crate::row_groups::{RowGroups, ZSTD_LEVEL};

/// Rows of a row group: the unit that a query skips or reads.
pub(crate) const ROW_GROUP_ROWS: usize = 128 * 1024;
/// One false answer in twenty costs a look into a row group; a smaller ratio costs bytes in every file.
const BLOOM_FALSE_POSITIVES: f64 = 0.05;

const NO_DICTIONARY: [&str; 8] =
    ["body", "trace_id", "span_id", "parent_span_id", "histogram", "value", "sum", "duration_ns"];
const DELTA_ENCODED: [&str; 6] = ["time", "observed_time", "start_time", "window_start", "duration_ns", "line"];
/// Texts whose lengths stand apart: between texts they would be in the way of the compression.
const LENGTHS_APART: [&str; 4] = ["body", "trace_id", "span_id", "parent_span_id"];
/// Their smallest and largest value say nothing that a query could skip by, and finding them compares every text: ids are
/// spread over their whole range in every page.
const NO_STATISTICS: [&str; 6] = ["body", "histogram", "trace_id", "span_id", "parent_span_id", "pattern_id"];
const MAPS: [&str; 2] = ["attributes", "resource"];
/// Rows of a page of logs: a line that was found costs a page of every column. Pages of 20 000 rows, as Parquet has them by itself,
/// are not smaller on disk: a page is compressed for itself, and of this many lines nothing is left to be found.
const LOG_PAGE_ROWS: usize = 2048;
/// Columns of logs whose pages say what they hold: those that rows are sorted by, where it rules pages out. With pages as small as these
/// it would be more than the footer for all columns.
const LOG_PAGE_STATISTICS: [&str; 3] = ["service", "version", "time"];

/// What belongs beside the rows of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Token blooms, where the table has text that is searched.
    Blooms,
    /// The same, and the full-text index.
    BloomsAndIndex,
}

/// A segment in memory, with what lies beside it.
pub(crate) struct Encoded {
    pub(crate) rows: u64,
    pub(crate) segment: Bytes,
    pub(crate) parts: Parts,
    pub(crate) blooms: Option<Bytes>,
    pub(crate) index: Option<Bytes>,
}

/// Encodes a segment batch by batch.
pub(crate) struct SegmentEncoder {
    table: Table,
    parquet: RowGroups,
    rows: usize,
    counts: Option<CountsBuilder>,
    blooms: Option<BloomsBuilder>,
    index: Option<IndexBuilder>,
}

impl SegmentEncoder {
    /// For about `rows` rows in about `bytes` bytes.
    pub(crate) fn new(table: Table, rows: usize, bytes: usize, beside: Beside) -> Result<Self, ParquetError> {
        // Without Arrow's own copy of the schema, which adds a quarter to a small file: Parquet's says the same.
        let parquet = RowGroups::new(Vec::with_capacity(bytes), table.schema(), properties(table, rows))?;
        let is_searched = table == Table::Logs;
        Ok(Self {
            table,
            parquet,
            rows: 0,
            counts: is_searched.then(CountsBuilder::default),
            blooms: is_searched.then(BloomsBuilder::new),
            index: (is_searched && beside == Beside::BloomsAndIndex).then(IndexBuilder::default),
        })
    }

    /// Adds rows, in the order of the segment and the public schema; columns of resources may be dictionaries (`row_groups`).
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (batch.num_rows() - from).min(ROW_GROUP_ROWS - self.rows % ROW_GROUP_ROWS);
            self.write_in_group(&batch.slice(from, rows))?;
            from += rows;
        }
        Ok(())
    }

    /// The files.
    pub(crate) fn finish(mut self) -> Result<Encoded, ParquetError> {
        let external = |error| ParquetError::External(Box::new(error));
        let rest = self.rows % ROW_GROUP_ROWS;
        if let Some(blooms) = self.blooms.as_mut().filter(|_| rest > 0) {
            blooms.end_group(rest as u32);
        }
        let index = self.index.map(IndexBuilder::finish).transpose().map_err(external)?;
        let rows = self.rows as u64;
        self.parquet.flush()?;
        // Blooms, index and readers count on it.
        let groups = self.parquet.flushed_row_groups();
        let full = groups.iter().rev().skip(1).all(|group| group.num_rows() == ROW_GROUP_ROWS as i64);
        assert!(full && groups.len() == self.rows.div_ceil(ROW_GROUP_ROWS), "row groups of {} rows", self.table);
        let counts = self.counts.map(CountsBuilder::finish).unwrap_or_default();
        self.parquet.sync()?;
        let behind = Behind::of(self.parquet.inner(), counts);
        self.parquet.write_all(&behind.bytes())?;
        let segment = self.parquet.into_inner()?;
        let parts = behind.parts(&segment);
        Ok(Encoded {
            rows,
            segment: segment.into(),
            parts,
            blooms: self.blooms.map(|blooms| blooms.finish().into()),
            index: index.map(Bytes::from),
        })
    }

    fn write_in_group(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.parquet.write(batch)?;
        self.rows += batch.num_rows();
        if self.rows.is_multiple_of(ROW_GROUP_ROWS) {
            self.parquet.flush()?;
        }
        if let Some(counts) = &mut self.counts {
            counts.add(batch);
        }
        if let Some(blooms) = &mut self.blooms {
            note_words(blooms, self.index.as_mut(), batch).map_err(|error| ParquetError::External(Box::new(error)))?;
            note_keys(blooms, batch);
            if self.rows.is_multiple_of(ROW_GROUP_ROWS) {
                blooms.end_group(ROW_GROUP_ROWS as u32);
            }
        }
        Ok(())
    }
}

/// Words of bodies, for the index alone.
pub(crate) fn index_words(index: &mut IndexBuilder, batch: &RecordBatch) -> Result<(), TantivyError> {
    for body in text(batch, "body") {
        each_word_bytes(body.unwrap_or_default(), |word| {
            if is_indexed(word) {
                index.add(word_key(word), word);
            }
        });
        index.end_row()?;
    }
    Ok(())
}

/// Words of bodies, for blooms and, where there is one, the index: cut once, hashed once.
fn note_words(
    blooms: &mut BloomsBuilder,
    index: Option<&mut IndexBuilder>,
    batch: &RecordBatch,
) -> Result<(), TantivyError> {
    let bodies = text(batch, "body");
    let Some(index) = index else {
        for body in bodies.iter().flatten() {
            each_word_bytes(body, |word| blooms.add_word(word));
        }
        return Ok(());
    };
    for body in bodies {
        each_word_bytes(body.unwrap_or_default(), |word| {
            let key = word_key(word);
            blooms.add(key);
            if is_indexed(word) {
                index.add(key, word);
            }
        });
        index.end_row()?;
    }
    Ok(())
}

/// What else can be asked of the blooms: trace ids, attributes.
fn note_keys(blooms: &mut BloomsBuilder, batch: &RecordBatch) {
    for trace_id in text(batch, "trace_id").iter().flatten() {
        blooms.add(trace_key(trace_id));
    }
    let attributes = batch.column_by_name("attributes").expect("log rows have attributes").as_map();
    let (names, values) = (attributes.keys().as_string::<i32>(), attributes.values().as_string::<i32>());
    let entries = attributes.value_offsets();
    for entry in entries[0] as usize..entries[batch.num_rows()] as usize {
        if values.is_valid(entry) {
            blooms.add(attribute_key(names.value(entry), values.value(entry)));
        }
    }
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> &'a StringArray {
    batch.column_by_name(name).expect("log rows have the column").as_string()
}

/// How segments of a table are written.
pub(crate) fn properties(table: Table, rows: usize) -> WriterProperties {
    let schema = table.schema();
    let has = |name: &str| schema.field_with_name(name).is_ok();
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("it is a level of zstd");
    let mut builder = WriterProperties::builder()
        .set_created_by("shipwake".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(if table == Table::Logs { EnabledStatistics::Chunk } else { EnabledStatistics::Page })
        .set_sorting_columns(Some(sorting(table)))
        .set_key_value_metadata(Some(vec![KeyValue::new("shipwake.table".to_owned(), table.name().to_owned())]));
    if table == Table::Logs {
        builder = builder.set_data_page_row_count_limit(LOG_PAGE_ROWS);
        builder = builder.set_column_dictionary_enabled(entries("attributes", "values"), false);
        builder = builder.set_column_encoding(entries("attributes", "values"), Encoding::DELTA_LENGTH_BYTE_ARRAY);
        for name in LOG_PAGE_STATISTICS {
            builder = builder.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::Page);
        }
    }
    for name in NO_DICTIONARY.into_iter().chain(DELTA_ENCODED).filter(|name| has(name)) {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    for name in DELTA_ENCODED.into_iter().filter(|name| has(name)) {
        builder = builder.set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in LENGTHS_APART.into_iter().filter(|name| has(name)) {
        builder = builder.set_column_encoding(ColumnPath::from(name), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    }
    for name in NO_STATISTICS.into_iter().filter(|name| has(name)) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::None);
    }
    for name in MAPS.into_iter().filter(|name| has(name)) {
        for leaf in ["keys", "values"] {
            builder = builder.set_column_statistics_enabled(entries(name, leaf), EnabledStatistics::None);
        }
    }
    if has("trace_id") { with_bloom(builder, rows).build() } else { builder.build() }
}

/// The keys or the values of a map.
fn entries(map: &str, leaf: &str) -> ColumnPath {
    ColumnPath::from(vec![map.to_owned(), "entries".to_owned(), leaf.to_owned()])
}

/// A trace is asked for by its id alone: without the bloom filter every file of every day would be read.
fn with_bloom(builder: WriterPropertiesBuilder, rows: usize) -> WriterPropertiesBuilder {
    let trace_id = || ColumnPath::from("trace_id");
    builder
        .set_column_bloom_filter_enabled(trace_id(), true)
        .set_column_bloom_filter_fpp(trace_id(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(trace_id(), rows.min(ROW_GROUP_ROWS) as u64)
}

/// The order of the rows, for readers that can use it. Columns are named by their leaf; maps come after all of these.
fn sorting(table: Table) -> Vec<SortingColumn> {
    let schema = table.schema();
    table
        .sort_columns()
        .iter()
        .copied()
        .chain([table.time_column()])
        .map(|name| {
            let index = schema.index_of(name).expect("a table has its sort columns");
            SortingColumn { column_idx: index as i32, descending: false, nulls_first: false }
        })
        .collect()
}
