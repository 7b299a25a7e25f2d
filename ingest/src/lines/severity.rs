//! Levels as loggers write them, as OpenTelemetry's severity numbers (1..=24); 0 for a word that is no level.

/// The number of a level's name, in any case.
pub(super) fn from_text(text: &str) -> i32 {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return from_number(number);
    }
    const NAMES: [(i32, &[&str]); 7] = [
        (1, &["trace", "trce", "finest", "verbose", "vrb"]),
        (5, &["debug", "fine", "dbg", "dbug"]),
        (9, &["info", "inf", "information", "informational", "log"]),
        (10, &["notice"]),
        (13, &["warn", "wrn", "warning"]),
        (17, &["error", "err", "eror", "fail", "severe"]),
        (21, &["fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic"]),
    ];
    let found = NAMES.iter().find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(text)));
    found.map_or(0, |(number, _)| *number)
}

/// The number of a numeric level: 10 to 60 as in pino and bunyan, 0 to 7 as in syslog.
pub(super) fn from_number(number: i64) -> i32 {
    match number {
        0..=2 => 21,
        3 => 17,
        4 => 13,
        5 => 10,
        6 => 9,
        7 => 5,
        10..20 => 1,
        20..30 => 5,
        30..40 => 9,
        40..50 => 13,
        50..60 => 17,
        60..70 => 21,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_common_loggers() {
        for (text, expected) in [
            ("ERROR", 17),
            ("Severe", 17),
            ("warning", 13),
            ("Information", 9),
            ("50", 17),
            ("3", 17),
            ("crit", 21),
            ("loud", 0),
            ("", 0),
            ("8", 0),
        ] {
            assert_eq!(from_text(text), expected, "{text}");
        }
    }
}
