//! Where a plan is cut: which of its parts are computed on several nodes, each over its own segments.
//!
//! A part is a scan of segments with operators above it that look at one row, or at one stream of rows, at a time and make
//! few rows of many: filters, columns, the first half of an aggregation, the first few of an order. Only those are cut off,
//! by name; whatever else is in a plan, joins and windows and the second half of everything, stays where the statement was
//! asked. So do hot rows: an operator above a union of stored and hot rows is one above each of them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};
use datafusion_distributed::{DistributedLeafExec, NetworkCoalesceExec};
use shipwake_store::SegmentFile;
use url::Url;

use super::checked::{Checked, scan_of};
use super::seal::{Opened, Sealed};
use super::shares;
use crate::sql::session::segments_url;

/// By whom and under which conditions.
pub(super) struct Nodes<'a> {
    /// All nodes that compute, the asked one among them; at least two.
    pub urls: &'a [Url],
    /// Bytes of segments below which a part stays here.
    pub bytes_min: u64,
    /// Streams that a node reads its segments in.
    pub partitions: usize,
    /// The segments of the snapshot by their paths.
    pub segments: &'a HashMap<Arc<str>, SegmentFile>,
}

/// The plan with its parts cut off, and how many nodes compute it; `None` when nothing of it is worth it.
pub(super) fn cut(plan: &Arc<dyn ExecutionPlan>, nodes: &Nodes<'_>) -> Result<Option<(Arc<dyn ExecutionPlan>, usize)>> {
    // What it says about the plan would be about less than the plan.
    if plan.is::<AnalyzeExec>() {
        return Ok(None);
    }
    let mut most = 0;
    let changed = Arc::clone(plan).transform_down(|node| {
        let Some(parts) = parts(&node) else { return Ok(Transformed::no(node)) };
        let Some((replaced, count)) = spread(&node, parts, nodes)? else { return Ok(Transformed::no(node)) };
        most = most.max(count);
        Ok(Transformed::new(replaced, true, TreeNodeRecursion::Jump))
    })?;
    Ok((most > 0).then_some((changed.data, most)))
}

/// The plan with every scan of segments checked, for those that stay here.
pub(super) fn checked_here(
    plan: Arc<dyn ExecutionPlan>,
    segments: &HashMap<Arc<str>, SegmentFile>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let checked = plan.transform_up(|node| match is_scan_of_segments(node.as_ref()) {
        true => Ok(Transformed::yes(Arc::new(Checked::new(node, segments)?) as Arc<dyn ExecutionPlan>)),
        false => Ok(Transformed::no(node)),
    })?;
    Ok(checked.data)
}

fn is_scan_of_segments(node: &dyn ExecutionPlan) -> bool {
    scan_of(node).is_some_and(|scan| scan.object_store_url == segments_url())
}

/// A part of a plan, taken apart.
struct Parts {
    scans: Vec<Branch>,
    /// What does not come from segments.
    rest: Vec<Arc<dyn ExecutionPlan>>,
    /// Few rows come out of many.
    reduces: bool,
}

/// A scan and the operators above it, from the lowest one up.
struct Branch {
    scan: Arc<dyn ExecutionPlan>,
    operators: Vec<Arc<dyn ExecutionPlan>>,
}

/// `None` when there is something in it that is not known to be the same over a part of the rows.
fn parts(node: &Arc<dyn ExecutionPlan>) -> Option<Parts> {
    if is_scan_of_segments(node.as_ref()) {
        let branch = Branch { scan: node.clone(), operators: Vec::new() };
        return Some(Parts { scans: vec![branch], rest: Vec::new(), reduces: false });
    }
    if node.is::<UnionExec>() {
        return union_parts(node);
    }
    let (may, reduces) = may_be_pushed(node.as_ref());
    if !may {
        return None;
    }
    let mut parts = parts(node.children().first()?)?;
    for branch in &mut parts.scans {
        branch.operators.push(node.clone());
    }
    parts.rest = parts.rest.into_iter().map(|input| above(node, input).ok()).collect::<Option<_>>()?;
    parts.reduces |= reduces;
    Some(parts)
}

/// One level of unions: that of stored and hot rows. In one that a person wrote, branches may reduce or not.
fn union_parts(node: &Arc<dyn ExecutionPlan>) -> Option<Parts> {
    let mut all = Parts { scans: Vec::new(), rest: Vec::new(), reduces: false };
    for child in node.children() {
        match parts(child) {
            Some(of_child) if !of_child.reduces => {
                all.scans.extend(of_child.scans);
                all.rest.extend(of_child.rest);
            }
            _ => all.rest.push(child.clone()),
        }
    }
    (!all.scans.is_empty()).then_some(all)
}

