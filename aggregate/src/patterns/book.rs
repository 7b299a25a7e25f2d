//! The patterns of one service: bounded, and in the order in which they were learnt.
//!
//! Every shape has an id of its own until [`FACES_MAX`] shapes are one pattern for [`Drain`]: then the word in which they
//! differ is a parameter, and whatever comes next is counted under the template of all of them. When a service is at
//! its bound, patterns that have been quiet make room; while none is quiet, new ones count as `__other__`.
//!
//! The clusters follow from the entries in their order, so only entries are committed.

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::pattern::{Drain, Level, OTHER_ID, shape_id};
use shipwake_model::window::NS_PER_S;

/// Shapes that one cluster may have under ids of their own.
pub(crate) const FACES_MAX: usize = 16;
/// Bytes of an example.
const EXAMPLE_BYTES_MAX: usize = 300;
/// Versions that a pattern remembers, those of the newest lines.
const VERSIONS_MAX: usize = 12;
/// How long a pattern must have been quiet to make room, the first choice first.
pub(crate) const QUIET_NS: [i64; 3] = [7 * 24 * 3600 * NS_PER_S, 24 * 3600 * NS_PER_S, 600 * NS_PER_S];
/// This part of the bound is freed at once, because clusters are made anew after it.
const FREED_PART: usize = 8;

/// A pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: u64,
    /// Its template.
    pub shape: Arc<str>,
    /// A line that had it.
    pub example: Arc<str>,
    /// Whether it stands for all further shapes of its cluster.
    pub wide: bool,
    /// Receive time of its newest line as of the last commit, ns.
    pub received_ns: i64,
    /// The versions that had it.
    pub seen: Vec<Seen>,
}

/// A pattern in one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The version.
    pub version: Arc<str>,
    /// The worst level.
    pub level: Level,
    /// Event time of the first line, ns.
    pub first_ns: i64,
    /// Event time of the newest line, ns.
    pub last_ns: i64,
    /// Lines.
    pub count: u64,
}

/// What is known of a cluster of the tree.
#[derive(Clone, Copy, Debug, Default)]
struct Cluster {
    faces: usize,
    wide: Option<u64>,
}

/// The patterns of a service.
#[derive(Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    places: HashMap<u64, u32, ahash::RandomState>,
    drain: Drain,
    clusters: Vec<Cluster>,
    /// No pattern is quiet enough to make room before this receive time.
    full_until_ns: i64,
    /// How often patterns were forgotten.
    forgettings: u64,
}

impl Book {
    /// The id that a shape is counted under, learnt if the book has fewer than `room` patterns or can make room.
    pub fn learn(&mut self, shape: &[u8], example: impl FnOnce() -> String, received_ns: i64, room: usize) -> u64 {
        let id = shape_id(shape);
        if self.places.contains_key(&id) {
            return id;
        }
        let cluster = self.drain.find(shape);
        if let Some(wide) = cluster.and_then(|cluster| self.clusters[cluster].wide) {
            return wide;
        }
        if self.entries.len() >= room && !self.make_room(received_ns) {
            return OTHER_ID;
        }
        // The clusters may be others now.
        let cluster = self.drain.find(shape).filter(|cluster| self.clusters[*cluster].faces >= FACES_MAX);
        let (shape, wide) = match cluster {
            None => (shape.to_vec(), false),
            Some(cluster) => {
                self.drain.add(shape);
                (self.drain.template(cluster), true)
            }
        };
        let entry = Entry {
            id: shape_id(&shape),
            shape: String::from_utf8_lossy(&shape).into(),
            example: cut(example()).into(),
            wide,
            received_ns,
            seen: Vec::new(),
        };
        let id = entry.id;
        self.restore(entry);
        id
    }

    /// Adds a pattern as it was learnt.
    pub fn restore(&mut self, entry: Entry) {
        self.place(&entry);
        match self.places.get(&entry.id) {
            Some(known) => self.entries[*known as usize].wide |= entry.wide,
            None => {
                self.places.insert(entry.id, self.entries.len() as u32);
                self.entries.push(entry);
            }
        }
    }

    /// A pattern.
    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.places.get(&id).map(|at| &self.entries[*at as usize])
    }

    /// A pattern.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.places.get(&id).map(|at| &mut self.entries[*at as usize])
    }

    /// All patterns, in the order in which they were learnt.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Rises when patterns are forgotten: who remembers something of one must look it up again.
    pub(crate) fn forgettings(&self) -> u64 {
        self.forgettings
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets patterns without a line since a receive time.
    pub fn forget_before(&mut self, received_ns: i64) {
        self.keep(|entry| entry.received_ns >= received_ns);
    }

    /// Bytes on the heap, estimated.
    pub fn heap_bytes(&self) -> usize {
        /// A token of a cluster with its pointer; a shape has ten or so.
        const CLUSTER_BYTES: usize = 400;
        let of_entry = |entry: &Entry| {
            size_of::<Entry>()
                + entry.shape.len()
                + entry.example.len()
                + entry.seen.capacity() * size_of::<Seen>()
                + 48
        };
        self.entries.iter().map(of_entry).sum::<usize>() + self.clusters.len() * CLUSTER_BYTES
    }

    /// Puts a pattern into the tree.
    fn place(&mut self, entry: &Entry) {
        let place = self.drain.add(entry.shape.as_bytes());
        if place.is_new {
            self.clusters.push(Cluster::default());
        }
        let cluster = &mut self.clusters[place.cluster];
        if entry.wide {
            cluster.wide.get_or_insert(entry.id);
        } else {
            cluster.faces += 1;
        }
    }

    /// Forgets the quietest patterns. Gives whether any was quiet enough.
    fn make_room(&mut self, received_ns: i64) -> bool {
        if received_ns < self.full_until_ns || self.entries.is_empty() {
            return false;
        }
        let quiet_ns = QUIET_NS[QUIET_NS.len() - 1];
        let mut times: Vec<i64> = self.entries.iter().map(|entry| entry.received_ns).collect();
        times.sort_unstable();
        let limit_ns = times[times.len() / FREED_PART].min(received_ns.saturating_sub(quiet_ns));
        if times[0] > limit_ns {
            self.full_until_ns = times[0].saturating_add(quiet_ns);
            return false;
        }
        self.keep(|entry| entry.received_ns > limit_ns);
        true
    }

    fn keep(&mut self, keeps: impl Fn(&Entry) -> bool) {
        if self.entries.iter().all(&keeps) {
            return;
        }
        let entries = std::mem::take(&mut self.entries);
        let (full_until_ns, forgettings) = (self.full_until_ns, self.forgettings + 1);
        *self = Book { full_until_ns, forgettings, ..Book::default() };
        for entry in entries.into_iter().filter(keeps) {
            self.restore(entry);
        }
    }
}

impl Entry {
    /// Takes note of lines of a version.
    pub(crate) fn saw(&mut self, more: Seen) {
        if let Some(known) = self.seen.iter_mut().find(|known| known.version == more.version) {
            known.level = known.level.max(more.level);
            known.first_ns = known.first_ns.min(more.first_ns);
            known.last_ns = known.last_ns.max(more.last_ns);
            known.count = known.count.saturating_add(more.count);
            return;
        }
        if self.seen.len() >= VERSIONS_MAX {
            let oldest = self.seen.iter().enumerate().min_by_key(|(_, seen)| seen.last_ns).map(|(at, _)| at);
            oldest.map(|at| self.seen.remove(at));
        }
        self.seen.push(more);
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(EXAMPLE_BYTES_MAX));
    text
}
