//! Times as lines carry them, in nanoseconds since the epoch. Text is RFC 3339 and its usual relatives, the common log
//! format, or a syslog stamp; numbers are seconds, milliseconds, microseconds or nanoseconds, told apart by their size.
//! A zone is given in seconds east of UTC.

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

/// The zone that somebody names: `Z`, `UTC`, `+02:00`, `-0500`. A blank in front is the plus of a query that was not escaped.
pub(crate) fn zone_from_text(text: &str) -> Option<i64> {
    let text = text.strip_prefix(' ').map_or_else(|| text.to_owned(), |digits| format!("+{digits}"));
    offset(text.trim())
}

/// The time that a text gives. `zone`: what a text without an offset counts as; without it such a text gives no time.
pub(crate) fn from_text(text: &str, zone: Option<i64>) -> Option<u64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let numeric = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    if zone.is_some() && !text.is_empty() && bytes.iter().all(numeric) {
        return from_epoch(text.parse().ok()?, text.parse().ok());
    }
    if bytes.get(2) == Some(&b'/') {
        return from_clf(bytes, zone);
    }
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if bytes.len() < 19
        || separators.iter().any(|(at, byte)| bytes[*at] != *byte)
        || !matches!(bytes[10], b'T' | b't' | b' ')
    {
        return None;
    }
    let year = two_digits(bytes, 0)? * 100 + two_digits(bytes, 2)?;
    let (month, day, day_s) = (two_digits(bytes, 5)?, two_digits(bytes, 8)?, day_seconds(bytes, 11)?);
    if !(1970..=2261).contains(&year) || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let (fraction_ns, rest) = fraction(&text[19..])?;
    let rest = rest.trim_start();
    let offset_s = if rest.is_empty() { zone? } else { offset(rest)? };
    let seconds = days_from_epoch(year, month, day) * DAY_S + day_s - offset_s;
    u64::try_from(seconds * SECOND_NS + fraction_ns).ok()
}

/// The time of the common log format, `10/Oct/2026:13:55:36 +0000`, and HAProxy's, `06/Feb/2026:12:14:14.655`, which has no
/// offset and is read in `zone`.
#[inline]
pub(super) fn from_clf(text: &[u8], zone: Option<i64>) -> Option<u64> {
    let (date, rest) = text.split_first_chunk::<20>()?;
    let separators = [(2, b'/'), (6, b'/'), (14, b':'), (17, b':')];
    // Python's own servers put a blank between date and time.
    if separators.iter().any(|(at, byte)| date[*at] != *byte) || !matches!(date[11], b':' | b' ') {
        return None;
    }
    let month = month(&date[3..6])?;
    let year = two_digits(date, 7)? * 100 + two_digits(date, 9)?;
    let day_s = day_seconds(date, 12)?;
    let day = two_digits(date, 0)?;
    if !(1970..=2261).contains(&year) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let (fraction_ns, rest) = match rest.first() {
        Some(b'.' | b',') => {
            let (ns, rest) = fraction(std::str::from_utf8(rest).ok()?)?;
            (ns, rest.as_bytes())
        }
        _ => (0, rest),
    };
    let offset_s = match rest {
        [] => zone?,
        [b' ', sign @ (b'+' | b'-'), _, _, _, _] => {
            let offset_s = two_digits(rest, 2)? * 3600 + two_digits(rest, 4)? * 60;
            if *sign == b'-' { -offset_s } else { offset_s }
        }
        _ => return None,
    };
    let seconds = days_from_epoch(year, month, day) * DAY_S + day_s - offset_s;
    u64::try_from(seconds * SECOND_NS + fraction_ns).ok()
}

/// The time of a syslog stamp, `Nov  6 12:14:14`, which has no year: the one that brings it nearest to `received_ns`. What
/// is not such a stamp gives nothing.
pub(super) fn from_syslog(text: &[u8], zone: i64, received_ns: u64) -> Option<u64> {
    let stamp: &[u8; 15] = text.try_into().ok()?;
    if stamp[3] != b' ' || stamp[6] != b' ' || stamp[9] != b':' || stamp[12] != b':' {
        return None;
    }
    let month = month(&stamp[..3])?;
    let day = if stamp[4] == b' ' { digit(stamp[5])? } else { two_digits(stamp, 4)? };
    let day_s = day_seconds(stamp, 7)?;
    let received_s = i64::try_from(received_ns).ok()? / SECOND_NS;
    let this_year = 1970 + received_s / (DAY_S * 365 + DAY_S / 4);
    let in_year = |year: i64| {
        let exists = (1..=days_in(year, month)).contains(&day);
        exists.then(|| days_from_epoch(year, month, day) * DAY_S + day_s - zone)
    };
    let nearest = (this_year - 1..=this_year + 1).filter_map(in_year).min_by_key(|at_s| (at_s - received_s).abs())?;
    u64::try_from(nearest * SECOND_NS).ok()
}

