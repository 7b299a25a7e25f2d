//! `distinct_count(histogram)`: how many different things a distinct count has seen, about (1.6 % standard error beyond a
//! thousand, exact below). Null for null, an error for a histogram of values. Merge with `hdr_merge` first.

use std::sync::Arc;

use arrow::array::{Array, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use shipwake_model::sketch::Sketch;

use super::{decode, histograms};

/// See the file's head.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DistinctCount {
    signature: Signature,
}

impl DistinctCount {
    pub fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Binary], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DistinctCount {
    fn name(&self) -> &str {
        "distinct_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let sketches = histograms(&arrays[0])?;
        let mut counts = Int64Array::builder(sketches.len());
        for row in 0..sketches.len() {
            if sketches.is_null(row) {
                counts.append_null();
                continue;
            }
            match decode(sketches.value(row))? {
                Sketch::Distinct(things) => counts.append_value(i64::try_from(things.count()).unwrap_or(i64::MAX)),
                other => {
                    let form = other.form();
                    let what = format!("distinct_count takes a distinct count (signal usage), not a {form} histogram");
                    return Err(DataFusionError::Execution(what));
                }
            }
        }
        Ok(ColumnarValue::Array(Arc::new(counts.finish())))
    }
}
