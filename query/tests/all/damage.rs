//! A segment that is not what was written is never answered from: the answer is made of the rest, and says what is missing.

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
