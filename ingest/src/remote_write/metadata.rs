//! What senders of remote-write 1.0 have said about their metrics. Prometheus sends it once a minute in requests of its own;
//! the series come in others, and only with this are they known for counters, gauges or parts of histograms.
//!
//! What a series was taken for is decided here at the door and stands in the journal, so a replay decides the same. Nothing
//! is lost with this memory: after a restart names decide until the sender has said it again. Bounded: so many senders, so
//! many families of each. A sender is an address and the query of its URL; nobody else's metadata is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::family::{Kind, of_name};
use super::read::Batch;

/// Senders that are remembered; the one that was quiet for longest is forgotten. A site has a handful of Prometheus.
const SENDERS_MAX: usize = 64;
/// Families that are surely remembered of each; about twice as many are held. A large exporter has some thousands.
const FAMILIES_MAX: usize = 4_096;
/// Longer units are none that anybody knows.
const UNIT_BYTES_MAX: usize = 32;

/// Kind and unit of a family.
pub(super) type Said = (Kind, Arc<[u8]>);

/// What senders have said. All together at most some 40 MB, for as many senders and families as there is room for.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    senders: Mutex<Senders>,
}

#[derive(Debug, Default)]
struct Senders {
    by_hash: HashMap<u128, Sender>,
    /// Counts requests: tells which sender was quiet for longest.
    clock: u64,
}

#[derive(Debug, Default)]
struct Sender {
    /// Shared with requests that look something up at the moment: the lock is not held for that.
    families: Arc<Families>,
    used: u64,
}

/// Families by the hash of their names. When the younger half is full it becomes the older, which is forgotten.
#[derive(Clone, Debug, Default)]
struct Families {
    young: HashMap<u64, Said>,
    old: HashMap<u64, Said>,
}

/// Who sends: its address and what its URL says.
pub(super) fn sender(peer: Option<&str>, query: &str) -> u128 {
    xxh3_128(format!("{}\n{query}", peer.unwrap_or_default()).as_bytes())
}

impl Metadata {
    /// Takes note of what a request says, and gives for each of its series that it says nothing about what was said before.
    pub(super) fn exchange(&self, sender: u128, batch: &Batch<'_>) -> Vec<Option<Said>> {
        let Some(families) = self.families(sender, batch) else { return Vec::new() };
        let said = batch.series.iter().map(|series| {
            let is_open = series.kind == Kind::Unknown;
            is_open.then(|| of_name(series.name, |name| families.get(xxh3_64(name)))).flatten()
        });
        said.collect()
    }

    /// What the sender has said until now, this request included.
    fn families(&self, sender: u128, batch: &Batch<'_>) -> Option<Arc<Families>> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let said = batch.metadata.iter().filter(|(_, (kind, _))| *kind != Kind::Unknown);
        let known = senders.get(sender, !batch.metadata.is_empty())?;
        // More in one request than there is room for would only push out each other.
        for (family, (kind, unit)) in said.take(FAMILIES_MAX) {
            let unit = if unit.len() <= UNIT_BYTES_MAX { unit } else { &b""[..] };
            let family = xxh3_64(family);
            if !known.families.has(family, *kind, unit) {
                Arc::make_mut(&mut known.families).note(family, *kind, unit);
            }
        }
        Some(known.families.clone())
    }
}

impl Senders {
    /// A sender, made where `make` says so and it is new; from now on it is the one that was heard last.
    fn get(&mut self, sender: u128, make: bool) -> Option<&mut Sender> {
        self.clock += 1;
        if make && self.by_hash.len() >= SENDERS_MAX && !self.by_hash.contains_key(&sender) {
            let quietest = self.by_hash.iter().min_by_key(|(_, known)| known.used).map(|(sender, _)| *sender);
            quietest.map(|sender| self.by_hash.remove(&sender));
        }
        let known = if make { self.by_hash.entry(sender).or_default() } else { self.by_hash.get_mut(&sender)? };
        known.used = self.clock;
        Some(known)
    }
}

impl Families {
    fn get(&self, family: u64) -> Option<Said> {
        self.young.get(&family).or_else(|| self.old.get(&family)).cloned()
    }

    /// Whether just this was said lately.
    fn has(&self, family: u64, kind: Kind, unit: &[u8]) -> bool {
        self.young.get(&family).is_some_and(|(known, known_unit)| (*known, &**known_unit) == (kind, unit))
    }

    fn note(&mut self, family: u64, kind: Kind, unit: &[u8]) {
        if self.young.len() >= FAMILIES_MAX && !self.young.contains_key(&family) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(family, (kind, unit.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(families: &[(&'static str, Kind)]) -> Batch<'static> {
        let entries = families.iter().map(|(family, kind)| (family.as_bytes(), (*kind, &b"seconds"[..])));
        Batch { metadata: entries.collect(), ..Batch::default() }
    }

    fn get(metadata: &Metadata, sender: u128, family: &str) -> Option<Kind> {
        let mut senders = metadata.senders.lock().unwrap();
        senders.get(sender, false)?.families.get(xxh3_64(family.as_bytes())).map(|said| said.0)
    }

    #[test]
    fn what_was_said_is_remembered_for_its_sender_and_the_newest_word_counts() {
        let metadata = Metadata::default();
        let (one, two) = (sender(Some("10.0.0.1"), ""), sender(Some("10.0.0.1"), "service=b"));
        metadata.exchange(one, &said(&[("a", Kind::Counter), ("b", Kind::Unknown)]));
        assert_eq!((get(&metadata, one, "a"), get(&metadata, two, "a")), (Some(Kind::Counter), None));
        assert_eq!(get(&metadata, one, "b"), None);
        metadata.exchange(one, &said(&[("a", Kind::Level)]));
        assert_eq!(get(&metadata, one, "a"), Some(Kind::Level));
    }

    #[test]
    fn senders_and_families_are_bounded() {
        let metadata = Metadata::default();
        let names: Vec<String> = (0..3 * FAMILIES_MAX).map(|n| format!("f{n}")).collect();
        for name in &names {
            let entry = (name.as_bytes(), (Kind::Counter, &b"a unit that is longer than any unit can be"[..]));
            metadata.exchange(1, &Batch { metadata: [entry].into_iter().collect(), ..Batch::default() });
        }
        let held = {
            let senders = metadata.senders.lock().unwrap();
            let families = &senders.by_hash[&1].families;
            assert!(families.young.values().all(|said| said.1.is_empty()));
            families.young.len() + families.old.len()
        };
        assert!((FAMILIES_MAX..=2 * FAMILIES_MAX).contains(&held), "{held}");
        assert_eq!(get(&metadata, 1, "f0"), None);
        assert_eq!(get(&metadata, 1, names.last().unwrap()), Some(Kind::Counter));
        for sender in 2..1_000 {
            metadata.exchange(sender, &said(&[("a", Kind::Counter)]));
            assert!(get(&metadata, 1, names.last().unwrap()).is_some(), "who is not quiet is not forgotten");
        }
        assert_eq!(metadata.senders.lock().unwrap().by_hash.len(), SENDERS_MAX);
    }
}
