//! Cells of a service that are older than what shards keep in memory: the same answer as `Store::health`, read from
//! `windows`, stored and hot rows as one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast};
use datafusion::prelude::{SessionContext, col, lit};
use shipwake_model::sketch::{HdrCells, Sketch};
use shipwake_model::{ReleaseId, Source};
use shipwake_store::{
    HealthCell, HealthQuery, HealthSeries, MeasureCell, MeasureKey, MeasureQuery, MeasureSeries, Table, merge_measures,
};

use crate::error::QueryError;
use crate::sql::failure::explain;
use crate::sql::functions;
use crate::sql::run::Engine;
use crate::sql::tables::window_parts;

/// Stored resolutions that pages read, coarsest first: the coarsest that divides the step has the fewest rows.
const RESOLUTIONS_S: [u32; 3] = [3600, 60, 10];
const NS_PER_MS: i64 = 1_000_000;

/// Answers a health query from `windows`. The step is a multiple of ten seconds.
pub(crate) async fn health(
    engine: &Engine,
    query: &HealthQuery,
    memory_bytes: usize,
) -> Result<Vec<HealthSeries>, QueryError> {
    engine.without_damage(|| health_once(engine, query, memory_bytes)).await
}

async fn health_once(
    engine: &Engine,
    query: &HealthQuery,
    memory_bytes: usize,
) -> Result<Vec<HealthSeries>, QueryError> {
    let (state, read) = engine.session_for(&[Table::Windows], memory_bytes).await?;
    let fail = |error: DataFusionError| explain(&error, "", None);
    let parts = SessionContext::new_with_state(state).read_table(window_parts(&read)).map_err(fail)?;
    let rows = parts.filter(condition(query)).map_err(fail)?;
    let rows = rows.aggregate(key(query), values()).map_err(fail)?;
    let batches = rows.collect().await.map_err(fail)?;
    series(&batches).map_err(fail)
}

/// Answers a question for KPIs, usage and toggles from `windows`. The step is a multiple of ten seconds.
pub(crate) async fn measures(
    engine: &Engine,
    query: &MeasureQuery,
    memory_bytes: usize,
) -> Result<Vec<MeasureSeries>, QueryError> {
    engine.without_damage(|| measures_once(engine, query, memory_bytes)).await
}

async fn measures_once(
    engine: &Engine,
    query: &MeasureQuery,
    memory_bytes: usize,
) -> Result<Vec<MeasureSeries>, QueryError> {
    let (state, read) = engine.session_for(&[Table::Windows], memory_bytes).await?;
    let fail = |error: DataFusionError| explain(&error, "", None);
    let parts = SessionContext::new_with_state(state).read_table(window_parts(&read)).map_err(fail)?;
    let signals = query.signals.iter().map(|signal| lit(*signal)).collect();
    let place = Place {
        service: query.service.as_deref(),
        environment: query.environment.as_deref(),
        from_ms: query.from_ms,
        to_ms: query.to_ms,
        step_s: query.step_s,
    };
    let rows = parts.filter(place.condition(signals)).map_err(fail)?;
    let key = ["service", "namespace", "environment", "version", "signal", "metric", "unit", "attributes"];
    let mut key: Vec<Expr> = key.iter().map(|name| col(*name)).collect();
    key.push(bucket(query.step_s));
    let values = vec![
        sum(col("count")).alias("count"),
        sum(col("sum")).alias("sum"),
        functions::hdr_merge().call(vec![col("histogram")]).alias("histogram"),
    ];
    let batches = rows.aggregate(key, values).map_err(fail)?.collect().await.map_err(fail)?;
    let mut found = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            found.extend(measure(batch, row, query.signals).map_err(fail)?);
        }
    }
    Ok(merge_measures(found))
}

fn measure(
    batch: &RecordBatch,
    row: usize,
    signals: &'static [&'static str],
) -> Result<Option<MeasureSeries>, DataFusionError> {
    let text = |column: usize| -> Arc<str> { batch.column(column).as_string::<i32>().value(row).into() };
    let Some(signal) = signals.iter().find(|signal| ***signal == *text(4)) else { return Ok(None) };
    let entries = batch.column(7).as_map().value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    let attributes = (0..entries.len()).map(|at| (keys.value(at).to_owned(), values.value(at).to_owned())).collect();
    let release = ReleaseId { service: text(0), namespace: text(1), environment: text(2), version: text(3) };
    let key = MeasureKey { release: Arc::new(release), signal, metric: text(5), unit: text(6), attributes };
    let histograms = batch.column(11).as_binary::<i32>();
    let sketch = histograms.is_valid(row).then(|| Sketch::decode(histograms.value(row))).transpose();
    let sketch =
        sketch.map_err(|error| DataFusionError::Execution(format!("a stored histogram cannot be read: {error}")))?;
    let (counts, sums) = (batch.column(9).as_primitive::<Int64Type>(), batch.column(10).as_primitive::<Float64Type>());
    let (distinct, values) = match sketch {
        Some(Sketch::Distinct(distinct)) => (Some(distinct), None),
        Some(Sketch::Exponential(values)) => (None, Some(values)),
        _ => (None, None),
    };
    let cell = MeasureCell {
        t_ms: batch.column(8).as_primitive::<Int64Type>().value(row) / NS_PER_MS,
        count: u64::try_from(counts.value(row)).unwrap_or(0),
        sum: if sums.is_valid(row) { sums.value(row) } else { 0.0 },
        distinct,
        values,
    };
    Ok(Some(MeasureSeries { key: Arc::new(key), cells: vec![cell] }))
}

