//! Markers from outside: a hook, `shipwake mark` or OTLP says something about a release, and it is in SQL, on the pages and in Grafana's
//! question within seconds, exactly once, whatever is sent again and whenever the program is killed.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Shipwake, Start, eventually, free_ports, spawn, start, start_with};
use crate::otlp::now_ns;
use crate::senders::{assert_conserved, post_json};

/// Posts JSON; gives the status and the answer.
async fn post(url: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let mut request =
        reqwest::Client::new().post(url).header("content-type", "application/json").body(body.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Runs `shipwake mark` and gives what came of it.
async fn mark(server: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
    command.args(["mark"]).args(arguments).args(["--server", server]);
    tokio::task::spawn_blocking(move || command.output().expect("the binary was built by cargo"))
        .await
        .expect("no panic")
}

fn deploy(id: &str, version: &str) -> Value {
    json!({"id": id, "kind": "deploy", "service": "checkout", "env": "production", "version": version, "by": "ana",
           "at": (now_ns() / 1_000_000) as i64})
}

#[tokio::test]
async fn a_marker_counts_once_after_a_retry_and_after_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(free_ports()) };
    let mut shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let markers: Vec<Value> = (0..5).map(|n| deploy(&format!("d-{n}"), &format!("2.{n}"))).collect();
    for round in 0..4 {
        for marker in &markers[..=round.min(4)] {
            let url = format!("{}/v1/markers", if round % 2 == 0 { shipwake.http() } else { shipwake.ui() });
            let answered = post(&url, &[], marker).await;
            assert_eq!(answered, (200, json!({"accepted": 1, "rejected": 0, "errors": [], "ids": [marker["id"]]})));
        }
        shipwake.wait_number("select count(*) from markers", round as i64 + 1).await;
        if round % 2 == 1 {
            // Kept from the committed state, not only from the journal.
            let commits = || async { shipwake.metric("shipwake_commit_seconds_count", "").await };
            eventually("a commit", || async { (commits().await >= 1.0).then_some(()) }).await;
        }
        shipwake.kill();
        shipwake = spawn(&start);
        shipwake.wait_ready().await;
        shipwake.wait_number("select count(*) from markers", round as i64 + 1).await;
    }
    let rows = shipwake.sql("select id, version, actor, source from markers order by id").await;
    assert_eq!(json!(rows)[3], json!(["d-3", "2.3", "ana", "api"]));
    // It is a row of the logs too, and opens no release and no service.
    assert!(shipwake.number("select count(*) from logs where event_name = 'shipwake.marker'").await >= 4);
    assert_eq!(shipwake.number("select count(*) from releases").await, 0);
    assert_eq!(shipwake.number("select count(*) from events").await, 0);
    assert_conserved(&shipwake).await;
}

#[tokio::test]
async fn shipwake_mark_waits_for_a_server_that_starts_later_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = free_ports();
    let server = format!("http://127.0.0.1:{}", ports[1]);
    let early = [
        "deploy",
        "--service",
        "checkout",
        "--version",
        "2.14.0",
        "--env",
        "production",
        "--weight",
        "10%",
        "--by",
        "ana",
    ];
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { mark(&server, &early).await }
    });
    let shipwake = spawn(&Start { data: &folder.path().join("data"), options: &[], ports: Some(ports) });
    shipwake.wait_ready().await;
    let output = waiting.await.expect("no panic");
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success() && id.starts_with("cli-"), "{output:?}");
    let row = "select id, kind, environment, version, weight, actor, source from markers";
    shipwake.wait_number("select count(*) from markers", 1).await;
    assert_eq!(json!(shipwake.sql(row).await), json!([[id, "deploy", "production", "2.14.0", 0.1, "ana", "cli"]]));
    // The same id again is the same marker, on the port of the pages too.
    let again = ["rollback", "--service", "checkout", "--version", "2.13.4", "--id", &id, "--text", "it was slow"];
    assert!(mark(&shipwake.ui(), &again).await.status.success());
    let kinds = || async { json!(shipwake.sql("select kind from markers").await) };
    eventually("the newer word", || async { (kinds().await == json!([["rollback"]])).then_some(()) }).await;

    let refused = mark(&server, &["deploy", "--service", "checkout"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs a version"), "{refused:?}");
    let misspelt = mark(&server, &["deplyo", "--service", "checkout"]).await;
    assert_eq!(misspelt.status.code(), Some(2));
    let nobody = format!("http://127.0.0.1:{}", free_ports()[0]);
    let undelivered = mark(&nobody, &["note", "--service", "checkout", "--wait", "100ms"]).await;
    assert_eq!(undelivered.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&undelivered.stderr).contains("not delivered"), "{undelivered:?}");
}

/// A version runs, so that it has a page, and says by OTLP that a toggle was turned.
async fn send_a_line_and_a_marker(shipwake: &Shipwake) {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let resource = json!({"attributes": [
        attribute("service.name", "checkout"), attribute("service.version", "2.14.0"),
        attribute("deployment.environment.name", "production"), attribute("service.instance.id", "a"),
    ]});
    let record = json!({"timeUnixNano": now_ns().to_string(), "severityNumber": 9, "body": {"stringValue": "up"}});
    let marked = json!({"timeUnixNano": now_ns().to_string(), "eventName": "shipwake.marker", "attributes": [
        attribute("shipwake.marker.id", "otlp-1"), attribute("shipwake.marker.kind", "toggle"), attribute("shipwake.marker.toggle", "pay-v2"),
    ]});
    let request = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record, marked]}]}]});
    assert_eq!(post_json(shipwake, "logs", &request.to_string()).await.0, 200);
}

