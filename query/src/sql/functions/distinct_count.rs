//! `distinct_count(histogram)`: how many different things a distinct count has seen, about (1.6 % standard error beyond a
//! thousand, exact below). Null for null, an error for a histogram of values. Merge with `hdr_merge` first.

use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use shipwake_model::sketch::Sketch;

use super::of_each;

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
        of_each::<Int64Type>(&arrays[0], |sketch, _| match sketch {
            Sketch::Distinct(things) => Ok(Some(i64::try_from(things.count()).unwrap_or(i64::MAX))),
            other => {
                let form = other.form();
                let what = format!("distinct_count takes a distinct count (signal usage), not a {form} histogram");
                Err(DataFusionError::Execution(what))
            }
        })
    }
}
