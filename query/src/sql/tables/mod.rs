//! The tables of SQL, one file each. A table says what one row is, which stored tables it needs, and how it is read;
//! column comments are its documentation.
//!
//! `logs`, `spans` and `points` are stored rows as they are ([`telemetry`]); `events` and `notifications` are some of the logs. `windows` merges
//! partial rows by key, `release_health` and `patterns` are made from those, `releases`, `toggles`, `markers` and `verdicts` are what the
//! aggregator remembers.

mod events;
mod hot;
mod logs;
mod markers;
mod notifications;
mod patterns;
mod points;
mod prune;
mod release_health;
mod releases;
mod spans;
mod telemetry;
mod toggles;
mod verdicts;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use shipwake_store::tables::COMMENT;
use shipwake_store::{MarkerRow, PatternRow, ReleaseRow, Snapshot, Store, Table, ToggleRow, VerdictRow};

pub(crate) use windows::parts as window_parts;

/// A table of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqlTable {
    Events,
    Logs,
    Markers,
    Notifications,
    Patterns,
    Points,
    ReleaseHealth,
    Releases,
    Spans,
    Toggles,
    Verdicts,
    Windows,
}

impl SqlTable {
    /// All tables, in the order of their names.
    pub const ALL: [SqlTable; 12] = [
        SqlTable::Events,
        SqlTable::Logs,
        SqlTable::Markers,
        SqlTable::Notifications,
        SqlTable::Patterns,
        SqlTable::Points,
        SqlTable::ReleaseHealth,
        SqlTable::Releases,
        SqlTable::Spans,
        SqlTable::Toggles,
        SqlTable::Verdicts,
        SqlTable::Windows,
    ];

    pub fn name(self) -> &'static str {
        match self {
            SqlTable::Events => "events",
            SqlTable::Logs => "logs",
            SqlTable::Markers => "markers",
            SqlTable::Notifications => "notifications",
            SqlTable::Patterns => "patterns",
            SqlTable::Points => "points",
            SqlTable::ReleaseHealth => "release_health",
            SqlTable::Releases => "releases",
            SqlTable::Spans => "spans",
            SqlTable::Toggles => "toggles",
            SqlTable::Verdicts => "verdicts",
            SqlTable::Windows => "windows",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// What one row is.
    pub fn comment(self) -> &'static str {
        match self {
            SqlTable::Events => events::COMMENT,
            SqlTable::Logs => logs::COMMENT,
            SqlTable::Markers => markers::COMMENT,
            SqlTable::Notifications => notifications::COMMENT,
            SqlTable::Patterns => patterns::COMMENT,
            SqlTable::Points => points::COMMENT,
            SqlTable::ReleaseHealth => release_health::COMMENT,
            SqlTable::Releases => releases::COMMENT,
            SqlTable::Spans => spans::COMMENT,
            SqlTable::Toggles => toggles::COMMENT,
            SqlTable::Verdicts => verdicts::COMMENT,
            SqlTable::Windows => windows::COMMENT,
        }
    }

