//! The last minutes and the last hour of requests, errors and durations, merged, for the pages.
//!
//! Cells are added from every commit's deltas (and, after a restart, from stored windows); the newest deltas lie beside
//! them and are added when somebody asks. Bounded in bytes: detail by route goes first, oldest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::window::NS_PER_S;
use shipwake_model::{ReleaseId, Resolution, Source};
use shipwake_store::{HealthCell, HealthQuery, HealthSeries, SlotSeries};

use crate::cells::FullCell;
use crate::series::HealthMeta;
use crate::windows::{Deltas, HealthWindows};

/// How long cells of one second are kept, by event time.
pub const SECONDS_KEPT_NS: i64 = 300 * NS_PER_S;
/// How long cells of ten seconds are kept, by event time.
pub const TENS_KEPT_NS: i64 = 3600 * NS_PER_S;
const NS_PER_MS: i64 = 1_000_000;

type Key = (Arc<ReleaseId>, Source, Arc<str>);
type Level = BTreeMap<i64, HashMap<Key, Slotted, ahash::RandomState>>;
type SlotKey = (Arc<ReleaseId>, Source, u8);
type SlotLevel = BTreeMap<i64, HashMap<SlotKey, FullCell, ahash::RandomState>>;

/// A cell and the replicate slots that added to it.
#[derive(Clone, Debug, Default)]
struct Slotted {
    cell: FullCell,
    slots: u8,
}

/// Recent cells.
#[derive(Debug)]
pub struct Recent {
    seconds: Level,
    tens: Level,
    /// Ten seconds, by route.
    routes: Level,
    /// Ten seconds, by replicate slot.
    slots: SlotLevel,
    bytes: usize,
    bytes_max: usize,
}

/// One addition to a cell.
#[derive(Clone, Copy, Debug)]
pub struct Addition<'a> {
    /// Start of the window, ns.
    pub start_ns: i64,
    /// One or ten seconds.
    pub resolution: Resolution,
    /// The release.
    pub release: &'a Arc<ReleaseId>,
    /// The source.
    pub source: Source,
    /// The route, or empty.
    pub route: &'a Arc<str>,
    /// The replicate slot.
    pub slot: u8,
    /// What is added.
    pub cell: &'a FullCell,
}

