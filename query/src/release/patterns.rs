//! Which log patterns are new in the candidate, which it has far more often than the baseline, and which have gone.
//!
//! - *new*: no other version of the service is known to have had it. Only what hurts is told: warnings and worse, or lines
//!   that speak of an error.
//! - *escalated*: known, and at least [`MARGIN`] times as frequent per request, beyond chance. What a version writes while
//!   it warms up is known noise: a known pattern is looked at only after [`WARM_UP_MS`].
//! - *gone*: the baseline writes it, at any level from info on, the candidate should have by now, and never has. A success
//!   line that vanished is often the real symptom.
//!
//! Rates are per request (per log record, where those stand in), tested exactly ([`Counts`]), and over all patterns of a
//! look at most one in twenty of those told is expected to be chance (Benjamini and Hochberg 1995). Shapes are
//! grouped first: a word that varies is no new pattern.

use std::collections::BTreeSet;
use std::sync::Arc;

use shipwake_model::pattern::{Level, OTHER_ID, group, id_text};
use shipwake_store::{PatternCell, PatternRow, PatternVersion};

use crate::release::pair::Pair;
use crate::release::rates::{Counts, Ratio};
use crate::release::timeline::{Grid, VersionLine};
use crate::time::MINUTE_MS;

/// A known pattern escalates when it is more frequent than by this factor.
pub(crate) const MARGIN: f64 = 2.0;
/// Known patterns of a version that has just started are noise.
const WARM_UP_MS: i64 = 2 * MINUTE_MS;
/// Lines that make a pattern worth telling, seen by two replicate slots at least, or by one.
const LINES_OF_TWO: u64 = 3;
const LINES_OF_ONE: u64 = 5;
/// Lines that the candidate should have had of a pattern that has gone.
pub(crate) const EXPECTED_MIN: f64 = 5.0;
/// Part of the told patterns that may be chance.
const FALSE_PART: f64 = 0.05;
/// Patterns of a class that are told.
pub(crate) const TOLD_MAX: usize = 20;
/// Shapes of a pattern that are named.
pub(crate) const IDS_MAX: usize = 32;
/// Words by which a line without a level of its own speaks of an error.
const ERROR_WORDS: [&str; 7] = ["error", "exception", "fail", "fatal", "panic", "traceback", "denied"];

/// What became of a pattern, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    New,
    Escalated,
    Gone,
}

impl Class {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::New => "new",
            Class::Escalated => "escalated",
            Class::Gone => "gone",
        }
    }
}

/// The patterns of one service and environment, and which of them are one with a word that varies. Grouping depends on
/// nothing but the shapes, so it is done once for all pages that look at them.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    rows: Vec<PatternRow>,
    /// A template, and the places of its rows.
    groups: Vec<(String, Vec<usize>)>,
}

impl Shapes {
    /// Groups the rows.
    pub fn of(rows: Vec<PatternRow>) -> Self {
        let places: Vec<usize> = (0..rows.len()).filter(|place| rows[*place].id != OTHER_ID).collect();
        let grouped = group(&places.iter().map(|place| &*rows[*place].template).collect::<Vec<_>>());
        let mut groups: Vec<(String, Vec<usize>)> =
            grouped.templates.into_iter().map(|template| (template, Vec::new())).collect();
        for (place, number) in places.into_iter().zip(grouped.groups) {
            groups[number].1.push(place);
        }
        Shapes { rows, groups }
    }

    /// The rows as they came.
    pub fn rows(&self) -> &[PatternRow] {
        &self.rows
    }
}

/// What is compared.
pub(crate) struct Facts<'a> {
    pub shapes: &'a Shapes,
    pub lines: &'a [VersionLine],
    pub pair: &'a Pair,
    pub grid: &'a Grid,
    /// Minutes from here on are in the rows.
    pub kept_from_ms: i64,
}

