//! The service by which other nodes have their parts of a plan computed here: plans come as bytes, rows go back as Arrow
//! Flight. It runs on the query threads, with this node's own memory budgets, and lets nobody in without the token.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, Request, Response};
use axum::response::IntoResponse;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionState;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext, WorkerSessionBuilder};
use futures::future::BoxFuture;
use shipwake_store::Store;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tower::Service;

use super::checked::Reading;
use super::codec::Codec;
use crate::sql::budget::{QueryMemory, SharedMemory};
use crate::sql::session::Sessions;

/// Milliseconds that the statement has left when it is sent.
pub(super) const LEFT_MS: HeaderName = HeaderName::from_static("shipwake-left-ms");
/// For a statement that does not say how long it has.
const LEFT_DEFAULT: Duration = Duration::from_secs(60);
const PATH: &str = "/worker.WorkerService/{*method}";

/// What parts of others run on.
#[derive(Clone)]
pub(super) struct Here {
    pub store: Arc<Store>,
    pub sessions: Arc<Sessions>,
    pub shared_memory: Arc<SharedMemory>,
    /// Bytes that the part of one statement may use.
    pub memory_bytes: usize,
}

#[async_trait]
impl WorkerSessionBuilder for Here {
    async fn build_session_state(&self, context: WorkerQueryContext) -> Result<SessionState, DataFusionError> {
        let memory = QueryMemory::new(self.shared_memory.clone(), self.memory_bytes);
        let deadline = Instant::now() + left(&context.headers);
        let mut state = self.sessions.for_part(context.builder, memory)?.with_distributed_user_codec(Codec).build();
        state.config_mut().set_extension(Arc::new(Reading { store: self.store.clone(), deadline }));
        Ok(state)
    }
}

fn left(headers: &HeaderMap) -> Duration {
    let text = headers.get(LEFT_MS).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).map_or(LEFT_DEFAULT, Duration::from_millis)
}

/// The worker, for others and for our own part of what we are asked.
pub(super) fn worker(here: Here, version: String) -> Worker {
    Worker::from_session_builder(here).with_version(version)
}

/// The routes of the worker, on the threads of `handle`.
pub(super) fn router(worker: &Worker, token: Option<&str>, handle: Handle) -> Router {
    let expected = token.map(|token| format!("Bearer {token}").into());
    Router::new().route_service(PATH, Guarded { inner: worker.clone().into_worker_server(), expected, handle })
}

/// Looks at the token, and calls on other threads.
#[derive(Clone)]
struct Guarded<S> {
    inner: S,
    expected: Option<Arc<str>>,
    handle: Handle,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Response<B>: IntoResponse + Send + 'static,
{
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !is_allowed(self.expected.as_deref(), request.headers()) {
            let refusal = tonic::Status::unauthenticated("the token of the cluster is missing or another one");
            return Box::pin(async move { Ok(refusal.into_http::<Body>()) });
        }
        // What was ready is what is called; the clone is for the next one.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let call = AbortOnDropHandle::new(self.handle.spawn(async move { inner.call(request).await }));
        Box::pin(async move {
            match call.await {
                Ok(Ok(response)) => Ok(response.into_response()),
                Err(ended) => Ok(tonic::Status::internal(format!("the part ended unexpectedly: {ended}")).into_http()),
            }
        })
    }
}

/// In a time that does not depend on how much of the token is right.
fn is_allowed(expected: Option<&str>, headers: &HeaderMap) -> bool {
    let Some(expected) = expected else { return true };
    let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let difference = given.iter().zip(expected.as_bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    given.len() == expected.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_the_door_and_none_is_needed_where_there_is_none() {
        let headers = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))]);
        for (expected, given, allowed) in [
            (None, "", true),
            (Some("Bearer s3cret"), "Bearer s3cret", true),
            (Some("Bearer s3cret"), "Bearer s3cres", false),
            (Some("Bearer s3cret"), "Bearer s3cre", false),
            (Some("Bearer s3cret"), "Bearer s3cret2", false),
            (Some("Bearer s3cret"), "", false),
        ] {
            assert_eq!(is_allowed(expected, &headers(given)), allowed, "{given}");
        }
        assert!(!is_allowed(Some("Bearer s3cret"), &HeaderMap::new()));
    }

    #[test]
    fn the_time_that_is_left_comes_with_the_plan() {
        assert_eq!(left(&HeaderMap::from_iter([(LEFT_MS, 1_500.into())])), Duration::from_millis(1_500));
        assert_eq!(left(&HeaderMap::new()), LEFT_DEFAULT);
    }
}
