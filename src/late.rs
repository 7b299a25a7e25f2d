//! A router for a socket that is served before everything behind it is there: health from the first moment, the rest as soon
//! as it is known. An orchestrator, and a person, can ask why a Shipwake is not ready while it waits for its brokers.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tower::ServiceExt;

/// The router that takes over. Clones are the same.
#[derive(Clone, Default)]
pub struct Late(Arc<OnceLock<Router>>);

impl Late {
    /// A router that answers as `early` does until [`Late::is`] was called.
    pub fn router(&self, early: Router) -> Router {
        let late = self.0.clone();
        Router::new().fallback(move |request: Request| {
            let router = late.get().unwrap_or(&early).clone();
            async move { answer(router, request).await }
        })
    }

    /// From now on `router` answers.
    pub fn is(&self, router: Router) {
        // The first one stays: nobody sets a second.
        let _ = self.0.set(router);
    }
}

async fn answer(router: Router, request: Request) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn what_comes_late_takes_over() {
        let late = Late::default();
        let router = late.router(Router::new().route("/a", get(|| async { "early" })));
        let status = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
            answer(router.clone(), request).await.status().as_u16()
        };
        assert_eq!((status("/a").await, status("/b").await), (200, 404));
        late.is(Router::new().route("/b", get(|| async { "late" })));
        assert_eq!((status("/a").await, status("/b").await), (404, 200));
    }
}