/// Which rows a question is about.
struct Place<'a> {
    service: Option<&'a str>,
    environment: Option<&'a str>,
    from_ms: i64,
    to_ms: i64,
    step_s: u32,
}

fn condition(query: &HealthQuery) -> Expr {
    let place = Place {
        service: query.service.as_deref(),
        environment: query.environment.as_deref(),
        from_ms: query.from_ms,
        to_ms: query.to_ms,
        step_s: query.step_s,
    };
    place.condition(vec![lit("requests"), lit("errors"), lit("duration")])
}

impl Place<'_> {
    fn condition(&self, signals: Vec<Expr>) -> Expr {
        let query = self;
        let resolution_s =
            RESOLUTIONS_S.into_iter().find(|resolution| query.step_s.is_multiple_of(*resolution)).unwrap_or(10);
        let time =
            |ms: i64| lit(ScalarValue::TimestampNanosecond(Some(ms.saturating_mul(NS_PER_MS)), Some("UTC".into())));
        let mut all = vec![
            col("resolution_s").eq(lit(resolution_s as i32)),
            col("signal").in_list(signals, false),
            col("window_start").gt_eq(time(query.from_ms)),
            col("window_start").lt(time(query.to_ms)),
        ];
        all.extend(query.service.map(|service| col("service").eq(lit(service))));
        all.extend(query.environment.map(|environment| col("environment").eq(lit(environment))));
        all.into_iter().reduce(Expr::and).expect("there are always four conditions")
    }
}

fn bucket(step_s: u32) -> Expr {
    let step_ns = lit(i64::from(step_s) * 1_000 * NS_PER_MS);
    (cast(col("window_start"), DataType::Int64) / step_ns.clone() * step_ns).alias("bucket")
}

fn key(query: &HealthQuery) -> Vec<Expr> {
    let route = if query.by_route { col("route") } else { lit("") };
    vec![
        col("service"),
        col("namespace"),
        col("environment"),
        col("version"),
        col("source"),
        route.alias("route"),
        bucket(query.step_s),
    ]
}

fn values() -> Vec<Expr> {
    let of = |signal: &str, value: Expr| {
        value.filter(col("signal").eq(lit(signal))).build().expect("a filter on an aggregate function is valid")
    };
    vec![
        of("requests", sum(col("count"))).alias("requests"),
        of("errors", sum(col("count"))).alias("errors"),
        of("duration", functions::hdr_merge().call(vec![col("histogram")])).alias("histogram"),
    ]
}

fn series(batches: &[RecordBatch]) -> Result<Vec<HealthSeries>, DataFusionError> {
    type Key = (ReleaseId, Source, Arc<str>);
    let mut found: BTreeMap<Key, Vec<HealthCell>> = BTreeMap::new();
    for batch in batches {
        let text =
            |column: usize, row: usize| -> Arc<str> { batch.column(column).as_string::<i32>().value(row).into() };
        let count = |column: usize, row: usize| -> u64 {
            let counts = batch.column(column).as_primitive::<Int64Type>();
            if counts.is_null(row) { 0 } else { u64::try_from(counts.value(row)).unwrap_or(0) }
        };
        for row in 0..batch.num_rows() {
            let release = ReleaseId {
                service: text(0, row),
                namespace: text(1, row),
                environment: text(2, row),
                version: text(3, row),
            };
            // A source that this version does not know cannot be ranked against the others.
            let Some(source) = Source::from_word(&text(4, row)) else { continue };
            let cell = HealthCell {
                t_ms: batch.column(6).as_primitive::<Int64Type>().value(row) / NS_PER_MS,
                requests: count(7, row),
                errors: count(8, row),
                duration: durations(batch, row)?,
                slots: 0,
            };
            found.entry((release, source, text(5, row))).or_default().push(cell);
        }
    }
    let all = found.into_iter().map(|((release, source, route), mut cells)| {
        cells.sort_by_key(|cell| cell.t_ms);
        HealthSeries { release: Arc::new(release), source, route, cells }
    });
    Ok(all.collect())
}

fn durations(batch: &RecordBatch, row: usize) -> Result<HdrCells, DataFusionError> {
    let histograms = batch.column(9).as_binary::<i32>();
    if histograms.is_null(row) {
        return Ok(HdrCells::new());
    }
    let sketch = Sketch::decode(histograms.value(row))
        .map_err(|error| DataFusionError::Execution(format!("a stored histogram cannot be read: {error}")))?;
    Ok(sketch.to_hdr(1e6).0)
}
