//! The table `verdicts`: every change of the word that was said about a release, as the aggregator keeps it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shipwake_model::VerdictChange;
use shipwake_store::VerdictRow;
use shipwake_store::tables::time_type;

use super::{column, plain};

/// What one row is.
pub(super) const COMMENT: &str = "a change of the verdict about a release";

pub(super) fn schema() -> SchemaRef {
    let text = |name: &str, comment: &str| column(name, DataType::Utf8, false, comment);
    Arc::new(Schema::new(vec![
        column("time", time_type(), false, "when it was said"),
        text("service", "name of the service (service.name)"),
        text("namespace", "namespace of the service (service.namespace), or empty"),
        text("environment", "where it runs (deployment.environment.name)"),
        text("version", "version that is judged"),
        text("baseline", "version that it was compared with, or empty"),
        text("verdict", "go, no_go, watch or wait"),
        text("previous", "the word before, or empty"),
        text("ending", "why it is judged no more, or empty"),
        column("sequence", DataType::Int64, false, "counts the changes of this release"),
        text("summary", "the sentence for people"),
        text("policy", "policy that it was judged by"),
        text("checks", "what it rests on, as JSON; empty where that was too long"),
        column("received", time_type(), false, "when it was recorded"),
    ]))
}

pub(super) fn provider(rows: &[VerdictRow]) -> Result<Arc<dyn TableProvider>> {
    let schema = plain(&schema());
    let batch = RecordBatch::try_new(schema.clone(), columns(rows))?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn columns(rows: &[VerdictRow]) -> Vec<ArrayRef> {
    let text = |of: fn(&VerdictChange) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(&row.change))).collect::<StringArray>())
    };
    let time = |of: fn(&VerdictRow) -> i64| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
    };
    let sequence = |row: &VerdictRow| Some(i64::try_from(row.change.sequence).unwrap_or(i64::MAX));
    vec![
        time(|row| row.change.at_ns),
        text(|change| &change.release.service),
        text(|change| &change.release.namespace),
        text(|change| &change.release.environment),
        text(|change| &change.release.version),
        text(|change| &change.baseline),
        text(|change| &change.verdict),
        text(|change| &change.previous),
        text(|change| &change.ending),
        Arc::new(rows.iter().map(sequence).collect::<Int64Array>()),
        text(|change| &change.summary),
        text(|change| &change.policy),
        text(|change| &change.checks),
        time(|row| row.received_ns),
    ]
}
