//! What comes from another node says at its end how many rows it was, so that an answer that breaks off is never taken for
//! a whole one: [`Sealed`] writes the seal where the rows are made, [`Opened`] checks it where they are used.
//!
//! It is needed: a task that ends early on a node, by a panic or because the node stops, ends its stream of rows as if there
//! were no more of them. The seal is a last row in two columns of its own, which also says how many bytes were read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{Stream, StreamExt};
use url::Url;

use crate::sql::one_input::has_one_input;
use crate::sql::run::{OPENED, SCANNED, segment_bytes};

/// Columns that the seal adds.
const COLUMNS: [&str; 2] = ["shipwake.rows", "shipwake.bytes"];

/// The rows of `input` with the seal's columns; every column may be null, as it is in the last row.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    /// Where its tasks are computed, in their order. Only who asks knows.
    pub urls: Vec<Url>,
    /// Bytes that were read and said so in a seal.
    told: Arc<AtomicU64>,
}

impl Sealed {
    pub fn new(input: Arc<dyn ExecutionPlan>, urls: Vec<Url>) -> Self {
        let schema = sealed_schema(&input.schema());
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, properties: Arc::new(properties), urls, told: Arc::default() }
    }
}

fn sealed_schema(schema: &Schema) -> SchemaRef {
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let seal = COLUMNS.map(|name| Field::new(name, DataType::UInt64, true));
    Arc::new(Schema::new(nullable.chain(seal).collect::<Vec<_>>()))
}

impl DisplayAs for Sealed {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed")
    }
}

impl ExecutionPlan for Sealed {
    fn name(&self) -> &str {
        "Sealed"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    has_one_input!();

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(children.swap_remove(0), self.urls.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Sealing {
            rows: self.input.execute(partition, context)?,
            schema: self.schema(),
            plan: self.input.clone(),
            told: self.told.clone(),
            count: 0,
            is_over: false,
        }))
    }
}

/// Counts rows and seals them.
struct Sealing {
    rows: SendableRecordBatchStream,
    schema: SchemaRef,
    plan: Arc<dyn ExecutionPlan>,
    told: Arc<AtomicU64>,
    count: u64,
    is_over: bool,
}

impl Sealing {
    fn widened(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        columns.extend(COLUMNS.map(|_| new_null_array(&DataType::UInt64, batch.num_rows())));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn seal(&self) -> Result<RecordBatch> {
        let fields = self.schema.fields();
        let own = &fields[..fields.len() - COLUMNS.len()];
        let mut columns: Vec<ArrayRef> = own.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        // Partitions share what was read: each says what no other has said yet.
        let bytes = segment_bytes(self.plan.as_ref());
        let untold = bytes.saturating_sub(self.told.fetch_max(bytes, Ordering::Relaxed));
        columns.extend([self.count, untold].map(|value| Arc::new(UInt64Array::from(vec![value])) as ArrayRef));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

impl Stream for Sealing {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let batch = match self.rows.poll_next_unpin(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(batch))) => {
                self.count += batch.num_rows() as u64;
                self.widened(&batch)
            }
            Poll::Ready(Some(Err(error))) => Err(error),
            Poll::Ready(None) => {
                self.is_over = true;
                self.seal()
            }
        };
        self.is_over |= batch.is_err();
        Poll::Ready(Some(batch))
    }
}

