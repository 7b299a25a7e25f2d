//! `/healthz`, `/readyz` and `/metrics`: Shipwake's own health, for machines.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;

use crate::metrics::SharedRegistry;

/// A question asked at every `/readyz`: the reasons why a part is not ready, or nothing.
type Check = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// What has to hold before Shipwake takes data and answers queries, and what is wrong although it does.
#[derive(Clone, Default)]
pub struct Readiness {
    needed: Checks,
    wanted: Checks,
}

type Checks = Arc<Mutex<Vec<(&'static str, Check)>>>;

impl Readiness {
    /// Adds a part with the question that tells whether it is ready.
    pub fn add(&self, part: &'static str, check: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner).push((part, Box::new(check)));
    }

    /// Adds a part with the question what of it is damaged: answers lack something, and nothing but a person can mend it. It takes data
    /// and answers all the same, so this does not make Shipwake unready.
    pub fn add_damage(&self, part: &'static str, check: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push((part, Box::new(check)));
    }

    /// What is not ready, as (part, reason).
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        asked(&self.needed)
    }

    /// What is damaged, as (part, what).
    pub fn degraded(&self) -> Vec<(&'static str, String)> {
        asked(&self.wanted)
    }
}

fn asked(checks: &Checks) -> Vec<(&'static str, String)> {
    let checks = checks.lock().unwrap_or_else(PoisonError::into_inner);
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
    let listed = |found: Vec<(&str, String)>| -> Vec<serde_json::Value> {
        found.into_iter().map(|(part, reason)| json!({"part": part, "reason": reason})).collect()
    };
    let (missing, degraded) = (listed(readiness.missing()), listed(readiness.degraded()));
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let ready = missing.is_empty();
    (status, Json(json!({"ready": ready, "missing": missing, "degraded": degraded}))).into_response()
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
        let damaged = Readiness::default();
        damaged.add_damage("store", || vec!["a segment is damaged".to_owned()]);
        assert_eq!(damaged.degraded().len(), 1);
        assert_eq!(ready(&damaged).status(), StatusCode::OK, "what is damaged does not keep it from working");
    }
}
