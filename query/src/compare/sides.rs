//! What two cohorts measure in common, and the requests of each that count. Pure.
//!
//! Both sides are compared by the same measure: the best that has durations on both. Durations that an SDK put into buckets are not
//! compared with durations of spans.

use std::collections::BTreeMap;

use shipwake_model::sketch::Sketch;

use super::cells::{Measured, Part, add};
use super::request::{Cohort, Routes, Window};
use crate::time::SECOND_MS;

/// One side of a comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub parts: Vec<Part>,
    pub total: Total,
}

/// Requests added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Total {
    pub requests: u64,
    pub errors: u64,
    pub durations: Option<Sketch>,
    /// Start of the first and of the last window with a request.
    pub seen_ms: Option<(i64, i64)>,
}

/// What a side has of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Has {
    pub measured: Measured,
    pub requests: u64,
    pub durations: u64,
}

impl Total {
    /// Adds a part.
    pub fn add(&mut self, part: &Part) {
        self.requests += part.requests;
        self.errors += part.errors;
        if let Some(durations) = &part.durations {
            add(&mut self.durations, durations);
        }
        if part.requests > 0 {
            let (first, last) = self.seen_ms.unwrap_or((part.first_ms, part.last_ms));
            self.seen_ms = Some((first.min(part.first_ms), last.max(part.last_ms)));
        }
    }

    /// How many durations.
    pub fn n(&self) -> u64 {
        self.durations.as_ref().map_or(0, Sketch::count)
    }
}

impl Side {
    /// The requests of a cohort by one measure.
    pub fn of(parts: &[Part], cohort: &Cohort, routes: &Routes, measured: Measured) -> Side {
        let mut side = Side::default();
        for part in of_cohort(parts, cohort, routes).filter(|part| part.measured == measured) {
            side.total.add(part);
            side.parts.push(part.clone());
        }
        side
    }
}

/// How long a side had traffic, in seconds: neither before nor after that did nothing happen.
pub(crate) fn seconds_there(side: &Side, window: &Window, watermark_ms: i64) -> f64 {
    side.total.seen_ms.map_or(0.0, |(first, last)| {
        let end_ms = (last + window.resolution_s * SECOND_MS).min(watermark_ms.max(first + SECOND_MS));
        (end_ms - first) as f64 / 1_000.0
    })
}

/// Requests a second while there were any.
pub(crate) fn rate(side: &Side, window: &Window, watermark_ms: i64) -> Option<f64> {
    let seconds = seconds_there(side, window, watermark_ms);
    (seconds > 0.0 && side.total.requests > 0).then(|| side.total.requests as f64 / seconds)
}

/// The parts that a cohort asks for.
fn of_cohort<'a>(parts: &'a [Part], cohort: &'a Cohort, routes: &'a Routes) -> impl Iterator<Item = &'a Part> {
    parts.iter().filter(move |part| {
        let flag = part.flag.as_ref().map(|(key, variant)| (&**key, &**variant));
        let asked = cohort.flag.as_ref().map(|(key, variant)| (key.as_str(), variant.as_str()));
        flag == asked
            && cohort.version.as_deref().is_none_or(|version| *version == *part.version)
            && routes.takes(&part.route)
    })
}

/// What there is of a cohort, best measure first.
pub(crate) fn has(parts: &[Part], cohort: &Cohort, routes: &Routes) -> Vec<Has> {
    let mut found: BTreeMap<Measured, Has> = BTreeMap::new();
    for part in of_cohort(parts, cohort, routes) {
        let measured = part.measured;
        let held = found.entry(measured).or_insert(Has { measured, requests: 0, durations: 0 });
        held.requests += part.requests;
        held.durations += part.durations.as_ref().map_or(0, Sketch::count);
    }
    found.into_values().filter(|has| has.requests > 0 || has.durations > 0).collect()
}

/// The best measure that has durations on both sides.
pub(crate) fn common(a: &[Has], b: &[Has]) -> Option<Measured> {
    let with_durations = |has: &&Has| has.durations > 0;
    let mut measured = a.iter().filter(with_durations).map(|has| has.measured);
    measured.find(|measured| b.iter().filter(with_durations).any(|has| has.measured == *measured))
}

/// The best measure that both sides have requests of, whether their durations are known or not.
pub(crate) fn counted(a: &[Has], b: &[Has]) -> Option<Measured> {
    let with_requests = |has: &&Has| has.requests > 0;
    let mut measured = a.iter().filter(with_requests).map(|has| has.measured);
    measured.find(|measured| b.iter().filter(with_requests).any(|has| has.measured == *measured))
}
