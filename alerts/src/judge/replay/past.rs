//! What was visible at a moment of the past: stored windows from their end on, in the form in which the judge reads recent ones.
//!
//! A window is shown once it is over, as a whole: of one second that is a second after it began. Windows of the last hour are kept, as
//! shards do; older ones are forgotten as the clock goes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use shipwake_model::pattern::OTHER_ID;
use shipwake_model::{ReleaseId, Source};
use shipwake_store::patterns::merge_cells;
use shipwake_store::{
    HealthCell, HealthQuery, HealthSeries, MarkerQuery, MarkerRow, MeasureQuery, MeasureSeries, PatternCell,
    PatternQuery, PatternRow, PatternVersion, ReleaseRow, ShardStatus, SlotSeries, merge_markers, merge_measures,
};

use super::stored::{Stored, StoredWindow};
use crate::judge::windows::Windows;

/// How long windows are kept behind the clock: as long as shards keep theirs.
const KEPT_S: i64 = 3_600;
/// Records are taken for complete so long after their second: what most senders hold them back for.
const BEHIND_S: i64 = 2;
/// Length of the pieces in which instances are told.
const INSTANCES_S: i64 = 300;
/// Without them, slots that were heard of within so many seconds count.
const SLOTS_S: i64 = 120;

/// More windows at a time than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an hour of windows has more than {cells_max} cells")]
pub struct TooMuch {
    /// The bound.
    pub cells_max: usize,
}

type Key = (Arc<ReleaseId>, Source, Arc<str>);
type SlotKey = (Arc<ReleaseId>, Source, u8);
type PatternKey = (Arc<str>, Arc<str>, Arc<str>, u64);

/// What is known of a release besides its windows.
#[derive(Debug, Default)]
struct Known {
    first_seen_ns: i64,
    guessed: bool,
    /// It has had a request.
    has_requests: bool,
    /// By the start of five minutes.
    instances: BTreeMap<i64, u32>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Past {
    now_s: i64,
    /// Windows that are not over yet, by when they are.
    coming: BTreeMap<i64, Vec<StoredWindow>>,
    /// Ten seconds, by route, and all routes together.
    routes: BTreeMap<i64, BTreeMap<Key, HealthCell>>,
    whole: BTreeMap<i64, BTreeMap<Key, HealthCell>>,
    slots: BTreeMap<i64, BTreeMap<SlotKey, HealthCell>>,
    measures: VecDeque<MeasureSeries>,
    patterns: BTreeMap<PatternKey, PatternRow>,
    releases: BTreeMap<Arc<ReleaseId>, Known>,
    markers: Vec<MarkerRow>,
    no_route: Arc<str>,
    cells: usize,
    cells_max: usize,
}

impl Past {
    pub fn new(cells_max: usize) -> Past {
        Past {
            now_s: i64::MIN,
            coming: BTreeMap::new(),
            routes: BTreeMap::new(),
            whole: BTreeMap::new(),
            slots: BTreeMap::new(),
            measures: VecDeque::new(),
            patterns: BTreeMap::new(),
            releases: BTreeMap::new(),
            markers: Vec::new(),
            no_route: "".into(),
            cells: 0,
            cells_max,
        }
    }

    pub fn know_release(&mut self, release: Arc<ReleaseId>, first_seen_ns: i64, guessed: bool) {
        let known = self.releases.entry(release).or_default();
        (known.first_seen_ns, known.guessed) = (first_seen_ns, guessed);
    }

    pub fn know_instances(&mut self, release: &Arc<ReleaseId>, start_s: i64, instances: u32) {
        if let Some(known) = self.releases.get_mut(release) {
            known.instances.insert(start_s.div_euclid(INSTANCES_S) * INSTANCES_S, instances);
        }
    }

    pub fn know_markers(&mut self, markers: Vec<MarkerRow>) {
        self.markers = markers;
    }

    pub fn take(&mut self, windows: Vec<StoredWindow>) -> Result<(), TooMuch> {
        for window in windows {
            let over_s = window.start_s + window.length_s;
            // What is long over stands in no order to the clock.
            self.cells += 1;
            self.coming.entry(over_s).or_default().push(window);
        }
        if self.cells > self.cells_max {
            return Err(TooMuch { cells_max: self.cells_max });
        }
        Ok(())
    }

    /// Whether some second of the next ten shows something of its own.
    pub fn is_fine(&self, now_s: i64) -> bool {
        self.coming.range(now_s + 1..=now_s + 10).any(|(over_s, _)| over_s.rem_euclid(10) != 0)
    }

