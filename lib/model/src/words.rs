//! What a word of a log line is: the one rule that blooms, the full-text index and every search share.
//!
//! A line can hold a phrase only if it has all the words of the phrase, so whoever searches cuts the phrase with
//! [`each_word`], lets bloom and index skip what lacks one of them, and compares the rest with the line itself. The rules:
//!
//! - A word is a longest run of ASCII letters, digits, `_`, and of other characters that Unicode calls letters or numbers.
//!   Everything else separates: `order-17` is `order`, `17`; `10.0.0.7` is `10`, `0`, `0`, `7`; a UUID is its five groups;
//!   `user.id=x` is `user`, `id`, `x`; `snake_case` is one word. An emoji or a combining mark is no word and part of none.
//! - Letters of scripts that put no spaces between words ([`is_unspaced`]: Chinese, Japanese, Thai …) are a word each, so that
//!   `支付` is found in `订单支付失败`, as two words in a row.
//! - Colours and other control sequences of terminals (`ESC [ … letter`) separate, and nothing in them is a word: `ERROR` is found
//!   whatever its colour.
//! - Words are lower case, character by character (`Σ` is `σ` everywhere), without any other normalisation.
//! - A word of more than [`WORD_BYTES_MAX`] bytes counts as its beginning of at most so many bytes, so that the sides agree.

use std::borrow::Cow;

/// Bytes of a word at the most, after lower-casing. What comes behind them is not part of the word.
pub const WORD_BYTES_MAX: usize = 64;
/// A word with a digit in it and at least so many bytes is most likely a number or an id: see [`is_indexed`]. Larger needs a new version
/// of the stored index: those that are there lack these words.
const ID_BYTES_MIN: usize = 5;

/// Bytes that are looked at together: as many as a mask has bits.
const MASK_BYTES: usize = 64;

/// Room for a word, and for one character beyond the limit.
type Buffer = [u8; WORD_BYTES_MAX + 4];

/// Calls `found` with each word of the text, in order, as often as it comes. Allocates nothing.
pub fn each_word(text: &str, mut found: impl FnMut(&str)) {
    each_word_bytes(text, |word| found(std::str::from_utf8(word).expect("whole characters were put into it")));
}

/// The same for those to whom a word is its bytes, and who see so many that looking whether they are text would be felt.
pub fn each_word_bytes(text: &str, found: impl FnMut(&[u8])) {
    // Without an end in between, so that vectors do it.
    let other = text.bytes().fold(0, |other, byte| other | byte & 0x80 | u8::from(byte == ESCAPE));
    if other == 0 {
        each_plain_word(text.as_bytes(), found);
    } else {
        each_word_of_any_text(text, found);
    }
}

/// Words of a text of ASCII without control sequences, which most lines are: a word is then a run of word bytes, and the runs of
/// [`MASK_BYTES`] bytes are found at once.
fn each_plain_word(bytes: &[u8], mut found: impl FnMut(&[u8])) {
    let mut buffer = [0; WORD_BYTES_MAX];
    // Where the word began that is not over yet.
    let mut begun = None;
    let mut has_capital = false;
    for (number, part) in bytes.chunks(MASK_BYTES).enumerate() {
        let (words, capitals) = masks(part);
        let mut edges = words ^ (words << 1 | u64::from(begun.is_some()));
        has_capital |= capitals != 0;
        while edges != 0 {
            let at = number * MASK_BYTES + edges.trailing_zeros() as usize;
            edges &= edges - 1;
            let Some(from) = begun.take() else {
                begun = Some(at);
                continue;
            };
            found(in_lower_case(&bytes[from..at], has_capital, &mut buffer));
        }
        has_capital &= begun.is_some();
    }
    if let Some(from) = begun {
        found(in_lower_case(&bytes[from..], has_capital, &mut buffer));
    }
}

