//! PagerDuty: Events API v2, which opens and closes incidents, and change events, which stand beside them.
//!
//! Events of one release have one `dedup_key`, and their order matters: a trigger after a resolve would open a new incident.

use serde_json::{Value, json};

use crate::change::Change;
use crate::message::{self, Message, Moment};
use crate::outbox::row::{Body, Key, Row, RowId};
use crate::receivers::{Request, cut_chars, plain};
use crate::secret::Secret;
use crate::time::rfc3339;

/// Where events go unless the configuration says otherwise.
pub const EVENTS_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Where change events go unless the configuration says otherwise.
pub const CHANGES_URL: &str = "https://events.pagerduty.com/v2/change/enqueue";
/// Characters of a summary.
const SUMMARY_CHARS_MAX: usize = 1_024;

/// The event for a row: opens an incident when something is wrong, closes it when that is over.
pub fn event(url: &Secret, key: &Secret, row: &Row, moment: &Moment) -> Request {
    let said = message::message(row, moment);
    let change = last_change(row);
    let mut event = json!({ "routing_key": key.expose(), "dedup_key": dedup_key(row), "client": "Shipwake" });
    if let Some(url) = &moment.url {
        event["client_url"] = url.as_str().into();
    }
    if change.is_some_and(|change| !change.is_trouble()) {
        event["event_action"] = "resolve".into();
        return post(url, &event);
    }
    event["event_action"] = "trigger".into();
    // What is over by now, and was told late, wakes nobody.
    let severity = match change {
        Some(_) if moment.overtaken_by.as_ref().is_some_and(|later| !later.is_trouble()) => "info",
        Some(_) => "critical",
        None if matches!(row.body, Body::Test) => "info",
        None => "warning",
    };
    let mut payload = payload(row, change, &said, moment);
    payload["severity"] = severity.into();
    payload["class"] = "verdict".into();
    if let Some(change) = change {
        payload["component"] = plain(&change.release.service).into();
        payload["group"] = plain(&change.release.environment).into();
    }
    event["payload"] = payload;
    event["links"] = links(&said);
    post(url, &event)
}

/// The change event for a row.
pub fn change_event(url: &Secret, key: &Secret, row: &Row, moment: &Moment) -> Request {
    let said = message::message(row, moment);
    let payload = payload(row, last_change(row), &said, moment);
    post(url, &json!({ "routing_key": key.expose(), "payload": payload, "links": links(&said) }))
}

/// Whether an answer means that the event will never be taken. A routing key that is wrong can be put right.
pub fn is_final(status: u16, text: &str) -> bool {
    let text = text.to_lowercase();
    status == 413 || status == 400 && !text.contains("routing_key") && !text.contains("routing key")
}

/// The same for all events of a release; not more than 255 characters, whatever the names are.
fn dedup_key(row: &Row) -> String {
    match &row.key {
        Key::Release(release) => {
            let parts = [&release.namespace, &release.service, &release.environment, &release.version];
            format!("sw-{}", RowId::of(&parts.map(|part| part.as_bytes())))
        }
        Key::Own => format!("sw-own-{}", RowId::of(&[row.receiver.as_bytes()])),
    }
}

fn payload(row: &Row, change: Option<&Change>, said: &Message, moment: &Moment) -> Value {
    let mut summary = plain(&said.title);
    if !said.sentence.is_empty() {
        summary = format!("{summary}. {}", plain(&said.sentence));
    }
    let at_ms = change.map_or(row.created_ms, |change| change.at_ms);
    // An event without a source is refused, and a name may have nothing in it that is shown.
    let source = change.map(|change| plain(&change.release.service)).filter(|name| !name.trim().is_empty());
    let source = source.unwrap_or_else(|| "shipwake".to_owned());
    let lines = |lines: &[String]| lines.iter().map(|line| plain(line)).collect::<Vec<_>>();
    let mut details =
        json!({ "traffic": plain(&said.context), "evidence": lines(&said.evidence), "notes": lines(&said.notes) });
    if let Some(change) = change {
        details["candidate"] = plain(&change.release.version).into();
        details["baseline"] = change.baseline.as_deref().map(plain).into();
        details["environment"] = plain(&change.release.environment).into();
        details["verdict"] = change.to.as_str().into();
        details["sequence"] = change.sequence.into();
    }
    // Our clock may be behind that of the telemetry; nothing happens after it is told.
    let timestamp = rfc3339(at_ms.min(moment.now_ms));
    json!({
        "summary": cut_chars(&summary, SUMMARY_CHARS_MAX), "source": source, "timestamp": timestamp, "custom_details": details,
    })
}

