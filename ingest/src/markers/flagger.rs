//! `POST /v1/hooks/flagger`: Flagger's webhook of the type `event`, which tells every step of a canary.
//!
//! Flagger names the workload and not its version, so these markers are about the service: telemetry tells which version is new. The
//! weight and what a step means are read from its sentence, which is all that Flagger says.

use shipwake_model::marker::{DeployStatus, MarkerKind, Role};

use super::draft::{Draft, first_text, text_at, time_at};
use super::{Heard, Sent};

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let json = &sent.json;
    let name = text_at(json, "/name").ok_or("name is missing: is it an event of Flagger?")?;
    let message = first_text(json, &["/metadata/eventMessage", "/metadata/message"]).unwrap_or_default();
    let of = |field: &str| text_at(json, &format!("/{field}")).unwrap_or_default();
    let step = step_of(&message, &of("phase"));
    let at_ns = time_at(json, "/metadata/timestamp")?;
    Ok(Heard::Markers(vec![Draft {
        kind: Some(step.kind),
        id_parts: vec![
            of("namespace"),
            name.clone(),
            of("checksum"),
            message.clone(),
            text_at(json, "/metadata/timestamp").unwrap_or_default(),
        ],
        service: Some(text_at(json, "/metadata/service").unwrap_or(name)),
        namespace: first_text(json, &["/metadata/namespace", "/namespace"]),
        environment: first_text(json, &["/metadata/environment", "/metadata/env"]),
        version: text_at(json, "/metadata/version"),
        at_ns,
        weight: step.weight,
        role: step.weight.map(|_| Role::Candidate),
        status: step.status,
        by: Some("flagger".to_owned()),
        text: Some(message),
        ..Draft::default()
    }]))
}

/// What a step of a canary means.
#[derive(Debug, PartialEq)]
struct Step {
    kind: MarkerKind,
    weight: Option<f64>,
    status: Option<DeployStatus>,
}

fn step_of(message: &str, phase: &str) -> Step {
    let step = |kind, status| Step { kind, weight: None, status };
    if let Some(weight) = weight_of(message) {
        return Step { kind: MarkerKind::Weight, weight: Some(weight), status: None };
    }
    let has = |words: &str| message.contains(words);
    if has("New revision detected") {
        step(MarkerKind::Deploy, Some(DeployStatus::Started))
    } else if has("Promotion completed") || (message.is_empty() && phase == "Succeeded") {
        step(MarkerKind::Promote, Some(DeployStatus::Succeeded))
    } else if has("Rolling back") {
        step(MarkerKind::Rollback, Some(DeployStatus::Started))
    } else if has("Canary failed") || (message.is_empty() && phase == "Failed") {
        step(MarkerKind::Rollback, Some(DeployStatus::Succeeded))
    } else {
        step(MarkerKind::Note, None)
    }
}

/// The share that a canary is given: `Advance checkout.shop canary weight 20`.
fn weight_of(message: &str) -> Option<f64> {
    let (_, behind) = message.split_once("canary weight ")?;
    let digits = behind.split(|c: char| !c.is_ascii_digit()).next()?;
    let percent: f64 = digits.parse().ok()?;
    (percent <= 100.0).then_some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_its_sentence_says() {
        let kind = |message: &str| {
            let step = step_of(message, "Progressing");
            (step.kind.as_str(), step.weight)
        };
        assert_eq!(kind("Advance checkout.shop canary weight 20"), ("weight", Some(0.2)));
        assert_eq!(kind("New revision detected! Scaling up checkout.shop"), ("deploy", None));
        assert_eq!(kind("Promotion completed! Scaling down checkout.shop"), ("promote", None));
        assert_eq!(kind("Rolling back checkout.shop failed checks threshold reached 5"), ("rollback", None));
        assert_eq!(kind("Canary failed! Scaling down checkout.shop"), ("rollback", None));
        assert_eq!(kind("Halt checkout.shop advancement success rate 69.17% < 99%"), ("note", None));
        assert_eq!(kind("Advance checkout.shop canary weight 900"), ("note", None));
        assert_eq!(step_of("", "Succeeded").kind, MarkerKind::Promote);
        assert_eq!(step_of("", "Failed").kind, MarkerKind::Rollback);
    }
}
