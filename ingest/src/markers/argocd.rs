//! `POST /v1/hooks/argocd`: what the template of `deploy/hooks/argocd-notifications.yaml` has Argo CD's notifications controller send,
//! or any template that sends the whole application as `app`.
//!
//! The names come from annotations of the application (`shipwake.io/service`, `/version`, `/environment`), then from its labels, then
//! from what it deploys: the version is the tag of the image that is named like the service, else of the only image, else the revision.

use serde_json::Value as Json;
use shipwake_model::marker::{DeployStatus, MarkerKind};

use super::draft::{Draft, first_text, text_at, time_at};
use super::{Heard, Sent};

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let app = sent.json.get("app").filter(|app| app.is_object()).ok_or("app is missing: it holds the application")?;
    let name = text_at(app, "/metadata/name").ok_or("app.metadata.name is missing")?;
    let named = |what: &str, label: &str| {
        let annotation = format!("/metadata/annotations/shipwake.io~1{what}");
        text_at(app, &annotation).or_else(|| text_at(app, &format!("/metadata/labels/{label}")))
    };
    let service = named("service", "app.kubernetes.io~1name").unwrap_or_else(|| name.clone());
    let revision = first_text(
        app,
        &[
            "/status/operationState/syncResult/revision",
            "/status/operationState/operation/sync/revision",
            "/status/sync/revision",
        ],
    );
    let version = named("version", "app.kubernetes.io~1version").or_else(|| image_version(app, &service));
    let phase = text_at(app, "/status/operationState/phase");
    let status = match phase.as_deref() {
        Some("Succeeded") => Some(DeployStatus::Succeeded),
        Some("Failed" | "Error") => Some(DeployStatus::Failed),
        Some("Running" | "Terminating") => Some(DeployStatus::Started),
        _ => None,
    };
    let started_ns = time_at(app, "/status/operationState/startedAt")?;
    let finished_ns = time_at(app, "/status/operationState/finishedAt")?;
    let health = text_at(app, "/status/health/status");
    // One sync is one marker, whatever triggers tell of it.
    let of_sync = [
        text_at(app, "/metadata/namespace").unwrap_or_default(),
        name,
        revision.clone().unwrap_or_default(),
        text_at(app, "/status/operationState/startedAt").unwrap_or_default(),
    ];
    Ok(Heard::Markers(vec![Draft {
        kind: Some(MarkerKind::Deploy),
        id_parts: of_sync.into(),
        service: Some(service),
        namespace: named("namespace", "app.kubernetes.io~1part-of")
            .or_else(|| text_at(app, "/spec/destination/namespace")),
        environment: named("environment", "environment").or_else(|| text_at(app, "/metadata/labels/env")),
        version: version.or_else(|| revision.clone()),
        at_ns: started_ns.or(finished_ns),
        said_ns: finished_ns,
        status,
        commit: revision,
        url: text_at(&sent.json, "/url"),
        by: first_text(
            app,
            &["/status/operationState/operation/initiatedBy/username", "/operation/initiatedBy/username"],
        ),
        text: health.map(|health| format!("health: {health}")),
        ..Draft::default()
    }]))
}

/// The tag of the image that is named like the service, else of the only image; else the digest.
fn image_version(app: &Json, service: &str) -> Option<String> {
    let images: Vec<&str> =
        app.pointer("/status/summary/images")?.as_array()?.iter().filter_map(Json::as_str).collect();
    let repository = |image: &str| {
        let image = image.split('@').next().unwrap_or_default();
        let name = image.rsplit('/').next().unwrap_or_default();
        name.split(':').next().unwrap_or_default().to_owned()
    };
    let own = images.iter().find(|image| repository(image) == service);
    let image = own.or(if images.len() == 1 { images.first() } else { None })?;
    let (name, digest) = image.split_once('@').map_or((*image, None), |(name, digest)| (name, Some(digest)));
    let tag = name.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    tag.filter(|tag| *tag != "latest").or(digest).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_image_named_like_the_service() {
        let check = |images: &[&str], expected: Option<&str>| {
            let app = serde_json::json!({ "status": { "summary": { "images": images } } });
            assert_eq!(image_version(&app, "checkout").as_deref(), expected, "{images:?}");
        };
        check(&["registry.example:5000/shop/checkout:2.14.0", "envoy:1.31"], Some("2.14.0"));
        check(&["shop/web:7"], Some("7"));
        check(&["shop/web:7", "envoy:1.31"], None);
        check(&["shop/checkout@sha256:ab"], Some("sha256:ab"));
        check(&["shop/checkout:latest@sha256:ab"], Some("sha256:ab"));
        check(&["shop/checkout:latest"], None);
        check(&[], None);
    }
}