/// A pattern that is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub id: String,
    /// Its shapes.
    pub ids: Vec<String>,
    pub class: Class,
    pub level: Level,
    pub text: String,
    pub sample: Arc<str>,
    pub counts: Counts,
    /// Lines a second.
    pub rate_candidate: f64,
    pub rate_baseline: f64,
    /// Of the rates per request.
    pub ratio: Ratio,
    /// First line in the candidate; of what has gone the last in the baseline, ms.
    pub first_ms: i64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Told patterns, by class, the most frequent first.
    pub told: Vec<Told>,
    /// New ones, also those beyond what is told.
    pub new: usize,
    /// From when on the candidate was compared; `None` when nothing can be compared.
    pub since_ms: Option<i64>,
}

/// The comparison.
pub(crate) fn find(facts: &Facts<'_>) -> Found {
    let Some(sides) = Sides::of(facts) else { return Found::default() };
    let groups = groups(facts.shapes);
    let mut tested: Vec<(f64, Told)> = groups.iter().filter_map(|group| sides.test(group)).collect();
    let kept = beyond_chance(&tested.iter().map(|(chance, _)| *chance).collect::<Vec<_>>());
    let mut keep = kept.iter();
    tested.retain(|_| keep.next().is_some_and(|kept| *kept));
    let mut told: Vec<Told> = tested.into_iter().map(|(_, told)| told).collect();
    told.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.id.cmp(&b.id)));
    let new = told.iter().filter(|one| one.class == Class::New).count();
    let mut of_class = [0usize; 3];
    told.retain(|one| {
        of_class[one.class as usize] += 1;
        of_class[one.class as usize] <= TOLD_MAX
    });
    Found { told, new, since_ms: Some(sides.since_ms) }
}

fn order(told: &Told) -> (Class, u64) {
    let lines = if told.class == Class::Gone { told.counts.baseline } else { told.counts.candidate };
    (told.class, u64::MAX - lines)
}

/// Shapes that are one pattern.
pub(crate) struct Group<'a> {
    pub template: &'a str,
    pub rows: Vec<&'a PatternRow>,
}

impl<'a> Group<'a> {
    /// Every version of every shape.
    pub fn versions(&self) -> impl Iterator<Item = (&'a PatternRow, &'a PatternVersion)> {
        self.rows.iter().flat_map(|row| row.versions.iter().map(|version| (*row, version)))
    }

    fn of<'b>(&'b self, wanted: &'b str) -> impl Iterator<Item = (&'a PatternRow, &'a PatternVersion)> + 'b {
        self.versions().filter(move |(_, version)| *version.version == *wanted)
    }
}

/// The patterns of a service.
pub(crate) fn groups(shapes: &Shapes) -> Vec<Group<'_>> {
    let rows_of = |places: &[usize]| places.iter().map(|place| &shapes.rows[*place]).collect();
    shapes.groups.iter().map(|(template, places)| Group { template, rows: rows_of(places) }).collect()
}

/// The two versions, and the time in which they are compared.
struct Sides<'a> {
    candidate: &'a VersionLine,
    baseline: &'a VersionLine,
    grid: &'a Grid,
    /// Of the candidate, and of the baseline unless its past stands in.
    since_ms: i64,
    until_ms: i64,
    baseline_since_ms: i64,
    /// When the baseline had its last request, for its rate.
    baseline_until_ms: i64,
    /// Requests of candidate and baseline in that time; and the same without the candidate's warming up. Every pattern is
    /// compared over these, so they are added up once.
    exposures: [(u64, u64); 2],
}

