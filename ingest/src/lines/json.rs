//! A line that is a JSON object. Nested objects become dotted names, lists become JSON text: attributes are a flat map in
//! every table, and this is what one would search for. An integer beyond 64 bits becomes a text with all its digits.

use serde_json::{Map, Value as Json};

use super::exact::with_wide_integers_quoted;
use super::fields::Value;

/// Objects nested deeper than this stay JSON text.
const DEPTH_MAX: usize = 8;

/// Whether a line means to be a JSON object: a brace, and then a name or the end.
pub(super) fn looks_like(line: &[u8]) -> bool {
    let rest = line.trim_ascii_start().strip_prefix(b"{");
    rest.is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')))
}

/// The fields of the object.
pub(super) fn parse(line: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let text = String::from_utf8_lossy(line);
    let object: Json =
        serde_json::from_str(&with_wide_integers_quoted(&text)).map_err(|error| format!("not valid JSON: {error}"))?;
    let Json::Object(object) = object else { return Err("not a JSON object".to_owned()) };
    let mut fields = Vec::with_capacity(object.len());
    flatten(object, "", 0, usize::MAX, &mut fields);
    Ok(fields)
}

/// Appends the members of an object under their dotted names, until there are more than `fields_max`: one too many is enough
/// for a caller to refuse.
pub(crate) fn flatten(
    object: Map<String, Json>,
    prefix: &str,
    depth: usize,
    fields_max: usize,
    fields: &mut Vec<(String, Value)>,
) {
    for (name, value) in object {
        if fields.len() > fields_max {
            return;
        }
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let value = match value {
            Json::Null => continue,
            Json::Bool(value) => Value::Bool(value),
            Json::String(text) => Value::Text(text),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => number.as_f64().map_or_else(|| Value::Text(number.to_string()), Value::Double),
            },
            Json::Object(inner) if depth < DEPTH_MAX && !inner.is_empty() => {
                flatten(inner, &name, depth + 1, fields_max, fields);
                continue;
            }
            list => Value::Text(list.to_string()),
        };
        fields.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_objects_become_dotted_names() {
        let fields = parse(br#"{"a":{"b":{"c":1}},"l":[1,{"x":2}],"n":null,"t":"x","f":0.5,"u":18446744073709551615}"#);
        let fields = fields.expect("valid");
        let text = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.to_text());
        assert_eq!(text("a.b.c").as_deref(), Some("1"));
        assert_eq!(text("l").as_deref(), Some(r#"[1,{"x":2}]"#));
        assert_eq!(text("n"), None);
        assert_eq!(text("f").as_deref(), Some("0.5"));
        assert_eq!(text("u").as_deref(), Some("18446744073709551615"), "to the last digit");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let fields = parse(deep(100).as_bytes()).expect("valid");
        assert_eq!(fields[0].0.matches('a').count(), DEPTH_MAX + 1);
        assert!(parse(deep(100_000).as_bytes()).is_err());
    }
}