/// A word of ASCII as it counts.
#[inline]
fn in_lower_case<'a>(word: &'a [u8], may_have_capitals: bool, buffer: &'a mut [u8; WORD_BYTES_MAX]) -> &'a [u8] {
    let word = &word[..word.len().min(WORD_BYTES_MAX)];
    if !may_have_capitals {
        return word;
    }
    let lower = &mut buffer[..word.len()];
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    lower
}

/// For each byte of a part, the first in the lowest bit: whether it belongs to a word, and whether it is a capital.
#[inline]
#[allow(clippy::needless_range_loop, reason = "iterators of three arrays are not made vectors of")]
fn masks(part: &[u8]) -> (u64, u64) {
    let mut padded = [0; MASK_BYTES];
    let part: &[u8; MASK_BYTES] = match part.try_into() {
        Ok(whole) => whole,
        Err(_) => {
            padded[..part.len()].copy_from_slice(part);
            &padded
        }
    };
    // Loops without branches over a known number of bytes: the compiler makes vectors of them.
    let (mut words, mut capitals) = ([0_u8; MASK_BYTES], [0_u8; MASK_BYTES]);
    for at in 0..MASK_BYTES {
        let byte = part[at];
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        words[at] = u8::from(is_letter | (byte.wrapping_sub(b'0') < 10) | (byte == b'_'));
        capitals[at] = u8::from(byte.wrapping_sub(b'A') < 26);
    }
    (bits_of(&words), bits_of(&capitals))
}

/// A bit for each byte, which is 0 or 1.
#[inline]
fn bits_of(bytes: &[u8; MASK_BYTES]) -> u64 {
    /// Moves the lowest bits of eight bytes into the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut bits = 0;
    for (at, eight) in bytes.as_chunks::<8>().0.iter().enumerate() {
        bits |= (u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56) << (8 * at);
    }
    bits
}

fn each_word_of_any_text(text: &str, mut found: impl FnMut(&[u8])) {
    let bytes = text.as_bytes();
    let mut buffer: Buffer = [0; WORD_BYTES_MAX + 4];
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let mut length = 0;
        let mut is_ascii = true;
        while let Some(&byte) = bytes.get(at) {
            let folded = FOLDED[usize::from(byte)];
            if folded == NON_ASCII {
                is_ascii = false;
                break;
            }
            if folded == SEPARATOR {
                break;
            }
            if length < WORD_BYTES_MAX {
                buffer[length] = folded;
                length += 1;
            }
            at += 1;
        }
        if !is_ascii {
            (length, at) = with_other_letters(text, start, &mut buffer);
        }
        if length > 0 {
            found(&buffer[..length]);
        }
        // What ended the word. A character beyond ASCII may be a word itself, unless nothing came of it.
        match bytes.get(at) {
            Some(&ESCAPE) => at = behind_control_sequence(bytes, at),
            Some(byte) if FOLDED[usize::from(*byte)] == SEPARATOR => at += 1,
            Some(_) if at == start => at += text[at..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
    }
}

/// The words of a text, in order, each as often as it comes: for queries, which are short.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each_word(text, |word| words.push(word.to_owned()));
    words
}

/// Whether the full-text index has the word. Numbers from 10 000, hexadecimal ids and their like (at least five bytes, with a digit) are in
/// the blooms only: nearly every line brings a new one, so they would be most of the index, and a bloom finds them as well.
pub fn is_indexed(word: impl AsRef<[u8]>) -> bool {
    let word = word.as_ref();
    word.len() < ID_BYTES_MIN || !word.iter().any(u8::is_ascii_digit)
}

/// Whether the letter is of a script whose words are not kept apart by spaces: Han with its signs, Hiragana, Katakana, Bopomofo,
/// Thai, Lao, Burmese, Khmer. (Korean has spaces.)
pub fn is_unspaced(letter: char) -> bool {
    let is_in_range = matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{323af}');
    is_in_range && letter.is_alphabetic()
}

