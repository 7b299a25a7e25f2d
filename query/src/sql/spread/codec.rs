//! How our own nodes of a plan go to another node, as JSON inside the plan. Both ends are the same version of the program:
//! a node of another version is not asked (see [`super::nodes`]). Raise [`FORM`] when a form changes.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Deserialize, Serialize};
use shipwake_store::{SegmentId, SegmentPrint, Table};

use super::checked::Checked;
use super::seal::Sealed;

/// The number of these forms, and of everything else that has to be the same at both ends of a plan.
pub(super) const FORM: u32 = 1;

#[derive(Debug)]
pub(super) struct Codec;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    Checked(Vec<Segment>),
    Sealed,
}

#[derive(Serialize, Deserialize)]
struct Segment {
    table: String,
    shard: u32,
    seq: u64,
    part: u32,
    path: String,
    bytes: u64,
    crc32c: u32,
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
                let segments: Result<Vec<SegmentPrint>> = segments.into_iter().map(print).collect();
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
            Node::Checked(checked.segments.iter().map(segment).collect())
        } else {
            return Err(internal("not a node of ours"));
        };
        serde_json::to_writer(buf, &form).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(what.to_owned())
}

fn segment(print: &SegmentPrint) -> Segment {
    Segment {
        table: print.id.table.name().to_owned(),
        shard: print.id.shard,
        seq: print.id.seq,
        part: print.id.part,
        path: print.path.to_string(),
        bytes: print.bytes,
        crc32c: print.crc32c,
    }
}

fn print(segment: Segment) -> Result<SegmentPrint> {
    let table = Table::from_name(&segment.table).ok_or_else(|| internal("a segment of an unknown table"))?;
    let id = SegmentId { shard: segment.shard, seq: segment.seq, table, part: segment.part };
    Ok(SegmentPrint { id, path: segment.path.into(), bytes: segment.bytes, crc32c: segment.crc32c })
}
