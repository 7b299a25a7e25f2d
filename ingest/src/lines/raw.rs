//! A text without a known structure: the text is the message. Its level and time are taken from it when they are beyond
//! doubt, because a service that logs plain text should have an error rate too.

use std::borrow::Cow;

use shipwake_model::words::without_control_sequences;

use super::fields::Line;
use super::rules::Rules;
use super::{severity, time, trace};

/// How far into a line a level is looked for: behind a time, a thread and a logger's name, not in the message.
const LEVEL_WITHIN_BYTES: usize = 120;

pub(super) fn parse<'a>(text: &'a str, rules: &Rules) -> Line<'a> {
    // Many loggers colour the time and the level; the text stays as it came.
    let first_line = without_control_sequences(text.lines().next().unwrap_or(""));
    let found = level(first_line.as_bytes());
    // A trace is trouble even if no logger says so.
    let severity = found.map_or_else(|| trace::severity(text.as_bytes()), |(number, _)| number);
    Line {
        time_ns: time_of(&first_line, rules.zone_s),
        severity,
        severity_text: found.map(|(_, word)| String::from_utf8_lossy(word).into_owned().into()).unwrap_or_default(),
        message: Some(Cow::Borrowed(text)),
        ..Line::default()
    }
}

/// The time that a line begins with, as one word or as date and time of day. Without a zone only when somebody said which.
fn time_of(line: &str, zone_s: Option<i64>) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?.trim_matches(['[', ']']);
    // A number is no time here: it may count anything.
    let looks_dated = first.len() >= 8 && first.contains(['-', '/']) && first.as_bytes()[0].is_ascii_digit();
    if !looks_dated {
        return None;
    }
    time::from_text(first, zone_s).or_else(|| {
        let second = words.next()?.trim_matches([']', ',']);
        time::from_text(&format!("{first} {second}"), zone_s)
    })
}

/// The level that the head of a line states beyond doubt, and the word for it: a word in capitals, or alone between
/// brackets; or in the first place, a word with a colon behind it or the letter of a klog header.
pub(super) fn level(line: &[u8]) -> Option<(i32, &[u8])> {
    let head = &line[..line.len().min(LEVEL_WITHIN_BYTES)];
    if let Some(found) = leading(head) {
        return Some(found);
    }
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
            let number = number_of(word);
            if number != 0 {
                return Some((number, word));
            }
        }
        start = end;
    }
    None
}

/// `error: …`, `fail: …`, and `E1126 10:55:41.123456 …` as Kubernetes and Google's libraries write it.
fn leading(head: &[u8]) -> Option<(i32, &[u8])> {
    let len = head.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(head.len());
    let (word, rest) = head.split_at(len);
    if rest.starts_with(b": ") && !word.is_empty() && number_of(word) != 0 {
        return Some((number_of(word), word));
    }
    let digits =
        |range: std::ops::Range<usize>| rest.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    if word.len() == 1 && digits(0..4) && rest.get(4) == Some(&b' ') && digits(5..7) && rest.get(7) == Some(&b':') {
        let number = match word {
            b"I" => 9,
            b"W" => 13,
            b"E" => 17,
            b"F" => 21,
            _ => return None,
        };
        return Some((number, word));
    }
    None
}

fn number_of(word: &[u8]) -> i32 {
    severity::from_text(std::str::from_utf8(word).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_only_where_it_is_certain() {
        let check = |line: &str, expected: i32| assert_eq!(parse(line, &Rules::default()).severity, expected, "{line}");
        check("2026-11-23 10:00:00,123 ERROR [main] c.e.App - failed", 17);
        check("[error] 123#0: *1 open() failed", 17);
        check("WARNING: disk", 13);
        check("I0423 INFO x", 9);
        check("no error here", 0);
        check("user ERROR_CODE=5", 0);
        check("2026-11-23 [http-nio-1] INFO started without ERROR", 9);
        check("", 0);
        check(&format!("{} ERROR", "x".repeat(200)), 0);
        check("[10:55:41 WRN] slow", 13);
        check("fail: Shop.Cart[0]", 17);
        check("error: no such file", 17);
        check("the error: no such file", 0);
        check("E1126 10:55:41.123456       1 main.go:7] lost", 17);
        check("F1126 x", 0);
        check("fine\nERROR in the second line", 0);
        check("\u{1b}[31mERROR\u{1b}[0m red", 17);
        check("\u{1b}[2m2026-11-23T10:00:00Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m \u{1b}[2mshop\u{1b}[0m: slow", 13);
    }

    #[test]
    fn a_time_without_a_zone_needs_one_that_was_said() {
        let time = |line: &str, zone_s: Option<i64>| parse(line, &Rules { zone_s, ..Rules::default() }).time_ns;
        let at_ten = Some(1_795_428_000_000_000_000);
        assert_eq!(time("2026-11-23T10:00:00Z x", None), at_ten);
        assert_eq!(time("[2026-11-23T10:00:00Z] x", None), at_ten);
        assert_eq!(time("\u{1b}[2m2026-11-23T10:00:00Z\u{1b}[0m x", None), at_ten);
        assert_eq!(time("2026-11-23 10:00:00 x", None), None);
        assert_eq!(time("2026-11-23 11:00:00,000 x", Some(3600)), at_ten);
        assert_eq!(time("[2026-11-23 10:00:00] x", Some(0)), at_ten);
        assert_eq!(time("1795428000 x", Some(0)), None);
        assert_eq!((time("", Some(0)), time("é-é-é-é-é x", Some(0))), (None, None));
    }
}
