//! One event: what its fields mean and what is wrong with it. Pure. The reasons are for the sender.
//!
//! | field | |
//! |---|---|
//! | `name` | required: what happened, such as `order_placed` |
//! | `service` | required, here or in the address |
//! | `value`, `unit` | a number that belongs to it, and in what |
//! | `user`, `session` | whose it is: text or a whole number |
//! | `time` | RFC 3339 with an offset, or milliseconds since 1970; the time of receipt without it |
//! | `version`, `environment`, `namespace`, `instance` | which release and instance it comes from |
//! | `attributes` | anything else, as an object; nested objects become dotted names |
//!
//! Any other field counts as an attribute: nothing of an event is lost.

use serde_json::{Map, Value as Json};
use shipwake_model::release::IDENTITY_BYTES_MAX;

use super::encode::Event;
use super::split::{DEPTH_MAX, is_too_deep};
use crate::lines::{Identity, flatten, time, with_wide_integers_quoted};

/// An event with more attributes is a mistake: every one of them is stored.
const ATTRIBUTES_MAX: usize = 128;

/// Reads an event.
pub(super) fn parse(text: &[u8], bytes_max: usize) -> Result<Event, String> {
    if text.len() > bytes_max {
        return Err(format!("longer than {bytes_max} bytes"));
    }
    if is_too_deep(text) {
        return Err(format!("nested deeper than {DEPTH_MAX}"));
    }
    let json = String::from_utf8_lossy(text);
    let object = match serde_json::from_str(&with_wide_integers_quoted(&json)) {
        Ok(Json::Object(object)) => object,
        Ok(_) => return Err("not a JSON object".to_owned()),
        Err(error) => return Err(format!("not valid JSON: {error}")),
    };
    let mut event = Event::default();
    for (field, value) in object {
        if value.is_null() {
            continue;
        }
        match field.as_str() {
            "name" => event.name = text_of("name", &value)?,
            "value" => event.value = Some(number_of(&value)?),
            "unit" => event.unit = text_of("unit", &value)?,
            "user" => event.user = id_of("user", &value)?,
            "session" => event.session = id_of("session", &value)?,
            "time" => event.time_ns = Some(time_of(&value)?),
            "attributes" => match value {
                Json::Object(attributes) => flatten::<false>(attributes, "", 0, ATTRIBUTES_MAX, &mut event.attributes),
                _ => return Err("attributes is not an object".to_owned()),
            },
            "service" | "version" | "environment" | "namespace" | "instance" => {
                put_identity(&mut event.identity, &field, id_of(&field, &value)?);
            }
            _ => flatten::<false>(Map::from_iter([(field, value)]), "", 0, ATTRIBUTES_MAX, &mut event.attributes),
        }
    }
    if event.name.is_empty() {
        return Err("name is missing".to_owned());
    }
    if event.attributes.len() > ATTRIBUTES_MAX {
        return Err(format!("more than {ATTRIBUTES_MAX} attributes"));
    }
    Ok(event)
}

fn put_identity(identity: &mut Identity, field: &str, text: String) {
    let place = match field {
        "service" => &mut identity.service,
        "version" => &mut identity.version,
        "environment" => &mut identity.environment,
        "namespace" => &mut identity.namespace,
        _ => &mut identity.instance,
    };
    *place = (!text.is_empty()).then_some(text);
}

fn text_of(field: &str, value: &Json) -> Result<String, String> {
    let Json::String(text) = value else { return Err(format!("{field} is not a text")) };
    bounded(field, text.trim())
}

/// A text, or a whole number as text.
fn id_of(field: &str, value: &Json) -> Result<String, String> {
    match value {
        Json::String(text) => bounded(field, text.trim()),
        Json::Number(number) if !number.is_f64() => Ok(number.to_string()),
        _ => Err(format!("{field} is neither a text nor a whole number")),
    }
}

