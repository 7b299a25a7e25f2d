//! Points in time as people write them in a query string, and as they read them in a sentence. Pure: the present and the
//! first sight of a release are arguments.
//!
//! `now`, `now-30m`, `now-1h30m`, a date and time, epoch milliseconds, `deploy:2.14.0-10m`, `deploy:checkout@2.14.0+5m`.

use arrow::temporal_conversions::timestamp_ns_to_datetime;
use shipwake_model::moment;

use crate::error::QueryError;

/// Milliseconds in a second, a minute, an hour, a day.
pub(crate) const SECOND_MS: i64 = 1_000;
pub(crate) const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Twelve digits of milliseconds are the year 2001; fewer are somebody's seconds.
const EPOCH_MS_DIGITS_MIN: usize = 12;
const EPOCH_MS_DIGITS_MAX: usize = 15;

/// Reads a point in time, in milliseconds since the epoch.
///
/// `argument` is named in the error. `first_seen` answers when a version was first seen, for `deploy:` anchors.
///
/// # Errors
/// [`QueryError::BadArgument`] that says what was not understood and what would be.
pub(crate) fn parse_time(
    argument: &'static str,
    text: &str,
    now_ms: i64,
    first_seen: impl Fn(&str) -> Option<i64>,
) -> Result<i64, QueryError> {
    let bad = |reason: String| QueryError::BadArgument { argument, value: text.to_owned(), reason };
    let trimmed = text.trim();
    if let Some(offset) = trimmed.strip_prefix("now") {
        return match parse_offset(offset) {
            Some(offset_ms) => Ok(now_ms.saturating_add(offset_ms)),
            None => Err(bad("after `now` comes an offset like -30m or -1h30m".to_owned())),
        };
    }
    if let Some(anchor) = trimmed.strip_prefix("deploy:") {
        return parse_anchor(anchor, first_seen)
            .ok_or_else(|| bad("no release of this service with that version has been seen".to_owned()));
    }
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_epoch_ms(trimmed).map_err(bad);
    }
    moment::parse(trimmed).ok_or_else(|| {
        bad(format!("expected now, now-30m, {}, epoch milliseconds, or deploy:VERSION-10m", moment::FORMS))
    })
}

fn parse_epoch_ms(digits: &str) -> Result<i64, String> {
    if digits.len() < EPOCH_MS_DIGITS_MIN {
        return Err("too few digits for epoch milliseconds; seconds are not accepted".to_owned());
    }
    if digits.len() > EPOCH_MS_DIGITS_MAX {
        return Err("too many digits for epoch milliseconds".to_owned());
    }
    digits.parse().map_err(|_| "not a number".to_owned())
}

/// `2.14.0`, `2.14.0-10m`, `checkout@2.14.0-10m`. A version may itself end in something like `-10m`, so the whole text
/// is tried as a version first.
fn parse_anchor(anchor: &str, first_seen: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    let version = anchor.split_once('@').map_or(anchor, |(_, version)| version);
    if let Some(seen_ms) = first_seen(version) {
        return Some(seen_ms);
    }
    let sign = version.rfind(['-', '+'])?;
    let offset_ms = parse_offset(&version[sign..])?;
    first_seen(&version[..sign]).map(|seen_ms| seen_ms.saturating_add(offset_ms))
}

/// ``, `-30m`, `+5s`, `-1h30m` in milliseconds.
fn parse_offset(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let sign = match text.as_bytes()[0] {
        b'-' => -1,
        b'+' => 1,
        _ => return None,
    };
    parse_duration_ms(&text[1..])?.checked_mul(sign)
}

/// `10s`, `1h30m`, `500ms` in milliseconds. `None` when the text is not a duration.
pub(crate) fn parse_duration_ms(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => SECOND_MS,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => DAY_MS,
            "w" => 7 * DAY_MS,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(count.checked_mul(unit_ms)?)?;
    }
    (!text.is_empty()).then_some(total)
}

/// `14:02:10 UTC`: the clock time in a sentence. A page shows the day beside it.
pub(crate) fn clock_text(ms: i64) -> String {
    let second = ms.div_euclid(SECOND_MS).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// RFC 3339 in UTC, with as many digits of the second as are needed; `None` outside the calendar's range.
pub(crate) fn rfc3339_ns(ns: i64) -> Option<String> {
    let time = timestamp_ns_to_datetime(ns)?;
    let date = time.format("%Y-%m-%dT%H:%M:%S");
    let fraction = ns.rem_euclid(1_000_000_000);
    if fraction == 0 {
        return Some(format!("{date}Z"));
    }
    let digits = format!("{fraction:09}");
    Some(format!("{date}.{}Z", digits.trim_end_matches('0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_442_400_000;

    fn read(text: &str) -> Result<i64, QueryError> {
        parse_time("from", text, NOW, |version| match version {
            "2.14.0" => Some(1_000_000),
            "1.0-10m" => Some(5),
            _ => None,
        })
    }

    #[test]
    fn every_accepted_form_is_read() {
        let check = |text: &str, expected: i64| assert_eq!(read(text).expect(text), expected, "{text}");
        check("now", NOW);
        check("now-30m", NOW - 30 * MINUTE_MS);
        check("now-1h30m", NOW - 90 * MINUTE_MS);
        check("now+5s", NOW + 5_000);
        check("now-250ms", NOW - 250);
        check("1795404460000", 1_795_404_460_000);
        check("2026-11-23T10:00:00Z", 1_795_428_000_000);
        check("2026-11-23T12:00:00+02:00", 1_795_428_000_000);
        check("2026-11-23 10:00", 1_795_428_000_000);
        check("2026-11-23T10:00:00", 1_795_428_000_000);
        check("2026-11-23", 1_795_392_000_000);
        check("deploy:2.14.0", 1_000_000);
        check("deploy:2.14.0-10m", 1_000_000 - 10 * MINUTE_MS);
        check("deploy:checkout@2.14.0+1s", 1_001_000);
        check("deploy:1.0-10m", 5);
    }

    #[test]
    fn what_is_not_understood_names_the_argument() {
        for text in
            ["", "yesterday", "now-", "now-30", "now-30y", "now30m", "1795404460", "deploy:9.9", "deploy:", "-5"]
        {
            let error = read(text).expect_err(text);
            assert!(matches!(error, QueryError::BadArgument { argument: "from", .. }), "{text}: {error}");
        }
        assert!(read("1795404460").expect_err("seconds").to_string().contains("seconds"));
        let forms = read("yesterday").expect_err("no time").to_string();
        for form in ["now-30m", "2026-11-23 14:00", "2026-11-23T15:00:00+01:00", "epoch milliseconds", "deploy:"] {
            assert!(forms.contains(form), "{forms}");
        }
        assert!(read("now-99999999999999999w").is_err(), "an offset that overflows is refused");
    }

    #[test]
    fn times_are_written_for_people_and_for_machines() {
        assert_eq!(clock_text(1_795_428_000_000 + 130_000), "10:02:10 UTC");
        assert_eq!(rfc3339_ns(1_795_428_000_000_000_000).as_deref(), Some("2026-11-23T10:00:00Z"));
        assert_eq!(rfc3339_ns(1_795_428_000_120_000_000).as_deref(), Some("2026-11-23T10:00:00.12Z"));
        assert_eq!(rfc3339_ns(-1).as_deref(), Some("1969-12-31T23:59:59.999999999Z"));
    }
}
