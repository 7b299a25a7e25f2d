//! How our own nodes of a plan go to another node, as JSON inside the plan. Both ends are the same version of the program:
//! a node of another version is not asked (see [`super::nodes`]). Raise [`FORM`] when a form changes.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Deserialize, Serialize};
use shipwake_store::SegmentFile;

use super::checked::Checked;
use super::seal::Sealed;

/// The number of these forms, and of everything else that has to be the same at both ends of a plan.
pub(super) const FORM: u32 = 1;

#[derive(Debug)]
pub(super) struct Codec;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    /// Segments, as the store writes them.
    Checked(Vec<String>),
    Sealed,
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return Err(internal("a node of ours has one input")) };
        match serde_json::from_slice(buf).map_err(|error| DataFusionError::External(Box::new(error)))? {
            Node::Sealed => Ok(Arc::new(Sealed::new(input.clone(), Vec::new()))),
            Node::Checked(segments) => {
                let read = |text: &String| SegmentFile::from_text(text).map_err(|reason| internal(&reason));
                let segments: Result<Vec<SegmentFile>> = segments.iter().map(read).collect();
                Ok(Arc::new(Checked { input: input.clone(), segments: segments?.into() }))
            }
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let form = if node.is::<Sealed>() {
            Node::Sealed
        } else if let Some(checked) = node.downcast_ref::<Checked>() {
            Node::Checked(checked.segments.iter().map(SegmentFile::to_text).collect())
        } else {
            return Err(internal("not a node of ours"));
        };
        serde_json::to_writer(buf, &form).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(what.to_owned())
}
