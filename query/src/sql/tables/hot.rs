//! Hot rows as a partition that DataFusion reads. A chunk is turned into columns when it is pulled, and only into the
//! columns that are asked for, so a query holds one chunk at a time and not a copy of the hot rows.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use shipwake_store::HotRows;

use super::Read;

/// The hot rows of one shard and table.
#[derive(Debug)]
pub(super) struct HotPartition {
    pub schema: SchemaRef,
    pub projection: Vec<usize>,
    pub rows: Vec<HotRows>,
    pub read: Arc<Read>,
}

impl PartitionStream for HotPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, projection, read) = (self.schema.clone(), self.projection.clone(), self.read.clone());
        let batches = self.rows.clone().into_iter().map(move |rows| project(&rows, &projection, &schema, &read));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

fn project(rows: &HotRows, projection: &[usize], schema: &SchemaRef, read: &Read) -> Result<RecordBatch> {
    let batch = rows.to_batch(Some(projection));
    read.count_hot(batch.get_array_memory_size());
    // The same columns under the plan's own schema, which has no comments.
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options).map_err(DataFusionError::from)
}
