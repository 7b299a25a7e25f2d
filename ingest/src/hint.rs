//! When a refused sender should come again: 1 to 3 s, spread out so that senders refused together do not come back
//! together. Clients with a 10 s limit drop a batch when the hint is longer, so it never is.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

const SHORTEST_MS: u64 = 1000;
const LONGEST_MS: u64 = 3000;

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("hint"));
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A hint for gRPC's RetryInfo.
pub(crate) fn retry_delay() -> Duration {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = xxh3_64_with_seed(&count.to_le_bytes(), *SEED);
    Duration::from_millis(SHORTEST_MS + random % (LONGEST_MS - SHORTEST_MS + 1))
}

/// A hint for HTTP's Retry-After, which knows whole seconds only.
pub(crate) fn retry_after_s() -> u64 {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = xxh3_64_with_seed(&count.to_le_bytes(), *SEED);
    SHORTEST_MS / 1000 + random % ((LONGEST_MS - SHORTEST_MS) / 1000 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_spread_over_one_to_three_seconds() {
        let mut seen = [0u32; 4];
        for _ in 0..300 {
            let delay = retry_delay();
            assert!((SHORTEST_MS..=LONGEST_MS).contains(&(delay.as_millis() as u64)), "{delay:?}");
            seen[retry_after_s() as usize] += 1;
        }
        assert!(seen[0] == 0 && seen[1] > 50 && seen[2] > 50 && seen[3] > 50, "{seen:?}");
    }
}
