//! Processes that only answer: what they say is what was sent, wherever it is, and while a process that has some of it is away they
//! say so.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::Kafka;
use crate::bucket::{Bucket, CREDENTIALS};
use crate::harness::{Shipwake, Start, eventually, free_ports, spawn_with};
use crate::load::{Load, judge};
use crate::otlp::{logs, post, resource};

const PARTITIONS: &str = "4";
const RATE: &str = "1000/s";
/// Rarely: what is asked for is in the owners' memory.
const COMMIT_SECONDS: &str = "15";

struct Site {
    kafka: Kafka,
    bucket: Bucket,
    folder: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        Site { kafka: Kafka::one(), bucket: Bucket::start(), folder: tempfile::tempdir().expect("a folder") }
    }

    fn process(&self, roles: &str, besides: &[&str]) -> Shipwake {
        let ports = free_ports();
        let data = self.folder.path().join(ports[2].to_string());
        let journal = format!("kafka://{}/journal?create=true", self.kafka.bootstrap());
        let store = format!("s3://bucket/shop?endpoint=http://127.0.0.1:{}", self.bucket.port);
        let mut options = vec!["--roles", roles, "--journal", &journal, "--store", &store];
        options.extend(["--partitions", PARTITIONS, "--commit-seconds", COMMIT_SECONDS]);
        options.extend(besides);
        spawn_with(&Start { data: &data, options: &options, ports: Some(ports) }, &CREDENTIALS)
    }
}

async fn readyz(process: &Shipwake) -> (u16, Value) {
    let Ok(answer) = reqwest::get(format!("{}/readyz", process.ui())).await else { return (0, Value::Null) };
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// Waits until a process answers for all shards with nothing missing.
async fn wait_whole(query: &Shipwake) {
    eventually("the query process is whole", || async {
        let (status, said) = readyz(query).await;
        let (_, answer) = query.sql_answer("select count(*) from logs").await;
        let positions = answer["meta"]["positions"].as_object().map_or(0, serde_json::Map::len);
        let is_whole = said["degraded"].is_null() && answer["meta"]["incomplete"].is_null();
        (status == 200 && is_whole && positions.to_string() == PARTITIONS).then_some(())
    })
    .await;
}

/// The statement's answer, and whether it says that something is missing.
async fn count(query: &Shipwake, statement: &str) -> (i64, bool) {
    let (status, answer) = query.sql_answer(statement).await;
    assert_eq!(status, 200, "{answer}\n{}", query.log());
    let is_incomplete = answer["meta"]["incomplete"].as_array().is_some_and(|missing| !missing.is_empty());
    (answer["rows"][0][0].as_i64().unwrap_or(0), is_incomplete)
}

/// By whoever has it.
async fn what_is_acknowledged_is_shown_at_once(ingest: &Shipwake, query: &Shipwake) {
    let mut waits = Vec::new();
    for round in 0..12 {
        let service = format!("fresh-{round}");
        let request = logs(resource(&service, "1.0.0", &format!("i-{round}")), &["one line", "another line"]);
        post(&ingest.http(), "logs", &request).await;
        let since = Instant::now();
        query.wait_number(&format!("select count(*) from logs where service = '{service}'"), 2).await;
        waits.push(since.elapsed());
    }
    waits.sort();
    println!("acknowledged to visible at the query process: {waits:?}");
    assert!(waits[waits.len() / 2] < Duration::from_secs(5), "{waits:?}");
    let pipeline = query.api("/api/v1/pipeline").await;
    assert_eq!(pipeline["problems"], serde_json::json!([]), "{pipeline}");
    eventually("the pipeline page shows what ingest has received", || async {
        (query.api("/api/v1/pipeline").await["received"]["logs"] == 24).then_some(())
    })
    .await;
    let overview = query.api("/api/v1/overview").await;
    let services = overview["services"].as_array().expect("services");
    assert_eq!(services.len(), 12, "{overview}");
    assert_eq!(overview["meta"]["partial"], false);
}

/// In every kind of answer, while what is stored is still shown.
async fn what_is_missing_is_said(query: &Shipwake) {
    let (status, said) = readyz(query).await;
    assert_eq!(status, 200, "stored files still answer: {said}");
    assert!(said["degraded"].to_string().contains("does not answer"), "{said}");
    let overview = query.api("/api/v1/overview").await;
    assert_eq!(overview["meta"]["partial"], true, "{overview}");
    assert!(overview["meta"]["incomplete"][0]["reason"].is_string(), "{overview}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_process_answers_what_was_sent_and_says_what_is_missing_while_an_owner_is_away() {
    let site = Site::start();
    let query = site.process("query", &[]);
    eventually("it says that there is no store yet", || async {
        let (status, said) = readyz(&query).await;
        (status == 503 && said.to_string().contains("no store")).then_some(())
    })
    .await;
    drop(query);

    let ingest = site.process("ingest", &[]);
    let (one, two) = (site.process("aggregate", &[]), site.process("aggregate", &[]));
    for process in [&ingest, &one, &two] {
        process.wait_ready().await;
    }
    let query = site.process("query", &["--peers", &ingest.ui()]);
    query.wait_ready().await;
    wait_whole(&query).await;

    what_is_acknowledged_is_shown_at_once(&ingest, &query).await;

    let oracle = site.folder.path().join("oracle");
    let load = Load::start_at(&ingest.grpc(), &oracle, RATE);
    eventually("records are folded", || async {
        (query.number("select count(*) from logs").await > 3000).then_some(())
    })
    .await;
    let (before, is_incomplete) = count(&query, "select count(*) from logs").await;
    assert!(!is_incomplete);

    two.kill();
    let killed = Instant::now();
    eventually("it is said that shards are missing", || async {
        count(&query, "select count(*) from logs").await.1.then_some(())
    })
    .await;
    println!("said to be incomplete {:?} after the kill", killed.elapsed());
    what_is_missing_is_said(&query).await;

    wait_whole(&query).await;
    println!("whole again {:?} after the kill", killed.elapsed());
    let (after, _) = count(&query, "select count(*) from logs").await;
    assert!(after >= before, "{after} lines, {before} before the kill");
    load.stop();
    wait_whole(&query).await;
    judge(&query, &oracle);
    // The numbers of the first part, too: they were in the memory of both.
    assert_eq!(query.number("select count(*) from logs where service like 'fresh-%'").await, 24);
    drop((ingest, one));
}
