//! The log patterns of a shard: which there are, what they were counted in, and what a restart must know of them.
//!
//! A line is counted under the id of its shape (`shipwake_model::pattern`), which depends on the line alone. Only where a
//! word that no mask recognises makes ever new shapes (a user's name, say), further ones are counted under the id of the
//! template they share: [`book`] sees to it, and to the bound of a service. Counts go into windows like those of a
//! metric; what a commit takes out of them is kept here by the minute for the pages ([`recent`]) and by version for as
//! long as there is room. Everything here is a function of the journal's records.

mod book;
mod bytes;
mod fold;
mod recent;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::pattern::{Level, OTHER, id_of_text};
use shipwake_model::{ReleaseId, Resolution};
use shipwake_store::patterns::merge_cells;
use shipwake_store::{PatternCell, PatternQuery, PatternRow, PatternVersion};

use crate::series::{Measure, MetricMeta};
use crate::windows::MetricWindows;

pub use book::{Book, Entry, Seen};
pub(crate) use bytes::{decode, encode};
pub(crate) use recent::{Addition, Recent};
pub(crate) use text::{Text, example};

/// Series that are remembered by what they are for; beyond it all are looked up again.
const SERIES_MAX: usize = 1 << 17;
const NS_PER_S: f64 = 1e9;
const NS_PER_MS: i64 = 1_000_000;

/// Service, namespace, environment.
type ServiceKey = [Arc<str>; 3];

/// What windows count lines by, in numbers of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeriesKey {
    pub id: u64,
    pub release: u32,
    pub slot: u8,
    pub level: Level,
}

/// How much may be remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Patterns of one service.
    pub per_service: usize,
    /// Patterns of all services.
    pub total: usize,
    /// Bytes of recent cells.
    pub recent_bytes: usize,
}

/// The patterns of all services of a shard.
#[derive(Debug)]
pub(crate) struct Patterns {
    books: Vec<(ServiceKey, Book)>,
    numbers: HashMap<ServiceKey, u32, ahash::RandomState>,
    bounds: Bounds,
    total: usize,
    recent: Recent,
    /// Series by what they are for, while the generation of the series stays the same.
    series: HashMap<SeriesKey, u32, ahash::RandomState>,
    generation: u32,
    /// The shape of the line at hand.
    pub(crate) text: Text,
}

