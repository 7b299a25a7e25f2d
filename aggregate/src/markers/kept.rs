//! The newest things of each service, each once: bounded in number for a service and in bytes for all. Plain data, no rules of its own
//! about what the things are.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::ReleaseId;
use shipwake_store::MarkerQuery;

/// Service, namespace, environment.
type Service = [Arc<str>; 3];

/// A thing that is kept.
pub(crate) trait Entry: Clone {
    /// What tells it from all others.
    type Id: Clone + Eq + Hash + Ord;

    fn id(&self) -> Self::Id;
    fn release(&self) -> &ReleaseId;
    fn at_ns(&self) -> i64;
    fn received_ns(&self) -> i64;
    /// Of two of one time the one with the larger number is the newer.
    fn number(&self) -> u64 {
        0
    }
    /// Bytes in memory, about.
    fn bytes(&self) -> usize;
    /// Whether it takes the place of one with the same id.
    fn replaces(&self, known: &Self) -> bool;
}

/// Things by service, in the order of their times.
#[derive(Debug)]
pub(crate) struct Kept<E: Entry> {
    services: BTreeMap<Service, BTreeMap<(i64, E::Id), E>>,
    /// Where the thing of an id is.
    places: HashMap<E::Id, (Service, i64), ahash::RandomState>,
    bytes: usize,
    per_service_max: usize,
    bytes_max: usize,
}

/// An entry with its ids and its share of the maps, besides its own bytes.
const ENTRY_BYTES: usize = 256;

impl<E: Entry> Kept<E> {
    pub(crate) fn new(per_service_max: usize, bytes_max: usize) -> Self {
        Kept { services: BTreeMap::new(), places: HashMap::default(), bytes: 0, per_service_max, bytes_max }
    }

    /// Keeps a thing, unless one of the same id counts more, or everything that is kept is newer.
    pub(crate) fn keep(&mut self, entry: E) {
        let id = entry.id();
        if let Some(place) = self.places.get(&id).cloned() {
            let known = self.services.get(&place.0).and_then(|of_service| of_service.get(&(place.1, id.clone())));
            if known.is_some_and(|known| !entry.replaces(known)) {
                return;
            }
            self.remove(&place.0, &(place.1, id.clone()));
        }
        let release = entry.release();
        let service = [release.service.clone(), release.namespace.clone(), release.environment.clone()];
        self.bytes += ENTRY_BYTES + entry.bytes();
        self.places.insert(id.clone(), (service.clone(), entry.at_ns()));
        let of_service = self.services.entry(service.clone()).or_default();
        of_service.insert((entry.at_ns(), id), entry);
        if of_service.len() > self.per_service_max
            && let Some(oldest) = of_service.keys().next().cloned()
        {
            self.remove(&service, &oldest);
        }
        while self.bytes > self.bytes_max {
            let first = |(service, of_service): (&Service, &BTreeMap<(i64, E::Id), E>)| {
                of_service.keys().next().map(|place| (place.0, service.clone(), place.clone()))
            };
            let Some((_, service, oldest)) = self.services.iter().filter_map(first).min() else { break };
            self.remove(&service, &oldest);
        }
    }

    /// Forgets what was received before a time.
    pub(crate) fn forget_before(&mut self, received_ns: i64) {
        let mut old: Vec<(Service, (i64, E::Id))> = Vec::new();
        for (service, of_service) in &self.services {
            let of_service = of_service.iter().filter(|(_, entry)| entry.received_ns() < received_ns);
            old.extend(of_service.map(|(place, _)| (service.clone(), place.clone())));
        }
        for (service, place) in old {
            self.remove(&service, &place);
        }
    }

    /// The newest that a query asks for, newest first.
    pub(crate) fn newest(&self, query: &MarkerQuery) -> Vec<E> {
        let asked = |entry: &&E| query.asks_for(entry.release(), entry.at_ns());
        let of_each = |of_service: &BTreeMap<(i64, E::Id), E>| {
            of_service.values().rev().filter(asked).take(query.limit).cloned().collect::<Vec<E>>()
        };
        let mut found: Vec<E> = self.services.values().flat_map(of_each).collect();
        let newest_first = |a: &E, b: &E| (b.at_ns(), b.number()).cmp(&(a.at_ns(), a.number()));
        found.sort_by(|a, b| newest_first(a, b).then_with(|| a.id().cmp(&b.id())));
        found.truncate(query.limit);
        found
    }

    /// All, in an order that depends on nothing else.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        self.services.values().flat_map(BTreeMap::values)
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, service: &Service, place: &(i64, E::Id)) {
        let Some(of_service) = self.services.get_mut(service) else { return };
        if let Some(entry) = of_service.remove(place) {
            self.bytes -= ENTRY_BYTES + entry.bytes();
            self.places.remove(&place.1);
        }
        if of_service.is_empty() {
            self.services.remove(service);
        }
    }
}
