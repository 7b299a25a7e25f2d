//! What receivers get when all goes well, judged by other people's code where there is some.

use std::time::{Duration, Instant};

use shipwake_alerts::Word;
use standardwebhooks::Webhook;

use crate::server::{OK, Received, Reply, Server};
use crate::{KEY, OLD_KEY, Running, change, config, fast, folder, no_go, one_hook};

fn verify(key: &str, request: &Received) -> bool {
    let headers = request.headers.iter().map(|(name, value)| {
        (name.parse::<reqwest::header::HeaderName>().expect("a name"), value.parse().expect("a value"))
    });
    let headers = headers.collect();
    Webhook::new(key).expect("a key").verify(&request.body, &headers).is_ok()
}

#[tokio::test]
async fn each_receiver_gets_a_change_in_its_own_form() {
    let hook = Server::start(|_, _| Reply::Answer(204, "", "")).await;
    let chat = Server::start(|_, _| OK).await;
    let pager = Server::start(|_, _| Reply::Answer(202, "", r#"{"status":"success"}"#)).await;
    let yaml = "
url: https://shipwake.example.com/
receivers:
  - { name: hook, webhook: { url: { env: HOOK }, secrets: [{ env: KEY }, { env: OLD_KEY }] } }
  - { name: chat, slack: { url: { env: CHAT } } }
  - { name: pager, pagerduty: { routing_key: { env: ROUTING_KEY }, url: { env: PAGER } } }
  - { name: changes, pagerduty_changes: { routing_key: { env: ROUTING_KEY }, url: { env: CHANGES } } }
";
    let urls = [
        ("HOOK", hook.url("/hook?token=canary")),
        ("CHAT", chat.url("/services/T0/B0/canary")),
        ("PAGER", pager.url("/v2/enqueue")),
        ("CHANGES", pager.url("/v2/change/enqueue")),
    ];
    let (_dir, ledger) = folder();
    let running = Running::start(fast(config(yaml, &urls), 1), ledger);
    let submitted = Instant::now();
    running.submit([no_go("2.14.0", 1)]).await;
    let request = hook.wait_for(1).await.remove(0);
    assert!(submitted.elapsed() < Duration::from_secs(20), "told after {:?}", submitted.elapsed());
    assert!(verify(KEY, &request) && verify(OLD_KEY, &request), "signed for either key");
    assert!(!verify("whsec_BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", &request));
    assert_eq!((&*request.path, request.header("content-type")), ("/hook?token=canary", "application/json"));
    assert!(request.header("user-agent").starts_with("shipwake/"));
    let document = request.json();
    assert_eq!((&document["type"], &document["data"]["verdict"]), (&"verdict.changed".into(), &"no_go".into()));
    assert_eq!(document["data"]["links"][0]["url"], "https://shipwake.example.com/s/checkout");
    let message = chat.wait_for(1).await.remove(0).json();
    assert_eq!(message["text"], "NO-GO: checkout 2.14.0 in production. Change 1 of 2.14.0.");
    let events = pager.wait_for(2).await;
    let by_path =
        |path: &str| events.iter().find(|event| event.path == path).unwrap_or_else(|| panic!("{path}")).json();
    assert_eq!(by_path("/v2/enqueue")["event_action"], "trigger");
    assert_eq!(by_path("/v2/change/enqueue")["payload"]["custom_details"]["verdict"], "no_go");
    running.is_done().await;
    running.handle.test("chat").await.expect("committed");
    assert!(chat.wait_for(2).await[1].json()["text"].as_str().expect("a text").contains("a test"));
    assert!(running.handle.test("nobody").await.is_err());
    running.is_done().await;
    assert_eq!(running.metric(r#"shipwake_notifications_total{receiver="hook",result="delivered"}"#), 1.0);
    assert_eq!(running.metric(r#"shipwake_notifications_owed{receiver="hook"}"#), 0.0);
    running.stop().await;
}

#[tokio::test]
async fn changes_of_a_release_come_in_order_and_slack_gets_one_a_second() {
    let chat = Server::start(|_, _| OK).await;
    let yaml = "receivers: [{ name: chat, slack: { url: { env: CHAT } }, verdicts: [go, no_go, watch, wait] }]";
    let (_dir, ledger) = folder();
    let speed = 2;
    let running = Running::start(fast(config(yaml, &[("CHAT", chat.url("/x"))]), speed), ledger);
    let changes = (1..=5).map(|sequence| change("2", sequence, Word::Watch, Word::Wait));
    running.submit(changes).await;
    let received = chat.wait_for(5).await;
    for (place, request) in received.iter().enumerate() {
        let text = request.json()["text"].as_str().expect("a text").to_owned();
        assert!(text.ends_with(&format!("Change {} of 2.", place + 1)), "{text}");
    }
    // Four pauses; one less, because a machine with much to do may have been late with the first of the five.
    let (span, second) = (received[4].at - received[0].at, Duration::from_secs(1) / speed);
    assert!(span >= second * 3, "five messages within {span:?}");
    running.stop().await;
}

#[tokio::test]
async fn state_and_changes_are_committed_together_and_nothing_is_told_twice_after_a_restart() {
    let hook = Server::start(|_, _| OK).await;
    let dir = tempfile::tempdir().expect("a folder");
    for round in 1..=3u64 {
        let ledger = shipwake_alerts::FileLedger::open(dir.path()).expect("opens");
        let mut registry = prometheus_client::registry::Registry::default();
        let notifier = shipwake_alerts::Notifier::open(fast(one_hook(hook.url("/")), 1), ledger, &mut registry);
        let notifier = notifier.expect("opens");
        let expected = (round - 1).to_le_bytes();
        let known: &[u8] = if round == 1 { &[] } else { &expected };
        assert_eq!(&*notifier.caller_state(), known);
        let (handle, stop) = (notifier.handle(), tokio_util::sync::CancellationToken::new());
        let task = tokio::spawn(notifier.run(stop.clone()));
        let state = Some(round.to_le_bytes().to_vec());
        handle.submit(vec![no_go(&round.to_string(), 1)], state).await.expect("committed");
        hook.wait_for(round as usize).await;
        stop.cancel();
        task.await.expect("no panic").expect("no error");
        assert!(handle.submit(Vec::new(), None).await.is_err(), "it has ended");
    }
    let mut ids: Vec<String> = hook.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    ids.dedup();
    assert_eq!((hook.received().len(), ids.len()), (3, 3));
}
