//! How far the data has come: one watermark for all shards. Pure.

use shipwake_store::ShardStatus;

/// The event time in ms up to which everything that arrived has been folded; `None` while there is no data.
///
/// A shard that has folded all its journal holds does not hold the others back, however long ago its last record was. One
/// that is behind does.
pub(crate) fn watermark_ms(shards: &[ShardStatus]) -> Option<i64> {
    let with_data = || shards.iter().filter(|shard| newest_ns(shard) > 0);
    let behind = with_data().filter(|shard| shard.next_offset < shard.journal_end).map(newest_ns).min();
    let newest = with_data().map(newest_ns).max();
    behind.or(newest).map(|ns| ns.div_euclid(1_000_000))
}

/// The newest plausible event; the shard's own watermark stays behind it to wait for late records.
fn newest_ns(shard: &ShardStatus) -> i64 {
    shard.newest_event_ns.max(shard.watermark_ns)
}

/// How long ago that was.
pub(crate) fn lag_ms(watermark_ms: Option<i64>, now_ms: i64) -> Option<i64> {
    watermark_ms.map(|watermark_ms| (now_ms - watermark_ms).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(newest_s: i64, behind: bool) -> ShardStatus {
        ShardStatus {
            newest_event_ns: newest_s * 1_000_000_000,
            next_offset: 5,
            journal_end: if behind { 9 } else { 5 },
            ..ShardStatus::default()
        }
    }

    #[test]
    fn an_idle_shard_holds_nothing_back_and_a_late_one_does() {
        assert_eq!(watermark_ms(&[]), None);
        assert_eq!(watermark_ms(&[shard(0, false)]), None);
        assert_eq!(watermark_ms(&[shard(100, false), shard(10, false), shard(0, false)]), Some(100_000));
        assert_eq!(watermark_ms(&[shard(100, false), shard(10, true)]), Some(10_000));
        assert_eq!(lag_ms(Some(5), 3), Some(0), "a clock that runs ahead is no negative lag");
    }
}
