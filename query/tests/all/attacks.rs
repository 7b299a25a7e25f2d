//! Queries that try to reach files, the network or settings, or to bring the process down.

use axum::http::StatusCode;

use crate::support::T0;
use crate::support::World;
use crate::support::rows::{Log, release};

fn world_with_a_log() -> World {
    let world = World::new();
    world.shard.log(&Log {
        release: release("checkout", "1"),
        time_ns: T0 * 1_000_000,
        severity: 9,
        body: "hello".to_owned(),
        attributes: Vec::new(),
    });
    world
}

#[tokio::test]
async fn no_statement_reaches_files_or_addresses_or_settings() {
    let world = world_with_a_log();
    let secret = world.dir.path().join("secret.csv");
    std::fs::write(&secret, "word\nxyzzy\n").expect("a file");
    let secret = secret.display();
    let attacks = [
        "select * from read_parquet('/etc/passwd')".to_owned(),
        "select * from read_csv('/etc/passwd')".to_owned(),
        format!("select * from read_csv('{secret}')"),
        format!("select * from '{secret}'"),
        format!("select * from \"{secret}\""),
        format!("select * from 'file://{secret}'"),
        "select * from 'http://169.254.169.254/latest/meta-data'".to_owned(),
        "select * from \"s3://bucket/key.parquet\"".to_owned(),
        format!("create external table t stored as csv location '{secret}'"),
        format!(
            "create external table t stored as csv location 'file://{secret}' options ('format.has_header' 'true')"
        ),
        "copy logs to '/tmp/shipwake-stolen.csv'".to_owned(),
        "copy (select * from logs) to '/tmp/shipwake-stolen.parquet' stored as parquet".to_owned(),
        "explain analyze copy logs to '/tmp/shipwake-stolen.csv'".to_owned(),
        "insert into logs select * from logs".to_owned(),
        "insert into releases values ('a')".to_owned(),
        "with t as (insert into logs select * from logs returning *) select * from t".to_owned(),
        "select * into stolen from logs".to_owned(),
        "create table stolen as select * from logs".to_owned(),
        "create view stolen as select * from logs".to_owned(),
        "create or replace table logs as select 1".to_owned(),
        "create function f() returns int return 1".to_owned(),
        "create schema s".to_owned(),
        "create database d".to_owned(),
        "drop table logs".to_owned(),
        "alter table logs rename to l".to_owned(),
        "truncate table logs".to_owned(),
        "update logs set body = ''".to_owned(),
        "delete from logs".to_owned(),
        "merge into logs using logs l2 on false when matched then delete".to_owned(),
        "set datafusion.execution.target_partitions = 64".to_owned(),
        "reset datafusion.execution.target_partitions".to_owned(),
        "prepare p as select 1".to_owned(),
        "execute p".to_owned(),
        "begin".to_owned(),
        "commit".to_owned(),
        "load data inpath '/etc/passwd' into table logs".to_owned(),
        "select pg_read_file('/etc/passwd')".to_owned(),
        "select load_file('/etc/passwd')".to_owned(),
        "select repeat('x', 2000000000)".to_owned(),
        "select lpad('x', 2000000000, 'y')".to_owned(),
        "select array_repeat(1, 2000000000)".to_owned(),
        "select range(1, 2000000000)".to_owned(),
    ];
    for attack in attacks {
        let (status, answer) = world.sql(&attack).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{attack}: {answer}");
        let text = answer.to_string();
        assert!(!text.contains("root:") && !text.contains("xyzzy"), "{attack}: {text}");
        assert!(answer["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{attack}: {text}");
    }
    assert!(!std::path::Path::new("/tmp/shipwake-stolen.csv").exists());
    assert!(!std::path::Path::new("/tmp/shipwake-stolen.parquet").exists());
    assert_eq!(world.rows("select body from logs").await, serde_json::json!([["hello"]]), "nothing has changed");
}

#[tokio::test]
async fn texts_that_would_exhaust_the_stack_are_refused_or_answered() {
    let world = world_with_a_log();
    let deep = [
        format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("select {}1", "- ".repeat(10_000)),
        format!("select {}true", "not ".repeat(10_000)),
        format!("select {}", vec!["1"; 30_000].join("+")),
        format!("select 1 from logs where {}", vec!["body = 'a'"; 4_000].join(" or ")),
        format!("select {}1{}", "case when true then ".repeat(2_000), " end".repeat(2_000)),
        vec!["select 1"; 5_000].join(" union all "),
        format!("{} select 1 {}", "select * from (".repeat(500), ")".repeat(500)),
        format!("select {}", "[".repeat(20_000)),
    ];
    for text in deep {
        let (status, answer) = world.sql(&text).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{}…: {answer}", &text[..60]);
    }
    // As much as is let in is planned and answered.
    let wide = format!("select count(*) as n from logs where {}", vec!["body = 'hello'"; 600].join(" or "));
    assert_eq!(world.rows(&wide).await, serde_json::json!([[1]]));
    let chain = format!("select {} as n", vec!["1"; 990].join("+"));
    assert_eq!(world.rows(&chain).await, serde_json::json!([[990]]));
    let list = format!(
        "select count(*) as n from logs where severity_number in ({})",
        (0..5_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    );
    assert_eq!(world.rows(&list).await, serde_json::json!([[1]]));
}

#[tokio::test]
async fn a_query_of_ten_megabytes_is_refused() {
    let world = world_with_a_log();
    let (status, answer) = world.sql(&format!("select '{}'", "x".repeat(100_000))).await;
    assert_eq!((status, answer["type"].as_str()), (StatusCode::BAD_REQUEST, Some("urn:shipwake:problem:too-complex")));
    let (status, _) = world.sql(&format!("select '{}'", "x".repeat(10_000_000))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn patterns_that_are_too_large_are_an_error_and_not_a_wait() {
    let world = world_with_a_log();
    for pattern in ["(((((a{100}){100}){100}){100}){100})", "(a*)*b", "[", "(?P<x"] {
        let (status, answer) =
            world.sql(&format!("select count(*) from logs where regexp_like(body, '{pattern}')")).await;
        assert!(status == StatusCode::BAD_REQUEST || status == StatusCode::OK, "{pattern}: {answer}");
    }
}
