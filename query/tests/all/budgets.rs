//! Every query has a budget of time, memory, rows and bytes, and says which one it hit.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use shipwake_query::QueryConfig;

use crate::support::World;

fn small() -> QueryConfig {
    QueryConfig {
        memory_bytes_per_query: 8 << 20,
        memory_bytes: 12 << 20,
        timeout: Duration::from_millis(400),
        running_max: 2,
        waiting_max: 3,
        ..QueryConfig::default()
    }
}

#[tokio::test]
async fn a_query_that_never_ends_is_cancelled_and_says_so() {
    let world = World::with(small());
    for query in [
        "select count(*) from generate_series(1, 1000000000000)",
        "with recursive t as (select 1 as n union all select n + 1 from t) select max(n) from t",
        "select count(*) from generate_series(1, 1000) a, generate_series(1, 1000000000000) b where a.value + b.value = 1",
    ] {
        let started = Instant::now();
        let (status, answer) = world.sql(query).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{query}: {answer}");
        assert_eq!(answer["type"], "urn:shipwake:problem:time-budget", "{query}: {answer}");
        assert!(
            answer["detail"].as_str().is_some_and(|text| text.contains("400 ms") && text.contains("timeout_ms")),
            "{answer}"
        );
        assert!(started.elapsed() < Duration::from_secs(30), "{query} took {:?}", started.elapsed());
    }
    assert_eq!(world.rows("select 1 as n").await, json!([[1]]), "the threads are free again");
}

#[tokio::test]
async fn a_query_may_be_given_less_or_more_time() {
    let world = World::with(small());
    let body = json!({"query": "select count(*) from generate_series(1, 1000000000000)", "timeout_ms": 50});
    let (status, _, body) = world.post_sql(body, "application/json").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8_lossy(&body).contains("50 ms"));
}

#[tokio::test]
async fn a_query_stops_at_its_memory_budget() {
    let world = World::with(QueryConfig { timeout: Duration::from_secs(60), ..small() });
    for query in [
        "select value * 7919 % 20000003 as k, count(*) from generate_series(1, 20000000) group by 1",
        "select value from generate_series(1, 20000000) order by value * 7919 % 20000003 limit 10 offset 10000000",
        "select count(distinct value * 7919 % 20000003) from generate_series(1, 20000000)",
    ] {
        let (status, answer) = world.sql(query).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{query}: {}", answer["meta"]);
        assert_eq!(answer["type"], "urn:shipwake:problem:memory-budget", "{query}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|text| text.contains("8 MiB")), "{answer}");
    }
    assert_eq!(world.rows("select count(*) as n from generate_series(1, 1000)").await, json!([[1000]]));
}

#[tokio::test]
async fn rows_and_bytes_of_an_answer_are_bounded() {
    let world = World::with(QueryConfig { result_bytes_max: 100_000, ..QueryConfig::default() });
    let ask =
        |query: &'static str, limit: usize| world.post_sql(json!({"query": query, "limit": limit}), "application/json");
    let read = |body: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&body).expect("JSON");

    let (_, headers, body) = ask("select value from generate_series(1, 100)", 10).await;
    let answer = read(body);
    assert_eq!((answer["rows"].as_array().map(Vec::len), &answer["meta"]["truncated"]), (Some(10), &json!(true)));
    assert_eq!(headers["x-shipwake-truncated"], "true");

    let answer = read(ask("select value from generate_series(1, 10)", 10).await.2);
    assert_eq!((&answer["meta"]["rows"], &answer["meta"]["truncated"]), (&json!(10), &json!(false)));

    let answer = read(ask("select value from generate_series(1, 1000000)", 1_000_000).await.2);
    let rows = answer["meta"]["rows"].as_u64().expect("a number");
    assert!((5_000..=13_000).contains(&rows), "eight bytes a row, 100 kB: {rows}");
    assert_eq!(answer["meta"]["truncated"], json!(true));
}

#[tokio::test]
async fn a_storm_of_queries_is_answered_or_told_to_come_back() {
    let world = World::with(small());
    let heavy = "select count(*) from generate_series(1, 1000000000000)";
    let asked = (0..200).map(|_| world.post_sql(json!({"query": heavy, "timeout_ms": 300}), "application/json"));
    let answers = futures::future::join_all(asked).await;
    let mut busy = 0;
    for (status, headers, body) in answers {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("a problem document");
        if problem["type"] == "urn:shipwake:problem:busy" {
            busy += 1;
            let seconds: u32 = headers["retry-after"].to_str().expect("text").parse().expect("seconds");
            assert!((1..=10).contains(&seconds));
        }
    }
    assert!(busy >= 190, "two run, three wait, the rest comes back later: {busy}");
    let until = Instant::now() + Duration::from_secs(5);
    while world.sql("select 1").await.0 != StatusCode::OK {
        assert!(Instant::now() < until, "places are given back");
    }
}

#[tokio::test]
async fn an_asker_that_leaves_cancels_its_query() {
    let world =
        World::with(QueryConfig { running_max: 1, waiting_max: 0, timeout: Duration::from_secs(60), ..small() });
    let heavy = world.sql("select count(*) from generate_series(1, 1000000000000)");
    assert!(tokio::time::timeout(Duration::from_millis(200), heavy).await.is_err(), "still running when we leave");
    let until = Instant::now() + Duration::from_secs(5);
    while world.sql("select 1").await.0 != StatusCode::OK {
        assert!(Instant::now() < until, "the only place is free again");
        tokio::task::yield_now().await;
    }
}

