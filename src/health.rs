//! `/healthz`, `/readyz` and `/metrics`: Shipwake's own health, for machines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::metrics::SharedRegistry;

/// A question asked at every `/readyz`: the reasons why a part is not ready, or nothing.
type Check = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// What has to hold before Shipwake takes data and answers queries, and what is worth knowing while it does.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<Checks>>);

#[derive(Default)]
struct Checks {
    /// Without these nothing should be sent or asked here.
    needed: Vec<(&'static str, Check)>,
    /// Without these answers lack something and say so: another process could do no better.
    wanted: Vec<(&'static str, Check)>,
}

impl Readiness {
    /// Adds a part with the question that tells whether it is ready.
    pub fn add(&self, part: &'static str, check: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.lock().needed.push((part, Box::new(check)));
    }

    /// Adds a part without which answers lack something.
    pub fn add_wanted(&self, part: &'static str, check: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.lock().wanted.push((part, Box::new(check)));
    }

    /// What is not ready, as (part, reason).
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        asked(&self.lock().needed)
    }

    /// What answers lack, as (part, reason).
    pub fn degraded(&self) -> Vec<(&'static str, String)> {
        asked(&self.lock().wanted)
    }

    fn lock(&self) -> MutexGuard<'_, Checks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asked(checks: &[(&'static str, Check)]) -> Vec<(&'static str, String)> {
    checks.iter().flat_map(|(part, check)| check().into_iter().map(|reason| (*part, reason))).collect()
}

/// The three routes. `refresh` brings gauges up to date that nobody keeps while nobody looks.
pub fn router(
    readiness: Readiness,
    registry: SharedRegistry,
    refresh: impl Fn() + Clone + Send + Sync + 'static,
) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { ready(&readiness) }))
        .route(
            "/metrics",
            get(move || async move {
                refresh();
                metrics(&registry)
            }),
        )
}

fn ready(readiness: &Readiness) -> Response {
    let listed = |found: Vec<(&'static str, String)>| -> Vec<Value> {
        found.into_iter().map(|(part, reason)| json!({"part": part, "reason": reason})).collect()
    };
    let (missing, degraded) = (listed(readiness.missing()), listed(readiness.degraded()));
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut answer = json!({"ready": missing.is_empty(), "missing": missing});
    if !degraded.is_empty() {
        answer["degraded"] = degraded.into();
    }
    (status, Json(answer)).into_response()
}

fn metrics(registry: &SharedRegistry) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], registry.text()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_each_part_that_is_missing() {
        let readiness = Readiness::default();
        readiness.add("journal", Vec::new);
        readiness.add("shards", || vec!["shard 1 is replaying".to_owned()]);
        assert_eq!(readiness.missing(), vec![("shards", "shard 1 is replaying".to_owned())]);
        assert_eq!(ready(&readiness).status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn what_is_only_wanted_is_said_and_keeps_nobody_away() {
        let readiness = Readiness::default();
        readiness.add_wanted("shards", || vec!["shard 1 does not answer".to_owned()]);
        assert_eq!(readiness.degraded(), vec![("shards", "shard 1 does not answer".to_owned())]);
        assert_eq!(ready(&readiness).status(), StatusCode::OK);
    }
}