impl<'a> Sides<'a> {
    fn of(facts: &'a Facts<'a>) -> Option<Self> {
        let line = |version: &Option<Arc<str>>| facts.lines.iter().find(|line| Some(&line.version) == version.as_ref());
        let (candidate, baseline) = (line(&facts.pair.candidate)?, line(&facts.pair.baseline)?);
        let start_ms = |window: usize| facts.grid.from_ms + window as i64 * facts.grid.step_ms;
        let minute_of = |t_ms: i64| t_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        let kept_ms = -minute_of(-facts.kept_from_ms);
        let since_ms = minute_of(start_ms(candidate.first_traffic()?)).max(kept_ms);
        let until_ms = -minute_of(-start_ms(candidate.last_traffic()? + 1));
        let baseline_until_ms = start_ms(baseline.last_traffic()? + 1).min(until_ms);
        let past_ms = minute_of(start_ms(baseline.first_traffic()?)).max(kept_ms);
        let baseline_since_ms = if facts.pair.before_after { past_ms } else { since_ms };
        let mut sides = Sides {
            candidate,
            baseline,
            grid: facts.grid,
            since_ms,
            until_ms,
            baseline_since_ms,
            baseline_until_ms,
            exposures: Default::default(),
        };
        sides.exposures = [0, WARM_UP_MS].map(|delay_ms| {
            let requests = |line: &VersionLine, from_ms: i64| sides.exposure(line, from_ms);
            (requests(candidate, since_ms + delay_ms), requests(baseline, sides.baseline_from_ms(delay_ms)))
        });
        let (of_candidate, of_baseline) = sides.exposures[0];
        (of_candidate > 0 && of_baseline > 0).then_some(sides)
    }

    /// Requests of a version from a time on.
    fn exposure(&self, line: &VersionLine, from_ms: i64) -> u64 {
        let cells = line.cells.iter().zip(self.grid.starts());
        cells.filter(|(_, start)| (from_ms..self.until_ms).contains(start)).map(|(cell, _)| cell.requests).sum()
    }

    /// Lines of a version, and the slots that sent them.
    fn lines(&self, group: &Group<'_>, version: &str, from_ms: i64) -> (u64, u8) {
        let cells = group.of(version).flat_map(|(_, version)| &version.cells);
        let in_time = |cell: &&PatternCell| (from_ms..self.until_ms).contains(&cell.t_ms);
        cells.filter(in_time).fold((0, 0), |(count, slots), cell| (count + cell.count, slots | cell.slots))
    }

    /// From when on the baseline is looked at: with the candidate, unless its past stands in.
    fn baseline_from_ms(&self, delay_ms: i64) -> i64 {
        if self.baseline_since_ms == self.since_ms { self.since_ms + delay_ms } else { self.baseline_since_ms }
    }

    /// The counts from the candidate's arrival on, or from when it is warm; and the candidate's slots.
    fn counts(&self, group: &Group<'_>, warm: bool) -> (Counts, u8) {
        let delay_ms = if warm { WARM_UP_MS } else { 0 };
        let (candidate, slots) = self.lines(group, &self.candidate.version, self.since_ms + delay_ms);
        let (baseline, _) = self.lines(group, &self.baseline.version, self.baseline_from_ms(delay_ms));
        let (exposure_candidate, exposure_baseline) = self.exposures[usize::from(warm)];
        (Counts { candidate, baseline, exposure_candidate, exposure_baseline }, slots)
    }

    /// What the group would be told as, and how likely that is by chance.
    fn test(&self, group: &Group<'_>) -> Option<(f64, Told)> {
        let (all, slots) = self.counts(group, false);
        let is_known = group.versions().any(|(_, version)| *version.version != *self.candidate.version);
        let worst = |version: &str| group.of(version).map(|(_, version)| version.level).max();
        if !is_known {
            let level = worst(&self.candidate.version)?;
            let told = hurts(level, group) && enough(all.candidate, slots);
            return told.then(|| (all.chance_of_more(1.0), self.told(Class::New, level, group, all)));
        }
        let (settled, slots) = self.counts(group, true);
        let exposed = settled.exposure_candidate > 0 && settled.exposure_baseline > 0;
        if exposed && enough(settled.candidate, slots) {
            let level = worst(&self.candidate.version)?;
            let chance = settled.chance_of_more(MARGIN);
            return hurts(level, group).then(|| (chance, self.told(Class::Escalated, level, group, settled)));
        }
        let level = worst(&self.baseline.version).filter(|level| *level >= Level::Info || *level == Level::Unknown)?;
        let is_gone = all.candidate == 0 && group.of(&self.candidate.version).next().is_none();
        let told = is_gone && all.expected() >= EXPECTED_MIN;
        told.then(|| (all.chance_of_fewer(), self.told(Class::Gone, level, group, all)))
    }

