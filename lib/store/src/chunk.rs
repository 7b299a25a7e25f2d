//! Rows in memory whose resource-level columns are kept once per resource instead of once per row.
//!
//! A batch from one sender repeats service, version, instance and all resource attributes on every record; in a chunk a
//! row has a four-byte reference instead. [`RowChunk::to_batch`] gives the public form by `take`, column by column, so
//! a reader pays only for the columns it asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Schema, UInt32Type};

use crate::tables::RESOURCE_REF;
use crate::{StoreError, Table};

/// The number of the next chunk of this process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Rows of one table. Immutable and cheap to share.
#[derive(Clone, Debug)]
pub struct RowChunk {
    id: u64,
    table: Table,
    rows: RecordBatch,
    resources: Arc<RecordBatch>,
}

impl RowChunk {
    /// Puts rows and resources together.
    ///
    /// `rows` must have [`Table::rows_schema`] and `resources` [`Table::resources_schema`], and every reference must
    /// point at a resource; anything else is an error, because rows that do not fit would be found out only by a
    /// reader.
    pub fn new(table: Table, rows: RecordBatch, resources: Arc<RecordBatch>) -> Result<Self, StoreError> {
        check_types(table, &rows, &table.rows_schema())?;
        check_types(table, &resources, &table.resources_schema())?;
        let references = references(&rows);
        let largest = arrow::compute::max(references);
        if let Some(largest) = largest.filter(|largest| *largest as usize >= resources.num_rows()) {
            let reason = format!("{RESOURCE_REF} {largest} of {} resources", resources.num_rows());
            return Err(StoreError::Rows { table: table.name(), reason });
        }
        Ok(Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), table, rows, resources })
    }

    /// A number that no other chunk of this process has, except for clones: whoever has got a chunk need not get it again.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The table the rows belong to.
    pub fn table(&self) -> Table {
        self.table
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// The rows as kept, with [`RESOURCE_REF`].
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The resources that the rows point at.
    pub fn resources(&self) -> &Arc<RecordBatch> {
        &self.resources
    }

    /// For each row the index of its resource.
    pub fn resource_refs(&self) -> &UInt32Array {
        references(&self.rows)
    }

    /// Bytes in memory. Resources are counted in every chunk that shares them.
    pub fn memory_bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.resources.get_array_memory_size()
    }

    /// The rows in the public schema of the table, with only the columns of `projection` (indices into that schema), in
    /// its order.
    pub fn to_batch(&self, projection: Option<&[usize]>) -> RecordBatch {
        self.gather(projection, None)
    }

    /// As [`RowChunk::to_batch`], but only the rows at `places`, in their order. Panics when a place is beyond the rows.
    pub fn to_batch_at(&self, places: &UInt32Array, projection: Option<&[usize]>) -> RecordBatch {
        self.gather(projection, Some(places))
    }

    fn gather(&self, projection: Option<&[usize]>, places: Option<&UInt32Array>) -> RecordBatch {
        let schema = self.table.schema();
        let all: Vec<usize>;
        let wanted = match projection {
            Some(columns) => columns,
            None => {
                all = (0..schema.fields().len()).collect();
                &all
            }
        };
        let references = places.map(|places| take_checked(self.resource_refs(), places));
        let references = references.as_ref().map_or(self.resource_refs(), |taken| taken.as_primitive());
        let columns: Vec<ArrayRef> =
            wanted.iter().map(|&index| self.column(schema.field(index).name(), places, references)).collect();
        let schema = Schema::new(wanted.iter().map(|&index| schema.field(index).clone()).collect::<Vec<_>>());
        // The row count is given because a projection may be empty, as for count(*).
        let options = RecordBatchOptions::new().with_row_count(Some(references.len()));
        RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
            .expect("new() checked the types and references of all columns")
    }

    fn column(&self, name: &str, places: Option<&UInt32Array>, references: &UInt32Array) -> ArrayRef {
        if let Some(values) = self.resources.column_by_name(name) {
            return take_checked(values, references);
        }
        let rows = self.rows.column_by_name(name).expect("a column is in the rows or in the resources");
        places.map_or_else(|| rows.clone(), |places| take_checked(rows, places))
    }
}

/// References were checked by `new()`, and places come from the rows.
fn take_checked(values: &dyn Array, indices: &UInt32Array) -> ArrayRef {
    take(values, indices, None).expect("every index is within bounds")
}

/// Checks that `batch` has the columns of `expected`: names, types and nulls only where allowed. Metadata may differ.
pub(crate) fn check_types(table: Table, batch: &RecordBatch, expected: &Schema) -> Result<(), StoreError> {
    let error = |reason: String| Err(StoreError::Rows { table: table.name(), reason });
    if batch.num_columns() != expected.fields().len() {
        return error(format!("{} columns instead of {}", batch.num_columns(), expected.fields().len()));
    }
    for (index, field) in expected.fields().iter().enumerate() {
        let (schema, column) = (batch.schema_ref(), batch.column(index));
        let found = schema.field(index);
        if found.name() != field.name() {
            return error(format!("column {index} is {} instead of {}", found.name(), field.name()));
        }
        if column.data_type() != field.data_type() {
            let types = format!("{} instead of {}", column.data_type(), field.data_type());
            return error(format!("column {} is {types}", field.name()));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return error(format!("column {} has nulls", field.name()));
        }
    }
    Ok(())
}

fn references(rows: &RecordBatch) -> &UInt32Array {
    rows.column(0).as_primitive::<UInt32Type>()
}
