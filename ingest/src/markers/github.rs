//! `POST /v1/hooks/github`: deliveries of the webhook events `deployment` and `deployment_status`.
//!
//! A deployment and its statuses are one marker, whose newest status counts. With a secret every delivery must carry its signature
//! (`X-Hub-Signature-256`, HMAC-SHA256 of the body). The service is `service` of the deployment's payload, else the repository; the
//! version is `version` of the payload, else the ref when that names a version, else the commit.

use http::HeaderMap;
use ring::hmac;
use serde_json::Value as Json;
use shipwake_model::marker::{DeployStatus, MarkerKind, Role};

use super::draft::{Draft, first_text, text_at, time_at};
use super::{Heard, Sent};
use crate::error::IngestError;
use crate::ingest::Core;

const EVENT: &str = "x-github-event";
const SIGNATURE: &str = "x-hub-signature-256";

/// Whether the delivery is signed with our secret, where there is one.
pub(super) fn check(core: &Core, headers: &HeaderMap, body: &[u8]) -> Result<(), IngestError> {
    let Some(secret) = &core.config.github_secret else { return Ok(()) };
    let Some(given) = headers.get(SIGNATURE) else {
        let reason =
            format!("the delivery has no {SIGNATURE}: set the same secret in the webhook's settings at GitHub");
        return Err(IngestError::Unauthorized { reason });
    };
    if is_signed(secret.as_bytes(), body, given.as_bytes()) {
        return Ok(());
    }
    let reason = format!("{SIGNATURE} does not fit: the secret in the webhook's settings at GitHub is another one");
    Err(IngestError::Unauthorized { reason })
}

fn is_signed(secret: &[u8], body: &[u8], given: &[u8]) -> bool {
    let Some(hex) = given.strip_prefix(b"sha256=") else { return false };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let bytes: Option<Vec<u8>> =
        hex.chunks(2).map(|pair| Some((digit(pair.first()?)? << 4 | digit(pair.get(1)?)?) as u8)).collect();
    // Compared in constant time.
    bytes.is_some_and(|bytes| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), body, &bytes).is_ok())
}

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let event = sent.headers.get(EVENT).and_then(|event| event.to_str().ok());
    let event = event.ok_or_else(|| format!("the header {EVENT} is missing: is it a webhook of GitHub?"))?;
    let json = &sent.json;
    match event {
        "deployment" | "deployment_status" => {}
        "ping" => return Ok(Heard::Nothing("pong".to_owned())),
        other => {
            let other = crate::error::shortened(other);
            return Ok(Heard::Nothing(format!("event {other}: only deployment and deployment_status are read")));
        }
    }
    let state = text_at(json, "/deployment_status/state");
    let status = match state.as_deref() {
        None | Some("queued" | "pending" | "in_progress" | "waiting") => DeployStatus::Started,
        Some("success") => DeployStatus::Succeeded,
        Some("failure" | "error") => DeployStatus::Failed,
        Some("inactive") => return Ok(Heard::Nothing("an older deployment became inactive".to_owned())),
        Some(other) => return Err(format!("deployment_status.state {} is not known", crate::error::shortened(other))),
    };
    let id = text_at(json, "/deployment/id").ok_or("deployment.id is missing")?;
    let repository = text_at(json, "/repository/full_name").unwrap_or_default();
    let payload = payload_of(json);
    let of_payload = |name: &str| text_at(&payload, &format!("/{name}"));
    let task = text_at(json, "/deployment/task").unwrap_or_default();
    let kind = of_payload("kind").and_then(|word| MarkerKind::from_word(&word).ok());
    let by_task = if task.starts_with("rollback") { MarkerKind::Rollback } else { MarkerKind::Deploy };
    let created_ns = time_at(json, "/deployment/created_at")?;
    let updated_ns =
        time_at(json, "/deployment_status/updated_at")?.or(time_at(json, "/deployment_status/created_at")?);
    let description = first_text(json, &["/deployment_status/description", "/deployment/description"]);
    Ok(Heard::Markers(vec![Draft {
        kind: Some(kind.filter(|kind| matches!(kind, MarkerKind::Rollback | MarkerKind::Promote)).unwrap_or(by_task)),
        id_parts: vec![repository, id],
        service: of_payload("service").or_else(|| text_at(json, "/repository/name")),
        namespace: of_payload("namespace"),
        environment: of_payload("env")
            .or_else(|| first_text(json, &["/deployment_status/environment", "/deployment/environment"])),
        version: of_payload("version").or_else(|| version_of(json)),
        previous: of_payload("previous"),
        at_ns: created_ns,
        said_ns: updated_ns.or(created_ns),
        weight: payload.pointer("/weight").and_then(Json::as_f64).filter(|weight| (0.0..=1.0).contains(weight)),
        role: of_payload("role").and_then(|word| Role::from_word(&word).ok()),
        status: Some(status),
        commit: text_at(json, "/deployment/sha"),
        url: first_text(
            json,
            &[
                "/deployment_status/log_url",
                "/deployment_status/target_url",
                "/workflow_run/html_url",
                "/deployment_status/environment_url",
                "/repository/html_url",
            ],
        ),
        by: first_text(json, &["/deployment/creator/login", "/sender/login"]),
        text: description,
        ..Draft::default()
    }]))
}

/// The payload of the deployment, which may be an object or the text of one.
fn payload_of(json: &Json) -> Json {
    match json.pointer("/deployment/payload") {
        Some(Json::String(text)) => serde_json::from_str(text).unwrap_or(Json::Null),
        Some(payload) => payload.clone(),
        None => Json::Null,
    }
}

/// The ref when it names a version, such as `v2.14.0` and unlike `main`; else the commit.
fn version_of(json: &Json) -> Option<String> {
    let sha = text_at(json, "/deployment/sha");
    let name = text_at(json, "/deployment/ref").map(|name| name.trim_start_matches("refs/tags/").to_owned());
    let branch = text_at(json, "/repository/default_branch");
    let is_version = |name: &String| {
        Some(name) != branch.as_ref()
            && !name.starts_with("refs/heads/")
            && !name.contains('/')
            && name.bytes().any(|byte| byte.is_ascii_digit())
    };
    name.filter(is_version).or(sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_checked_as_github_makes_it() {
        // The example of GitHub's documentation.
        let (secret, body) = (b"It's a Secret to Everybody", b"Hello, World!");
        let given = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_signed(secret, body, given));
        assert!(!is_signed(b"another", body, given));
        assert!(!is_signed(secret, b"Hello, World", given));
        for bad in [&b"sha256="[..], b"sha1=00", b"sha256=7", b"sha256=zz", b"", &given[..60]] {
            assert!(!is_signed(secret, body, bad));
        }
    }

    #[test]
    fn a_ref_is_a_version_when_it_looks_like_one() {
        let check = |name: &str, expected: &str| {
            let json = serde_json::json!({
                "deployment": { "ref": name, "sha": "a84d88e" }, "repository": { "default_branch": "v2" }
            });
            assert_eq!(version_of(&json).as_deref(), Some(expected), "{name}");
        };
        check("v2.14.0", "v2.14.0");
        check("refs/tags/2.14.0", "2.14.0");
        check("main", "a84d88e");
        check("v2", "a84d88e");
        check("feature/fix-123", "a84d88e");
        check("refs/heads/release-3", "a84d88e");
        check("a84d88e", "a84d88e");
    }
}
