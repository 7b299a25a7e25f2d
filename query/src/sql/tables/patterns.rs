//! The view `patterns`: the lines of each log pattern by version and level, added up from `windows`, with an example as the
//! aggregator remembers it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;
use shipwake_model::pattern::id_text;
use shipwake_store::tables::time_type;
use shipwake_store::{PatternRow, Table};

use super::{Read, column, plain, telemetry};

/// What one row is.
pub(super) const COMMENT: &str = "a log pattern of a version, by level: what its lines have in common";

/// Hours have the fewest rows. Times are seconds in windows, whose partials merge by minimum and maximum.
const VIEW: &str = "
select lines.service, lines.namespace, lines.environment, lines.version, lines.instance, lines.pattern_id, lines.template,
       lines.level, lines.count, lines.first_seen, lines.last_seen, examples.example
from (
  select service, namespace, environment, version, instance, metric as pattern_id, attributes['template'] as template,
         attributes['level'] as level, sum(count) as count,
         arrow_cast(cast(min(min) * 1e9 as bigint), 'Timestamp(Nanosecond, Some(\"UTC\"))') as first_seen,
         arrow_cast(cast(max(max) * 1e9 as bigint), 'Timestamp(Nanosecond, Some(\"UTC\"))') as last_seen
  from view_of_patterns.inner.parts
  where signal = 'pattern' and resolution_s = 3600
  group by service, namespace, environment, version, instance, metric, attributes['template'], attributes['level']
) as lines
left join view_of_patterns.inner.examples as examples
  on lines.service = examples.service and lines.namespace = examples.namespace
  and lines.environment = examples.environment and lines.pattern_id = examples.pattern_id";

pub(super) fn schema() -> SchemaRef {
    let stored = Table::Windows.schema();
    let same = |name: &str| stored.field_with_name(name).expect("a column of windows").clone();
    Arc::new(Schema::new(vec![
        same("service"),
        same("namespace"),
        same("environment"),
        same("version"),
        same("instance"),
        column("pattern_id", DataType::Utf8, false, "the pattern, as in logs.pattern_id; __other__ beyond the bound"),
        column("template", DataType::Utf8, true, "what its lines have in common, <*> for what varies"),
        column("level", DataType::Utf8, true, "level of the lines: trace, debug, info, warn, error, fatal or unknown"),
        column("count", DataType::Int64, true, "how many lines"),
        column("first_seen", time_type(), true, "event time of the first line"),
        column("last_seen", time_type(), true, "event time of the newest line"),
        column("example", DataType::Utf8, true, "a line that has it, while it is remembered"),
    ]))
}

pub(super) async fn provider(state: &SessionState, read: &Arc<Read>) -> Result<Arc<dyn TableProvider>> {
    let tables = MemorySchemaProvider::new();
    tables.register_table("parts".to_owned(), telemetry::provider(&[Table::Windows], read))?;
    tables.register_table("examples".to_owned(), examples(&read.patterns)?)?;
    let catalog = Arc::new(MemoryCatalogProvider::new());
    catalog.register_schema("inner", Arc::new(tables))?;
    let context = SessionContext::new_with_state(state.clone());
    context.register_catalog("view_of_patterns", catalog);
    let plan = context.state().create_logical_plan(VIEW).await?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn examples(rows: &[PatternRow]) -> Result<Arc<dyn TableProvider>> {
    let names = ["service", "namespace", "environment", "pattern_id", "example"];
    let schema = plain(&Schema::new(names.map(|name| column(name, DataType::Utf8, false, "")).to_vec()));
    let text = |of: &dyn Fn(&PatternRow) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let columns = vec![
        text(&|row| row.service.to_string()),
        text(&|row| row.namespace.to_string()),
        text(&|row| row.environment.to_string()),
        text(&|row| id_text(row.id)),
        text(&|row| row.example.to_string()),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}
