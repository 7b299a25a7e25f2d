//! The functions that are ours, one file each: over histograms, and `matches`.

mod distinct_count;
mod hdr_count;
mod hdr_merge;
mod hdr_quantile;
mod matches;

use std::sync::Arc;

use arrow::array::BinaryArray;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use shipwake_model::sketch::Sketch;

pub(crate) use matches::search_of;

/// Ticks of HDR cells in a second: forms that differ meet in microseconds.
const TICKS_PER_UNIT: f64 = 1e6;

/// Functions of a row.
pub(crate) fn scalar() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::new_from_impl(hdr_quantile::HdrQuantile::new())),
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

fn decode(bytes: &[u8]) -> Result<Sketch> {
    Sketch::decode(bytes).map_err(|error| DataFusionError::Execution(format!("not a histogram: {error}")))
}

fn histograms(array: &arrow::array::ArrayRef) -> Result<&BinaryArray> {
    array
        .as_any()
        .downcast_ref::<BinaryArray>()
        .ok_or_else(|| DataFusionError::Execution(format!("a histogram is Binary, not {}", array.data_type())))
}
