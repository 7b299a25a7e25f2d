//! Markers: what each sender's form becomes, what its clients are answered, and that the same delivered twice is one.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use serde_json::{Value as Json, json};
use shipwake_ingest::{HookSecret, IngestConfig};
use shipwake_journal::MemoryJournal;
use shipwake_model::{Notification, ReleaseId, Signal, VerdictChange};

use crate::support::{Answer, Server, gzip, stored};

/// What was said, one line for each record: release, time in seconds, and the attributes in their order without their prefix.
async fn said(journal: &MemoryJournal) -> Vec<String> {
    let mut found = Vec::new();
    for record in stored(journal).await {
        let request = ExportLogsServiceRequest::decode(record.value.clone()).expect("valid");
        for entry in request.resource_logs {
            let resource = entry.resource.expect("given").attributes;
            for event in entry.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let prefix = format!("{}.", event.event_name);
                let release = ["service.namespace", "service.name", "service.version", "deployment.environment.name"];
                let release = release.map(|name| text(&resource, name)).join("/");
                let attributes: Vec<String> = event
                    .attributes
                    .iter()
                    .filter(|attribute| !attribute.key.ends_with(".id"))
                    .map(|attribute| {
                        let name = attribute.key.strip_prefix(&prefix).expect("named after the event");
                        format!("{name}={}", text(&event.attributes, &attribute.key))
                    })
                    .collect();
                found.push(format!("{release} {} {}", event.time_unix_nano / 1_000_000_000, attributes.join(" ")));
            }
        }
    }
    found.sort();
    found
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == name).and_then(|found| found.value.clone()?.value);
    match value {
        Some(Value::StringValue(text)) => text,
        None => String::new(),
        other => format!("{other:?}"),
    }
}

fn body(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).expect("JSON")
}

const AT: u64 = 1_795_428_000;

#[tokio::test]
async fn a_native_marker_is_on_disk_when_it_is_answered_and_counts_once() {
    let (server, journal) = Server::in_memory().await;
    let marker = json!({
        "id": "d-1", "kind": "deploy", "service": "checkout", "namespace": "shop", "env": "production", "version": "2.14.0",
        "previous": "2.13.4", "at": "2026-11-23T10:00:00Z", "weight": 0.1, "role": "candidate", "exposure": "public",
        "commit": "a84d88e", "pipeline_url": "https://ci.example/7", "actor": "ana", "text": "a \"b\"", "raw": {"any": "thing"},
    });
    for _ in 0..2 {
        let answer = server.post("/v1/markers", &[], marker.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(body(&answer), json!({ "accepted": 1, "rejected": 0, "errors": [], "ids": ["d-1"] }));
    }
    let expected = format!(
        "shop/checkout/2.14.0/production {AT} kind=deploy weight=0.1 role=candidate exposure=public previous=2.13.4 \
         commit=a84d88e url=https://ci.example/7 by=ana source=api text=a \"b\""
    );
    assert_eq!(said(&journal).await, [expected.clone(), expected]);
    let hashes: Vec<_> = stored(&journal).await.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes[0].is_some() && hashes[0] == hashes[1], "a shard counts them once");
}

#[tokio::test]
async fn markers_without_id_and_time_get_the_same_id_when_they_come_again() {
    let (server, _) = Server::in_memory().await;
    let several = json!([
        { "kind": "note", "service": "checkout", "text": "config reloaded" },
        { "kind": "toggle", "service": "checkout", "toggle": "pay-v2", "text": "on for 10 %" },
    ]);
    let body_bytes = gzip(several.to_string().as_bytes());
    let first = body(&server.post("/v1/markers?env=production", &[("content-encoding", "gzip")], &body_bytes).await);
    let second = body(&server.post("/v1/markers?env=production", &[("content-encoding", "gzip")], &body_bytes).await);
    assert_eq!((first["accepted"].as_u64(), first["ids"].as_array().map(Vec::len)), (Some(2), Some(2)));
    // Unless ten minutes end between the two.
    assert!(first["ids"] == second["ids"] || first["ids"][0] != first["ids"][1]);
    let elsewhere = body(&server.post("/v1/markers?env=test", &[("content-encoding", "gzip")], &body_bytes).await);
    assert_ne!(first["ids"][0], elsewhere["ids"][0]);
}