/// The text without the control sequences of a terminal (`ESC [ … letter`): as it was to be read.
pub fn without_control_sequences(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find("\u{1b}[") else { return Cow::Borrowed(text) };
    let (bytes, mut kept, mut at, mut from) = (text.as_bytes(), String::with_capacity(text.len()), first, 0);
    while at < bytes.len() {
        let end = if bytes[at] == ESCAPE { behind_control_sequence(bytes, at) } else { at + 1 };
        if end > at + 1 {
            kept.push_str(&text[from..at]);
            from = end;
        }
        at = end;
    }
    kept.push_str(&text[from..]);
    Cow::Owned(kept)
}

/// Where the control sequence of a terminal that begins at `at` ends: `ESC [`, parameters, one more character. Of what is no such sequence the
/// escape alone.
fn behind_control_sequence(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) != Some(&b'[') {
        return at + 1;
    }
    let parameters = bytes[at + 2..].iter().take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
    let last = at + 2 + parameters;
    if matches!(bytes.get(last), Some(0x40..=0x7e)) { last + 1 } else { at + 1 }
}

/// The word that starts at `start` and has, or is ended by, a character beyond ASCII: its length and where it ends.
#[cold]
fn with_other_letters(text: &str, start: usize, buffer: &mut Buffer) -> (usize, usize) {
    let mut length = 0;
    let mut is_full = false;
    for (offset, character) in text[start..].char_indices() {
        if character != '_' && !character.is_alphanumeric() {
            return (length, start + offset);
        }
        if is_unspaced(character) {
            if offset > 0 {
                return (length, start + offset);
            }
            return (character.encode_utf8(&mut buffer[..]).len(), start + character.len_utf8());
        }
        for lower in character.to_lowercase() {
            is_full |= length + lower.len_utf8() > WORD_BYTES_MAX;
            if !is_full {
                length += lower.encode_utf8(&mut buffer[length..]).len();
            }
        }
    }
    (length, text.len())
}

const SEPARATOR: u8 = 0;
const ESCAPE: u8 = 0x1b;
const NON_ASCII: u8 = 0xff;

