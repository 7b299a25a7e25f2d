//! An aggregate function over a window that charges what it remembers and what it gives out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::udf_eq::UdfEq;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, ReversedUDAF, SetMonotonicity, Signature,
};

use super::{Meter, is_sized};

/// What an array that is kept takes besides its values, in bytes: the array itself and its buffers' owners. A running
/// frame hands the function one row at a time, and then this is most of it.
const ARRAY_BYTES: usize = 160;

/// The same function, metered.
pub(super) fn metered(function: &AggregateUDF, meter: &Arc<Meter>) -> Arc<AggregateUDF> {
    let inner = function.inner().clone().into();
    Arc::new(AggregateUDF::new_from_impl(Metered { inner, meter: Shared(meter.clone()) }))
}

/// The meter takes no part in comparisons: two functions are the same if what they compute is.
#[derive(Debug, Clone)]
struct Shared(Arc<Meter>);

impl PartialEq for Shared {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Shared {}

impl std::hash::Hash for Shared {
    fn hash<H: std::hash::Hasher>(&self, _state: &mut H) {}
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Metered {
    inner: UdfEq<Arc<dyn AggregateUDFImpl>>,
    meter: Shared,
}

impl Metered {
    fn wrap(&self, args: &AccumulatorArgs<'_>, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(MeteredAccumulator {
            inner,
            keeps_arrays: !is_sized(args.return_field.data_type()),
            state: self.meter.0.given.new_empty(),
            meter: self.meter.0.clone(),
            rows: 0,
            rows_measured: 0,
            rows_given: 0,
            calls: 0,
        })
    }
}

/// Everything that a window asks of a function; grouping and simplifying are over when it comes into a plan.
impl AggregateUDFImpl for Metered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(arg_fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let inner = self.inner.accumulator(args.clone())?;
        Ok(self.wrap(&args, inner))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let inner = self.inner.create_sliding_accumulator(args.clone())?;
        Ok(self.wrap(&args, inner))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial_ordering: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let changed = Arc::clone(&self.inner).with_beneficial_ordering(beneficial_ordering)?;
        Ok(changed.map(|inner| Arc::new(Metered { inner: inner.into(), meter: self.meter.clone() }) as _))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_expr() {
            ReversedUDAF::Reversed(function) => ReversedUDAF::Reversed(metered(&function, &self.meter.0)),
            other => other,
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The state of a frame that grows or slides.
#[derive(Debug)]
struct MeteredAccumulator {
    inner: Box<dyn Accumulator>,
    /// Whether it gives out lists or texts, which are made from arrays that it keeps.
    keeps_arrays: bool,
    /// What the state takes.
    state: MemoryReservation,
    meter: Arc<Meter>,
    rows: usize,
    /// Rows when the state was measured last.
    rows_measured: usize,
    /// Rows when a result was given out last.
    rows_given: usize,
    calls: usize,
}

impl MeteredAccumulator {
    /// Charges new values as they come and measures the state as a whole now and then: to measure is to walk over all of
    /// it, which after every row would take the square of the rows.
    fn charge(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.rows += values.first().map_or(0, |array| array.len());
        self.calls += 1;
        if self.rows - self.rows_measured > self.rows / 8 {
            self.rows_measured = self.rows;
            return self.state.try_resize(self.size());
        }
        let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_default();
        self.state.try_grow(values.iter().map(bytes).sum::<usize>() + self.overhead(1))
    }

    fn overhead(&self, arrays: usize) -> usize {
        if self.keeps_arrays { arrays * ARRAY_BYTES } else { 0 }
    }
}

impl Accumulator for MeteredAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)?;
        self.charge(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        // A frame that is the same for all rows of a partition is evaluated once, after all rows have come, and its value
        // stands in each of them. Any other frame is evaluated for every row.
        self.meter.give(&value, self.rows - self.rows_given)?;
        self.rows_given = self.rows;
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size() + self.overhead(self.calls)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)?;
        self.charge(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
