//! What a sender says on standard error: that Shipwake is away and that it is back, and which lines were rejected. A fault
//! that repeats is said now and then, with its count, and a line's text is made harmless for terminals.

use std::time::{Duration, Instant};

use crate::visible::visible;

/// How often a lasting outage is said again.
const REMIND_EVERY: Duration = Duration::from_secs(30);
/// Rejected lines that are shown within `REJECTED_WITHIN`.
const REJECTED_MAX: u32 = 5;
const REJECTED_WITHIN: Duration = Duration::from_secs(10);
/// How much of a rejected line is shown.
const SHOWN_CHARS_MAX: usize = 120;

/// Remembers what was said. The texts are returned, not printed.
#[derive(Debug, Default)]
pub struct Words {
    outage: Option<Outage>,
    shown: u32,
    shown_since: Option<Instant>,
    unshown: u64,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    said: Instant,
}

impl Words {
    /// Shipwake did not take a batch.
    pub fn away(&mut self, place: &str, reason: &str, now: Instant) -> Option<String> {
        match &mut self.outage {
            None => {
                self.outage = Some(Outage { since: now, said: now });
                Some(format!("{place}: {reason}; holding lines and trying again"))
            }
            Some(outage) if now - outage.said >= REMIND_EVERY => {
                outage.said = now;
                Some(format!("{place}: {reason}; still trying after {} s", (now - outage.since).as_secs()))
            }
            Some(_) => None,
        }
    }

    /// Shipwake took a batch.
    pub fn back(&mut self, place: &str, now: Instant) -> Option<String> {
        let outage = self.outage.take()?;
        Some(format!("{place} takes lines again after {:.1} s", (now - outage.since).as_secs_f64()))
    }

    /// A line was rejected.
    pub fn rejected(&mut self, line: &[u8], reason: &str, now: Instant) -> Option<String> {
        if self.shown_since.is_none_or(|since| now - since >= REJECTED_WITHIN) {
            (self.shown_since, self.shown) = (Some(now), 0);
        }
        if self.shown >= REJECTED_MAX {
            self.unshown += 1;
            return None;
        }
        self.shown += 1;
        let before = match std::mem::take(&mut self.unshown) {
            0 => String::new(),
            count => format!("{count} more lines were rejected; "),
        };
        Some(format!("{before}rejected ({reason}): {}", harmless(line)))
    }
}

fn harmless(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut shown = visible(&text.chars().take(SHOWN_CHARS_MAX).collect::<String>());
    if text.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    shown
}

/// Prints a line for people.
pub fn say(text: &str) {
    eprintln!("shipwake: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_then_now_and_then_and_its_end() {
        let (mut words, start) = (Words::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(words.back("x", at(0)), None);
        let said = words.away("x", "no answer", at(0));
        assert_eq!(said.as_deref(), Some("x: no answer; holding lines and trying again"));
        assert_eq!(words.away("x", "no answer", at(29)), None);
        assert_eq!(words.away("x", "no answer", at(31)).as_deref(), Some("x: no answer; still trying after 31 s"));
        assert_eq!(words.away("x", "no answer", at(40)), None);
        assert_eq!(words.back("x", at(45)).as_deref(), Some("x takes lines again after 45.0 s"));
        assert_eq!(words.back("x", at(46)), None);
    }

    #[test]
    fn rejected_lines_are_shown_with_a_limit() {
        let (mut words, start) = (Words::default(), Instant::now());
        let said: Vec<_> = (0..9).filter_map(|_| words.rejected(b"a\x1b[31m", "bad", start)).collect();
        assert_eq!(said, vec!["rejected (bad): a\\u{1b}[31m"; 5]);
        let later = words.rejected(b"b", "bad", start + REJECTED_WITHIN);
        assert_eq!(later.as_deref(), Some("4 more lines were rejected; rejected (bad): b"));
        assert!(words.rejected(&[b'x'; 500], "long", start + REJECTED_WITHIN).is_some_and(|text| text.ends_with('…')));
    }
}
