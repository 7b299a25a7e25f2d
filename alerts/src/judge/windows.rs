//! What the judge reads: the recent windows of all shards. A trait, so that tests tell stories without a store.

use std::sync::Arc;
use std::time::Instant;

use shipwake_store::{
    HealthQuery, HealthSeries, MarkerQuery, MarkerRow, MeasureQuery, MeasureSeries, PatternQuery, PatternRow,
    ReleaseRow, ShardStatus, SlotSeries, Store,
};

/// Recent windows. Calls may block for as long as other processes take to answer.
pub trait Windows: Send + Sync {
    /// See [`Store::releases`].
    fn releases(&self) -> Vec<ReleaseRow>;
    /// See [`Store::health`].
    fn health(&self, query: &HealthQuery) -> Vec<HealthSeries>;
    /// See [`Store::slots`].
    fn slots(&self, query: &HealthQuery) -> Vec<SlotSeries>;
    /// See [`Store::patterns`].
    fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow>;
    /// See [`Store::measures`].
    fn measures(&self, query: &MeasureQuery) -> Vec<MeasureSeries>;
    /// See [`Store::markers`].
    fn markers(&self, query: &MarkerQuery) -> Vec<MarkerRow>;
    /// See [`Store::status`].
    fn status(&self) -> Vec<ShardStatus>;
    /// Whether some shard could not be asked at some time since.
    fn is_incomplete(&self, since: Instant) -> bool;
}

impl Windows for Arc<Store> {
    fn releases(&self) -> Vec<ReleaseRow> {
        Store::releases(self)
    }

    fn health(&self, query: &HealthQuery) -> Vec<HealthSeries> {
        Store::health(self, query)
    }

    fn slots(&self, query: &HealthQuery) -> Vec<SlotSeries> {
        Store::slots(self, query)
    }

    fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow> {
        Store::patterns(self, query)
    }

    fn measures(&self, query: &MeasureQuery) -> Vec<MeasureSeries> {
        Store::measures(self, query)
    }

    fn markers(&self, query: &MarkerQuery) -> Vec<MarkerRow> {
        Store::markers(self, query)
    }

    fn status(&self) -> Vec<ShardStatus> {
        Store::status(self)
    }

    fn is_incomplete(&self, since: Instant) -> bool {
        !self.incomplete(since).is_empty()
    }
}

/// A watermark may stay a minute behind the newest event because of a few senders that hold records for so long. What they bring is
/// counted when it comes; it need not keep a verdict back.
const LATE_SENDERS_MS: i64 = 15_000;

/// How complete data is at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completeness {
    /// Event time up to which it is, ms; `None` before the first record.
    pub until_ms: Option<i64>,
    /// The same for counts that may still be raised: up to so little before the newest event, whatever a few late senders do.
    pub nearly_ms: Option<i64>,
    /// Every shard answers, and has caught up.
    pub is_whole: bool,
    /// Records that were folded: rises whenever there is something new.
    pub folded: u64,
}

/// How complete the shards are. One that never had a record keeps nobody waiting.
pub(crate) fn completeness(shards: &[ShardStatus], is_incomplete: bool) -> Completeness {
    let told = || shards.iter().filter(|shard| shard.watermark_ns != i64::MIN);
    let ms = |ns: i64| ns.div_euclid(1_000_000);
    let nearly = |shard: &ShardStatus| ms(shard.watermark_ns).max(ms(shard.newest_event_ns) - LATE_SENDERS_MS);
    Completeness {
        until_ms: told().map(|shard| ms(shard.watermark_ns)).min(),
        nearly_ms: told().map(nearly).min(),
        is_whole: !is_incomplete && shards.iter().all(|shard| shard.ready),
        folded: shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.next_offset)),
    }
}
