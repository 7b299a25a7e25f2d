//! The part of Sentry's API that `sentry-cli releases` and `sentry-cli deploys` use: new, set-commits, finalize, deploys new.
//!
//! A deploy is a marker of each of its projects, which are services here. A release that is created, given commits and finalised is one
//! note, in no environment, since Sentry's releases have none. A version `checkout@2.14.0` is the version 2.14.0, and names the
//! service where no project does. Ingest remembers of a release no more than its projects (`projects.rs`), so questions about releases are
//! answered as by a Sentry that has none.

use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use shipwake_model::Marker;
use shipwake_model::marker::{DeployStatus, MarkerKind, number_of};

use super::draft::{Draft, clean, first_text, text_at, time_at};
use super::{Heard, Sent};
use crate::lines::time::to_text;

const RELEASES: &str = "/api/0/organizations/{org}/releases/";
const RELEASE: &str = "/api/0/organizations/{org}/releases/{version}/";
const DEPLOYS: &str = "/api/0/organizations/{org}/releases/{version}/deploys/";
const PROJECT_RELEASES: &str = "/api/0/projects/{org}/{project}/releases/";

/// What the command line asks for.
pub(super) const ROUTES: &[&str] = &[
    RELEASES,
    RELEASE,
    DEPLOYS,
    "/api/0/organizations/{org}/releases/{version}/previous-with-commits/",
    "/api/0/organizations/{org}/releases/{version}/commits/",
    "/api/0/organizations/{org}/repos/",
    PROJECT_RELEASES,
];

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Makes a release.
    New,
    /// Changes one.
    Change,
    Deploy,
    /// Asks for one thing, or for a list.
    One,
    List,
    Other,
}

fn about(sent: &Sent<'_>) -> About {
    match (sent.method, sent.route) {
        (&Method::POST, DEPLOYS) => About::Deploy,
        (&Method::POST, RELEASES | PROJECT_RELEASES) => About::New,
        (&Method::PUT, RELEASE) => About::Change,
        (&Method::GET, RELEASE | "/api/0/organizations/{org}/releases/{version}/previous-with-commits/") => About::One,
        (&Method::GET, _) => About::List,
        _ => About::Other,
    }
}

pub(super) fn read(sent: &Sent<'_>) -> Result<Heard, String> {
    let drafts = match about(sent) {
        About::Deploy if text_at(&sent.json, "/environment").is_none() => {
            return Err("environment is missing".to_owned());
        }
        About::New if text_at(&sent.json, "/version").is_none() => return Err("version is missing".to_owned()),
        About::Deploy => deploys(sent)?,
        About::New | About::Change => notes(sent)?,
        About::One | About::List => {
            return Ok(Heard::Nothing("Shipwake keeps markers and no releases of Sentry".to_owned()));
        }
        About::Other => return Err("releases are made by POST and changed by PUT, deploys made by POST".to_owned()),
    };
    Ok(Heard::Markers(drafts))
}

fn deploys(sent: &Sent<'_>) -> Result<Vec<Draft>, String> {
    let json = &sent.json;
    let version = sent.path.get(1).cloned().unwrap_or_default();
    let started_ns = time_at(json, "/dateStarted")?;
    let finished_ns = time_at(json, "/dateFinished")?;
    let draft = |service: Option<String>| Draft {
        kind: Some(MarkerKind::Deploy),
        service,
        environment: text_at(json, "/environment"),
        version: version_of(&version),
        at_ns: finished_ns.or(started_ns),
        status: finished_ns
            .or(started_ns)
            .map(|_| if finished_ns.is_some() { DeployStatus::Succeeded } else { DeployStatus::Started }),
        url: text_at(json, "/url"),
        text: text_at(json, "/name"),
        ..Draft::default()
    };
    Ok(services(sent, &version)?.into_iter().map(draft).collect())
}

