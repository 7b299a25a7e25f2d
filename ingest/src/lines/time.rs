//! Times as lines carry them, in nanoseconds since the epoch. Text is RFC 3339 and its usual relatives; numbers are seconds,
//! milliseconds, microseconds or nanoseconds, told apart by their size.

const SECOND_NS: i64 = 1_000_000_000;

/// The time that a text gives. `zone_optional`: a text without an offset counts as UTC.
pub(crate) fn from_text(text: &str, zone_optional: bool) -> Option<u64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    if zone_optional && !text.is_empty() && bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return from_epoch(text.parse().ok()?, text.parse().ok());
    }
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separators = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    if bytes.len() < 19 || separators.iter().any(|(at, byte)| bytes[*at] != byte[0]) || !b"Tt ".contains(&bytes[10]) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1970..=2261).contains(&year) || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    // A leap second, 60, counts as the second after it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ns, rest) = fraction(&text[19..])?;
    let offset_s = offset(rest.trim_start(), zone_optional)?;
    let seconds = days_from_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    u64::try_from(seconds * SECOND_NS + fraction_ns).ok()
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

/// Nanoseconds of a fraction, if there is one, and what is behind it.
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
fn offset(text: &str, optional: bool) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("utc") || (text.is_empty() && optional) {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years are counted from March, so that the leap day is last.
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
    fn texts_are_read_as_they_stand() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(from_text(text, true), expected, "{text}");
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
        assert_eq!(from_text("2026-11-23T10:00:00", false), None, "whose clock it is nobody knows");
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
