//! A scan of segments in which whatever is read is checked, and which ends when the time of its statement is over, on whichever
//! node it runs.
//!
//! A scan comes with the descriptions of its segments, so that a node which has not looked at the newest manifest yet checks
//! the very bytes that the asker's snapshot lists. How they are checked is known as long as the descriptions are held, which is
//! to the last row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::memory::DataSourceExec;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::{StreamExt, TryStreamExt};
use shipwake_store::{SegmentFile, Store};

use crate::sql::one_input::has_one_input;

/// What a scan needs of the node that it runs on; an extension of its session.
pub(super) struct Reading {
    pub store: Arc<Store>,
    /// When its work is of no use to anybody any more.
    pub deadline: Instant,
}

/// `input` is a scan, of these segments at the most.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub input: Arc<dyn ExecutionPlan>,
    pub segments: Arc<[SegmentFile]>,
}

/// The scan that a node is, when it is one of files.
pub(super) fn scan_of(node: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    node.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

impl Checked {
    /// What `scan` reads, among all segments of a snapshot. An error when it reads something else.
    pub fn new(scan: Arc<dyn ExecutionPlan>, all: &HashMap<Arc<str>, SegmentFile>) -> Result<Self> {
        let config = scan_of(scan.as_ref()).ok_or_else(|| internal("a scan of segments is not one".to_owned()))?;
        let paths =
            config.file_groups.iter().flat_map(|group| group.files()).map(|file| file.object_meta.location.as_ref());
        let mut segments = Vec::new();
        for path in paths {
            let known = all.get(path).ok_or_else(|| internal(format!("{path} is not in the snapshot")))?;
            if !segments.iter().any(|segment: &SegmentFile| segment.path == known.path) {
                segments.push(known.clone());
            }
        }
        Ok(Self { input: scan, segments: segments.into() })
    }
}

fn internal(what: String) -> DataFusionError {
    DataFusionError::Internal(what)
}

impl DisplayAs for Checked {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checked: segments={}", self.segments.len())
    }
}

impl ExecutionPlan for Checked {
    fn name(&self) -> &str {
        "Checked"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
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
        Ok(Arc::new(Self { input: children.swap_remove(0), segments: self.segments.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reading = context.session_config().get_extension::<Reading>();
        let reading = reading.ok_or_else(|| internal("a scan runs in a session without a store".to_owned()))?;
        // All of them for every stream: streams of a scan take files from each other.
        let (segments, input, deadline) = (self.segments.clone(), self.input.clone(), reading.deadline);
        let held = segments.clone();
        let checked = async move {
            let known = move || segments.iter().try_for_each(|segment| reading.store.know_segment(segment));
            let known = tokio::task::spawn_blocking(known).await;
            let known = known.map_err(|error| DataFusionError::External(Box::new(error)))?;
            known.map_err(|error| DataFusionError::External(Box::new(error)))?;
            input.execute(partition, context)
        };
        let rows = futures::stream::once(checked).try_flatten().map(move |batch| {
            let _ = &held;
            // Whoever asked has been told already, or is gone without a word: this only ends the work.
            if Instant::now() > deadline {
                return Err(DataFusionError::Execution("the time of the query is over".to_owned()));
            }
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