fn notes(sent: &Sent<'_>) -> Result<Vec<Draft>, String> {
    let json = &sent.json;
    let version = text_at(json, "/version").or_else(|| sent.path.last().cloned()).unwrap_or_default();
    let released_ns = time_at(json, "/dateReleased")?;
    let commits = json.get("commits").and_then(Json::as_array).map_or(0, Vec::len);
    let refs = json.get("refs").and_then(Json::as_array).map_or(0, Vec::len);
    let text = if released_ns.is_some() {
        "release finalised"
    } else if commits + refs > 0 {
        "commits of the release set"
    } else {
        "release created"
    };
    let org = sent.path.first().cloned().unwrap_or_default();
    let draft = |service: Option<String>| Draft {
        kind: Some(MarkerKind::Note),
        id_parts: vec![org.clone(), version.clone(), service.clone().unwrap_or_default(), text.to_owned()],
        service,
        version: version_of(&version),
        at_ns: released_ns,
        commit: first_text(json, &["/refs/0/commit", "/commits/0/id"]),
        url: text_at(json, "/url"),
        text: Some(text.to_owned()),
        ..Draft::default()
    };
    Ok(services(sent, &version)?.into_iter().map(draft).collect())
}

/// The services: the projects that are named, else those that the release was given, else what stands before the version. With none of
/// them it is for the address to say.
fn services(sent: &Sent<'_>, version: &str) -> Result<Vec<Option<String>>, String> {
    let projects = match sent.json.get("projects") {
        Some(Json::Array(projects)) => projects.iter().filter_map(name_of).collect(),
        _ => Vec::new(),
    };
    let projects: Vec<String> =
        if sent.route == PROJECT_RELEASES { sent.path.get(1).cloned().into_iter().collect() } else { projects };
    if projects.len() > 100 {
        return Err("more than 100 projects".to_owned());
    }
    let org = sent.path.first().map_or("", String::as_str);
    let projects = if about(sent) == About::Deploy && projects.is_empty() {
        sent.projects.of(org, version)
    } else {
        sent.projects.note(org, version, &projects);
        projects
    };
    if !projects.is_empty() {
        return Ok(projects.into_iter().map(Some).collect());
    }
    let of_version = version.rsplit_once('@').map(|(name, _)| name.to_owned());
    Ok(vec![clean(of_version)])
}

/// A project, by its slug or its number.
fn name_of(project: &Json) -> Option<String> {
    match project {
        Json::String(slug) => clean(Some(slug.clone())),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The version without the package that may stand before it.
fn version_of(version: &str) -> Option<String> {
    clean(Some(version.rsplit_once('@').map_or(version, |(_, version)| version).to_owned()))
}

pub(super) fn reply(sent: &Sent<'_>, markers: &[Marker], _: Option<&str>) -> (StatusCode, Json) {
    let now = to_text(sent.received_ns);
    let json = &sent.json;
    let date = |field: &str| json.get(field).filter(|date| !date.is_null()).cloned().unwrap_or(Json::Null);
    match about(sent) {
        About::Deploy => {
            let id = markers.first().map_or(0, |marker| number_of(&marker.id));
            let finished = json.get("dateFinished").filter(|date| !date.is_null()).cloned();
            let answer = json!({
                "id": id.to_string(), "environment": date("environment"), "name": date("name"), "url": date("url"),
                "dateStarted": date("dateStarted"), "dateFinished": finished.unwrap_or_else(|| now.into()),
            });
            (StatusCode::CREATED, answer)
        }
        // What the command line takes for "there is none".
        About::One => (StatusCode::NOT_FOUND, refuse("The requested resource does not exist")),
        About::List => (StatusCode::OK, json!([])),
        about => {
            let version = text_at(json, "/version").or_else(|| sent.path.last().cloned()).unwrap_or_default();
            let projects: Vec<Json> = markers
                .iter()
                .map(|marker| json!({ "slug": &*marker.release.service, "name": &*marker.release.service }))
                .collect();
            let answer = json!({
                "version": version, "shortVersion": version, "url": date("url"), "ref": Json::Null,
                "dateCreated": now, "dateStarted": date("dateStarted"), "dateReleased": date("dateReleased"),
                "lastEvent": Json::Null, "firstEvent": Json::Null, "newGroups": 0, "commitCount": 0, "deployCount": 0,
                "projects": projects, "authors": [], "data": {},
            });
            (if about == About::New { StatusCode::CREATED } else { StatusCode::OK }, answer)
        }
    }
}

pub(super) fn refuse(reason: &str) -> Json {
    json!({ "detail": reason })
}
