//! Numbers as JSON writes them, read exactly: an integer with a fraction of zeros or an exponent is still an integer, and
//! one that does not fit is an error, never a neighbour.

/// Whether `text` is a number by JSON's grammar.
pub(super) fn is_number(text: &[u8]) -> bool {
    scan(text) == Some(text.len())
}

/// Length of the number that `text` begins with.
pub(super) fn scan(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    match text.get(at)? {
        b'0' => at += 1,
        b'1'..=b'9' => at += digits(at),
        _ => return None,
    }
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    Some(at)
}

/// The integer that a number, already checked by its grammar, stands for. `None` when it has a fraction or is beyond 64 bits.
pub(super) fn integer(text: &[u8]) -> Option<i128> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (mut value, rest) = (append(0, &text[..end])?, &text[end..]);
    if !rest.is_empty() {
        value = with_tail(value, rest)?;
    }
    let value = i128::from(value);
    Some(if negative { -value } else { value })
}

/// Applies a fraction and an exponent to the integer part in front of them.
#[cold]
fn with_tail(mut value: u64, tail: &[u8]) -> Option<u64> {
    let exponent_at = tail.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(tail.len());
    let fraction = tail[..exponent_at].strip_prefix(b".").unwrap_or_default();
    let fraction = &fraction[..fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1)];
    let exponent = exponent(tail.get(exponent_at + 1..).unwrap_or_default());
    if exponent >= fraction.len() as i64 {
        value = append(value, fraction)?;
        for _ in 0..(exponent - fraction.len() as i64).min(if value == 0 { 0 } else { 20 }) {
            value = value.checked_mul(10)?;
        }
        return Some(value);
    }
    // Digits of the fraction stay behind the point, or digits of the integer part move there: they must be zeros.
    if !fraction.is_empty() {
        return None;
    }
    for _ in 0..(-exponent).min(20) {
        if !value.is_multiple_of(10) {
            return None;
        }
        value /= 10;
    }
    Some(value)
}

fn append(value: u64, digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(value, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0'))))
}

/// Saturates far beyond what fits into 64 bits.
fn exponent(text: &[u8]) -> i64 {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let value =
        digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit.wrapping_sub(b'0'))).min(1 << 40));
    if negative { -value } else { value }
}

/// The nearest double. `None` when it is beyond the largest one.
pub(super) fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_that_of_json() {
        for good in ["0", "-0", "12", "1.5", "1e5", "1E+5", "-1.25e-7", "0e0", "0.0"] {
            assert!(is_number(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1 ", " 1", "1_0", "--1", "1.e1", "١"]
        {
            assert!(!is_number(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn integers_are_exact_or_nothing() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("18446744073709551616", None),
            ("-9223372036854775808", Some(i128::from(i64::MIN))),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("1.5e1", Some(15)),
            ("1.50e1", Some(15)),
            ("1e3", Some(1000)),
            ("1200e-2", Some(12)),
            ("1250e-3", None),
            ("1.5", None),
            ("1e19", Some(10_000_000_000_000_000_000)),
            ("1e20", None),
            ("1e400", None),
            ("1e-400", None),
            ("0e99999999999999999999", Some(0)),
            ("0.000e-5", Some(0)),
            ("1e99999999999999999999", None),
            ("0.1e1", Some(1)),
            ("10.0e-1", Some(1)),
        ] {
            assert_eq!(integer(text.as_bytes()), expected, "{text}");
        }
    }
}
