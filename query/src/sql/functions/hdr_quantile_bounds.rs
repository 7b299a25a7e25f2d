//! `hdr_quantile_bounds(histogram, q)`: the value at quantile `q` as `hdr_quantile` gives it, with `low` and `high`, between which
//! it surely lies, and `approximate`: whether it was estimated inside a bucket that its sender made (OTLP's histograms) or stands
//! there with HDR's two digits. `low` or `high` is null where nothing is known, as above the last bound of a histogram without
//! maximum. Null for a null or empty histogram.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{decode, histograms, quantile};

/// See the file's head.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HdrQuantileBounds {
    signature: Signature,
}

impl HdrQuantileBounds {
    pub fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Binary, DataType::Float64], Volatility::Immutable) }
    }
}

fn fields() -> Fields {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    vec![number("value"), number("low"), number("high"), Field::new("approximate", DataType::Boolean, true)].into()
}

impl ScalarUDFImpl for HdrQuantileBounds {
    fn name(&self) -> &str {
        "hdr_quantile_bounds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (histograms, quantiles) = (histograms(&arrays[0])?, arrays[1].as_primitive::<Float64Type>());
        let (mut value, mut low, mut high) = (Float64Builder::new(), Float64Builder::new(), Float64Builder::new());
        let (mut approximate, mut valid) = (BooleanBuilder::new(), Vec::with_capacity(histograms.len()));
        for row in 0..histograms.len() {
            let found = if histograms.is_null(row) || quantiles.is_null(row) {
                None
            } else {
                decode(histograms.value(row))?.quantile_bounds(quantile(quantiles.value(row))?)
            };
            value.append_option(found.map(|found| found.value));
            low.append_option(found.and_then(|found| found.low));
            high.append_option(found.and_then(|found| found.high));
            approximate.append_option(found.map(|found| found.approximate));
            valid.push(found.is_some());
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(value.finish()),
            Arc::new(low.finish()),
            Arc::new(high.finish()),
            Arc::new(approximate.finish()),
        ];
        let rows = StructArray::try_new(fields(), columns, Some(NullBuffer::from(valid)))?;
        Ok(ColumnarValue::Array(Arc::new(rows)))
    }
}