    /// Shows what is over at a moment, and forgets what is too old.
    pub fn move_to(&mut self, now_s: i64) {
        self.now_s = now_s;
        while let Some(entry) = self.coming.first_entry().filter(|entry| *entry.key() <= now_s) {
            for window in entry.remove() {
                self.cells -= 1;
                self.show(window);
            }
        }
        let old_s = now_s - KEPT_S;
        let forget = |level: &mut BTreeMap<i64, BTreeMap<Key, HealthCell>>| {
            let kept = level.split_off(&old_s);
            std::mem::replace(level, kept).values().map(BTreeMap::len).sum::<usize>()
        };
        self.cells -= forget(&mut self.routes) + forget(&mut self.whole);
        let kept = self.slots.split_off(&old_s);
        self.cells -= std::mem::replace(&mut self.slots, kept).values().map(BTreeMap::len).sum::<usize>();
        while self.measures.front().is_some_and(|one| one.cells[0].t_ms < old_s * 1_000) {
            self.measures.pop_front();
            self.cells -= 1;
        }
        for version in self.patterns.values_mut().flat_map(|row| &mut row.versions) {
            let many = version.cells.len();
            if version.cells.first().is_some_and(|cell| cell.t_ms < old_s * 1_000) {
                version.cells.retain(|cell| cell.t_ms >= old_s * 1_000);
                self.cells -= many - version.cells.len();
            }
        }
    }

    fn show(&mut self, window: StoredWindow) {
        let StoredWindow { release, start_s, what, .. } = window;
        match what {
            Stored::Health { source, route, slot, requests, errors, duration } => {
                let start_s = start_s.div_euclid(10) * 10;
                let cell = HealthCell { t_ms: start_s * 1_000, requests, errors, duration, slots: 1 << (slot % 8) };
                if requests > 0 {
                    self.saw_request(&release, start_s);
                }
                let whole = (release.clone(), source, self.no_route.clone());
                self.cells += add(self.whole.entry(start_s).or_default(), whole, &cell);
                self.cells += add(self.routes.entry(start_s).or_default(), (release.clone(), source, route), &cell);
                self.cells += add(self.slots.entry(start_s).or_default(), (release, source, slot), &cell);
            }
            Stored::Measure { key, mut cell } => {
                cell.t_ms = start_s.div_euclid(10) * 10_000;
                self.measures.push_back(MeasureSeries { key, cells: vec![cell] });
                self.cells += 1;
            }
            Stored::Lines { id, template, level, slot, count, first_ns, last_ns } if id != OTHER_ID => {
                let t_ms = start_s.div_euclid(60) * 60_000;
                let cells =
                    (count > 0).then(|| PatternCell { t_ms, count, slots: 1 << (slot % 8) }).into_iter().collect();
                let version = PatternVersion {
                    version: release.version.clone(),
                    level,
                    first_seen_ns: first_ns,
                    last_seen_ns: last_ns,
                    count,
                    cells,
                };
                self.show_lines(&release, id, template, version);
            }
            Stored::Lines { .. } => {}
        }
    }

    fn saw_request(&mut self, release: &Arc<ReleaseId>, start_s: i64) {
        let first_seen_ns = start_s.saturating_mul(1_000_000_000);
        let fresh = || Known { first_seen_ns, ..Known::default() };
        self.releases.entry(release.clone()).or_insert_with(fresh).has_requests = true;
    }

    fn show_lines(&mut self, release: &ReleaseId, id: u64, template: Arc<str>, version: PatternVersion) {
        let ReleaseId { service, namespace, environment, .. } = release.clone();
        let key = (service.clone(), namespace.clone(), environment.clone(), id);
        let row = self.patterns.entry(key).or_insert_with(|| PatternRow {
            service,
            namespace,
            environment,
            id,
            example: template.clone(),
            template,
            versions: Vec::new(),
        });
        let cells_of = |row: &PatternRow| row.versions.iter().map(|version| version.cells.len()).sum::<usize>();
        let before = cells_of(row);
        row.add(version);
        self.cells += cells_of(row) - before;
    }

