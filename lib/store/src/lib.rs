//! What is published is visible, atomic and never changes.
//!
//! The aggregator commits rows, state and journal position of a shard in one step ([`ShardCommitter::commit`]); readers
//! see segments and hot rows as one [`Snapshot`]. Bytes on disk are described in `FORMAT.md`.
//!
//! - [`tables`]: the tables and their columns.
//! - [`chunk`]: rows in memory with their resources kept once.
//! - [`store`]: opening a directory, snapshots, reading segments.
//! - [`commit`], `merge`, `sort`, `encode`: the writer of a shard and the segments it writes.
//! - `manifest`, `state`, `superblock`: the other files; `recover`: reading them again; `reaper`: removing segments.
//! - [`durable`], `objects`: the object store below; `lock`: one process per directory.
//! - [`hot`], [`health`], [`patterns`]: what the aggregator's shards lend to readers.
//! - [`check`]: the offline check of a directory.

pub mod check;
pub mod chunk;
pub mod commit;
pub mod config;
pub mod durable;
mod encode;
pub mod error;
pub mod health;
pub mod hot;
mod lock;
mod manifest;
mod merge;
mod metrics;
mod objects;
pub mod patterns;
mod read;
mod reaper;
mod recover;
pub mod segment;
mod shared;
mod sort;
mod state;
pub mod store;
mod superblock;
pub mod tables;

pub use check::{Checked, Committed, Finding, Severity, check};
pub use chunk::RowChunk;
pub use commit::{Commit, Recovered, ShardCommitter};
pub use config::{Retention, StoreConfig};
pub use error::StoreError;
pub use health::{HealthCell, HealthQuery, HealthSeries};
pub use hot::{HotRows, HotShard, Rejected, ReleaseRow, ShardSnapshot, ShardStatus, Snapshot};
pub use patterns::{PatternCell, PatternQuery, PatternRow, PatternVersion};
pub use segment::{SegmentFile, SegmentId};
pub use store::Store;
pub use tables::Table;
