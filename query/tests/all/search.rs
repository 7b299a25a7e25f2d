//! Finding log lines over HTTP and live: the same before a commit and after it, page by page, with what it cost.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use shipwake_query::QueryConfig;

use crate::support::rows::{Log, release, release_in};
use crate::support::{T0, World};

fn log(world: &World, second: i64, version: &str, severity: i32, body: &str, attributes: &[(&str, &str)]) {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let time_ns = (T0 + second * 1_000) * 1_000_000;
    world.shard.log(&Log {
        release: release("checkout", version),
        time_ns,
        severity,
        body: body.to_owned(),
        attributes,
    });
}

/// Twelve lines: eight are committed, four are in memory.
fn world() -> World {
    let world = World::new();
    for second in 0..8 {
        let (version, severity) = if second % 4 == 3 { ("2", 17) } else { ("1", 9) };
        log(
            &world,
            second,
            version,
            severity,
            &format!("order-{second} placed by u-{second}"),
            &[("order.id", &second.to_string())],
        );
    }
    world.shard.commit();
    log(&world, 8, "2", 17, "Card DECLINED for order-8", &[("order.id", "8"), ("duration_ms", "812.5")]);
    log(&world, 9, "1", 13, "slow answer", &[("duration_ms", "90")]);
    // Of one time: they stay in the order in which they came.
    log(&world, 10, "1", 9, "first of two", &[]);
    log(&world, 10, "1", 9, "second of two", &[]);
    world.set_now(T0 + 60_000);
    world
}

