//! The answers about log lines, as JSON. `docs/search.md` describes them.

use std::collections::BTreeMap;

use serde::Serialize;
use shipwake_model::pattern::Level;

use super::id::LineId;
use super::rows::Rows;
use super::scan::Scanned;
use super::without::Without;
use crate::incomplete::IncompleteShard;
use crate::time::rfc3339_ns;

const NS_PER_MS: i64 = 1_000_000;
/// Bytes of the attributes of a line in a list: a page of lines must stay small whatever was sent.
const LISTED_MAP_BYTES: usize = 8 << 10;

/// What an answer was made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Meta {
    /// The present, epoch ms.
    pub as_of: i64,
    pub elapsed_ms: f64,
    /// The time was over before everything was seen.
    pub partial: bool,
    /// What was seen then: everything newer (or older) than this, epoch ms.
    pub seen_until: Option<i64>,
    /// The search as it was understood.
    pub search: String,
    pub scanned: ScannedText,
    pub warnings: Vec<String>,
    /// Shards whose newest records are missing, because the process that has them does not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<IncompleteShard>,
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ScannedText {
    pub segments: u64,
    pub segments_skipped: u64,
    pub rows: u64,
}

impl Meta {
    pub fn new(as_of: i64, elapsed_ms: f64, search: String, scanned: &Scanned) -> Self {
        let Scanned { segments, segments_skipped, rows, stopped_at_ns } = *scanned;
        Self {
            as_of,
            elapsed_ms,
            partial: stopped_at_ns.is_some(),
            seen_until: stopped_at_ns.map(|ns| ns.div_euclid(NS_PER_MS)),
            search,
            scanned: ScannedText { segments, segments_skipped, rows },
            warnings: Vec::new(),
            incomplete: Vec::new(),
        }
    }
}

/// A page of lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Lines {
    pub meta: Meta,
    pub lines: Vec<Line>,
    /// For `before` (or `after`, on the way to newer lines) of the next page; null when there is none.
    pub next: Option<String>,
    /// When nothing is found: what would be, without one condition. Most lines first; conditions that change nothing are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Without>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    pub id: String,
    /// Epoch ms.
    pub t: i64,
    /// RFC 3339, to the nanosecond.
    pub time: String,
    pub level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity_text: Option<String>,
    pub service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub env: String,
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    pub body: String,
    /// The body is longer than what is shown, or attributes are left out: the line itself has all of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub attrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resource: BTreeMap<String, String>,
}

impl Line {
    /// Row `row` of some columns.
    pub fn new(id: LineId, columns: &Rows, row: usize, body_bytes: usize) -> Self {
        let text = |name: &str| columns.column(name).and_then(|column| column.text(row)).map(str::to_owned);
        let some = |name: &str| text(name).filter(|text| !text.is_empty());
        let is_whole = body_bytes == usize::MAX;
        let mut cut = false;
        let mut map = |name: &str| {
            let mut left = if is_whole { usize::MAX } else { LISTED_MAP_BYTES };
            let mut found = BTreeMap::new();
            for (name, value) in columns.column(name).map(|column| column.map(row)).unwrap_or_default() {
                match left.checked_sub(name.len() + value.len()) {
                    Some(rest) => {
                        left = rest;
                        found.insert(name, value);
                    }
                    None => cut = true,
                }
            }
            found
        };
        let (attrs, resource) = (map("attributes"), map("resource"));
        let mut body = text("body").unwrap_or_default();
        if body.len() > body_bytes {
            cut = true;
            body.truncate((0..=body_bytes).rev().find(|end| body.is_char_boundary(*end)).unwrap_or(0));
        }
        Self {
            id: id.to_string(),
            t: id.time_ns.div_euclid(NS_PER_MS),
            time: rfc3339_ns(id.time_ns).unwrap_or_default(),
            level: level_of_row(columns, row).as_str(),
            severity_text: some("severity_text"),
            service: text("service").unwrap_or_default(),
            namespace: text("namespace").unwrap_or_default(),
            env: text("environment").unwrap_or_default(),
            version: text("version").unwrap_or_default(),
            instance: text("instance").unwrap_or_default(),
            body,
            cut,
            event: some("event_name"),
            pattern: some("pattern_id"),
            trace_id: some("trace_id"),
            span_id: some("span_id"),
            scope: some("scope_name"),
            attrs,
            resource,
        }
    }

    /// Bytes of its texts, about.
    pub fn bytes(&self) -> usize {
        let maps = self.attrs.iter().chain(&self.resource);
        self.body.len() + 300 + maps.map(|(name, value)| name.len() + value.len() + 6).sum::<usize>()
    }
}

/// The level of a row.
pub(crate) fn level_of_row(columns: &Rows, row: usize) -> Level {
    let number = columns.column("severity_number").and_then(|column| column.number(row)).unwrap_or(0);
    let text = columns.column("severity_text").and_then(|column| column.text(row)).unwrap_or("");
    Level::of(i32::try_from(number).unwrap_or(0), text.as_bytes())
}

/// Lines by time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Volume {
    pub meta: Meta,
    pub by: &'static str,
    pub step_ms: i64,
    /// Starts of the steps, epoch ms.
    pub t: Vec<i64>,
    /// Largest first.
    pub series: Vec<VolumeSeries>,
    pub total: u64,
}

/// The lines of one version, level or service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct VolumeSeries {
    pub key: String,
    pub total: u64,
    pub n: Vec<u64>,
}

/// Patterns of the lines that were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Patterns {
    pub meta: Meta,
    /// All lines that were found, with a pattern or without.
    pub total: u64,
    /// Lines without a pattern: access logs, and lines without a message.
    pub without: u64,
    /// Patterns beyond the bound, which are not listed.
    pub more: u64,
    /// Lines of each version that were found.
    pub versions: BTreeMap<String, u64>,
    pub patterns: Vec<PatternLine>,
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PatternLine {
    pub pattern: String,
    pub service: String,
    pub env: String,
    /// What its lines have in common; null when it is not remembered any more.
    pub template: Option<String>,
    pub example: Option<String>,
    /// The worst of its lines.
    pub level: &'static str,
    /// Lines by level.
    pub levels: BTreeMap<&'static str, u64>,
    pub total: u64,
    /// Lines by version.
    pub counts: BTreeMap<String, u64>,
    /// When each version first had it, as far as is remembered, epoch ms.
    pub first_seen: BTreeMap<String, i64>,
    /// The version that is the only one that ever had it, while the service has others.
    pub only_in: Option<String>,
    /// The same, unless it is the first version of the service that is remembered: nothing was new in that one.
    pub new_in: Option<String>,
}

/// A line with those around it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Context {
    pub meta: Meta,
    pub line: Line,
    /// Of the same instance, oldest first.
    pub before: Vec<Line>,
    pub after: Vec<Line>,
}

/// Fields of some of the newest lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fields {
    pub meta: Meta,
    /// Lines that were looked at: counts are of these.
    pub sample: usize,
    pub fields: Vec<FieldLine>,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FieldLine {
    /// As it is written in a search.
    pub name: String,
    /// `text`, `number` or `boolean`, by its values.
    pub kind: &'static str,
    /// Lines that have it.
    pub lines: u64,
    /// Different values, up to a bound.
    pub values: u64,
    pub top: Vec<FieldValue>,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FieldValue {
    pub value: String,
    pub lines: u64,
}

/// New lines of a tail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Tail {
    pub meta: crate::pages::wire::Meta,
    /// In the order of arrival.
    pub lines: Vec<Line>,
    /// Lines that came too and are left out.
    pub skipped: u64,
    /// Where to go on.
    pub cursor: String,
}