/// Whether an operator over a union is the union of operators, and whether it makes few rows of many.
fn may_be_pushed(node: &dyn ExecutionPlan) -> (bool, bool) {
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        // Whether it may rely on an order is found out anew above each input: a column that has one value is in order.
        let partial = *aggregate.mode() == AggregateMode::Partial;
        return (partial, partial);
    }
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        let first_few = sort.preserve_partitioning() && sort.fetch().is_some();
        return (first_few, first_few);
    }
    let passes = node.is::<FilterExec>()
        || node.is::<ProjectionExec>()
        || node.is::<CooperativeExec>()
        || node.is::<LocalLimitExec>();
    (passes, false)
}

fn above(operator: &Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    operator.clone().replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// What stands in the place of `node`, and how many nodes compute it.
fn spread(
    node: &Arc<dyn ExecutionPlan>,
    parts: Parts,
    nodes: &Nodes<'_>,
) -> Result<Option<(Arc<dyn ExecutionPlan>, usize)>> {
    // Whatever is above a single stream may rely on there being one; above several there is something that merges them.
    if !parts.reduces || node.output_partitioning().partition_count() < 2 {
        return Ok(None);
    }
    let (mut inputs, mut most) = (parts.rest, 0);
    for branch in parts.scans {
        let scan = scan_of(branch.scan.as_ref()).expect("was found as one");
        let files: Vec<&PartitionedFile> = scan.file_groups.iter().flat_map(|group| group.files()).collect();
        let pieces: Vec<(&str, u64)> =
            files.iter().map(|file| (file.object_meta.location.as_ref(), file.effective_size())).collect();
        let bytes = pieces.iter().map(|(_, bytes)| bytes).sum();
        let original = over(&branch.operators, branch.scan.clone())?;
        if !shares::pays(bytes, pieces.len(), nodes.bytes_min) {
            inputs.push(original);
            continue;
        }
        let names: Vec<String> = nodes.urls.iter().map(Url::to_string).collect();
        let node_of = shares::assign(&pieces, &names);
        let files_of =
            |node: usize| files.iter().zip(&node_of).filter(move |(_, of)| **of == node).map(|(file, _)| *file);
        let shares: Vec<(Url, Vec<&PartitionedFile>)> = (nodes.urls.iter().enumerate())
            .map(|(node, url)| (url.clone(), files_of(node).collect::<Vec<_>>()))
            .filter(|(_, files)| !files.is_empty())
            .collect();
        if shares.len() < 2 {
            inputs.push(original);
            continue;
        }
        most = most.max(shares.len());
        inputs.push(remote(&branch, scan, &shares, &original, nodes)?);
    }
    if most == 0 {
        return Ok(None);
    }
    let replaced = if inputs.len() == 1 { inputs.remove(0) } else { UnionExec::try_new(inputs)? };
    // Whatever is above was planned for these very columns.
    Ok((replaced.schema() == node.schema()).then_some((replaced, most)))
}

fn over(operators: &[Arc<dyn ExecutionPlan>], input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    operators.iter().try_fold(input, |input, operator| above(operator, input))
}

/// The branch as a stage with a task for each share.
fn remote(
    branch: &Branch,
    scan: &FileScanConfig,
    shares: &[(Url, Vec<&PartitionedFile>)],
    original: &Arc<dyn ExecutionPlan>,
    nodes: &Nodes<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let largest = shares.iter().map(|(_, files)| files.len()).max().unwrap_or(1);
    // All tasks of a stage have as many streams; those of one with few files are empty.
    let streams = nodes.partitions.clamp(1, largest);
    let mut variants: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
    for (_, files) in shares {
        let mut variant = scan.clone();
        variant.file_groups = groups(files, streams);
        let variant: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(variant);
        variants.push(Arc::new(Checked::new(variant, nodes.segments)?));
    }
    let leaf = DistributedLeafExec::try_new(branch.scan.clone(), variants)?;
    let sealed =
        Sealed::new(over(&branch.operators, Arc::new(leaf))?, shares.iter().map(|share| share.0.clone()).collect());
    let network = NetworkCoalesceExec::try_new(Arc::new(sealed), shares.len(), 1)?;
    Ok(Arc::new(Opened::new(Arc::new(network), original.as_ref())))
}

/// Files in exactly `count` groups of about equal size.
fn groups(files: &[&PartitionedFile], count: usize) -> Vec<FileGroup> {
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
    let mut files = files.to_vec();
    files.sort_by_key(|file| std::cmp::Reverse(file.effective_size()));
    for file in files {
        let smallest = groups.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("there is at least one group");
        smallest.0 += file.effective_size();
        smallest.1.push(file.clone());
    }
    groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
}
