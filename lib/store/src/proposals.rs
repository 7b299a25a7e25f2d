//! What was compacted and waits for the next commit of its shard to be published.
//!
//! There is one writer of a shard's manifests, the committer; whoever compacts hands in what is to replace what. Files of a
//! replacement that is never published are removed, here or, after a crash, when the shard is opened.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::objects::Objects;
use crate::{SegmentFile, SegmentId};

/// Replacements of one shard that may wait. The next ones are made when these are published.
const WAITING_MAX: usize = 8;

/// Segments that are to be replaced, all of one table, and what replaces them.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    pub(crate) inputs: Vec<SegmentId>,
    /// `None` when no row is left. Its sequence number and part are those of the commit that publishes it.
    pub(crate) output: Option<SegmentFile>,
    /// Something that it was made from is gone: it cannot be published.
    pub(crate) is_void: bool,
}

/// What waits, by shard.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    shards: Mutex<HashMap<u32, Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    replacements: Vec<Replacement>,
    /// What the last commit has replaced: for a moment readers, and so whoever compacts, may still be shown it.
    replaced: Vec<SegmentId>,
}

/// The replacements of a shard while a commit is under way: back to where they were when it fails.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    proposals: &'a Proposals,
    objects: &'a Objects,
    shard: u32,
    replacements: Vec<Replacement>,
    published: bool,
}

impl Proposals {
    pub(crate) fn add(&self, shard: u32, replacement: Replacement) {
        self.lock().entry(shard).or_default().replacements.push(replacement);
    }

    /// Whether some of the shard's segments wait to be replaced.
    pub(crate) fn is_waiting(&self, shard: u32) -> bool {
        self.lock().get(&shard).is_some_and(|waiting| !waiting.replacements.is_empty())
    }

    /// Whether no more of the shard should be compacted before the next commit.
    pub(crate) fn is_full(&self, shard: u32) -> bool {
        self.lock().get(&shard).is_some_and(|waiting| waiting.replacements.len() >= WAITING_MAX)
    }

    /// The segments of a shard that will be replaced, or just were.
    pub(crate) fn inputs(&self, shard: u32) -> Vec<SegmentId> {
        let shards = self.lock();
        let Some(waiting) = shards.get(&shard) else { return Vec::new() };
        let inputs = waiting.replacements.iter().flat_map(|replacement| &replacement.inputs);
        inputs.chain(&waiting.replaced).copied().collect()
    }

    pub(crate) fn take<'a>(&'a self, shard: u32, objects: &'a Objects) -> Taken<'a> {
        let mut shards = self.lock();
        let waiting = shards.entry(shard).or_default();
        let replacements = std::mem::take(&mut waiting.replacements);
        waiting.replaced = replacements.iter().flat_map(|replacement| replacement.inputs.iter().copied()).collect();
        Taken { proposals: self, objects, shard, replacements, published: false }
    }

    /// Forgets what waits for a shard that is opened anew: it was made from what another view of the shard listed. Its files are
    /// removed, except where a commit that got no answer may still come to be and name them.
    pub(crate) fn clear(&self, shard: u32, objects: &Objects) {
        let forgotten = self.lock().remove(&shard).unwrap_or_default().replacements;
        if !objects.is_remote() {
            objects.delete_all(forgotten.iter().flat_map(Replacement::paths).collect());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Waiting>> {
        self.shards.lock().expect("no holder of this lock can panic")
    }
}

impl Replacement {
    fn paths(&self) -> impl Iterator<Item = String> + '_ {
        self.output.iter().flat_map(SegmentFile::paths).map(|path| path.to_string())
    }
}

impl Taken<'_> {
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Replacement> {
        self.replacements.iter_mut()
    }

    /// The commit is there: what was void is removed.
    pub(crate) fn published(mut self) {
        self.published = true;
        let void = self.replacements.iter().filter(|replacement| replacement.is_void);
        self.objects.delete_all(void.flat_map(Replacement::paths).collect());
    }
}

impl Taken<'_> {
    /// Nobody knows whether the commit is there: neither are they proposed again nor are their files removed.
    pub(crate) fn in_doubt(mut self) {
        self.published = true;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.published {
            let back = std::mem::take(&mut self.replacements);
            self.proposals.lock().entry(self.shard).or_default().replacements.splice(0..0, back);
        }
    }
}
