//! The view `release_health`: requests, errors and durations of one service, version and window, from one source.
//!
//! The source is chosen per service over the windows that a query reads: the best one that counted a request there. So
//! filters on time, resolution and service go below the choice, and a filter on version stays above it: two versions of a
//! service are always measured alike.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::TableType;
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::col;
use shipwake_store::Table;
use shipwake_store::tables::time_type;

use super::{Read, column, plain, view_plan, windows};

/// What one row is.
pub(super) const COMMENT: &str = "requests, errors and durations of one service, version and window, from one source";

/// Columns whose filters may choose among the windows before the source is chosen.
const BEFORE_THE_CHOICE: [&str; 5] = ["service", "namespace", "environment", "window_start", "resolution_s"];

/// `rank` is the order of [`shipwake_model::Source`]. Durations are stored in microseconds. Users count whatever the source
/// that named them; a window of nothing but users is no row.
const VIEW: &str = "
select service, namespace, environment, version, window_start, resolution_s, source, requests, errors,
       case when requests > 0 then cast(errors as double) / cast(requests as double) end as error_ratio,
       hdr_quantile(histogram, 0.5) / 1e6 as p50,
       hdr_quantile(histogram, 0.95) / 1e6 as p95,
       hdr_quantile(histogram, 0.99) / 1e6 as p99,
       instances,
       distinct_count(users) as users,
       histogram is not null and source = 'metrics' as approximate
from (
  select *, min(case when requests > 0 then rank end) over (partition by service, namespace, environment) as best,
         hdr_merge(users_of_source) over (
           partition by service, namespace, environment, version, window_start, resolution_s) as users
  from (
    select service, namespace, environment, version, window_start, resolution_s, source,
           case source when 'spans' then 1 when 'metrics' then 2 when 'access_log' then 3 else 4 end as rank,
           coalesce(sum(count) filter (where signal = 'requests'), 0) as requests,
           coalesce(sum(count) filter (where signal = 'errors'), 0) as errors,
           hdr_merge(histogram) filter (where signal = 'duration') as histogram,
           hdr_merge(histogram) filter (where signal = 'usage' and metric = 'users') as users_of_source,
           count(distinct slot) filter (where signal <> 'usage') as instances,
           count(*) filter (where signal <> 'usage') as measured
    from parts
    where signal in ('requests', 'errors', 'duration', 'usage')
    group by service, namespace, environment, version, window_start, resolution_s, source
  )
)
where rank = best and measured > 0";

pub(super) fn schema() -> SchemaRef {
    let stored = Table::Windows.schema();
    let same = |name: &str| stored.field_with_name(name).expect("a column of windows").clone();
    Arc::new(Schema::new(vec![
        same("service"),
        same("namespace"),
        same("environment"),
        same("version"),
        column("window_start", time_type(), false, "start of the window, event time"),
        column(
            "resolution_s",
            DataType::Int32,
            false,
            "length of the window in seconds: 1, 10, 60 or 3600; ask for one of them",
        ),
        column("source", DataType::Utf8, false, "what the numbers come from: spans, metrics, access_log or logs"),
        column("requests", DataType::Int64, true, "requests; log records when the source is logs"),
        column("errors", DataType::Int64, true, "requests that failed; error records when the source is logs"),
        column("error_ratio", DataType::Float64, true, "errors / requests, 0 to 1; null without requests"),
        column("p50", DataType::Float64, true, "median duration in seconds; null without durations"),
        column("p95", DataType::Float64, true, "95th percentile of the duration in seconds"),
        column("p99", DataType::Float64, true, "99th percentile of the duration in seconds"),
        column(
            "instances",
            DataType::Int64,
            true,
            "replicate slots that sent something, 8 at the most whatever the number of instances; the true count is in releases",
        ),
        column(
            "users",
            DataType::Int64,
            true,
            "distinct users, about; null where records name none, and in windows of one second",
        ),
        column(
            "approximate",
            DataType::Boolean,
            true,
            "whether p50, p95 and p99 are estimates within the buckets that an app's duration metric has",
        ),
    ]))
}

pub(super) async fn provider(state: &SessionState, read: &Arc<Read>) -> Result<Arc<dyn TableProvider>> {
    let plan = view_plan(state, windows::parts(read), VIEW).await?;
    Ok(Arc::new(ReleaseHealth { plan, schema: plain(&schema()) }))
}

#[derive(Debug)]
struct ReleaseHealth {
    plan: LogicalPlan,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for ReleaseHealth {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            let early = filter.column_refs().iter().all(|column| BEFORE_THE_CHOICE.contains(&column.name.as_str()));
            if early { TableProviderFilterPushDown::Inexact } else { TableProviderFilterPushDown::Unsupported }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filtered = match conjunction(filters.iter().cloned()) {
            None => self.plan.clone(),
            Some(condition) => with_filter(self.plan.clone(), &condition)?,
        };
        let names: Vec<&String> = match projection {
            Some(indices) => indices.iter().map(|index| self.schema.field(*index).name()).collect(),
            None => self.schema.fields().iter().map(|field| field.name()).collect(),
        };
        let plan = LogicalPlanBuilder::from(filtered).project(names.into_iter().map(col))?.build()?;
        state.create_physical_plan(&plan).await
    }
}

/// The plan with a condition directly above the stored rows.
fn with_filter(plan: LogicalPlan, condition: &Expr) -> Result<LogicalPlan> {
    let transformed = plan.transform_up(|node| match node {
        LogicalPlan::TableScan(_) => {
            Ok(Transformed::yes(LogicalPlanBuilder::from(node).filter(condition.clone())?.build()?))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(transformed.data)
}