async fn post(world: &World, what: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::post(format!("/api/v1/logs/{what}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a valid request");
    let (status, _, body) = world.ask(request).await;
    (status, serde_json::from_slice(&body).expect("JSON"))
}

async fn found(world: &World, search: &str) -> Vec<String> {
    let (status, answer) = post(world, "search", json!({"q": search})).await;
    assert_eq!(status, StatusCode::OK, "{search}: {answer}");
    assert_eq!(answer["meta"]["partial"], false);
    bodies(&answer["lines"])
}

fn bodies(lines: &Value) -> Vec<String> {
    let lines = lines.as_array().expect("lines");
    lines.iter().map(|line| line["body"].as_str().expect("a body").to_owned()).collect()
}

/// What each search finds, newest first; the same when everything is in segments.
#[tokio::test]
async fn lines_are_found_in_memory_and_in_segments_alike() {
    let world = world();
    for committed in [false, true] {
        if committed {
            world.shard.commit();
        }
        let check =
            async |search: &str, expected: &[&str]| assert_eq!(found(&world, search).await, expected, "{search}");
        check("declined", &["Card DECLINED for order-8"]).await;
        check("\"card declined\"", &["Card DECLINED for order-8"]).await;
        check("\"declined card\"", &[]).await;
        check("order-3", &["order-3 placed by u-3"]).await;
        check("order-3 OR order-5", &["order-5 placed by u-5", "order-3 placed by u-3"]).await;
        check("decl*", &["Card DECLINED for order-8"]).await;
        check("level:error", &["Card DECLINED for order-8", "order-7 placed by u-7", "order-3 placed by u-3"]).await;
        check("level:>=warn -order", &["slow answer"]).await;
        check("version:2 -order.id:8", &["order-7 placed by u-7", "order-3 placed by u-3"]).await;
        check("order.id:3", &["order-3 placed by u-3"]).await;
        check("order.id:[2 TO 3]", &["order-3 placed by u-3", "order-2 placed by u-2"]).await;
        check("duration_ms:>100", &["Card DECLINED for order-8"]).await;
        check("duration_ms:*", &["slow answer", "Card DECLINED for order-8"]).await;
        check("service.name:checkout order-0", &["order-0 placed by u-0"]).await;
        check("resource.service.name:other", &[]).await;
        check("service:nobody", &[]).await;
        check("-service:checkout", &[]).await;
        check("of two", &["second of two", "first of two"]).await;
        assert_eq!(found(&world, "").await.len(), 12);
    }
}

#[tokio::test]
async fn times_may_be_numbers_and_a_page_that_is_too_large_is_said() {
    let world = world();
    let (status, answer) = post(&world, "search", json!({"from": T0, "to": T0 + 3_000})).await;
    assert_eq!((status, bodies(&answer["lines"]).len()), (StatusCode::OK, 3), "{answer}");
    let (status, answer) = post(&world, "search", json!({"from": [1]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("epoch milliseconds")), "{answer}");
    let (_, answer) = post(&world, "search", json!({"limit": 5_000})).await;
    assert!(answer["meta"]["warnings"][0].as_str().is_some_and(|text| text.contains("1000 lines")), "{answer}");
    let (status, answer) = world.get("/api/v1/logs/search").await;
    assert_eq!((status, &answer["title"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("Another method is wanted")));
}

/// What would be found without a condition is what a search without it finds.
#[tokio::test]
async fn a_search_that_finds_nothing_says_which_condition_keeps_the_most_away() {
    let world = world();
    for committed in [false, true] {
        if committed {
            world.shard.commit();
        }
        let question = json!({"q": "order level:warn", "version": "2", "env": "prod"});
        let (_, answer) = post(&world, "search", question).await;
        assert_eq!(answer["lines"], json!([]));
        let without = answer["without"].as_array().expect("a list");
        let told: Vec<_> = without.iter().map(|one| (&one["condition"], &one["filter"], &one["lines"])).collect();
        let (level, most) = (json!("level:\"warn\""), json!(3));
        assert_eq!(told, [(&level, &Value::Null, &most)]);
        assert_eq!((&without[0]["q"], &without[0]["at_least"]), (&json!("\"order\""), &json!(false)));
        assert_eq!(found(&world, "order version:2").await.len(), 3);

        let (_, answer) = post(&world, "search", json!({"q": "order", "version": "3"})).await;
        assert_eq!(answer["without"][0]["filter"], "version");
        assert_eq!(answer["without"][0]["lines"].as_u64(), Some(found(&world, "order").await.len() as u64));
    }
    let (_, answer) = post(&world, "search", json!({"q": "order"})).await;
    assert!(answer.get("without").is_none(), "there are lines");
}

#[tokio::test]
async fn a_line_has_everything_that_was_sent_and_a_name_that_holds_over_a_commit() {
    let world = world();
    let (_, answer) = post(&world, "search", json!({"q": "declined"})).await;
    let line = &answer["lines"][0];
    assert_eq!(line["time"], "2026-11-23T14:00:08Z");
    assert_eq!(
        (&line["level"], &line["service"], &line["version"]),
        (&json!("error"), &json!("checkout"), &json!("2"))
    );
    assert_eq!(line["attrs"], json!({"order.id": "8", "duration_ms": "812.5"}));
    assert_eq!(answer["meta"]["search"], "\"declined\"");
    let id = line["id"].as_str().expect("an id").to_owned();

    let around = format!("/api/v1/logs/context?line={id}&before=2&after=3");
    let (_, hot) = world.get(&around).await;
    world.shard.commit();
    let (status, stored) = world.get(&around).await;
    assert_eq!(status, StatusCode::OK, "{stored}");
    for answer in [&hot, &stored] {
        assert_eq!(answer["line"]["body"], "Card DECLINED for order-8");
        assert_eq!(answer["line"]["resource"], json!({"service.name": "checkout"}));
        assert_eq!(bodies(&answer["before"]), ["order-6 placed by u-6", "order-7 placed by u-7"]);
        assert_eq!(bodies(&answer["after"]), ["slow answer", "first of two", "second of two"]);
    }
    assert_eq!(hot["before"], stored["before"]);
    let (status, gone) = world.get("/api/v1/logs/context?line=5.0.5").await;
    assert_eq!((status, &gone["type"]), (StatusCode::NOT_FOUND, &json!("urn:shipwake:problem:not-found")));
}

/// Whatever the size of a page, its pages have every line once; both ways, and over a commit in between.
#[tokio::test]
async fn pages_have_every_line_once() {
    let world = world();
    let all = found(&world, "").await;
    for limit in 1..=5 {
        let (mut lines, mut before) = (Vec::new(), Value::Null);
        for page in 0.. {
            if limit == 3 && page == 1 {
                world.shard.commit();
            }
            let (_, answer) = post(&world, "search", json!({"limit": limit, "before": before})).await;
            lines.extend(bodies(&answer["lines"]));
            before = answer["next"].clone();
            if before.is_null() {
                break;
            }
        }
        assert_eq!(lines, all, "{limit}");
    }
    let (_, oldest) = post(&world, "search", json!({"q": "order-0"})).await;
    let (mut lines, mut after) = (vec![bodies(&oldest["lines"])[0].clone()], oldest["lines"][0]["id"].clone());
    while !after.is_null() {
        let (_, answer) = post(&world, "search", json!({"limit": 2, "after": after})).await;
        lines.extend(bodies(&answer["lines"]));
        after = answer["next"].clone();
    }
    lines.reverse();
    assert_eq!(lines, all);
}

#[tokio::test]
async fn a_fault_is_said_at_its_place() {
    let world = world();
    let (status, problem) = post(&world, "search", json!({"q": "order (a"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["type"], "urn:shipwake:problem:search");
    assert_eq!(problem["position"], json!({"line": 1, "column": 7, "offset": 6}));
    for body in [
        json!({"nope": 1}),
        json!({"from": "now", "to": "now-1h"}),
        json!({"from": "lately"}),
        json!({"before": "x"}),
        json!({"before": "1.0.1", "after": "1.0.1"}),
    ] {
        let (status, problem) = post(&world, "search", body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {problem}");
    }
    let request = Request::post("/api/v1/logs/search").body(Body::from("{}")).expect("a valid request");
    assert_eq!(world.ask(request).await.0, StatusCode::BAD_REQUEST, "a form of another site cannot ask");
}

#[tokio::test]
async fn a_search_without_time_says_that_it_has_not_seen_everything() {
    let world = world();
    let (status, answer) = post(&world, "search", json!({"q": "order", "timeout_ms": 0})).await;
    assert_eq!((status, &answer["meta"]["partial"]), (StatusCode::OK, &json!(true)));
    assert_eq!(answer["meta"]["seen_until"], json!(T0 + 10_000), "nothing that is older than the newest");
}

#[tokio::test]
async fn volumes_add_up_whatever_they_are_counted_by() {
    let world = world();
    for committed in [false, true] {
        if committed {
            world.shard.commit();
        }
        let body = json!({"from": T0.to_string(), "to": (T0 + 12_000).to_string(), "step_ms": 4_000});
        let (status, by_version) = post(&world, "volume", body.clone()).await;
        assert_eq!(status, StatusCode::OK, "{by_version}");
        assert_eq!(by_version["t"], json!([T0, T0 + 4_000, T0 + 8_000]));
        assert_eq!(
            by_version["series"],
            json!([{"key": "1", "total": 9, "n": [3, 3, 3]}, {"key": "2", "total": 3, "n": [1, 1, 1]}])
        );
        let mut by_level = body.clone();
        by_level["by"] = json!("level");
        by_level["q"] = json!("order");
        let (_, by_level) = post(&world, "volume", by_level).await;
        assert_eq!(
            by_level["series"],
            json!([{"key": "info", "total": 6, "n": [3, 3, 0]}, {"key": "error", "total": 3, "n": [1, 1, 1]}])
        );
        assert_eq!(by_level["total"], 9);
    }
}

/// Lines are counted minute by minute when a segment is written. What is answered from that is what the rows say, whatever the range;
/// a search that is about words looks at the rows.
#[tokio::test]
async fn lines_that_were_counted_are_as_many_as_are_read() {
    let world = World::new();
    for second in 0..900 {
        let severity = if second % 7 == 3 { 17 } else { 9 };
        log(&world, second, if second % 3 == 0 { "2" } else { "1" }, severity, &format!("line {second}"), &[]);
        if second == 500 || second == 650 {
            world.shard.commit();
        }
    }
    world.set_now(T0 + 900_000);
    let mut counted_rows = 0;
    for (from, to, step_ms) in [
        (0, 900_000, 60_000),
        (59_999, 700_001, 60_000),
        (61_500, 64_500, 60_000),
        (30_000, 640_000, 120_000),
        (0, 640_000, 1_000),
    ] {
        for by in ["version", "level", "service"] {
            for search in ["", "version:2", "-level:error", "service:other", "level:>=warn version:1"] {
                let ask = async |search: String| {
                    let range = json!({"from": (T0 + from).to_string(), "to": (T0 + to).to_string()});
                    let mut body = json!({"q": search, "by": by, "step_ms": step_ms});
                    body.as_object_mut().expect("an object").extend(range.as_object().expect("an object").clone());
                    let (status, answer) = post(&world, "volume", body).await;
                    assert_eq!(status, StatusCode::OK, "{answer}");
                    answer
                };
                let counted = ask(search.to_owned()).await;
                let read = ask(format!("{search} -nowhere")).await;
                for part in ["t", "series", "total"] {
                    assert_eq!(counted[part], read[part], "{search:?} by {by} of {from}..{to}");
                }
                let rows = |answer: &Value| answer["meta"]["scanned"]["rows"].as_u64().expect("a number");
                counted_rows += rows(&read).saturating_sub(rows(&counted));
            }
        }
    }
    assert!(counted_rows > 0, "nothing was counted without being read");
}

/// Of a large segment the newest lines are looked at first; whatever the page and the direction, every line comes once and in order.
#[tokio::test]
async fn pages_of_a_large_segment_have_every_line_once_and_in_order() {
    let world = World::new();
    for n in 0..9_000_i64 {
        // In many runs of services' versions that overlap in time, and some lines of one time.
        log(
            &world,
            (n * 7919) % 600,
            &(n % 5).to_string(),
            9,
            &format!("line {n} {}", if n % 9 == 0 { "rare" } else { "often" }),
            &[],
        );
    }
    world.shard.commit();
    world.set_now(T0 + 600_000);
    for (search, lines) in [("rare", 1_000), ("often version:3", 1_600), ("-rare -version:3", 6_400)] {
        let mut seen: Vec<(i64, String)> = Vec::new();
        let mut body = json!({"q": search, "from": T0.to_string(), "limit": 1_000});
        loop {
            let (status, answer) = post(&world, "search", body.clone()).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let page = answer["lines"].as_array().expect("lines");
            seen.extend(page.iter().map(|line| (line["t"].as_i64().expect("a time"), line["id"].to_string())));
            if answer["next"].is_null() {
                break;
            }
            body["before"] = answer["next"].clone();
        }
        assert!(seen.is_sorted_by(|one, other| one.0 >= other.0), "{search}");
        let different: std::collections::HashSet<&String> = seen.iter().map(|(_, id)| id).collect();
        assert_eq!((seen.len(), different.len()), (lines, lines), "{search}");
        let oldest = seen[seen.len() - 1].1.trim_matches('"').to_owned();
        let newer = json!({"q": search, "from": T0.to_string(), "limit": 1_000, "after": oldest});
        let (_, answer) = post(&world, "search", newer).await;
        let page = answer["lines"].as_array().expect("lines").iter();
        let page: Vec<(i64, String)> =
            page.map(|line| (line["t"].as_i64().expect("a time"), line["id"].to_string())).collect();
        let expected: Vec<(i64, String)> = seen.iter().rev().skip(1).take(1_000).cloned().collect();
        assert_eq!(page, expected, "{search}");
    }
}

/// What a search reads is charged to the memory of all queries while it looks at it.
#[tokio::test]
async fn a_search_that_needs_more_memory_than_there_is_is_refused_in_words() {
    let world = World::with(QueryConfig { memory_bytes: 256 << 10, ..QueryConfig::default() });
    for second in 0..300 {
        log(&world, second, "1", 9, &format!("{} long line {second}", "word ".repeat(1_500)), &[]);
    }
    world.shard.commit();
    world.set_now(T0 + 300_000);
    let (status, answer) = post(&world, "search", json!({"q": "long"})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["type"], "urn:shipwake:problem:shared-memory-budget");
    for _ in 0..20 {
        let (status, volume) = post(&world, "volume", json!({"q": "version:1", "by": "level", "step_ms": 2_000})).await;
        assert_eq!((status, &volume["total"]), (StatusCode::OK, &json!(300)), "what was held was given back");
    }
}

#[tokio::test]
async fn fields_are_named_as_a_search_names_them() {
    let world = world();
    let (_, answer) = world.get("/api/v1/logs/fields?from=now-1h").await;
    assert_eq!(answer["sample"], 12);
    let field = |name: &str| {
        let fields = answer["fields"].as_array().expect("fields");
        fields.iter().find(|field| field["name"] == name).cloned().unwrap_or(Value::Null)
    };
    assert_eq!((&field("order.id")["lines"], &field("order.id")["kind"]), (&json!(9), &json!("number")));
    assert_eq!(field("version")["top"][0], json!({"value": "1", "lines": 9}));
    assert_eq!(field("resource.service.name")["lines"], 12);
}

/// A tail begins where it is told to, has late lines too, and goes on over a commit and a restart of whoever reads it.
#[tokio::test]
async fn a_tail_has_every_line_once() {
    let world = world();
    let (_, start) = post(&world, "tail", json!({"q": "order"})).await;
    assert_eq!((bodies(&start["lines"]).len(), &start["skipped"]), (0, &json!(0)));
    log(&world, 20, "1", 9, "order-20", &[]);
    log(&world, 3, "1", 9, "order-late", &[]);
    log(&world, 21, "1", 9, "nothing to see", &[]);
    world.shard.commit();
    log(&world, 22, "1", 9, "order-22", &[]);
    let (_, first) = post(&world, "tail", json!({"q": "order", "cursor": start["cursor"]})).await;
    let mut lines = bodies(&first["lines"]);
    lines.sort();
    assert_eq!(lines, ["order-20", "order-22", "order-late"]);
    let (_, second) = post(&world, "tail", json!({"q": "order", "cursor": first["cursor"]})).await;
    assert_eq!(bodies(&second["lines"]), Vec::<String>::new());
    world.shard.commit();
    log(&world, 23, "1", 9, "order-23", &[]);
    let (_, third) = post(&world, "tail", json!({"q": "order", "cursor": second["cursor"]})).await;
    assert_eq!(bodies(&third["lines"]), ["order-23"], "a commit makes nothing new");
    for second in 30..40 {
        log(&world, second, "1", 9, "order of many", &[]);
    }
    let (_, many) = post(&world, "tail", json!({"q": "order", "cursor": third["cursor"], "limit": 4})).await;
    assert_eq!((bodies(&many["lines"]).len(), &many["skipped"]), (4, &json!(6)), "what is left out is counted");
}

#[tokio::test]
async fn patterns_are_of_the_lines_that_are_found() {
    let world = world();
    let (_, answer) = post(&world, "patterns", json!({"q": "order"})).await;
    assert_eq!((&answer["total"], &answer["without"]), (&json!(9), &json!(9)), "these lines were given no pattern");
    assert_eq!(answer["versions"], json!({"1": 6, "2": 3}));
}

#[tokio::test]
async fn sql_finds_the_same_with_matches() {
    let world = world();
    for committed in [false, true] {
        if committed {
            world.shard.commit();
        }
        let rows = world.rows("select count(*) from logs where matches(body, 'order (placed OR declined)')").await;
        assert_eq!(rows, json!([[9]]));
        let rows = world.rows("select body from logs where matches(body, '\"of two\"') and time > '2026-11-23T14:00:01Z' order by line").await;
        assert_eq!(rows, json!([["first of two"], ["second of two"]]));
    }
    for wrong in ["matches(body, 'a (')", "matches(body, 'level:error')", "matches(body, body)"] {
        let (status, problem) = world.sql(&format!("select count(*) from logs where {wrong}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {problem}");
    }
}

/// Lines of other services and environments are in no answer about one of them.
#[tokio::test]
async fn filters_beside_the_search_hold() {
    let world = world();
    world.shard.log(&Log {
        release: release_in("search", "stage", "9"),
        time_ns: (T0 + 5_000) * 1_000_000,
        severity: 9,
        body: "order of another".to_owned(),
        attributes: Vec::new(),
    });
    let (_, answer) = post(&world, "search", json!({"q": "order", "service": "search"})).await;
    assert_eq!(bodies(&answer["lines"]), ["order of another"]);
    let (_, answer) = post(&world, "search", json!({"q": "order OR slow", "env": "prod", "version": "2"})).await;
    assert_eq!(bodies(&answer["lines"]).len(), 3);
}
