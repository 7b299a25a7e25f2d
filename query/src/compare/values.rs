//! Values that an app tells in histograms, and those of KPI events: read from `windows` by name, one of them also by
//! replicate slot and attribute.
//!
//! Histograms of one form merge exactly. Where forms differ, within a side or between both, all become cells of a millionth of the unit.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int8Type, Int64Type};
use datafusion::common::DataFusionError;
use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::logical_expr::{Expr, cast, when};
use datafusion::prelude::{SessionContext, col, lit};
use shipwake_model::ReleaseId;
use shipwake_model::sketch::Sketch;
use shipwake_store::{MeasureCell, MeasureKey, MeasureSeries, Table, merge_measures};

use super::cells::{Measured, Part, Place, in_window};
use super::request::Window;
use crate::error::QueryError;
use crate::sql::failure::explain;
use crate::sql::functions;
use crate::sql::run::Engine;
use crate::sql::tables::window_parts;

const NS_PER_MS: i64 = 1_000_000;
/// The attribute that says which route a value is of.
const ROUTE: &str = "http.route";
/// Cells of histograms that differ in form, for each unit.
const TICKS_PER_UNIT: f64 = 1e6;

/// The values of one name, unit and version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Valued {
    pub namespace: Arc<str>,
    pub version: Arc<str>,
    pub name: Arc<str>,
    pub unit: Arc<str>,
    /// In units.
    pub values: Sketch,
}

/// The values of one name, by everything that may explain how they differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Explaining {
    pub unit: Arc<str>,
    pub part: Part,
    pub attributes: Vec<(Arc<str>, Arc<str>)>,
}

/// KPIs and usage of a window by time, and all metrics that are histograms over the whole of it: one pass over the rows.
pub(crate) async fn all(
    engine: &Engine,
    place: &Place,
    window: &Window,
    memory_bytes: usize,
) -> Result<(Vec<MeasureSeries>, Vec<Valued>), QueryError> {
    let is_metric = || col("signal").eq(lit("metric"));
    let wanted = col("signal")
        .in_list(vec![lit("kpi"), lit("usage")], false)
        .or(is_metric().and(col("histogram").is_not_null()));
    let time = when(is_metric(), lit(0_i64))
        .otherwise(cast(col("window_start"), DataType::Int64))
        .map_err(|error| fail(&error))?;
    let mut key = ["namespace", "version", "signal", "metric", "unit"].map(col).to_vec();
    key.push(time.alias("time"));
    let values = vec![
        functions::hdr_merge().call(vec![col("histogram")]).alias("histogram"),
        sum(col("count")).alias("count"),
        sum(col("sum")).alias("sum"),
    ];
    let batches = read(engine, in_window(place, window).and(wanted), key, values, memory_bytes).await?;
    let (mut measures, mut valued) = (Vec::new(), Vec::new());
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let [namespace, version, signal, name, unit] = [0, 1, 2, 3, 4].map(|column| text(batch, row, column));
            let values = decoded(batch, row, 6).map_err(|error| fail(&error))?;
            let signal = match &*signal {
                "kpi" => "kpi",
                "usage" => "usage",
                _ => {
                    let values = values.filter(says_values);
                    valued.extend(values.map(|values| Valued { namespace, version, name, unit, values }));
                    continue;
                }
            };
            let service: Arc<str> = place.service.as_str().into();
            let environment: Arc<str> = place.environment.as_str().into();
            let release = Arc::new(ReleaseId { service, namespace, environment, version });
            let key = MeasureKey { release, signal, metric: name, unit, attributes: Vec::new() };
            measures.push(MeasureSeries { key: Arc::new(key), cells: vec![cell(batch, row, values)] });
        }
    }
    Ok((merge_measures(measures), valued))
}

fn cell(batch: &RecordBatch, row: usize, values: Option<Sketch>) -> MeasureCell {
    let (counts, sums) = (batch.column(7).as_primitive::<Int64Type>(), batch.column(8).as_primitive::<Float64Type>());
    let (distinct, values) = match values {
        Some(Sketch::Distinct(distinct)) => (Some(distinct), None),
        Some(Sketch::Exponential(values)) => (None, Some(values)),
        _ => (None, None),
    };
    MeasureCell {
        t_ms: batch.column(5).as_primitive::<Int64Type>().value(row) / NS_PER_MS,
        count: u64::try_from(counts.value(row)).unwrap_or(0),
        sum: if sums.is_valid(row) { sums.value(row) } else { 0.0 },
        distinct,
        values,
    }
}

