//! The newest records of a partition, in memory, bounded in bytes: readers that keep up never touch the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::journal::{HEADER_WEIGHT, Stored};

/// Consecutive records that end at the end of the partition.
pub(super) struct TailCache {
    records: VecDeque<Arc<Stored>>,
    weight: usize,
    weight_max: usize,
}

impl TailCache {
    pub(super) fn new(weight_max: usize) -> Self {
        Self { records: VecDeque::new(), weight: 0, weight_max }
    }

    /// Adds the newest record and returns what had to go, to be dropped where no lock is held.
    pub(super) fn push(&mut self, record: Arc<Stored>, evicted: &mut Vec<Arc<Stored>>) {
        debug_assert!(self.records.back().is_none_or(|last| last.offset + 1 == record.offset));
        self.weight += weight(&record);
        self.records.push_back(record);
        while self.weight > self.weight_max {
            let Some(oldest) = self.records.pop_front() else { break };
            self.weight -= weight(&oldest);
            evicted.push(oldest);
        }
    }

    /// Records from `from` on, at least one and up to `max_bytes` of values; `None` when `from` is not here.
    pub(super) fn get(&self, from: u64, max_bytes: usize) -> Option<Vec<Arc<Stored>>> {
        let first = self.records.front()?.offset;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        if skip >= self.records.len() {
            return None;
        }
        let mut left = max_bytes;
        let mut found = Vec::new();
        for record in self.records.range(skip..) {
            if !found.is_empty() && record.value.len() > left {
                break;
            }
            left = left.saturating_sub(record.value.len());
            found.push(Arc::clone(record));
        }
        Some(found)
    }
}

fn weight(record: &Stored) -> usize {
    record.value.len() + HEADER_WEIGHT
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shipwake_model::Signal;

    use super::*;
    use crate::journal::Header;

    fn stored(offset: u64, bytes: usize) -> Arc<Stored> {
        let header = Header {
            tenant: "t".into(),
            signal: Signal::Logs,
            received_ns: 0,
            records: 1,
            time_min_ns: 0,
            time_max_ns: 0,
            request_hash: None,
        };
        Arc::new(Stored { offset, header, value: Bytes::from(vec![0; bytes]) })
    }

    #[test]
    fn the_newest_records_stay_within_the_bound() {
        let mut cache = TailCache::new(3 * (100 + HEADER_WEIGHT));
        let mut evicted = Vec::new();
        for offset in 0..10 {
            cache.push(stored(offset, 100), &mut evicted);
        }
        assert_eq!(evicted.len(), 7);
        assert!(cache.get(6, 1000).is_none());
        assert_eq!(cache.get(7, 1000).unwrap().len(), 3);
        assert_eq!(cache.get(8, 1).unwrap()[0].offset, 8);
        assert!(cache.get(10, 1000).is_none());
        cache.push(stored(10, 10_000), &mut evicted);
        assert!(cache.get(10, 1000).is_none(), "larger than the cache itself");
        assert_eq!(cache.weight, 0);
    }
}
