//! A dose from each SDK over each protocol, plain and compressed, cumulative and delta: everything arrives, once, by
//! version.

use futures::future::join_all;

use crate::client::{Language, Protocol, Way};
use crate::dose::{assert_arrived, assert_conservation};
use crate::harness;

/// Both protocols that all SDKs have, each compressed and not, each cumulative and delta; all pairs of two.
const WAYS: [Way; 4] = [
    Way { protocol: Protocol::Grpc, delta: false, gzip: false },
    Way { protocol: Protocol::Grpc, delta: true, gzip: true },
    Way { protocol: Protocol::HttpProtobuf, delta: false, gzip: true },
    Way { protocol: Protocol::HttpProtobuf, delta: true, gzip: false },
];

async fn check(language: Language, ways: &[Way]) {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = harness::start(folder.path()).await;
    join_all(ways.iter().map(|way| language.start(*way, &way.protocol.endpoint(&shipwake)).finish())).await;
    for way in ways {
        assert_arrived(&shipwake, language.name(), &way.to_string(), way.delta).await;
    }
    let releases = format!("select count(distinct version) from logs where service = '{}'", language.name());
    assert_eq!(shipwake.number(&releases).await, ways.len() as i64);
    assert_conservation(&shipwake, [0, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_python_sdk_sends_arrives_once_by_version() {
    check(Language::Python, &WAYS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_javascript_sdk_sends_arrives_once_by_version() {
    check(Language::JavaScript, &WAYS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_javascript_sdk_sends_in_json_arrives_once_by_version() {
    let json = |delta, gzip| Way { protocol: Protocol::HttpJson, delta, gzip };
    check(Language::JavaScript, &[json(false, false), json(true, true)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_java_sdk_sends_arrives_once_by_version() {
    check(Language::Java, &WAYS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_go_sdk_sends_arrives_once_by_version() {
    check(Language::Go, &WAYS).await;
}

/// Some SDKs default to gRPC and some to HTTP, and endpoints are copied between them.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_other_protocols_port_is_served_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = harness::start(folder.path()).await;
    let (grpc, http) = (Way::plain(Protocol::Grpc), Way::plain(Protocol::HttpProtobuf));
    Language::Go.start(grpc, &shipwake.http()).finish().await;
    Language::Go.start(http, &shipwake.grpc()).finish().await;
    assert_arrived(&shipwake, "go", &grpc.to_string(), false).await;
    assert_arrived(&shipwake, "go", &http.to_string(), false).await;
    assert_conservation(&shipwake, [0, 0, 0]).await;
}
