//! GitHub as it is seen from here: signed webhooks come in, and a fake of its API on loopback checks what it is told.

use std::net::SocketAddr;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Path;
use axum::http::Request;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use tower::ServiceExt;

use super::super::boards::{Release, board_of};
use super::*;
use crate::FileLedger;
use crate::board::{Publisher, board};
use crate::clock::Clock;
use crate::secret::Source;
use shipwake_verdict::Word;

const SECRET: &str = "it is a secret to everybody";

/// What the fake was told: (deployment, token, body).
type Told = Arc<StdMutex<Vec<(String, String, Value)>>>;

/// GitHub's API: takes verdicts on deployments, the first `failing` times not, and gives tokens for apps.
async fn github(failing: usize) -> (SocketAddr, Told) {
    let told: Told = Arc::default();
    let (of_rule, of_app, left) = (told.clone(), told.clone(), Arc::new(StdMutex::new(failing)));
    let rule = move |Path(id): Path<String>, headers: HeaderMap, body: Bytes| async move {
        let mut left = left.lock().expect("not poisoned");
        if *left > 0 {
            *left -= 1;
            return StatusCode::BAD_GATEWAY;
        }
        let token = headers["authorization"].to_str().expect("text").to_owned();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(["approved", "rejected"].contains(&body["state"].as_str().expect("a word")));
        assert!(body["environment_name"].is_string());
        of_rule.lock().expect("not poisoned").push((id, token, body));
        StatusCode::NO_CONTENT
    };
    let app = move |Path(installation): Path<String>, headers: HeaderMap| async move {
        let claim = headers["authorization"].to_str().expect("text").to_owned();
        of_app.lock().expect("not poisoned").push((format!("app {installation}"), claim, Value::Null));
        (StatusCode::CREATED, r#"{"token":"ghs_of_the_app","expires_at":"2026-11-23T11:00:00Z"}"#)
    };
    let router = Router::new()
        .route("/repos/acme/checkout/actions/runs/{id}/deployment_protection_rule", post(rule))
        .route("/app/installations/{id}/access_tokens", post(app));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(socket, router).await });
    (address, told)
}

fn config(address: SocketAddr, access: Access) -> GithubConfig {
    GithubConfig {
        secrets: vec![Secret::new("the new one".to_owned()), Secret::new(SECRET.to_owned())],
        access,
        api: format!("http://{address}"),
        give_up_ms: 3_600_000,
        deployments: vec![Deployment { repository: "acme/*".to_owned(), ..Deployment::default() }],
    }
}

fn payload(address: SocketAddr, id: &str, version: &str) -> String {
    json!({
        "action": "requested",
        "environment": "production",
        "event": "push",
        "deployment_callback_url": format!("http://{address}/repos/acme/checkout/actions/runs/{id}/deployment_protection_rule"),
        "deployment": {"ref": format!("refs/tags/v{version}"), "sha": "0123456789abcdef0123456789abcdef01234567", "environment": "production", "payload": {}},
        "repository": {"name": "checkout", "full_name": "acme/checkout"},
        "installation": {"id": 77},
    })
    .to_string()
}

/// A delivery of GitHub, signed as GitHub signs.
fn delivery(body: &str, secret: &str) -> Request<Body> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let hex: String = hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = Request::post("/v1/hooks/github/protection")
        .header("x-github-event", "deployment_protection_rule")
        .header("x-hub-signature-256", format!("sha256={hex}"));
    request.body(Body::from(body.to_owned())).expect("a request")
}

async fn send(protection: &Protection, request: Request<Body>) -> (u16, String) {
    let response = protection.router().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
    (status, String::from_utf8(bytes.to_vec()).expect("text"))
}

fn open(dir: &std::path::Path, config: GithubConfig, shown: crate::board::Board) -> (Protection, Publisher) {
    let (publisher, reader) = board();
    publisher.publish(shown);
    let gates = Gates::new(reader, None, Clock::default(), CancellationToken::new());
    let ledger = FileLedger::open(dir).expect("a folder");
    (Protection::open(gates, config, Box::new(ledger)).expect("opens"), publisher)
}

