//! A store with one shard that the tests write to: what is recorded is hot until it is committed.

pub mod rows;
pub mod shard;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::Value;
use shipwake_query::{PipelineSource, PipelineStatus, Query, QueryConfig};
use shipwake_store::{Store, StoreConfig};
use tempfile::TempDir;
use tower::ServiceExt;

use shard::TestShard;

/// 2026-11-23T14:00:00Z, the beginning of every test's data.
pub const T0: i64 = 1_795_442_400_000;

/// Ingest counters of tests.
#[derive(Default)]
pub struct Counters {
    /// How often somebody asked.
    pub asked: AtomicUsize,
}

impl PipelineSource for Counters {
    fn status(&self) -> PipelineStatus {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut status = PipelineStatus::default();
        status.received.logs = 7;
        status.endpoints.otlp_http = "http://127.0.0.1:4318".to_owned();
        status
    }
}

/// A store, its shard, and the stage that answers questions about it.
pub struct World {
    pub shard: Arc<TestShard>,
    pub store: Arc<Store>,
    pub query: Query,
    pub counters: Arc<Counters>,
    pub dir: TempDir,
    clock: Arc<AtomicI64>,
}

impl World {
    /// An empty store with default budgets.
    pub fn new() -> Self {
        Self::with(QueryConfig::default())
    }

    /// An empty store with budgets of the test's own.
    pub fn with(config: QueryConfig) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let mut registry = Registry::default();
        let store = Store::open(StoreConfig::new(dir.path().join("store")), &mut registry).expect("an empty folder");
        let (committer, _) = store.open_shard(0).expect("a new shard");
        let shard = Arc::new(TestShard::new(committer));
        store.register(0, shard.clone());
        let clock = Arc::new(AtomicI64::new(T0 + 15 * 60_000));
        let told = clock.clone();
        let config = QueryConfig { clock: Arc::new(move || told.load(Ordering::Relaxed)), ..config };
        let counters = Arc::new(Counters::default());
        let query = Query::new(config, store.clone(), counters.clone(), &mut registry).expect("threads");
        Self { shard, store, query, counters, dir, clock }
    }

    /// Sets the present, and the shard's watermark with it.
    pub fn set_now(&self, now_ms: i64) {
        self.clock.store(now_ms, Ordering::Relaxed);
        self.shard.set_watermark(now_ms);
    }

    /// Asks over HTTP; gives status, headers and body.
    pub async fn ask(&self, request: Request<Body>) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
        let response = self.query.router().oneshot(request).await.expect("a router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        (parts.status, parts.headers, bytes.to_vec())
    }

    /// `GET`, as JSON.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).expect("a valid address");
        let (status, _, body) = self.ask(request).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// `POST /api/v1/sql` with a whole body.
    pub async fn post_sql(&self, body: Value, accept: &str) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
        let request = Request::post("/api/v1/sql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, accept)
            .body(Body::from(body.to_string()))
            .expect("a valid request");
        self.ask(request).await
    }

    /// A query's answer as JSON: the document of the answer or of the problem.
    pub async fn sql(&self, query: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.post_sql(serde_json::json!({"query": query}), "application/json").await;
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    /// The rows of a query that must succeed.
    pub async fn rows(&self, query: &str) -> Value {
        let (status, answer) = self.sql(query).await;
        assert_eq!(status, StatusCode::OK, "{query}: {answer}");
        answer["rows"].clone()
    }
}
