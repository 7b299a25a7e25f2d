//! The manifests of a shard are gone from the bucket that several processes share: nobody takes it for a shard that begins. It waits, is
//! named, and goes on by itself when they are back.

use serde_json::Value;

use crate::cluster::{PARTITIONS, RATE, Site, shards, wait_folding, wait_shards};
use crate::harness::eventually;
use crate::load::Load;
use crate::otlp::{logs, post, resource};

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_manifests_waits_for_them_is_named_and_loses_nothing() {
    let site = Site::start();
    let (ingest, aggregate) = (site.ready("ingest").await, site.ready("aggregate").await);
    wait_shards(&[&aggregate], PARTITIONS).await;
    let load = Load::start_at(&ingest.grpc(), &site.oracle(), RATE);
    wait_folding(&[&aggregate]).await;
    eventually("some commits", || async {
        (aggregate.metric("shipwake_commit_seconds_count", "").await > 3.0 * f64::from(PARTITIONS)).then_some(())
    })
    .await;
    aggregate.kill();
    let (manifests, away) = (site.objects("manifest/0"), site.objects("").with_file_name("away"));
    std::fs::rename(&manifests, &away).expect("moved");

    // Others go on with the other shards; this one is named by whoever should fold it, and in answers.
    let (aggregate, query) = (site.process("aggregate"), site.process("query"));
    wait_shards(&[&aggregate], PARTITIONS - 1).await;
    for process in [&aggregate, &query] {
        eventually("it says which manifests are gone", || async {
            let answer = reqwest::get(format!("{}/readyz", process.ui())).await.ok()?;
            let text = answer.text().await.ok()?;
            (text.contains("manifest/0") && text.contains("no manifest")).then_some(())
        })
        .await;
    }
    let (status, answer) = query.sql_answer("select count(*) from logs").await;
    assert_eq!(status, 200, "{answer}");
    let missing = answer["meta"]["incomplete"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names_it = |one: &Value| one["shard"] == 0 && one.to_string().contains("manifest/0");
    assert!(missing.iter().any(names_it), "{answer}");
    // Senders are answered all the while.
    post(&ingest.http(), "logs", &logs(resource("probe", "1", "i"), &["while it waits"])).await;
    assert!(!manifests.exists(), "nobody begins it anew");

    std::fs::rename(&away, &manifests).expect("moved back");
    wait_shards(&[&aggregate], PARTITIONS).await;
    assert_eq!(shards(&aggregate).await, PARTITIONS);
    query.wait_number("select count(*) from logs where service = 'probe'", 1).await;
    load.stop();
    site.judge(vec![aggregate], &site.oracle()).await;
    drop((ingest, query));
}
