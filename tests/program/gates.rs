//! Verdicts from outside: the real program answers rollout tools on the port of its pages, over a restart, and its routes do not get in
//! each other's way.

use serde_json::{Value, json};

use crate::harness::{Shipwake, eventually, start};

async fn status(shipwake: &Shipwake, path: &str) -> u16 {
    reqwest::get(format!("{}{path}", shipwake.ui())).await.expect("an answer").status().as_u16()
}

async fn post(shipwake: &Shipwake, path: &str, body: &Value) -> (u16, String) {
    let sent = reqwest::Client::new().post(format!("{}{path}", shipwake.ui())).json(body).send().await;
    let answer = sent.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn a_release_that_nobody_has_seen_waits_and_is_never_rolled_back() {
    let data = tempfile::tempdir().expect("a folder");
    let shipwake = start(data.path()).await;
    let unknown = eventually("the judge has looked", || async {
        let answer = shipwake.api("/v1/verdict?service=checkout&candidate=2.14.0&wait=100ms").await;
        (answer["reason"] == "unknown_release").then_some(answer)
    })
    .await;
    assert_eq!((&unknown["verdict"], &unknown["ok"]), (&json!("wait"), &json!(false)));
    assert_eq!(status(&shipwake, "/v1/gate?service=checkout").await, 425);
    assert_eq!(status(&shipwake, "/v1/verdict?servcie=checkout").await, 400);
    let payload = json!({"name": "checkout", "namespace": "shop", "phase": "Progressing", "metadata": {}});
    for (hook, expected) in [("confirm", 403), ("check", 412), ("rollback", 403)] {
        let (status, text) = post(&shipwake, &format!("/v1/gates/flagger/{hook}"), &payload).await;
        assert_eq!(status, expected, "{hook}: {text}");
    }
    assert_eq!(post(&shipwake, "/v1/evaluations", &json!({"service": "checkout"})).await.0, 404);
    let online = shipwake.api("/api/v1/query?query=vector(1)").await;
    assert_eq!(online["data"]["result"][0]["value"][1], "1");
    assert_eq!(shipwake.api("/canaryConfig").await[0]["id"], "shipwake");
    assert_eq!(shipwake.api("/api/v1/verdicts").await["verdicts"], json!([]));
    assert_eq!(status(&shipwake, "/api/v1/services/checkout/verdict").await, 404);
    // Their neighbours are where they were.
    assert!(shipwake.api("/api/v1/overview").await.is_object());
    assert_eq!(shipwake.sql("select 1").await.len(), 1);
}
