//! Recognises a request that a client sent again because it missed the answer.
//!
//! Pure. Hashes are remembered for ten minutes of receive time and are part of the committed state, so that a retry after
//! a restart is recognised too. Only the low half of the 128-bit hash is kept: with 2^18 remembered requests the chance
//! that a new request looks like one of them is 2^-46.

use std::collections::VecDeque;

use hashbrown::HashSet;
use shipwake_model::window::NS_PER_S;

/// How long a request is remembered. SDKs give up on a request after half a minute, Collectors after five.
pub const REMEMBERED_NS: i64 = 600 * NS_PER_S;

/// The requests of the last ten minutes.
#[derive(Clone, Debug)]
pub struct Dedup {
    known: HashSet<u64, ahash::RandomState>,
    /// In the order they came, with their receive times.
    order: VecDeque<(i64, u64)>,
    newest_ns: i64,
    hashes_max: usize,
    forgotten_early: u64,
}

impl Dedup {
    /// Remembers nothing yet, and at most `hashes_max` requests: beyond, the oldest are forgotten early.
    pub fn new(hashes_max: usize) -> Self {
        Dedup {
            known: HashSet::default(),
            order: VecDeque::new(),
            newest_ns: i64::MIN,
            hashes_max: hashes_max.max(1),
            forgotten_early: 0,
        }
    }

    /// Whether the request is new; from now on it is known.
    pub fn is_new(&mut self, request_hash: u128, received_ns: i64) -> bool {
        self.newest_ns = self.newest_ns.max(received_ns);
        self.expire();
        let hash = request_hash as u64;
        if !self.known.insert(hash) {
            return false;
        }
        // Receive times of one partition may be out of order by the time an append takes. Keeping the newest makes the
        // queue sorted, and a hash is kept a little longer rather than shorter.
        self.order.push_back((self.newest_ns, hash));
        if self.order.len() > self.hashes_max {
            self.forget_oldest();
            self.forgotten_early += 1;
        }
        true
    }

    /// The remembered requests, oldest first: receive time and hash.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (i64, u64)> + '_ {
        self.order.iter().copied()
    }

    /// Takes back what [`Dedup::entries`] gave.
    pub fn restore(&mut self, entries: impl IntoIterator<Item = (i64, u64)>) {
        for (received_ns, hash) in entries {
            if self.known.insert(hash) {
                self.newest_ns = self.newest_ns.max(received_ns);
                self.order.push_back((self.newest_ns, hash));
            }
        }
        self.expire();
    }

    /// How many requests had to be forgotten before their ten minutes were over.
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.known.capacity() * (size_of::<u64>() + 1) + self.order.capacity() * size_of::<(i64, u64)>()
    }

    fn expire(&mut self) {
        let oldest = self.newest_ns.saturating_sub(REMEMBERED_NS);
        while self.order.front().is_some_and(|(received_ns, _)| *received_ns < oldest) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, hash)) = self.order.pop_front() {
            self.known.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * NS_PER_S;

    #[test]
    fn a_retry_is_recognised_for_ten_minutes() {
        let mut dedup = Dedup::new(100);
        assert!(dedup.is_new(7, 0));
        assert!(!dedup.is_new(7, 5 * MINUTE));
        assert!(!dedup.is_new(7, 10 * MINUTE));
        assert!(dedup.is_new(7, 10 * MINUTE + 1));
    }

    #[test]
    fn hashes_survive_in_the_state() {
        let mut before = Dedup::new(100);
        assert!(before.is_new(1, MINUTE) && before.is_new(2, 2 * MINUTE));
        let mut after = Dedup::new(100);
        after.restore(before.entries().collect::<Vec<_>>());
        assert!(!after.is_new(1, 3 * MINUTE) && !after.is_new(2, 3 * MINUTE) && after.is_new(3, 3 * MINUTE));
    }

    #[test]
    fn the_number_of_hashes_is_bounded() {
        let mut dedup = Dedup::new(10);
        for n in 0..100u128 {
            assert!(dedup.is_new(n, n as i64));
        }
        assert_eq!(dedup.entries().len(), 10);
        assert_eq!(dedup.forgotten_early(), 90);
        assert!(!dedup.is_new(99, 100) && dedup.is_new(1, 100));
    }
}
