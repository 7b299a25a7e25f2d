//! Segments that were written before a column was there are asked like all others: the column is null.

use std::path::Path;
use std::sync::Arc;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use shipwake_query::{Query, QueryConfig};
use shipwake_store::{Store, StoreConfig};
use tower::ServiceExt;

use crate::support::Counters;
use crate::support::shard::TestShard;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// The rows that a statement gives over a directory that the store keeps for its own tests.
async fn rows_of(golden: &str, statement: &str) -> Value {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let root = dir.path().join("store");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib/store/tests/golden").join(golden), &root);
    let store = Store::open(StoreConfig::new(&root), &mut Default::default()).expect("opens");
    let (committer, _) = store.open_shard(0).expect("opens");
    store.register(0, Arc::new(TestShard::new(committer)));
    let query = Query::new(QueryConfig::default(), store, Arc::new(Counters::default()), &mut Default::default());
    let request = axum::http::Request::post("/api/v1/sql")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(json!({"query": statement}).to_string()))
        .expect("a valid request");
    let response = query.expect("threads").router().oneshot(request).await.expect("a router never fails");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(answer["rows"].is_array(), "{statement}: {answer}");
    answer["rows"].clone()
}

#[tokio::test]
async fn points_without_the_column_of_quantiles_have_none() {
    let statement = "select metric, quantiles['0.99'] as p99, quantiles from points order by p99";
    let expected = json!([["queue.depth", null, null], ["queue.depth", null, null]]);
    assert_eq!(rows_of("v1", statement).await, expected);
    let expected = json!([["queue.depth", 1.0, {"0.99": 1.0}], ["queue.depth", null, null]]);
    assert_eq!(rows_of("v1-quantiles", statement).await, expected);
    let filtered = "select count(*) from points where quantiles['0.99'] > 0.5";
    assert_eq!((rows_of("v1", filtered).await, rows_of("v1-quantiles", filtered).await), (json!([[0]]), json!([[1]])));
}
