//! A process that does nothing but judge and tell, on a site of several: a bad canary's webhook arrives, every node's tables say so, and
//! `kill -9` of that process repeats one message at the most.

use std::collections::BTreeSet;

use crate::canary::{Receiver, S, SECRET, is_known, many, send_live, send_past};
use crate::cluster::Site;
use crate::harness::{Shipwake, eventually, free_ports};
use crate::otlp::now_ns;

const SERVICE: &str = "checkout";

/// Starts the process that judges; a second start on the same ports has the same data folder.
async fn judge(site: &Site, ports: [u16; 3], receiver: &Receiver) -> Shipwake {
    let secret = site.file("secret", SECRET);
    let receivers = format!(
        "receivers:\n  - name: tests\n    webhook: {{ url: '{}', secrets: [{{ file: '{secret}' }}] }}\n    verdicts: [go, no_go, watch, wait]\n",
        receiver.url
    );
    let alerts = site.file("alerts.yaml", &receivers);
    let judge = site.process_with("alerts", ports, &["--alerts", &alerts]);
    judge.wait_ready().await;
    judge
}

/// Sends until a version is called bad.
async fn until_no_go(node: &Shipwake, receiver: &Receiver, bad: &str, sent_ns: u64) -> u64 {
    send_live(node, SERVICE, &[("1.0", 50, 0), (bad, 50, 40)], sent_ns, || {
        receiver
            .heard()
            .iter()
            .any(|heard| heard.body["data"]["candidate"] == bad && heard.body["data"]["verdict"] == "no_go")
    })
    .await
}

/// Waits until a node's tables have what was told of a version.
async fn tables_have(node: &Shipwake, version: &str) {
    let about = format!("service = '{SERVICE}' and version = '{version}'");
    let told = || async {
        let no_go =
            format!("select count(*) from verdicts where {about} and verdict = 'no_go' and previous <> 'no_go'");
        let delivered =
            format!("select count(*) from notifications where {about} and result = 'delivered' and kind = 'webhook'");
        (node.number(&no_go).await >= 1 && node.number(&delivered).await >= 1).then_some(())
    };
    eventually("the tables of every node have what was said and told", told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_only_judges_tells_and_records_and_may_be_killed() {
    let site = Site::start();
    let (one, other) = (site.ready("ingest,aggregate,query").await, site.ready("ingest,aggregate,query").await);
    let (receiver, ports) = (Receiver::start(), free_ports());
    let judging = judge(&site, ports, &receiver).await;
    let start_ns = now_ns();
    let from_ns = start_ns - 1_800 * S;
    send_past(&one, SERVICE, "1.0", from_ns, start_ns, 10, 0).await;
    is_known(&other, SERVICE, "1.0", many(from_ns, start_ns, 10)).await;

    let sent_ns = until_no_go(&one, &receiver, "1.1", start_ns).await;
    for node in [&one, &other] {
        tables_have(node, "1.1").await;
    }
    judging.kill();
    let judging = judge(&site, ports, &receiver).await;
    // The other node's senders are as good.
    let _ = until_no_go(&other, &receiver, "1.2", sent_ns).await;
    for node in [&one, &other] {
        tables_have(node, "1.2").await;
    }
    let heard = receiver.heard();
    let ids: BTreeSet<&str> = heard.iter().map(|heard| heard.id.as_str()).collect();
    assert!(heard.len() - ids.len() <= 1, "one kill, one message again at the most: {} of {}", ids.len(), heard.len());
    let again = heard.iter().filter(|heard| {
        let data = &heard.body["data"];
        data["candidate"] == "1.1" && data["verdict"] == "no_go" && data["from"] != "no_go"
    });
    assert!(again.count() <= 2, "what was told before the kill is not told anew: {} messages", heard.len());

    // Another with a folder of its own judges by itself, as the documents say: its receivers hear it as well.
    let second = Receiver::start();
    let another = judge(&site, free_ports(), &second).await;
    let board = || async {
        let answer = another.api(&format!("/api/v1/verdicts?service={SERVICE}")).await;
        answer["verdicts"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    };
    eventually("it judges as well", board).await;
    assert!(
        judging.metric("shipwake_open_releases", "").await > 0.0,
        "and takes nothing from the first\n{}",
        judging.log()
    );
}
