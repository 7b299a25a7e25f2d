//! The view `events`: log records that are KPI events, whether they came by `POST /v1/events` or by OTLP.
//!
//! What makes a record one is in `shipwake_model::kpi`: a name, and not that of an exception or of a toggle evaluation,
//! which are read as logs and in `toggles`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::Result;
use datafusion::execution::SessionState;
use shipwake_model::kpi::OTHER_EVENTS;
use shipwake_store::Table;
use shipwake_store::tables::time_type;

use super::{Read, column, telemetry, view_plan};

/// What one row is.
pub(super) const COMMENT: &str = "a KPI event";

const VIEW: &str = "
select service, namespace, environment, version, instance, time, event_name as name,
       try_cast(attributes['value'] as double) as value,
       attributes['unit'] as unit,
       coalesce(attributes['user.id'], attributes['enduser.id']) as \"user\",
       attributes['session.id'] as session,
       trace_id, attributes
from parts
where event_name is not null and event_name <> '' and event_name not in (OTHERS)";

pub(super) fn schema() -> SchemaRef {
    let stored = Table::Logs.schema();
    let same = |name: &str| stored.field_with_name(name).expect("a column of logs").clone();
    Arc::new(Schema::new(vec![
        same("service"),
        same("namespace"),
        same("environment"),
        same("version"),
        same("instance"),
        column("time", time_type(), false, "when it happened; the received time where the event names none"),
        column("name", DataType::Utf8, true, "what happened"),
        column("value", DataType::Float64, true, "the number that belongs to it; null without one"),
        column("unit", DataType::Utf8, true, "unit of the value"),
        column("user", DataType::Utf8, true, "whose it is (user.id, enduser.id); write it as \"user\" in SQL"),
        column("session", DataType::Utf8, true, "in which session (session.id)"),
        same("trace_id"),
        same("attributes"),
    ]))
}

pub(super) async fn provider(state: &SessionState, read: &Arc<Read>) -> Result<Arc<dyn TableProvider>> {
    let others: Vec<String> = OTHER_EVENTS.iter().map(|name| format!("'{name}'")).collect();
    let view = VIEW.replace("OTHERS", &others.join(", "));
    let plan = view_plan(state, telemetry::provider(&[Table::Logs], read), &view).await?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