/// One KPI or metric of a window.
pub(crate) async fn one(
    engine: &Engine,
    place: &Place,
    window: &Window,
    (signal, name): (&str, &str),
    memory_bytes: usize,
) -> Result<Vec<Explaining>, QueryError> {
    let key = ["namespace", "version", "unit", "slot", "attributes"].map(col).to_vec();
    let condition = in_window(place, window)
        .and(col("signal").eq(lit(signal)))
        .and(col("metric").eq(lit(name)))
        .and(col("histogram").is_not_null());
    let start = || cast(col("window_start"), DataType::Int64);
    let values = vec![
        functions::hdr_merge().call(vec![col("histogram")]).alias("histogram"),
        min(start()).alias("first"),
        max(start()).alias("last"),
    ];
    let batches = read(engine, condition, key, values, memory_bytes).await?;
    let measured = if signal == "kpi" { Measured::Kpi } else { Measured::Metric };
    let mut found = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let Some(values) = decoded(batch, row, 5).map_err(|error| fail(&error))?.filter(says_values) else {
                continue;
            };
            let attributes = attributes(batch, row, 4);
            let route = attributes.iter().find(|(key, _)| **key == *ROUTE).map(|(_, route)| route.clone());
            let time = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row) / NS_PER_MS;
            found.push(Explaining {
                unit: text(batch, row, 2),
                part: Part {
                    namespace: text(batch, row, 0),
                    version: text(batch, row, 1),
                    measured,
                    route: route.unwrap_or_default(),
                    slot: batch.column(3).as_primitive::<Int8Type>().value(row).max(0) as u8,
                    flag: None,
                    requests: values.count(),
                    errors: 0,
                    durations: Some(values),
                    first_ms: time(6),
                    last_ms: time(7),
                },
                attributes: attributes.into_iter().filter(|(key, _)| **key != *ROUTE).collect(),
            });
        }
    }
    Ok(found)
}

/// Gives histograms that are to be compared one form; says what a unit of theirs is in units of the metric.
pub(crate) fn alike(sketches: &mut [&mut Sketch]) -> f64 {
    let form = sketches.first().map(|sketch| sketch.form());
    let is_own = |sketch: &&mut Sketch| Some(sketch.form()) == form && !matches!(sketch, Sketch::Hdr(_));
    if sketches.iter().all(is_own) {
        return 1.0;
    }
    for sketch in sketches.iter_mut() {
        // Cells are of the millionth already: `hdr_merge` makes such of what it cannot merge.
        **sketch = Sketch::Hdr(sketch.to_hdr(TICKS_PER_UNIT).0);
    }
    1.0 / TICKS_PER_UNIT
}

async fn read(
    engine: &Engine,
    condition: Expr,
    key: Vec<Expr>,
    values: Vec<Expr>,
    memory_bytes: usize,
) -> Result<Vec<RecordBatch>, QueryError> {
    let (state, read) = engine.session_for(&[Table::Windows], memory_bytes).await?;
    let parts = SessionContext::new_with_state(state).read_table(window_parts(&read)).map_err(|error| fail(&error))?;
    let rows =
        parts.filter(condition).map_err(|error| fail(&error))?.aggregate(key, values).map_err(|error| fail(&error))?;
    rows.collect().await.map_err(|error| fail(&error))
}

fn fail(error: &DataFusionError) -> QueryError {
    explain(error, "", None)
}

fn text(batch: &RecordBatch, row: usize, column: usize) -> Arc<str> {
    batch.column(column).as_string::<i32>().value(row).into()
}

fn attributes(batch: &RecordBatch, row: usize, column: usize) -> Vec<(Arc<str>, Arc<str>)> {
    let entries = batch.column(column).as_map().value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    (0..entries.len()).map(|at| (keys.value(at).into(), values.value(at).into())).collect()
}

fn decoded(batch: &RecordBatch, row: usize, column: usize) -> Result<Option<Sketch>, DataFusionError> {
    let histograms = batch.column(column).as_binary::<i32>();
    let sketch = histograms.is_valid(row).then(|| Sketch::decode(histograms.value(row))).transpose();
    sketch.map_err(|error| DataFusionError::Execution(format!("a stored histogram cannot be read: {error}")))
}

/// A histogram of one bucket without ends says nothing about any value.
fn says_values(sketch: &Sketch) -> bool {
    sketch.quantile(0.5).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipwake_model::sketch::{Exponential, HdrCells};

    fn values(of: &[f64]) -> Sketch {
        let mut values = Exponential::for_values();
        of.iter().for_each(|value| values.record(*value));
        Sketch::Exponential(values)
    }

    #[test]
    fn histograms_of_one_form_stay_as_they_are_and_others_become_cells_of_the_same_unit() {
        let (mut one, mut two) = (values(&[2.0; 9]), values(&[3.0; 9]));
        assert_eq!(alike(&mut [&mut one, &mut two]), 1.0);
        assert_eq!(one, values(&[2.0; 9]));
        let mut cells = HdrCells::new();
        cells.record_n(5_000_000, 9);
        let mut merged = Sketch::Hdr(cells);
        let unit = alike(&mut [&mut one, &mut merged]);
        let median = |of: &Sketch| of.quantile(0.5).expect("values").0 * unit;
        assert!((median(&one) - 2.0).abs() < 0.05 && (median(&merged) - 5.0).abs() < 0.05, "{one:?} {merged:?}");
    }
}