    /// How many instances of a release were running.
    fn instances(&self, release: &Arc<ReleaseId>, known: &Known) -> u32 {
        let bin_s = self.now_s.div_euclid(INSTANCES_S) * INSTANCES_S;
        let told = known.instances.range(bin_s - INSTANCES_S..=bin_s).map(|(_, many)| *many).max();
        told.unwrap_or_else(|| {
            let recent = self.slots.range(self.now_s - SLOTS_S..).flat_map(|(_, cells)| cells);
            let ours = recent.filter(|((of, _, _), cell)| of == release && cell.requests > 0);
            ours.fold(0u8, |slots, (_, cell)| slots | cell.slots).count_ones()
        })
    }
}

/// Adds to a cell; how many cells there are more.
fn add<K: Ord>(level: &mut BTreeMap<K, HealthCell>, key: K, cell: &HealthCell) -> usize {
    match level.get_mut(&key) {
        Some(known) => {
            known.add(cell);
            0
        }
        None => {
            level.insert(key, cell.clone());
            1
        }
    }
}

fn asks(wanted: Option<&String>, found: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn asks_for(query: &HealthQuery, release: &ReleaseId) -> bool {
    asks(query.service.as_ref(), &release.service) && asks(query.environment.as_ref(), &release.environment)
}

/// Windows that begin in the range of a query, in seconds.
fn range_of(query: &HealthQuery) -> std::ops::Range<i64> {
    let from_s = query.from_ms.div_euclid(1_000);
    from_s..query.to_ms.div_euclid(1_000).max(from_s)
}

impl Windows for Past {
    fn releases(&self) -> Vec<ReleaseRow> {
        let now_ns = self.now_s.saturating_mul(1_000_000_000);
        let seen = self.releases.iter().filter(|(_, known)| known.first_seen_ns <= now_ns);
        let row = |(release, known): (&Arc<ReleaseId>, &Known)| ReleaseRow {
            release: release.clone(),
            first_seen_ns: known.first_seen_ns,
            last_seen_ns: now_ns,
            records: 1,
            requests: u64::from(known.has_requests),
            instances: self.instances(release, known),
            instance_guessed: known.guessed,
            hashes: Vec::new(),
        };
        seen.map(row).collect()
    }

    fn health(&self, query: &HealthQuery) -> Vec<HealthSeries> {
        let level = if query.by_route { &self.routes } else { &self.whole };
        let step_ms = i64::from(query.step_s.max(10)) * 1_000;
        let mut found: BTreeMap<&Key, Vec<HealthCell>> = BTreeMap::new();
        for (start_s, cells) in level.range(range_of(query)) {
            let t_ms = (start_s * 1_000).div_euclid(step_ms) * step_ms;
            for (key, cell) in cells.iter().filter(|((release, _, _), _)| asks_for(query, release)) {
                let series = found.entry(key).or_default();
                match series.last_mut().filter(|last| last.t_ms == t_ms) {
                    Some(last) => last.add(cell),
                    None => series.push(HealthCell { t_ms, ..cell.clone() }),
                }
            }
        }
        let series = |((release, source, route), cells): (&Key, _)| HealthSeries {
            release: release.clone(),
            source: *source,
            route: route.clone(),
            cells,
        };
        found.into_iter().map(series).collect()
    }

    fn slots(&self, query: &HealthQuery) -> Vec<SlotSeries> {
        let mut found: BTreeMap<&SlotKey, Vec<HealthCell>> = BTreeMap::new();
        for cells in self.slots.range(range_of(query)).map(|(_, cells)| cells) {
            for (key, cell) in cells.iter().filter(|((release, _, _), _)| asks_for(query, release)) {
                found.entry(key).or_default().push(cell.clone());
            }
        }
        let series = |((release, source, slot), cells): (&SlotKey, _)| SlotSeries {
            release: release.clone(),
            source: *source,
            slot: *slot,
            cells,
        };
        found.into_iter().map(series).collect()
    }

    fn patterns(&self, query: &PatternQuery) -> Vec<PatternRow> {
        let wanted = self.patterns.values().filter(|row| {
            asks(query.service.as_ref(), &row.service) && asks(query.environment.as_ref(), &row.environment)
        });
        let within = |row: &PatternRow| {
            let mut row = row.clone();
            for version in &mut row.versions {
                version.cells.retain(|cell| (query.from_ms..query.to_ms).contains(&cell.t_ms));
                merge_cells(&mut version.cells);
            }
            row
        };
        wanted.map(within).collect()
    }

    fn measures(&self, query: &MeasureQuery) -> Vec<MeasureSeries> {
        let wanted = self.measures.iter().filter(|one| {
            query.asks_for(one.key.signal, &one.key.release)
                && (query.from_ms..query.to_ms).contains(&one.cells[0].t_ms)
        });
        merge_measures(wanted.cloned())
    }

    fn markers(&self, query: &MarkerQuery) -> Vec<MarkerRow> {
        let now_ns = self.now_s.saturating_mul(1_000_000_000);
        let wanted = self
            .markers
            .iter()
            .filter(|row| row.received_ns <= now_ns && query.asks_for(&row.marker.release, row.marker.at_ns));
        merge_markers(wanted.cloned(), query.limit)
    }

    fn status(&self) -> Vec<ShardStatus> {
        let second_ns = |at_s: i64| at_s.saturating_mul(1_000_000_000);
        vec![ShardStatus {
            watermark_ns: second_ns(self.now_s - BEHIND_S),
            newest_event_ns: second_ns(self.now_s),
            ready: true,
            ..ShardStatus::default()
        }]
    }

    fn is_incomplete(&self, _: Instant) -> bool {
        false
    }
}
