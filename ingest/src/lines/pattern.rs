//! Lines that are read by a pattern of the sender's: its named groups are fields, with the names of `fields.rs`.
//!
//! A pattern is compiled once and kept while it is among the last few that were used. Its size and the memory it may take
//! while it runs are bounded, and matching takes time in proportion to the line.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

use super::fields::{Line, assign};
use super::logfmt;
use super::rules::Rules;

/// Patterns that are kept compiled: each sender has one or two.
const PATTERNS_MAX: usize = 32;
const PATTERN_BYTES_MAX: usize = 2048;
/// Longest line that a pattern is tried on: the worst of patterns take a step for each of their states at each byte.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Memory of a compiled pattern, and of each of its caches.
const PATTERN_MEMORY_MAX: usize = 512 << 10;

/// The patterns that were used last.
#[derive(Default)]
pub(crate) struct Patterns {
    /// The newest first.
    known: Mutex<VecDeque<Arc<Regex>>>,
}

impl Patterns {
    /// The compiled pattern. The error is for the sender.
    pub(super) fn get(&self, text: &str) -> Result<Arc<Regex>, String> {
        if let Some(found) = self.known(text) {
            return Ok(found);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let compiled = RegexBuilder::new(text)
            .size_limit(PATTERN_MEMORY_MAX)
            .dfa_size_limit(PATTERN_MEMORY_MAX)
            .nest_limit(64)
            .build()
            .map_err(|error| last_line(&error.to_string()))?;
        if compiled.capture_names().flatten().next().is_none() {
            return Err("it has no named group, such as (?<message>.*)".to_owned());
        }
        let compiled = Arc::new(compiled);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push_front(compiled.clone());
        known.truncate(PATTERNS_MAX);
        Ok(compiled)
    }

    fn known(&self, text: &str) -> Option<Arc<Regex>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let index = known.iter().position(|pattern| pattern.as_str() == text)?;
        let found = known.remove(index)?;
        known.push_front(found.clone());
        Some(found)
    }
}

/// Reads a record by the pattern, which is looked for in its first line. Lines that follow belong to the message.
pub(super) fn parse<'a>(text: &'a str, pattern: &Regex, rules: &Rules) -> Result<Line<'a>, String> {
    let (first, following) = text.split_at(text.find('\n').unwrap_or(text.len()));
    if first.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes, too long for a pattern"));
    }
    let Some(groups) = pattern.captures(first) else { return Err("does not match the pattern".to_owned()) };
    let fields = pattern.capture_names().flatten().filter_map(|name| {
        let value = groups.name(name)?.as_str();
        (!value.is_empty()).then(|| (Cow::Owned(name.to_owned()), logfmt::plain(value)))
    });
    let mut line = assign(fields.collect(), rules);
    match &mut line.message {
        Some(message) if !following.is_empty() => message.to_mut().push_str(following),
        Some(_) => {}
        None => line.message = Some(Cow::Borrowed(text)),
    }
    if line.message.as_deref() == Some("") {
        line.message = Some(Cow::Borrowed(text));
    }
    Ok(line)
}

/// What is wrong, without the picture of where.
fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("not a regular expression").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::fields::Field;

    fn shown(fields: &[Field<'_>]) -> Vec<String> {
        fields.iter().map(|(name, value)| format!("{name}={}", value.to_text())).collect()
    }

    #[test]
    fn named_groups_are_fields() {
        let patterns = Patterns::default();
        let text = r"^(?<time>\S+) (?<level>\w+) \[(?<service.version>[^\]]+)\] took (?<took_ms>\d+) (?<message>.*)";
        let pattern = patterns.get(text).expect("valid");
        let line = "2026-11-23T10:00:00Z WARN [1.10] took 17 slow query\n  select 1";
        let line = parse(line, &pattern, &Rules::default()).expect("matches");
        assert_eq!((line.severity, line.time_ns), (13, Some(1_795_428_000_000_000_000)));
        assert_eq!(line.identity.version.as_deref(), Some("1.10"));
        assert_eq!(line.message.as_deref(), Some("slow query\n  select 1"));
        assert_eq!(shown(&line.attributes), ["took_ms=17"]);
        assert!(parse("something else", &pattern, &Rules::default()).is_err());
        assert!(parse(&"x".repeat(LINE_BYTES_MAX + 1), &pattern, &Rules::default()).is_err());
        assert!(Arc::ptr_eq(&pattern, &patterns.get(text).expect("kept")));
    }

    #[test]
    fn a_record_without_a_message_group_is_its_own_message() {
        let pattern = Patterns::default().get(r"user=(?<user>\w+)").expect("valid");
        let line = parse("login user=ada", &pattern, &Rules::default()).expect("matches");
        assert_eq!(line.message.as_deref(), Some("login user=ada"));
    }

    #[test]
    fn bad_and_costly_patterns_are_refused_and_the_kept_ones_are_bounded() {
        let patterns = Patterns::default();
        for bad in ["(", r"\d+", r"(?<a>\w{500}){500}", &"a".repeat(3000), &"(".repeat(1000)] {
            assert!(patterns.get(bad).is_err(), "{bad}");
        }
        for n in 0..100 {
            patterns.get(&format!("(?<a>{n})")).expect("valid");
        }
        assert_eq!(patterns.known.lock().expect("not poisoned").len(), PATTERNS_MAX);
    }
}