/// For every byte: what it is in a word, that it separates, or that it begins or continues a character beyond ASCII.
static FOLDED: [u8; 256] = {
    let mut folded = [SEPARATOR; 256];
    let mut byte = 0;
    while byte < 256 {
        let ascii = byte as u8;
        folded[byte] = match ascii {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => ascii,
            b'A'..=b'Z' => ascii.to_ascii_lowercase(),
            0x80.. => NON_ASCII,
            _ => SEPARATOR,
        };
        byte += 1;
    }
    folded
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_cut_as_documented() {
        for (text, expected) in [
            ("", ""),
            (" - 🔥 … ", ""),
            ("Order-17 placed", "order 17 placed"),
            ("10.0.0.7:8080", "10 0 0 7 8080"),
            ("550e8400-E29B-41d4-a716-446655440000", "550e8400 e29b 41d4 a716 446655440000"),
            ("user.id=x, snake_case __init__", "user id x snake_case __init__"),
            ("GET /cart/7?a=1&b=%20", "get cart 7 a 1 b 20"),
            ("café CAFÉ Ärger", "café café ärger"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("注文 失敗 ok", "注 文 失 敗 ok"),
            ("订单A17支付失败。", "订 单 a17 支 付 失 败"),
            ("キー々、ｶﾅ", "キ ー 々 ｶ ﾅ"),
            ("ตลาด หมด", "ต ล า ด ห ม ด"),
            ("주문 실패", "주문 실패"),
            ("\u{1b}[31mERROR\u{1b}[0m pool", "error pool"),
            ("\u{1b}[1;38;5;196mOr\u{1b}[0mder\u{1b}[K", "or der"),
            ("\u{1b}31m \u{1b}[31 \u{1b}[\u{1b}[0mx", "31m 31 x"),
            ("end\u{1b}[31", "end 31"),
            ("naïve👍end", "naïve end"),
            ("e\u{301}t", "e t"),
            ("a\u{a0}b\u{2014}c", "a b c"),
        ] {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_read_without_what_colours_it() {
        for (text, expected) in [
            ("plain", "plain"),
            ("\u{1b}[31mé\u{1b}[0m\u{1b}[K", "é"),
            ("a\u{1b}[\u{1b}[1mb\u{1b}", "a\u{1b}[b\u{1b}"),
            ("a\u{1b}[31", "a\u{1b}[31"),
        ] {
            assert_eq!(without_control_sequences(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_word_is_its_beginning_and_does_not_swallow_the_next() {
        let long = "x".repeat(WORD_BYTES_MAX);
        assert_eq!(words(&format!("{long}yz Next")), [long.clone(), "next".to_owned()]);
        assert_eq!(words(&format!("{}é{}", &long[1..], "tail")), [long[1..].to_owned()], "no half characters");
        assert_eq!(words(&format!("{}é", &long[2..])), [format!("{}é", &long[2..])]);
        let grows = "İ".repeat(40);
        assert!(words(&grows)[0].len() <= WORD_BYTES_MAX);
    }

    #[test]
    fn long_words_with_digits_are_left_to_the_blooms() {
        for (word, expected) in [
            ("error", true),
            ("nullpointerexception", true),
            ("1234", true),
            ("12345", false),
            ("4bf92f3577b34da6", false),
            ("ipv6", true),
            ("x86_64", false),
            ("überraschung", true),
        ] {
            assert_eq!(is_indexed(word), expected, "{word}");
        }
    }

    /// The rules once more, as plainly as they can be written.
    fn plainly(text: &str) -> Vec<String> {
        let cut = |word: &str| {
            let lower: String = word.chars().flat_map(char::to_lowercase).collect();
            let end = (0..=WORD_BYTES_MAX.min(lower.len())).rev().find(|end| lower.is_char_boundary(*end));
            lower[..end.unwrap_or(0)].to_owned()
        };
        let is_separator = |character: char| character != '_' && !character.is_alphanumeric();
        let mut apart = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let sequence = rest.strip_prefix("\u{1b}[").and_then(|behind| {
                let end = behind.find(|c: char| !matches!(c, ' '..='?'))?;
                let last = behind[end..].chars().next().filter(|c| matches!(c, '@'..='~'))?;
                Some(&behind[end + last.len_utf8()..])
            });
            if let Some(behind) = sequence {
                apart.push(' ');
                rest = behind;
                continue;
            }
            if is_unspaced(character) {
                apart.extend([' ', character, ' ']);
            } else {
                apart.push(character);
            }
            rest = &rest[character.len_utf8()..];
        }
        apart.split(is_separator).filter(|word| !word.is_empty()).map(cut).collect()
    }

    proptest! {
        #[test]
        fn any_text_is_cut_by_the_rules(text in "[a-mA-Z0-9_ .éΣ注文👍\u{301}\u{1b}\\[;İ-]{0,200}") {
            prop_assert_eq!(words(&text), plainly(&text));
        }

        #[test]
        fn a_text_of_ascii_is_cut_by_the_rules(text in "[a-cX-Z0-9_@`/:\\[{^ .]{0,40}[a-z]{0,70}[A-Z_]{0,70}[ a-z]{0,80}") {
            prop_assert_eq!(words(&text), plainly(&text));
        }

        #[test]
        fn any_text_at_all_is_cut_by_the_rules(text in any::<String>()) {
            prop_assert_eq!(words(&text), plainly(&text));
        }

        #[test]
        fn a_line_has_all_whole_words_of_what_is_in_it(line in "[a-zA-Z0-9_é .-]{0,80}", from in 0usize..80, to in 0usize..80) {
            let characters: Vec<char> = line.chars().collect();
            let (from, to) = (from.min(characters.len()), to.min(characters.len()));
            let is_word = |at: Option<&char>| at.is_some_and(|c| *c == '_' || c.is_alphanumeric());
            if from < to && !is_word(from.checked_sub(1).and_then(|at| characters.get(at))) && !is_word(characters.get(to)) {
                let phrase: String = characters[from..to].iter().collect();
                let of_line = words(&line);
                prop_assert!(words(&phrase).iter().all(|word| of_line.contains(word)));
            }
        }
    }
}
