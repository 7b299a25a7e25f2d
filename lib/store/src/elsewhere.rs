//! Shards whose hot state other processes have, as a reader asks for them. The store merges their answers with those of the shards
//! that this process folds itself; who asks over the network is not known here.
//!
//! A shard that cannot be asked is never left out silently: its stored files still answer, and it is named.

use std::sync::Arc;
use std::time::Instant;

use crate::Table;
use crate::health::{HealthQuery, HealthSeries, SlotSeries};
use crate::hot::{ReleaseRow, ShardSnapshot, ShardStatus};
use crate::markers::{MarkerQuery, MarkerRow, VerdictRow};
use crate::measures::{MeasureQuery, MeasureSeries, ToggleRow, UsageOfDay};
use crate::patterns::{PatternQuery, PatternRow};

/// A shard of which an answer lacks something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The shard.
    pub shard: u32,
    /// Since when its hot state is missing, epoch ms.
    pub since_ms: i64,
    /// Why, in words.
    pub reason: Arc<str>,
}

/// The shards that other processes fold. `here` are those that this process has registered itself: they are left out.
///
/// Calls may wait for another process, for two seconds at the most, unless they say otherwise: they belong on threads that may block.
pub trait Elsewhere: Send + Sync {
    /// All shards with the hot rows of these tables; those that cannot be asked with their stored files alone, and named.
    fn snapshot(&self, tables: &[Table], here: &[u32]) -> (Vec<ShardSnapshot>, Vec<Incomplete>);
    /// See [`crate::HotShard::health`]; several answers.
    fn health(&self, query: &HealthQuery, here: &[u32]) -> Vec<Vec<HealthSeries>>;
    /// See [`crate::HotShard::slots`]; several answers.
    fn slots(&self, query: &HealthQuery, here: &[u32]) -> Vec<Vec<SlotSeries>>;
    /// See [`crate::HotShard::patterns`]; several answers.
    fn patterns(&self, query: &PatternQuery, here: &[u32]) -> Vec<Vec<PatternRow>>;
    /// See [`crate::HotShard::measures`]; several answers in one.
    fn measures(&self, query: &MeasureQuery, here: &[u32]) -> Vec<MeasureSeries>;
    /// See [`crate::HotShard::usage_of_day`]; several answers in one.
    fn usage_of_day(&self, service: &str, environment: &str, here: &[u32]) -> Vec<UsageOfDay>;
    /// See [`crate::HotShard::toggles`]; several answers in one.
    fn toggles(&self, place: Option<(&str, &str)>, here: &[u32]) -> Vec<ToggleRow>;
    /// See [`crate::HotShard::markers`]; several answers in one.
    fn markers(&self, query: &MarkerQuery, here: &[u32]) -> Vec<MarkerRow>;
    /// See [`crate::HotShard::verdicts`]; several answers in one.
    fn verdicts(&self, query: &MarkerQuery, here: &[u32]) -> Vec<VerdictRow>;
    /// See [`crate::HotShard::releases`]; several answers in one. What is known of shards that cannot be asked is as it was.
    fn releases(&self, here: &[u32]) -> Vec<ReleaseRow>;
    /// As of a moment ago. Never waits. Shards that cannot be asked are as they were.
    fn status(&self, here: &[u32]) -> Vec<ShardStatus>;
    /// The shards that cannot be asked, or could not be asked at some time since `since`. Never waits.
    fn incomplete(&self, since: Instant, here: &[u32]) -> Vec<Incomplete>;
}
