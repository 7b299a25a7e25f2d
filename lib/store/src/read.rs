//! Reading the rows of a segment: columns, time range, candidates.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use crate::scan::OpenSegment;
use crate::{Candidates, StoreError, Table};

/// Which rows and columns of a segment are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) table: Table,
    /// Columns, as indices into the table's schema.
    pub(crate) projection: &'a [usize],
    /// Event time; `i64::MIN..i64::MAX` is everything.
    pub(crate) time_ns: Range<i64>,
    pub(crate) candidates: &'a Candidates,
}

/// Rows of a segment's bytes with an event time in `time_ns`, in the table's schema with only the columns at
/// `projection`. `i64::MIN..i64::MAX` is everything. A column that the segment was written without is null. The error
/// says what is wrong with the file.
pub(crate) fn read(
    table: Table,
    bytes: Bytes,
    projection: &[usize],
    time_ns: Range<i64>,
) -> Result<Vec<RecordBatch>, String> {
    let mut batches = Vec::new();
    let wish = Wish { table, projection, time_ns, candidates: &Candidates::All };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes);
    let read = builder.and_then(|builder| {
        rows(builder, &wish, |batch| {
            batches.push(batch);
            ControlFlow::Continue(())
        })
    });
    read.map_err(|error| format!("not readable as Parquet: {error}"))?;
    Ok(batches)
}

/// Calls `each` with the wanted rows of a segment, in order, until it breaks. Row groups and pages without candidates are not
/// read.
pub(crate) fn each_batch(
    segment: &OpenSegment,
    wish: &Wish<'_>,
    each: impl FnMut(RecordBatch) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let (builder, ranges) = segment.rows();
    rows(builder, wish, each).map_err(|error| ranges.failed(&error))
}

fn rows<R: ChunkReader + 'static>(
    builder: ParquetRecordBatchReaderBuilder<R>,
    wish: &Wish<'_>,
    mut each: impl FnMut(RecordBatch) -> ControlFlow<()>,
) -> Result<(), ParquetError> {
    let schema = wish.table.schema().project(wish.projection).expect("the projection is of the table's schema");
    let schema: SchemaRef = Arc::new(schema);
    let stored = builder.schema().clone();
    let wanted = |name: &str| name == wish.table.time_column() || schema.field_with_name(name).is_ok();
    let roots = stored.fields().iter().enumerate().filter(|(_, field)| wanted(field.name())).map(|(index, _)| index);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut builder = builder.with_projection(mask);
    if *wish.candidates != Candidates::All {
        let total = builder.metadata().file_metadata().num_rows().max(0) as u64;
        let ranges = wish.candidates.ranges(total).into_iter().map(|rows| rows.start as usize..rows.end as usize);
        builder = builder.with_row_selection(RowSelection::from_consecutive_ranges(ranges, total as usize));
    }
    for batch in builder.build()? {
        let batch = within(&batch?, wish.table, &wish.time_ns)?;
        if batch.num_rows() > 0 && each(with_columns(&batch, &schema)?).is_break() {
            break;
        }
    }
    Ok(())
}

fn within(batch: &RecordBatch, table: Table, time_ns: &Range<i64>) -> Result<RecordBatch, ArrowError> {
    let times = batch
        .column_by_name(table.time_column())
        .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>())
        .ok_or_else(|| ArrowError::SchemaError(format!("no column {} of nanoseconds", table.time_column())))?;
    let is_inside = |time: &i64| time_ns.start <= *time && (*time < time_ns.end || time_ns.end == i64::MAX);
    let inside: BooleanArray = times.values().iter().map(|time| Some(is_inside(time))).collect();
    if inside.true_count() == batch.num_rows() { Ok(batch.clone()) } else { filter_record_batch(batch, &inside) }
}

pub(crate) fn with_columns(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<arrow::datatypes::Field>| -> ArrayRef {
        let stored = batch.column_by_name(field.name()).cloned();
        stored.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    };
    let columns = schema.fields().iter().map(column).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}
