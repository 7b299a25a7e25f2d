//! `POST /v1/hooks/cdevents`: CDEvents in CloudEvents, binary or structured, one or a batch; any 0.x of their versions.
//!
//! `service.deployed`, `upgraded`, `rolledback`, `removed` and `published` are about releases, `incident.*` about what came of them.
//! The version is the tag or version of the artifact's package URL, else its digest; `customData` may name service, namespace,
//! environment and version as they come in telemetry, and goes before everything.

use serde_json::Value as Json;
use shipwake_model::marker::{Exposure, MarkerKind, Role};

use super::draft::{Draft, first_text, text_at, time_at};
use super::{Heard, Sent, percent};

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let events = match &sent.json {
        Json::Array(batch) => batch.iter().collect(),
        Json::Null => return Err("the body is empty".to_owned()),
        one => vec![one],
    };
    let (mut drafts, mut ignored) = (Vec::new(), Vec::new());
    for event in events {
        match event_of(event)? {
            Ok(draft) => drafts.push(draft),
            Err(why) => ignored.push(why),
        }
    }
    Ok(if drafts.is_empty() { Heard::Nothing(ignored.join("; ")) } else { Heard::Markers(drafts) })
}

/// The marker of an event, or why it is none.
fn event_of(event: &Json) -> Result<Result<Draft, String>, String> {
    // A structured CloudEvent has the event as its data, a binary one is the event.
    let event = event.get("data").filter(|data| data.is_object()).unwrap_or(event);
    let kind = text_at(event, "/context/type").ok_or("context.type is missing: is it a CDEvent?")?;
    let Some((subject, predicate)) = predicate_of(&kind) else {
        return Ok(Err(format!("{} is not about a service or an incident", crate::error::shortened(&kind))));
    };
    let id = text_at(event, "/context/id").ok_or("context.id is missing")?;
    let source = text_at(event, "/context/source").unwrap_or_default();
    let content = "/subject/content";
    let of_content = |name: &str| text_at(event, &format!("{content}{name}"));
    let artifact = of_content("/artifactId").map(|purl| version_of(&purl));
    let mut draft = Draft {
        id_parts: vec![source, id],
        at_ns: time_at(event, "/context/timestamp")?,
        environment: first_text(
            event,
            &[
                "/customData/environment",
                "/customData/env",
                "/subject/content/environment/id",
                "/subject/content/environment/name",
            ],
        ),
        namespace: text_at(event, "/customData/namespace"),
        version: text_at(event, "/customData/version").or(artifact.flatten()),
        previous: text_at(event, "/customData/previous"),
        by: text_at(event, "/customData/by"),
        url: first_text(event, &["/customData/url", "/context/links/0/target/uri"]),
        text: of_content("/description"),
        ..Draft::default()
    };
    let service = if subject == "incident" { of_content("/service/id") } else { text_at(event, "/subject/id") };
    draft.service = text_at(event, "/customData/service").or(service.map(|id| last_segment(&id)));
    let said = |text: &str, more: Option<String>| Some(more.map_or(text.to_owned(), |more| format!("{text}: {more}")));
    (draft.kind, draft.text) = match (subject, predicate) {
        ("service", "deployed" | "upgraded") => (Some(MarkerKind::Deploy), draft.text),
        ("service", "rolledback") => (Some(MarkerKind::Rollback), draft.text),
        ("service", "removed") => {
            draft.role = Some(Role::Retired);
            (Some(MarkerKind::Note), said("service removed", draft.text))
        }
        ("service", _) => {
            draft.exposure = Some(Exposure::Public);
            (Some(MarkerKind::Note), said("service published", draft.text))
        }
        (_, predicate) => (Some(MarkerKind::Note), said(&format!("incident {predicate}"), draft.text)),
    };
    Ok(Ok(draft))
}

/// Subject and predicate of an event that is of use.
fn predicate_of(kind: &str) -> Option<(&str, &str)> {
    let mut parts = kind.strip_prefix("dev.cdevents.")?.split('.');
    let (subject, predicate, major) = (parts.next()?, parts.next()?, parts.next()?);
    let known: &[&str] = match subject {
        "service" => &["deployed", "upgraded", "rolledback", "removed", "published"],
        "incident" => &["detected", "reported", "resolved"],
        _ => return None,
    };
    (major == "0" && known.contains(&predicate)).then_some((subject, predicate))
}

/// The version that a package URL names: the tag of an image, the version of a package, or the digest.
fn version_of(purl: &str) -> Option<String> {
    let (path, query) = purl.split_once('?').unwrap_or((purl, ""));
    let query = query.split('#').next().unwrap_or_default();
    let tag = query.split('&').find_map(|pair| pair.strip_prefix("tag=")).map(percent::decode);
    let version = || path.rsplit_once('@').map(|(_, version)| percent::decode(version));
    tag.filter(|tag| !tag.is_empty() && tag != "latest").or_else(version).filter(|version| !version.is_empty())
}

/// The name at the end of an id that may be a path.
fn last_segment(id: &str) -> String {
    id.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_an_artifact_is_its_tag_its_version_or_its_digest() {
        let check = |purl: &str, expected: Option<&str>| assert_eq!(version_of(purl).as_deref(), expected, "{purl}");
        check("pkg:oci/checkout@sha256%3A0b31b1c0?repository_url=registry.example/shop&tag=2.14.0", Some("2.14.0"));
        check("pkg:oci/checkout@sha256%3A0b31b1c0?tag=latest", Some("sha256:0b31b1c0"));
        check("pkg:npm/%40shop/checkout@2.14.0", Some("2.14.0"));
        check("pkg:golang/example.com/checkout", None);
        check("", None);
    }

    #[test]
    fn events_of_other_subjects_and_of_later_majors_are_left_alone() {
        assert_eq!(predicate_of("dev.cdevents.service.deployed.0.3.0"), Some(("service", "deployed")));
        assert_eq!(predicate_of("dev.cdevents.incident.detected.0.2.0"), Some(("incident", "detected")));
        for other in
            ["dev.cdevents.service.deployed.1.0.0", "dev.cdevents.pipelinerun.started.0.1.0", "service.deployed"]
        {
            assert_eq!(predicate_of(other), None, "{other}");
        }
    }
}
