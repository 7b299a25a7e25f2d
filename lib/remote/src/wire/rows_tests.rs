//! Rows over the wire: every chunk once, in pieces if need be, and only what the reader lacks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use shipwake_store::{HotRows, ShardSnapshot, Table};

use super::{Have, read_rows, write_rows};

fn chunk(time_ns: i64, rows: usize) -> HotRows {
    HotRows::Chunk(super::testing::chunk(time_ns, rows))
}

fn snapshot(rows: Vec<HotRows>) -> ShardSnapshot {
    ShardSnapshot {
        shard: 1,
        seq: Some(4),
        writer: 9,
        files: Arc::from([]),
        hot: vec![(Table::Logs, rows), (Table::Spans, Vec::new())],
        next_offset: 100,
        watermark_ns: -5,
        last_line: 70,
    }
}

#[test]
fn a_reader_gets_what_it_lacks_in_pieces_and_nothing_twice() {
    let rows: Vec<HotRows> = (0..5).map(|number| chunk(number, 50)).collect();
    let shards = [(snapshot(rows.clone()), true)];
    let mut chunks = HashMap::new();
    let mut answers = 0;
    loop {
        let have = Have { process: 7, chunks: chunks.keys().copied().collect() };
        let bytes = write_rows(7, &shards, vec![3], &have, 1).expect("writes");
        let heard = read_rows(&Bytes::from(bytes)).expect("reads");
        answers += 1;
        assert_eq!(heard.sent.len(), 1, "one at least, and no more than fit");
        for (id, chunk) in heard.sent {
            assert!(chunks.insert(id, chunk).is_none(), "it had been sent before");
        }
        if heard.more {
            continue;
        }
        let shard = &heard.shards[0];
        assert_eq!(
            (heard.process, &heard.refused[..], shard.shard, shard.writer, shard.seq),
            (7, &[3][..], 1, 9, Some(4))
        );
        assert_eq!((shard.next_offset, shard.watermark_ns, shard.last_line, shard.ready), (100, -5, 70, true));
        assert_eq!(shard.tables[0].live.len(), 5);
        for (id, expected) in shard.tables[0].live.iter().zip(&rows) {
            let HotRows::Chunk(expected) = expected else { unreachable!("chunks were made above") };
            assert_eq!(chunks[id].to_batch(None), expected.to_batch(None));
        }
        break;
    }
    assert_eq!(answers, 5);
    // Numbers of another process mean nothing.
    let have = Have { process: 8, chunks: chunks.keys().copied().collect() };
    let heard = read_rows(&Bytes::from(write_rows(7, &shards, Vec::new(), &have, 1 << 20).expect("writes")));
    let sent: HashSet<u64> = heard.expect("reads").sent.into_keys().collect();
    assert_eq!(sent, chunks.into_keys().collect());
}

#[test]
fn rows_without_a_number_are_sent_when_the_others_are_complete() {
    let HotRows::Chunk(first) = chunk(1, 3) else { unreachable!("a chunk was made") };
    let rows = vec![chunk(2, 3), chunk(3, 3), HotRows::Batch(first.to_batch(None))];
    let shards = [(snapshot(rows), false)];
    let read = |have: &Have| {
        let bytes = write_rows(7, &shards, Vec::new(), have, 1).expect("writes");
        read_rows(&Bytes::from(bytes)).expect("reads")
    };
    let cut = read(&Have::default());
    assert!(cut.more && cut.shards[0].tables[0].batches.is_empty());
    let have = Have { process: 7, chunks: cut.sent.into_keys().collect() };
    let whole = read(&have);
    let table = &whole.shards[0].tables[0];
    assert!(!whole.more && !whole.shards[0].ready);
    assert_eq!((table.live.len(), table.batches.len(), table.batches[0].num_rows()), (2, 1, 3));
}

#[test]
fn rows_that_are_cut_or_of_another_kind_are_refused() {
    let shards = [(snapshot(vec![chunk(1, 3)]), true)];
    let bytes = Bytes::from(write_rows(7, &shards, Vec::new(), &Have::default(), 1 << 20).expect("writes"));
    for end in (0..bytes.len()).step_by(7) {
        assert!(read_rows(&bytes.slice(..end)).is_err(), "cut at {end} of {}", bytes.len());
    }
    let text = String::from_utf8_lossy(&bytes).replace("\"logs\"", "\"locks\"");
    assert!(read_rows(&Bytes::from(text.into_bytes())).is_err());
}
