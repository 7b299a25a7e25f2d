//! What the fields of a structured line mean. The names are those that common loggers use; case does not matter, and a
//! nested object counts as dotted names (`{"service":{"name":…}}` is `service.name`).
//!
//! | meaning | names, the first that a line has wins |
//! |---|---|
//! | service | `service.name`, `service`, `service_name`, `app`, `application` |
//! | namespace | `service.namespace`, `service_namespace` |
//! | version | `service.version`, `version`, `service_version`, `app_version`, `release` |
//! | environment | `deployment.environment.name`, `environment`, `env`, `deployment.environment` |
//! | instance | `service.instance.id`, `instance`, `instance_id`, `pod`, `hostname` |
//! | time | `time`, `timestamp`, `@timestamp`, `ts`, `datetime` |
//! | level | `level`, `severity`, `severity_text`, `log.level`, `loglevel`, `lvl`, `levelname` |
//! | message | `message`, `msg`, `body`, `log`, `event` |
//! | trace, span | `trace_id`, `traceid`, `trace.id`; `span_id`, `spanid`, `span.id` |
//!
//! Everything else, and a field whose value does not fit its meaning, is an attribute: nothing of a line is lost. A message that is an
//! object is kept as JSON text, and its members are attributes besides. Fields that are those of an access log get the names of one:
//! `access_fields.rs`.

use std::borrow::Cow;

use shipwake_model::release;

use super::encode::Identity;
use super::names::{Known, Role};
use super::rules::Rules;
use super::{access_fields, severity, time};

/// A log record made of a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line<'a> {
    /// What the line itself says about where it comes from.
    pub(super) identity: Identity,
    /// Nanoseconds since the epoch.
    pub(super) time_ns: Option<u64>,
    /// OpenTelemetry's number; 0 when unknown.
    pub(super) severity: i32,
    pub(super) severity_text: Cow<'a, str>,
    pub(super) message: Option<Cow<'a, str>>,
    /// 16 bytes, or none.
    pub(super) trace_id: Vec<u8>,
    /// 8 bytes, or none.
    pub(super) span_id: Vec<u8>,
    pub(super) attributes: Vec<Field<'a>>,
    /// Whether it is a line of an access log, and counts as a request.
    pub(super) is_request: bool,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// A field that has no value.
    Null,
    /// The JSON text of an object under a name of a message. Its members are fields of their own: it is no attribute, and the message
    /// where nothing else is.
    Object(Cow<'a, str>),
}

/// A field: its name, and its value.
pub(super) type Field<'a> = (Cow<'a, str>, Value<'a>);

/// What every structured line may say. What is left is for attributes.
const MEANINGS: [Role; 10] = [
    Role::Service,
    Role::Namespace,
    Role::Version,
    Role::Environment,
    Role::Instance,
    Role::Time,
    Role::Level,
    Role::Message,
    Role::Trace,
    Role::Span,
];

/// A record of the fields of a line.
pub(super) fn assign<'a>(mut fields: Vec<Field<'a>>, rules: &Rules) -> Line<'a> {
    let mut line = Line::default();
    let known = Known::of(&fields);
    let mut taken = vec![false; fields.len()];
    for meaning in MEANINGS {
        let found = known.first(meaning, |index| line.take(meaning, &fields[index].1, rules));
        if let Some(index) = found {
            taken[index] = true;
        }
    }
    let access = access_fields::recognise(&mut line, &mut fields, &known, &mut taken, rules);
    if line.message.is_none() {
        let object = known.first(Role::Message, |index| matches!(fields[index].1, Value::Object(_)));
        line.message = object.map(|index| fields[index].1.to_text());
    }
    let mut index = 0;
    fields.retain(|(_, value)| {
        index += 1;
        !taken[index - 1] && !matches!(value, Value::Object(_))
    });
    fields.extend(access);
    line.attributes = fields;
    line
}

impl<'a> Line<'a> {
    /// Whether the value fits the meaning, and is now in its place.
    fn take(&mut self, meaning: Role, value: &Value<'a>, rules: &Rules) -> bool {
        match meaning {
            Role::Service => put(&mut self.identity.service, value),
            Role::Namespace => put(&mut self.identity.namespace, value),
            Role::Version => put(&mut self.identity.version, value),
            Role::Environment => put(&mut self.identity.environment, value),
            Role::Instance => put(&mut self.identity.instance, value),
            Role::Time => {
                self.time_ns = value.to_time(rules);
                self.time_ns.is_some()
            }
            Role::Level => {
                self.severity = match value {
                    Value::Text(text) => severity::from_text(text),
                    Value::Int(number) => severity::from_number(*number),
                    _ => 0,
                };
                self.severity_text = if self.severity == 0 { Cow::Borrowed("") } else { value.to_text() };
                self.severity != 0
            }
            Role::Message => {
                self.message = match value {
                    Value::Null | Value::Object(_) => None,
                    value => Some(value.to_text()),
                };
                self.message.is_some()
            }
            Role::Trace => put_id(&mut self.trace_id, value, 16),
            Role::Span => put_id(&mut self.span_id, value, 8),
            // Of an access log: `access_fields.rs`.
            _ => false,
        }
    }
}

