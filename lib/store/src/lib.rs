//! What is published is visible, atomic and never changes.
//!
//! The aggregator commits rows, state and journal position of a shard in one step ([`ShardCommitter::commit`]); readers
//! see segments and hot rows as one [`Snapshot`]. Bytes on disk are described in `FORMAT.md`.
//!
//! - [`tables`]: the tables and their columns.
//! - [`chunk`]: rows in memory with their resources kept once.
//! - [`store`]: opening a directory, snapshots, reading segments.
//! - [`candidates`]: which rows of a segment a search has to look at.
//! - [`commit`], `sort`, `encode`, `attempt`: the writer of a shard and the segments it writes; `bloom` and `index` lie beside them.
//!   `resources`, `gather`: what `sort` puts together; `row_groups`, `resource_column`: what `encode` writes as Parquet.
//! - `manifest`, `state`, `superblock`: the other files; `recover`: reading them again; `reaper`: removing segments.
//! - [`durable`], [`s3`], `objects`: the object store below; `lock`: one process per directory.
//! - [`compact`], [`retention`]: what becomes of segments with time.
//! - [`hot`], [`health`], [`measures`], [`patterns`]: what the aggregator's shards lend to readers.
//! - [`follow`], [`elsewhere`]: shards that other processes write: what they publish, and whom a reader asks for the rest.
//! - [`scan`]: reading parts of a segment; `parts`, `checked`: how what is read is checked; `counts`: lines that need not be read to be counted.
//! - [`aside`]: segments that are damaged.
//! - [`check`]: the offline check of a directory or a bucket.

pub mod aside;
mod attempt;
mod bloom;
pub mod candidates;
pub mod check;
mod checked;
pub mod chunk;
pub mod commit;
pub mod compact;
pub mod config;
mod counts;
pub mod durable;
pub mod elsewhere;
mod encode;
pub mod error;
pub mod follow;
mod gather;
pub mod health;
pub mod hot;
mod index;
mod lock;
mod loss;
mod manifest;
pub mod markers;
pub mod measures;
mod metrics;
mod objects;
mod parts;
pub mod patterns;
mod proposals;
mod read;
mod reaper;
mod recover;
mod resource_column;
mod resources;
pub mod retention;
mod row_groups;
pub mod s3;
pub mod scan;
pub mod segment;
mod shared;
mod side;
mod sort;
mod state;
pub mod store;
mod superblock;
pub mod tables;

pub use aside::LostSegment;
pub use candidates::{Candidates, Wanted};
pub use check::{Checked, Committed, Finding, Severity, check, check_bucket};
pub use chunk::RowChunk;
pub use commit::{Commit, Recovered, ShardCommitter};
pub use compact::background::Background;
pub use config::{Compaction, StoreConfig};
pub use elsewhere::{Elsewhere, Incomplete};
pub use error::StoreError;
pub use follow::{Follower, Published};
pub use health::{HealthCell, HealthQuery, HealthSeries, SlotSeries, merge_health, merge_slots};
pub use hot::{HotRows, HotShard, Rejected, ReleaseRow, ShardSnapshot, ShardStatus, Snapshot};
pub use lock::DirectoryLock;
pub use markers::{MarkerQuery, MarkerRow, VerdictRow, merge_markers, merge_verdicts};
pub use measures::{
    MeasureCell, MeasureKey, MeasureQuery, MeasureSeries, ToggleRow, UsageOfDay, merge_measures, merge_toggles,
    merge_usage,
};
pub use patterns::{PatternCell, PatternQuery, PatternRow, PatternVersion, merge_patterns};
pub use recover::ReadSoFar;
pub use retention::{Retention, ServiceRetention};
pub use scan::{RowGroup, SegmentReader};
pub use segment::{SegmentFile, SegmentId, SideFile, Window};
pub use store::{Store, merge_releases};
pub use tables::Table;
