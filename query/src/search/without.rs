//! When a search finds nothing: which of its conditions keeps the most lines away. Each is left out in turn, and what the rest
//! finds is counted, for as long as a person waits for a hint.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use shipwake_store::RowGroup;

use super::language::Search;
use super::scan::{Found, Sink};

/// Conditions that are left out in turn.
pub(crate) const CONDITIONS_MAX: usize = 8;
/// For all of them together.
pub(crate) const TIME_MAX: Duration = Duration::from_millis(700);

/// What would be found without one condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Without {
    /// The condition, as it is written in a search.
    pub condition: String,
    /// The filter beside the search that it is: `service`, `env` or `version`; null for a condition of the search itself.
    pub filter: Option<&'static str>,
    /// The search without it, without the filters beside it.
    pub q: String,
    pub lines: u64,
    /// The time was over before all were counted.
    pub at_least: bool,
}

/// A search with one condition less.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Less {
    pub condition: String,
    pub filter: Option<&'static str>,
    pub q: String,
    pub rest: Search,
}

/// The searches that lack one condition each. The first `filters.len()` conditions of `search` are filters beside the search.
pub(crate) fn each_less(search: &Search, filters: &[&'static str]) -> Vec<Less> {
    let parts = match search {
        Search::All => return Vec::new(),
        Search::And(parts) => flat(parts),
        one => vec![one.clone()],
    };
    let without = |left_out: usize, from: usize| {
        let rest = parts.iter().enumerate().skip(from).filter(|(at, _)| *at != left_out);
        all_of(rest.map(|(_, part)| part.clone()).collect())
    };
    let less = (0..parts.len()).take(CONDITIONS_MAX).map(|at| Less {
        condition: parts[at].to_string(),
        filter: filters.get(at).copied(),
        q: match without(at, filters.len()) {
            Search::All => String::new(),
            rest => rest.to_string(),
        },
        rest: without(at, 0),
    });
    less.collect()
}

/// Conditions that stand inside another: the search is one of them, the filters beside it the others.
fn flat(parts: &[Search]) -> Vec<Search> {
    let inner = |part: &Search| match part {
        Search::And(parts) => flat(parts),
        other => vec![other.clone()],
    };
    parts.iter().flat_map(inner).collect()
}

fn all_of(mut parts: Vec<Search>) -> Search {
    match parts.len() {
        0 => Search::All,
        1 => parts.remove(0),
        _ => Search::And(parts),
    }
}

/// Counts lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(pub u64);

impl Sink for Lines {
    fn columns(&self) -> &'static [&'static str] {
        &[]
    }

    fn matters(&self) -> Range<i64> {
        i64::MIN..i64::MAX
    }

    fn take(&mut self, found: &Found<'_>) {
        self.0 += found.rows.len() as u64;
    }

    fn take_unread(&mut self, group: &RowGroup) -> bool {
        self.0 += group.rows as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Body;
    use super::*;

    fn check(body: &Body, expected: &[(&str, Option<&str>, &str, &str)]) {
        let (search, filters) = (body.search().expect("a search"), body.filters());
        let found = each_less(&search, &filters);
        let found: Vec<_> = found
            .iter()
            .map(|less| (less.condition.as_str(), less.filter, less.q.clone(), less.rest.to_string()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(condition, filter, q, rest)| (*condition, *filter, (*q).to_owned(), (*rest).to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_condition_is_left_out_in_turn() {
        let some = |text: &str| Some(text.to_owned());
        check(&Body::default(), &[]);
        check(&Body { q: "declined".to_owned(), ..Body::default() }, &[("\"declined\"", None, "", "*")]);
        check(&Body { q: "a OR b".to_owned(), ..Body::default() }, &[("\"a\" OR \"b\"", None, "", "*")]);
        check(
            &Body { q: "declined -level:info".to_owned(), version: some("2"), ..Body::default() },
            &[
                ("version:\"2\"", Some("version"), "\"declined\" -level:\"info\"", "\"declined\" -level:\"info\""),
                ("\"declined\"", None, "-level:\"info\"", "version:\"2\" -level:\"info\""),
                ("-level:\"info\"", None, "\"declined\"", "version:\"2\" \"declined\""),
            ],
        );
        check(
            &Body { service: some("pay"), env: some("prod"), ..Body::default() },
            &[
                ("service:\"pay\"", Some("service"), "", "environment:\"prod\""),
                ("environment:\"prod\"", Some("env"), "", "service:\"pay\""),
            ],
        );
    }

    #[test]
    fn a_long_search_asks_no_more_than_a_few_questions() {
        let q = (0..40).map(|n| format!("word{n} ")).collect();
        let search = Body { q, ..Body::default() }.search().expect("a search");
        assert_eq!(each_less(&search, &[]).len(), CONDITIONS_MAX);
    }
}
