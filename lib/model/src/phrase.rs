//! Whether a line has certain words, one directly after the other: what a search compares lines with.
//!
//! The rule of what a word is is that of [`crate::words`]. Many lines that lie one after the other in memory are looked
//! through as one text for the longest of the words, byte by byte at the speed of memory; only a line that has it is cut
//! into words. What that finds and what cutting every line finds is the same.

use std::ops::Range;

use memchr::memmem;

use crate::words::{WORD_BYTES_MAX, each_word, is_unspaced, words};

/// The one character beyond ASCII whose lower case is ASCII: the sign of Kelvin, which is `k`.
const KELVIN: &str = "\u{212a}";
/// Words of a phrase at the most: their places are bits.
pub const WORDS_MAX: usize = 64;

/// Letters in logs from the rarest to the most frequent, about; the longest word is looked for by its rarest byte.
const RAREST_FIRST: &[u8] = b"qzjxkwyvbgfhmpu_98765ldc3421n0osrtiae";

/// Words in a row.
#[derive(Clone, Debug)]
pub struct Phrase {
    words: Vec<String>,
    is_prefix: bool,
    needle: Option<Needle>,
}

/// A word of the phrase, in lower case, either ASCII or of letters that have no case, and how it is looked for.
#[derive(Clone, Debug)]
struct Needle {
    word: Vec<u8>,
    how: How,
    /// It has a `k`, which a line may spell with [`KELVIN`].
    has_k: bool,
}

#[derive(Clone, Debug)]
enum How {
    /// It has no letters, so it looks the same everywhere.
    Exactly(Box<memmem::Finder<'static>>),
    /// By this byte of it, in either case.
    ByByte { at: usize, lower: u8, upper: u8 },
}

impl Phrase {
    /// The words of `text`, in its order; with `is_prefix` the last one need only be the beginning of a word of the line. `None`
    /// when the text has no words, or more than [`WORDS_MAX`].
    pub fn new(text: &str, is_prefix: bool) -> Option<Self> {
        let words = words(text);
        if words.is_empty() || words.len() > WORDS_MAX {
            return None;
        }
        let has_one_form = |word: &String| word.is_ascii() || word.chars().all(is_unspaced);
        let needle =
            words.iter().filter(|word| has_one_form(word)).max_by_key(|word| word.len()).map(|word| Needle::new(word));
        Some(Self { words, is_prefix, needle })
    }

    /// The words, in lower case.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The words that a line has as whole words if it has the phrase: all, or all but the last where that is a beginning.
    pub fn whole_words(&self) -> &[String] {
        let last_is_part = self.is_prefix && self.words.last().is_some_and(|word| word.len() < WORD_BYTES_MAX);
        &self.words[..self.words.len() - usize::from(last_is_part)]
    }

    /// Whether the line has the words in a row.
    pub fn is_in(&self, line: &str) -> bool {
        let last = self.words.len() - 1;
        let mut reached: u64 = 0;
        let mut found = false;
        each_word(line, |word| {
            if found {
                return;
            }
            let mut now = 0;
            let open = (reached << 1) | 1;
            for (place, wanted) in self.words.iter().enumerate() {
                let fits = word == wanted || (self.is_prefix && place == last && word.starts_with(wanted.as_str()));
                now |= (u64::from(fits) << place) & open;
            }
            reached = now;
            found = now >> last & 1 == 1;
        });
        found
    }

    /// Calls `found` with the index of each line that has the phrase, ascending. Line `i` of `text` is from `offset(i)` to
    /// `offset(i + 1)`, for `i` in `lines`.
    pub fn find(&self, text: &str, lines: Range<usize>, offset: impl Fn(usize) -> usize, mut found: impl FnMut(usize)) {
        if lines.is_empty() {
            return;
        }
        let bytes = text.as_bytes();
        let (mut at, end) = (offset(lines.start), offset(lines.end));
        let needle = self
            .needle
            .as_ref()
            .filter(|needle| !needle.has_k || memmem::find(&bytes[at..end], KELVIN.as_bytes()).is_none());
        let Some(needle) = needle else {
            let has = |line: &usize| self.is_in(&text[offset(*line)..offset(*line + 1)]);
            return lines.filter(has).for_each(found);
        };
        let mut line = lines.start;
        while let Some(hit) = needle.find(&bytes[at..end]) {
            let hit = at + hit;
            line = line_of(hit, line..lines.end, &offset);
            let line_end = offset(line + 1);
            if self.is_in(&text[offset(line)..line_end]) {
                found(line);
            }
            at = line_end;
        }
    }
}

/// Two phrases are the same when they look for the same.
impl PartialEq for Phrase {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words && self.is_prefix == other.is_prefix
    }
}

/// The line that byte `hit` is in. Steps that double, then halves: hits come close together or far apart.
fn line_of(hit: usize, lines: Range<usize>, offset: &impl Fn(usize) -> usize) -> usize {
    let (mut low, mut step) = (lines.start, 1);
    while low + step < lines.end && offset(low + step) <= hit {
        low += step;
        step *= 2;
    }
    let mut high = (low + step).min(lines.end);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if offset(middle) <= hit { low = middle } else { high = middle }
    }
    low
}