#[inline]
fn month(name: &[u8]) -> Option<i64> {
    Some(match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// Seconds since midnight of `13:55:36`. A leap second, 60, counts as the second after it.
#[inline(always)]
fn day_seconds(text: &[u8], at: usize) -> Option<i64> {
    let (hour, minute, second) = (two_digits(text, at)?, two_digits(text, at + 3)?, two_digits(text, at + 6)?);
    (hour <= 23 && minute <= 59 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

#[inline(always)]
fn two_digits(text: &[u8], at: usize) -> Option<i64> {
    Some(digit(*text.get(at)?)? * 10 + digit(*text.get(at + 1)?)?)
}

#[inline]
fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

/// The time that a number gives. `whole` is the number when it has no fraction, for its full precision.
pub(crate) fn from_epoch(number: f64, whole: Option<i64>) -> Option<u64> {
    if !number.is_finite() || number <= 0.0 {
        return None;
    }
    // 1e11 s is the year 5138, and 1e11 ms is 1973: no plausible time is in doubt.
    let scale = match number {
        n if n < 1e11 => SECOND_NS,
        n if n < 1e14 => 1_000_000,
        n if n < 1e17 => 1000,
        n if n < 9e18 => 1,
        _ => return None,
    };
    match whole {
        Some(whole) => u64::try_from(whole.checked_mul(scale)?).ok(),
        None => {
            // A double of today's seconds is good to a fifth of a microsecond: the digits behind that are noise.
            let fraction_us = (number.fract() * scale as f64 / 1000.0).round() as i64;
            let whole_ns = (number.trunc() as i64).checked_mul(scale)?;
            u64::try_from(whole_ns.checked_add(fraction_us * 1000)?).ok()
        }
    }
}

/// A time as RFC 3339 to the millisecond, for answers.
pub(crate) fn to_text(time_ns: i64) -> String {
    let (days, rest_ns) = (time_ns.div_euclid(DAY_S * SECOND_NS), time_ns.rem_euclid(DAY_S * SECOND_NS));
    let (mut year, mut left) = (1970 + days.div_euclid(366), days);
    // The first guess is too early by a day for each common year since 1970: some months at the most until 2261.
    left -= days_from_epoch(year, 1, 1);
    let days_of = |year: i64| days_from_epoch(year + 1, 1, 1) - days_from_epoch(year, 1, 1);
    while left >= days_of(year) {
        left -= days_of(year);
        year += 1;
    }
    let mut month = 1;
    while left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    let (seconds, ms) = (rest_ns / SECOND_NS, rest_ns % SECOND_NS / 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z", left + 1)
}

/// Nanoseconds of a fraction, if there is one, and what is behind it.
#[inline]
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    if len == 0 {
        return None;
    }
    let mut ns = 0;
    for index in 0..9 {
        let digit = if index < len { digits.as_bytes()[index] - b'0' } else { 0 };
        ns = ns * 10 + i64::from(digit);
    }
    Some((ns, &digits[len..]))
}

/// Seconds east of UTC.
#[inline]
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("utc") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (mut digits, mut count) = ([0; 4], 0);
    for byte in text.bytes().skip(1).filter(|byte| *byte != b':') {
        *digits.get_mut(count)? = digit(byte)?;
        count += 1;
    }
    let [hours, minutes] = [digits[0] * 10 + digits[1], digits[2] * 10 + digits[3]];
    if !matches!(count, 2 | 4) {
        return None;
    }
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

#[inline]
fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years are counted from March, so that the leap day is last.
#[inline]
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let months_from_march = (month + 9) % 12;
    let day_of_year = (153 * months_from_march + 2) / 5 + day - 1;
    let leap_days = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
    // 719 468 days lie between 0000-03-01 and 1970-01-01.
    year_from_march * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in [
            "1970-01-01T00:00:00.000Z",
            "2000-02-29T12:34:56.789Z",
            "2026-12-31T23:59:59.999Z",
            "2100-03-01T00:00:00.000Z",
        ] {
            let time_ns = from_text(text, None).expect("a time");
            assert_eq!(to_text(time_ns as i64), text);
        }
        for day in 0..60_000 {
            let text = to_text(day * DAY_S * SECOND_NS);
            assert_eq!(from_text(&text, None), u64::try_from(day * DAY_S * SECOND_NS).ok(), "{text}");
        }
    }

    #[test]
    fn texts_are_read_as_they_stand() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(from_text(text, Some(0)), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:34:56.789Z", Some(951_827_696_789_000_000));
        check("2026-11-23 10:00:00,5", Some(1_795_428_000_500_000_000));
        check("2026-11-23T10:00:00.123456789+05:30", Some(1_795_408_200_123_456_789));
        check("2026-11-23T10:00:00 -0800", Some(1_795_456_800_000_000_000));
        check("1795428000", Some(1_795_428_000_000_000_000));
        check("1795428000123", Some(1_795_428_000_123_000_000));
        for bad in
            ["", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-23", "10:00:00", "2026-11-23T25:00:00Z"]
        {
            check(bad, None);
        }
        check("2026-11-23T10:00:00.Z", None);
        check("2026-11-23T10:00:00 CET", None);
        check("2026-11-23é10:00:00", None);
        assert_eq!(from_text("2026-11-23T10:00:00", None), None, "whose clock it is nobody knows");
        assert_eq!(from_text("2026-11-23T10:00:00", Some(7200)), Some(1_795_420_800_000_000_000));
    }

    #[test]
    fn the_common_log_format_has_a_zone_or_is_given_one() {
        let check = |text: &str, zone: i64, expected: Option<u64>| {
            assert_eq!(from_clf(text.as_bytes(), Some(zone)), expected, "{text}");
        };
        check("23/Nov/2026:10:00:00 +0000", 0, Some(1_795_428_000_000_000_000));
        check("23/Nov/2026:10:00:00 +0530", 0, Some(1_795_408_200_000_000_000));
        check("23/Nov/2026:10:00:00 -0800", 99, Some(1_795_456_800_000_000_000));
        check("23/Nov/2026:10:00:00.655", 0, Some(1_795_428_000_655_000_000));
        check("23/Nov/2026:10:00:00.655", 3600, Some(1_795_424_400_655_000_000));
        check("23/Nov/2026 10:00:00", 0, Some(1_795_428_000_000_000_000));
        check("31/Dec/1999:23:59:60", 0, Some(946_684_800_000_000_000));
        for bad in [
            "",
            "23/Nov/2026",
            "23/nov/2026:10:00:00",
            "31/Nov/2026:10:00:00",
            "23/Nov/2026:24:00:00",
            "23/Nov/2026:10:00:00 CET",
            "23/Nov/2026:10:00:00 +00:00",
            "23/Nov/2026:10:00:00.",
            "-1/Nov/2026:10:00:00",
            "é3/Nov/2026:10:00:0",
        ] {
            check(bad, 0, None);
        }
    }

    #[test]
    fn a_stamp_without_a_year_is_of_the_year_that_brings_it_nearest() {
        let new_year = from_text("2027-01-01T00:00:05Z", None).expect("a time");
        let check = |stamp: &str, expected: Option<&str>| {
            let expected = expected.map(|text| from_text(text, None).expect("a time"));
            assert_eq!(from_syslog(stamp.as_bytes(), 0, new_year), expected, "{stamp}");
        };
        check("Dec 31 23:59:59", Some("2026-12-31T23:59:59Z"));
        check("Jan  1 00:00:07", Some("2027-01-01T00:00:07Z"));
        check("Jan 01 00:00:07", Some("2027-01-01T00:00:07Z"));
        check("Feb 29 12:00:00", None);
        check("Jan 32 00:00:00", None);
        check("jan  1 00:00:00", None);
        check("Jan 1 00:00:007", None);
        let leap = from_text("2028-03-01T00:00:00Z", None).expect("a time");
        assert_eq!(from_syslog(b"Feb 29 23:00:00", -3600, leap), from_text("2028-03-01T00:00:00Z", None));
    }

    #[test]
    fn a_zone_is_an_offset_and_a_plus_may_have_become_a_blank() {
        for (text, expected) in [
            ("Z", Some(0)),
            ("utc", Some(0)),
            ("+02:00", Some(7200)),
            (" 02:00", Some(7200)),
            ("-0530", Some(-19_800)),
            ("Europe/Berlin", None),
            ("", None),
            ("+é", None),
        ] {
            assert_eq!(zone_from_text(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_told_apart_by_size() {
        for (number, expected_ms) in [(1_795_428_000.25, 1_795_428_000_250), (1_795_428_000_250.0, 1_795_428_000_250)] {
            assert_eq!(from_epoch(number, None).map(|time| time / 1_000_000), Some(expected_ms));
        }
        assert_eq!(from_epoch(1.7e18, Some(1_700_000_000_000_000_001)), Some(1_700_000_000_000_000_001));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e19] {
            assert_eq!(from_epoch(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = 0;
        for year in 1970..2262 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days_from_epoch(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
    }
}
