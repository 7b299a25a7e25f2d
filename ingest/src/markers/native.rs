//! `POST /v1/markers`: our own form. One JSON object or an array of them.
//!
//! An unknown field is a mistake and named: `verison` would otherwise be a deployment of nothing.

use serde_json::{Map, Value as Json};
use shipwake_model::marker::{DeployStatus, Exposure, MarkerKind, Role};

use super::draft::{Draft, text_at, time_at};
use super::{Heard, Sent};

/// The fields, with those that are other words for the same.
const FIELDS: [&str; 23] = [
    "id",
    "kind",
    "service",
    "namespace",
    "env",
    "environment",
    "version",
    "previous",
    "at",
    "until",
    "weight",
    "role",
    "exposure",
    "status",
    "toggle",
    "commit",
    "url",
    "pipeline_url",
    "by",
    "actor",
    "source",
    "text",
    "raw",
];

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    match &sent.json {
        Json::Object(object) => Ok(Heard::Markers(vec![marker(object)?])),
        Json::Array(array) if array.is_empty() => Err("an empty array".to_owned()),
        Json::Array(array) => {
            let (mut drafts, mut faults) = (Vec::with_capacity(array.len()), Vec::new());
            for (index, one) in array.iter().enumerate() {
                let read = one.as_object().ok_or_else(|| "not a JSON object".to_owned()).and_then(marker);
                match read {
                    Ok(draft) => drafts.push(draft),
                    Err(fault) => faults.push(format!("marker {index}: {fault}")),
                }
            }
            if faults.is_empty() { Ok(Heard::Markers(drafts)) } else { Err(faults.join("; ")) }
        }
        Json::Null => Err("the body is empty".to_owned()),
        _ => Err("neither a JSON object nor an array of them".to_owned()),
    }
}

fn marker(object: &Map<String, Json>) -> Result<Draft, String> {
    if let Some(unknown) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let near = FIELDS.iter().find(|field| is_near(field, unknown));
        let hint =
            near.map_or_else(|| format!("there are {}", FIELDS.join(", ")), |near| format!("did you mean {near}?"));
        return Err(format!("unknown field {}; {hint}", crate::error::shortened(unknown)));
    }
    let json = Json::Object(object.clone());
    let text = |names: [&str; 2]| -> Result<Option<String>, String> {
        for name in names {
            match object.get(name) {
                None | Some(Json::Null) => {}
                Some(Json::String(_) | Json::Number(_)) => return Ok(text_at(&json, &format!("/{name}"))),
                Some(_) => return Err(format!("{name} is not a text")),
            }
        }
        Ok(None)
    };
    let one = |name: &'static str| text([name, name]);
    let weight = match object.get("weight") {
        None | Some(Json::Null) => None,
        Some(weight) => Some(weight.as_f64().ok_or("weight is not a number")?),
    };
    Ok(Draft {
        kind: one("kind")?.as_deref().map(MarkerKind::from_word).transpose()?,
        id: one("id")?,
        service: one("service")?,
        namespace: one("namespace")?,
        environment: text(["env", "environment"])?,
        version: one("version")?,
        previous: one("previous")?,
        at_ns: time_at(&json, "/at")?,
        until_ns: time_at(&json, "/until")?,
        weight,
        role: one("role")?.as_deref().map(Role::from_word).transpose()?,
        exposure: one("exposure")?.as_deref().map(Exposure::from_word).transpose()?,
        status: one("status")?.as_deref().map(DeployStatus::from_word).transpose()?,
        toggle: one("toggle")?,
        commit: one("commit")?,
        url: text(["url", "pipeline_url"])?,
        by: text(["by", "actor"])?,
        source: one("source")?,
        text: one("text")?,
        is_exact: true,
        ..Draft::default()
    })
}

/// Whether two words have the same letters in nearly the same places.
fn is_near(known: &str, word: &str) -> bool {
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.to_ascii_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
        letters.sort_unstable();
        letters
    };
    let (a, b) = (letters(known), letters(word));
    let missing =
        a.iter().filter(|letter| !b.contains(letter)).count() + b.iter().filter(|letter| !a.contains(letter)).count();
    a.len() > 2 && a.len().abs_diff(b.len()) <= 1 && missing <= 1
}
