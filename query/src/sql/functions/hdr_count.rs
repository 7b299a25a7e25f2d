//! `hdr_count(histogram, low, high)`: how many values lie from `low` to `high` (both included, at the histogram's
//! precision), in its unit: microseconds for durations. For OTLP histograms the count is an estimate.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use shipwake_model::sketch::Sketch;

use super::{TICKS_PER_UNIT, of_each};

/// See the file's head.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HdrCount {
    signature: Signature,
}

impl HdrCount {
    pub fn new() -> Self {
        let types = vec![DataType::Binary, DataType::Float64, DataType::Float64];
        Self { signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrCount {
    fn name(&self) -> &str {
        "hdr_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (lows, highs) = (arrays[1].as_primitive::<Float64Type>(), arrays[2].as_primitive::<Float64Type>());
        of_each::<Int64Type>(&arrays[0], |sketch, row| {
            let known = !lows.is_null(row) && !highs.is_null(row);
            Ok(known.then(|| count(sketch, lows.value(row), highs.value(row))))
        })
    }
}

fn count(sketch: &Sketch, low: f64, high: f64) -> i64 {
    let ticks_per_unit = if matches!(sketch, Sketch::Hdr(_)) { 1.0 } else { TICKS_PER_UNIT };
    let ticks = |value: f64| (value.max(0.0) * ticks_per_unit) as u64;
    if high < low || high < 0.0 {
        return 0;
    }
    let (cells, _) = sketch.to_hdr(ticks_per_unit);
    i64::try_from(cells.count_between(ticks(low), ticks(high))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipwake_model::sketch::HdrCells;

    #[test]
    fn both_ends_are_counted() {
        let mut cells = HdrCells::new();
        [10, 20, 30].iter().for_each(|value| cells.record(*value));
        let sketch = Sketch::Hdr(cells);
        let all = [
            count(&sketch, 10.0, 30.0),
            count(&sketch, 11.0, 29.0),
            count(&sketch, 30.0, 10.0),
            count(&sketch, -5.0, 15.0),
        ];
        assert_eq!(all, [3, 1, 0, 1]);
    }
}
