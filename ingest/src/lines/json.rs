//! A line that is a JSON object. Nested objects become dotted names, lists become JSON text: attributes are a flat map in
//! every table, and this is what one would search for. An integer beyond 64 bits becomes a text with all its digits.
//!
//! [`parse`] reads in one pass, and what stands in the line without escapes is not copied. [`flatten`] does the same to an
//! object that was read already, and is what the tests hold the other to.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::exact::with_wide_integers_quoted;
use super::fields::{Field, Value};
use super::names::is_name_of_message;

/// Objects nested deeper than this stay JSON text.
const DEPTH_MAX: usize = 8;
/// Room for the fields of a usual line.
const FIELDS: usize = 24;

/// Whether a line means to be a JSON object: a brace, and then a name or the end.
#[inline]
pub(super) fn looks_like(line: &[u8]) -> bool {
    let rest = line.trim_ascii_start().strip_prefix(b"{");
    rest.is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')))
}

/// The fields of the object, sorted by their names; of a name that comes twice the last.
pub(super) fn parse(text: &str) -> Result<Vec<Field<'_>>, String> {
    match with_wide_integers_quoted(text) {
        Cow::Borrowed(text) => read(text),
        Cow::Owned(text) => Ok(read(&text)?.into_iter().map(into_owned).collect()),
    }
}

fn into_owned((name, value): Field<'_>) -> Field<'static> {
    let value = match value {
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Object(text) => Value::Object(Cow::Owned(text.into_owned())),
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(value),
        Value::Int(value) => Value::Int(value),
        Value::Double(value) => Value::Double(value),
    };
    (Cow::Owned(name.into_owned()), value)
}

fn read(text: &str) -> Result<Vec<Field<'_>>, String> {
    let mut fields = Vec::with_capacity(FIELDS);
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_any(Object { fields: &mut fields }).and_then(|()| reader.end());
    match read {
        Ok(()) => Ok(fields),
        Err(error) if error.is_data() => Err("not a JSON object".to_owned()),
        Err(error) => Err(format!("not valid JSON: {error}")),
    }
}

/// The object that a line is.
struct Object<'f, 'a> {
    fields: &'f mut Vec<Field<'a>>,
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        read_members(map, self.fields, "", 0).map(drop)
    }
}

/// A member of an object, and which fields it became: a nested object has any number.
struct Member<'a> {
    /// The first bytes of the name: enough to compare nearly all.
    head: u64,
    name: Cow<'a, str>,
    start: usize,
    end: usize,
}

impl<'a> Member<'a> {
    fn new(name: Cow<'a, str>, start: usize, end: usize) -> Self {
        let mut head = [0; 8];
        let len = name.len().min(8);
        head[..len].copy_from_slice(&name.as_bytes()[..len]);
        Member { head: u64::from_be_bytes(head), name, start, end }
    }

    #[inline]
    fn order(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.name.cmp(&other.name))
    }
}

/// Appends the fields of an object whose members' names stand behind `prefix`. Gives how many members there were.
fn read_members<'a, A: MapAccess<'a>>(
    mut map: A,
    fields: &mut Vec<Field<'a>>,
    prefix: &str,
    depth: usize,
) -> Result<usize, A::Error> {
    let begin = fields.len();
    let mut members: Vec<Member<'a>> = Vec::with_capacity(FIELDS);
    let mut in_order = true;
    while let Some(name) = map.next_key_seed(Name)? {
        let full = if prefix.is_empty() { name.clone() } else { Cow::Owned([prefix, ".", &name].concat()) };
        let start = fields.len();
        map.next_value_seed(Content { fields, name: full, depth })?;
        let member = Member::new(name, start, fields.len());
        in_order &= members.last().is_none_or(|last| last.order(&member).is_lt());
        members.push(member);
    }
    let count = members.len();
    if !in_order {
        sort(fields, begin, members);
    }
    Ok(count)
}

/// Brings the fields from `begin` on into the order of the members they belong to, and drops those of a member that comes
/// again.
fn sort<'a>(fields: &mut Vec<Field<'a>>, begin: usize, mut members: Vec<Member<'a>>) {
    // Members of one name stay in their order: the last of them is the one that counts.
    members.sort_by(Member::order);
    let is_last = |at: usize| members.get(at + 1).is_none_or(|next| next.order(&members[at]).is_ne());
    let is_plain = |(at, member): (usize, &Member<'_>)| member.end - member.start == 1 && is_last(at);
    if members.iter().enumerate().all(is_plain) {
        // A field for each member: they are exchanged in their places.
        for at in 0..members.len() {
            let mut from = members[at].start - begin;
            while from < at {
                // What was there was exchanged for what was wanted there.
                from = members[from].start - begin;
            }
            fields.swap(begin + at, begin + from);
        }
        return;
    }
    let mut taken = fields.split_off(begin);
    for (at, member) in members.iter().enumerate() {
        if is_last(at) {
            fields.extend(taken[member.start - begin..member.end - begin].iter_mut().map(std::mem::take));
        }
    }
}

/// The name of a member.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The value of a member, which becomes a field, or several.
struct Content<'f, 'a> {
    fields: &'f mut Vec<Field<'a>>,
    name: Cow<'a, str>,
    /// Of the object that it is a member of.
    depth: usize,
}