impl<'a> Value<'a> {
    /// The time that it gives.
    pub(super) fn to_time(&self, rules: &Rules) -> Option<u64> {
        match self {
            Value::Text(text) => time::from_text(text, Some(rules.zone())),
            Value::Int(number) => time::from_epoch(*number as f64, Some(*number)),
            Value::Double(number) => time::from_epoch(*number, None),
            Value::Bool(_) | Value::Null | Value::Object(_) => None,
        }
    }

    /// The value as text, which is not copied when it is a slice of the line.
    pub(super) fn to_text(&self) -> Cow<'a, str> {
        match self {
            Value::Text(text) | Value::Object(text) => text.clone(),
            Value::Null => Cow::Borrowed(""),
            Value::Int(number) => number.to_string().into(),
            Value::Double(number) => number.to_string().into(),
            Value::Bool(value) => value.to_string().into(),
        }
    }
}

impl Default for Value<'_> {
    fn default() -> Self {
        Value::Text(Cow::Borrowed(""))
    }
}

fn put(place: &mut Option<String>, value: &Value<'_>) -> bool {
    let text = match value {
        Value::Bool(_) => return false,
        value => value.to_text(),
    };
    if text.trim().is_empty() {
        return false;
    }
    *place = Some(release::bounded(text.trim()));
    true
}

/// An id in hexadecimal digits. All zeros means none.
fn put_id(place: &mut Vec<u8>, value: &Value<'_>, bytes: usize) -> bool {
    let Value::Text(text) = value else { return false };
    if text.len() != bytes * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
    let id: Vec<u8> = text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    if id.iter().all(|byte| *byte == 0) {
        return false;
    }
    *place = id;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &'static str, value: &'static str) -> Field<'static> {
        (name.into(), Value::Text(value.into()))
    }

    fn read(fields: Vec<Field<'static>>) -> Line<'static> {
        assign(fields, &Rules::default())
    }

    #[test]
    fn the_first_name_of_a_meaning_wins_and_the_rest_are_attributes() {
        let line =
            read(vec![text("version", "v2"), text("service.version", "2.0"), text("Level", "INFO"), text("x", "y")]);
        assert_eq!(line.identity.version.as_deref(), Some("2.0"));
        assert_eq!((line.severity, &*line.severity_text), (9, "INFO"));
        assert_eq!(line.attributes, [text("version", "v2"), text("x", "y")]);
    }

    #[test]
    fn a_value_that_does_not_fit_stays_an_attribute() {
        let fields =
            vec![text("time", "yesterday"), text("level", "loud"), text("trace_id", "xyz"), text("service", " ")];
        let line = read(fields.clone());
        assert_eq!(line, Line { attributes: fields, ..Line::default() });
    }

    #[test]
    fn a_field_without_a_value_means_nothing_and_stays() {
        let null = |name: &'static str| (Cow::Borrowed(name), Value::Null);
        let fields = vec![null("level"), null("message"), null("service"), null("time"), null("trace_id"), null("x")];
        let line = read(fields.clone());
        assert_eq!(line, Line { attributes: fields.clone(), ..Line::default() });
        let line = read([fields, vec![text("msg", "hello")]].concat());
        assert_eq!(line.message.as_deref(), Some("hello"));
    }

    #[test]
    fn an_object_is_the_message_only_where_there_is_no_other() {
        let object = |name: &'static str| (Cow::Borrowed(name), Value::Object("{\"a\":1}".into()));
        let member = text("message.a", "1");
        let line = read(vec![object("message"), member.clone()]);
        assert_eq!(
            line,
            Line { message: Some("{\"a\":1}".into()), attributes: vec![member.clone()], ..Line::default() }
        );
        let line = read(vec![object("event"), object("message"), member.clone(), text("msg", "hello")]);
        assert_eq!(line, Line { message: Some("hello".into()), attributes: vec![member], ..Line::default() });
    }

    #[test]
    fn ids_are_read_from_hexadecimal() {
        let line = read(vec![text("traceId", "0AF7651916cd43dd8448eb211c80319c"), text("span_id", "b7ad6b7169203331")]);
        assert_eq!((line.trace_id.len(), line.trace_id[0], line.span_id[7]), (16, 0x0a, 0x31));
    }
}
