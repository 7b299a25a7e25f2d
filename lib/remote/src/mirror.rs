//! Hot rows of other processes that were fetched before, so that only new ones are fetched. Bounded in bytes: rows of a shard and
//! table that do not fit are not kept, and every question fetches them anew. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use shipwake_store::{RowChunk, Table};

/// Chunks by their number.
pub(crate) type Chunks = HashMap<u64, Arc<RowChunk>>;

/// What is kept, by the owner it came from.
#[derive(Debug)]
pub(crate) struct Mirror {
    bytes_max: usize,
    bytes: usize,
    owners: HashMap<Arc<str>, OfOwner>,
}

#[derive(Debug, Default)]
struct OfOwner {
    /// Numbers of chunks are this process's.
    process: u64,
    parts: HashMap<(u32, Table), Part>,
}

#[derive(Debug, Default)]
struct Part {
    chunks: Chunks,
    bytes: usize,
}

impl Mirror {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, owners: HashMap::new() }
    }

    /// What is kept of some shards and tables of an owner, and of which of its processes.
    pub fn have(&self, owner: &str, shards: &[u32], tables: &[Table]) -> (u64, Chunks) {
        let Some(of_owner) = self.owners.get(owner) else { return (0, Chunks::new()) };
        let is_asked = |(shard, table): &(u32, Table)| shards.contains(shard) && tables.contains(table);
        let asked = of_owner.parts.iter().filter(|(key, _)| is_asked(key));
        (of_owner.process, asked.flat_map(|(_, part)| part.chunks.clone()).collect())
    }

    /// Keeps what a shard has of a table now, instead of what it had before.
    pub fn keep(&mut self, owner: &Arc<str>, process: u64, shard: u32, table: Table, chunks: Chunks) {
        if self.owners.get(owner).is_some_and(|of_owner| of_owner.process != process) {
            self.forget(owner);
        }
        let of_owner = self.owners.entry(owner.clone()).or_default();
        of_owner.process = process;
        let part = of_owner.parts.entry((shard, table)).or_default();
        self.bytes -= std::mem::take(&mut part.bytes);
        part.chunks.clear();
        let bytes = chunks.values().map(|chunk| bytes_of(chunk)).sum();
        if self.bytes + bytes <= self.bytes_max {
            self.bytes += bytes;
            *part = Part { chunks, bytes };
        }
    }

    /// Forgets a shard of an owner that does not have it any more.
    pub fn forget_shard(&mut self, owner: &str, shard: u32) {
        let Some(of_owner) = self.owners.get_mut(owner) else { return };
        of_owner.parts.retain(|(of, _), part| {
            let stays = *of != shard;
            self.bytes -= if stays { 0 } else { part.bytes };
            stays
        });
    }

    /// Forgets all of an owner.
    pub fn forget(&mut self, owner: &str) {
        let parts = self.owners.remove(owner).map(|of_owner| of_owner.parts).unwrap_or_default();
        self.bytes -= parts.values().map(|part| part.bytes).sum::<usize>();
    }
}

fn bytes_of(chunk: &RowChunk) -> usize {
    let batch = |batch: &RecordBatch| -> usize {
        batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum()
    };
    batch(chunk.rows()) + batch(chunk.resources())
}
