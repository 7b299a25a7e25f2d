//! `hdr_merge(histogram)`: all histograms of a group as one. Null when there is none.
//!
//! Histograms of one form merge exactly, and so do distinct counts (signal `usage`). Where forms differ (HDR beside an OTLP
//! histogram) all become HDR cells of microseconds, which is approximate; a distinct count beside a histogram is an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use shipwake_model::sketch::Sketch;

use super::{TICKS_PER_UNIT, decode, histograms};

/// See the file's head.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HdrMerge {
    signature: Signature,
}

impl HdrMerge {
    pub fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Binary], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for HdrMerge {
    fn name(&self) -> &str {
        "hdr_merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Merged::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[histogram]", args.name), DataType::Binary, true))])
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(MergedGroups::default()))
    }

    fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
        datafusion::logical_expr::utils::AggregateOrderSensitivity::Insensitive
    }
}

/// Adds `more` to what a group has so far.
fn add(merged: &mut Option<Sketch>, more: Sketch) -> Result<()> {
    match merged {
        None => *merged = Some(more),
        Some(held) => {
            if let Err(error) = held.merge(&more) {
                if matches!(held, Sketch::Distinct(_)) || matches!(more, Sketch::Distinct(_)) {
                    let what = format!("{error}: choose one signal and metric");
                    return Err(DataFusionError::Execution(what));
                }
                let (mut cells, _) = held.to_hdr(TICKS_PER_UNIT);
                cells.merge(&more.to_hdr(TICKS_PER_UNIT).0);
                *held = Sketch::Hdr(cells);
            }
        }
    }
    Ok(())
}

/// Bytes of a histogram in memory. OTLP forms have at most a few hundred buckets.
fn bytes_of(sketch: &Option<Sketch>) -> usize {
    match sketch {
        None => 0,
        Some(Sketch::Hdr(cells)) => cells.heap_bytes(),
        Some(Sketch::Distinct(things)) => things.heap_bytes(),
        Some(_) => 1_024,
    }
}

/// One group.
#[derive(Debug, Default)]
struct Merged(Option<Sketch>);

impl Accumulator for Merged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for bytes in histograms(&values[0])?.iter().flatten() {
            add(&mut self.0, decode(bytes)?)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(self.0.as_ref().map(Sketch::encode)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + bytes_of(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// Many groups at once: one histogram each, without a boxed accumulator per group.
#[derive(Debug, Default)]
struct MergedGroups {
    groups: Vec<Option<Sketch>>,
    heap_bytes: usize,
}

impl MergedGroups {
    fn emit(&mut self, emit_to: EmitTo) -> ArrayRef {
        let mut out = BinaryBuilder::new();
        for sketch in emit_to.take_needed(&mut self.groups) {
            self.heap_bytes -= bytes_of(&sketch).min(self.heap_bytes);
            out.append_option(sketch.as_ref().map(Sketch::encode));
        }
        Arc::new(out.finish())
    }
}

impl GroupsAccumulator for MergedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, None);
        let histograms = histograms(&values[0])?;
        for (row, &group) in group_indices.iter().enumerate() {
            let passes = opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if !passes || histograms.is_null(row) {
                continue;
            }
            let before = bytes_of(&self.groups[group]);
            add(&mut self.groups[group], decode(histograms.value(row))?)?;
            self.heap_bytes = self.heap_bytes.saturating_sub(before) + bytes_of(&self.groups[group]);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.emit(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let Some(filter) = opt_filter else { return Ok(vec![values[0].clone()]) };
        let histograms: &BinaryArray = values[0].as_binary();
        let kept: BinaryArray = (0..histograms.len())
            .map(|row| {
                (filter.is_valid(row) && filter.value(row) && histograms.is_valid(row)).then(|| histograms.value(row))
            })
            .collect();
        Ok(vec![Arc::new(kept)])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Option<Sketch>>() + self.heap_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipwake_model::sketch::HdrCells;

    fn encoded(values: &[u64]) -> Vec<u8> {
        let mut cells = HdrCells::new();
        values.iter().for_each(|value| cells.record(*value));
        Sketch::Hdr(cells).encode()
    }

    #[test]
    fn groups_and_partial_states_give_the_same_histogram() {
        let rows = [encoded(&[1, 2]), encoded(&[1_000]), encoded(&[5])];
        let array: ArrayRef =
            Arc::new(BinaryArray::from_opt_vec(vec![Some(&rows[0]), None, Some(&rows[1]), Some(&rows[2])]));
        let mut groups = MergedGroups::default();
        groups.update_batch(std::slice::from_ref(&array), &[0, 0, 1, 0], None, 3).expect("valid histograms");
        let merged = groups.evaluate(EmitTo::All).expect("all groups");
        let merged = merged.as_binary::<i32>();
        assert_eq!(decode(merged.value(0)).expect("a histogram").count(), 3);
        assert_eq!(decode(merged.value(1)).expect("a histogram").count(), 1);
        assert!(merged.is_null(2), "a group without histograms has none");

        let state = groups.convert_to_state(&[array], None).expect("states");
        let mut second = MergedGroups::default();
        second.merge_batch(&state, &[0, 0, 0, 0], 1).expect("valid states");
        let merged = second.evaluate(EmitTo::First(1)).expect("the first group");
        assert_eq!(decode(merged.as_binary::<i32>().value(0)).expect("a histogram").count(), 4);
        assert_eq!(second.heap_bytes, 0);
    }

    #[test]
    fn distinct_counts_merge_with_each_other_and_with_nothing_else() {
        use shipwake_model::sketch::Distinct;
        let of = |things: &[&str]| {
            let mut distinct = Distinct::new();
            things.iter().for_each(|thing| distinct.insert(thing.as_bytes()));
            Sketch::Distinct(distinct).encode()
        };
        let (one, two, values) = (of(&["a", "b"]), of(&["b", "c"]), encoded(&[1]));
        let both: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&one, &two]));
        let mut merged = Merged::default();
        merged.update_batch(&[both]).expect("of one kind");
        assert_eq!(merged.0.expect("something").count(), 3);
        let mixed: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&one, &values]));
        let error = Merged::default().update_batch(&[mixed]).expect_err("of two kinds").to_string();
        assert!(error.contains("distinct"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_histogram_are_an_error() {
        let array: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"\xffnonsense"]));
        assert!(Merged::default().update_batch(&[array]).is_err());
    }
}
