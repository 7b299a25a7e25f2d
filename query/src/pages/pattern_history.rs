//! Lines of log patterns that are older than what shards keep in memory, read from `windows`, stored and hot rows as one
//! snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int8Type, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::{SessionContext, col, lit};
use shipwake_model::pattern::{Level, id_of_text};
use shipwake_store::patterns::merge_patterns;
use shipwake_store::{PatternCell, PatternQuery, PatternRow, PatternVersion, Table};

use crate::error::QueryError;
use crate::sql::failure::explain;
use crate::sql::run::Engine;
use crate::sql::tables::window_parts;
use crate::time::{HOUR_MS, SECOND_MS};

const NS_PER_MS: i64 = 1_000_000;

/// The lines of a service in a range, in cells of a minute; of an hour for steps of whole hours.
pub(crate) async fn patterns(
    engine: &Engine,
    query: &PatternQuery,
    step_ms: i64,
    memory_bytes: usize,
) -> Result<Vec<PatternRow>, QueryError> {
    engine.without_damage(|| patterns_once(engine, query, step_ms, memory_bytes)).await
}

async fn patterns_once(
    engine: &Engine,
    query: &PatternQuery,
    step_ms: i64,
    memory_bytes: usize,
) -> Result<Vec<PatternRow>, QueryError> {
    let (state, read) = engine.session_for(&[Table::Windows], memory_bytes).await?;
    let fail = |error: DataFusionError| explain(&error, "", None);
    let parts = SessionContext::new_with_state(state).read_table(window_parts(&read)).map_err(fail)?;
    let resolution_s = if step_ms % HOUR_MS == 0 { HOUR_MS / SECOND_MS } else { 60 };
    let rows = parts.filter(condition(query, resolution_s as i32)).map_err(fail)?;
    let key = ["service", "namespace", "environment", "version", "metric", "attributes", "slot"].map(col);
    let start = cast(col("window_start"), arrow::datatypes::DataType::Int64).alias("start");
    let key = key.into_iter().chain([start]).collect();
    let rows = rows.aggregate(key, vec![sum(col("count")), min(col("min")), max(col("max"))]).map_err(fail)?;
    let batches = rows.collect().await.map_err(fail)?;
    Ok(merge_patterns(batches.iter().map(|batch| rows_of(batch).into_values().collect())))
}

fn condition(query: &PatternQuery, resolution_s: i32) -> Expr {
    let time = |ms: i64| lit(ScalarValue::TimestampNanosecond(Some(ms.saturating_mul(NS_PER_MS)), Some("UTC".into())));
    let mut all = vec![
        col("resolution_s").eq(lit(resolution_s)),
        col("signal").eq(lit("pattern")),
        col("window_start").gt_eq(time(query.from_ms)),
        col("window_start").lt(time(query.to_ms)),
    ];
    all.extend(query.service.as_deref().map(|service| col("service").eq(lit(service))));
    all.extend(query.environment.as_deref().map(|environment| col("environment").eq(lit(environment))));
    all.into_iter().reduce(Expr::and).expect("there are always four conditions")
}

/// Namespace and pattern.
type Key = (Arc<str>, u64);

fn rows_of(batch: &RecordBatch) -> BTreeMap<Key, PatternRow> {
    let text = |column: usize, row: usize| -> Arc<str> { batch.column(column).as_string::<i32>().value(row).into() };
    let seconds =
        |column: usize, row: usize| (batch.column(column).as_primitive::<Float64Type>().value(row) * 1e9) as i64;
    let whole = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let mut rows: BTreeMap<Key, PatternRow> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        // What a newer version of the program may count by is passed over.
        let Some(id) = id_of_text(&text(4, row)) else { continue };
        let attributes = batch.column(5).as_map().value(row);
        let attribute = |wanted: &str| attribute(attributes.column(0), attributes.column(1), wanted);
        let count = whole(8, row).max(0) as u64;
        let slot = batch.column(6).as_primitive::<Int8Type>().value(row);
        let version = PatternVersion {
            version: text(3, row),
            level: attribute("level").and_then(|word| Level::from_word(&word)).unwrap_or_default(),
            first_seen_ns: seconds(9, row),
            last_seen_ns: seconds(10, row),
            count,
            cells: vec![PatternCell { t_ms: whole(7, row).div_euclid(NS_PER_MS), count, slots: 1 << (slot & 7) }],
        };
        let place = rows.entry((text(1, row), id)).or_insert_with(|| PatternRow {
            service: text(0, row),
            namespace: text(1, row),
            environment: text(2, row),
            id,
            template: attribute("template").unwrap_or_default().into(),
            example: "".into(),
            versions: Vec::new(),
        });
        place.add(version);
    }
    rows
}

fn attribute(keys: &ArrayRef, values: &ArrayRef, wanted: &str) -> Option<String> {
    let (keys, values) = (keys.as_string_opt::<i32>()?, values.as_string_opt::<i32>()?);
    (0..keys.len()).find(|at| keys.value(*at) == wanted).map(|at| values.value(at).to_owned())
}

/// Puts what is remembered of the patterns, whatever the range, beside the cells of the range.
pub(crate) fn with_memory(remembered: &[PatternRow], found: Vec<PatternRow>) -> Vec<PatternRow> {
    let remembered = remembered.iter().map(|row| {
        let mut row = row.clone();
        row.versions.iter_mut().for_each(|version| version.cells.clear());
        row
    });
    merge_patterns([remembered.collect(), found])
}
