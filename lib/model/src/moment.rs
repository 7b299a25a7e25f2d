//! A point in time as a person writes it: a date, or a date and a time of day, with a zone or without one. Pure.
//!
//! Without a zone it is UTC, as everything that Shipwake prints is. Telemetry is not read here: what a sender means by a time without a
//! zone is not known.

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Years whose nanoseconds since 1970 fit into 64 bits.
const YEARS: std::ops::RangeInclusive<i64> = 1678..=2261;

/// The forms that [`parse`] reads, for messages.
pub const FORMS: &str = "a date and time of UTC or with a zone (2026-11-23, 2026-11-23 14:00, 2026-11-23T14:00:00Z, \
                         2026-11-23T15:00:00+01:00)";

/// Milliseconds since the epoch; what is finer is cut off, and a date alone is its first moment. `None` when it is no such text, or no
/// such day.
pub fn parse(text: &str) -> Option<i64> {
    let (date, rest) = text.trim().split_at_checked(10)?;
    let day_ms = day_of(date)? * DAY_MS;
    if rest.is_empty() {
        return Some(day_ms);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let of_clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | ',');
    let (clock, zone) = rest.split_at(rest.find(|c| !of_clock(c)).unwrap_or(rest.len()));
    Some(day_ms + clock_ms(clock)? - zone_ms(zone)?)
}

/// `2026-11-23` in days since 1970.
fn day_of(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let is_there = YEARS.contains(&year) && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    (is_there && parts.next().is_none()).then(|| days_before(year, month) + day - 1)
}

/// `14:00`, `14:00:05`, `14:00:05.25` in milliseconds since midnight. A leap second counts as the second after it.
fn clock_ms(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (second, ms) = match parts.next() {
        None => (0, 0),
        Some(second) => match second.split_once(['.', ',']) {
            None => (number(second, 2)?, 0),
            Some((second, fraction)) => (number(second, 2)?, fraction_ms(fraction)?),
        },
    };
    let is_there = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    is_there.then_some((hour * 60 + minute) * MINUTE_MS + second * 1_000 + ms)
}

fn fraction_ms(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.bytes().chain(*b"000").take(3).fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0')))
}

/// How far a zone is ahead of UTC: nothing, `Z`, `UTC`, `+02:00`, `-0500`, `+02`. A blank before hours and minutes is the plus of a query
/// string that was not escaped.
fn zone_ms(zone: &str) -> Option<i64> {
    let named = zone.trim_start();
    if named.is_empty() || named.eq_ignore_ascii_case("z") || named.eq_ignore_ascii_case("utc") {
        return Some(0);
    }
    let (sign, offset) = match named.as_bytes()[0] {
        b'+' => (1, &named[1..]),
        b'-' => (-1, &named[1..]),
        _ if zone.starts_with(' ') && named.contains(':') => (1, named),
        _ => return None,
    };
    let (hours, minutes) = match (offset.split_once(':'), offset.len()) {
        (Some((hours, minutes)), _) => (number(hours, 2)?, number(minutes, 2)?),
        (None, 2) => (number(offset, 2)?, 0),
        (None, _) => (number(offset.get(..2)?, 2)?, number(offset.get(2..)?, 2)?),
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes) * MINUTE_MS)
}

/// A number of exactly so many digits.
fn number(digits: &str, count: usize) -> Option<i64> {
    let is_number = digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days between the first of 1970 and the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    (year - 1970) * 365 + leap_days + (1..month).map(|month| days_in(year, month)).sum::<i64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: i64 = 1_795_428_000_000;

    #[test]
    fn a_time_is_read_in_every_form_that_a_person_writes() {
        let check = |text: &str, expected: i64| assert_eq!(parse(text), Some(expected), "{text}");
        check("2026-11-23", TEN - 10 * 3_600_000);
        check("2026-11-23 10:00", TEN);
        check("2026-11-23T10:00", TEN);
        check(" 2026-11-23 10:00:00 ", TEN);
        check("2026-11-23T10:00:00Z", TEN);
        check("2026-11-23t10:00:00z", TEN);
        check("2026-11-23 10:00 UTC", TEN);
        check("2026-11-23T12:00+02:00", TEN);
        check("2026-11-23 12:00:00 +0200", TEN);
        check("2026-11-23T05:00:00-05", TEN);
        check("2026-11-23T12:00:00 02:00", TEN);
        check("2026-11-23T10:00:00.0019Z", TEN + 1);
        check("2026-11-23T10:00:00,5", TEN + 500);
        check("2016-12-31T23:59:60Z", 1_483_228_800_000);
        check("1970-01-01T00:00:00Z", 0);
        check("1969-12-31T23:59:59.999Z", -1);
        check("2000-02-29T00:00:00Z", 951_782_400_000);
        check("2100-02-28T23:59:59Z", 4_107_542_399_000);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-11-2",
            "2026-13-01",
            "2026-00-10",
            "2026-02-29",
            "2100-02-29",
            "1677-01-01",
            "2262-01-01",
            "26-11-23 10:00",
            "2026-11-23x10:00",
            "2026-11-23 10",
            "2026-11-23 24:00",
            "2026-11-23 10:60",
            "2026-11-23 10:00:61",
            "2026-11-23 10:00:00.",
            "2026-11-23 10:00:00:00",
            "2026-11-23T10:00.5",
            "2026-11-23T10:00:00+1:00",
            "2026-11-23T10:00:00+01:00:00",
            "2026-11-23T10:00:00+19:00",
            "2026-11-23T10:00:00 CET",
            "2026-11-23T10:00:00 02",
            "2026-11-23Z",
            "+026-11-23",
            "２026-11-23T10:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// The calendar counted through, a day after the other.
    #[test]
    fn every_day_is_a_day_after_the_one_before() {
        let mut expected = None;
        for year in YEARS {
            for month in 1..=12 {
                for day in 1..=31 {
                    let Some(found) = parse(&format!("{year:04}-{month:02}-{day:02}")) else {
                        assert!(day > 28, "{year}-{month}-{day}");
                        continue;
                    };
                    assert!(expected.is_none_or(|expected| found == expected), "{year}-{month}-{day}");
                    expected = Some(found + DAY_MS);
                }
            }
        }
        assert_eq!(expected, parse("2261-12-31T23:59:59.999").map(|last| last + 1));
    }

    proptest! {
        #[test]
        fn no_text_brings_it_down(text in "[0-9TtZz:., +é-]{0,34}", any in ".{0,20}") {
            let _ = (parse(&text), parse(&any), parse(&format!("2026-11-23{any}")), parse(&format!("2026-11-23T10:00{text}")));
        }
    }
}
