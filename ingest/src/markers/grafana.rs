//! `POST /api/annotations`, and `/api/annotations/graphite`: annotations as one posts them to Grafana. Reading them, which Grafana does
//! by GET on the same path, is the query stage's.
//!
//! Tags say what it is about: `deploy`, `service:checkout`, `version:2.14.0`, `env:production`. Without a word for its kind it is a note.

use http::StatusCode;
use serde_json::{Value as Json, json};
use shipwake_model::Marker;
use shipwake_model::marker::{MarkerKind, number_of};

use super::draft::{Draft, Words, first_text, time_at};
use super::{Heard, Sent};

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let json = &sent.json;
    if !json.is_object() {
        return Err("not a JSON object".to_owned());
    }
    let tags: Vec<&str> = match json.get("tags") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(tags)) => tags.iter().filter_map(Json::as_str).collect(),
        // Graphite's clients send one text.
        Some(Json::String(tags)) => tags.split_whitespace().collect(),
        Some(_) => return Err("tags is not an array of texts".to_owned()),
    };
    let text = match (first_text(json, &["/text", "/what"]), first_text(json, &["/data"])) {
        (Some(text), Some(more)) => Some(format!("{text}\n{more}")),
        (text, more) => text.or(more),
    };
    let mut draft = Draft {
        at_ns: match time_at(json, "/time")? {
            Some(at_ns) => Some(at_ns),
            None => time_at(json, "/when")?,
        },
        until_ns: time_at(json, "/timeEnd")?,
        text,
        ..Draft::default()
    };
    // An annotation that is a moment has the same time twice in some clients.
    draft.until_ns = draft.until_ns.filter(|until_ns| Some(*until_ns) != draft.at_ns);
    Words::of(tags).fill(&mut draft);
    draft.kind = draft.kind.or(Some(MarkerKind::Note));
    Ok(Heard::Markers(vec![draft]))
}

pub(super) fn reply(sent: &Sent<'_>, markers: &[Marker], _: Option<&str>) -> (StatusCode, Json) {
    let id = markers.first().map_or(0, |marker| number_of(&marker.id));
    let is_graphite = sent.json.get("what").is_some();
    let message = if is_graphite { "Graphite annotation added" } else { "Annotation added" };
    (StatusCode::OK, json!({ "message": message, "id": id }))
}

pub(super) fn refuse(reason: &str) -> Json {
    json!({ "message": reason })
}