    fn told(&self, class: Class, level: Level, group: &Group<'_>, counts: Counts) -> Told {
        let version = if class == Class::Gone { &self.baseline.version } else { &self.candidate.version };
        let first = group.of(version).min_by_key(|(row, version)| (version.first_seen_ns, row.id));
        let last_ns = group.of(version).map(|(_, version)| version.last_seen_ns).max();
        let first_ns = first.map(|(_, version)| version.first_seen_ns);
        let shown = first.map_or(group.rows[0], |(row, _)| row);
        let per_second = |count: u64, from_ms: i64, until_ms: i64| {
            let until_ms = until_ms.min(self.grid.watermark_ms).min(self.grid.to_ms);
            count as f64 * 1_000.0 / (until_ms - from_ms).max(1_000) as f64
        };
        // The windows of a long range are long: a version wrote nothing before it was there.
        let there_ms = |line: &VersionLine, from_ms: i64, until_ms: i64| {
            line.first_seen_ms.filter(|seen_ms| *seen_ms < until_ms).map_or(from_ms, |seen_ms| from_ms.max(seen_ms))
        };
        let delay_ms = if class == Class::Escalated { WARM_UP_MS } else { 0 };
        let baseline_ms = there_ms(self.baseline, self.baseline_from_ms(delay_ms), self.baseline_until_ms);
        let candidate_ms = there_ms(self.candidate, self.since_ms + delay_ms, self.until_ms);
        Told {
            id: id_text(shown.id),
            ids: group
                .rows
                .iter()
                .map(|row| id_text(row.id))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .take(IDS_MAX)
                .collect(),
            class,
            level,
            text: group.template.to_owned(),
            sample: shown.example.clone(),
            counts,
            rate_candidate: per_second(counts.candidate, candidate_ms, self.until_ms),
            rate_baseline: per_second(counts.baseline, baseline_ms, self.baseline_until_ms),
            ratio: counts.ratio(),
            first_ms: if class == Class::Gone { last_ns } else { first_ns }.unwrap_or(0).div_euclid(1_000_000),
        }
    }
}

/// Whether so many lines of so many slots are no accident of one instance.
pub(crate) fn enough(lines: u64, slots: u8) -> bool {
    lines >= if slots.count_ones() >= 2 { LINES_OF_TWO } else { LINES_OF_ONE }
}

/// Whether a pattern is a warning or worse, or speaks of an error.
pub(crate) fn hurts(level: Level, group: &Group<'_>) -> bool {
    let speaks_of_error = || {
        let text = group.template.to_lowercase();
        ERROR_WORDS.iter().any(|word| text.contains(word))
    };
    level >= Level::Warn || level != Level::Debug && level != Level::Trace && speaks_of_error()
}

/// Which of these chances are small enough, given how many there are.
pub(crate) fn beyond_chance(chances: &[f64]) -> Vec<bool> {
    let mut sorted = chances.to_vec();
    sorted.sort_by(f64::total_cmp);
    let allowed = |rank: usize| FALSE_PART * (rank + 1) as f64 / sorted.len() as f64;
    let limit = (0..sorted.len()).rev().find(|rank| sorted[*rank] <= allowed(*rank)).map(|rank| sorted[rank]);
    chances.iter().map(|chance| limit.is_some_and(|limit| *chance <= limit)).collect()
}

#[cfg(test)]
mod tests;