impl<'a> Content<'_, 'a> {
    #[inline]
    fn put<E>(self, value: Value<'a>) -> Result<(), E> {
        self.fields.push((self.name, value));
        Ok(())
    }

    /// A message that is an object: whole, for people who look for its words, and its members, for those who know their names.
    fn put_message<E>(self, object: Map<String, Json>) -> Result<(), E> {
        if object.is_empty() {
            return self.put(Value::Text(Cow::Borrowed("{}")));
        }
        let (text, mut members) = (Json::Object(object.clone()).to_string(), Vec::new());
        flatten::<true>(object, &self.name, 1, usize::MAX, &mut members);
        self.fields.push((self.name, Value::Object(Cow::Owned(text))));
        self.fields.extend(members.into_iter().map(|(name, value)| (Cow::Owned(name), value)));
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Content<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Content<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.put(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put(Value::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.put(Value::Double(value))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<(), E> {
        self.put(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, items: A) -> Result<(), A::Error> {
        let list = Json::deserialize(SeqAccessDeserializer::new(items))?;
        self.put(Value::Text(Cow::Owned(list.to_string())))
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        if self.depth == DEPTH_MAX {
            let object = Json::deserialize(MapAccessDeserializer::new(map))?;
            return self.put(Value::Text(Cow::Owned(object.to_string())));
        }
        if self.depth == 0 && is_name_of_message(&self.name) {
            return self.put_message(Map::deserialize(MapAccessDeserializer::new(map))?);
        }
        let members = read_members(map, self.fields, &self.name, self.depth + 1)?;
        if members == 0 { self.put(Value::Text(Cow::Borrowed("{}"))) } else { Ok(()) }
    }
}

/// Appends the members of an object under their dotted names, until there are more than `fields_max`: one too many is enough
/// for a caller to refuse. `WITH_NULLS`: also those that have no value.
pub(crate) fn flatten<const WITH_NULLS: bool>(
    object: Map<String, Json>,
    prefix: &str,
    depth: usize,
    fields_max: usize,
    fields: &mut Vec<(String, Value<'static>)>,
) {
    for (name, value) in object {
        if fields.len() > fields_max {
            return;
        }
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let value = match value {
            Json::Null if !WITH_NULLS => continue,
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::String(text) => Value::Text(Cow::Owned(text)),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => number.as_f64().map_or_else(|| Value::Text(Cow::Owned(number.to_string())), Value::Double),
            },
            Json::Object(inner) if depth < DEPTH_MAX && !inner.is_empty() => {
                flatten::<WITH_NULLS>(inner, &name, depth + 1, fields_max, fields);
                continue;
            }
            list => Value::Text(Cow::Owned(list.to_string())),
        };
        fields.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What [`parse`] is to find, the plain way: the whole object first.
    fn slowly(text: &str) -> Option<Vec<Field<'static>>> {
        let Ok(Json::Object(object)) = serde_json::from_str(&with_wide_integers_quoted(text)) else { return None };
        let mut fields = Vec::new();
        for (name, value) in object {
            if value.as_object().is_some_and(|object| !object.is_empty() && is_name_of_message(&name)) {
                fields.push((name.clone(), Value::Object(value.to_string().into())));
            }
            flatten::<true>(Map::from_iter([(name, value)]), "", 0, usize::MAX, &mut fields);
        }
        Some(fields.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect())
    }

    /// JSON as text, with names that come twice and in any order, and what is not quite JSON.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            prop::sample::select(vec![
                "null",
                "true",
                "false",
                "0",
                "-1",
                "1.5",
                "1e3",
                "-0",
                "-0.0",
                "9223372036854775807",
                "9223372036854775808",
                "18446744073709551616",
                "1e400",
                "\"\"",
                "\"x\"",
                "\"\\n\"",
                "\"\\u00e9\"",
                "\"\\ud800\"",
                "{}",
                "[]",
                "x",
                "",
            ])
            .prop_map(str::to_owned),
            "\"[ !#-\\[\\]-~é]{0,8}\"",
        ];
        leaf.prop_recursive(10, 60, 5, |inner| {
            let name = prop::sample::select(vec!["a", "b", "a.b", "A", "c-d", "", "\\u0061", "é", "message", "Log"]);
            prop_oneof![
                prop::collection::vec((name, inner.clone()), 0..6).prop_map(|members| {
                    let members = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn one_pass_finds_what_the_plain_way_finds(text in value()) {
            prop_assert_eq!(parse(&text).ok(), slowly(&text));
        }
    }

    #[test]
    fn nested_objects_become_dotted_names() {
        let fields = parse(r#"{"a":{"b":{"c":1}},"l":[1,{"x":2}],"n":null,"t":"x","f":0.5,"u":18446744073709551615}"#);
        let fields = fields.expect("valid");
        let text = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.to_text());
        assert_eq!(text("a.b.c").as_deref(), Some("1"));
        assert_eq!(text("l").as_deref(), Some(r#"[1,{"x":2}]"#));
        assert!(fields.contains(&(Cow::Borrowed("n"), Value::Null)), "{fields:?}");
        assert_eq!(text("f").as_deref(), Some("0.5"));
        assert_eq!(text("u").as_deref(), Some("18446744073709551615"), "to the last digit");
    }

    #[test]
    fn a_message_that_is_an_object_is_whole_and_in_parts() {
        let fields = parse(r#"{"MSG":{"b":[1],"a":{"c":null}},"x":{"message":{"y":1}}}"#).expect("valid");
        let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["MSG", "MSG.a.c", "MSG.b", "x.message.y"]);
        assert_eq!(fields[0].1, Value::Object(r#"{"a":{"c":null},"b":[1]}"#.into()));
        assert_eq!(fields[1].1, Value::Null);
        assert_eq!(parse(r#"{"msg":{}}"#), Ok(vec![("msg".into(), Value::Text("{}".into()))]));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let text = deep(100);
        let fields = parse(&text).expect("valid");
        assert_eq!(fields[0].0.matches('a').count(), DEPTH_MAX + 1);
        assert!(parse(&deep(100_000)).is_err());
    }
}
