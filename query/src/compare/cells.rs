//! What is read for a comparison: requests, errors and durations of a window, by version, source, route and replicate slot,
//! and of toggles by variant. Stored and hot rows of `windows` are one snapshot.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int8Type, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast};
use datafusion::prelude::{SessionContext, col, lit};
use shipwake_model::Source;
use shipwake_model::sketch::Sketch;
use shipwake_store::{MeasureQuery, MeasureSeries, Table};

use super::request::Window;
use crate::error::QueryError;
use crate::pages::history;
use crate::pages::toggles::attribute;
use crate::sql::failure::explain;
use crate::sql::functions;
use crate::sql::run::Engine;
use crate::sql::tables::window_parts;

const NS_PER_MS: i64 = 1_000_000;

/// How requests were measured; the order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measured {
    /// As a service's health is.
    By(Source),
    /// By the variant of a toggle that their spans tell.
    Toggled,
    /// Not requests: the values of a KPI.
    Kpi,
    /// Not requests: the values of a metric that the app sends as a histogram.
    Metric,
}

impl Measured {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Measured::By(source) => source.as_str(),
            Measured::Toggled => "toggled_requests",
            Measured::Kpi => "kpi",
            Measured::Metric => "metric",
        }
    }

    /// Seconds of a unit of its histograms.
    pub fn unit_s(self) -> f64 {
        match self {
            Measured::By(_) => 1e-6,
            Measured::Toggled | Measured::Kpi | Measured::Metric => 1.0,
        }
    }
}

/// Requests that have all of these in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub namespace: Arc<str>,
    pub version: Arc<str>,
    pub measured: Measured,
    pub route: Arc<str>,
    pub slot: u8,
    /// Key and variant of a toggle.
    pub flag: Option<(Arc<str>, Arc<str>)>,
    pub requests: u64,
    pub errors: u64,
    pub durations: Option<Sketch>,
    /// Start of the first and of the last window with a request.
    pub first_ms: i64,
    pub last_ms: i64,
}

/// Whose requests.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub service: String,
    pub environment: String,
    /// `None` is all of them.
    pub versions: Option<Vec<String>>,
}

/// The requests of a window.
pub(crate) async fn requests(
    engine: &Engine,
    place: &Place,
    window: &Window,
    memory_bytes: usize,
) -> Result<Vec<Part>, QueryError> {
    let (state, read) = engine.session_for(&[Table::Windows], memory_bytes).await?;
    let fail = |error: DataFusionError| explain(&error, "", None);
    let parts = SessionContext::new_with_state(state).read_table(window_parts(&read)).map_err(fail)?;
    let rows = parts.filter(condition(place, window)).map_err(fail)?;
    let key = ["namespace", "version", "source", "route", "slot"].map(col).to_vec();
    let batches = rows.aggregate(key, values()).map_err(fail)?.collect().await.map_err(fail)?;
    let mut found = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            found.extend(part(batch, row).map_err(fail)?);
        }
    }
    Ok(found)
}

/// The requests of a window whose spans tell which variant of a toggle they met.
pub(crate) async fn toggled(
    engine: &Engine,
    place: &Place,
    window: &Window,
    memory_bytes: usize,
) -> Result<Vec<Part>, QueryError> {
    let query = MeasureQuery {
        service: Some(place.service.clone()),
        environment: Some(place.environment.clone()),
        signals: &["toggle"],
        values: &["toggle"],
        from_ms: window.from_ms,
        to_ms: window.to_ms,
        step_s: u32::try_from(window.resolution_s).unwrap_or(3_600),
    };
    let measures = history::measures(engine, &query, memory_bytes).await?;
    let wanted = |series: &&MeasureSeries| {
        let versions = place.versions.as_ref();
        versions.is_none_or(|versions| versions.iter().any(|version| **version == *series.key.release.version))
    };
    Ok(parts_of_toggles(measures.iter().filter(wanted)))
}

/// Series of requests, errors and durations of one variant and version become one part.
fn parts_of_toggles<'a>(measures: impl Iterator<Item = &'a MeasureSeries>) -> Vec<Part> {
    let mut found: Vec<Part> = Vec::new();
    for series in measures.filter(|series| series.key.signal == "toggle") {
        let Some(variant) = attribute(series, "variant").filter(|_| &*series.key.unit != "evaluations") else {
            continue;
        };
        let release = &series.key.release;
        let flag = (series.key.metric.clone(), Arc::from(variant));
        let same = |part: &Part| {
            part.flag.as_ref() == Some(&flag) && part.version == release.version && part.namespace == release.namespace
        };
        let place = found.iter().position(same).unwrap_or_else(|| {
            found.push(Part {
                namespace: release.namespace.clone(),
                version: release.version.clone(),
                measured: Measured::Toggled,
                route: "".into(),
                slot: 0,
                flag: Some(flag.clone()),
                requests: 0,
                errors: 0,
                durations: None,
                first_ms: i64::MAX,
                last_ms: i64::MIN,
            });
            found.len() - 1
        });
        add_series(&mut found[place], series);
    }
    found.retain(|part| part.requests > 0);
    found
}