fn token(dir: &std::path::Path) -> Access {
    let path = dir.join("token");
    std::fs::write(&path, "ghs_token\n").expect("written");
    Access::Token(Source::File(path))
}

async fn until(told: &Told, count: usize) -> Vec<(String, String, Value)> {
    let waiting = async {
        loop {
            let found = told.lock().expect("not poisoned").clone();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it is told")
}

#[tokio::test]
async fn a_deployment_waits_for_its_verdict_over_a_restart_and_is_told_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, told) = github(0).await;
    let (ledger, access) = (dir.path().join("github"), token(dir.path()));
    let (protection, _publisher) =
        open(&ledger, config(address, access.clone()), board_of(vec![Release::new("checkout", "2.14.0")]));
    let body = payload(address, "1", "2.14.0");
    let (status, said) = send(&protection, delivery(&body, SECRET)).await;
    assert_eq!(status, 202, "{said}");
    assert_eq!(send(&protection, delivery(&body, SECRET)).await.0, 202, "the same again is one");
    drop(protection);
    // The process was killed; the next one finds the verdict.
    let shown = board_of(vec![Release::new("checkout", "2.14.0").word(Word::NoGo)]);
    let (protection, publisher) = open(&ledger, config(address, access), shown);
    let stop = CancellationToken::new();
    let running = tokio::spawn(protection.clone().run(stop.clone()));
    let found = until(&told, 1).await;
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("1", "Bearer ghs_token"));
    assert_eq!((&found[0].2["state"], &found[0].2["environment_name"]), (&json!("rejected"), &json!("production")));
    assert!(found[0].2["comment"].as_str().is_some_and(|text| text.starts_with("Roll back: errors")));
    // Another one, of a good release: told on the spot, and the first not again.
    let mut next = board_of(vec![Release::new("checkout", "2.15.0").word(Word::Go)]);
    next.revision = 2;
    publisher.publish(next);
    assert_eq!(send(&protection, delivery(&payload(address, "2", "2.15.0"), "the new one")).await.0, 202);
    let found = until(&told, 2).await;
    assert_eq!((found.len(), &found[1].2["state"]), (2, &json!("approved")));
    let settled = async {
        while !protection.0.book.lock().await.book.pending.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("what is told is struck out");
    stop.cancel();
    running.await.expect("ends");
    assert_eq!(told.lock().expect("not poisoned").len(), 2);
}

#[tokio::test]
async fn what_is_not_signed_or_leads_elsewhere_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, told) = github(0).await;
    let shown = board_of(vec![Release::new("checkout", "2.14.0").word(Word::Go)]);
    let (protection, _publisher) = open(&dir.path().join("github"), config(address, token(dir.path())), shown);
    let body = payload(address, "1", "2.14.0");
    assert_eq!(send(&protection, delivery(&body, "a guess")).await.0, 403);
    let mut unsigned = delivery(&body, SECRET);
    unsigned.headers_mut().remove("x-hub-signature-256");
    assert_eq!(send(&protection, unsigned).await.0, 403);
    for (from, to, status) in [
        (format!("http://{address}/repos"), format!("http://{address}.evil.example/repos"), 400),
        (format!("http://{address}/repos"), "http://169.254.169.254/repos".to_owned(), 400),
        ("acme/checkout\"".to_owned(), "other/checkout\"".to_owned(), 404),
        ("\"full_name\"".to_owned(), "\"name2\"".to_owned(), 400),
    ] {
        let (found, said) = send(&protection, delivery(&body.replace(&from, &to), SECRET)).await;
        assert_eq!(found, status, "{to}: {said}");
    }
    assert_eq!(send(&protection, delivery("not JSON", SECRET)).await.0, 400);
    let mut ping = delivery("{}", SECRET);
    ping.headers_mut().insert("x-github-event", "ping".parse().expect("a value"));
    assert_eq!(send(&protection, ping).await.0, 200);
    assert!(protection.0.book.lock().await.book.pending.is_empty() && told.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn an_app_gets_its_token_by_its_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, told) = github(0).await;
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gates/app.pem");
    let access = Access::App { id: "4711".to_owned(), key: Source::File(key.into()) };
    let shown = board_of(vec![Release::new("checkout", "2.14.0").word(Word::Go)]);
    let (protection, _publisher) = open(&dir.path().join("github"), config(address, access), shown);
    for id in ["1", "2"] {
        assert_eq!(send(&protection, delivery(&payload(address, id, "2.14.0"), SECRET)).await.0, 202);
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(protection.run(stop.clone()));
    let found = until(&told, 3).await;
    let [app, rest @ ..] = &found[..] else { panic!("told nothing") };
    assert_eq!(app.0, "app 77");
    assert!(rest.iter().all(|(_, token, _)| token == "Bearer ghs_of_the_app"), "one token for both: {rest:?}");
    // The claim is one that the public key of the app fits.
    let claim = app.1.strip_prefix("Bearer ").expect("a claim");
    let (signed, signature) = claim.rsplit_once('.').expect("three parts");
    let decode = |text: &str| base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text).expect("base64");
    let pem = std::fs::read_to_string(key).expect("the key");
    let pair = token::private_key(&pem).expect("a key");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
    assert!(public.verify(signed.as_bytes(), &decode(signature)).is_ok());
    let said: Value = serde_json::from_slice(&decode(signed.split('.').nth(1).expect("claims"))).expect("JSON");
    assert_eq!(said["iss"], "4711");
    let lives_s = said["exp"].as_i64().expect("a time") - said["iat"].as_i64().expect("a time");
    assert!(lives_s <= 600, "GitHub takes ten minutes at the most");
    stop.cancel();
    running.await.expect("ends");
}