/// A line of `/proc/self/status`, in bytes: `VmRSS` is the memory in use, `VmHWM` the most there was since it was reset.
fn memory_bytes(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let found = status.lines().find(|text| text.starts_with(line)).expect("the line is there");
    found.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") * 1024
}

/// Queries whose windows would take gigabytes: lists, texts and sets that grow with the rows, and rows that are held.
const WINDOW_STORM: [&str; 12] = [
    "select count(*) from (select array_agg(value) over () as a from generate_series(1, 40000)) where a is not null",
    "select max(array_length(a)) from (select array_agg(value) over (order by value) as a from generate_series(1, 40000))",
    "select max(array_length(a)) from (select array_agg(distinct value) over (order by value) as a from generate_series(1, 40000))",
    "select max(length(t)) from (select string_agg(cast(value as text), ',') over () as t from generate_series(1, 40000))",
    "select max(length(t)) from (select string_agg(cast(value as text), ',') over (order by value) as t from generate_series(1, 40000))",
    "select max(array_length(a)) from (select array_agg(value) over (partition by value % 4) as a from generate_series(1, 40000))",
    "select max(array_length(a)) from (select array_agg(value) over (order by value rows between current row and unbounded following) as a from generate_series(1, 40000))",
    "select max(length(t)) from (select first_value(b) over (order by value) as t from (select value, case when value = 1 then (select string_agg(cast(value as text), ',') from generate_series(1, 20000)) end as b from generate_series(1, 40000)))",
    "select max(n) from (select count(*) over () as n from generate_series(1, 50000000))",
    "select max(n) from (select sum(value) over (order by value rows between unbounded preceding and unbounded following) as n from generate_series(1, 50000000))",
    "select max(n) from (select count(distinct value) over (order by value) as n from generate_series(1, 20000000))",
    "select count(a) from (select median(value) over () as a from generate_series(1, 50000000))",
];

#[tokio::test]
async fn windows_that_would_take_gigabytes_stop_at_the_memory_budget() {
    let budget = 32 << 20;
    let world = World::with(QueryConfig {
        memory_bytes_per_query: budget,
        memory_bytes: 2 * budget,
        timeout: Duration::from_secs(120),
        running_max: 2,
        waiting_max: 1_000,
        ..QueryConfig::default()
    });
    std::fs::write("/proc/self/clear_refs", "5").expect("the kernel forgets the peak so far");
    let before = memory_bytes("VmRSS");
    for query in WINDOW_STORM {
        let (status, answer) = world.sql(query).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{query}: {answer}");
        assert_eq!(answer["type"], "urn:shipwake:problem:memory-budget", "{query}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|text| text.contains("GROUP BY")), "{answer}");
    }
    let grown = memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 8 * budget, "the process grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn a_window_that_computes_for_hours_gives_its_place_back() {
    let world = World::with(QueryConfig {
        running_max: 1,
        waiting_max: 0,
        memory_bytes_per_query: 256 << 20,
        memory_bytes: 256 << 20,
        ..small()
    });
    let (status, answer) = world
        .sql("select max(m) from (select median(value) over (order by value) as m from generate_series(1, 500000))")
        .await;
    assert_eq!(
        (status, &answer["type"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("urn:shipwake:problem:time-budget"))
    );
    let until = Instant::now() + Duration::from_secs(5);
    while world.sql("select 1").await.0 != StatusCode::OK {
        assert!(Instant::now() < until, "the only place is free again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn windows_that_are_small_or_pass_their_rows_on_are_answered() {
    let world = World::with(QueryConfig {
        memory_bytes_per_query: 32 << 20,
        timeout: Duration::from_secs(120),
        ..QueryConfig::default()
    });
    for (query, expected) in [
        (
            "select max(n) from (select row_number() over () as n from generate_series(1, 5000000))",
            json!([[5_000_000]]),
        ),
        (
            "select max(n) from (select sum(value) over (order by value rows between 10 preceding and current row) as n from generate_series(1, 500000))",
            json!([[5_499_945]]),
        ),
        (
            "select max(array_length(a)) from (select array_agg(value) over (partition by value % 10) as a from generate_series(1, 1000))",
            json!([[100]]),
        ),
        (
            "select max(t) from (select string_agg(cast(value as text), ',') over (order by value) as t from generate_series(1, 3))",
            json!([["1,2,3"]]),
        ),
        (
            "select max(n) from (select lag(value) over (order by value) as n from generate_series(1, 100000))",
            json!([[99_999]]),
        ),
        (
            "select max(n) from (select first_value(value) over (order by value desc) as n from generate_series(1, 100000))",
            json!([[100_000]]),
        ),
    ] {
        assert_eq!(world.rows(query).await, expected, "{query}");
    }
    let (status, answer) =
        world.sql("select array_agg(value) filter (where value < 3) over () from generate_series(1, 3)").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["detail"].as_str().is_some_and(|text| text.contains("GROUP BY in a subquery")), "{answer}");
}
