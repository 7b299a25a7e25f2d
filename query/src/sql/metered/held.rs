//! What a window operator holds: rows that went in and have not come out. Counted by two nodes, one below it and one above.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;

use super::CONSUMER;
use crate::sql::one_input::has_one_input;
use crate::sql::run::sliced_bytes;

/// A window holds its input as it came and once more joined together.
const COPIES: usize = 2;
/// A result in the making, in bytes: values are collected one by one before they become a column.
const ROW_BYTES: usize = 64;

/// The window operator `node`, charged for the rows it holds.
pub(crate) fn charged_for_rows(
    node: Arc<dyn ExecutionPlan>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(input) = node.children().first().map(|child| Arc::clone(child)) else { return Ok(node) };
    let held: Arc<[Held]> = (0..input.output_partitioning().partition_count()).map(|_| Held::new(pool)).collect();
    let below = Counted { input, side: Side::In, held: held.clone() };
    let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    let window = node.replace_children(vec![Arc::new(below)], recompute)?;
    Ok(Arc::new(Counted { input: window, side: Side::Out, held }))
}

/// What one partition holds.
#[derive(Debug)]
struct Held {
    reservation: MemoryReservation,
    rows: Mutex<usize>,
}

impl Held {
    fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let reservation = MemoryConsumer::new(format!("{CONSUMER} rows")).register(pool);
        Self { reservation, rows: Mutex::new(0) }
    }

    fn take_in(&self, batch: &RecordBatch) -> Result<()> {
        self.reservation.try_grow(sliced_bytes(batch) * COPIES + batch.num_rows() * ROW_BYTES)?;
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) += batch.num_rows();
        Ok(())
    }

    /// Rows that come out take their part of the charge with them.
    fn let_out(&self, batch: &RecordBatch) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let out = batch.num_rows().min(*rows);
        if out > 0 {
            let part = self.reservation.size() as u128 * out as u128 / *rows as u128;
            self.reservation.shrink(usize::try_from(part).unwrap_or(usize::MAX).min(self.reservation.size()));
            *rows -= out;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    In,
    Out,
}

/// Passes batches on and counts them.
#[derive(Debug, Clone)]
struct Counted {
    input: Arc<dyn ExecutionPlan>,
    side: Side,
    held: Arc<[Held]>,
}

impl DisplayAs for Counted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counted: {:?}", self.side)
    }
}

impl ExecutionPlan for Counted {
    fn name(&self) -> &str {
        "Counted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    has_one_input!();

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { input: children.swap_remove(0), ..Self::clone(&self) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (side, held) = (self.side, self.held.clone());
        let counted = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            if let Some(held) = held.get(partition) {
                match side {
                    Side::In => held.take_in(&batch)?,
                    Side::Out => held.let_out(&batch),
                }
            }
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.input.schema(), counted)))
    }
}
