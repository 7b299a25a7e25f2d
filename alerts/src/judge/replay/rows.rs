//! What is stored, as the replay takes it: rows of `windows`, `patterns`, `releases`, `markers` and `verdicts`.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use shipwake_model::marker::{DeployStatus, Exposure, Marker, MarkerKind, Role};
use shipwake_model::pattern::{Level, id_of_text};
use shipwake_model::{HdrCells, ReleaseId, Sketch, Source};
use shipwake_store::{MarkerRow, MeasureCell, MeasureKey};
use shipwake_verdict::Word;

use super::ask::Asker;
use super::calls::{Call, CheckCall};
use super::run::{ReplayError, of};
use super::stored::{Stored, StoredWindow, finest};

const NS_PER_MS: i64 = 1_000_000;

const WINDOWS: &str = "select service, namespace, environment, version, cast(window_start as bigint) / 1000000000, \
    resolution_s, signal, metric, unit, source, route, slot, count, sum, \
    case when signal = 'kpi' then null else histogram end \
    from windows where resolution_s in (1, 10) and signal in ('requests', 'errors', 'duration', 'kpi', 'usage') \
    and window_start >= {from} and window_start < {to}{wanted}";
const LINES: &str = "select service, namespace, environment, version, cast(window_start as bigint) / 1000000000, metric, \
    attributes['template'], attributes['level'], slot, count, min, max \
    from windows where resolution_s = 60 and signal = 'pattern' and window_start >= {from} and window_start < {to}{wanted}";
/// Patterns from before the windows that are read, and still there: they are not new.
const PATTERNS: &str = "select service, namespace, environment, version, pattern_id, template, level, \
    cast(first_seen as bigint) / 1000000, cast(last_seen as bigint) / 1000000 \
    from patterns where first_seen >= {from} and first_seen < {to} and level in ('warn', 'error', 'fatal'){wanted}";
const RELEASES: &str = "select service, namespace, environment, version, cast(first_seen as bigint) / 1000000, instance_guessed \
    from releases where true{wanted}";
const MARKERS: &str = "select service, namespace, environment, version, id, kind, cast(time as bigint) / 1000000, previous, weight, \
    role, exposure, status, cast(said as bigint) / 1000000, cast(received as bigint) / 1000000 \
    from markers where time >= {from} and time < {to}{wanted}";
const VERDICTS: &str = "select service, namespace, environment, version, cast(time as bigint) / 1000000, verdict, summary, checks, \
    policy, ending from verdicts where time >= {from} and time < {to}{wanted} order by time, sequence";

/// A release that is known.
pub struct KnownRelease {
    pub release: Arc<ReleaseId>,
    pub first_seen_ms: i64,
    /// Its instances were guessed.
    pub guessed: bool,
}

/// A word that was recorded.
pub struct Recorded {
    pub release: ReleaseId,
    pub policy: String,
    pub call: Call,
}

/// Releases seen once are one value.
#[derive(Default)]
struct Names(HashSet<Arc<ReleaseId>>);

impl Names {
    fn release(&mut self, row: &[Value]) -> Arc<ReleaseId> {
        let id = release_of(row);
        match self.0.get(&id) {
            Some(known) => known.clone(),
            None => {
                let id = Arc::new(id);
                self.0.insert(id.clone());
                id
            }
        }
    }
}

