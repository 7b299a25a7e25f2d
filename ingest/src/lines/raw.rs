//! A line without a known structure: the text is the message. Its level and time are taken from it when they are beyond
//! doubt, because a service that logs plain text should have an error rate too.

use super::fields::Line;
use super::{severity, time};

/// How far into a line a level is looked for: behind a time, a thread and a logger's name, not in the message.
const LEVEL_WITHIN_BYTES: usize = 120;

pub(super) fn parse(line: &[u8]) -> Line {
    let text = String::from_utf8_lossy(line).into_owned();
    let found = level(line);
    let first_word = text.split_ascii_whitespace().next().unwrap_or("");
    Line {
        time_ns: time::from_text(first_word.trim_matches(['[', ']']), false),
        severity: found.map_or(0, |(number, _)| number),
        severity_text: found.map(|(_, word)| String::from_utf8_lossy(word).into_owned()).unwrap_or_default(),
        message: Some(text),
        ..Line::default()
    }
}

/// The first word that can only be a level: in capitals, or alone between brackets.
fn level(line: &[u8]) -> Option<(i32, &[u8])> {
    let head = &line[..line.len().min(LEVEL_WITHIN_BYTES)];
    let mut start = 0;
    while start < head.len() {
        if !head[start].is_ascii_alphabetic() {
            start += 1;
            continue;
        }
        let len = head[start..].iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(head.len() - start);
        let (word, end) = (&head[start..start + len], start + len);
        let before = start.checked_sub(1).map(|at| head[at]);
        let bracketed = matches!((before, head.get(end)), (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')));
        let glued = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit() || byte == b'_' || byte == b'-');
        let alone = !glued(before) && !glued(head.get(end).copied());
        if alone && (bracketed || word.iter().all(u8::is_ascii_uppercase)) {
            let number = severity::from_text(std::str::from_utf8(word).unwrap_or(""));
            if number != 0 {
                return Some((number, word));
            }
        }
        start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_only_where_it_is_certain() {
        let check = |line: &str, expected: i32| assert_eq!(parse(line.as_bytes()).severity, expected, "{line}");
        check("2026-11-23 10:00:00,123 ERROR [main] c.e.App - failed", 17);
        check("[error] 123#0: *1 open() failed", 17);
        check("WARNING: disk", 13);
        check("I0423 INFO x", 9);
        check("no error here", 0);
        check("user ERROR_CODE=5", 0);
        check("2026-11-23 [http-nio-1] INFO started without ERROR", 9);
        check("", 0);
        check(&format!("{} ERROR", "x".repeat(200)), 0);
    }

    #[test]
    fn bytes_that_are_not_text_are_kept_lossily() {
        let line = parse(b"caf\xe9 \x00 ERROR");
        assert_eq!((line.message.as_deref(), line.severity), (Some("caf\u{fffd} \0 ERROR"), 17));
    }
}