impl Recent {
    /// No cells yet.
    pub fn new(bytes_max: usize) -> Self {
        Recent {
            seconds: Level::new(),
            tens: Level::new(),
            routes: Level::new(),
            slots: SlotLevel::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds to the cells of a window.
    pub fn add(&mut self, addition: &Addition<'_>) {
        let no_route: Arc<str> = "".into();
        if addition.resolution == Resolution::S1 {
            add_to(&mut self.seconds, addition, &no_route);
            return;
        }
        add_to(&mut self.tens, addition, &no_route);
        add_to(&mut self.routes, addition, addition.route);
        let window = self.slots.entry(addition.start_ns).or_default();
        let key = (addition.release.clone(), addition.source, addition.slot);
        window.entry(key).or_default().merge(addition.cell);
    }

    /// Adds everything that a commit takes out of the windows.
    pub fn add_deltas(&mut self, deltas: &Deltas) {
        for windows in [&deltas.one, &deltas.ten] {
            for (start_ns, series, cell) in windows.iter() {
                let meta = &deltas.health_metas[series as usize];
                self.add(&addition(start_ns, windows.resolution(), meta, &cell));
            }
        }
    }

    /// Drops what is too old at `newest_ns`, or beyond the bound in bytes.
    pub fn prune(&mut self, newest_ns: i64) {
        self.seconds = self.seconds.split_off(&newest_ns.saturating_sub(SECONDS_KEPT_NS));
        for level in [&mut self.tens, &mut self.routes] {
            *level = level.split_off(&newest_ns.saturating_sub(TENS_KEPT_NS));
        }
        self.slots = self.slots.split_off(&newest_ns.saturating_sub(TENS_KEPT_NS));
        self.bytes =
            [&self.seconds, &self.tens, &self.routes].into_iter().flat_map(BTreeMap::values).map(bytes_of).sum();
        self.bytes += self.slots.values().map(slot_bytes_of).sum::<usize>();
        // Least missed first: without slots a release is judged as if its noise were not known.
        while self.bytes > self.bytes_max {
            let Some((_, window)) = self.slots.pop_first() else { break };
            self.bytes -= slot_bytes_of(&window);
        }
        for level in [&mut self.routes, &mut self.tens, &mut self.seconds] {
            while self.bytes > self.bytes_max {
                let Some((_, window)) = level.pop_first() else { break };
                self.bytes -= bytes_of(&window);
            }
        }
    }

    /// Bytes of the cells at the last [`Recent::prune`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What a page asks for, from the kept cells and `fresh`, which is not among them yet.
    pub fn health(&self, query: &HealthQuery, fresh: &HealthWindows, metas: &[Arc<HealthMeta>]) -> Vec<HealthSeries> {
        let (wanted, step_s) = resolution_of(query);
        let mut answer = Answer::new(step_s);
        let level = match (wanted, query.by_route) {
            (Resolution::S1, _) => &self.seconds,
            (_, true) => &self.routes,
            (_, false) => &self.tens,
        };
        let range = query.from_ms.saturating_mul(NS_PER_MS)..query.to_ms.max(query.from_ms).saturating_mul(NS_PER_MS);
        for (start_ns, window) in level.range(range.clone()) {
            for ((release, source, route), slotted) in window.iter().filter(|(key, _)| asks_for(query, &key.0)) {
                answer.add(*start_ns, release, *source, route, &slotted.cell, slotted.slots);
            }
        }
        let no_route: Arc<str> = "".into();
        let is_wanted = |series: u32| asks_for(query, &metas[series as usize].release);
        for (start_ns, series, cell) in fresh.iter_of(range, is_wanted) {
            let meta = &metas[series as usize];
            let route = if query.by_route { &meta.route } else { &no_route };
            answer.add(start_ns, &meta.release, meta.source, route, &cell, 1 << meta.slot);
        }
        answer.finish()
    }
}

impl Recent {
    /// What the verdict learns noise from: cells of ten seconds by replicate slot, from the kept ones and `fresh`.
    pub fn slots(&self, query: &HealthQuery, fresh: &HealthWindows, metas: &[Arc<HealthMeta>]) -> Vec<SlotSeries> {
        let mut found: HashMap<SlotKey, BTreeMap<i64, HealthCell>, ahash::RandomState> = HashMap::default();
        let mut add = |start_ns: i64, key: SlotKey, cell: &FullCell| {
            let t_ms = start_ns.div_euclid(NS_PER_MS);
            let slots = 1 << key.2;
            let place = found.entry(key).or_default().entry(t_ms).or_insert_with(|| empty_cell(t_ms));
            add_cell(place, cell, slots);
        };
        let range = query.from_ms.saturating_mul(NS_PER_MS)..query.to_ms.max(query.from_ms).saturating_mul(NS_PER_MS);
        for (start_ns, window) in self.slots.range(range.clone()) {
            let wanted = window.iter().filter(|(key, _)| asks_for(query, &key.0));
            wanted.for_each(|(key, cell)| add(*start_ns, key.clone(), cell));
        }
        let is_wanted = |series: u32| asks_for(query, &metas[series as usize].release);
        for (start_ns, series, cell) in fresh.iter_of(range, is_wanted) {
            let meta = &metas[series as usize];
            add(start_ns, (meta.release.clone(), meta.source, meta.slot), &cell);
        }
        let series = |((release, source, slot), cells): (SlotKey, BTreeMap<i64, HealthCell>)| SlotSeries {
            release,
            source,
            slot,
            cells: cells.into_values().collect(),
        };
        found.into_iter().map(series).collect()
    }
}

fn asks_for(query: &HealthQuery, release: &ReleaseId) -> bool {
    let asks = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    asks(&query.service, &release.service) && asks(&query.environment, &release.environment)
}

fn empty_cell(t_ms: i64) -> HealthCell {
    HealthCell { t_ms, requests: 0, errors: 0, duration: Default::default(), slots: 0 }
}

fn add_cell(place: &mut HealthCell, cell: &FullCell, slots: u8) {
    place.requests = place.requests.saturating_add(cell.requests);
    place.errors = place.errors.saturating_add(cell.errors);
    place.duration.merge(&cell.duration);
    place.slots |= slots;
}

/// The cells a query is answered from, and the step in seconds. Steps below ten seconds are answered from cells of one
/// second, which have no routes; by route the step is at least ten seconds.
pub fn resolution_of(query: &HealthQuery) -> (Resolution, u32) {
    let step_s = if query.by_route { query.step_s.max(10) } else { query.step_s.max(1) };
    (if step_s >= 10 { Resolution::S10 } else { Resolution::S1 }, step_s)
}

/// A cell of the windows as an addition.
pub fn addition<'a>(start_ns: i64, resolution: Resolution, meta: &'a HealthMeta, cell: &'a FullCell) -> Addition<'a> {
    Addition {
        start_ns,
        resolution,
        release: &meta.release,
        source: meta.source,
        route: &meta.route,
        slot: meta.slot,
        cell,
    }
}

fn add_to(level: &mut Level, addition: &Addition<'_>, route: &Arc<str>) {
    let window = level.entry(addition.start_ns).or_default();
    let key = (addition.release.clone(), addition.source, route.clone());
    let slotted = window.entry(key).or_default();
    slotted.cell.merge(addition.cell);
    slotted.slots |= 1 << addition.slot;
}

fn bytes_of(window: &HashMap<Key, Slotted, ahash::RandomState>) -> usize {
    let cells: usize = window.values().map(|slotted| slotted.cell.duration.heap_bytes()).sum();
    window.capacity() * (size_of::<(Key, Slotted)>() + 1) + cells
}

fn slot_bytes_of(window: &HashMap<SlotKey, FullCell, ahash::RandomState>) -> usize {
    let cells: usize = window.values().map(|cell| cell.duration.heap_bytes()).sum();
    window.capacity() * (size_of::<(SlotKey, FullCell)>() + 1) + cells
}

/// The answer to a query while it is put together.
struct Answer {
    step_ms: i64,
    /// Cells in the order of their times.
    series: HashMap<Key, Vec<HealthCell>, ahash::RandomState>,
}

impl Answer {
    fn new(step_s: u32) -> Self {
        Answer { step_ms: i64::from(step_s) * 1000, series: HashMap::default() }
    }

    fn add(
        &mut self,
        start_ns: i64,
        release: &Arc<ReleaseId>,
        source: Source,
        route: &Arc<str>,
        cell: &FullCell,
        slots: u8,
    ) {
        let t_ms = start_ns.div_euclid(NS_PER_MS).div_euclid(self.step_ms) * self.step_ms;
        let cells = self.series.entry((release.clone(), source, route.clone())).or_default();
        // Windows come in their order, but for those that are not among the kept ones yet.
        let place = match cells.last() {
            Some(last) if last.t_ms == t_ms => Ok(cells.len() - 1),
            Some(last) if last.t_ms > t_ms => cells.binary_search_by_key(&t_ms, |cell| cell.t_ms),
            _ => Err(cells.len()),
        };
        match place {
            Ok(at) => add_cell(&mut cells[at], cell, slots),
            Err(at) => {
                let (requests, errors, duration) = (cell.requests, cell.errors, cell.duration.clone());
                cells.insert(at, HealthCell { t_ms, requests, errors, duration, slots });
            }
        }
    }

    fn finish(self) -> Vec<HealthSeries> {
        let series = self.series.into_iter().map(|((release, source, route), cells)| HealthSeries {
            release,
            source,
            route,
            cells,
        });
        series.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> Arc<ReleaseId> {
        Arc::new(ReleaseId {
            service: "shop".into(),
            namespace: "".into(),
            environment: "prod".into(),
            version: version.into(),
        })
    }

    fn cell(requests: u64, duration: u64) -> FullCell {
        let mut cell = FullCell { requests, errors: 1, ..FullCell::default() };
        cell.duration.record_n(duration, requests);
        cell
    }

    fn query(from_s: i64, to_s: i64, step_s: u32, by_route: bool) -> HealthQuery {
        let (from_ms, to_ms) = (from_s * 1000, to_s * 1000);
        HealthQuery { service: Some("shop".to_owned()), environment: None, from_ms, to_ms, step_s, by_route }
    }

    fn filled(windows: i64) -> Recent {
        let mut recent = Recent::new(1 << 20);
        let (one, two) = (release("1"), release("2"));
        for at in 0..windows {
            for (release, route, slot) in [(&one, "/a", 0), (&one, "/b", 3), (&two, "/a", 1)] {
                let route: Arc<str> = route.into();
                let content = cell(2, 1000);
                let mut addition = Addition {
                    start_ns: at * 10 * NS_PER_S,
                    resolution: Resolution::S10,
                    release,
                    source: Source::Spans,
                    route: &route,
                    slot,
                    cell: &content,
                };
                recent.add(&addition);
                addition.resolution = Resolution::S1;
                recent.add(&addition);
            }
        }
        recent
    }

    #[test]
    fn cells_are_added_up_by_release_step_and_route() {
        let recent = filled(6);
        let mut whole = recent.health(&query(0, 60, 30, false), &HealthWindows::new(Resolution::S10), &[]);
        whole.sort_by(|a, b| a.release.cmp(&b.release));
        assert_eq!(whole.len(), 2);
        let requests: Vec<_> = whole[0].cells.iter().map(|cell| (cell.t_ms, cell.requests, cell.slots)).collect();
        assert_eq!(requests, [(0, 12, 0b1001), (30_000, 12, 0b1001)]);
        assert_eq!(recent.health(&query(0, 60, 10, true), &HealthWindows::new(Resolution::S10), &[]).len(), 3);
        assert_eq!(
            recent.health(&query(10, 11, 1, false), &HealthWindows::new(Resolution::S10), &[])[0].cells.len(),
            1
        );
    }

    #[test]
    fn slots_are_kept_apart_and_go_first() {
        let mut recent = filled(6);
        let of = |recent: &Recent| {
            let mut found = recent.slots(&query(0, 60, 10, false), &HealthWindows::new(Resolution::S10), &[]);
            found.sort_by_key(|series| (series.release.clone(), series.slot));
            let sum = |series: &SlotSeries| series.cells.iter().map(|cell| cell.requests).sum::<u64>();
            found.iter().map(|series| (series.slot, series.cells.len(), sum(series))).collect::<Vec<_>>()
        };
        assert_eq!(of(&recent), [(0, 6, 12), (3, 6, 12), (1, 6, 12)]);
        recent.prune(60 * NS_PER_S);
        let without: usize = recent.slots.values().map(slot_bytes_of).sum();
        recent.bytes_max = recent.bytes() - without;
        recent.prune(60 * NS_PER_S);
        assert!(of(&recent).is_empty());
        assert_eq!(recent.health(&query(0, 60, 10, true), &HealthWindows::new(Resolution::S10), &[]).len(), 3);
    }

    #[test]
    fn old_cells_go_and_detail_by_route_goes_first() {
        let mut recent = filled(720);
        recent.prune(7200 * NS_PER_S);
        let cells = |recent: &Recent, by_route| {
            recent.health(&query(0, 7200, 10, by_route), &HealthWindows::new(Resolution::S10), &[])[0].cells.len()
        };
        assert_eq!((cells(&recent, false), cells(&recent, true)), (360, 360));
        assert!(recent.health(&query(0, 6000, 1, false), &HealthWindows::new(Resolution::S10), &[]).is_empty());
        // Slots go before routes do.
        let of_slots: usize = recent.slots.values().map(slot_bytes_of).sum();
        recent.bytes_max = (recent.bytes() - of_slots) * 3 / 4;
        recent.prune(7200 * NS_PER_S);
        assert!(recent.bytes() <= recent.bytes_max);
        assert!(recent.slots.values().map(slot_bytes_of).sum::<usize>() == 0);
        assert_eq!(cells(&recent, false), 360);
        assert!(cells(&recent, true) < 360);
    }
}