    /// The stored tables that a snapshot for it needs.
    pub fn stored(self) -> &'static [Table] {
        match self {
            SqlTable::Logs | SqlTable::Events | SqlTable::Notifications => &[Table::Logs],
            SqlTable::Points => &[Table::Points],
            SqlTable::Spans => &[Table::Spans],
            SqlTable::Patterns => &[Table::Windows],
            SqlTable::Windows | SqlTable::ReleaseHealth => &[Table::Windows, Table::Windows1s],
            SqlTable::Releases | SqlTable::Toggles | SqlTable::Markers | SqlTable::Verdicts => &[],
        }
    }

    /// The columns with their comments.
    pub fn documented_schema(self) -> SchemaRef {
        match self {
            SqlTable::Logs => Table::Logs.schema(),
            SqlTable::Points => Table::Points.schema(),
            SqlTable::Spans => Table::Spans.schema(),
            SqlTable::Windows => Table::Windows.schema(),
            SqlTable::ReleaseHealth => release_health::schema(),
            SqlTable::Patterns => patterns::schema(),
            SqlTable::Releases => releases::schema(),
            SqlTable::Events => events::schema(),
            SqlTable::Notifications => notifications::schema(),
            SqlTable::Toggles => toggles::schema(),
            SqlTable::Markers => markers::schema(),
            SqlTable::Verdicts => verdicts::schema(),
        }
    }

    /// The table over a snapshot.
    pub async fn provider(self, state: &SessionState, read: &Arc<Read>) -> Result<Arc<dyn TableProvider>> {
        match self {
            SqlTable::Logs => Ok(telemetry::provider(&[Table::Logs], read)),
            SqlTable::Points => Ok(telemetry::provider(&[Table::Points], read)),
            SqlTable::Spans => Ok(telemetry::provider(&[Table::Spans], read)),
            SqlTable::Windows => windows::provider(state, read).await,
            SqlTable::ReleaseHealth => release_health::provider(state, read).await,
            SqlTable::Patterns => patterns::provider(state, read).await,
            SqlTable::Releases => releases::provider(&read.releases),
            SqlTable::Events => events::provider(state, read).await,
            SqlTable::Notifications => notifications::provider(state, read).await,
            SqlTable::Toggles => toggles::provider(&read.toggles),
            SqlTable::Markers => markers::provider(&read.markers),
            SqlTable::Verdicts => verdicts::provider(&read.verdicts),
        }
    }
}

/// What one query reads, all of it taken at one moment, and how much of it was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub store: Arc<Store>,
    pub snapshot: Snapshot,
    pub releases: Vec<ReleaseRow>,
    pub toggles: Vec<ToggleRow>,
    pub markers: Vec<MarkerRow>,
    pub verdicts: Vec<VerdictRow>,
    /// What is remembered of patterns, without cells.
    pub patterns: Vec<PatternRow>,
    /// Segments are checked by whoever reads them, which may be another node, and not before.
    pub is_checked_later: bool,
    /// Bytes of hot rows that were handed to operators.
    pub hot_bytes: AtomicU64,
}

impl Read {
    pub fn new(store: &Arc<Store>, stored: &[Table]) -> Self {
        let (releases, toggles, patterns) = (Vec::new(), Vec::new(), Vec::new());
        let (markers, verdicts) = (Vec::new(), Vec::new());
        let (store, snapshot) = (store.clone(), store.snapshot(stored));
        let (is_checked_later, hot_bytes) = (false, AtomicU64::new(0));
        Self { store, snapshot, releases, toggles, markers, verdicts, patterns, is_checked_later, hot_bytes }
    }

    fn count_hot(&self, bytes: usize) {
        self.hot_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The plan of a view whose text reads from `parts`.
async fn view_plan(state: &SessionState, parts: Arc<dyn TableProvider>, view: &str) -> Result<LogicalPlan> {
    let tables = MemorySchemaProvider::new();
    tables.register_table("parts".to_owned(), parts)?;
    let context = SessionContext::new_with_state(state.clone());
    let catalog = Arc::new(MemoryCatalogProvider::new());
    catalog.register_schema("inner", Arc::new(tables))?;
    context.register_catalog("parts_of_a_view", catalog);
    let view = view.replace("from parts", "from parts_of_a_view.inner.parts");
    context.state().create_logical_plan(&view).await
}

/// The comment of a column, or empty.
pub(crate) fn comment_of(field: &arrow::datatypes::Field) -> &str {
    field.metadata().get(COMMENT).map_or("", String::as_str)
}

/// The schema without comments: DataFusion compares metadata where only names and types should count.
fn plain(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(HashMap::new())).collect();
    Arc::new(Schema::new(fields))
}

/// A column with its comment, for tables that are not stored.
fn column(name: &str, data_type: arrow::datatypes::DataType, nullable: bool, comment: &str) -> arrow::datatypes::Field {
    arrow::datatypes::Field::new(name, data_type, nullable)
        .with_metadata(HashMap::from([(COMMENT.to_owned(), comment.to_owned())]))
}