#[tokio::test]
async fn hooks_are_seen_in_sql_on_the_pages_and_by_grafana() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now_ms = (now_ns() / 1_000_000) as i64;
    send_a_line_and_a_marker(&shipwake).await;

    let annotation = json!({"time": now_ms, "tags": ["deploy", "service:checkout", "version:2.14.0", "env:production"], "text": "run 7"});
    let github = json!({
        "deployment": {"id": 7, "sha": "a84d88e", "ref": "v2.15.0", "environment": "production", "created_at": "2026-11-23T10:00:00Z",
            "payload": {"service": "checkout", "version": "2.15.0"}, "creator": {"login": "ana"}},
        "repository": {"name": "shop", "full_name": "acme/shop"},
    });
    let flagger = json!({"name": "checkout", "namespace": "", "phase": "Progressing",
        "metadata": {"eventMessage": "Advance checkout.shop canary weight 20", "timestamp": now_ms.to_string(), "environment": "production"}});
    for _ in 0..2 {
        assert_eq!(post(&format!("{}/api/annotations", shipwake.ui()), &[], &annotation).await.0, 200);
        let url = format!("{}/v1/hooks/github", shipwake.http());
        assert_eq!(post(&url, &[("x-github-event", "deployment")], &github).await.0, 200);
        assert_eq!(post(&format!("{}/v1/hooks/flagger", shipwake.ui()), &[], &flagger).await.0, 200);
    }
    let rows = "select kind, version, weight, source from markers order by source";
    shipwake.wait_number("select count(*) from markers", 4).await;
    let expected = json!([
        ["weight", "unversioned", 0.2, "flagger"],
        ["deploy", "2.15.0", null, "github"],
        ["deploy", "2.14.0", null, "grafana"],
        ["toggle", "2.14.0", null, "otlp"],
    ]);
    assert_eq!(json!(shipwake.sql(rows).await), expected);

    let found = shipwake.api("/api/v1/deploys?service=checkout&env=production&from=now-3650d").await;
    let deploys: Vec<_> = found["deploys"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|deploy| (deploy["version"].clone(), deploy["outcome"].clone()))
        .collect();
    assert_eq!(deploys, [(json!("2.14.0"), json!("live")), (json!("2.15.0"), json!("announced_only"))], "{found}");
    let kinds: Vec<_> = found["deploys"][0]["markers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|marker| marker["kind"].clone())
        .collect();
    assert!(kinds.contains(&json!("weight")) && kinds.contains(&json!("deploy")), "{found}");
    let page = shipwake.api("/api/v1/services/checkout/release?env=production").await;
    let told: Vec<_> = page["events"].as_array().expect("a list").iter().map(|event| event["kind"].clone()).collect();
    assert!(["deploy", "weight", "toggle", "release"].iter().all(|kind| told.contains(&json!(kind))), "{told:?}");

    let asked =
        format!("/api/annotations?from={}&to={}&tags=deploy&tags=service:checkout", now_ms - 1000, now_ms + 1000);
    let annotations = shipwake.api(&asked).await;
    assert_eq!(annotations.as_array().map(Vec::len), Some(1), "{annotations}");
    assert_eq!((&annotations[0]["time"], &annotations[0]["tags"][3]), (&json!(now_ms), &json!("version:2.14.0")));
    let (status, problem) = post(&format!("{}/v1/markers", shipwake.ui()), &[], &json!({"kind": "deploy"})).await;
    assert!(
        status == 400 && problem["detail"].as_str().is_some_and(|detail| detail.contains("no service")),
        "{problem}"
    );
    assert_conserved(&shipwake).await;
}

#[tokio::test]
async fn with_a_secret_only_signed_deliveries_of_github_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "It's-a-Secret\n").expect("written");
    let options = ["--hook-secret-github-file", path(&secret)];
    let shipwake = start_with(&folder.path().join("data"), &options).await;
    let url = format!("{}/v1/hooks/github", shipwake.ui());
    let ping = json!({"zen": "Design for failure."});
    assert_eq!(post(&url, &[("x-github-event", "ping")], &ping).await.0, 401);
    let signature = format!("sha256={}", hmac_sha256(b"It's-a-Secret", ping.to_string().as_bytes()));
    let signed = [("x-github-event", "ping"), ("x-hub-signature-256", signature.as_str())];
    assert_eq!(post(&url, &signed, &ping).await.0, 200);
    assert!(!shipwake.log().contains("It's-a-Secret"));
    let printed = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["config", "print"])
        .args(options)
        .output()
        .expect("the binary was built by cargo");
    assert!(printed.status.success() && !String::from_utf8_lossy(&printed.stdout).contains("It's-a-Secret"));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// By its definition (RFC 2104), with the system's SHA-256.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    let sha256 = |bytes: &[u8]| -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, bytes).expect("written");
        let output = Command::new("sha256sum").arg(file.path()).output().expect("sha256sum exists");
        let hex = output.stdout[..64].to_vec();
        hex.chunks(2).map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal")).collect()
    };
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = sha256(&[pad(0x36), message.to_vec()].concat());
    sha256(&[pad(0x5c), inner].concat()).iter().map(|byte| format!("{byte:02x}")).collect()
}