fn links(said: &Message) -> Value {
    said.links.iter().map(|link| json!({ "href": link.url, "text": plain(&link.text) })).collect()
}

fn last_change(row: &Row) -> Option<&Change> {
    match &row.body {
        Body::Changes(changes) => Some(changes.last()),
        Body::Lost(_) | Body::Test => None,
    }
}

fn post(url: &Secret, event: &Value) -> Request {
    Request { url: url.clone(), headers: Vec::new(), body: event.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::tests::change;
    use crate::change::{Ending, Word};
    use crate::outbox::row::{Changes, Lost};

    fn row(told: &Change) -> Row {
        Row::new("pager".into(), Body::Changes(Changes::one(Arc::new(told.clone()))), None, 0)
    }

    fn sent(row: &Row, moment: &Moment) -> Value {
        let secret = |text: &str| Secret::new(text.to_owned());
        let request = event(&secret(EVENTS_URL), &secret("R0123456789012345678901234567890"), row, moment);
        serde_json::from_slice(&request.body).expect("JSON")
    }

    #[test]
    fn trouble_opens_an_incident_and_its_end_closes_the_same_one() {
        let wrong = change("2.14.0", 1, Word::Wait, Word::NoGo);
        let mut over = change("2.14.0", 2, Word::NoGo, Word::NoGo);
        over.ending = Some(Ending::RolledBack);
        let moment = Moment { now_ms: wrong.at_ms, ..Moment::default() };
        let (opens, closes) = (sent(&row(&wrong), &moment), sent(&row(&over), &moment));
        assert_eq!((&opens["event_action"], &closes["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(opens["dedup_key"], closes["dedup_key"]);
        assert!(opens["dedup_key"].as_str().expect("a text").len() <= 255);
        let payload = &opens["payload"];
        assert_eq!((&payload["severity"], &payload["source"]), (&json!("critical"), &json!("checkout")));
        assert_eq!(payload["timestamp"], "2026-11-23T10:00:01Z");
        assert_eq!(opens["links"][0]["href"], "https://shipwake.example.com/s/checkout");
        let other = sent(&row(&change("2.15.0", 1, Word::Wait, Word::NoGo)), &moment);
        assert_ne!(other["dedup_key"], opens["dedup_key"], "another release is another incident");
    }

    #[test]
    fn what_is_over_by_now_wakes_nobody() {
        let wrong = change("2.14.0", 1, Word::Wait, Word::NoGo);
        let over = change("2.14.0", 9, Word::NoGo, Word::Go);
        let moment = Moment { now_ms: over.at_ms, overtaken_by: Some(Arc::new(over)), ..Moment::default() };
        let document = sent(&row(&wrong), &moment);
        assert_eq!((&document["event_action"], &document["payload"]["severity"]), (&json!("trigger"), &json!("info")));
        assert_eq!(document["payload"]["custom_details"]["notes"][0], "Since 10:00:09 UTC it is GO.");
    }

    #[test]
    fn limits_are_kept_whatever_the_names_are() {
        let mut long = change(&"v".repeat(400), 1, Word::Wait, Word::NoGo);
        long.release.service = "ß".repeat(400).into();
        long.summary = "ü\u{0}".repeat(9_000);
        long.checks = vec![long.checks[0].clone(); 99];
        let row = row(&long.bounded());
        let document = sent(&row, &Moment { now_ms: i64::MAX / 2, ..Moment::default() });
        let summary = document["payload"]["summary"].as_str().expect("a text");
        assert!(summary.chars().count() <= 1_024 && !summary.contains('\u{0}'));
        assert!(document["dedup_key"].as_str().expect("a text").len() <= 255);
        assert!(document.to_string().len() < 512_000 / 10);
    }

    #[test]
    fn a_summary_of_lost_events_and_change_events_have_their_fields() {
        let lost = Row::new("pager".into(), Body::Lost(Lost { expired: 2, ..Lost::default() }), None, 0);
        let document = sent(&lost, &Moment { now_ms: 5, ..Moment::default() });
        assert_eq!(
            (&document["event_action"], &document["payload"]["severity"]),
            (&json!("trigger"), &json!("warning"))
        );
        let told = change("2.14.0", 1, Word::Wait, Word::Go);
        let secret = |text: &str| Secret::new(text.to_owned());
        let request = change_event(
            &secret(CHANGES_URL),
            &secret("R"),
            &row(&told),
            &Moment { now_ms: told.at_ms, ..Moment::default() },
        );
        let document: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert!(
            document["payload"]["summary"]
                .as_str()
                .expect("a text")
                .starts_with("GO: shop/checkout 2.14.0 in production")
        );
        assert!(document.get("event_action").is_none() && document.get("dedup_key").is_none());
    }
}
