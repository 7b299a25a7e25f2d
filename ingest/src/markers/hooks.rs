//! The table of hooks: where each sender posts to, who reads what it says, and what its clients want to hear.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value as Json, json};
use shipwake_model::Marker;

use super::{Heard, Sent, argocd, cdevents, datadog, flagger, github, grafana, honeycomb, native, percent, sentry};
use crate::error::IngestError;
use crate::ingest::Core;

/// Status and body of an answer, to the markers that were read or to why there are none.
type Reply = fn(&Sent<'_>, &[Marker], Option<&str>) -> (StatusCode, Json);

/// A sender's form of saying something about a release.
pub(super) struct Hook {
    /// The column `source` of its markers.
    pub(super) source: &'static str,
    /// What a request with a mistake is called.
    pub(super) what: &'static str,
    pub(super) routes: &'static [&'static str],
    pub(super) methods: &'static [Method],
    /// What is not known in the query of the address is a mistake.
    pub(super) strict_query: bool,
    /// Another stage answers other methods of the same routes.
    pub(super) only_post: bool,
    /// Whether the sender may send.
    pub(super) check: fn(&Core, &HeaderMap, &[u8]) -> Result<(), IngestError>,
    pub(super) read: fn(&Sent<'_>) -> Result<Heard, String>,
    /// The answer: to markers, or to a request that held none, with the reason.
    pub(super) reply: Reply,
    /// The body of a refusal; problem+json without it.
    pub(super) refuse: Option<fn(&str) -> Json>,
}

const POST: &[Method] = &[Method::POST];

const OURS: Hook = Hook {
    source: "api",
    what: "bad marker",
    routes: &["/v1/markers"],
    methods: POST,
    strict_query: true,
    only_post: false,
    check: anybody,
    read: native::read,
    reply: counted,
    refuse: None,
};

/// All hooks.
pub(super) static ALL: [Hook; 9] = [
    OURS,
    Hook { source: "cdevents", what: "bad CDEvent", routes: &["/v1/hooks/cdevents"], read: cdevents::read, ..OURS },
    Hook {
        source: "github",
        what: "bad delivery of GitHub",
        routes: &["/v1/hooks/github"],
        check: github::check,
        read: github::read,
        ..OURS
    },
    Hook {
        source: "argocd",
        what: "bad notification of Argo CD",
        routes: &["/v1/hooks/argocd"],
        read: argocd::read,
        ..OURS
    },
    Hook {
        source: "flagger",
        what: "bad event of Flagger",
        routes: &["/v1/hooks/flagger"],
        read: flagger::read,
        ..OURS
    },
    Hook {
        source: "grafana",
        what: "bad annotation",
        routes: &["/api/annotations", "/api/annotations/graphite"],
        only_post: true,
        strict_query: false,
        read: grafana::read,
        reply: grafana::reply,
        refuse: Some(grafana::refuse),
        ..OURS
    },
    Hook {
        source: "sentry",
        what: "bad release",
        routes: sentry::ROUTES,
        methods: &[Method::POST, Method::PUT, Method::GET],
        strict_query: false,
        read: sentry::read,
        reply: sentry::reply,
        refuse: Some(sentry::refuse),
        ..OURS
    },
    Hook {
        source: "honeycomb",
        what: "bad marker",
        routes: &["/1/markers/{dataset}"],
        strict_query: false,
        read: honeycomb::read,
        reply: honeycomb::reply,
        refuse: Some(honeycomb::refuse),
        ..OURS
    },
    Hook {
        source: "datadog",
        what: "bad event",
        routes: &["/api/v1/events"],
        strict_query: false,
        read: datadog::read,
        reply: datadog::reply,
        refuse: Some(datadog::refuse),
        ..OURS
    },
];

impl Hook {
    /// The route that a path belongs to, and what its placeholders stand for, in their order.
    pub(super) fn place(&self, path: &str) -> (&'static str, Vec<String>) {
        let parts = || path.trim_matches('/').split('/');
        let fits = |route: &&&'static str| {
            let wanted = route.trim_matches('/').split('/');
            wanted.clone().count() == parts().count()
                && wanted.zip(parts()).all(|(wanted, found)| wanted.starts_with('{') || wanted == found)
        };
        let Some(route) = self.routes.iter().find(fits) else { return ("", Vec::new()) };
        let placed = route.trim_matches('/').split('/').zip(parts()).filter(|(wanted, _)| wanted.starts_with('{'));
        (route, placed.map(|(_, found)| percent::decode(found)).collect())
    }
}

fn anybody(_: &Core, _: &HeaderMap, _: &[u8]) -> Result<(), IngestError> {
    Ok(())
}

/// How our own routes answer.
fn counted(_: &Sent<'_>, markers: &[Marker], ignored: Option<&str>) -> (StatusCode, Json) {
    let ids: Vec<&str> = markers.iter().map(|marker| marker.id.as_str()).collect();
    let mut answer = json!({ "accepted": markers.len(), "rejected": 0, "errors": [], "ids": ids });
    if let Some(why) = ignored {
        answer["ignored"] = why.into();
    }
    (StatusCode::OK, answer)
}
