//! A router for a socket that is served before everything behind it is there: health from the first moment, the rest as soon
//! as it is known. An orchestrator, and a person, can ask why a Shipwake is not ready while it waits for its brokers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tower::ServiceExt;

/// What is answered from the first moment: the routes of `health.rs`.
const HEALTH: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// How long everything else waits. Files are opened in less; brokers may take for ever.
const HOLD: Duration = Duration::from_secs(2);

/// The router that takes over. Clones are the same.
#[derive(Clone)]
pub struct Late(Arc<watch::Sender<Option<Router>>>);

impl Late {
    /// Nothing is there yet.
    pub fn new() -> Self {
        Late(Arc::new(watch::Sender::new(None)))
    }

    /// A router that answers questions about health as `health` does until [`Late::is`] was called, and lets others wait.
    pub fn router(&self, health: Router) -> Router {
        let late = self.0.clone();
        Router::new().fallback(move |request: Request| {
            let (late, health) = (late.clone(), health.clone());
            async move { answer(&late, health, request).await }
        })
    }

    /// From now on `router` answers everything.
    pub fn is(&self, router: Router) {
        self.0.send_replace(Some(router));
    }
}

async fn answer(late: &watch::Sender<Option<Router>>, health: Router, request: Request) -> Response {
    let there = late.borrow().clone();
    let router = match there {
        Some(router) => router,
        None if HEALTH.contains(&request.uri().path()) => health,
        None => match tokio::time::timeout(HOLD, arrival(late)).await {
            Ok(router) => router,
            Err(_) => return not_yet(),
        },
    };
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Waits for the router that takes over.
async fn arrival(late: &watch::Sender<Option<Router>>) -> Router {
    let mut arrivals = late.subscribe();
    let found = arrivals.wait_for(Option::is_some).await.map(|router| router.clone());
    found.ok().flatten().expect("the sender is borrowed here, and the value was looked at")
}

fn not_yet() -> Response {
    let text = "Shipwake is starting; /readyz says what it waits for\n";
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn health_answers_at_once_and_the_rest_waits_for_what_comes_late() {
        let late = Late::new();
        let router = late.router(Router::new().route("/healthz", get(|| async { "early" })));
        let ask = |path: &'static str| {
            let (router, request) = (router.clone(), Request::builder().uri(path).body(Body::empty()));
            async move { router.oneshot(request.expect("a request")).await.expect("an answer").status().as_u16() }
        };
        assert_eq!(ask("/healthz").await, 200);
        let waiting = tokio::spawn(ask("/b"));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "what is not there yet is waited for");
        late.is(Router::new().route("/b", get(|| async { "late" })));
        assert_eq!(waiting.await.expect("it does not panic"), 200);
        assert_eq!(ask("/healthz").await, 404, "what came answers everything");
    }
}
