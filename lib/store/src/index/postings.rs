//! Which rows have a word, gathered in memory while rows come by. Pure.
//!
//! A line has some ten words, nearly all of which were seen before: a word costs its place in a table, and a byte or two for the
//! distance to the row that had it last.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Words with their rows.
#[derive(Debug, Default)]
pub(super) struct Postings {
    places: HashTable<u32>,
    words: Vec<Word>,
    /// The words themselves, one behind the other.
    texts: Vec<u8>,
    /// Words that were added, each as often as it came.
    total: u64,
}

#[derive(Debug)]
struct Word {
    hash: u64,
    /// Where it is in the texts.
    text: usize,
    length: u8,
    first_row: u32,
    last_row: u32,
    rows: u32,
    /// For each row but the first how far it is from the one before: seven bits to a byte, the lowest first, with the highest bit where more follow.
    distances: Vec<u8>,
}

impl Postings {
    /// Notes that a row has a word of at most 255 bytes. Rows come in order; a word of a row may come more than once. `hash` depends on
    /// the word alone.
    #[inline]
    pub(super) fn add(&mut self, row: u32, hash: u64, word: &[u8]) {
        debug_assert!(u8::try_from(word.len()).is_ok(), "words are cut");
        self.total += 1;
        let (words, texts) = (&self.words, &self.texts);
        let is_it = |at: &u32| {
            let known = &words[*at as usize];
            known.hash == hash && known.text(texts) == word
        };
        match self.places.entry(hash, is_it, |at| words[*at as usize].hash) {
            Entry::Occupied(place) => self.words[*place.get() as usize].add(row),
            Entry::Vacant(place) => {
                place.insert(self.words.len() as u32);
                let (text, length) = (self.texts.len(), word.len() as u8);
                let (first_row, last_row, distances) = (row, row, Vec::new());
                self.words.push(Word { hash, text, length, first_row, last_row, rows: 1, distances });
                self.texts.extend_from_slice(word);
            }
        }
    }

    /// Words that were added, each as often as it came.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Calls `each` with every word, in the order of their bytes, the number of its rows, and the rows in order.
    pub(super) fn each<E>(
        &self,
        mut each: impl FnMut(&[u8], u32, &mut dyn Iterator<Item = u32>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut order: Vec<&Word> = self.words.iter().collect();
        order.sort_unstable_by_key(|word| word.text(&self.texts));
        order.into_iter().try_for_each(|word| each(word.text(&self.texts), word.rows, &mut word.iter()))
    }
}

impl Word {
    #[inline]
    fn text<'a>(&self, texts: &'a [u8]) -> &'a [u8] {
        &texts[self.text..self.text + usize::from(self.length)]
    }

    #[inline]
    fn add(&mut self, row: u32) {
        let mut distance = row - self.last_row;
        if distance == 0 {
            return;
        }
        self.last_row = row;
        self.rows += 1;
        while distance >= 0x80 {
            self.distances.push(distance as u8 | 0x80);
            distance >>= 7;
        }
        self.distances.push(distance as u8);
    }

    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut row = self.first_row;
        let mut bytes = self.distances.iter();
        let following = std::iter::from_fn(move || {
            let (mut distance, mut shift) = (0, 0);
            loop {
                let byte = u32::from(*bytes.next()?);
                distance |= (byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
            }
            row += distance;
            Some(row)
        });
        std::iter::once(self.first_row).chain(following)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the words are, their hashes among them, each has its rows.
        #[test]
        fn every_word_has_its_rows(
            lines in prop::collection::vec((1u32..40_000, prop::collection::vec("[ab]{1,3}", 0..6)), 0..60),
            hashes in 1u64..5,
        ) {
            let (mut postings, mut expected) = (Postings::default(), BTreeMap::<Vec<u8>, BTreeSet<u32>>::new());
            let (mut row, mut total) = (0, 0);
            for (distance, words) in lines {
                row += distance;
                for word in words {
                    // Words share few hashes, as ill will might have it.
                    let hash = word.bytes().map(u64::from).sum::<u64>() % hashes;
                    postings.add(row, hash, word.as_bytes());
                    expected.entry(word.into_bytes()).or_default().insert(row);
                    total += 1;
                }
            }
            let mut found = Vec::new();
            let Ok(()) = postings.each(|word, count, rows| {
                let rows: Vec<u32> = rows.collect();
                assert_eq!(count as usize, rows.len());
                found.push((word.to_vec(), rows.into_iter().collect::<BTreeSet<u32>>()));
                Ok::<(), Infallible>(())
            });
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(postings.total(), total);
        }
    }

    #[test]
    fn rows_as_far_apart_as_can_be_are_kept() {
        let mut postings = Postings::default();
        let rows = [0, 127, 255, 256, 16_640, 2_113_792, u32::MAX - 1];
        rows.iter().for_each(|row| postings.add(*row, 7, b"far"));
        let mut found = Vec::new();
        let Ok(()) = postings.each(|_, _, rows| {
            found.extend(rows);
            Ok::<(), Infallible>(())
        });
        assert_eq!(found, rows);
    }
}
