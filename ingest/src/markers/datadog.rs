//! `POST /api/v1/events`: Datadog's events, of which those with a tag `service:…` are markers.
//!
//! Tags say what it is about, as everywhere at Datadog: `service`, `version`, `env`. It is a deployment when a tag says so
//! (`event:deploy`, `deployment`), else a note.

use http::StatusCode;
use serde_json::{Value as Json, json};
use shipwake_model::Marker;
use shipwake_model::marker::{MarkerKind, number_of};

use super::draft::{Draft, Words, text_at, time_at};
use super::{Heard, Sent};

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let json = &sent.json;
    let title = text_at(json, "/title").ok_or("title is missing")?;
    let tags: Vec<&str> =
        json.get("tags").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let text = match text_at(json, "/text") {
        Some(text) => format!("{title}\n{text}"),
        None => title,
    };
    let at_ns = time_at(json, "/date_happened")?;
    let mut draft = Draft { at_ns, text: Some(text), ..Draft::default() };
    Words::of(tags).fill(&mut draft);
    draft.kind = draft.kind.or(Some(MarkerKind::Note));
    Ok(Heard::Markers(vec![draft]))
}

pub(super) fn reply(sent: &Sent<'_>, markers: &[Marker], _: Option<&str>) -> (StatusCode, Json) {
    let mut event = sent.json.clone();
    if let Some(marker) = markers.first() {
        let id = number_of(&marker.id);
        event["id"] = id.into();
        event["id_str"] = id.to_string().into();
        event["date_happened"] = marker.at_ns.div_euclid(1_000_000_000).into();
        event["url"] = "".into();
    }
    (StatusCode::ACCEPTED, json!({ "status": "ok", "event": event }))
}

pub(super) fn refuse(reason: &str) -> Json {
    json!({ "errors": [reason] })
}
