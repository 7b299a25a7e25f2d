//! What is learnt of a baseline before a release: how noisy it is, which durations are usual, which routes are busy. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use shipwake_model::slot::SLOTS;
use shipwake_model::{HdrCells, Sketch, Source};
use shipwake_store::{HealthSeries, SlotSeries};
use shipwake_verdict::latency::Thresholds;
use shipwake_verdict::policy::LatencyLimits;
use shipwake_verdict::{Noise, Slots, Tally};

/// Durations are microseconds.
pub(crate) const UNIT_S: f64 = 1e-6;
/// Routes that are judged as strata of their own.
const STRATA: usize = 20;
/// A slot with so many requests a window, on average over the last minute, is expected to have some in this one: chance leaves one in
/// a hundred and fifty out.
const EXPECTED_MIN: u64 = 5;
/// Windows of that minute.
const BEFORE: usize = 6;
/// A past is looked at again after so long at first, ms.
const AGAIN_MS: i64 = 2_000;

/// Windows of one release by slot: requests, errors and durations of each slot, in rising order of time.
#[derive(Debug, Default)]
pub(crate) struct SlotWindows(pub BTreeMap<i64, [SlotWindow; SLOTS as usize]>);

/// One slot in one window of ten seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotWindow {
    pub requests: u64,
    pub errors: u64,
    pub duration: HdrCells,
}

impl SlotWindows {
    /// Those of one version from one source, of windows that begin in a range of seconds.
    pub fn of(series: &[SlotSeries], is_wanted: impl Fn(&SlotSeries) -> bool) -> SlotWindows {
        let mut windows: BTreeMap<i64, [SlotWindow; SLOTS as usize]> = BTreeMap::new();
        for one in series.iter().filter(|series| series.slot < SLOTS && is_wanted(series)) {
            for cell in &one.cells {
                let window = windows.entry(cell.t_ms.div_euclid(1_000)).or_default();
                let slot = &mut window[usize::from(one.slot)];
                slot.requests += cell.requests;
                slot.errors += cell.errors;
                slot.duration.merge(&cell.duration);
            }
        }
        SlotWindows(windows)
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.0.values().flatten().map(|slot| slot.requests).sum()
    }

    /// From the first window to the last, in seconds.
    pub fn span_s(&self) -> u64 {
        let ends = self.0.first_key_value().zip(self.0.last_key_value());
        ends.map_or(0, |((first_s, _), (last_s, _))| last_s.abs_diff(*first_s))
    }

    /// Requests a second, over the time there is.
    pub fn rate(&self) -> f64 {
        let (Some((first_s, _)), Some((last_s, _))) = (self.0.first_key_value(), self.0.last_key_value()) else {
            return 0.0;
        };
        self.requests() as f64 / (last_s - first_s + 10) as f64
    }

    /// All durations since.
    pub fn durations(&self, from_s: i64) -> Sketch {
        let mut all = HdrCells::new();
        self.0.range(from_s..).flat_map(|(_, slots)| slots).for_each(|slot| all.merge(&slot.duration));
        Sketch::Hdr(all)
    }

    /// Failed of all requests, by slot.
    pub fn errors(&self) -> Vec<(i64, Slots)> {
        self.each(|slot| Tally::new(slot.errors, slot.requests))
    }

    /// Requests beyond each threshold, by slot.
    pub fn beyond(&self, thresholds: &Thresholds) -> [Vec<(i64, Slots)>; 3] {
        let mut beyond: [Vec<(i64, Slots)>; 3] = Default::default();
        for (start_s, slots) in &self.0 {
            let tallies: Vec<[Tally; 3]> =
                slots.iter().map(|slot| thresholds.tallies_of_cells(&slot.duration)).collect();
            for (k, of) in beyond.iter_mut().enumerate() {
                of.push((*start_s, std::array::from_fn(|slot| tallies[slot][k])));
            }
        }
        beyond
    }

    /// Slots that had requests (events) of those from which some were to be expected (exposure), window by window. A slot is
    /// expected to go on as it was in its own last minute, whatever others get.
    pub fn alive(&self) -> Vec<(i64, Slots)> {
        let starts: Vec<i64> = self.0.keys().copied().collect();
        let (Some(first_s), Some(last_s)) = (starts.first(), starts.last()) else { return Vec::new() };
        let requests = |at_s: i64, slot: usize| self.0.get(&at_s).map_or(0, |slots| slots[slot].requests);
        let windows = (first_s + 10 * BEFORE as i64..=*last_s).step_by(10);
        let of = |at_s: i64, slot: usize| {
            let before: u64 = (1..=BEFORE as i64).map(|back| requests(at_s - 10 * back, slot)).sum();
            let is_expected = before >= EXPECTED_MIN * BEFORE as u64;
            Tally::new(u64::from(is_expected && requests(at_s, slot) > 0), u64::from(is_expected))
        };
        windows.map(|at_s| (at_s, std::array::from_fn(|slot| of(at_s, slot)))).collect()
    }

    fn each(&self, tally: impl Fn(&SlotWindow) -> Tally) -> Vec<(i64, Slots)> {
        self.0.iter().map(|(start_s, slots)| (*start_s, std::array::from_fn(|slot| tally(&slots[slot])))).collect()
    }
}

