//! `hdr_quantile(histogram, q)`: the value at quantile `q` (0 to 1) in the histogram's unit: microseconds for durations.
//! Null for a null or empty histogram. Of an OTLP histogram it is an estimate within a bucket: `hdr_quantile_bounds` says of which.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{of_each, quantile};

/// See the file's head.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HdrQuantile {
    signature: Signature,
}

impl HdrQuantile {
    pub fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Binary, DataType::Float64], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HdrQuantile {
    fn name(&self) -> &str {
        "hdr_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let quantiles = arrays[1].as_primitive::<Float64Type>();
        of_each::<Float64Type>(&arrays[0], |sketch, row| {
            if quantiles.is_null(row) {
                return Ok(None);
            }
            let q = quantile(quantiles.value(row))?;
            Ok(sketch.quantile(q).map(|(value, _)| value))
        })
    }
}
