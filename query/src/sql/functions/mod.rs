//! The functions that are ours, one file each: over histograms, and `matches`.

mod distinct_count;
mod hdr_count;
mod hdr_merge;
mod hdr_quantile;
mod hdr_quantile_bounds;
mod matches;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, PrimitiveBuilder};
use arrow::datatypes::ArrowPrimitiveType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, ScalarUDF};
use shipwake_model::sketch::Sketch;

pub(crate) use matches::search_of;

/// Ticks of HDR cells in a second: forms that differ meet in microseconds.
const TICKS_PER_UNIT: f64 = 1e6;

/// Functions of a row.
pub(crate) fn scalar() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::new_from_impl(hdr_quantile::HdrQuantile::new())),
        Arc::new(ScalarUDF::new_from_impl(hdr_quantile_bounds::HdrQuantileBounds::new())),
        Arc::new(ScalarUDF::new_from_impl(hdr_count::HdrCount::new())),
        distinct_count(),
        Arc::new(ScalarUDF::new_from_impl(matches::Matches::new())),
    ]
}

/// `distinct_count`, for plans that are built without text.
pub(crate) fn distinct_count() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(distinct_count::DistinctCount::new()))
}

/// Functions of many rows.
pub(crate) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    vec![hdr_merge()]
}

/// `hdr_merge`, for plans that are built without text.
pub(crate) fn hdr_merge() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(hdr_merge::HdrMerge::new()))
}

/// A quantile that was asked for, if it is one.
fn quantile(q: f64) -> Result<f64> {
    let error = || DataFusionError::Execution(format!("a quantile lies between 0 and 1, not at {q}"));
    (0.0..=1.0).contains(&q).then_some(q).ok_or_else(error)
}

fn decode(bytes: &[u8]) -> Result<Sketch> {
    Sketch::decode(bytes).map_err(|error| DataFusionError::Execution(format!("not a histogram: {error}")))
}

/// A function of the histograms of a column, row by row; null for null, and where it gives nothing.
fn of_each<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    of: impl Fn(&Sketch, usize) -> Result<Option<T::Native>>,
) -> Result<ColumnarValue> {
    let histograms = histograms(array)?;
    let mut values = PrimitiveBuilder::<T>::with_capacity(histograms.len());
    for row in 0..histograms.len() {
        let value = match histograms.is_null(row) {
            true => None,
            false => of(&decode(histograms.value(row))?, row)?,
        };
        values.append_option(value);
    }
    Ok(ColumnarValue::Array(Arc::new(values.finish())))
}

fn histograms(array: &ArrayRef) -> Result<&BinaryArray> {
    array
        .as_any()
        .downcast_ref::<BinaryArray>()
        .ok_or_else(|| DataFusionError::Execution(format!("a histogram is Binary, not {}", array.data_type())))
}