/// The first four columns of every statement.
fn release_of(row: &[Value]) -> ReleaseId {
    let name = |at: usize| Arc::from(text(&row[at]));
    ReleaseId { service: name(0), namespace: name(1), environment: name(2), version: name(3) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn whole(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Windows that begin in a time, requests by the second where they still are.
pub async fn windows(asker: &Asker, from_s: i64, to_s: i64) -> Result<Vec<StoredWindow>, ReplayError> {
    let mut names = Names::default();
    let rows = of("windows", asker.ask_between(WINDOWS, from_s, to_s).await)?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        found.extend(window(row, &mut names).map_err(|reason| ReplayError::Unreadable { what: "a window", reason })?);
    }
    let mut found = finest(found, to_s);
    let rows = of("log patterns", asker.ask_between(LINES, from_s, to_s).await)?;
    found.extend(rows.iter().filter_map(|row| {
        let [first_ns, last_ns] = [&row[10], &row[11]].map(|at| (at.as_f64().unwrap_or_default() * 1e9) as i64);
        let what = Stored::Lines {
            id: id_of_text(text(&row[5]))?,
            template: text(&row[6]).into(),
            level: Level::from_word(text(&row[7])).unwrap_or(Level::Unknown),
            slot: count(&row[8]) as u8,
            count: count(&row[9]),
            first_ns,
            last_ns,
        };
        Some(StoredWindow { release: names.release(row), start_s: whole(&row[4]), length_s: 60, what })
    }));
    Ok(found)
}

/// A row of requests, errors, durations, usage or a KPI; nothing where its source is not known.
fn window(row: &[Value], names: &mut Names) -> Result<Option<StoredWindow>, String> {
    let (signal, metric, many) = (text(&row[6]), text(&row[7]), count(&row[12]));
    let sketch = || -> Result<Option<Sketch>, String> {
        let Some(encoded) = row[14].as_str() else { return Ok(None) };
        let bytes = STANDARD.decode(encoded).map_err(|error| error.to_string())?;
        Sketch::decode(&bytes).map(Some).map_err(|error| error.to_string())
    };
    let release = names.release(row);
    let what = match signal {
        "kpi" | "usage" => {
            let key = MeasureKey {
                release: release.clone(),
                signal: if signal == "kpi" { "kpi" } else { "usage" },
                metric: metric.into(),
                unit: text(&row[8]).into(),
                attributes: Vec::new(),
            };
            let distinct = match sketch()? {
                Some(Sketch::Distinct(distinct)) => Some(distinct),
                _ => None,
            };
            let sum = row[13].as_f64().unwrap_or_default();
            Stored::Measure {
                key: Arc::new(key),
                cell: MeasureCell { count: many, sum, distinct, ..MeasureCell::default() },
            }
        }
        _ => {
            let Some(source) = Source::from_word(text(&row[9])) else { return Ok(None) };
            let duration = if signal == "duration" { sketch()?.map(|sketch| sketch.to_hdr(1.0).0) } else { None };
            Stored::Health {
                source,
                route: text(&row[10]).into(),
                slot: count(&row[11]) as u8,
                requests: if signal == "requests" { many } else { 0 },
                errors: if signal == "errors" { many } else { 0 },
                duration: duration.unwrap_or_else(HdrCells::new),
            }
        }
    };
    Ok(Some(StoredWindow { release, start_s: whole(&row[4]), length_s: whole(&row[5]), what }))
}

/// Patterns of bad lines, each from its first line on: what was there before a release is not new in it.
pub async fn known_patterns(asker: &Asker, to_s: i64) -> Result<Vec<StoredWindow>, ReplayError> {
    let mut names = Names::default();
    let rows = of("log patterns", asker.ask_between(PATTERNS, 0, to_s).await)?;
    let seen = rows.iter().filter_map(|row| {
        let (first_ms, last_ms) = (whole(&row[7]), whole(&row[8]));
        let what = Stored::Lines {
            id: id_of_text(text(&row[4]))?,
            template: text(&row[5]).into(),
            level: Level::from_word(text(&row[6])).unwrap_or(Level::Unknown),
            slot: 0,
            count: 0,
            first_ns: first_ms.saturating_mul(NS_PER_MS),
            last_ns: last_ms.saturating_mul(NS_PER_MS),
        };
        // Known from the next look of ten seconds on.
        let start_s = (first_ms.div_euclid(10_000) + 1) * 10;
        Some(StoredWindow { release: names.release(row), start_s, length_s: 0, what })
    });
    Ok(seen.collect())
}

/// Every release that is known.
pub async fn releases(asker: &Asker) -> Result<Vec<KnownRelease>, ReplayError> {
    let rows = of("releases", asker.ask(RELEASES).await)?.rows;
    let known = rows.iter().map(|row| KnownRelease {
        release: Arc::new(release_of(row)),
        first_seen_ms: whole(&row[4]),
        guessed: row[5] == true,
    });
    Ok(known.collect())
}

/// Instances by five minutes, from the first table that names any.
pub async fn instances(asker: &Asker, from_s: i64, to_s: i64) -> Result<Vec<(Arc<ReleaseId>, i64, u32)>, ReplayError> {
    let mut names = Names::default();
    for table in ["spans", "logs", "points"] {
        let statement = format!(
            "select service, namespace, environment, version, \
             cast(date_bin(interval '5 minutes', time) as bigint) / 1000000000 as bin, count(distinct instance) \
             from {table} where time >= {{from}} and time < {{to}} and instance <> ''{{wanted}} \
             group by service, namespace, environment, version, bin"
        );
        let rows = of("instances", asker.ask_between(&statement, from_s, to_s).await)?;
        if !rows.is_empty() {
            let found = rows.iter().map(|row| (names.release(row), whole(&row[4]), count(&row[5]) as u32));
            return Ok(found.collect());
        }
    }
    Ok(Vec::new())
}

/// What was announced.
pub async fn markers(asker: &Asker, from_s: i64, to_s: i64) -> Result<Vec<MarkerRow>, ReplayError> {
    let rows = of("markers", asker.ask_between(MARKERS, from_s, to_s).await)?;
    rows.iter().map(|row| marker(row).map_err(|reason| ReplayError::Unreadable { what: "a marker", reason })).collect()
}

fn marker(row: &[Value]) -> Result<MarkerRow, String> {
    let at = |value: &Value| whole(value).saturating_mul(NS_PER_MS);
    let marker = Marker {
        previous: text(&row[7]).to_owned(),
        weight: row[8].as_f64(),
        role: row[9].as_str().map(Role::from_word).transpose()?,
        exposure: row[10].as_str().map(Exposure::from_word).transpose()?,
        status: row[11].as_str().map(DeployStatus::from_word).transpose()?,
        said_ns: Some(at(&row[12])),
        ..Marker::new(text(&row[4]).to_owned(), MarkerKind::from_word(text(&row[5]))?, release_of(row), at(&row[6]))
    };
    Ok(MarkerRow { marker: Arc::new(marker), received_ns: at(&row[13]) })
}

/// The words that were told then.
pub async fn calls(asker: &Asker, from_s: i64, to_s: i64) -> Result<Vec<Recorded>, ReplayError> {
    // The end is a full second, and the last word may have been said within the one that is not over.
    let rows = of("verdicts", asker.ask_between(VERDICTS, from_s, to_s + 1).await)?;
    let mut calls: Vec<Recorded> =
        rows.iter().filter(|row| text(&row[9]).is_empty()).filter_map(|row| recorded(row)).collect();
    calls.sort_by_key(|recorded| recorded.call.at_ms);
    Ok(calls)
}

fn recorded(row: &[Value]) -> Option<Recorded> {
    let words = [Word::Go, Word::NoGo, Word::Watch, Word::Wait];
    let word = words.into_iter().find(|word| word.as_str() == text(&row[5]))?;
    let read: Value = serde_json::from_str(text(&row[7])).unwrap_or_default();
    let check = |check: &Value| CheckCall {
        id: text(&check["id"]).to_owned(),
        state: text(&check["state"]).to_owned(),
        why: text(&check["why"]).to_owned(),
    };
    let checks = read.as_array().map(|checks| checks.iter().map(check).collect()).unwrap_or_default();
    let call = Call { word, at_ms: whole(&row[4]), summary: text(&row[6]).to_owned(), checks };
    Some(Recorded { release: release_of(row), policy: text(&row[8]).to_owned(), call })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(more: Vec<Value>) -> Vec<Value> {
        [vec![json!("checkout"), json!("shop"), json!("production"), json!("2")], more].concat()
    }

    /// A row of requests, errors, durations, usage or a KPI.
    fn of_window(signal: &str, count: u64, histogram: Value) -> Vec<Value> {
        let (start, resolution) = (json!(1_800_000_000), json!(10));
        let names = [json!("sessions"), json!("1"), json!("spans"), json!("POST /pay"), json!(3)];
        row([vec![start, resolution, json!(signal)], names.to_vec(), vec![json!(count), json!(2.5), histogram]]
            .concat())
    }

    #[test]
    fn rows_become_windows() {
        let mut names = Names::default();
        let mut durations = HdrCells::new();
        durations.record_n(1_000, 7);
        let encoded = STANDARD.encode(Sketch::Hdr(durations.clone()).encode());
        let found = window(&of_window("duration", 7, json!(encoded)), &mut names).expect("a row").expect("a window");
        assert_eq!((found.start_s, found.length_s, &*found.release.version), (1_800_000_000, 10, "2"));
        let Stored::Health { source, route, slot, requests, errors, duration } = found.what else { panic!("health") };
        assert_eq!((source, &*route, slot, requests, errors), (Source::Spans, "POST /pay", 3, 0, 0));
        assert_eq!((duration.count(), duration.quantile(0.5)), (7, durations.quantile(0.5)));
        let again = window(&of_window("errors", 9, Value::Null), &mut names).expect("a row").expect("a window");
        assert!(matches!(again.what, Stored::Health { errors: 9, requests: 0, .. }), "{again:?}");
        assert!(Arc::ptr_eq(&found.release, &again.release), "a release is one value");
        let kpi = window(&of_window("kpi", 4, Value::Null), &mut names).expect("a row").expect("a window");
        let Stored::Measure { key, cell } = kpi.what else { panic!("a measure") };
        assert_eq!((key.signal, &*key.metric, cell.count, cell.sum), ("kpi", "sessions", 4, 2.5));
        for damaged in ["?", "AAAA"] {
            assert!(window(&of_window("duration", 7, json!(damaged)), &mut names).is_err(), "{damaged}");
        }
    }

    #[test]
    fn rows_become_markers_and_words() {
        let at = json!(1_800_000_000_000i64);
        let said = vec![json!("m-1"), json!("weight"), at.clone(), json!("1"), json!(0.1), json!("candidate")];
        let more = vec![json!("public"), Value::Null, at.clone(), at.clone()];
        let found = marker(&row([said, more].concat())).expect("a marker");
        assert_eq!(
            (found.marker.kind, found.marker.weight, found.marker.role),
            (MarkerKind::Weight, Some(0.1), Some(Role::Candidate))
        );
        assert_eq!((found.marker.at_ns, found.received_ns), (1_800_000_000_000_000_000, 1_800_000_000_000_000_000));
        let checks = r#"[{"id":"errors","state":"worse","why":"more"}]"#;
        let word =
            |word: &str| row(vec![at.clone(), json!(word), json!("So."), json!(checks), json!("default"), json!("")]);
        let told = recorded(&word("no_go")).expect("a word");
        assert_eq!((told.call.word, told.call.at_ms, told.policy.as_str()), (Word::NoGo, 1_800_000_000_000, "default"));
        assert_eq!((told.call.checks[0].id.as_str(), told.call.checks[0].state.as_str()), ("errors", "worse"));
        assert!(recorded(&word("perhaps")).is_none(), "a later server may know more words");
    }
}
