//! What was said about releases — markers, and the changes of their verdicts — as readers ask for it, merged over shards.
//!
//! Pure. A marker lies in the shard that the hash of its resource chose, not in that of the release's telemetry, and one that was
//! corrected may lie in two: what was said later counts.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use shipwake_model::{Marker, ReleaseId, VerdictChange};

/// Which markers or verdicts a reader wants. `None` means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerQuery {
    /// The service.
    pub service: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// From when on, ms, included.
    pub from_ms: i64,
    /// Until when, ms, excluded.
    pub to_ms: i64,
    /// The newest so many.
    pub limit: usize,
}

/// A marker.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkerRow {
    /// What was said.
    pub marker: Arc<Marker>,
    /// When it was received, ns.
    pub received_ns: i64,
}

/// A change of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictRow {
    /// What was said.
    pub change: Arc<VerdictChange>,
    /// When it was received, ns.
    pub received_ns: i64,
}

impl MarkerQuery {
    /// Everything.
    pub fn all() -> Self {
        MarkerQuery { service: None, environment: None, from_ms: i64::MIN, to_ms: i64::MAX, limit: usize::MAX }
    }

    /// Whether it asks for what was said of a release at a time.
    pub fn asks_for(&self, release: &ReleaseId, at_ns: i64) -> bool {
        let asks = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let at_ms = at_ns.div_euclid(1_000_000);
        self.from_ms <= at_ms
            && at_ms < self.to_ms
            && asks(&self.service, &release.service)
            && asks(&self.environment, &release.environment)
    }
}

impl MarkerRow {
    /// Whether this one counts and not another of the same id.
    pub fn replaces(&self, other: &MarkerRow) -> bool {
        self.marker.replaces(&other.marker, [self.received_ns, other.received_ns])
    }
}

/// Of each id the marker that was said last, newest first, at most `limit`.
///
/// A shard answers with its newest alone, and a marker that another shard replaces may be among them: the answer of several is cut
/// only here.
pub fn merge_markers(found: impl IntoIterator<Item = MarkerRow>, limit: usize) -> Vec<MarkerRow> {
    let mut merged: HashMap<String, MarkerRow> = HashMap::new();
    for row in found {
        match merged.get_mut(&row.marker.id) {
            Some(known) if row.replaces(known) => *known = row,
            Some(_) => {}
            None => {
                merged.insert(row.marker.id.clone(), row);
            }
        }
    }
    let mut rows: Vec<MarkerRow> = merged.into_values().collect();
    rows.sort_by(|a, b| (b.marker.at_ns, &a.marker.id).cmp(&(a.marker.at_ns, &b.marker.id)));
    rows.truncate(limit);
    rows
}

/// Of each release and sequence one change, newest first, at most `limit`.
pub fn merge_verdicts(found: impl IntoIterator<Item = VerdictRow>, limit: usize) -> Vec<VerdictRow> {
    let mut rows: Vec<VerdictRow> = found.into_iter().collect();
    rows.sort_by(|a, b| {
        let place = |row: &VerdictRow| (Reverse((row.change.at_ns, row.change.sequence)), row.received_ns);
        (place(a), &a.change.release).cmp(&(place(b), &b.change.release))
    });
    let mut seen: HashMap<(ReleaseId, u64), ()> = HashMap::new();
    rows.retain(|row| seen.insert((row.change.release.clone(), row.change.sequence), ()).is_none());
    rows.truncate(limit);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipwake_model::marker::MarkerKind;

    fn release(version: &str) -> ReleaseId {
        ReleaseId { service: "shop".into(), namespace: "".into(), environment: "prod".into(), version: version.into() }
    }

    fn marker(id: &str, version: &str, at_ns: i64, said_ns: i64, received_ns: i64) -> MarkerRow {
        let marker = Marker { said_ns, ..Marker::new(id.to_owned(), MarkerKind::Deploy, release(version), at_ns) };
        MarkerRow { marker: Arc::new(marker), received_ns }
    }

    #[test]
    fn of_one_id_what_was_said_last_counts_wherever_it_lies() {
        let rows = [
            marker("a", "1", 5, 5, 10),
            marker("b", "2", 9, 9, 11),
            // Said before the one above and received after it.
            marker("b", "3", 20, 8, 30),
            marker("a", "1.1", 7, 6, 9),
        ];
        let seen = |rows: Vec<MarkerRow>| -> Vec<String> {
            rows.iter().map(|row| format!("{}={}", row.marker.id, row.marker.release.version)).collect()
        };
        assert_eq!(seen(merge_markers(rows.clone(), 10)), ["b=2", "a=1.1"]);
        assert_eq!(seen(merge_markers(rows.iter().rev().cloned(), 10)), ["b=2", "a=1.1"]);
        assert_eq!(seen(merge_markers(rows, 1)), ["b=2"]);
    }

    #[test]
    fn a_verdict_that_is_recorded_twice_is_one() {
        let change = |version: &str, sequence: u64, at_ns: i64, received_ns: i64| {
            let text = String::new;
            let change = VerdictChange {
                release: release(version),
                at_ns,
                sequence,
                baseline: text(),
                verdict: "go".to_owned(),
                previous: text(),
                ending: text(),
                summary: text(),
                policy: text(),
                checks: text(),
            };
            VerdictRow { change: Arc::new(change), received_ns }
        };
        let rows = [change("1", 1, 5, 5), change("1", 2, 7, 7), change("1", 2, 7, 9), change("2", 1, 6, 6)];
        let seen: Vec<(String, u64, i64)> = merge_verdicts(rows, 10)
            .iter()
            .map(|row| (row.change.release.version.to_string(), row.change.sequence, row.received_ns))
            .collect();
        assert_eq!(seen, [("1".to_owned(), 2, 7), ("2".to_owned(), 1, 6), ("1".to_owned(), 1, 5)]);
    }

    #[test]
    fn a_query_asks_by_service_environment_and_time() {
        let query = MarkerQuery { service: Some("shop".to_owned()), from_ms: 1, to_ms: 2, ..MarkerQuery::all() };
        assert!(query.asks_for(&release("1"), 1_999_999));
        assert!(!query.asks_for(&release("1"), 2_000_000) && !query.asks_for(&release("1"), 999_999));
        let other = MarkerQuery { environment: Some("test".to_owned()), ..MarkerQuery::all() };
        assert!(!other.asks_for(&release("1"), 1));
        assert!(MarkerQuery::all().asks_for(&release("1"), -1));
    }
}
