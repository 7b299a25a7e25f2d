//! What was said about releases as annotations, in the form in which Grafana answers for its own: so that a Grafana that is pointed at
//! Shipwake shows deploys in every chart. Pure.
//!
//! Each marker has the tags `service:…`, `env:…`, `version:…` and its kind; a change of a verdict has `verdict` and its word.

use serde::Serialize;
use shipwake_model::{ReleaseId, UNVERSIONED};
use shipwake_store::{MarkerRow, VerdictRow};

use crate::pages::deploys::title;

/// Annotations of one answer, where nobody says it and at the most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 5_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub from_ms: i64,
    pub to_ms: i64,
    /// Each is a tag that an annotation must have, or one of which it must have with `any`.
    tags: Vec<String>,
    any: bool,
    limit: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotation {
    id: u64,
    time: i64,
    time_end: i64,
    text: String,
    tags: Vec<String>,
    // What Grafana has besides, for clients that read it.
    alert_id: u64,
    dashboard_id: u64,
    panel_id: u64,
    user_id: u64,
    login: String,
    new_state: String,
    prev_state: String,
}

impl Asked {
    /// Reads the arguments of an address; those that are about dashboards and panels are left alone.
    ///
    /// # Errors
    /// Argument, value, and what would be right.
    pub(crate) fn read(given: Vec<(String, String)>) -> Result<Self, (&'static str, String, String)> {
        let mut asked =
            Asked { from_ms: i64::MIN, to_ms: i64::MAX, tags: Vec::new(), any: false, limit: LIMIT_DEFAULT };
        for (name, value) in given {
            let wrong = |argument: &'static str| (argument, value.clone(), "expected a whole number".to_owned());
            match name.as_str() {
                _ if value.is_empty() => {}
                "from" => asked.from_ms = value.parse().map_err(|_| wrong("from"))?,
                // Grafana's own range includes its end.
                "to" => asked.to_ms = value.parse::<i64>().map_err(|_| wrong("to"))?.saturating_add(1),
                "limit" => asked.limit = value.parse::<usize>().map_err(|_| wrong("limit"))?.clamp(1, LIMIT_MAX),
                "matchAny" => asked.any = value == "true",
                "tags" => asked.tags.push(value),
                _ => {}
            }
        }
        Ok(asked)
    }

    fn wants(&self, tags: &[String]) -> bool {
        let has = |tag: &String| tags.contains(tag);
        self.tags.is_empty() || if self.any { self.tags.iter().any(has) } else { self.tags.iter().all(has) }
    }
}

/// The annotations that are asked for, newest first.
pub(crate) fn find(asked: &Asked, markers: &[MarkerRow], verdicts: &[VerdictRow]) -> Vec<Annotation> {
    let of_markers = markers.iter().map(|row| {
        let marker = &*row.marker;
        let tags = tags(&marker.release, &[marker.kind.as_str().to_owned()]);
        let end_ns = marker.until_ns.unwrap_or(marker.at_ns);
        annotation(&marker.id, [marker.at_ns, end_ns], title(marker), tags, &marker.by)
    });
    let of_verdicts = verdicts.iter().map(|row| {
        let change = &*row.change;
        let tags = tags(&change.release, &["verdict".to_owned(), change.verdict.clone()]);
        let id = format!("{} {}", change.release, change.sequence);
        annotation(&id, [change.at_ns; 2], change.summary.clone(), tags, "")
    });
    let mut found: Vec<Annotation> =
        of_markers.chain(of_verdicts).filter(|annotation| asked.wants(&annotation.tags)).collect();
    found.sort_by_key(|annotation| std::cmp::Reverse(annotation.time));
    found.truncate(asked.limit);
    found
}

fn tags(release: &ReleaseId, words: &[String]) -> Vec<String> {
    let mut tags = words.to_vec();
    tags.push(format!("service:{}", release.service));
    tags.push(format!("env:{}", release.environment));
    if &*release.version != UNVERSIONED {
        tags.push(format!("version:{}", release.version));
    }
    tags
}

fn annotation(id: &str, [at_ns, end_ns]: [i64; 2], text: String, tags: Vec<String>, by: &str) -> Annotation {
    Annotation {
        id: shipwake_model::marker::number_of(id),
        time: at_ns.div_euclid(1_000_000),
        time_end: end_ns.div_euclid(1_000_000),
        text,
        tags,
        alert_id: 0,
        dashboard_id: 0,
        panel_id: 0,
        user_id: 0,
        login: by.to_owned(),
        new_state: String::new(),
        prev_state: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shipwake_model::Marker;
    use shipwake_model::marker::MarkerKind;

    use super::*;

    fn marker(id: &str, kind: MarkerKind, version: &str, at_ms: i64) -> MarkerRow {
        let release = ReleaseId {
            service: "checkout".into(),
            namespace: "".into(),
            environment: "production".into(),
            version: version.into(),
        };
        MarkerRow { marker: Arc::new(Marker::new(id.to_owned(), kind, release, at_ms * 1_000_000)), received_ns: 0 }
    }

    fn asked(given: &[(&str, &str)]) -> Result<Asked, (&'static str, String, String)> {
        Asked::read(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn annotations_are_found_by_their_tags() {
        let rows = [marker("a", MarkerKind::Deploy, "2", 5), marker("b", MarkerKind::Note, UNVERSIONED, 7)];
        let times = |given: &[(&str, &str)]| -> Vec<i64> {
            find(&asked(given).expect("good"), &rows, &[]).iter().map(|annotation| annotation.time).collect()
        };
        assert_eq!(times(&[]), [7, 5]);
        assert_eq!(times(&[("tags", "deploy"), ("tags", "service:checkout")]), [5]);
        assert_eq!(times(&[("tags", "deploy"), ("tags", "note")]), Vec::<i64>::new());
        assert_eq!(times(&[("tags", "deploy"), ("tags", "note"), ("matchAny", "true")]), [7, 5]);
        assert_eq!(times(&[("limit", "1"), ("type", "annotation"), ("dashboardUID", "x")]), [7]);
        let found = serde_json::to_value(find(&asked(&[]).expect("good"), &rows, &[])).expect("JSON");
        assert_eq!(found[1]["timeEnd"], 5);
        assert_eq!(found[1]["tags"], serde_json::json!(["deploy", "service:checkout", "env:production", "version:2"]));
        assert!(found[1]["id"].as_u64() > Some(0));
    }

    #[test]
    fn a_range_includes_its_end_and_a_word_is_no_number() {
        let range = asked(&[("from", "5"), ("to", "7")]).expect("good");
        assert_eq!((range.from_ms, range.to_ms), (5, 8));
        assert_eq!(asked(&[("limit", "many")]).expect_err("no number").0, "limit");
    }
}