#[tokio::test]
async fn a_bad_marker_is_refused_with_its_fault_and_nothing_of_the_request_is_taken() {
    let (server, journal) = Server::in_memory().await;
    let good = r#"{"kind":"note","service":"checkout"}"#;
    for (sent, fault) in [
        ("", "the body is empty"),
        ("[]", "an empty array"),
        ("7", "neither a JSON object nor an array"),
        ("{\"kind\":\"deploy\",\n \"service\" \"checkout\"}", "line 2 column 12"),
        (r#"{"service":"checkout"}"#, "kind is missing"),
        (
            r#"{"kind":"deplyo","service":"checkout"}"#,
            "there are deploy, rollback, promote, weight, toggle, freeze, note",
        ),
        (r#"{"kind":"deploy","verison":"2","service":"checkout"}"#, "did you mean version?"),
        (
            r#"{"kind":"note","service":"checkout","url":"javascript:alert(1)"}"#,
            "url javascript:alert(1) begins with neither http:// nor https://",
        ),
        (r#"{"kind":"deploy","colour":"red","service":"checkout"}"#, "unknown field colour"),
        (r#"{"kind":"deploy","version":"2"}"#, "no service"),
        (r#"{"kind":"deploy","service":"checkout"}"#, "needs a version"),
        (r#"{"kind":"weight","service":"checkout","version":"2","weight":20}"#, "weight 20 is not between 0 and 1"),
        (r#"{"kind":"weight","service":"checkout","weight":"much"}"#, "weight is not a number"),
        (r#"{"kind":"note","service":["a"]}"#, "service is not a text"),
        (r#"{"kind":"note","service":"checkout","at":"yesterday"}"#, "at \"yesterday\" is neither RFC 3339"),
        (r#"{"kind":"note","service":"checkout","at":12}"#, "at lies outside"),
        (r#"{"kind":"note","service":"checkout","role":"canary"}"#, "role \"canary\" is not known"),
    ] {
        let is_object = serde_json::from_str::<Json>(sent).is_ok_and(|json| json.is_object());
        for (sent, place) in [(sent.to_owned(), ""), (format!("[{good},{sent}]"), "marker 1: ")] {
            if !place.is_empty() && !is_object {
                continue;
            }
            let answer = server.post("/v1/markers", &[], sent.as_bytes()).await;
            let detail = body(&answer)["detail"].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (400, Some("application/problem+json")),
                "{sent}"
            );
            assert!(detail.contains(fault) && detail.contains(place), "{sent}: {detail}");
        }
    }
    let long = format!(r#"{{"kind":"note","service":"checkout","text":"{}"}}"#, "x".repeat(3000));
    assert_eq!(server.post("/v1/markers", &[], long.as_bytes()).await.status, 400);
    let huge = vec![b' '; 2 << 20];
    assert_eq!(server.post("/v1/markers", &[], &huge).await.status, 413);
    let asked = server.exchange(b"GET /v1/markers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(asked.status, 405);
    assert_eq!(server.post("/v1/markers?servise=a", &[], good.as_bytes()).await.status, 400);
    assert_eq!(said(&journal).await, Vec::<String>::new());
}

/// Posts a payload of the corpus twice, and gives the second answer and what is kept of the first.
async fn twice(path: &str, headers: &[(&str, &str)], payload: &str) -> (Answer, Vec<String>) {
    let (server, journal) = Server::in_memory().await;
    let first = server.post(path, headers, payload.as_bytes()).await;
    assert!((200..=202).contains(&first.status), "{path}: {} {}", first.status, String::from_utf8_lossy(&first.body));
    let kept = said(&journal).await;
    let second = server.post(path, headers, payload.as_bytes()).await;
    let hashes: Vec<_> = stored(&journal).await.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes.iter().all(|hash| hash.is_some()), "{path}");
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(2 * distinct.len(), hashes.len(), "{path}: the second is a repetition of the first");
    (second, kept)
}

const GITHUB: (&str, &str) = ("x-github-event", "deployment");
const GITHUB_STATUS: (&str, &str) = ("x-github-event", "deployment_status");

#[tokio::test]
async fn every_hook_reads_what_its_sender_sends() {
    let check = |(answer, kept): (Answer, Vec<String>), expected: &[String]| {
        assert_eq!(kept, expected);
        body(&answer)
    };
    let shop = "shop/checkout/2.14.0/production";
    let github = twice("/v1/hooks/github", &[GITHUB], include_str!("markers/github-deployment.json")).await;
    let expected = format!(
        "shop/checkout/v2.14.0/production {AT} kind=deploy said={AT}000000000 weight=0.1 role=candidate status=started \
         previous=v2.13.4 \
         commit=a84d88e7554fc1fa21bcbc4efae3c782a70d2b9d url=https://github.example/acme/shop by=ana source=github \
         text=Deploy request from CI"
    );
    assert_eq!(check(github, &[expected])["accepted"], 1);

    let cdevent = twice(
        "/v1/hooks/cdevents",
        &[
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-type", "dev.cdevents.service.deployed.0.2.0"),
        ],
        include_str!("markers/cdevent-binary.json"),
    );
    let expected = format!("/checkout/2.14.0/production {AT} kind=deploy source=cdevents");
    check(cdevent.await, &[expected]);
    let cdevent = twice(
        "/v1/hooks/cdevents",
        &[("content-type", "application/cloudevents+json")],
        include_str!("markers/cdevent-structured.json"),
    );
    let expected = format!("shop/checkout/2.13.4/production {} kind=rollback by=ana source=cdevents", AT + 3600);
    check(cdevent.await, &[expected]);

    let argocd = twice("/v1/hooks/argocd", &[], include_str!("markers/argocd.json")).await;
    let expected = format!(
        "{shop} {AT} kind=deploy said={}000000000 status=succeeded commit=9d59409acf479dfa0df1aa568182e43e43df8bbe \
         url=https://argocd.example/applications/argocd/checkout-production by=ana source=argocd text=health: Healthy",
        AT + 40
    );
    check(argocd, &[expected]);

    let flagger = twice("/v1/hooks/flagger", &[], include_str!("markers/flagger.json")).await;
    let expected = format!(
        "shop/checkout//production {AT} kind=weight weight=0.2 role=candidate by=flagger source=flagger \
         text=Advance checkout.shop canary weight 20"
    );
    assert_eq!(flagger.0.status, 200, "Flagger takes 204 for a failure");
    check(flagger, &[expected]);
}

#[tokio::test]
async fn every_api_that_is_spoken_reads_what_its_clients_send_and_answers_as_they_expect() {
    let check = |(answer, kept): (Answer, Vec<String>), expected: &[String]| {
        assert_eq!(kept, expected);
        body(&answer)
    };
    let deploy = |more: &str| format!("/checkout/2.14.0/production {AT} kind=deploy {more}");
    let grafana = twice("/api/annotations", &[], include_str!("markers/grafana.json")).await;
    let answer = check(grafana, &[deploy("by=ana source=grafana text=Deployed 2.14.0")]);
    assert!(answer["message"] == "Annotation added" && answer["id"].as_u64().is_some_and(|id| id > 0), "{answer}");

    let honeycomb = twice("/1/markers/checkout", &[], include_str!("markers/honeycomb.json")).await;
    assert_eq!(honeycomb.0.status, 201);
    let more = "url=https://ci.example/run/7 source=honeycomb text=deploy checkout@2.14.0 env:production";
    let answer = check(honeycomb, &[deploy(more)]);
    assert!(answer["id"].is_string() && answer["start_time"] == AT && answer["created_at"].is_string(), "{answer}");

    let datadog = twice("/api/v1/events", &[("dd-api-key", "k")], include_str!("markers/datadog.json")).await;
    assert_eq!(datadog.0.status, 202);
    let answer = check(datadog, &[deploy("source=datadog text=Deployed checkout\n2.14.0 is out")]);
    assert!(answer["status"] == "ok" && answer["event"]["id"].is_u64(), "{answer}");

    let path = "/api/0/organizations/acme/releases/checkout%402.14.0/deploys/";
    let sentry = twice(path, &[], include_str!("markers/sentry-deploy.json")).await;
    assert_eq!(sentry.0.status, 201);
    let of = |service: &str| {
        format!(
            "/{service}/2.14.0/production {} kind=deploy status=succeeded url=https://ci.example/run/7 source=sentry text=run 7",
            AT + 60
        )
    };
    let answer = check(sentry, &[of("cart"), of("checkout")]);
    assert!(answer["environment"] == "production" && answer["id"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_deployment_of_github_and_its_statuses_are_one_marker_whose_newest_word_counts() {
    let (server, journal) = Server::in_memory().await;
    let deployment = include_str!("markers/github-deployment.json");
    let status = include_str!("markers/github-status.json");
    let first = body(&server.post("/v1/hooks/github", &[GITHUB], deployment.as_bytes()).await);
    let second = body(&server.post("/v1/hooks/github", &[GITHUB_STATUS], status.as_bytes()).await);
    assert_eq!(first["ids"], second["ids"]);
    let kept = said(&journal).await;
    assert!(
        kept.iter()
            .any(|line| line.contains(&format!("said={}000000000", AT + 240)) && line.contains("status=succeeded")),
        "{kept:?}"
    );
    // As a form, as GitHub sends it where the webhook's settings say so.
    let form: String = deployment.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let headers = [GITHUB, ("content-type", "application/x-www-form-urlencoded")];
    let third = body(&server.post("/v1/hooks/github", &headers, format!("payload={form}").as_bytes()).await);
    assert_eq!(first["ids"], third["ids"]);

    let inactive = status.replace("\"success\"", "\"inactive\"");
    for (headers, payload, words) in [
        ([("x-github-event", "ping")], "{\"zen\":\"Keep it logically awesome.\"}", "pong"),
        ([("x-github-event", "push")], "{}", "event push"),
        ([GITHUB_STATUS], &inactive, "inactive"),
    ] {
        let answer = server.post("/v1/hooks/github", &headers, payload.as_bytes()).await;
        assert_eq!((answer.status, body(&answer)["accepted"].as_u64()), (200, Some(0)));
        assert!(body(&answer)["ignored"].as_str().is_some_and(|why| why.contains(words)), "{words}");
    }
    let unknown = status.replace("\"success\"", "\"exploded\"");
    for (headers, payload, words) in [
        (&[][..], deployment, "x-github-event is missing"),
        (&[GITHUB][..], "{}", "deployment.id is missing"),
        (&[GITHUB_STATUS][..], &unknown, "exploded is not known"),
        (&[GITHUB][..], "payload", "not valid JSON"),
    ] {
        let answer = server.post("/v1/hooks/github", headers, payload.as_bytes()).await;
        let detail = body(&answer)["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && detail.contains(words), "{words}: {detail}");
    }
}

#[tokio::test]
async fn with_a_secret_only_signed_deliveries_of_github_are_taken() {
    let secret = Some(HookSecret("s3cret".to_owned()));
    let config = IngestConfig { github_secret: secret, ..IngestConfig::default() };
    assert!(!format!("{config:?}").contains("s3cret"));
    let (server, journal) = Server::in_memory_with(config).await;
    let payload = include_str!("markers/github-deployment.json");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s3cret");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let signature = format!("sha256={}", hex(ring::hmac::sign(&key, payload.as_bytes()).as_ref()));
    let wrong = format!("sha256={}", hex(&[7; 32]));
    for signature in [None, Some(wrong.as_str()), Some("sha256="), Some("sha1=ab")] {
        let mut headers = vec![GITHUB];
        headers.extend(signature.map(|signature| ("x-hub-signature-256", signature)));
        let answer = server.post("/v1/hooks/github", &headers, payload.as_bytes()).await;
        assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/problem+json")));
        assert!(body(&answer)["detail"].as_str().is_some_and(|detail| detail.contains("secret")));
    }
    assert_eq!(said(&journal).await, Vec::<String>::new(), "nothing of them is kept");
    let good = [GITHUB, ("x-hub-signature-256", signature.as_str())];
    assert_eq!(server.post("/v1/hooks/github", &good, payload.as_bytes()).await.status, 200);
    let changed = payload.replace("production", "staging");
    assert_eq!(server.post("/v1/hooks/github", &good, changed.as_bytes()).await.status, 401);
    assert_eq!(said(&journal).await.len(), 1);
}

#[tokio::test]
async fn what_says_no_service_is_refused_in_the_words_of_each_client() {
    let (server, journal) = Server::in_memory().await;
    for (path, payload, status, field) in [
        ("/api/annotations", r#"{"text":"deployed","tags":["deploy"]}"#, 400, "/message"),
        ("/api/annotations", r#"{"text":"deployed","tags":7}"#, 400, "/message"),
        ("/api/annotations", "[]", 400, "/message"),
        ("/1/markers/__all__", r#"{"message":"deployed","type":"deploy"}"#, 400, "/error"),
        ("/1/markers/checkout", "[1", 400, "/error"),
        ("/api/v1/events", r#"{"title":"deployed","tags":[]}"#, 400, "/errors/0"),
        ("/api/v1/events", r#"{"text":"no title"}"#, 400, "/errors/0"),
        ("/api/0/organizations/acme/releases/2.14.0/deploys/", r#"{"environment":"production"}"#, 400, "/detail"),
        ("/api/0/organizations/acme/releases/", r#"{"projects":["a"]}"#, 400, "/detail"),
        ("/v1/hooks/flagger", r#"{"phase":"Progressing"}"#, 400, "/detail"),
        ("/v1/hooks/argocd", r#"{"message":"synced"}"#, 400, "/detail"),
        ("/v1/hooks/argocd", r#"{"app":{"metadata":{}}}"#, 400, "/detail"),
        ("/v1/hooks/cdevents", r#"{"context":{"id":"1"}}"#, 400, "/detail"),
        (
            "/v1/hooks/cdevents",
            r#"{"context":{"id":"1","type":"dev.cdevents.service.deployed.0.3.0"},"subject":{}}"#,
            400,
            "/detail",
        ),
        (
            "/v1/hooks/cdevents",
            r#"{"context":{"type":"dev.cdevents.service.deployed.0.3.0"},"subject":{"id":"a"}}"#,
            400,
            "/detail",
        ),
    ] {
        let answer = server.post(path, &[], payload.as_bytes()).await;
        let reason = body(&answer).pointer(field).and_then(Json::as_str).unwrap_or_default().to_owned();
        assert!(answer.status == status && reason.len() > 10, "{path} {payload}: {} {reason}", answer.status);
    }
    assert_eq!(said(&journal).await, Vec::<String>::new());
    // The address may say what the payload does not.
    let annotation = r#"{"text":"deployed","tags":["deploy"],"time":1795428000000}"#;
    let answer =
        server.post("/api/annotations?service=checkout&version=2&env=production", &[], annotation.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(said(&journal).await, [format!("/checkout/2/production {AT} kind=deploy source=grafana text=deployed")]);
}

#[tokio::test]
async fn steps_that_are_no_deployment_are_notes_and_other_events_are_left_alone() {
    let event = |kind: &str, subject: Json| json!({ "context": { "id": kind, "source": "ci", "type": kind, "timestamp": "2026-11-23T10:00:00Z" }, "subject": subject });
    let service = json!({ "id": "checkout", "content": { "environment": { "id": "production" }, "artifactId": "pkg:oci/checkout@2" } });
    let incident = json!({ "id": "inc-1", "content": {
        "description": "errors", "environment": { "id": "production" }, "service": { "id": "/shop/checkout" }, "artifactId": "pkg:oci/checkout@2" } });
    let batch = json!([
        event("dev.cdevents.service.removed.0.3.0", service.clone()),
        event("dev.cdevents.service.published.0.3.0", service.clone()),
        event("dev.cdevents.service.upgraded.0.9.9", service),
        event("dev.cdevents.incident.detected.0.3.0", incident),
        event("dev.cdevents.build.finished.0.2.0", json!({ "id": "b" })),
    ]);
    let (_, kept) =
        twice("/v1/hooks/cdevents", &[("content-type", "application/cloudevents-batch+json")], &batch.to_string())
            .await;
    let of = |more: &str| format!("/checkout/2/production {AT} {more}");
    assert_eq!(
        kept,
        [
            of("kind=deploy source=cdevents"),
            of("kind=note exposure=public source=cdevents text=service published"),
            of("kind=note role=retired source=cdevents text=service removed"),
            of("kind=note source=cdevents text=incident detected: errors"),
        ]
    );
    let (server, journal) = Server::in_memory().await;
    let other = event("dev.cdevents.build.finished.0.2.0", json!({ "id": "b" })).to_string();
    let answer = server.post("/v1/hooks/cdevents", &[], other.as_bytes()).await;
    assert!(answer.status == 200 && body(&answer)["ignored"].is_string());
    let graphite =
        r#"{"what":"Deployed","tags":"deploy service:checkout version:2","when":1795428000,"data":"by ana"}"#;
    let answer = server.post("/api/annotations/graphite", &[], graphite.as_bytes()).await;
    assert_eq!((answer.status, body(&answer)["message"].as_str()), (200, Some("Graphite annotation added")));
    assert_eq!(
        said(&journal).await,
        [format!("/checkout/2/default {AT} kind=deploy source=grafana text=Deployed\nby ana")]
    );
}

#[tokio::test]
async fn a_deploy_of_sentry_is_one_of_the_projects_that_its_release_was_given() {
    let (server, journal) = Server::in_memory().await;
    let deploy = r#"{"environment":"production","dateFinished":"2026-11-23T10:00:00Z"}"#;
    let path = "/api/0/organizations/acme/releases/2.14.0/deploys/";
    let early = server.post(path, &[], deploy.as_bytes()).await;
    assert!(early.status == 400 && body(&early)["detail"].as_str().is_some_and(|detail| detail.contains("no service")));
    let release = r#"{"version":"2.14.0","projects":["checkout"],"dateReleased":"2026-11-23T10:00:00Z"}"#;
    let made = server.post("/api/0/organizations/acme/releases/", &[], release.as_bytes()).await;
    assert_eq!((made.status, body(&made)["projects"][0]["slug"].as_str()), (201, Some("checkout")));
    assert_eq!(server.post(path, &[], deploy.as_bytes()).await.status, 201);
    let asked = server
        .exchange(b"GET /api/0/organizations/acme/repos/?cursor= HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!((asked.status, body(&asked)), (200, json!([])));
    let one = b"GET /api/0/organizations/acme/releases/2.14.0/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(server.exchange(one).await.status, 404);
    let kept = said(&journal).await;
    assert_eq!(kept[1], format!("/checkout/2.14.0/production {AT} kind=deploy status=succeeded source=sentry"));
    assert_eq!(kept.len(), 2);
}

#[tokio::test]
async fn a_change_of_a_verdict_is_recorded_once() {
    let (server, journal) = Server::in_memory().await;
    let change = VerdictChange {
        release: ReleaseId {
            service: "checkout".into(),
            namespace: "".into(),
            environment: "production".into(),
            version: "2".into(),
        },
        at_ns: AT as i64 * 1_000_000_000,
        sequence: 3,
        baseline: "1".to_owned(),
        verdict: "no_go".to_owned(),
        previous: "wait".to_owned(),
        ending: String::new(),
        summary: "Roll back".to_owned(),
        policy: "default".to_owned(),
        checks: "[]".to_owned(),
    };
    for _ in 0..2 {
        server.ingest.record_verdict(&change).await.expect("durable");
    }
    let expected = format!(
        "/checkout/2/production {AT} sequence=3 verdict=no_go baseline=1 previous=wait summary=Roll back policy=default checks=[]"
    );
    assert_eq!(said(&journal).await, [expected.clone(), expected]);
    let hashes: Vec<_> = stored(&journal).await.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes[0].is_some() && hashes[0] == hashes[1]);
    let next = VerdictChange { sequence: 4, ..change };
    server.ingest.record_verdict(&next).await.expect("durable");
    assert_ne!(stored(&journal).await[2].header.request_hash, hashes[0]);
    // Nobody has sent them: counted with all records, and not told as what came in.
    let status = server.ingest.status();
    let logs = status.signals.iter().find(|found| found.signal == Signal::Logs).expect("every signal");
    assert_eq!((logs.received, logs.last_received_ns, status.own_records), (0, 0, 3));
}

#[tokio::test]
async fn an_attempt_to_tell_somebody_is_recorded_once() {
    let (server, journal) = Server::in_memory().await;
    let told = Notification {
        release: ReleaseId {
            service: "checkout".into(),
            namespace: "".into(),
            environment: "production".into(),
            version: "2".into(),
        },
        at_ns: AT as i64 * 1_000_000_000,
        id: "0f".to_owned(),
        receiver: "chat".to_owned(),
        kind: "slack".to_owned(),
        about: "NO-GO: checkout 2 in production".to_owned(),
        sequence: Some(3),
        attempt: 2,
        result: "failed".to_owned(),
        status: Some(503),
        answer: "try later".to_owned(),
        took_ms: 12,
    };
    for _ in 0..2 {
        server.ingest.record_notification(&told).await.expect("durable");
    }
    let line = format!(
        "/checkout/2/production {AT} receiver=chat attempt=2 result=failed took_ms=12 kind=slack about=NO-GO: checkout 2 in production \
         answer=try later sequence=3 status=503"
    );
    assert_eq!(said(&journal).await, [line.clone(), line]);
    let hashes: Vec<_> = stored(&journal).await.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes[0].is_some() && hashes[0] == hashes[1]);
    server.ingest.record_notification(&Notification { attempt: 3, ..told }).await.expect("durable");
    assert_ne!(stored(&journal).await[2].header.request_hash, hashes[0]);
}
