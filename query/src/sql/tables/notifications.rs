//! The view `notifications`: log records that say what came of an attempt to tell somebody of a verdict, as `shipwake_model::notification`
//! writes them. An attempt that was recorded again after a crash is one row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::Result;
use datafusion::execution::SessionState;
use shipwake_model::notification;
use shipwake_store::Table;
use shipwake_store::tables::time_type;

use super::{Read, column, telemetry, view_plan};

/// What one row is.
pub(super) const COMMENT: &str = "an attempt to tell a receiver of a verdict, or the end of a notification without one";

const VIEW: &str = "
select distinct time, attributes['PREFIX.receiver'] as receiver, attributes['PREFIX.kind'] as kind,
       attributes['PREFIX.result'] as result, try_cast(attributes['PREFIX.attempt'] as bigint) as attempt,
       try_cast(attributes['PREFIX.status'] as bigint) as status,
       try_cast(attributes['PREFIX.took_ms'] as bigint) as took_ms, attributes['PREFIX.answer'] as answer,
       service, namespace, environment, version,
       try_cast(attributes['PREFIX.sequence'] as bigint) as sequence,
       attributes['PREFIX.about'] as about, attributes['PREFIX.id'] as id
from parts
where event_name = 'PREFIX'";

pub(super) fn schema() -> SchemaRef {
    let stored = Table::Logs.schema();
    let same = |name: &str| stored.field_with_name(name).expect("a column of logs").clone();
    let text = |name: &str, comment: &str| column(name, DataType::Utf8, true, comment);
    let number = |name: &str, comment: &str| column(name, DataType::Int64, true, comment);
    Arc::new(Schema::new(vec![
        column("time", time_type(), false, "when the attempt ended"),
        text("receiver", "name of the receiver in alerts.yaml"),
        text("kind", "webhook, slack, pagerduty or pagerduty_changes; null when it is configured no more"),
        text(
            "result",
            "delivered; failed or busy (tried again), rejected, gone (waits for another address), expired, dropped (given up)",
        ),
        number("attempt", "counts the attempts at this notification; 0 when it ended without one"),
        number("status", "HTTP status of the answer; null without an answer"),
        number("took_ms", "how long it took, in milliseconds"),
        text("answer", "first bytes of the answer, or what went wrong; without secrets"),
        same("service"),
        same("namespace"),
        same("environment"),
        same("version"),
        number("sequence", "the newest change that it tells of, as in verdicts; null where it tells of no release"),
        text("about", "what it tells, in a few words"),
        text("id", "names the notification over all its attempts; a webhook gets it as webhook-id, behind msg_"),
    ]))
}

pub(super) async fn provider(state: &SessionState, read: &Arc<Read>) -> Result<Arc<dyn TableProvider>> {
    let view = VIEW.replace("PREFIX", notification::EVENT_NAME);
    let plan = view_plan(state, telemetry::provider(&[Table::Logs], read), &view).await?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_reads_the_attributes_that_are_written() {
        let view = VIEW.replace("PREFIX", notification::EVENT_NAME);
        for name in [
            notification::ID,
            notification::RECEIVER,
            notification::KIND,
            notification::ABOUT,
            notification::SEQUENCE,
            notification::ATTEMPT,
            notification::RESULT,
            notification::STATUS,
            notification::ANSWER,
            notification::TOOK_MS,
        ] {
            assert!(view.contains(&format!("attributes['{name}']")), "{name}");
        }
    }
}
