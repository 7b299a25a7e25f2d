//! `hdr_quantile(histogram, q)`: the value at quantile `q` (0 to 1) in the histogram's unit: microseconds for durations.
//! Null for a null or empty histogram. Of an OTLP histogram it is an estimate within a bucket: `hdr_quantile_bounds` says of which.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{decode, histograms, quantile};

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
        let (histograms, quantiles) = (histograms(&arrays[0])?, arrays[1].as_primitive::<Float64Type>());
        let mut values = Float64Array::builder(histograms.len());
        for row in 0..histograms.len() {
            if histograms.is_null(row) || quantiles.is_null(row) {
                values.append_null();
                continue;
            }
            let q = quantile(quantiles.value(row))?;
            values.append_option(decode(histograms.value(row))?.quantile(q).map(|(value, _)| value));
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}