/// Slots that were expected to send in each of the last three windows and sent nothing: instances that fell silent.
pub(crate) fn silent(alive: &[(i64, Slots)], until_s: i64) -> u32 {
    let last: Vec<&Slots> =
        alive.iter().filter(|(at_s, _)| (until_s - 30..until_s).contains(at_s)).map(|(_, slots)| slots).collect();
    if last.len() < 3 {
        return 0;
    }
    let is_silent = |slot: usize| last.iter().all(|slots| slots[slot].exposure > 0 && slots[slot].events == 0);
    (0..usize::from(SLOTS)).filter(|slot| is_silent(*slot)).count() as u32
}

/// When a baseline's past is looked at again. It may still be on its way when a release comes: folded by shards that are behind, or sent
/// late. What was learnt too early is learnt anew from more; asked ever more seldom, so that it costs little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// Requests of the past that was learnt from; `None` when that is not known any more, after a start.
    learnt_from: Option<u64>,
    due_ms: i64,
    wait_ms: i64,
}

impl Again {
    /// Something was learnt from a past of so many requests.
    pub fn after(requests: u64, now_ms: i64) -> Again {
        Again { learnt_from: Some(requests), due_ms: now_ms + AGAIN_MS, wait_ms: AGAIN_MS }
    }

    pub fn is_due(&self, now_ms: i64) -> bool {
        now_ms >= self.due_ms
    }

    /// Takes note of the past there is now. True when it says more than what was learnt from; `is_longer` tells that where nothing else does.
    pub fn finds(&mut self, requests: u64, is_longer: bool, now_ms: i64) -> bool {
        // A few late records say nothing new.
        let says_more = self.learnt_from.map_or(is_longer, |known| requests > known + known / 10);
        // Windows beyond the hour are forgotten: a past that shrinks has been all there.
        let most = if says_more { requests } else { self.learnt_from.unwrap_or(requests) };
        // As long as it grows it is asked for as often as at first.
        let wait_ms = if says_more { AGAIN_MS } else { self.wait_ms.saturating_mul(2).max(AGAIN_MS) };
        *self = Again { learnt_from: Some(most), due_ms: now_ms.saturating_add(wait_ms), wait_ms };
        says_more
    }
}

/// The noise of each check that a baseline's history tells of.
#[derive(Clone, Debug)]
pub(crate) struct Learnt {
    pub errors: Noise,
    pub traffic: Noise,
    /// Thresholds and noise of durations; `None` where there are too few.
    pub latency: Option<(Thresholds, [Noise; 3])>,
    pub requests_per_hour: f64,
}

/// Learns from windows of the baseline; thresholds from those since `thresholds_s`. `instances` as they named themselves.
pub(crate) fn learn(
    history: &SlotWindows,
    thresholds_s: i64,
    instances: Option<u32>,
    limits: &LatencyLimits,
) -> Learnt {
    let latency = Thresholds::freeze(&history.durations(thresholds_s), UNIT_S, limits).map(|thresholds| {
        let noise = history.beyond(&thresholds).map(|beyond| Noise::learn(&beyond, instances));
        (thresholds, noise)
    });
    Learnt {
        errors: Noise::learn(&history.errors(), instances),
        traffic: Noise::learn(&history.alive(), instances),
        latency,
        requests_per_hour: history.rate() * 3_600.0,
    }
}

/// The busiest routes, by requests.
pub(crate) fn busiest_routes(series: &[HealthSeries], is_wanted: impl Fn(&HealthSeries) -> bool) -> Vec<String> {
    let mut routes: HashMap<&Arc<str>, u64> = HashMap::new();
    for one in series.iter().filter(|one| !one.route.is_empty() && is_wanted(one)) {
        *routes.entry(&one.route).or_default() += one.cells.iter().map(|cell| cell.requests).sum::<u64>();
    }
    let mut ranked: Vec<(u64, &Arc<str>)> = routes.into_iter().map(|(route, requests)| (requests, route)).collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.into_iter().take(STRATA).map(|(_, route)| route.to_string()).collect()
}

/// The source that both are measured by: the best that the baseline has; without a baseline the candidate's best.
pub(crate) fn source(series: &[HealthSeries], baseline: Option<&str>, candidate: &str) -> Option<Source> {
    let of = |version: &str| {
        let counted =
            |one: &&HealthSeries| &*one.release.version == version && one.cells.iter().any(|c| c.requests > 0);
        series.iter().filter(counted).map(|one| one.source).collect::<Vec<Source>>()
    };
    let own = of(candidate);
    let others = baseline.map(of).unwrap_or_default();
    let shared = own.iter().filter(|source| others.contains(source)).min();
    shared.or(others.iter().min()).or(own.iter().min()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_is_learnt_again_while_it_grows_and_asked_for_ever_more_seldom() {
        let mut again = Again::after(100, 0);
        let mut now_ms = 0;
        let mut asks = |requests: u64| {
            let begun_ms = now_ms;
            while !again.is_due(now_ms) {
                now_ms += 1_000;
            }
            (again.finds(requests, false, now_ms), now_ms - begun_ms)
        };
        assert_eq!(asks(105), (false, 2_000), "late records are no news");
        assert_eq!(asks(9_000), (true, 4_000));
        assert_eq!([asks(9_000), asks(8_000), asks(9_000)], [(false, 2_000), (false, 4_000), (false, 8_000)]);
        assert_eq!(asks(10_000), (true, 16_000));
    }

    #[test]
    fn after_a_start_a_longer_past_is_news_once() {
        let mut again = Again::default();
        assert!(again.is_due(0) && again.finds(100, true, 0));
        assert!(!again.finds(100, true, 9_000));
        let mut again = Again::default();
        assert!(!again.finds(100, false, 0) && again.finds(200, false, 9_000));
    }
}
