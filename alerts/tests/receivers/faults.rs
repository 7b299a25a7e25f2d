//! Receivers that fail. Nothing is lost, nothing is called more often than it asked for, and what happened is in the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shipwake_alerts::outbox::attempts::{Attempt, Result};
use shipwake_alerts::{FileLedger, NotifierConfig, Word};
use tokio::net::{TcpListener, TcpSocket};

use crate::server::{OK, Reply, Server, eventually};
use crate::{Running, change, config, fast, folder, no_go, one_hook};

/// The log of a notifier that told one change to a receiver that failed twice in one way and then took it.
async fn attempts_when_it_fails_with(reply: Reply) -> Vec<Arc<Attempt>> {
    let hook = Server::start(move |place, _| if place < 2 { reply.clone() } else { OK }).await;
    let (_dir, ledger) = folder();
    let running = Running::start(fast(one_hook(hook.url("/hook")), 20), ledger);
    running.submit([no_go("2", 1)]).await;
    running.is_done().await;
    let received = hook.received();
    assert_eq!(received.len(), 3);
    for request in &received {
        assert_eq!(request.header("webhook-id"), received[0].header("webhook-id"), "one id over all attempts");
        assert_eq!(request.json()["data"]["sequence"], 1);
    }
    let attempts: Vec<_> = running.handle.status().attempts.newest.iter().cloned().collect();
    assert_eq!(attempts.len(), 3);
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(attempts[2].result, Result::Delivered);
    let failures = running.metric(r#"shipwake_notifications_total{receiver="hook",result="failed"}"#)
        + running.metric(r#"shipwake_notifications_total{receiver="hook",result="busy"}"#);
    assert_eq!(failures, 2.0);
    running.stop().await;
    attempts
}

#[tokio::test]
async fn every_way_to_fail_is_tried_again_and_logged() {
    let check = async |reply: Reply, status: Option<u16>, words: &str| {
        let attempts = attempts_when_it_fails_with(reply.clone()).await;
        let first = &attempts[0];
        assert_eq!(first.status, status, "{reply:?}: {first:?}");
        assert!(first.answer.contains(words), "{reply:?}: {first:?} lacks {words}");
    };
    check(Reply::Answer(500, "", "database is down"), Some(500), "database is down").await;
    check(Reply::Answer(404, "", "no such hook"), Some(404), "no such hook").await;
    check(Reply::Answer(503, "retry-after: 2\r\n", ""), Some(503), "").await;
    check(Reply::Answer(429, "retry-after: 2\r\n", "slow down"), Some(429), "slow down").await;
    check(Reply::Answer(429, "", "slow down"), Some(429), "slow down").await;
    check(Reply::Hang, None, "timed out").await;
    check(Reply::Reset, None, "").await;
    check(Reply::Close, None, "").await;
    check(Reply::Garbage, None, "").await;
    check(Reply::Endless(502), Some(502), "xxxx").await;
    check(Reply::Drip(500), Some(500), "x").await;
}

#[tokio::test]
async fn a_status_that_says_yes_counts_whatever_comes_behind_it() {
    for reply in [Reply::Endless(200), Reply::Drip(202)] {
        let hook = Server::start(move |_, _| reply.clone()).await;
        let (_dir, ledger) = folder();
        let running = Running::start(fast(one_hook(hook.url("/")), 20), ledger);
        running.submit([no_go("2", 1)]).await;
        running.is_done().await;
        running.stop().await;
        assert_eq!(hook.received().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Server::start(|_, _| OK).await;
    let location: &'static str = Box::leak(format!("location: {}\r\n", elsewhere.url("/")).into_boxed_str());
    let hook = Server::start(move |place, _| match place {
        0 => Reply::Answer(302, location, ""),
        1 => Reply::Answer(308, location, ""),
        _ => OK,
    })
    .await;
    let (_dir, ledger) = folder();
    let running = Running::start(fast(one_hook(hook.url("/")), 20), ledger);
    running.submit([no_go("2", 1)]).await;
    running.is_done().await;
    running.stop().await;
    assert_eq!((hook.received().len(), elsewhere.received().len()), (3, 0));
}

#[tokio::test]
async fn a_pause_of_thirty_seconds_is_kept_by_all_that_waits_for_the_receiver() {
    let hook =
        Server::start(|place, _| if place == 0 { Reply::Answer(429, "retry-after: 30\r\n", "") } else { OK }).await;
    let (_dir, ledger) = folder();
    let speed = 30;
    let running = Running::start(fast(one_hook(hook.url("/")), speed), ledger);
    running.submit([no_go("2", 1)]).await;
    hook.wait_for(1).await;
    running.submit([no_go("3", 1), no_go("4", 1)]).await;
    let received = hook.wait_for(4).await;
    let pause = received[1].at - received[0].at;
    assert!(pause >= Duration::from_millis(980), "30 seconds, thirty times as fast: {pause:?}");
    running.is_done().await;
    running.stop().await;
}

/// Ten minutes during which nothing listens, a hundred times as fast.
#[tokio::test]
async fn an_outage_of_ten_minutes_loses_nothing_and_pairs_become_one_message() {
    // The port is taken, and nothing listens on it.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("an address");
    let (_dir, ledger) = folder();
    let running = Running::start(fast(one_hook(format!("http://{address}/")), 100), ledger);
    let down_at = Instant::now();
    for submitted in 0..10u32 {
        let release = (submitted % 5).to_string();
        let (from, to) = if submitted < 5 { (Word::Wait, Word::NoGo) } else { (Word::NoGo, Word::Go) };
        running.submit([change(&release, u64::from(submitted) + 1, from, to)]).await;
        let minute = Duration::from_millis(600);
        eventually("a minute later", || down_at.elapsed() >= minute * (submitted + 1)).await;
    }
    let status = running.handle.status();
    assert!(status.receivers[0].failing_since_ms.is_some() && status.receivers[0].owed >= 5, "{status:?}");
    let hook = Server::on(socket.listen(16).expect("listens"), None, |_, _| OK);
    running.is_done().await;
    let mut told: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for request in hook.received() {
        let data = request.json()["data"].clone();
        let earlier = data["earlier"].as_array().into_iter().flatten().map(|change| &change["sequence"]);
        let sequences = earlier.chain([&data["sequence"]]).map(|number| number.as_u64().expect("a number"));
        told.entry(data["candidate"].as_str().expect("a version").to_owned()).or_default().extend(sequences);
    }
    let expected = (0..5u64).map(|release| (release.to_string(), vec![release + 1, release + 6])).collect();
    assert_eq!(told, expected);
    // A pair whose first half was just being tried is told as two.
    assert!(running.metric(r#"shipwake_notifications_total{receiver="hook",result="merged"}"#) >= 1.0);
    running.stop().await;
}

#[tokio::test]
async fn a_pager_that_fails_is_stood_in_for_and_is_told_when_it_is_back() {
    let pager =
        Server::start(|place, _| if place < 6 { Reply::Answer(500, "", "") } else { Reply::Answer(202, "", "") }).await;
    let chat = Server::start(|_, _| OK).await;
    let yaml = "receivers:
  - { name: pager, pagerduty: { routing_key: { env: ROUTING_KEY }, url: { env: PAGER } }, fallback: chat, fallback_after: 20s }
  - { name: chat, slack: { url: { env: CHAT } }, services: [none] }";
    let urls = [("PAGER", pager.url("/")), ("CHAT", chat.url("/"))];
    let (_dir, ledger) = folder();
    let running = Running::start(fast(config(yaml, &urls), 100), ledger);
    running.submit([no_go("2", 1)]).await;
    let message = chat.wait_for(1).await.remove(0).json().to_string();
    assert!(message.contains("Told here because receiver pager cannot be reached"), "{message}");
    pager.wait_for(7).await;
    running.is_done().await;
    assert_eq!(chat.received().len(), 1);
    let keys: Vec<_> = pager.received().iter().map(|event| event.json()["dedup_key"].clone()).collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    running.stop().await;
}

#[tokio::test]
async fn a_hook_that_is_gone_is_not_called_again_before_it_has_another_address() {
    let gone = Server::start(|_, _| Reply::Answer(410, "", "gone")).await;
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = FileLedger::open(dir.path()).expect("opens");
    let running = Running::start(fast(one_hook(gone.url("/")), 100), ledger);
    running.submit([no_go("2", 1)]).await;
    let is_gone = || running.handle.status().receivers.first().is_some_and(|receiver| receiver.is_gone);
    eventually("it is known to be gone", is_gone).await;
    running.submit([no_go("3", 1)]).await;
    running.stop().await;
    let ledger = FileLedger::open(dir.path()).expect("opens");
    let running = Running::start(fast(one_hook(gone.url("/")), 100), ledger);
    running.submit([no_go("4", 1)]).await;
    running.stop().await;
    assert_eq!(gone.received().len(), 1);
    let back = Server::start(|_, _| OK).await;
    let ledger = FileLedger::open(dir.path()).expect("opens");
    let running = Running::start(fast(one_hook(back.url("/")), 100), ledger);
    back.wait_for(3).await;
    running.is_done().await;
    running.stop().await;
}

fn tls() -> tokio_rustls::TlsAcceptor {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/receiver.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/receiver.key")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    tokio_rustls::TlsAcceptor::from(Arc::new(config.expect("a configuration")))
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_until_the_authority_is_known() {
    let hook = Server::with_tls(tls(), |_, _| OK).await;
    let plain = Server::start(|_, _| OK).await;
    let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/receivers/tls/ca.pem");
    let yaml = format!(
        "receivers:
  - {{ name: known, webhook: {{ url: {{ env: HOOK }}, secrets: [{{ env: KEY }}] }}, ca_file: {ca} }}
  - {{ name: unknown, webhook: {{ url: {{ env: HOOK }}, secrets: [{{ env: KEY }}] }} }}
  - {{ name: plain, webhook: {{ url: {{ env: PLAIN }}, secrets: [{{ env: KEY }}] }} }}"
    );
    let urls = [
        ("HOOK", format!("https://localhost:{}/", hook.address.port())),
        ("PLAIN", format!("https://{}/", plain.address)),
    ];
    let (_dir, ledger) = folder();
    let running = Running::start(fast(config(&yaml, &urls), 1), ledger);
    running.submit([no_go("2", 1)]).await;
    hook.wait_for(1).await;
    let tried = |name: &str| {
        let status = running.handle.status();
        let mut attempts = status.attempts.newest.iter();
        attempts.find(|attempt| &*attempt.receiver == name).map(|attempt| (attempt.result, attempt.answer.clone()))
    };
    eventually("all were tried", || ["known", "unknown", "plain"].iter().all(|name| tried(name).is_some())).await;
    assert_eq!(tried("known").map(|(result, _)| result), Some(Result::Delivered));
    let (result, answer) = tried("unknown").expect("tried");
    assert_eq!(result, Result::Failed);
    assert!(answer.contains("certificate"), "{answer}");
    assert_eq!(tried("plain").map(|(result, _)| result), Some(Result::Failed));
    assert!(plain.received().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn secrets_come_into_neither_log_nor_state_nor_status() {
    let chat = Server::start(|_, _| Reply::Echo(404)).await;
    let pager = Server::start(|_, _| Reply::Answer(400, "", "bad routing_key R0canary8901234567890123456789012")).await;
    let yaml = "receivers:
  - { name: chat, slack: { url: { env: CHAT } } }
  - { name: pager, pagerduty: { routing_key: { env: ROUTING_KEY }, url: { env: PAGER } } }
  - { name: away, slack: { url: { env: AWAY } } }";
    let urls = [
        ("CHAT", chat.url("/services/T0canary01/B0canary01/canarycanary")),
        ("PAGER", pager.url("/")),
        ("AWAY", "http://127.0.0.1:1/services/T0canary01/B0canary01/canarycanary".to_owned()),
    ];
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = FileLedger::open(dir.path()).expect("opens");
    let running = Running::start(fast(config(yaml, &urls), 1), ledger);
    running.submit([no_go("2", 1)]).await;
    eventually("all were tried", || running.handle.status().attempts.newest.len() >= 3).await;
    let shown = format!("{:?}", running.handle.status());
    assert!(shown.contains("nothing at ") && shown.contains("bad routing_key"), "{shown}");
    running.stop().await;
    for entry in std::fs::read_dir(dir.path()).expect("lists") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("reads");
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
    }
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn what_is_under_way_when_it_stops_is_finished_and_not_repeated() {
    let (seen, go_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", socket.local_addr().expect("an address"));
    let (of_seen, of_go_on) = (seen.clone(), go_on.clone());
    let slow = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = socket.accept().await.expect("a connection");
        let mut bytes = vec![0; 65_536];
        let _ = stream.read(&mut bytes).await;
        of_seen.notify_one();
        eventually("told to go on", || of_go_on.load(std::sync::atomic::Ordering::Relaxed)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("written");
        socket
    });
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = FileLedger::open(dir.path()).expect("opens");
    let running = Running::start(NotifierConfig::new(one_hook(url.clone())), ledger);
    running.submit([no_go("2", 1)]).await;
    seen.notified().await;
    running.stop.cancel();
    go_on.store(true, std::sync::atomic::Ordering::Relaxed);
    running.task.await.expect("no panic").expect("no error");
    let socket = slow.await.expect("no panic");
    let hook = Server::on(socket, None, |_, _| OK);
    let ledger = FileLedger::open(dir.path()).expect("opens");
    let running = Running::start(NotifierConfig::new(one_hook(url)), ledger);
    running.submit([no_go("3", 1)]).await;
    let received = hook.wait_for(1).await;
    running.is_done().await;
    running.stop().await;
    assert_eq!((received.len(), &received[0].json()["data"]["candidate"]), (1, &"3".into()));
}
