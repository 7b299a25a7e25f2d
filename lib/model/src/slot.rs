//! Replicate slots: instances of a release are spread over eight slots, which are part of every aggregation key.
//!
//! The verdict learns from the spread between slots how noisy a release is, so the mapping must never change: it is
//! part of stored windows.

use xxhash_rust::xxh3::xxh3_64;

/// How many slots there are.
pub const SLOTS: u8 = 8;

/// The slot (0..8) of an instance: `xxh3_64(service.instance.id) mod 8`.
pub fn replicate_slot(instance: &str) -> u8 {
    (xxh3_64(instance.as_bytes()) % u64::from(SLOTS)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_stable_and_spread() {
        let mut seen = [0u32; SLOTS as usize];
        for n in 0..800 {
            seen[replicate_slot(&format!("pod-{n}")) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
        assert_eq!(replicate_slot("pod-1"), replicate_slot("pod-1"));
    }
}
