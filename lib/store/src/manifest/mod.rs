//! Manifests: the numbered, create-only files whose presence makes a commit visible.
//!
//! A manifest says what a commit changed. Every [`SNAPSHOT_EVERY`]th lists all live segments besides, so that reading a
//! shard means reading at most that many small files, however long it has run.

mod chain;
mod wire;

use std::sync::Arc;

use crate::{LostSegment, SegmentFile, SegmentId};

pub(crate) use chain::{Chain, apply, newest_seq, read, read_chain, superseded};
pub(crate) use wire::{decode, encode, newer_version, segment_of, segment_text, version_known};

/// Every how many manifests one lists all live segments.
pub(crate) const SNAPSHOT_EVERY: u64 = 64;

/// One commit, as its manifest says it.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) shard: u32,
    pub(crate) seq: u64,
    /// Random per committer: tells our own commit, whose answer was lost, from another writer's.
    pub(crate) writer: u64,
    /// Where others reach the writer's process, a base URL; `None` where there is one process.
    pub(crate) owner: Option<Arc<str>>,
    /// The journal that the offsets are of, if it has a name.
    pub(crate) journal: Option<u128>,
    pub(crate) next_offset: u64,
    pub(crate) watermark_ns: i64,
    pub(crate) committed_ns: i64,
    pub(crate) state: StateFile,
    pub(crate) added: Vec<SegmentFile>,
    pub(crate) dropped: Vec<SegmentId>,
    /// What the commit before has changed, so that losing one manifest loses nothing. Manifests of older versions do not have it.
    pub(crate) before: Option<Delta>,
    /// Live segments that were damaged when this was written. What they cost is said again after a restart.
    pub(crate) lost: Vec<LostSegment>,
    /// All live segments after this commit; in every [`SNAPSHOT_EVERY`]th manifest.
    pub(crate) snapshot: Option<Arc<[SegmentFile]>>,
}

/// What a commit changed in the list of live segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    pub(crate) added: Vec<SegmentFile>,
    pub(crate) dropped: Vec<SegmentId>,
}

/// The state that belongs to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateFile {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

/// Where the manifests of all shards are, a folder for each.
pub(crate) const FOLDER: &str = "manifest";

/// Where the manifests of a shard are.
pub(crate) fn folder(shard: u32) -> String {
    format!("{FOLDER}/{shard}")
}

/// Where a manifest is.
pub(crate) fn path(shard: u32, seq: u64) -> String {
    format!("{FOLDER}/{shard}/{seq:020}.json")
}

/// The sequence number in a manifest's path.
pub(crate) fn seq_of(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.strip_suffix(".json")?.parse().ok()
}
