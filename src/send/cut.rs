//! Where a batch of lines ends.
//!
//! Pure. Batches end at line ends, and not in front of a line that belongs to the one before it (a stack trace), where that
//! can be helped. A line without an end is cut at [`LINE_BYTES_MAX`], so that memory is bounded and nothing is left out.

/// A request is large enough to be worth its round trip, and small against what a server lets in at once.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// The longest line that a server takes by default. What is longer is cut into lines of this length.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// How many bytes of `bytes` the next batch takes; 0 when no line is complete. `ended`: a last line without an end is all
/// there will be of it.
pub fn batch_end(bytes: &[u8], ended: bool) -> usize {
    let window = &bytes[..bytes.len().min(BATCH_BYTES_MAX)];
    match last_line_end(window) {
        Some(end) if bytes.len() > BATCH_BYTES_MAX => before_a_new_record(bytes, end),
        Some(end) => end,
        None if window.len() >= LINE_BYTES_MAX => at_a_character(window, LINE_BYTES_MAX),
        None if ended => window.len(),
        None => 0,
    }
}

/// The bytes of a batch as they are sent: lines that are too long are cut.
pub fn body(batch: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.len() + batch.len() / LINE_BYTES_MAX);
    for line in batch.split_inclusive(|byte| *byte == b'\n') {
        let mut rest = line;
        while rest.strip_suffix(b"\n").unwrap_or(rest).len() > LINE_BYTES_MAX {
            let (piece, behind) = rest.split_at(at_a_character(rest, LINE_BYTES_MAX));
            body.extend_from_slice(piece);
            body.push(b'\n');
            rest = behind;
        }
        body.extend_from_slice(rest);
    }
    body
}

/// Lines that are not blank.
pub fn lines(batch: &[u8]) -> u64 {
    batch.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64
}

/// Two halves of a batch that was too large for the server, each at least a line; `None` for a single line.
pub fn halves(batch: &[u8]) -> Option<(&[u8], &[u8])> {
    let middle = batch.len() / 2;
    let after = batch[middle..].iter().position(|byte| *byte == b'\n').map(|at| middle + at + 1);
    let end = after.filter(|end| *end < batch.len()).or_else(|| last_line_end(&batch[..middle]))?;
    Some(batch.split_at(end))
}

fn last_line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1)
}

/// The last line end up to `end` in front of a line that begins a record; `end` when the second half has none.
fn before_a_new_record(bytes: &[u8], end: usize) -> usize {
    let mut candidate = end;
    while candidate > end / 2 {
        if !continues(&bytes[candidate..]) {
            return candidate;
        }
        match last_line_end(&bytes[..candidate - 1]) {
            Some(before) => candidate = before,
            None => break,
        }
    }
    end
}

/// Whether the line that begins here belongs to the one before it.
fn continues(rest: &[u8]) -> bool {
    let marks: [&[u8]; 5] = [b"at ", b"Caused by", b"...", b"}", b")"];
    rest.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) || marks.iter().any(|mark| rest.starts_with(mark))
}

/// At most `at`, and not inside a character of UTF-8.
fn at_a_character(bytes: &[u8], at: usize) -> usize {
    let inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (at - 3..=at).rev().find(|at| !inside(*at)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_ends_with_its_last_complete_line() {
        assert_eq!(batch_end(b"", false), 0);
        assert_eq!(batch_end(b"half", false), 0);
        assert_eq!(batch_end(b"half", true), 4);
        assert_eq!(batch_end(b"one\ntwo\nhalf", false), 8);
        assert_eq!(batch_end(b"one\ntwo\nhalf", true), 8);
    }

    #[test]
    fn a_full_batch_does_not_tear_a_stack_trace() {
        let line = format!("{}\n", "x".repeat(99));
        let mut text = line.repeat(BATCH_BYTES_MAX / 100 - 2).into_bytes();
        let expected = text.len();
        text.extend_from_slice(b"java.lang.Error: no\n");
        text.extend_from_slice("\tat a.b.C.d(C.java:1)\n".repeat(100).as_bytes());
        assert_eq!(batch_end(&text, false), expected);
        let only_continued = "\tat a.b.C.d(C.java:1)\n".repeat(100_000);
        assert!(batch_end(only_continued.as_bytes(), false) > BATCH_BYTES_MAX / 2, "and is bounded");
    }

    #[test]
    fn a_line_without_an_end_is_cut_between_characters() {
        let text = "é".repeat(LINE_BYTES_MAX);
        let odd = format!("x{text}");
        assert_eq!(batch_end(text.as_bytes(), false), LINE_BYTES_MAX);
        assert_eq!(batch_end(odd.as_bytes(), false), LINE_BYTES_MAX - 1);
        let sent = body(odd.as_bytes());
        let pieces: Vec<&[u8]> = sent.split(|byte| *byte == b'\n').collect();
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.len() <= LINE_BYTES_MAX && std::str::from_utf8(piece).is_ok()));
        assert_eq!(pieces.concat(), odd.as_bytes());
    }

    #[test]
    fn halves_are_whole_lines() {
        assert_eq!(halves(b"a\nbb\n"), Some((&b"a\n"[..], &b"bb\n"[..])));
        assert_eq!(halves(b"aaaaaaaaa\nb"), Some((&b"aaaaaaaaa\n"[..], &b"b"[..])));
        assert_eq!(halves(b"a\nbbbbbbbbb"), Some((&b"a\n"[..], &b"bbbbbbbbb"[..])));
        assert_eq!(halves(b"one line\n"), None);
        assert_eq!(halves(b""), None);
    }

    proptest! {
        #[test]
        fn batches_one_after_the_other_are_the_text(
            lines in prop::collection::vec((0usize..3, 0usize..600_000), 0..8),
        ) {
            let text: Vec<u8> = lines
                .iter()
                .flat_map(|(kind, len)| [" at x".as_bytes(), b"x", b""][*kind].repeat(len / 5).into_iter().chain([b'\n']))
                .collect();
            let (mut rest, mut sent) = (&text[..], Vec::new());
            while !rest.is_empty() {
                let end = batch_end(rest, true);
                prop_assert!(end > 0 && end <= BATCH_BYTES_MAX);
                sent.extend_from_slice(&rest[..end]);
                prop_assert!(body(&rest[..end]).split(|byte| *byte == b'\n').all(|line| line.len() <= LINE_BYTES_MAX));
                rest = &rest[end..];
            }
            prop_assert_eq!(sent, text);
        }
    }
}
