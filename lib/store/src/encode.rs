//! The rows of a commit as one Parquet file in memory.
//!
//! zstd level 1 is both faster and no larger than level 3 on log lines. Columns whose values hardly repeat (bodies,
//! ids, histograms) skip the dictionary, which would be built and thrown away; times and durations are delta-encoded.

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::Table;
use crate::sort::SortedRows;

/// Rows of a row group: the unit that a query skips or reads.
pub(crate) const ROW_GROUP_ROWS: usize = 128 * 1024;
/// One false answer in twenty costs a look into a row group; a smaller ratio costs bytes in every file.
const BLOOM_FALSE_POSITIVES: f64 = 0.05;

const NO_DICTIONARY: [&str; 8] =
    ["body", "trace_id", "span_id", "parent_span_id", "histogram", "value", "sum", "duration_ns"];
const DELTA_ENCODED: [&str; 5] = ["time", "observed_time", "start_time", "window_start", "duration_ns"];
/// Their smallest and largest value say nothing that a query could skip by, and finding them compares every text: ids are
/// spread over their whole range in every page.
const NO_STATISTICS: [&str; 6] = ["body", "histogram", "trace_id", "span_id", "parent_span_id", "pattern_id"];
const MAPS: [&str; 2] = ["attributes", "resource"];

/// Encodes all rows. The buffer is as large as the file.
pub(crate) fn encode(table: Table, rows: &SortedRows) -> Result<Bytes, ParquetError> {
    let properties = properties(table, rows.num_rows());
    // Arrow's own copy of the schema adds a quarter to a small file, and Parquet's says the same.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), table.schema(), options)?;
    for batch in rows.batches() {
        writer.write(&batch)?;
    }
    Ok(writer.into_inner()?.into())
}

fn properties(table: Table, rows: usize) -> WriterProperties {
    let schema = table.schema();
    let has = |name: &str| schema.field_with_name(name).is_ok();
    let level = ZstdLevel::try_new(1).expect("1 is a level of zstd");
    let mut builder = WriterProperties::builder()
        .set_created_by("shipwake".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting(table)))
        .set_key_value_metadata(Some(vec![KeyValue::new("shipwake.table".to_owned(), table.name().to_owned())]));
    for name in NO_DICTIONARY.into_iter().chain(DELTA_ENCODED).filter(|name| has(name)) {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    for name in DELTA_ENCODED.into_iter().filter(|name| has(name)) {
        builder = builder.set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in NO_STATISTICS.into_iter().filter(|name| has(name)) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::None);
    }
    for name in MAPS.into_iter().filter(|name| has(name)) {
        for leaf in ["keys", "values"] {
            let path = ColumnPath::from(vec![name.to_owned(), "entries".to_owned(), leaf.to_owned()]);
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    if has("trace_id") { with_bloom(builder, rows).build() } else { builder.build() }
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
