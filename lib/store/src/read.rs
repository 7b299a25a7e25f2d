//! Reading a segment's bytes: columns and time range.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::Table;

/// Rows of a segment's bytes with an event time in `time_ns`, in the table's schema with only the columns at
/// `projection`. `i64::MIN..i64::MAX` is everything. A column that the segment was written without is null. The error
/// says what is wrong with the file.
pub(crate) fn read(
    table: Table,
    bytes: Bytes,
    projection: &[usize],
    time_ns: Range<i64>,
) -> Result<Vec<RecordBatch>, String> {
    let schema = Arc::new(table.schema().project(projection).expect("the projection is of the table's schema"));
    rows(table, bytes, &schema, &time_ns).map_err(|error| format!("not readable as Parquet: {error}"))
}

fn rows(
    table: Table,
    bytes: Bytes,
    schema: &SchemaRef,
    time_ns: &Range<i64>,
) -> Result<Vec<RecordBatch>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let stored = builder.schema().clone();
    let wanted = |name: &str| name == table.time_column() || schema.field_with_name(name).is_ok();
    let roots = stored.fields().iter().enumerate().filter(|(_, field)| wanted(field.name())).map(|(index, _)| index);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut batches = Vec::new();
    for batch in builder.with_projection(mask).build()? {
        let batch = within(&batch?, table, time_ns)?;
        if batch.num_rows() > 0 {
            batches.push(with_columns(&batch, schema)?);
        }
    }
    Ok(batches)
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

fn with_columns(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<arrow::datatypes::Field>| -> ArrayRef {
        let stored = batch.column_by_name(field.name()).cloned();
        stored.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    };
    let columns = schema.fields().iter().map(column).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}
