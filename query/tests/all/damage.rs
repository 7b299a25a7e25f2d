//! A segment that is not what was written is never answered from: the answer is made of the rest, and says what is missing.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shipwake_query::{Query, QueryConfig};
use shipwake_store::{Store, StoreConfig, Table};
use tower::ServiceExt;

use crate::support::rows::{Log, release};
use crate::support::shard::TestShard;
use crate::support::{Counters, T0, World};

use std::sync::Arc;
use std::time::{Duration, Instant};

fn reopen(dir: &std::path::Path) -> Arc<Store> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match Store::open(StoreConfig::new(dir), &mut Default::default()) {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < until, "the directory stays locked: {error}"),
        }
        std::thread::yield_now();
    }
}

/// A stage that answers questions about a store that was written before.
fn query_over(store: Arc<Store>) -> Query {
    let (committer, _) = store.open_shard(0).expect("the shard");
    store.register(0, Arc::new(TestShard::new(committer)));
    Query::new(QueryConfig::default(), store, Arc::new(Counters::default()), &mut Default::default()).expect("threads")
}

async fn post(query: &Query, path: &str, body: Value) -> Value {
    let request = Request::post(format!("/api/v1/{path}")).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body.to_string())).expect("a valid request");
    let response = query.router().oneshot(request).await.expect("a router never fails");
    let status = response.status();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

/// A line of `number` that does not compress: a segment of some hundred of them has many parts with checksums of their own.
fn noise(number: u64) -> String {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = "line".to_owned();
    for _ in 0..20 {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!(" {word:016x}"));
    }
    text
}

/// What a reader has taken of a segment before it met the damage is not in the answer.
#[tokio::test]
async fn wherever_a_segment_is_damaged_an_answer_has_all_of_it_or_nothing() {
    const LINES: [u64; 2] = [800, 5];
    let mut world = World::new();
    for (commit, lines) in LINES.into_iter().enumerate() {
        for number in 0..lines {
            world.shard.log(&Log {
                release: release("checkout", "1"),
                time_ns: (T0 + number as i64) * 1_000_000,
                severity: 9,
                body: noise(number + 10_000 * commit as u64),
                attributes: Vec::new(),
            });
        }
        world.shard.commit();
    }
    let root = world.dir.path().join("store");
    let large = world.store.snapshot(&[]).files(Table::Logs).max_by_key(|file| file.rows).expect("a segment").clone();
    let path = root.join(&*large.path);
    let dir = std::mem::replace(&mut world.dir, tempfile::TempDir::new().expect("another folder"));
    drop(world);

    let good = std::fs::read(&path).expect("the segment");
    assert!(good.len() > 100_000, "{} bytes", good.len());
    let all: u64 = LINES.iter().sum();
    let mut damaged_answers = 0;
    for place in 0..10 {
        let mut bytes = good.clone();
        bytes[(good.len() - 1) * place / 9] ^= 0x55;
        std::fs::write(&path, bytes).expect("a damaged segment");
        let query = query_over(reopen(&root));
        let sql = json!({"query": "select count(*), count(distinct body) from logs where body like 'line%'"});
        let volume = json!({"q": "line", "from": T0 - 1_000, "to": T0 + 60_000});
        let found = post(&query, "logs/volume", volume.clone()).await;
        let rows = post(&query, "sql", sql).await;
        let again = post(&query, "logs/volume", volume).await;
        for (answer, number) in [
            (&found, &found["total"]),
            (&rows, &rows["rows"][0][0]),
            (&rows, &rows["rows"][0][1]),
            (&again, &again["total"]),
        ] {
            let is_said = answer["meta"]["warnings"].to_string().contains(&*large.path);
            let expected = if is_said { LINES[1] } else { all };
            assert_eq!(number.as_u64(), Some(expected), "place {place}: {answer}");
            damaged_answers += u32::from(is_said);
        }
    }
    assert!(damaged_answers > 20, "{damaged_answers} of 40 met the damage");
    drop(dir);
}

#[tokio::test]
async fn an_answer_without_a_damaged_segment_says_so_and_names_it() {
    let mut world = World::new();
    world.shard.log(&Log {
        release: release("checkout", "1"),
        time_ns: T0 * 1_000_000,
        severity: 9,
        body: "hello".to_owned(),
        attributes: Vec::new(),
    });
    world.shard.commit();
    let file = world.store.snapshot(&[]).files(Table::Logs).next().expect("a segment").path.to_string();
    let root = world.dir.path().join("store");
    let dir = std::mem::replace(&mut world.dir, tempfile::TempDir::new().expect("another folder"));
    drop(world);

    let path = root.join(&file);
    let mut bytes = std::fs::read(&path).expect("the segment");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x55;
    std::fs::write(&path, bytes).expect("a damaged segment");

    let query = query_over(reopen(&root));
    for _ in 0..2 {
        let request = shipwake_query::SqlRequest { query: "select * from logs".to_owned(), ..Default::default() };
        let answer = query.sql(request).await.expect("an answer from the rest");
        assert_eq!(answer.meta.rows, 0);
        let said = answer.meta.warnings.join("; ");
        assert!(said.contains(&file) && said.contains("1 rows of logs") && said.contains("damaged"), "{said}");
    }
    let request = shipwake_query::SqlRequest { query: "select * from spans".to_owned(), ..Default::default() };
    let warnings = query.sql(request).await.expect("an answer").meta.warnings;
    assert_eq!(warnings, Vec::<String>::new(), "nothing of this table is missing");
    drop(dir);
}