impl Patterns {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Patterns {
            books: Vec::new(),
            numbers: HashMap::default(),
            bounds,
            total: 0,
            recent: Recent::new(bounds.recent_bytes),
            series: HashMap::default(),
            generation: 0,
            text: Text::default(),
        }
    }

    /// The number of a service's book. Numbers hold until the next [`Patterns::sweep`].
    pub(crate) fn book(&mut self, release: &ReleaseId) -> u32 {
        let key = [release.service.clone(), release.namespace.clone(), release.environment.clone()];
        *self.numbers.entry(key).or_insert_with_key(|key| {
            self.books.push((key.clone(), Book::default()));
            self.books.len() as u32 - 1
        })
    }

    /// The series that lines of a shape are counted in, where that is known.
    #[inline]
    pub(crate) fn known_series(&mut self, key: &SeriesKey, generation: u32) -> Option<u32> {
        if self.generation != generation {
            self.series.clear();
            self.generation = generation;
        }
        self.series.get(key).copied()
    }

    /// Remembers the series of a pattern's lines.
    pub(crate) fn keep_series(&mut self, key: SeriesKey, series: u32) {
        if self.series.len() >= SERIES_MAX {
            self.series.clear();
        }
        self.series.insert(key, series);
    }

    /// The id that the line at hand is counted under in a service's book, which learns it if there is room.
    pub(crate) fn learn(&mut self, book: u32, example: impl FnOnce() -> String, received_ns: i64) -> u64 {
        let (_, book) = &mut self.books[book as usize];
        let (before, forgettings) = (book.len(), book.forgettings());
        let room = self.bounds.per_service.min(before + self.bounds.total.saturating_sub(self.total));
        let id = book.learn(self.text.shape(), example, received_ns, room);
        if book.forgettings() != forgettings {
            // Whoever was forgotten is looked up again, and then learnt again.
            self.series.clear();
        }
        self.total = self.total + book.len() - before;
        id
    }

    /// What a pattern's windows are labelled with.
    pub(crate) fn template(&self, book: u32, id: u64) -> Arc<str> {
        let entry = self.books[book as usize].1.get(id);
        entry.map_or_else(|| OTHER.into(), |entry| entry.shape.clone())
    }

    /// Takes note of everything that a commit takes out of the windows.
    pub(crate) fn add_windows(&mut self, windows: &MetricWindows, metas: &[Arc<MetricMeta>], received_ns: i64) {
        let Patterns { books, numbers, recent, .. } = self;
        for found in counted(windows, metas) {
            recent.add(&found.addition());
            let Some(number) = numbers.get(&found.service()) else { continue };
            if let Some(entry) = books[*number as usize].1.get_mut(found.id) {
                entry.received_ns = entry.received_ns.max(received_ns);
                entry.saw(found.seen());
            }
        }
    }

    /// Takes back a minute that is stored.
    pub(crate) fn add_recent(&mut self, addition: &Addition<'_>) {
        self.recent.add(addition);
    }

    /// Drops recent cells that are too old at `newest_ns` or too many.
    pub(crate) fn prune(&mut self, newest_ns: i64) {
        self.recent.prune(newest_ns);
    }

    /// Forgets patterns that nobody has written for long, when there is little room left, and services without any.
    pub(crate) fn sweep(&mut self, received_ns: i64) {
        self.forget_quiet(received_ns);
        self.books.retain(|(_, book)| !book.is_empty());
        self.numbers = self.books.iter().enumerate().map(|(number, (key, _))| (key.clone(), number as u32)).collect();
    }

    fn forget_quiet(&mut self, received_ns: i64) {
        for quiet_ns in book::QUIET_NS {
            if self.total <= self.bounds.total / 4 * 3 {
                return;
            }
            for (_, book) in &mut self.books {
                book.forget_before(received_ns.saturating_sub(quiet_ns));
            }
            self.total = self.books.iter().map(|(_, book)| book.len()).sum();
            self.series.clear();
        }
    }

    /// The patterns of a service or of all, with the cells of a range. `fresh` are the windows since the last commit.
    pub(crate) fn rows(
        &self,
        query: &PatternQuery,
        fresh: &MetricWindows,
        metas: &[Arc<MetricMeta>],
    ) -> Vec<PatternRow> {
        let asks = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let mut rows: HashMap<(u32, u64), PatternRow, ahash::RandomState> = HashMap::default();
        let wanted = |key: &ServiceKey| asks(&query.service, &key[0]) && asks(&query.environment, &key[2]);
        for (number, (key, book)) in self.books.iter().enumerate().filter(|(_, (key, _))| wanted(key)) {
            rows.extend(book.entries().map(|entry| ((number as u32, entry.id), entry.row(key))));
        }
        let mut add = |service: &ServiceKey, id: u64, version: PatternVersion| {
            let number = self.numbers.get(service).copied();
            if let Some(row) = number.and_then(|number| rows.get_mut(&(number, id))) {
                row.add(version);
            }
        };
        for found in counted(fresh, metas).filter(|found| wanted(&found.service())) {
            add(&found.service(), found.id, found.version(query));
        }
        if query.from_ms < query.to_ms {
            self.recent.each(query, |service, id, version| add(&service, id, version));
        }
        let mut rows: Vec<PatternRow> = rows.into_values().collect();
        rows.iter_mut().flat_map(|row| &mut row.versions).for_each(date_by_cells);
        rows
    }

    /// Bytes in memory, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        let books: usize = self.books.iter().map(|(_, book)| book.heap_bytes()).sum();
        books + self.recent.bytes() + self.series.capacity() * (size_of::<(SeriesKey, u32)>() + 1)
    }

    /// All services with their patterns in the order in which they were learnt.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceKey, impl Iterator<Item = &Entry>)> {
        self.books.iter().map(|(key, book)| (key, book.entries()))
    }

    /// Takes back a pattern from the committed state, in the order of [`Patterns::services`].
    pub(crate) fn restore(&mut self, release: &ReleaseId, entry: Entry) {
        let book = self.book(release);
        let (_, book) = &mut self.books[book as usize];
        let before = book.len();
        book.restore(entry);
        self.total += book.len() - before;
    }
}

