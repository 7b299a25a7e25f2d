//! Shipwake's own telemetry, sent as OTLP to a real receiver: another Shipwake.

use crate::harness::{eventually, start, start_with};
use crate::otlp::{logs, post, resource};

#[tokio::test]
async fn every_query_and_commit_is_a_span_and_no_literal_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = start(&folder.path().join("receiver")).await;
    let options = ["--own-otlp-endpoint", &receiver.grpc(), "--commit-seconds", "1"];
    let shipwake = start_with(&folder.path().join("data"), &options).await;
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &["ann@example.org"])).await;
    shipwake.wait_number("select count(*) from logs where body = 'ann@example.org'", 1).await;
    assert_eq!(shipwake.sql_answer("select nonsense from nowhere where x = 'ann@example.org'").await.0, 400);
    shipwake.api("/api/v1/overview").await;
    shipwake.api("/api/v1/pipeline").await;

    let spans = "from spans where service = 'shipwake' and name = 'query'";
    for (kind, outcome) in [("sql", "ok"), ("sql", "sql"), ("overview", "ok"), ("pipeline", "ok")] {
        let of_kind = format!(
            "select least(count(*), 1) {spans} and attributes['kind'] = '{kind}' and attributes['outcome'] = '{outcome}'"
        );
        receiver.wait_number(&of_kind, 1).await;
    }
    let counted = format!(
        "select least(count(*), 1) {spans} and attributes['rows'] = '1' and duration_ns > 0
         and attributes['db.query.text'] = 'select count(*) from logs where body = ?'"
    );
    receiver.wait_number(&counted, 1).await;
    assert_eq!(receiver.number(&format!("select count(*) {spans} and status_code = 'error'")).await, 0);
    eventually("a commit is a span, too", || async {
        let commits =
            receiver.number("select count(*) from spans where service = 'shipwake' and name = 'commit'").await;
        (commits > 0).then_some(())
    })
    .await;
    let told = format!("select count(*) {spans} and attributes['db.query.text'] like '%example%'");
    assert_eq!(receiver.number(&told).await, 0);
}