#[test]
fn a_decision_is_the_verdict_and_no_decision_in_time_is_a_no() {
    let asked = |version: &str| {
        let payload: Value =
            serde_json::from_str(&payload("127.0.0.1:1".parse().expect("an address"), "1", version)).expect("JSON");
        let config = config("127.0.0.1:1".parse().expect("an address"), Access::Token(Source::Env("X".to_owned())));
        Asked::read(&payload, &config, 1_000).expect("read")
    };
    let shown = board_of(vec![
        Release::new("checkout", "3").word(Word::Watch),
        Release::new("checkout", "2").word(Word::Go),
        Release::new("checkout", "1").word(Word::NoGo),
    ]);
    let now_ms = shown.as_of_ms;
    let decide = |version: &str, now_ms: i64, give_up_ms: i64| decide(&asked(version), &shown, now_ms, give_up_ms);
    assert!(decide("2", now_ms, i64::MAX).expect("decided").is_approved);
    assert!(!decide("1", now_ms, i64::MAX).expect("decided").is_approved);
    assert_eq!(decide("3", now_ms, i64::MAX), None);
    assert_eq!(decide("4", now_ms, i64::MAX), None, "not the newest there is");
    let late = decide("3", now_ms, 3_600_000).expect("given up");
    assert!(!late.is_approved && late.comment.starts_with("Not decided within 60 min. Watch: "), "{}", late.comment);
}

#[tokio::test]
async fn an_attempt_that_fails_is_put_off_and_one_that_is_refused_is_not_made_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, told) = github(1).await;
    let shown = board_of(vec![Release::new("checkout", "2.14.0").word(Word::Go)]);
    let (protection, _publisher) = open(&dir.path().join("github"), config(address, token(dir.path())), shown);
    let shared = protection.0.clone();
    assert_eq!(send(&protection, delivery(&payload(address, "1", "2.14.0"), SECRET)).await.0, 202);
    let elsewhere = payload(address, "1", "2.14.0").replace("acme/checkout/actions", "acme/gone/actions");
    assert_eq!(send(&protection, delivery(&elsewhere, SECRET)).await.0, 202);
    let due = shared.due().await;
    assert_eq!(due.len(), 2);
    for (asked, decision) in &due {
        shared.answer(asked, decision).await;
    }
    let pending = shared.book.lock().await.book.pending.clone();
    assert_eq!((pending.len(), pending[0].attempts), (1, 1), "404 is final, 502 is not");
    assert!(shared.due().await.is_empty(), "not before its time");
    shared.answer(&due[0].0, &due[0].1).await;
    assert_eq!(told.lock().expect("not poisoned").len(), 1);
    assert!(shared.book.lock().await.book.pending.is_empty());
}
