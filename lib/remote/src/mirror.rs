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

    /// Forgets a shard that has another owner now.
    pub fn forget_shard_but_of(&mut self, owner: &str, shard: u32) {
        for of_owner in self.owners.iter_mut().filter(|(name, _)| ***name != *owner).map(|(_, of_owner)| of_owner) {
            of_owner.parts.retain(|(of, _), part| {
                let stays = *of != shard;
                self.bytes -= if stays { 0 } else { part.bytes };
                stays
            });
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::chunk;

    fn chunks(ids: &[u64]) -> Chunks {
        ids.iter().map(|id| (*id, chunk(*id as i64, 10))).collect()
    }

    fn held(mirror: &Mirror, owner: &str, shards: &[u32]) -> (u64, Vec<u64>) {
        let (process, chunks) = mirror.have(owner, shards, &[Table::Logs]);
        let mut ids: Vec<u64> = chunks.into_keys().collect();
        ids.sort_unstable();
        (process, ids)
    }

    #[test]
    fn what_is_kept_is_what_a_shard_had_last_and_belongs_to_one_process() {
        let (mut mirror, owner): (_, Arc<str>) = (Mirror::new(1 << 20), "a".into());
        mirror.keep(&owner, 5, 0, Table::Logs, chunks(&[1, 2]));
        mirror.keep(&owner, 5, 1, Table::Logs, chunks(&[3]));
        mirror.keep(&owner, 5, 0, Table::Logs, chunks(&[2, 4]));
        assert_eq!(held(&mirror, "a", &[0, 1]), (5, vec![2, 3, 4]));
        assert_eq!(held(&mirror, "a", &[1]), (5, vec![3]));
        assert_eq!(mirror.have("a", &[0], &[Table::Spans]).1.len(), 0);
        assert_eq!(held(&mirror, "b", &[0]), (0, vec![]));
        mirror.keep(&owner, 6, 0, Table::Logs, chunks(&[1]));
        assert_eq!(held(&mirror, "a", &[0, 1]), (6, vec![1]), "numbers of the process before mean nothing now");
        mirror.forget("a");
        assert_eq!((held(&mirror, "a", &[0]), mirror.bytes), ((0, vec![]), 0));
    }

    #[test]
    fn what_does_not_fit_is_not_kept_and_its_room_is_given_back() {
        let owner: Arc<str> = "a".into();
        let one = chunks(&[1]).values().map(|chunk| bytes_of(chunk)).sum::<usize>();
        let mut mirror = Mirror::new(2 * one);
        mirror.keep(&owner, 5, 0, Table::Logs, chunks(&[1, 2, 3]));
        assert_eq!((held(&mirror, "a", &[0]), mirror.bytes), ((5, vec![]), 0));
        mirror.keep(&owner, 5, 0, Table::Logs, chunks(&[1]));
        mirror.keep(&owner, 5, 1, Table::Logs, chunks(&[2]));
        mirror.keep(&owner, 5, 2, Table::Logs, chunks(&[3]));
        assert_eq!(held(&mirror, "a", &[0, 1, 2]), (5, vec![1, 2]));
        mirror.keep(&owner, 5, 1, Table::Logs, Chunks::new());
        mirror.keep(&owner, 5, 2, Table::Logs, chunks(&[3]));
        assert_eq!(held(&mirror, "a", &[0, 1, 2]), (5, vec![1, 3]));
    }
}
