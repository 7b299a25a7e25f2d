//! The search language: what people type to find log lines. Pure. `docs/search.md` is its documentation.
//!
//! - [`parse`]: text to [`Search`], or an error with its place. [`print`]: back to a text that means the same.

pub(crate) mod parse;
pub(crate) mod print;

use shipwake_model::pattern::Level;
use shipwake_model::phrase::Phrase;

/// Bytes of a search.
pub(crate) const BYTES_MAX: usize = 4096;
/// Parentheses and negations inside each other: the parser and everything after it walk by recursion.
pub(crate) const DEPTH_MAX: usize = 32;
/// Words, phrases and fields. Each is looked for in every line.
pub(crate) const TERMS_MAX: usize = 64;

/// A search. `And` and `Or` have at least two parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Search {
    /// Every line.
    All,
    /// Lines that all parts find.
    And(Vec<Search>),
    /// Lines that any part finds.
    Or(Vec<Search>),
    /// Lines that the part does not find.
    Not(Box<Search>),
    /// Lines whose body has words in a row.
    Text(Text),
    /// Lines with a field that passes a test.
    Field(Field, Test),
}

/// Words in a row, as they were written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    /// Without quotes, escapes and the star.
    pub written: String,
    pub is_prefix: bool,
    pub phrase: Phrase,
}

impl Text {
    /// `None` without any word, or with too many.
    pub fn new(written: String, is_prefix: bool) -> Option<Self> {
        Phrase::new(&written, is_prefix).map(|phrase| Self { written, is_prefix, phrase })
    }
}

/// What is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// A text column.
    Column(&'static str),
    /// How bad a line says it is: compared in the order of levels.
    Level,
    /// The number of the severity, a column of numbers.
    SeverityNumber,
    /// An attribute of the record; for names that only resources have, or either of both.
    Attribute(String),
    /// An attribute of the resource.
    Resource(String),
}

/// The fields that are columns, and the names people know them by; the first is the one that is printed.
const COLUMNS: [(&str, &[&str]); 11] = [
    ("service", &["service"]),
    ("namespace", &["namespace"]),
    ("environment", &["environment", "env"]),
    ("version", &["version"]),
    ("instance", &["instance"]),
    ("severity_text", &["severity_text"]),
    ("event_name", &["event_name", "event"]),
    ("pattern_id", &["pattern", "pattern_id"]),
    ("trace_id", &["trace_id", "trace", "traceid", "traceID"]),
    ("span_id", &["span_id", "span", "spanid", "spanID"]),
    ("scope_name", &["scope", "scope_name", "logger"]),
];

/// OpenTelemetry defines these only for resources, so a record need not have them.
const RESOURCE_NAMESPACES: [&str; 14] = [
    "service.",
    "host.",
    "k8s.",
    "container.",
    "process.",
    "os.",
    "cloud.",
    "telemetry.",
    "deployment.",
    "device.",
    "faas.",
    "webengine.",
    "aws.",
    "gcp.",
];

const ATTRIBUTES: &str = "attributes.";
const RESOURCE: &str = "resource.";

impl Field {
    /// The field of a name. Every name is one: what is no column is an attribute.
    pub fn named(name: &str) -> Self {
        if let Some(rest) = name.strip_prefix(RESOURCE).filter(|rest| !rest.is_empty()) {
            return Field::Resource(rest.to_owned());
        }
        if let Some(rest) = name.strip_prefix(ATTRIBUTES).filter(|rest| !rest.is_empty()) {
            return Field::Attribute(rest.to_owned());
        }
        match name {
            "level" | "severity" => return Field::Level,
            "severity_number" => return Field::SeverityNumber,
            _ => {}
        }
        let column = COLUMNS.iter().find(|(_, names)| names.contains(&name));
        column.map_or_else(|| Field::Attribute(name.to_owned()), |(column, _)| Field::Column(column))
    }

    /// The name that means this field.
    pub fn name(&self) -> String {
        match self {
            Field::Column(column) => {
                let known = COLUMNS.iter().find(|(name, _)| name == column);
                known.map_or(*column, |(_, names)| names[0]).to_owned()
            }
            Field::Level => "level".to_owned(),
            Field::SeverityNumber => "severity_number".to_owned(),
            Field::Resource(name) => format!("{RESOURCE}{name}"),
            Field::Attribute(name) if !is_body(name) && Field::named(name) == *self => name.clone(),
            Field::Attribute(name) => format!("{ATTRIBUTES}{name}"),
        }
    }

    /// Whether an attribute of this name may be one of the resource.
    pub fn may_be_of_resource(name: &str) -> bool {
        RESOURCE_NAMESPACES.iter().any(|namespace| name.starts_with(namespace))
    }
}

/// Whether a name in front of a colon means the text of the line.
pub(crate) fn is_body(name: &str) -> bool {
    matches!(name, "body" | "message" | "msg")
}

/// How a value is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// It is there.
    Exists,
    /// It is this.
    Is(String),
    /// It begins with this.
    Begins(String),
    /// It lies within bounds; numbers as numbers, everything else as text.
    Within(Bounds),
}

/// From a lower to an upper bound; at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub low: Option<Bound>,
    pub high: Option<Bound>,
}

/// A bound, and whether it belongs to the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub value: String,
    pub included: bool,
}

/// The level of a word, in any case and as loggers of all languages spell it.
pub(crate) fn level_of(word: &str) -> Option<Level> {
    match Level::of(0, word.as_bytes()) {
        Level::Unknown => (word.eq_ignore_ascii_case("unknown")).then_some(Level::Unknown),
        level => Some(level),
    }
}

/// What is wrong with a search, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchError {
    /// What is wrong, and what would be right.
    pub message: String,
    /// The character where it begins, from 0.
    pub at: usize,
}

#[cfg(test)]
mod tests;