fn add_series(part: &mut Part, series: &MeasureSeries) {
    let count = series.cells.iter().map(|cell| cell.count).sum::<u64>();
    match &*series.key.unit {
        "requests" => {
            part.requests += count;
            for cell in series.cells.iter().filter(|cell| cell.count > 0) {
                (part.first_ms, part.last_ms) = (part.first_ms.min(cell.t_ms), part.last_ms.max(cell.t_ms));
            }
        }
        "errors" => part.errors += count,
        "s" => {
            let durations = series.cells.iter().filter_map(|cell| cell.values.clone()).map(Sketch::Exponential);
            durations.for_each(|more| add(&mut part.durations, &more));
        }
        _ => {}
    }
}

/// Adds durations of the same form.
pub(crate) fn add(held: &mut Option<Sketch>, more: &Sketch) {
    match held {
        None => *held = Some(more.clone()),
        // Parts of one measure have one form.
        Some(held) => held.merge(more).unwrap_or_else(|error| debug_assert!(false, "{error}")),
    }
}

fn condition(place: &Place, window: &Window) -> Expr {
    in_window(place, window).and(col("signal").in_list(vec![lit("requests"), lit("errors"), lit("duration")], false))
}

/// The rows of a service and its versions in a window.
pub(crate) fn in_window(place: &Place, window: &Window) -> Expr {
    let time = |ms: i64| lit(ScalarValue::TimestampNanosecond(Some(ms.saturating_mul(NS_PER_MS)), Some("UTC".into())));
    let mut all = vec![
        col("resolution_s").eq(lit(window.resolution_s as i32)),
        col("window_start").gt_eq(time(window.from_ms)),
        col("window_start").lt(time(window.to_ms)),
        col("service").eq(lit(place.service.as_str())),
        col("environment").eq(lit(place.environment.as_str())),
    ];
    let versions = place.versions.as_ref();
    all.extend(
        versions.map(|names| col("version").in_list(names.iter().map(|name| lit(name.as_str())).collect(), false)),
    );
    all.into_iter().reduce(Expr::and).expect("there are always five conditions")
}

fn values() -> Vec<Expr> {
    let of = |signal: &str, value: Expr, name: &str| {
        let only = value.filter(col("signal").eq(lit(signal))).build();
        only.expect("a filter on an aggregate function is valid").alias(name)
    };
    let start = || cast(col("window_start"), DataType::Int64);
    vec![
        of("requests", sum(col("count")), "requests"),
        of("errors", sum(col("count")), "errors"),
        of("duration", sum(col("sum")), "sum"),
        of("duration", min(col("min")), "min"),
        of("duration", max(col("max")), "max"),
        of("duration", functions::hdr_merge().call(vec![col("histogram")]), "histogram"),
        min(start()).alias("first"),
        max(start()).alias("last"),
    ]
}

fn part(batch: &RecordBatch, row: usize) -> Result<Option<Part>, DataFusionError> {
    let text = |column: usize| -> Arc<str> { batch.column(column).as_string::<i32>().value(row).into() };
    let whole = |column: usize| {
        let values = batch.column(column).as_primitive::<Int64Type>();
        if values.is_null(row) { 0 } else { values.value(row) }
    };
    let number = |column: usize| {
        let values = batch.column(column).as_primitive::<Float64Type>();
        values.is_valid(row).then(|| values.value(row).max(0.0) as u64)
    };
    // A source that this version does not know cannot be ranked against the others.
    let Some(source) = Source::from_word(&text(2)) else { return Ok(None) };
    let histograms = batch.column(10).as_binary::<i32>();
    let sketch = histograms.is_valid(row).then(|| Sketch::decode(histograms.value(row))).transpose();
    let sketch =
        sketch.map_err(|error| DataFusionError::Execution(format!("a stored histogram cannot be read: {error}")))?;
    // Health is kept in cells of microseconds; their exact sum stands beside them.
    let durations = sketch.map(|sketch| {
        let cells = sketch.to_hdr(1e6).0;
        Sketch::Hdr(match (number(7), number(8), number(9)) {
            (Some(sum), Some(min), Some(max)) => cells.with_summary(sum, min, max),
            _ => cells,
        })
    });
    Ok(Some(Part {
        namespace: text(0),
        version: text(1),
        measured: Measured::By(source),
        route: text(3),
        slot: batch.column(4).as_primitive::<Int8Type>().value(row).max(0) as u8,
        flag: None,
        requests: whole(5).max(0) as u64,
        errors: whole(6).max(0) as u64,
        durations,
        first_ms: whole(11) / NS_PER_MS,
        last_ms: whole(12) / NS_PER_MS,
    }))
}