/// Cutting an id would make one of two users: a longer one is refused.
fn bounded(field: &str, text: &str) -> Result<String, String> {
    if text.len() > IDENTITY_BYTES_MAX {
        return Err(format!("{field} is longer than {IDENTITY_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}

fn number_of(value: &Json) -> Result<f64, String> {
    if let Json::String(text) = value
        && text.len() > 18
        && text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(format!("value {} is no integer of 64 bits; with a decimal point it is a double", shown(value)));
    }
    value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| format!("value {} is not a number", shown(value)))
}

fn time_of(value: &Json) -> Result<u64, String> {
    let found = match value {
        Json::String(text) => time::from_text(text, None),
        Json::Number(number) => time::from_epoch(number.as_f64().unwrap_or(0.0), number.as_i64()),
        _ => None,
    };
    found.ok_or_else(|| format!("time {} is neither RFC 3339 with an offset nor milliseconds since 1970", shown(value)))
}

/// The beginning of a value, for messages.
fn shown(value: &Json) -> String {
    crate::error::shortened(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Value;

    fn event(text: &str) -> Event {
        parse(text.as_bytes(), 10_000).expect("usable")
    }

    #[test]
    fn every_field_has_its_place() {
        let found = event(
            r#"{"name":"order_placed","value":42.5,"unit":"USD","service":"checkout","version":"1.42.0",
               "environment":"production","time":"2026-11-23T10:00:00Z","user":"u-17","session":9,
               "attributes":{"cart":{"items":3},"vip":true,"tags":["a",1]},"country":"DE","left":null}"#,
        );
        assert_eq!((found.name.as_str(), found.value, found.unit.as_str()), ("order_placed", Some(42.5), "USD"));
        assert_eq!((found.user.as_str(), found.session.as_str()), ("u-17", "9"));
        assert_eq!(found.time_ns, Some(1_795_428_000_000_000_000));
        assert_eq!(found.identity.version.as_deref(), Some("1.42.0"));
        let mut attributes = found.attributes;
        attributes.sort_by(|a, b| a.0.cmp(&b.0));
        let text = |text: &str| Value::Text(text.to_owned().into());
        assert_eq!(
            attributes,
            [
                ("cart.items".to_owned(), Value::Int(3)),
                ("country".to_owned(), text("DE")),
                ("tags".to_owned(), text("[\"a\",1]")),
                ("vip".to_owned(), Value::Bool(true)),
            ]
        );
        assert_eq!(event(r#"{"name":"a","time":1795428000123}"#).time_ns, Some(1_795_428_000_123_000_000));
        assert_eq!(event(r#"{"name":"a","value":-3}"#).value, Some(-3.0));
        assert_eq!(event(r#"{"name":"a","value":18446744073709551616.0}"#).value, Some(18_446_744_073_709_551_616.0));
        let wide = event(r#"{"name":"a","user":36893488147419103233,"attributes":{"id":18446744073709551617}}"#);
        assert_eq!(wide.user, "36893488147419103233");
        assert_eq!(wide.attributes, [("id".to_owned(), text("18446744073709551617"))], "no digit is rounded away");
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let long = format!(r#"{{"name":"a","user":"{}"}}"#, "x".repeat(257));
        let deep = format!(r#"{{"name":"a","attributes":{{"x":{}1{}}}}}"#, "[".repeat(40), "]".repeat(40));
        let many: Vec<String> = (0..129).map(|n| format!("\"a{n}\":1")).collect();
        let many = format!(r#"{{"name":"a","attributes":{{{}}}}}"#, many.join(","));
        for (text, word) in [
            ("{}", "name is missing"),
            (r#"{"name":""}"#, "name is missing"),
            (r#"{"name":7}"#, "name is not a text"),
            (r#"{"name":"a","value":"12"}"#, "value \"12\" is not a number"),
            (r#"{"name":"a","value":1e999}"#, "JSON"),
            (r#"{"name":"a","value":18446744073709551616}"#, "64 bits"),
            (r#"{"name":"a","time":"yesterday"}"#, "time"),
            (r#"{"name":"a","time":"2026-11-23T10:00:00"}"#, "offset"),
            (r#"{"name":"a","user":1.5}"#, "user"),
            (r#"{"name":"a","attributes":[1]}"#, "attributes"),
            ("[1]", "not a JSON object"),
            ("{\"name\":", "JSON"),
            (&long, "longer than 256"),
            (&deep, "deeper"),
            (&many, "128"),
            (&format!("{{\"name\":\"{}\"}}", "x".repeat(10_000)), "longer than 10000 bytes"),
        ] {
            let reason = parse(text.as_bytes(), 10_000).expect_err(text);
            assert!(reason.contains(word), "{text}: {reason}");
        }
    }
}
