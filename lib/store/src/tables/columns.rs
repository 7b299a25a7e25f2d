//! How columns are declared: the types that all tables share, and the identity columns that every table starts with.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Float64Builder, MapBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// Key of the field metadata that holds the comment of a column.
pub const COMMENT: &str = "comment";
/// The column of a row chunk that points into its resources.
pub const RESOURCE_REF: &str = "resource_ref";

/// A builder of map columns whose array has exactly [`map_type`].
pub type TextMapBuilder = MapBuilder<StringBuilder, StringBuilder>;
/// A builder of map columns whose array has exactly [`number_map_type`].
pub type NumberMapBuilder = MapBuilder<StringBuilder, Float64Builder>;

const RESOURCE_LEVEL: [&str; 6] = ["service", "namespace", "environment", "version", "instance", "resource"];

/// The type of every time column: nanoseconds since the epoch, UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// The type of attribute columns: map from text to text. The names of the inner fields are those of Arrow's builder.
pub fn map_type() -> DataType {
    map_to(DataType::Utf8)
}

/// The type of maps from text to number.
pub fn number_map_type() -> DataType {
    map_to(DataType::Float64)
}

fn map_to(values: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", values, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// A builder of map columns: append to `keys()` and `values()`, then `append(true)` for each row.
pub fn text_map_builder() -> TextMapBuilder {
    MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())
}

/// The same for maps from text to number.
pub fn number_map_builder() -> NumberMapBuilder {
    MapBuilder::new(None, StringBuilder::new(), Float64Builder::new())
}

/// A column that is never null.
pub(super) fn required(name: &str, data_type: DataType, comment: &str) -> Field {
    column(name, data_type, false, comment)
}

/// A column that is null where the record says nothing.
pub(super) fn optional(name: &str, data_type: DataType, comment: &str) -> Field {
    column(name, data_type, true, comment)
}

/// The columns every table starts with.
pub(super) fn identity() -> Vec<Field> {
    vec![
        required("service", DataType::Utf8, "name of the service (service.name)"),
        required("namespace", DataType::Utf8, "namespace of the service (service.namespace), or empty"),
        required("environment", DataType::Utf8, "where it runs (deployment.environment.name)"),
        required("version", DataType::Utf8, "version that was running (service.version); unversioned when not known"),
        required("instance", DataType::Utf8, "which instance of the service (service.instance.id), or empty"),
    ]
}

/// The attributes of the record, for tables of records.
pub(super) fn attributes(comment: &str) -> Field {
    required("attributes", map_type(), comment)
}

/// The attributes of the resource, for tables of records.
pub(super) fn resource() -> Field {
    required("resource", map_type(), "all attributes of the resource that sent the record")
}

pub(super) fn resource_ref() -> Field {
    Field::new(RESOURCE_REF, DataType::UInt32, false)
}

pub(super) fn is_resource_level(name: &str) -> bool {
    RESOURCE_LEVEL.contains(&name)
}

fn column(name: &str, data_type: DataType, nullable: bool, comment: &str) -> Field {
    Field::new(name, data_type, nullable).with_metadata(HashMap::from([(COMMENT.to_owned(), comment.to_owned())]))
}
