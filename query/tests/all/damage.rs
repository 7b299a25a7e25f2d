//! A segment that is not what was written is named, and never answered from.

use axum::http::StatusCode;
use shipwake_query::{Query, QueryConfig};
use shipwake_store::{Store, StoreConfig};

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

#[tokio::test]
async fn a_damaged_segment_is_named_and_never_answered_from() {
    let mut world = World::new();
    world.shard.log(&Log {
        release: release("checkout", "1"),
        time_ns: T0 * 1_000_000,
        severity: 9,
        body: "hello".to_owned(),
        attributes: Vec::new(),
    });
    world.shard.commit();
    let file = world.store.snapshot(&[]).files(shipwake_store::Table::Logs).next().expect("a segment").path.to_string();
    let root = world.dir.path().join("store");
    let dir = std::mem::replace(&mut world.dir, tempfile::TempDir::new().expect("another folder"));
    drop(world);

    let path = root.join(&file);
    let mut bytes = std::fs::read(&path).expect("the segment");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x55;
    std::fs::write(&path, bytes).expect("a damaged segment");

    let store = reopen(&root);
    let (committer, _) = store.open_shard(0).expect("the shard");
    store.register(0, Arc::new(TestShard::new(committer)));
    let query = Query::new(QueryConfig::default(), store, Arc::new(Counters::default()), &mut Default::default())
        .expect("threads");
    let error = query
        .sql(shipwake_query::SqlRequest { query: "select * from logs".to_owned(), ..Default::default() })
        .await
        .expect_err("a damaged segment");
    assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = error.to_string();
    assert!(text.contains(&file) && text.contains("damaged"), "{text}");
    drop(dir);
}
