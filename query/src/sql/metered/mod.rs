//! Window functions that pay for what they keep. DataFusion's operator for windows reserves nothing: it holds its whole
//! input, and an `array_agg` over a running frame makes a list as long as the partition for every row.
//!
//! Two things are charged to the query's memory before they can hurt: what goes into a window and has not come out
//! ([`held`]), and what its functions remember and repeat ([`aggregate`], [`evaluator`]). The functions are exchanged
//! after the optimiser has run, so no rule of it meets one that it does not know.

mod aggregate;
mod evaluator;
mod held;

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, WindowFunctionDefinition, WindowUDF};

pub(crate) use held::charged_for_rows;

/// Begins the names of what a window reserves, so that a refusal can say what to write instead.
pub(crate) const CONSUMER: &str = "window";

/// Whom the functions of one query charge.
#[derive(Debug)]
struct Meter {
    /// Lists and texts that were given out: they stay in the window's result until the query has ended.
    given: MemoryReservation,
    /// A window is computed in one go, which nobody can abort: its functions look at the time themselves.
    deadline: Instant,
}

impl Meter {
    fn new(pool: &Arc<dyn MemoryPool>, deadline: Instant) -> Arc<Self> {
        Arc::new(Self { given: MemoryConsumer::new(format!("{CONSUMER} results")).register(pool), deadline })
    }

    /// Charges a value that will stand in so many rows. Numbers are part of what [`held`] charges for a row.
    fn give(&self, value: &ScalarValue, rows: usize) -> Result<()> {
        if Instant::now() > self.deadline {
            // The asker has been told already; this only ends the work.
            return Err(DataFusionError::Execution("the time of the query is over".to_owned()));
        }
        if is_sized(&value.data_type()) {
            return Ok(());
        }
        self.given.try_grow(value.size().saturating_mul(rows.max(1)))
    }
}

/// The plan with its window functions exchanged for those that charge `pool` and end at the deadline. Call it with an optimised plan.
pub(crate) fn charged_for_values(
    plan: LogicalPlan,
    pool: &Arc<dyn MemoryPool>,
    deadline: Instant,
) -> Result<LogicalPlan> {
    let meter = Meter::new(pool, deadline);
    let changed = plan.transform_up_with_subqueries(|node| {
        if !matches!(node, LogicalPlan::Window(_)) {
            return Ok(Transformed::no(node));
        }
        node.map_expressions(|expression| expression.transform_up(|part| exchange(part, &meter)))
    })?;
    Ok(changed.data)
}

fn exchange(part: Expr, meter: &Arc<Meter>) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(mut call) = part else { return Ok(Transformed::no(part)) };
    call.fun = match call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            refuse_filtered_list(&function, &call.params)?;
            WindowFunctionDefinition::AggregateUDF(aggregate::metered(&function, meter))
        }
        // Ranks and row numbers keep nothing.
        WindowFunctionDefinition::WindowUDF(function) if call.params.args.is_empty() => {
            WindowFunctionDefinition::WindowUDF(function)
        }
        WindowFunctionDefinition::WindowUDF(function) => {
            let metered = evaluator::Metered::new(function.inner().clone(), meter.clone());
            WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(metered)))
        }
    };
    Ok(Transformed::yes(Expr::WindowFunction(call)))
}

/// A list or text of the few rows that pass a filter is repeated in all rows, and the function never learns how many
/// those are.
fn refuse_filtered_list(
    function: &AggregateUDF,
    params: &datafusion::logical_expr::expr::WindowFunctionParams,
) -> Result<()> {
    let repeats = matches!(function.name(), "array_agg" | "string_agg" | "hdr_merge");
    if params.filter.is_none() || !repeats {
        return Ok(());
    }
    let name = function.name();
    Err(DataFusionError::Plan(format!(
        "{name}(…) FILTER (…) OVER (…) would repeat its result in every row of the window; compute it with GROUP BY in a \
         subquery and join that"
    )))
}

/// Whether every value of the type takes the same few bytes.
fn is_sized(data_type: &DataType) -> bool {
    data_type.is_primitive() || matches!(data_type, DataType::Boolean | DataType::Null)
}
