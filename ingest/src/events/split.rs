//! Where each event of a body begins and ends, without reading what is in it: so that one event at a time is taken apart,
//! and a broken one costs only itself. Pure.
//!
//! An array is cut between its elements and must be whole. Anything else is one object, or one object on each line.

use std::fmt;

/// Deeper nesting than this is refused before anything is parsed.
pub(super) const DEPTH_MAX: usize = 32;

/// Where an event stands in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Position in the array, from 0.
    Index(u64),
    /// Number of the line, from 1.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Index(index) => write!(f, "index {index}"),
            Place::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// The texts of the events. The error is about a body that cannot be cut at all.
pub(super) fn split(body: &[u8]) -> Result<Vec<(Place, &[u8])>, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_end();
    let start = body.len() - body.trim_ascii_start().len();
    match body.get(start) {
        None => Ok(Vec::new()),
        Some(b'[') => elements(&body[start + 1..]),
        // One object, perhaps over many lines.
        Some(b'{') if value_end(&body[start..]) == Some(body.len() - start) => {
            Ok(vec![(Place::Index(0), &body[start..])])
        }
        Some(_) => Ok(lines(body)),
    }
}

fn lines(body: &[u8]) -> Vec<(Place, &[u8])> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    lines.filter(|(_, line)| !line.is_empty()).map(|(at, line)| (Place::Line(at as u64 + 1), line)).collect()
}

/// The elements of an array whose bracket stands before `rest`.
fn elements(mut rest: &[u8]) -> Result<Vec<(Place, &[u8])>, String> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.first() == Some(&b']') && found.is_empty() {
            break;
        }
        let end = value_end(rest).ok_or_else(|| format!("the array is not valid JSON at element {}", found.len()))?;
        found.push((Place::Index(found.len() as u64), rest[..end].trim_ascii_end()));
        rest = rest[end..].trim_ascii_start();
        match rest.first() {
            Some(b',') => rest = &rest[1..],
            Some(b']') => break,
            _ => return Err(format!("the array does not go on after element {}", found.len() - 1)),
        }
    }
    match rest[1..].trim_ascii() {
        [] => Ok(found),
        _ => Err("something follows the array".to_owned()),
    }
}

/// Where the value at the beginning of `text` ends; `None` when it does not. Brackets and texts are followed; whether the
/// value is valid JSON otherwise is left to the parser.
fn value_end(text: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0usize, 0usize);
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string_end(text, at)?;
                if depth == 0 {
                    return Some(at);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return (at > 0).then_some(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b',' if depth == 0 => return (at > 0).then_some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the closing quote of the text that begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += 1;
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 1,
            _ => {}
        }
    }
}

/// Whether brackets nest deeper than [`DEPTH_MAX`].
pub(super) fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => match string_end(text, at) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return false,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn texts(body: &str) -> Vec<(Place, String)> {
        let found = split(body.as_bytes()).expect("can be cut");
        found.into_iter().map(|(place, text)| (place, String::from_utf8(text.to_vec()).expect("text"))).collect()
    }

    #[test]
    fn all_three_forms_are_told_apart() {
        let index = |at: u64, text: &str| (Place::Index(at), text.to_owned());
        let line = |at: u64, text: &str| (Place::Line(at), text.to_owned());
        assert_eq!(texts("  "), []);
        assert_eq!(texts("[ ]"), []);
        assert_eq!(texts("{\n \"a\": \"}\\\"\"\n}\n"), [index(0, "{\n \"a\": \"}\\\"\"\n}")]);
        assert_eq!(
            texts("[{\"a\":[1,2]} , {\"b\":\"],\"},7]"),
            [index(0, "{\"a\":[1,2]}"), index(1, "{\"b\":\"],\"}"), index(2, "7")]
        );
        assert_eq!(texts("{\"a\":1}\r\n\n{\"b\":\n"), [line(1, "{\"a\":1}"), line(3, "{\"b\":")]);
        assert_eq!(texts("nonsense"), [line(1, "nonsense")]);
        assert_eq!(texts("\u{feff}{\"a\":1}"), [index(0, "{\"a\":1}")]);
    }

    #[test]
    fn an_array_that_is_not_whole_is_refused_as_a_whole() {
        for bad in ["[", "[{\"a\":1}", "[{\"a\":1},", "[{\"a\":1},]", "[{}{}]", "[{}] x", "[\"a", "[,{}]"] {
            assert!(split(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_is_seen_before_it_is_parsed() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(is_too_deep(nested(DEPTH_MAX + 1).as_bytes()));
        assert!(!is_too_deep(br#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}"#));
    }

    proptest::proptest! {
        /// What is cut out of an array of any values are those values.
        #[test]
        fn the_elements_of_an_array_are_its_elements(
            texts in proptest::collection::vec("[ -~é]{0,12}", 0..6), pretty in proptest::bool::ANY,
        ) {
            let values: Vec<Value> = texts.iter().enumerate()
                .map(|(n, text)| serde_json::json!({ text.as_str(): [text, n, {"x": text}], "n": null })).collect();
            let body = if pretty { serde_json::to_vec_pretty(&values) } else { serde_json::to_vec(&values) };
            let body = body.expect("values can be written");
            let found: Vec<Value> = split(&body).expect("an array").into_iter()
                .map(|(_, text)| serde_json::from_slice(text).expect("an element")).collect();
            proptest::prop_assert_eq!(found, values);
        }

        /// Nothing that anybody can send makes it panic, and what is cut out lies in the body.
        #[test]
        fn anything_can_be_sent(body in proptest::collection::vec(proptest::sample::select(&b"[]{}\",\\ \n:1a"[..]), 0..40)) {
            if let Ok(found) = split(&body) {
                let total: usize = found.iter().map(|(_, text)| text.len()).sum();
                proptest::prop_assert!(total <= body.len());
            }
            is_too_deep(&body);
        }
    }
}
