//! A line of `name=value` pairs, values quoted with `"` when they hold blanks.

use std::borrow::Cow;

use super::fields::{Field, Value};

/// Names that make a line of pairs certain: prose with an equals sign in it has none of them.
const TELLING: [&str; 6] = ["level", "lvl", "msg", "message", "time", "ts"];

/// The pairs of a line. A word without a value is a field that is true, as logfmt has it.
pub(super) fn parse(text: &str) -> Result<Vec<Field<'_>>, String> {
    let mut fields = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if name.is_empty() || name.contains('"') {
            return Err(format!("not logfmt at byte {}", text.len() - rest.len()));
        }
        let Some(value) = behind.strip_prefix('=') else {
            fields.push((Cow::Borrowed(name), Value::Bool(true)));
            rest = behind.trim_start();
            continue;
        };
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => {
                let (text, behind) = unquote(quoted).ok_or_else(|| format!("the quote of {name} is not closed"))?;
                (Value::Text(text.into()), behind)
            }
            None => {
                let end = value.find(char::is_whitespace).unwrap_or(value.len());
                (plain(&value[..end]), &value[end..])
            }
        };
        fields.push((Cow::Borrowed(name), value));
        rest = behind.trim_start();
    }
    if fields.iter().all(|(_, value)| matches!(value, Value::Bool(_))) {
        return Err("not logfmt: no name=value pair".to_owned());
    }
    Ok(fields)
}

/// The pairs of a line that is logfmt beyond doubt: nothing but pairs, and one of the usual names among them.
pub(super) fn parse_certain(text: &str) -> Option<Vec<Field<'_>>> {
    let first = text.trim_start().split(['=', ' ']).next()?;
    if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-@".contains(&byte)) {
        return None;
    }
    let fields = parse(text).ok()?;
    let pairs_only = !fields.iter().any(|(_, value)| matches!(value, Value::Bool(true)));
    let telling = fields.iter().any(|(name, _)| TELLING.iter().any(|known| name.eq_ignore_ascii_case(known)));
    (fields.len() >= 2 && pairs_only && telling).then_some(fields)
}

/// The text up to the closing quote, and what is behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}

pub(super) fn plain(text: &str) -> Value<'_> {
    if let Ok(whole) = text.parse::<i64>()
        && whole.to_string() == text
    {
        return Value::Int(whole);
    }
    let looks_like_number =
        text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte)) && text.contains('.');
    match text.parse::<f64>() {
        // `1.10` is a version before it is a number: only what prints the same is one.
        Ok(number) if looks_like_number && number.to_string() == text => Value::Double(number),
        _ => Value::Text(Cow::Borrowed(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_quotes_and_bare_words() {
        let fields = parse(r#"a=1 b="x \"y\"\n" debug c= v=1.10 e=é"#).expect("valid");
        let shown: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", value.to_text())).collect();
        assert_eq!(shown, ["a=1", "b=x \"y\"\n", "debug=true", "c=", "v=1.10", "e=é"]);
        assert!(parse("just words").is_err());
        assert!(parse(r#"a="open"#).is_err());
        assert!(parse("=x").is_err());
    }

    #[test]
    fn prose_with_an_equals_sign_is_not_logfmt() {
        for prose in ["user=5 logged in", "a=b c=d", "level=info", "x + y = msg", "msg= level"] {
            assert!(parse_certain(prose).is_none(), "{prose}");
        }
        assert!(parse_certain("level=info msg=started").is_some());
    }
}
