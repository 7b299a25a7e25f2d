//! Integers in JSON text that are wider than 64 bits signed, kept to the last digit: in quotes they are text, and a reader of
//! numbers would make the nearest double of them, which may be another one's id.

use std::borrow::Cow;

/// `i64::MAX` has so many digits: shorter ones fit.
const DIGITS_FIT: usize = 18;

/// The same JSON with integers that do not fit into 64 bits signed in quotes. Texts stay as they are, and so do numbers with a
/// fraction or an exponent, which are doubles. What is not JSON comes out as something that is not JSON either.
pub(crate) fn with_wide_integers_quoted(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_text(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = at + bytes[at..].iter().take_while(|byte| is_of_number(**byte)).count();
                let number = &json[at..end];
                let is_name = bytes[end..].trim_ascii_start().first() == Some(&b':');
                if is_wide(number) && !is_name {
                    out.push_str(&json[copied..at]);
                    out.extend(["\"", number, "\""]);
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

fn is_wide(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    // A number that begins with zero is none; quoting it would make one that is good.
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    is_integer && digits.len() > DIGITS_FIT && number.parse::<i64>().is_err()
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Behind the closing quote of the text that begins at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(json: &str, expected: &str) {
        assert_eq!(with_wide_integers_quoted(json), expected);
    }

    #[test]
    fn only_integers_beyond_64_bits_are_quoted() {
        check(
            r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
            r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
        );
        check(r#"{"a":9223372036854775808}"#, r#"{"a":"9223372036854775808"}"#);
        check(r#"[-9223372036854775809, 1]"#, r#"["-9223372036854775809", 1]"#);
        check(r#"{"a":123456789012345678901234567890}"#, r#"{"a":"123456789012345678901234567890"}"#);
        check(r#"{"a":1234567890123456789012.5,"b":1e25}"#, r#"{"a":1234567890123456789012.5,"b":1e25}"#);
        check(
            r#"{"a":"99999999999999999999 \" 99999999999999999999"}"#,
            r#"{"a":"99999999999999999999 \" 99999999999999999999"}"#,
        );
        check("00000000000000000000", "00000000000000000000");
        check("--99999999999999999999", "--99999999999999999999");
        check(r#""\"#, r#""\"#);
        check("{99999999999999999999 : 1}", "{99999999999999999999 : 1}");
        check("99999999999999999999", "\"99999999999999999999\"");
    }

    proptest! {
        /// What is valid stays valid with the same content, but for wide integers, and nothing makes it fail.
        #[test]
        fn other_json_is_untouched(text in r#"[\[\]{}:,"\\0-9a-zé. eE+-]{0,60}"#, number in any::<i64>(), double in any::<f64>()) {
            let _ = with_wide_integers_quoted(&text);
            let json = serde_json::json!({"text": text, "number": number, "double": double}).to_string();
            prop_assert_eq!(with_wide_integers_quoted(&json), json.as_str());
        }
    }
}
