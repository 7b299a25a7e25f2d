//! Chunks of rows for tests.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array, new_null_array,
};
use arrow::datatypes::{DataType, Schema};
use shipwake_store::tables::{RESOURCE_REF, text_map_builder};
use shipwake_store::{RowChunk, Table};

fn columns(schema: &Schema, known: impl Fn(&str) -> Option<ArrayRef>, rows: usize) -> RecordBatch {
    let column = |name: &str, data_type: &DataType, nullable: bool| match (known(name), data_type) {
        (Some(column), _) => column,
        (None, _) if nullable => new_null_array(data_type, rows),
        (None, DataType::Utf8) => Arc::new(StringArray::from(vec!["x"; rows])),
        (None, DataType::Map(..)) => {
            let mut maps = text_map_builder();
            (0..rows).for_each(|_| maps.append(true).expect("empty maps"));
            Arc::new(maps.finish())
        }
        (None, other) => panic!("{name} is {other}"),
    };
    let fields = schema.fields().iter();
    let columns = fields.map(|field| column(field.name(), field.data_type(), field.is_nullable())).collect();
    RecordBatch::try_new(Arc::new(schema.clone()), columns).expect("the columns follow the schema")
}

/// A chunk of equal log lines.
pub(crate) fn chunk(time_ns: i64, rows: usize) -> Arc<RowChunk> {
    let known = |name: &str| -> Option<ArrayRef> {
        match name {
            RESOURCE_REF => Some(Arc::new(UInt32Array::from(vec![0; rows]))),
            "time" => Some(Arc::new(TimestampNanosecondArray::from(vec![time_ns; rows]).with_timezone("UTC"))),
            "severity_number" => Some(Arc::new(Int32Array::from(vec![9; rows]))),
            _ => None,
        }
    };
    let rows = columns(&Table::Logs.rows_schema(), known, rows);
    let resources = columns(&Table::Logs.resources_schema(), |_| None, 1);
    Arc::new(RowChunk::new(Table::Logs, rows, Arc::new(resources)).expect("rows that fit"))
}
