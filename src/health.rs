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

/// What has to hold before Shipwake takes data and answers queries.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<(&'static str, Check)>>>);

impl Readiness {
    /// Adds a part with the question that tells whether it is ready.
    pub fn add(&self, part: &'static str, check: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((part, Box::new(check)));
    }

    /// What is not ready, as (part, reason).
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checks.iter().flat_map(|(part, check)| check().into_iter().map(|reason| (*part, reason))).collect()
    }
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
    let missing: Vec<_> =
        readiness.missing().into_iter().map(|(part, reason)| json!({"part": part, "reason": reason})).collect();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": missing.is_empty(), "missing": missing}))).into_response()
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
}
