//! What has been read ahead of one partition and not been taken yet: consecutive records from a position on, bounded in
//! bytes. Pure: the consumer's thread puts in, a reader takes out, and both are told what follows from it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::journal::{HEADER_WEIGHT, Stored};

/// Records from `start` up to `next`.
#[derive(Debug)]
pub(super) struct Window {
    /// The first offset that can be taken; `None` before anything was asked for.
    start: Option<u64>,
    /// The offset that is due.
    next: u64,
    records: VecDeque<Arc<Stored>>,
    bytes: usize,
    bytes_max: usize,
}

/// What became of a record that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in.
    Kept,
    /// It is not wanted: nothing was asked for, or it has been read before.
    Passed,
    /// Another offset is due: what lies in between is missing.
    Gap {
        /// The offset that is due.
        due: u64,
    },
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Found {
    /// Records, at least one.
    Records(Vec<Arc<Stored>>),
    /// The window ends where the reader wants to begin: what comes next is for it.
    Due,
    /// The window is somewhere else.
    Elsewhere,
}

impl Window {
    pub(super) fn new(bytes_max: usize) -> Self {
        Window { start: None, next: 0, records: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// From now on records from `from` on are wanted, and nothing else.
    pub(super) fn begin(&mut self, from: u64) {
        self.records.clear();
        (self.start, self.next, self.bytes) = (Some(from), from, 0);
    }

    /// There is nothing before `offset`.
    pub(super) fn pass_to(&mut self, offset: u64) {
        self.next = self.next.max(offset);
    }

    /// From now on nothing is wanted.
    pub(super) fn forget(&mut self) {
        self.records.clear();
        (self.start, self.bytes) = (None, 0);
    }

    /// The offset that is due, if anything was asked for.
    pub(super) fn due(&self) -> Option<u64> {
        self.start.map(|_| self.next)
    }

    /// Takes in what was read. A record that comes is kept even when it is one too many: it has been read already.
    pub(super) fn put(&mut self, record: Arc<Stored>) -> Put {
        if self.start.is_none() || record.offset < self.next {
            return Put::Passed;
        }
        if record.offset > self.next {
            return Put::Gap { due: self.next };
        }
        self.next += 1;
        self.bytes += weight(&record);
        self.records.push_back(record);
        Put::Kept
    }

    /// Records from `from` on, at least one and no more than `max_bytes` of values; what lies before `from` is forgotten.
    pub(super) fn take(&mut self, from: u64, max_bytes: usize) -> Found {
        if self.start.is_none_or(|start| from < start) || from > self.next {
            return Found::Elsewhere;
        }
        while self.records.front().is_some_and(|record| record.offset < from) {
            self.bytes -= self.records.pop_front().map_or(0, |record| weight(&record));
        }
        self.start = Some(from);
        if from == self.next {
            return Found::Due;
        }
        let mut left = max_bytes;
        let mut found = Vec::new();
        for record in &self.records {
            if !found.is_empty() && record.value.len() > left {
                break;
            }
            left = left.saturating_sub(record.value.len());
            found.push(record.clone());
        }
        Found::Records(found)
    }

    /// Whether reading ahead should stop for a while.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Whether reading ahead should go on: well below the bound, because stopping and going on has its price.
    pub(super) fn has_room(&self) -> bool {
        self.bytes <= self.bytes_max / 2
    }
}

fn weight(record: &Stored) -> usize {
    record.value.len() + HEADER_WEIGHT
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::kafka::message;

    fn stored(offset: u64, bytes: usize) -> Arc<Stored> {
        Arc::new(Stored { offset, header: message::nothing(0), value: Bytes::from(vec![0; bytes]) })
    }

    fn offsets(found: &Found) -> Vec<u64> {
        let Found::Records(records) = found else { return Vec::new() };
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn nothing_is_kept_before_it_is_asked_for() {
        let mut window = Window::new(1000);
        assert_eq!(window.put(stored(0, 1)), Put::Passed);
        assert!(matches!(window.take(0, 10), Found::Elsewhere));
        window.begin(5);
        assert!(matches!(window.take(5, 10), Found::Due));
        assert_eq!(window.put(stored(4, 1)), Put::Passed);
        assert_eq!(window.put(stored(5, 1)), Put::Kept);
        assert_eq!(window.put(stored(5, 1)), Put::Passed);
        assert_eq!(window.put(stored(7, 1)), Put::Gap { due: 6 });
        assert_eq!(offsets(&window.take(5, 10)), [5]);
        assert_eq!(offsets(&window.take(5, 10)), [5], "what was taken can be taken again");
        assert!(matches!(window.take(6, 10), Found::Due));
        assert!(matches!(window.take(5, 10), Found::Elsewhere), "until something behind it was");
    }

    #[test]
    fn reading_ahead_is_bounded_with_room_between_stop_and_go() {
        let mut window = Window::new(10 * (100 + HEADER_WEIGHT));
        window.begin(0);
        for offset in 0..10 {
            assert!(!window.is_full());
            window.put(stored(offset, 100));
        }
        assert!(window.is_full() && !window.has_room());
        window.take(4, 1);
        assert!(!window.is_full() && !window.has_room());
        window.take(5, 1);
        assert!(window.has_room());
        window.begin(0);
        assert!(window.has_room());
    }

    proptest! {
        /// Whatever is put in, what a reader takes is consecutive from where it asked, and no more than its budget.
        #[test]
        fn a_reader_sees_consecutive_records(
            start in 0u64..50, puts in prop::collection::vec((0u64..100, 0usize..300), 0..200), from in 0u64..110, budget in 0usize..2000,
        ) {
            let mut window = Window::new(5_000);
            window.begin(start);
            let mut next = start;
            for (offset, bytes) in puts {
                let put = window.put(stored(offset, bytes));
                prop_assert_eq!(put == Put::Kept, offset == next);
                next += u64::from(put == Put::Kept);
            }
            let found = window.take(from, budget);
            if from < start || from > next {
                prop_assert!(matches!(found, Found::Elsewhere));
            } else if from == next {
                prop_assert!(matches!(found, Found::Due));
            } else {
                let found = offsets(&found);
                prop_assert!(!found.is_empty() && found.iter().copied().eq(from..from + found.len() as u64));
            }
        }
    }
}
