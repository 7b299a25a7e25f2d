//! The table `toggles`: every variant of every toggle that a version serves, as the aggregator remembers it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shipwake_store::ToggleRow;
use shipwake_store::tables::time_type;

use super::{column, plain};

/// What one row is.
pub(super) const COMMENT: &str = "a variant of a toggle that a version of a service serves";

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        column("service", DataType::Utf8, false, "name of the service (service.name)"),
        column("namespace", DataType::Utf8, false, "namespace of the service (service.namespace), or empty"),
        column("environment", DataType::Utf8, false, "where it runs (deployment.environment.name)"),
        column("version", DataType::Utf8, false, "version that evaluated the toggle"),
        column("key", DataType::Utf8, false, "the toggle (feature_flag.key)"),
        column("variant", DataType::Utf8, false, "what it answered (feature_flag.result.variant)"),
        column("evaluations", DataType::Int64, false, "how often, since it was first seen"),
        column(
            "share",
            DataType::Float64,
            true,
            "part of the evaluations by this version within the last hour, 0 to 1; null without any",
        ),
        column("first_seen", time_type(), false, "event time of the first evaluation"),
        column("last_seen", time_type(), false, "event time of the newest evaluation"),
        column("changed", time_type(), false, "when the set of variants of the toggle last changed"),
        column("hot", DataType::Boolean, false, "whether it is folded into windows (signal toggle)"),
    ]))
}

pub(super) fn provider(rows: &[ToggleRow]) -> Result<Arc<dyn TableProvider>> {
    let schema = plain(&schema());
    let batch = RecordBatch::try_new(schema.clone(), columns(rows))?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn columns(rows: &[ToggleRow]) -> Vec<ArrayRef> {
    let text = |of: fn(&ToggleRow) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let time = |of: fn(&ToggleRow) -> i64| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
    };
    let mut totals: HashMap<(&shipwake_model::ReleaseId, &str), u64> = HashMap::new();
    for row in rows {
        *totals.entry((&row.release, &row.key)).or_insert(0) += row.recent;
    }
    let share = |row: &ToggleRow| {
        let total = totals.get(&(&*row.release, &*row.key)).copied().unwrap_or(0);
        (total > 0).then(|| row.recent as f64 / total as f64)
    };
    let count = |row: &ToggleRow| Some(i64::try_from(row.evaluations).unwrap_or(i64::MAX));
    vec![
        text(|row| &row.release.service),
        text(|row| &row.release.namespace),
        text(|row| &row.release.environment),
        text(|row| &row.release.version),
        text(|row| &row.key),
        text(|row| &row.variant),
        Arc::new(rows.iter().map(count).collect::<Int64Array>()),
        Arc::new(rows.iter().map(share).collect::<Float64Array>()),
        time(|row| row.first_seen_ns),
        time(|row| row.last_seen_ns),
        time(|row| row.changed_ns),
        Arc::new(rows.iter().map(|row| Some(row.hot)).collect::<BooleanArray>()),
    ]
}
