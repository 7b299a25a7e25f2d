//! The resources that the rows of one open chunk point at.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use hashbrown::HashMap;
use shipwake_store::tables::text_map_builder;
use shipwake_store::{RowChunk, Table};

use crate::resources::KnownResource;

/// Resources in the order in which rows first pointed at them.
#[derive(Debug, Default)]
pub struct ChunkResources {
    numbers: HashMap<u128, u32, ahash::RandomState>,
    resources: Vec<Arc<KnownResource>>,
}

impl ChunkResources {
    /// The number of a resource in this chunk.
    pub fn number(&mut self, resource: &Arc<KnownResource>) -> u32 {
        *self.numbers.entry(resource.hash).or_insert_with(|| {
            self.resources.push(resource.clone());
            self.resources.len() as u32 - 1
        })
    }

    /// The chunk of `columns` (without the resource level) in the order of the table's rows, and an empty list again.
    pub fn seal(&mut self, table: Table, mut columns: Vec<ArrayRef>) -> RowChunk {
        // Builders double their buffers; a chunk lives until its commit is written and would hold the slack all that time.
        columns.iter_mut().for_each(Array::shrink_to_fit);
        let rows = RecordBatch::try_new(table.rows_schema(), columns).expect("the builders follow the table's schema");
        let resources = std::mem::take(self).batch(table);
        RowChunk::new(table, rows, Arc::new(resources)).expect("every row points at a resource of its chunk")
    }

    fn batch(self, table: Table) -> RecordBatch {
        let text = |get: &dyn Fn(&KnownResource) -> &str| -> ArrayRef {
            let mut column = StringBuilder::new();
            for resource in &self.resources {
                column.append_value(get(resource));
            }
            Arc::new(column.finish())
        };
        let mut attributes = text_map_builder();
        for resource in &self.resources {
            for (key, value) in &resource.attributes {
                attributes.keys().append_value(key);
                attributes.values().append_value(value);
            }
            attributes.append(true).expect("as many keys as values were appended");
        }
        let columns = vec![
            text(&|resource| &resource.id.service),
            text(&|resource| &resource.id.namespace),
            text(&|resource| &resource.id.environment),
            text(&|resource| &resource.id.version),
            text(&|resource| &resource.instance),
            Arc::new(attributes.finish()) as ArrayRef,
        ];
        RecordBatch::try_new(table.resources_schema(), columns).expect("the columns follow the table's schema")
    }
}
