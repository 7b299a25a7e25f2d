//! Two versions of a service, which know what they were asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::{Shipwake, eventually};

/// A version that runs.
pub struct Backend {
    pub port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicI64,
    errors: AtomicI64,
}

impl Backend {
    /// Answers everything with 200, and what begins with `/fail` with 500.
    pub async fn start() -> Self {
        let counts = Arc::<Counts>::default();
        let router = Router::new().fallback(answer).with_state(counts.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Backend { port, counts }
    }

    /// Requests and errors.
    pub fn counts(&self) -> (i64, i64) {
        (self.counts.requests.load(Ordering::Relaxed), self.counts.errors.load(Ordering::Relaxed))
    }
}

async fn answer(State(counts): State<Arc<Counts>>, uri: Uri) -> (StatusCode, &'static str) {
    counts.requests.fetch_add(1, Ordering::Relaxed);
    if uri.path().starts_with("/fail") {
        counts.errors.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::INTERNAL_SERVER_ERROR, "failed");
    }
    (StatusCode::OK, "ok")
}

/// Two hundred requests, each tenth of which fails.
pub async fn send_traffic(port: u16) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for n in 0..200 {
        let path = if n % 10 == 9 { "fail" } else { "cart" };
        let answer = client.get(format!("http://127.0.0.1:{port}/{path}/{n}")).send().await.expect("an answer");
        assert!(answer.status() == 200 || answer.status() == 500, "{}", answer.status());
        answer.bytes().await.expect("a body");
    }
}

/// Waits until the windows of a service say, by version: requests, errors, and durations.
pub async fn assert_health(shipwake: &Shipwake, service: &str, expected: &[(&str, (i64, i64))]) {
    let count = |signal: &str| format!("cast(sum(case when signal = '{signal}' then count else 0 end) as bigint)");
    let query = format!(
        "select version, {}, {}, {} from windows where service = '{service}' and resolution_s = 3600 \
         and source = 'access_log' group by version order by version",
        count("requests"),
        count("errors"),
        count("duration")
    );
    let expected: Vec<Value> = expected
        .iter()
        .map(|(version, (requests, errors))| serde_json::json!([version, requests, errors, requests]))
        .collect();
    eventually(&format!("{service}: {expected:?}"), || async {
        let found = shipwake.sql(&query).await;
        let equal = serde_json::json!(found) == serde_json::json!(expected);
        if !equal {
            println!("{service}: {found:?}");
        }
        equal.then_some(())
    })
    .await;
}
