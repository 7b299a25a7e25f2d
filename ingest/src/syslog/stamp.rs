//! The time of an RFC 3164 header: `Feb  6 12:14:14`, with a fraction, with a year before or behind the time, or an ISO time
//! as rsyslog forwards it. A stamp has no zone and often no year: [`Clock`] says what is assumed.
//!
//! Pure. The year is the latest that does not put the stamp a week or more ahead of the time of receipt, so that the last
//! messages of December that come in January are not of a year later, and a clock may be a little fast.

use super::message::Clock;
use crate::lines::time;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// A year of the Gregorian calendar, on average.
const YEAR_NS: i64 = 31_556_952 * 1_000_000_000;
const AHEAD_NS_MAX: i64 = 7 * 86_400 * 1_000_000_000;

/// Nanoseconds since the epoch, and what is behind the stamp.
pub(super) fn read(text: &[u8], clock: Clock) -> Option<(u64, &[u8])> {
    // Cisco marks a clock that is not synchronised.
    let text = text.strip_prefix(b"*").unwrap_or(text);
    if text.first()?.is_ascii_digit() { iso(text, clock) } else { bsd(text, clock) }
}

fn iso(text: &[u8], clock: Clock) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let word = std::str::from_utf8(text[..end].strip_suffix(b":").unwrap_or(&text[..end])).ok()?;
    let zone = word.contains('T').then_some(i64::from(clock.offset_s));
    let time_ns = time::from_text(word, zone)?;
    Some((time_ns, &text[end + 1..]))
}

fn bsd(text: &[u8], clock: Clock) -> Option<(u64, &[u8])> {
    let mut words = Words { rest: text };
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| month.as_bytes() == name)? + 1;
    let day = number(words.next()?, 2)?;
    let mut word = words.next()?;
    let mut year = None;
    if let Some(stated) = number(word, 4).filter(|_| word.len() == 4) {
        year = Some(stated);
        word = words.next()?;
    }
    let time = std::str::from_utf8(word.strip_suffix(b":").unwrap_or(word)).ok()?;
    let behind = words.rest;
    let mut rest = behind;
    if year.is_none() {
        // `Feb  6 12:14:14 2026 host`: only a year that can be meant, since a host may be a number too.
        let stated = words.next().filter(|word| word.len() == 4).and_then(|word| number(word, 4));
        year = stated.filter(|year| (1990..2100).contains(year));
        rest = if year.is_some() { words.rest } else { behind };
    }
    let of_year = |year: i64| {
        let text = format!("{year:04}-{month:02}-{day:02}T{time}");
        time::from_text(&text, Some(i64::from(clock.offset_s)))
    };
    let time_ns = match year {
        Some(year) => of_year(year)?,
        None => {
            let now = 1970 + clock.received_ns / YEAR_NS;
            let candidates = [now - 1, now, now + 1].into_iter().filter_map(of_year);
            let ahead_max = clock.received_ns.saturating_add(AHEAD_NS_MAX).max(0) as u64;
            candidates.rev().find(|ns| *ns <= ahead_max)?
        }
    };
    Some((time_ns, rest))
}

fn number(word: &[u8], digits_max: usize) -> Option<i64> {
    let is_number = (1..=digits_max).contains(&word.len()) && word.iter().all(u8::is_ascii_digit);
    is_number.then(|| word.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// Words between blanks.
struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest.trim_ascii_start();
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        self.rest = &text[end..];
        (end > 0).then(|| &text[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    /// 2026-01-01T00:00:30Z.
    const NEW_YEAR_NS: i64 = 1_767_225_630 * S;

    fn at(text: &str, received_ns: i64, offset_s: i32) -> Option<i64> {
        read(text.as_bytes(), Clock { received_ns, offset_s }).map(|(ns, _)| ns as i64)
    }

    #[test]
    fn the_year_is_the_last_that_is_not_ahead() {
        assert_eq!(at("Dec 31 23:59:59 h", NEW_YEAR_NS, 0), Some(NEW_YEAR_NS - 31 * S));
        assert_eq!(at("Jan  1 00:00:10 h", NEW_YEAR_NS, 0), Some(NEW_YEAR_NS - 20 * S));
        assert_eq!(at("Jan  1 00:00:10 h", NEW_YEAR_NS - 60 * S, 0), Some(NEW_YEAR_NS - 20 * S), "a fast clock");
        assert_eq!(at("Feb  1 00:00:30 h", NEW_YEAR_NS, 0), Some(NEW_YEAR_NS - 334 * 86_400 * S), "eleven months late");
        assert_eq!(at("Feb 29 00:00:00 h", 1_835_395_200 * S, 0), Some(1_835_395_200 * S));
    }

    #[test]
    fn zones_and_fractions() {
        assert_eq!(at("Jan  1 02:00:30 h", NEW_YEAR_NS, 7200), Some(NEW_YEAR_NS), "a clock two hours east");
        assert_eq!(at("Jan 1 00:00:30.250 h", NEW_YEAR_NS, 0), Some(NEW_YEAR_NS + S / 4));
        assert_eq!(at("*Jan  1 00:00:30: %SYS-5", NEW_YEAR_NS, 0), Some(NEW_YEAR_NS));
        assert_eq!(at("2026-01-01T02:00:30+02:00 h", 0, 7200), Some(NEW_YEAR_NS), "a stated zone is not moved");
        assert_eq!(at("2026-01-01T02:00:30 h", 0, 7200), Some(NEW_YEAR_NS));
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in ["", "Feb", "Feb 6", "Feb 6 12:14", "Fev  6 12:14:14 h", "Feb 6th 12:14:14", "12:14:14 h", "2026 h"]
        {
            assert_eq!(at(text, NEW_YEAR_NS, 0), None, "{text}");
        }
    }
}