impl RecordBatchStream for Sealing {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The rows of `input`, which are sealed, as they were before: an error when the seal is missing or says another number.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    input: Arc<dyn ExecutionPlan>,
    /// Those of the rows before they were sealed, in as many partitions as `input` has.
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl Opened {
    /// `original` is what the rows were before they were sealed: it knows their types and their order.
    pub fn new(input: Arc<dyn ExecutionPlan>, original: &dyn ExecutionPlan) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            original.properties().eq_properties.clone(),
            Partitioning::UnknownPartitioning(partitions),
            original.pipeline_behavior(),
            original.boundedness(),
        );
        Self { input, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for Opened {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{OPENED}")
    }
}

impl ExecutionPlan for Opened {
    fn name(&self) -> &str {
        OPENED
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    has_one_input!();

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (input, before) = (children.swap_remove(0), self.as_ref());
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let properties = before.properties.as_ref().clone().with_partitioning(partitions);
        Ok(Arc::new(Self { input, properties: Arc::new(properties), metrics: before.metrics.clone() }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Opening {
            rows: self.input.execute(partition, context)?,
            schema: self.schema(),
            scanned: MetricBuilder::new(&self.metrics).counter(SCANNED, partition),
            count: 0,
            sealed: None,
            is_over: false,
        }))
    }
}

/// Counts rows and looks for the seal.
struct Opening {
    rows: SendableRecordBatchStream,
    schema: SchemaRef,
    scanned: Count,
    count: u64,
    /// What the seal said, once it has come.
    sealed: Option<u64>,
    is_over: bool,
}

impl Opening {
    /// The rows of a batch; `None` for the seal.
    fn open(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let own = self.schema.fields().len();
        if batch.num_columns() != own + COLUMNS.len() {
            return Err(broken(&format!("{} columns instead of {}", batch.num_columns(), own + COLUMNS.len())));
        }
        if self.sealed.is_some() {
            return Err(broken("rows after the end"));
        }
        let (rows, bytes) = (batch.column(own), batch.column(own + 1));
        if rows.null_count() == batch.num_rows() {
            self.count += batch.num_rows() as u64;
            let columns = batch.columns()[..own].to_vec();
            return Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?));
        }
        let value = |column: &ArrayRef| column.as_primitive_opt::<UInt64Type>().map(|values| values.value(0));
        let (Some(rows), Some(bytes), 1) = (value(rows), value(bytes), batch.num_rows()) else {
            return Err(broken("an end among rows"));
        };
        self.scanned.add(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.sealed = Some(rows);
        Ok(None)
    }

    fn check(&self) -> Result<()> {
        match self.sealed {
            Some(rows) if rows == self.count => Ok(()),
            Some(rows) => Err(broken(&format!("{} rows of {rows}", self.count))),
            None => Err(broken(&format!("it breaks off after {} rows", self.count))),
        }
    }
}

fn broken(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("the part of another node is not whole: {what}"))
}

impl Stream for Opening {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_over {
            let opened = match self.rows.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(batch)) => batch.and_then(|batch| self.open(&batch)),
                Poll::Ready(None) => {
                    self.is_over = true;
                    self.check().map(|()| None)
                }
            };
            self.is_over |= opened.is_err();
            if let Some(batch) = opened.transpose() {
                return Poll::Ready(Some(batch));
            }
        }
        Poll::Ready(None)
    }
}

impl RecordBatchStream for Opening {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    fn rows() -> (SchemaRef, Vec<RecordBatch>) {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt64, false)]));
        let batch = |values: Vec<u64>| {
            RecordBatch::try_new(schema.clone(), vec![Arc::new(UInt64Array::from(values))]).expect("one column")
        };
        let batches = vec![batch(vec![1, 2]), batch(vec![]), batch(vec![3])];
        (schema, batches)
    }

    async fn sealed() -> Vec<RecordBatch> {
        let (schema, batches) = rows();
        let source = MemorySourceConfig::try_new_exec(&[batches], schema, None).expect("rows");
        let stream = Sealed::new(source, Vec::new()).execute(0, Arc::default()).expect("a stream");
        stream.map(|batch| batch.expect("rows")).collect().await
    }

    /// What is made of batches from another node.
    async fn opened(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let (schema, _) = rows();
        let sealed = sealed_schema(&schema);
        let rows = RecordBatchStreamAdapter::new(sealed, futures::stream::iter(batches.into_iter().map(Ok)));
        let scanned = MetricBuilder::new(&ExecutionPlanMetricsSet::new()).counter(SCANNED, 0);
        let opening = Opening { rows: Box::pin(rows), schema, scanned, count: 0, sealed: None, is_over: false };
        opening.collect::<Vec<_>>().await.into_iter().collect()
    }

    #[tokio::test]
    async fn what_was_sealed_is_opened_as_it_was() {
        let (_, batches) = rows();
        assert_eq!(opened(sealed().await).await.expect("whole"), batches);
    }

    #[tokio::test]
    async fn whatever_is_missing_or_too_much_is_an_error() {
        let whole = sealed().await;
        for missing in 0..whole.len() {
            let mut batches = whole.clone();
            let left_out = batches.remove(missing);
            if left_out.num_rows() > 0 {
                opened(batches).await.expect_err("a batch is missing");
            }
        }
        opened(whole[..0].to_vec()).await.expect_err("nothing came");
        opened([whole.clone(), whole.clone()].concat()).await.expect_err("it came twice");
        let mut doubled = whole.clone();
        doubled.insert(0, whole[0].clone());
        opened(doubled).await.expect_err("a batch came twice");
    }
}
