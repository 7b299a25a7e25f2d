//! The forms of questions and answers over HTTP.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::support::rows::{Log, Requests, release};
use crate::support::{T0, World};

fn world() -> World {
    let world = World::new();
    for (n, body) in ["=1+1", "plain"].into_iter().enumerate() {
        world.shard.log(&Log {
            release: release("checkout", "1"),
            time_ns: T0 * 1_000_000 + n as i64,
            severity: 9,
            body: body.to_owned(),
            attributes: vec![("k".to_owned(), "v".to_owned())],
        });
    }
    world
}

#[tokio::test]
async fn an_answer_in_json_has_schema_rows_and_meta() {
    let world = world();
    let (status, answer) = world.sql("select time, body, attributes, severity_number from logs order by time").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer["schema"],
        json!([
            {"name": "time", "type": "timestamp"}, {"name": "body", "type": "text"},
            {"name": "attributes", "type": "map"}, {"name": "severity_number", "type": "integer"}
        ])
    );
    assert_eq!(answer["rows"][1], json!(["2026-11-23T14:00:00.000000001Z", "plain", {"k": "v"}, 9]));
    let meta = &answer["meta"];
    assert_eq!((&meta["rows"], &meta["truncated"]), (&json!(2), &json!(false)));
    assert!(meta["scanned_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{meta}");
    assert!(meta["elapsed_ms"].is_u64() && meta["as_of"].as_i64() == Some(T0 + 15 * 60_000), "{meta}");
}

#[tokio::test]
async fn segments_are_counted_and_pruned_by_time() {
    let world = world();
    world.shard.commit();
    let scanned = |answer: Value| answer["meta"]["scanned_bytes"].as_u64().expect("a number");
    let all = scanned(world.sql("select body from logs").await.1);
    assert!(all > 0);
    let none = world.sql("select body from logs where time > '2026-11-24T00:00:00Z'").await.1;
    assert_eq!((scanned(none.clone()), &none["rows"]), (0, &json!([])));
    let (_, plan) =
        world.sql("explain select body from logs where service = 'checkout' and time > '2026-11-23T00:00:00Z'").await;
    let text = plan["rows"].to_string();
    assert!(
        text.contains("DataSourceExec") && text.contains("predicate=service"),
        "filters go into the source: {text}"
    );
}

#[tokio::test]
async fn filters_on_the_key_of_a_window_reach_the_segments() {
    let world = world();
    world.shard.requests(&Requests::new(&release("checkout", "1"), T0, 5));
    world.shard.commit();
    for table in ["windows", "release_health"] {
        let question = format!("explain select * from {table} where service = 'checkout' and resolution_s = 10");
        let (_, plan) = world.sql(&question).await;
        let text = plan["rows"].to_string();
        let source = text.rsplit("DataSourceExec").next().expect("a source");
        assert!(source.contains("service@") && source.contains("checkout"), "{table}: {text}");
    }
}

#[tokio::test]
async fn csv_guards_formulas_and_arrow_is_readable() {
    let world = world();
    let body = json!({"query": "select body, severity_number as n from logs order by time"});
    let (status, headers, csv) = world.post_sql(body.clone(), "text/csv").await;
    assert_eq!(
        (status, &headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &"text/csv; charset=utf-8; header=present".parse().expect("a header"))
    );
    assert_eq!(String::from_utf8_lossy(&csv), "body,n\r\n'=1+1,9\r\nplain,9\r\n");

    let (_, headers, stream) = world.post_sql(body, "application/vnd.apache.arrow.stream").await;
    assert_eq!(headers[header::CONTENT_TYPE], "application/vnd.apache.arrow.stream");
    let batches: Vec<_> = arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None)
        .expect("a stream")
        .collect::<Result<_, _>>()
        .expect("batches");
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    // An answer without rows is still a valid stream.
    let (_, _, empty) = world
        .post_sql(json!({"query": "select body from logs where false"}), "application/vnd.apache.arrow.stream")
        .await;
    assert!(arrow::ipc::reader::StreamReader::try_new(empty.as_slice(), None).is_ok());
}

#[tokio::test]
async fn a_mistake_in_a_query_is_a_problem_document_with_its_place() {
    let world = world();
    let (status, headers, body) = world.post_sql(json!({"query": "select\n  nonsense from logs"}), "*/*").await;
    let problem: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (status, &headers[header::CONTENT_TYPE]),
        (StatusCode::BAD_REQUEST, &"application/problem+json".parse().expect("a header"))
    );
    assert_eq!(problem["position"], json!({"line": 2, "column": 3, "offset": 9}), "{problem}");
    for member in ["type", "title", "status", "detail"] {
        assert!(!problem[member].is_null(), "{member}: {problem}");
    }
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("nonsense")), "{problem}");
}

#[tokio::test]
async fn a_body_that_is_no_question_says_what_is_expected() {
    let world = world();
    let post = |content_type: &'static str, body: &'static str| {
        Request::post("/api/v1/sql")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .expect("a request")
    };
    for (content_type, body) in [
        ("application/json", "select 1"),
        ("application/json", "{}"),
        ("application/json", "{\"query\":\"select 1\",\"limt\":5}"),
        ("text/plain", "{\"query\":\"select 1\"}"),
        ("application/x-www-form-urlencoded", "query=select 1"),
    ] {
        let (status, _, answer) = world.ask(post(content_type, body)).await;
        let problem: Value = serde_json::from_slice(&answer).expect("a problem document");
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains("JSON") || detail.contains("query")),
            "{problem}"
        );
    }
    let (status, _, _) = world.ask(post("application/json; charset=utf-8", "{\"query\":\"select 1\"}")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn tables_are_documented() {
    let world = world();
    let (status, answer) = world.get("/api/v1/tables").await;
    assert_eq!(status, StatusCode::OK);
    let names: Vec<&str> =
        answer["tables"].as_array().expect("tables").iter().filter_map(|table| table["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "events",
            "logs",
            "markers",
            "notifications",
            "patterns",
            "points",
            "release_health",
            "releases",
            "spans",
            "toggles",
            "verdicts",
            "windows"
        ]
    );
    for table in answer["tables"].as_array().expect("tables") {
        for column in table["columns"].as_array().expect("columns") {
            assert!(column["comment"].as_str().is_some_and(|comment| comment.len() > 5), "{table}");
        }
        // What is documented is what is answered.
        let name = table["name"].as_str().expect("a name");
        let (_, asked) = world.sql(&format!("select * from {name} limit 0")).await;
        let columns = |list: &Value| {
            list.as_array().expect("columns").iter().map(|c| (c["name"].clone(), c["type"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(columns(&asked["schema"]), columns(&table["columns"]), "{name}");
    }
}
