//! The cells of all services for the overview, kept between calls. Pure: the store is asked through an argument.
//!
//! Merging fifteen minutes of all services takes a shard tens of milliseconds, once a second, under the lock that folding
//! needs too. So a call asks only for the newest windows, which still grow, and for one older slice, where late records may
//! have changed something; all slices have had their turn after a quarter of a minute.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use shipwake_model::{ReleaseId, Source};
use shipwake_store::{HealthCell, HealthQuery, HealthSeries};

use crate::time::MINUTE_MS;

/// Windows that began this long ago are asked for in every call: records are rarely later.
const GROWING_MS: i64 = MINUTE_MS;
/// What is asked for again in every call.
const SLICE_MS: i64 = MINUTE_MS;

type Key = (Arc<ReleaseId>, Source);

/// Cells of the range that was asked for last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    series: Vec<HealthSeries>,
    covered: Range<i64>,
    /// Where the next slice begins.
    slice_ms: i64,
}

impl Recent {
    /// The cells of the question's range. `ask` answers for a part of it. Ranges of successive questions move forward, with
    /// one step.
    pub fn update(
        &mut self,
        question: &HealthQuery,
        ask: impl Fn(&HealthQuery) -> Vec<HealthSeries>,
    ) -> &[HealthSeries] {
        let part = |range: &Range<i64>| HealthQuery { from_ms: range.start, to_ms: range.end, ..question.clone() };
        let asked = question.from_ms..question.to_ms;
        let step_ms = i64::from(question.step_s.max(1)) * 1_000;
        let growing_ms = (self.covered.end - GROWING_MS).div_euclid(step_ms) * step_ms;
        if !self.covered.contains(&asked.start) || growing_ms <= asked.start || asked.end < self.covered.end {
            self.series = ask(question);
            self.slice_ms = asked.start;
        } else {
            self.replace(growing_ms..asked.end, ask(&part(&(growing_ms..asked.end))));
            let slice = self.next_slice(asked.start..growing_ms);
            self.replace(slice.clone(), ask(&part(&slice)));
            self.drop_before(asked.start);
        }
        self.covered = asked;
        &self.series
    }

    /// Forgets what is kept: the next call asks for everything.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn next_slice(&mut self, settled: Range<i64>) -> Range<i64> {
        let start_ms = if settled.contains(&self.slice_ms) { self.slice_ms } else { settled.start };
        let end_ms = (start_ms + SLICE_MS).min(settled.end);
        self.slice_ms = end_ms;
        start_ms..end_ms
    }

    /// Puts fresh cells in the place of all cells of a range.
    fn replace(&mut self, range: Range<i64>, fresh: Vec<HealthSeries>) {
        for held in &mut self.series {
            held.cells.retain(|cell| !range.contains(&cell.t_ms));
        }
        let key = |series: &HealthSeries| -> Key { (series.release.clone(), series.source) };
        let places: HashMap<Key, usize> = self.series.iter().enumerate().map(|(at, held)| (key(held), at)).collect();
        for one in fresh {
            match places.get(&key(&one)) {
                Some(place) => insert(&mut self.series[*place].cells, one.cells),
                None => self.series.push(one),
            }
        }
    }

    fn drop_before(&mut self, start_ms: i64) {
        for held in &mut self.series {
            held.cells.retain(|cell| cell.t_ms >= start_ms);
        }
        self.series.retain(|held| !held.cells.is_empty());
    }
}

/// Inserts cells that lie together in time.
fn insert(cells: &mut Vec<HealthCell>, fresh: Vec<HealthCell>) {
    let Some(first) = fresh.first() else { return };
    let place = cells.partition_point(|cell| cell.t_ms < first.t_ms);
    cells.splice(place..place, fresh);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const STEP_MS: i64 = 30_000;

    /// A store with one cell for every window up to a time, whose requests tell how often it was changed.
    fn store(version: &str, requests: u64) -> impl Fn(&HealthQuery) -> Vec<HealthSeries> {
        let release = Arc::new(ReleaseId {
            service: "s".into(),
            namespace: "".into(),
            environment: "prod".into(),
            version: version.into(),
        });
        move |query| {
            let windows = (query.from_ms / STEP_MS)..(query.to_ms + STEP_MS - 1) / STEP_MS;
            let cells = windows.map(|window| HealthCell {
                t_ms: window * STEP_MS,
                requests,
                errors: 0,
                duration: Default::default(),
                slots: 1,
            });
            vec![HealthSeries {
                release: release.clone(),
                source: Source::Spans,
                route: "".into(),
                cells: cells.collect(),
            }]
        }
    }

    fn question(now_s: i64) -> HealthQuery {
        let from_ms = (now_s * 1_000 - 900_000).div_euclid(STEP_MS) * STEP_MS;
        HealthQuery {
            service: None,
            environment: None,
            from_ms,
            to_ms: now_s * 1_000 + STEP_MS,
            step_s: 30,
            by_route: false,
        }
    }

    #[test]
    fn the_kept_cells_are_those_of_a_whole_answer() {
        let mut recent = Recent::default();
        for now_s in (100_000..100_400).step_by(7) {
            let asked = question(now_s);
            let times = |series: &[HealthSeries]| series[0].cells.iter().map(|cell| cell.t_ms).collect::<Vec<_>>();
            assert_eq!(times(recent.update(&asked, store("1", 1))), times(&store("1", 1)(&asked)), "at {now_s}");
        }
    }

    #[test]
    fn late_records_are_seen_within_a_quarter_of_a_minute() {
        let mut recent = Recent::default();
        recent.update(&question(100_000), store("1", 1));
        for second in 1..=16 {
            recent.update(&question(100_000 + second), store("1", 2));
        }
        assert!(recent.series[0].cells.iter().all(|cell| cell.requests == 2));
    }

    #[test]
    fn a_call_asks_for_little_and_a_long_break_for_everything() {
        let asked = RefCell::new(0);
        let counted = |query: &HealthQuery| {
            *asked.borrow_mut() += query.to_ms - query.from_ms;
            store("1", 1)(query)
        };
        let mut recent = Recent::default();
        recent.update(&question(100_000), counted);
        assert!(*asked.borrow() > 900_000);
        *asked.borrow_mut() = 0;
        recent.update(&question(100_001), counted);
        assert!(*asked.borrow() <= 200_000, "{}", asked.borrow());
        recent.update(&question(200_000), counted);
        assert!(*asked.borrow() > 900_000);
    }

    #[test]
    fn a_version_that_comes_or_goes_is_followed() {
        let mut recent = Recent::default();
        recent.update(&question(100_000), store("1", 1));
        recent.update(&question(100_030), store("2", 1));
        assert_eq!(recent.series.len(), 2);
        for second in (100_060..101_100).step_by(30) {
            recent.update(&question(second), store("2", 1));
        }
        assert_eq!(recent.series.len(), 1);
        assert_eq!(&*recent.series[0].release.version, "2");
    }
}