impl Needle {
    fn new(word: &str) -> Self {
        let word = word.as_bytes().to_vec();
        let has_k = word.contains(&b'k');
        if !word.iter().any(u8::is_ascii_alphabetic) {
            return Self { how: How::Exactly(Box::new(memmem::Finder::new(&word).into_owned())), word, has_k };
        }
        let rank = |byte: &u8| RAREST_FIRST.iter().position(|known| known == byte).unwrap_or(0);
        let (at, lower) = word.iter().copied().enumerate().min_by_key(|(_, byte)| rank(byte)).unwrap_or((0, 0));
        let how = How::ByByte { at, lower, upper: lower.to_ascii_uppercase() };
        Self { word, how, has_k }
    }

    /// Where the word is, in any case.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match &self.how {
            How::Exactly(finder) => finder.find(bytes),
            How::ByByte { at, lower, upper } => {
                let length = self.word.len();
                let mut from = *at;
                while from < bytes.len() {
                    from += memchr::memchr2(*lower, *upper, &bytes[from..])?;
                    let start = from - at;
                    let candidate = bytes.get(start..start + length)?;
                    if candidate.eq_ignore_ascii_case(&self.word) {
                        return Some(start);
                    }
                    from += 1;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has(line: &str, phrase: &str, is_prefix: bool) -> bool {
        Phrase::new(phrase, is_prefix).expect("words").is_in(line)
    }

    #[test]
    fn words_are_whole_and_in_a_row() {
        assert!(has("Card declined: order-17", "ORDER 17", false));
        assert!(has("order 1 order 17", "order 17", false), "a false start does not hide it");
        assert!(has("a a b", "a b", false));
        assert!(!has("orders 17", "order 17", false));
        assert!(!has("order no 17", "order 17", false));
        assert!(has("user_id=5", "user_id", false) && !has("user_id=5", "user", false));
        assert!(has("timeouts", "time", true) && !has("overtime", "time", true));
        assert!(has("order 1789", "order 17", true) && !has("orders 1789", "order 17", true));
        assert!(has("ÄRGER im Café", "ärger im café", false));
        assert!(has("0 \u{212a}", "k", false));
        assert!(has("订单支付失败", "支付", false) && !has("订单支失付败", "支付", false));
        assert!(has("订单A17失败", "a17", false) && !has("订单A17失败", "a1", false));
        assert!(has("\u{1b}[31mERROR\u{1b}[0m: pool", "error pool", false));
        assert!(Phrase::new(" - ", false).is_none());
        assert!(Phrase::new(&"a ".repeat(65), false).is_none());
    }

    #[test]
    fn a_beginning_is_no_whole_word() {
        let whole = |text: &str, is_prefix| Phrase::new(text, is_prefix).expect("words").whole_words().to_vec();
        assert_eq!(whole("order 17", false), ["order", "17"]);
        assert_eq!(whole("order 17", true), ["order"]);
        let long = "x".repeat(80);
        assert_eq!(whole(&long, true), [&long[..64]], "what counts of it is whole");
    }

    fn found(phrase: &Phrase, lines: &[String]) -> Vec<usize> {
        let text = lines.concat();
        let mut offsets = vec![0];
        lines.iter().for_each(|line| offsets.push(offsets[offsets.len() - 1] + line.len()));
        let mut found = Vec::new();
        phrase.find(&text, 0..lines.len(), |line| offsets[line], |line| found.push(line));
        found
    }

    proptest! {
        #[test]
        fn looking_through_many_lines_finds_what_cutting_each_finds(
            lines in prop::collection::vec("[aAbBkK1 \u{212a}é支付-]{0,12}", 0..30),
            text in "[abk1é支付 ]{0,5}",
            is_prefix in any::<bool>(),
        ) {
            if let Some(phrase) = Phrase::new(&text, is_prefix) {
                let each: Vec<usize> = (0..lines.len()).filter(|line| phrase.is_in(&lines[*line])).collect();
                prop_assert_eq!(found(&phrase, &lines), each);
            }
        }

        #[test]
        fn a_phrase_is_a_run_of_the_words_of_the_line(line in "[ab ]{0,14}", text in "[ab ]{0,6}", is_prefix in any::<bool>()) {
            if let Some(phrase) = Phrase::new(&text, is_prefix) {
                let (of_line, wanted) = (words(&line), words(&text));
                let fits = |run: &[String]| {
                    let (last, others) = run.split_last().expect("a phrase has words");
                    let last_wanted = wanted.last().expect("a phrase has words");
                    others == &wanted[..others.len()] && (last == last_wanted || (is_prefix && last.starts_with(last_wanted.as_str())))
                };
                prop_assert_eq!(phrase.is_in(&line), of_line.windows(wanted.len()).any(fits));
            }
        }
    }
}
