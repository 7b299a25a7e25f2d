//! The table `releases`: every release seen, as the aggregator remembers it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shipwake_store::ReleaseRow;
use shipwake_store::tables::time_type;

use super::{column, plain};

/// What one row is.
pub(super) const COMMENT: &str = "a release: one version of a service in an environment";

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        column("service", DataType::Utf8, false, "name of the service (service.name)"),
        column("namespace", DataType::Utf8, false, "namespace of the service (service.namespace), or empty"),
        column("environment", DataType::Utf8, false, "where it runs (deployment.environment.name)"),
        column("version", DataType::Utf8, false, "version (service.version); unversioned when not known"),
        column("first_seen", time_type(), false, "event time of its first record"),
        column("last_seen", time_type(), false, "event time of its newest record"),
        column("records", DataType::Int64, false, "records of all signals"),
        column("requests", DataType::Int64, false, "requests, from the source in use"),
        column(
            "instances",
            DataType::Int64,
            false,
            "instances that run: not counted any more when they have missed three of their own exports (90 s to 5 min)",
        ),
        column(
            "instance_guessed",
            DataType::Boolean,
            false,
            "whether instances were guessed from host or peer address",
        ),
    ]))
}

pub(super) fn provider(rows: &[ReleaseRow]) -> Result<Arc<dyn TableProvider>> {
    let schema = plain(&schema());
    let batch = RecordBatch::try_new(schema.clone(), columns(rows))?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn columns(rows: &[ReleaseRow]) -> Vec<ArrayRef> {
    let text = |of: fn(&ReleaseRow) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let time = |of: fn(&ReleaseRow) -> i64| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
    };
    let count = |of: fn(&ReleaseRow) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(i64::try_from(of(row)).unwrap_or(i64::MAX))).collect::<Int64Array>())
    };
    vec![
        text(|row| &row.release.service),
        text(|row| &row.release.namespace),
        text(|row| &row.release.environment),
        text(|row| &row.release.version),
        time(|row| row.first_seen_ns),
        time(|row| row.last_seen_ns),
        count(|row| row.records),
        count(|row| row.requests),
        count(|row| u64::from(row.instances)),
        Arc::new(rows.iter().map(|row| Some(row.instance_guessed)).collect::<BooleanArray>()),
    ]
}
