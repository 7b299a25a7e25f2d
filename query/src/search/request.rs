//! What can be asked about log lines, and what it may use. Reads the body of a request and its arguments; decides nothing else.

use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;

use super::id::LineId;
use super::language::parse::parse;
use super::language::{Field, Search, Test};
use crate::error::{Position, QueryError};
use crate::time::parse_time;

/// Lines of a page when it does not say, and the most it may ask for.
const LINES: usize = 200;
pub(crate) const LINES_MAX: usize = 1_000;
/// Time that a search gets when it does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How far back a search looks that names no beginning.
const FROM: &str = "now-1h";
const NS_PER_MS: i64 = 1_000_000;

/// The body of a request. Everything is optional.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    /// The search.
    #[serde(default)]
    pub q: String,
    pub service: Option<String>,
    pub env: Option<String>,
    pub version: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub from: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub to: Option<String>,
    pub limit: Option<usize>,
    /// Only lines before or after this one.
    pub before: Option<String>,
    pub after: Option<String>,
    pub timeout_ms: Option<u64>,
    /// For volumes: `version`, `level` or `service`.
    pub by: Option<String>,
    /// For volumes: milliseconds of a step.
    pub step_ms: Option<i64>,
    /// For tails: where the last answer ended.
    pub cursor: Option<String>,
}

/// A question that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub search: Search,
    /// Event times, ns.
    pub range_ns: Range<i64>,
    pub limit: usize,
    pub timeout: Duration,
}

impl Body {
    /// Understands it. `first_seen` answers when a version of the service was first seen, for `deploy:` anchors.
    pub fn question(
        &self,
        now_ms: i64,
        timeout_max: Duration,
        first_seen: impl Fn(&str) -> Option<i64>,
    ) -> Result<Question, QueryError> {
        let search = self.search()?;
        let from_ms = parse_time("from", given(&self.from).unwrap_or(FROM), now_ms, &first_seen)?;
        let to = given(&self.to).unwrap_or("now");
        let to_ms = parse_time("to", to, now_ms, &first_seen)?;
        // What is newest lies a little ahead of us where clocks differ.
        let to_ns = if to == "now" { i64::MAX } else { to_ms.saturating_mul(NS_PER_MS) };
        let from_ns = from_ms.saturating_mul(NS_PER_MS);
        if from_ns >= to_ns {
            let value = given(&self.from).unwrap_or(FROM).to_owned();
            let reason = format!("the range is empty: `from` has to lie before `to` ({to})");
            return Err(QueryError::BadArgument { argument: "from", value, reason });
        }
        Ok(Question {
            search,
            range_ns: from_ns..to_ns,
            limit: self.limit.unwrap_or(LINES).clamp(1, LINES_MAX),
            timeout: self.timeout_ms.map_or(TIMEOUT, Duration::from_millis).min(timeout_max),
        })
    }

    /// The search with the filters beside it.
    pub fn search(&self) -> Result<Search, QueryError> {
        let filters = [("service", &self.service), ("environment", &self.env), ("version", &self.version)];
        let mut parts: Vec<Search> = Vec::new();
        for (column, value) in filters {
            if let Some(value) = given(value) {
                parts.push(Search::Field(Field::Column(column), Test::Is(value.to_owned())));
            }
        }
        match read(&self.q)? {
            Search::All => {}
            search => parts.push(search),
        }
        Ok(match parts.len() {
            0 => Search::All,
            1 => parts.remove(0),
            _ => Search::And(parts),
        })
    }

    /// The filters that stand in front of the search, in their order.
    pub fn filters(&self) -> Vec<&'static str> {
        let filters = [("service", &self.service), ("env", &self.env), ("version", &self.version)];
        filters.into_iter().filter(|(_, value)| given(value).is_some()).map(|(name, _)| name).collect()
    }

    /// The line that the page goes on from, and whether it goes to newer ones.
    pub fn cursor(&self) -> Result<Option<(LineId, Direction)>, QueryError> {
        match (given(&self.before), given(&self.after)) {
            (None, None) => Ok(None),
            (Some(before), None) => Ok(Some((line_id("before", before)?, Direction::Older))),
            (None, Some(after)) => Ok(Some((line_id("after", after)?, Direction::Newer))),
            (Some(before), Some(_)) => {
                let reason = "there is either `before` or `after`".to_owned();
                Err(QueryError::BadArgument { argument: "before", value: before.to_owned(), reason })
            }
        }
    }
}

/// Which way a page goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the newest line backwards.
    Older,
    /// From a line on.
    Newer,
}

/// A time as text, or epoch milliseconds as a number, as answers have them.
fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a time is a text, like \"now-30m\", or epoch milliseconds")]
    enum Time {
        Text(String),
        EpochMs(i64),
    }
    let given = Option::<Time>::deserialize(deserializer)?;
    Ok(given.map(|time| match time {
        Time::Text(text) => text,
        Time::EpochMs(ms) => ms.to_string(),
    }))
}

/// Reads a search, with its place in the error.
pub(crate) fn read(text: &str) -> Result<Search, QueryError> {
    parse(text).map_err(|error| {
        let before: Vec<char> = text.chars().take(error.at).collect();
        let line = before.iter().filter(|c| **c == '\n').count() as u64 + 1;
        let column = before.iter().rev().take_while(|c| **c != '\n').count() as u64 + 1;
        let position = Position { line, column, offset: error.at as u64 };
        QueryError::Search { message: error.message, position }
    })
}

/// Reads the name of a line.
pub(crate) fn line_id(argument: &'static str, text: &str) -> Result<LineId, QueryError> {
    LineId::parse(text).ok_or_else(|| QueryError::BadArgument {
        argument,
        value: text.to_owned(),
        reason: "expected the `id` of a line".to_owned(),
    })
}

/// What was given; nothing and an empty text are the same.
pub(crate) fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}
