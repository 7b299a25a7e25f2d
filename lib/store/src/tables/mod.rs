//! The tables of the store: their names and Arrow schemas, one file a table.
//!
//! The column comments are the user documentation: `DESCRIBE` and `/api/v1/tables` show them. They travel as field
//! metadata under [`COMMENT`]. All text is `Utf8`, maps are `Map<Utf8, Utf8>` (quantiles: to `Float64`), times are
//! nanoseconds in UTC.
//! Columns are only ever added, at the end: stored segments of an older schema stay readable.

mod columns;
mod logs;
mod points;
mod spans;
mod windows;

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Schema, SchemaRef};
use shipwake_model::window::NS_PER_S;

pub use columns::{
    COMMENT, NumberMapBuilder, RESOURCE_REF, TextMapBuilder, map_type, number_map_builder, number_map_type,
    text_map_builder, time_type,
};

/// What is stored. The numbers are part of nothing stored; the names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Log records.
    Logs,
    /// Spans.
    Spans,
    /// Metric data points as received.
    Points,
    /// Partial aggregates of 10 s, 60 s and 3600 s.
    Windows,
    /// Partial aggregates of 1 s (requests, errors, durations), kept for minutes.
    Windows1s,
}

/// The public schema of a table and the two halves that a [`crate::RowChunk`] keeps it in.
struct Schemas {
    table: SchemaRef,
    rows: SchemaRef,
    resources: SchemaRef,
}

static LOGS: LazyLock<Schemas> = LazyLock::new(|| Schemas::of(logs::schema()));
static SPANS: LazyLock<Schemas> = LazyLock::new(|| Schemas::of(spans::schema()));
static POINTS: LazyLock<Schemas> = LazyLock::new(|| Schemas::of(points::schema()));
static WINDOWS: LazyLock<Schemas> = LazyLock::new(|| Schemas::of(windows::schema()));

impl Table {
    /// Every table, in the order segments are written.
    pub const ALL: [Table; 5] = [Table::Logs, Table::Spans, Table::Points, Table::Windows, Table::Windows1s];

    /// The name in paths, manifests and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Table::Logs => "logs",
            Table::Spans => "spans",
            Table::Points => "points",
            Table::Windows => "windows",
            Table::Windows1s => "windows_1s",
        }
    }

    /// The table of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The public schema: what segments hold and queries see.
    pub fn schema(self) -> SchemaRef {
        self.schemas().table.clone()
    }

    /// The schema of a row chunk's rows: [`RESOURCE_REF`] first, then the columns of the table that differ from row to
    /// row, in the table's order.
    pub fn rows_schema(self) -> SchemaRef {
        self.schemas().rows.clone()
    }

    /// The schema of a row chunk's resources: the columns of the table that are the same for all rows of a resource.
    pub fn resources_schema(self) -> SchemaRef {
        self.schemas().resources.clone()
    }

    /// The name of the column with the event time that segments are pruned and sorted by.
    pub fn time_column(self) -> &'static str {
        match self {
            Table::Logs | Table::Spans | Table::Points => "time",
            Table::Windows | Table::Windows1s => "window_start",
        }
    }

    /// How long the windows are that segments are kept apart by, ns; `None` where segments live for minutes only.
    pub fn window_ns(self) -> Option<i64> {
        match self {
            Table::Logs | Table::Spans | Table::Points => Some(900 * NS_PER_S),
            // Rows of an hour begin with the hour.
            Table::Windows => Some(3600 * NS_PER_S),
            Table::Windows1s => None,
        }
    }

    /// The columns that rows of a segment are sorted by, before the time column.
    pub fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Table::Logs | Table::Spans | Table::Points => &["service", "version"],
            Table::Windows | Table::Windows1s => &["service", "signal", "metric", "version"],
        }
    }

    fn schemas(self) -> &'static Schemas {
        match self {
            Table::Logs => &LOGS,
            Table::Spans => &SPANS,
            Table::Points => &POINTS,
            Table::Windows | Table::Windows1s => &WINDOWS,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Schemas {
    fn of(schema: Schema) -> Self {
        let (mut rows, mut resources) = (vec![columns::resource_ref()], Vec::new());
        for field in schema.fields() {
            if columns::is_resource_level(field.name()) {
                resources.push(field.as_ref().clone());
            } else {
                rows.push(field.as_ref().clone());
            }
        }
        Self { table: Arc::new(schema), rows: Arc::new(Schema::new(rows)), resources: Arc::new(Schema::new(resources)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_comment_and_every_table_the_identity_columns() {
        for table in Table::ALL {
            let schema = table.schema();
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            assert_eq!(names[..5], ["service", "namespace", "environment", "version", "instance"], "{table}");
            for field in schema.fields() {
                assert!(field.metadata().get(COMMENT).is_some_and(|text| text.len() > 5), "{table}.{}", field.name());
            }
            assert!(schema.field_with_name(table.time_column()).is_ok());
            assert!(table.sort_columns().iter().all(|name| schema.field_with_name(name).is_ok()));
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
    }

    #[test]
    fn rows_and_resources_together_are_the_table() {
        for table in Table::ALL {
            let (rows, resources) = (table.rows_schema(), table.resources_schema());
            assert_eq!(rows.field(0).name(), RESOURCE_REF);
            assert_eq!(rows.fields().len() - 1 + resources.fields().len(), table.schema().fields().len());
        }
    }
}
