//! Numbers and foreign names as people read them.

/// Longer names are cut: they come from telemetry.
const NAME_CHARS_MAX: usize = 80;

/// `0.8 ms`, `41 ms`, `1.24 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms.abs() {
        ms_abs if ms_abs < 10.0 => format!("{ms:.1} ms"),
        ms_abs if ms_abs < 1_000.0 => format!("{ms:.0} ms"),
        _ => format!("{seconds:.2} s"),
    }
}

/// `1.1x`, `3.1x`, `42x`.
pub(crate) fn times(ratio: f64) -> String {
    if ratio >= 10.0 {
        format!("{ratio:.0}x")
    } else if ratio < 2.0 {
        format!("{ratio:.2}x")
    } else {
        format!("{ratio:.1}x")
    }
}

/// `+38 %`, `-4 %`; without the sign of nothing.
pub(crate) fn signed_percent(part: f64) -> String {
    format!("{} %", signed(part * 100.0))
}

/// `+38`, `-4`, `+0.7`.
pub(crate) fn signed(value: f64) -> String {
    if value.abs() < 9.95 && (value - libm::rint(value)).abs() > 0.05 {
        format!("{value:+.1}")
    } else if libm::rint(value) == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:+.0}")
    }
}

/// `0.5 %`, `30 %`, `0.03 %`.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        p if p < 0.1 => format!("{p:.2} %"),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// `40 s`, `4 min`, `3 h`, `2 d`: rounded up, because it is said of waiting.
pub(crate) fn span(seconds: f64) -> String {
    let up = |unit: f64| libm::ceil(seconds / unit);
    if seconds <= 90.0 {
        format!("{:.0} s", up(1.0))
    } else if seconds <= 5_400.0 {
        format!("{:.0} min", up(60.0))
    } else if seconds <= 172_800.0 {
        format!("{:.0} h", up(3_600.0))
    } else {
        format!("{:.0} d", up(86_400.0))
    }
}

/// `40 s`, `170 s`, `4 min`, `3 h`: rounded down, because it is said of what has passed.
pub(crate) fn passed(seconds: f64) -> String {
    let down = |unit: f64| libm::floor(seconds.max(0.0) / unit);
    if seconds < 180.0 {
        format!("{:.0} s", down(1.0))
    } else if seconds < 7_200.0 {
        format!("{:.0} min", down(60.0))
    } else if seconds < 172_800.0 {
        format!("{:.0} h", down(3_600.0))
    } else {
        format!("{:.0} d", down(86_400.0))
    }
}

/// About so many: two digits count, with spaces between thousands.
pub(crate) fn about(count: f64) -> String {
    let count = count.clamp(0.0, 1e15);
    let step = libm::pow(10.0, (libm::floor(libm::log10(count.max(1.0))) - 1.0).max(0.0));
    grouped((libm::ceil(count / step) * step) as u64)
}

/// `41 200`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A name from telemetry: cut, and without characters that would break a line or reverse it.
pub(crate) fn name(name: &str) -> String {
    let is_plain = |c: &char| {
        !c.is_control() && !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut text: String = name.chars().filter(is_plain).take(NAME_CHARS_MAX).collect();
    if name.chars().count() > NAME_CHARS_MAX {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_numbers() {
        assert_eq!([seconds(0.000_8), seconds(0.041), seconds(1.24)], ["0.8 ms", "41 ms", "1.24 s"]);
        assert_eq!([times(1.1), times(3.12), times(41.7)], ["1.10x", "3.1x", "42x"]);
        assert_eq!([signed(38.2), signed(-4.0), signed(0.7), signed(0.02)], ["+38", "-4", "+0.7", "0"]);
        assert_eq!([percent(0.0), percent(0.0003), percent(0.005), percent(0.3)], ["0 %", "0.03 %", "0.5 %", "30 %"]);
        assert_eq!([span(40.0), span(200.0), span(9_000.0), span(200_000.0)], ["40 s", "4 min", "3 h", "3 d"]);
        assert_eq!([passed(0.0), passed(90.0), passed(179.0)], ["0 s", "90 s", "179 s"]);
        assert_eq!([passed(239.0), passed(7_100.0), passed(7_200.0)], ["3 min", "118 min", "2 h"]);
        assert_eq!([about(337.0), about(41_234.0), about(7.2)], ["340", "42 000", "8"]);
    }

    #[test]
    fn a_name_cannot_break_out_of_its_sentence() {
        assert_eq!(name("POST /pay\r\nX\u{202e}"), "POST /payX");
        assert_eq!(name(&"ä".repeat(100)).chars().count(), 81);
    }
}