/// A version that a pattern has no room to remember is dated by its recent minutes.
fn date_by_cells(version: &mut PatternVersion) {
    if version.first_seen_ns == i64::MAX {
        let (first, last) = (version.cells.first(), version.cells.last());
        version.first_seen_ns = first.map_or(0, |cell| cell.t_ms * NS_PER_MS);
        version.last_seen_ns = last.map_or(0, |cell| cell.t_ms * NS_PER_MS);
    }
}

/// Lines counted in one window of a series.
struct Counted<'a> {
    start_ns: i64,
    meta: &'a MetricMeta,
    id: u64,
    level: Level,
    count: u64,
    first_ns: i64,
    last_ns: i64,
}

fn counted<'a>(windows: &'a MetricWindows, metas: &'a [Arc<MetricMeta>]) -> impl Iterator<Item = Counted<'a>> {
    windows.iter().filter_map(|(start_ns, series, cell)| {
        let meta = &*metas[series as usize];
        let (id, totals) = (id_of_text(&meta.metric)?, cell.totals()?);
        debug_assert_eq!(meta.measure, Measure::Pattern);
        let level = meta.attributes.iter().find(|(key, _)| key == LEVEL).and_then(|(_, word)| Level::from_word(word));
        Some(Counted {
            start_ns,
            meta,
            id,
            level: level.unwrap_or_default(),
            count: totals.count,
            first_ns: nanoseconds(totals.min),
            last_ns: nanoseconds(totals.max),
        })
    })
}

impl Counted<'_> {
    fn service(&self) -> ServiceKey {
        let release = &self.meta.release;
        [release.service.clone(), release.namespace.clone(), release.environment.clone()]
    }

    fn addition(&self) -> Addition<'_> {
        Addition {
            start_ns: self.start_ns,
            release: &self.meta.release,
            id: self.id,
            level: self.level,
            slot: self.meta.slot,
            count: self.count,
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            version: self.meta.release.version.clone(),
            level: self.level,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            count: self.count,
        }
    }

    fn version(&self, query: &PatternQuery) -> PatternVersion {
        let t_ms = Resolution::S60.window_start_ns(self.start_ns).div_euclid(NS_PER_MS);
        let in_range = (query.from_ms..query.to_ms).contains(&t_ms);
        let cell = PatternCell { t_ms, count: self.count, slots: 1 << (self.meta.slot & 7) };
        PatternVersion { cells: in_range.then_some(cell).into_iter().collect(), ..self.seen().version(Vec::new()) }
    }
}

impl Seen {
    fn version(&self, mut cells: Vec<PatternCell>) -> PatternVersion {
        merge_cells(&mut cells);
        PatternVersion {
            version: self.version.clone(),
            level: self.level,
            first_seen_ns: self.first_ns,
            last_seen_ns: self.last_ns,
            count: self.count,
            cells,
        }
    }
}

impl Entry {
    fn row(&self, [service, namespace, environment]: &ServiceKey) -> PatternRow {
        PatternRow {
            service: service.clone(),
            namespace: namespace.clone(),
            environment: environment.clone(),
            id: self.id,
            template: self.shape.clone(),
            example: self.example.clone(),
            versions: self.seen.iter().map(|seen| seen.version(Vec::new())).collect(),
        }
    }
}

/// Attribute of a pattern's windows: the level of its lines.
pub(crate) const LEVEL: &str = "level";
/// Attribute of a pattern's windows: its template.
pub(crate) const TEMPLATE: &str = "template";

/// A time as windows keep it: partials of a window then merge by minimum and maximum.
pub(crate) fn seconds(time_ns: i64) -> f64 {
    time_ns as f64 / NS_PER_S
}

fn nanoseconds(seconds: f64) -> i64 {
    (seconds * NS_PER_S) as i64
}
