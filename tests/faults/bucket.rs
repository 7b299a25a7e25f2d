//! The program with its store in a bucket of a real S3 server: answers get lost, requests come late or not at all, the server is too
//! busy, and the program is killed besides. (F15 of `docs/faults.md`)

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::chance::{chances, rounds};
use crate::gateway::{CREDENTIALS, Gateway};
use crate::harness::{Start, eventually, free_ports, spawn_with};
use crate::load::{Load, accounted, judge, terminate};
use crate::proxy::Fault;

const FAULTS: [Fault; 5] = [Fault::LoseAnswer, Fault::LoseRequest, Fault::Late, Fault::SlowDown, Fault::Conflict];
const OBJECTS: [&str; 4] = ["data/logs/", "data/windows/", "state/", "manifest/"];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_requests_to_the_bucket_each_record_counts_once() {
    let mut random = chances("bucket");
    let gateway = Gateway::start(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let url = gateway.url();
    let start = Start { data: &data, options: &["--store", &url, "--commit-seconds", "1"], ports: Some(ports) };
    let mut shipwake = spawn_with(&start, &CREDENTIALS);
    shipwake.wait_ready().await;
    let load = Load::start(ports, &oracle, "grpc", "1000/s");
    for round in 0..rounds(5, 100) {
        let (object, fault) = (*OBJECTS.choose(&mut random).expect("some"), *FAULTS.choose(&mut random).expect("some"));
        println!("{round}: {fault:?} of {object}");
        let before = gateway.proxy.happened();
        gateway.proxy.plan(object, fault);
        eventually("the fault happens", || std::future::ready((gateway.proxy.happened() > before).then_some(()))).await;
        if random.random_bool(0.3) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
            shipwake.kill();
            shipwake = spawn_with(&start, &CREDENTIALS);
        }
        // What was late comes when it suits nobody.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
        gateway.proxy.deliver(gateway.port);
        shipwake.wait_ready().await;
    }
    load.stop().await;
    judge(&shipwake, &oracle).await;
    let (status, _) = terminate(shipwake).await;
    assert!(status.success(), "{status}");
    let again = spawn_with(&start, &CREDENTIALS);
    again.wait_ready().await;
    judge(&again, &oracle).await;
    let (status, _) = terminate(again).await;
    assert!(status.success(), "{status}");

    let doctor = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
        let out = command.args(["doctor", "--store", &url, "--data"]).arg(&data).envs(CREDENTIALS).output();
        let out = out.expect("it runs");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = doctor();
    assert_eq!(code, Some(0), "{said}");
    let segments = gateway.dir.path().join("bucket/shop/store/data/logs");
    std::fs::remove_dir_all(&segments).expect("objects are files there");
    let (code, said) = doctor();
    let is_named = said.contains("error: s3://bucket/shop/store/data/logs/") && said.contains("it is missing");
    assert!(code == Some(1) && is_named, "{code:?} {said}");

    // It starts all the same, and every answer says what it lacks.
    let again = spawn_with(&start, &CREDENTIALS);
    again.wait_ready().await;
    let (status, answer) = again.sql_answer("select count(*) from logs").await;
    assert!(status == 200 && answer["rows"][0][0] == 0, "{answer}");
    assert!(answer["meta"]["warnings"].to_string().contains("rows of logs from"), "{answer}");
}

/// The last commit of a process that was killed comes to be when the next process is at work already: that one has lost its place,
/// takes up what was committed and folds the rest once more, and counts none of it twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_to_be_after_its_writer_is_killed_is_taken_up_and_every_record_accounted_for() {
    let gateway = Gateway::start(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let url = gateway.url();
    let start = Start { data: &data, options: &["--store", &url, "--commit-seconds", "3"], ports: Some(ports) };
    let mut shipwake = spawn_with(&start, &CREDENTIALS);
    shipwake.wait_ready().await;
    let load = Load::start(ports, &oracle, "grpc", "1000/s");
    for tries in 1.. {
        assert!(tries < 20, "the store's client has always been faster than the kill");
        load.wait_acknowledged(10).await;
        let before = gateway.proxy.happened();
        gateway.proxy.plan("manifest/", Fault::Late);
        eventually("a manifest is late", || std::future::ready((gateway.proxy.happened() > before).then_some(())))
            .await;
        shipwake.kill();
        shipwake = spawn_with(&start, &CREDENTIALS);
        shipwake.wait_ready().await;
        load.wait_acknowledged(10).await;
        gateway.proxy.deliver(gateway.port);
        let commits = shipwake.metric("shipwake_commit_seconds_count", "").await;
        eventually("commits of both shards", || async {
            (shipwake.metric("shipwake_commit_seconds_count", "").await >= commits + 3.0).then_some(())
        })
        .await;
        if shipwake.log().contains("another writer has committed") {
            break;
        }
    }
    // And one that the server refuses although nobody else is there.
    let commits = shipwake.metric("shipwake_commit_seconds_count", "").await;
    gateway.proxy.plan("manifest/", Fault::Conflict);
    eventually("commits go on", || async {
        (shipwake.metric("shipwake_commit_seconds_count", "").await >= commits + 3.0).then_some(())
    })
    .await;
    load.stop().await;
    accounted(&shipwake).await;
    judge(&shipwake, &oracle).await;
}
