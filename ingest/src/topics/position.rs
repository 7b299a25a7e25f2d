//! How far a topic is done, so that every message of it is in the journal once. Pure.
//!
//! A message becomes records of the journal, at most one append for each partition, and what carries them there is the key of
//! the request: it holds the topic's partition and the message's offset. Whoever goes on after a crash has two things: an
//! offset below which all is done, with a note of how far the journal's partitions reached then; and what the journal holds
//! behind those ends. A key that is found there says that everything of its source up to that offset is in that partition.

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Tells keys of one partition of a topic from all others, and gives the offset back that one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    tag: u64,
    mask: u64,
}

/// A seed of its own: the mask must not follow from the tag.
const MASK_SEED: u64 = 0x5af7_1c3e_9d02_b846;

impl Keys {
    /// Of a partition of a topic.
    pub(super) fn of(topic: &str, partition: u32) -> Self {
        let name = [topic.as_bytes(), &[0], &partition.to_le_bytes()].concat();
        Keys { tag: xxh3_64(&name), mask: xxh3_64_with_seed(&name, MASK_SEED) }
    }

    /// The key of a request that ends with the message at `offset`. The low half, which alone is remembered by those who look
    /// for repetitions, is another one for every message of every topic.
    pub(super) fn key(self, offset: u64) -> u128 {
        u128::from(self.tag) << 64 | u128::from(offset ^ self.mask)
    }

    /// The offset that a key of this source holds; `None` for every other hash, by all but 2^-64 of chance.
    fn offset(self, key: u128) -> Option<u64> {
        ((key >> 64) as u64 == self.tag).then_some(key as u64 ^ self.mask)
    }
}

/// Ends of the journal's partitions, as text: `17,4711`.
pub(super) fn note(ends: impl Iterator<Item = u64>) -> String {
    ends.map(|end| end.to_string()).collect::<Vec<_>>().join(",")
}

/// What [`note`] wrote; `None` for anything else.
pub(super) fn ends(note: &str) -> Option<Vec<u64>> {
    note.split(',').map(|end| end.parse().ok()).collect()
}

/// What is in the journal already of messages that are read again.
#[derive(Debug, Default)]
pub(super) struct Already {
    /// By the source's tag and the journal's partition: the highest offset found.
    reached: HashMap<(u64, u32), u64>,
    /// Requests that hold a part of a message, which is known whole by the key of its last part.
    parts: HashSet<u128>,
    tags: HashMap<u64, Keys>,
}

impl Already {
    /// Looks for these sources.
    pub(super) fn of(sources: impl Iterator<Item = Keys>) -> Self {
        Already { tags: sources.map(|keys| (keys.tag, keys)).collect(), ..Already::default() }
    }

    /// A request that is in the journal.
    pub(super) fn found(&mut self, partition: u32, request_hash: u128) {
        let tag = (request_hash >> 64) as u64;
        match self.tags.get(&tag).and_then(|keys| keys.offset(request_hash)) {
            Some(offset) => {
                let reached = self.reached.entry((tag, partition)).or_insert(offset);
                *reached = (*reached).max(offset);
            }
            None => drop(self.parts.insert(request_hash)),
        }
    }

    /// Whether the part of a message for a partition of the journal is there.
    pub(super) fn has(&self, source: Keys, offset: u64, partition: u32, request_hash: Option<u128>) -> bool {
        let is_reached = self.reached.get(&(source.tag, partition)).is_some_and(|reached| offset <= *reached);
        is_reached || request_hash.is_some_and(|hash| self.parts.contains(&hash))
    }

    /// The highest offset of a source of which anything was found: behind it nothing has to be looked up.
    pub(super) fn last(&self, source: Keys) -> Option<u64> {
        self.reached.iter().filter(|((tag, _), _)| *tag == source.tag).map(|(_, offset)| *offset).max()
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.reached.is_empty() && self.parts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_gives_its_offset_to_its_own_source_only(offset in any::<u64>(), partition in 0u32..50, other in any::<u128>()) {
            let keys = Keys::of("otlp_logs", partition);
            prop_assert_eq!(keys.offset(keys.key(offset)), Some(offset));
            prop_assert_eq!(Keys::of("otlp_logs", partition + 1).offset(keys.key(offset)), None);
            prop_assert_eq!(Keys::of("otlp_spans", partition).offset(keys.key(offset)), None);
            prop_assert_eq!(keys.offset(other), None);
        }

        #[test]
        fn a_note_comes_back(written in prop::collection::vec(any::<u64>(), 1..64)) {
            let text = note(written.iter().copied());
            prop_assert!(text.len() < 4096, "Kafka keeps no more");
            prop_assert_eq!(ends(&text), Some(written));
        }

        /// A process that dies anywhere between the appends of its messages, and another that goes on from any offset that
        /// was written down before: every part is in the journal once.
        #[test]
        fn every_part_is_appended_once(
            messages in prop::collection::vec(prop::collection::btree_set(0u32..4, 0..4), 1..40), dies_after in 0usize..100,
            written_down in 0usize..40,
        ) {
            let keys = Keys::of("t", 0);
            let mut journal: Vec<(u32, u128, usize)> = Vec::new();
            let mut all_done = 0;
            'first: for (offset, parts) in messages.iter().enumerate() {
                for partition in parts {
                    if journal.len() == dies_after {
                        break 'first;
                    }
                    journal.push((*partition, keys.key(offset as u64), offset));
                }
                all_done = offset + 1;
            }
            let from = written_down.min(all_done);
            let mut already = Already::of([keys].into_iter());
            journal.iter().for_each(|(partition, key, _)| already.found(*partition, *key));
            for (offset, parts) in messages.iter().enumerate().skip(from) {
                for partition in parts {
                    let key = keys.key(offset as u64);
                    if !already.has(keys, offset as u64, *partition, Some(key)) {
                        journal.push((*partition, key, offset));
                    }
                }
            }
            let mut found: Vec<(usize, u32)> = journal.iter().map(|(partition, _, offset)| (*offset, *partition)).collect();
            found.sort_unstable();
            let expected: Vec<(usize, u32)> =
                messages.iter().enumerate().flat_map(|(offset, parts)| parts.iter().map(move |p| (offset, *p))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_no_note_is_not_taken_for_one() {
        for text in ["", "a", "1,", "-1", "1;2"] {
            assert_eq!(ends(text), None, "{text:?}");
        }
    }
}
