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
