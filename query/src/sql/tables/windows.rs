//! The table `windows`: stored rows are partials, one per commit that touched a window. A row here is all partials of one
//! key together, so a late record is seen as a larger `revision` and never as a second row.
//!
//! The merge is an ordinary aggregation over the stored rows. Filters on key columns move below it and into the segments.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::Result;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::{bool_or, max, min, sum};
use datafusion::logical_expr::{LogicalPlanBuilder, when};
use datafusion::prelude::{Expr, col, lit};
use shipwake_store::Table;

use super::{Read, telemetry};
use crate::sql::functions;

/// What one row is.
pub(super) const COMMENT: &str = "an aggregate of one series in one window";

/// What makes a row: everything else is merged.
pub(super) const KEY: [&str; 14] = [
    "service",
    "namespace",
    "environment",
    "version",
    "instance",
    "window_start",
    "resolution_s",
    "signal",
    "metric",
    "unit",
    "source",
    "route",
    "slot",
    "attributes",
];

/// A column of the merged rows. Counts of different things do not add up: theirs is that of the merged sketch.
fn column(name: &str) -> Result<Expr> {
    if name != "count" {
        return Ok(col(name));
    }
    let things = functions::distinct_count().call(vec![col("histogram")]);
    Ok(when(col("signal").eq(lit("usage")), things).otherwise(col("count"))?.alias("count"))
}

/// The stored partial rows.
pub(crate) fn parts(read: &Arc<Read>) -> Arc<dyn TableProvider> {
    telemetry::provider(&[Table::Windows, Table::Windows1s], read)
}

pub(super) async fn provider(_state: &SessionState, read: &Arc<Read>) -> Result<Arc<dyn TableProvider>> {
    let key: Vec<Expr> = KEY.iter().map(|name| col(*name)).collect();
    let merged = vec![
        sum(col("count")).alias("count"),
        sum(col("sum")).alias("sum"),
        min(col("min")).alias("min"),
        max(col("max")).alias("max"),
        functions::hdr_merge().call(vec![col("histogram")]).alias("histogram"),
        sum(col("revision")).alias("revision"),
        // A partial that was written after the watermark had passed settles the row as far as it will be.
        bool_or(col("is_final")).alias("is_final"),
    ];
    let columns: Vec<Expr> =
        Table::Windows.schema().fields().iter().map(|field| column(field.name())).collect::<Result<_>>()?;
    let plan = LogicalPlanBuilder::scan("parts", provider_as_source(parts(read)), None)?
        .aggregate(key, merged)?
        .project(columns)?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
