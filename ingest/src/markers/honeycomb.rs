//! `POST /1/markers/{dataset}`: Honeycomb's markers, as its `honeymarker` and many CI jobs send them.
//!
//! The service is the dataset (their word for the same), the version what the message says: `version:2.14.0`, or a word like
//! `checkout@2.14.0`. The type `deploy` is a deployment, every other a note.

use http::StatusCode;
use serde_json::{Value as Json, json};
use shipwake_model::Marker;
use shipwake_model::marker::{MarkerKind, number_of};

use super::draft::{Draft, Words, text_at, time_at};
use super::{Heard, Sent};

/// The dataset that stands for all of them.
const ALL_DATASETS: &str = "__all__";

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let json = if sent.json.is_null() { json!({}) } else { sent.json.clone() };
    if !json.is_object() {
        return Err("not a JSON object".to_owned());
    }
    let message = text_at(&json, "/message");
    let mut draft = Draft {
        at_ns: time_at(&json, "/start_time")?.filter(|at_ns| *at_ns != 0),
        until_ns: time_at(&json, "/end_time")?.filter(|until_ns| *until_ns != 0),
        url: text_at(&json, "/url"),
        text: message.clone(),
        ..Draft::default()
    };
    let words: Vec<&str> = message.as_deref().unwrap_or_default().split_whitespace().collect();
    let said = Words::of(words.iter().copied());
    let of_type = text_at(&json, "/type").and_then(|kind| match kind.to_ascii_lowercase().as_str() {
        "deploy" | "deployment" => Some(MarkerKind::Deploy),
        other => MarkerKind::from_word(other).ok(),
    });
    // A word of the message is no kind: "no deploy today".
    draft.kind = Some(of_type.unwrap_or(MarkerKind::Note));
    let of_dataset = sent.path.first().filter(|dataset| *dataset != ALL_DATASETS).cloned();
    let release = words.iter().find_map(|word| word.split_once('@')).filter(|(name, version)| {
        !name.is_empty() && version.bytes().any(|byte| byte.is_ascii_digit()) && !version.contains("://")
    });
    draft.service = said.get(&["service", "service.name"]).or(of_dataset).or(release.map(|(name, _)| name.to_owned()));
    draft.version = said.get(&["version", "release"]).or(release.map(|(_, version)| version.to_owned()));
    said.fill(&mut draft);
    Ok(Heard::Markers(vec![draft]))
}

pub(super) fn reply(sent: &Sent<'_>, markers: &[Marker], _: Option<&str>) -> (StatusCode, Json) {
    let mut answer = if sent.json.is_object() { sent.json.clone() } else { json!({}) };
    let now = crate::lines::time::to_text(sent.received_ns);
    if let Some(marker) = markers.first() {
        answer["id"] = format!("{:x}", number_of(&marker.id)).into();
        answer["start_time"] = marker.at_ns.div_euclid(1_000_000_000).into();
        answer["created_at"] = now.clone().into();
        answer["updated_at"] = now.into();
    }
    (StatusCode::CREATED, answer)
}

pub(super) fn refuse(reason: &str) -> Json {
    json!({ "error": reason })
}
