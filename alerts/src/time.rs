//! Points in time and spans of it, as receivers and configuration write them. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// RFC 3339 in UTC, with milliseconds where there are any.
pub fn rfc3339(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let of_day = ms.rem_euclid(DAY_MS);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    let fraction = match of_day % 1_000 {
        0 => String::new(),
        ms => format!(".{ms:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// `10:02:10 UTC`: the clock time in a sentence.
pub fn clock_time(ms: i64) -> String {
    let second = ms.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

/// A span as people say it: `40 s`, `9 min`, `3 h`.
pub fn span(ms: i64) -> String {
    match ms.max(0) / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// `30s`, `5m`, `1h`, `2d`, in milliseconds.
pub fn parse_span(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count: i64 = text[..digits].parse().ok()?;
    let unit_ms = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        _ => return None,
    };
    count.checked_mul(unit_ms)
}

/// `Retry-After`: seconds, or a date, as the wait in milliseconds from now. `None` when it is neither.
pub fn retry_after(value: &str, now_ms: i64) -> Option<i64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date_ms = match date.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    Some(date_ms.saturating_sub(now_ms).max(0))
}

/// The system's time of day, ms since the epoch.
pub fn system_ms(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Year, month and day of a day since 1970. Counts in eras of 400 years that begin in March, so that leap days are last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use shipwake_model::moment;

    use super::*;

    #[test]
    fn times_are_written_as_the_wire_wants_them() {
        let check = |ms, expected: &str| assert_eq!(rfc3339(ms), expected);
        check(1_795_428_000_000, "2026-11-23T10:00:00Z");
        check(1_795_428_000_120, "2026-11-23T10:00:00.120Z");
        check(0, "1970-01-01T00:00:00Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00Z");
        check(4_107_542_399_000, "2100-02-28T23:59:59Z");
        for ms in [1_795_428_000_120, 0, -1, 951_782_400_000, 4_107_542_399_000] {
            assert_eq!(moment::parse(&rfc3339(ms)), Some(ms));
        }
        assert_eq!(clock_time(1_795_428_130_000), "10:02:10 UTC");
    }

    /// The calendar of another hand: every day of 400 years, as `httpdate` writes it.
    #[test]
    fn every_day_is_the_one_of_the_calendar() {
        for day in 0..146_097u64 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
            let theirs = httpdate::fmt_http_date(time);
            let ours = rfc3339(day as i64 * DAY_MS);
            let words: Vec<&str> = theirs.split(' ').collect();
            assert_eq!(format!("{}-{}", &ours[..4], &ours[8..10]), format!("{}-{}", words[3], words[1]), "{theirs}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_a_pause_in_seconds_or_until_a_date() {
        let now_ms = 1_795_428_000_000;
        let check = |value: &str, expected: Option<i64>| assert_eq!(retry_after(value, now_ms), expected, "{value}");
        check("30", Some(30_000));
        check(" 0 ", Some(0));
        check("Mon, 23 Nov 2026 10:00:30 GMT", Some(30_000));
        check("Mon, 23 Nov 2026 09:00:00 GMT", Some(0));
        check("99999999999999999999999", Some(i64::MAX));
        for text in ["", "soon", "-5", "1.5"] {
            check(text, None);
        }
    }

    #[test]
    fn spans_are_read_and_said() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(parse_span(text), expected, "{text}");
        check("30s", Some(30_000));
        check("5m", Some(300_000));
        check("1h", Some(3_600_000));
        check("2d", Some(172_800_000));
        check("250ms", Some(250));
        for text in ["", "5", "m", "5 parsecs", "-5m", "99999999999999999d", "1h30m"] {
            check(text, None);
        }
        let said = [(40_000, "40 s"), (540_000, "9 min"), (3 * 3_600_000, "3 h"), (5 * DAY_MS, "5 days"), (-5, "0 s")];
        for (ms, expected) in said {
            assert_eq!(span(ms), expected);
        }
    }
}
