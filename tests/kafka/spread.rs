//! SQL over two query processes: the program's own processes, segments in a real bucket. What a statement means over several
//! nodes is tested in `query/tests/all/spread.rs`; here it is that the processes find each other, and do without each other.

use serde_json::{Value, json};

use crate::cluster::Site;
use crate::harness::{Shipwake, eventually, free_ports};

const STATEMENT: &str = "select version, count(*) as n, count(distinct body) as bodies, max(body) as last from logs \
                         where service = 'checkout' group by version order by version";
const ROUNDS: i64 = 4;
const LINES: i64 = 50;

/// Sends lines of two versions, and waits until a query process shows them.
async fn send(ingest: &Shipwake, asked: &Shipwake, round: i64) {
    for version in ["1.0", "2.0"] {
        // Each instance is a partition's: there are segments of several.
        for instance in 0..8 {
            let lines: Vec<String> = (0..LINES).map(|line| format!("order {round}-{instance}-{line} paid")).collect();
            let url = format!(
                "{}/v1/lines?service=checkout&version={version}&environment=production&instance=i-{instance}",
                ingest.http()
            );
            let answer = reqwest::Client::new().post(url).body(lines.join("\n")).send().await.expect("it listens");
            assert!(answer.status().is_success(), "{}", answer.status());
        }
    }
    let expected = (round + 1) * LINES * 16;
    asked.wait_number("select count(*) from logs where service = 'checkout'", expected).await;
}

/// Rows and the number of nodes that computed them.
async fn ask(process: &Shipwake) -> (Value, u64, Value) {
    let (status, answer) = process.sql_answer(STATEMENT).await;
    assert_eq!(status, 200, "{answer}\n{}", process.log());
    let meta = &answer["meta"];
    (answer["rows"].clone(), meta["nodes"].as_u64().unwrap_or(1), meta["warnings"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_query_processes_compute_a_statement_together_and_one_alone_when_the_other_is_gone() {
    let site = Site::start();
    let (ingest, aggregate) = (site.ready("ingest").await, site.ready("aggregate").await);
    let (first, second) = (free_ports(), free_ports());
    let peers = format!("http://127.0.0.1:{},http://127.0.0.1:{}", first[2], second[2]);
    let token = site.file("token", "a-secret-of-the-site\n");
    let options = ["--peers", &peers, "--sql-spread-bytes", "0", "--cluster-token-file", &token];
    let (first, second) = (site.process_with("query", first, &options), site.process_with("query", second, &options));
    first.wait_ready().await;
    second.wait_ready().await;
    for round in 0..ROUNDS {
        send(&ingest, &first, round).await;
    }
    let of_version = |version: &str| json!([version, ROUNDS * LINES * 8, ROUNDS * LINES * 8, "order 3-7-9 paid"]);
    let expected = json!([of_version("1.0"), of_version("2.0")]);
    for process in [&first, &second] {
        // There is nothing to share out until there are segments.
        eventually("the statement is computed by both", || async {
            let (rows, nodes, warnings) = ask(process).await;
            assert_eq!((&rows, &warnings), (&expected, &Value::Null));
            (nodes == 2).then_some(())
        })
        .await;
    }
    assert!(first.metric("shipwake_sql_spread_total", r#"outcome="spread""#).await > 0.0);

    second.kill();
    let (rows, ..) = ask(&first).await;
    assert_eq!(rows, expected, "{}", first.log());
    eventually("the first one computes alone", || async {
        let (rows, nodes, warnings) = ask(&first).await;
        assert_eq!(rows, expected);
        (nodes == 1 && warnings == Value::Null).then_some(())
    })
    .await;
    drop((ingest, aggregate));
}

/// Each process reads a part of the segments: one that is damaged fails in whichever has it, and the answer is made of the rest and
/// names it, whoever is asked and computes.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_left_out_and_named_whichever_process_reads_it() {
    let site = Site::start();
    let (ingest, aggregate) = (site.ready("ingest").await, site.ready("aggregate").await);
    let start = async || {
        let (first, second) = (free_ports(), free_ports());
        let peers = format!("http://127.0.0.1:{},http://127.0.0.1:{}", first[2], second[2]);
        let options = ["--peers", &peers, "--sql-spread-bytes", "0"];
        let both = [site.process_with("query", first, &options), site.process_with("query", second, &options)];
        for process in &both {
            process.wait_ready().await;
        }
        both
    };
    let before = start().await;
    for round in 0..ROUNDS {
        // Each round in segments of its own, of two shards at least: rounds that are committed together are too few to share out.
        let segments = site.segments("logs").len();
        send(&ingest, &before[0], round).await;
        let is_committed = || async { (site.segments("logs").len() >= segments + 2).then_some(()) };
        eventually("the rows of a round are in segments", is_committed).await;
    }
    let all = ROUNDS * LINES * 16;
    eventually("both compute", || async { (ask(&before[0]).await.1 == 2).then_some(()) }).await;
    drop(before);
    let damaged = site.damage_segments("logs");
    assert!(damaged.len() > 2, "{damaged:?}");

    // New ones, which have not read anything yet; at once, so that each meets damage of its own part.
    let after = start().await;
    let answers = [ask(&after[0]), ask(&after[1])];
    let [first, second] = answers;
    for (rows, _, warnings) in <[_; 2]>::from(tokio::join!(first, second)) {
        assert_complete_with(&rows, &warnings, all);
        let words = warnings.to_string();
        assert!(damaged.iter().any(|path| words.contains(path.as_str())), "{words} and not one of {damaged:?}");
    }
    for process in &after {
        let (rows, _, warnings) = ask(process).await;
        assert_complete_with(&rows, &warnings, all);
    }
    drop((ingest, aggregate));
}

/// The rows of an answer and those that it says are missing are all there were.
fn assert_complete_with(rows: &Value, warnings: &Value, all: i64) {
    let found: i64 = rows.as_array().expect("rows").iter().filter_map(|row| row[1].as_i64()).sum();
    let texts = warnings.as_array().map(Vec::as_slice).unwrap_or_default();
    let number = |text: &Value| text.as_str()?.split_once(" rows of ")?.0.parse::<i64>().ok();
    let missing: i64 = texts.iter().filter_map(number).sum();
    assert!(missing > 0 && found + missing == all, "{found} rows and {missing} missing of {all}: {warnings}");
}
