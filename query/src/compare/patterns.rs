//! Log patterns that only one side has, or that B has far more often. Pure.
//!
//! The rules are those of a service's page (`release::patterns`), over two cohorts and their windows instead of a candidate and its
//! baseline: rates are per request, and of those told at most one in twenty is expected to be chance. What is told as only in
//! one side is so in these windows; whether the other ever had it is not asked.

use std::collections::BTreeSet;

use shipwake_model::pattern::{Level, id_text};
use shipwake_store::{PatternCell, PatternVersion};

use super::request::{Cohort, Window};
use crate::pages::overview::round;
use crate::pages::wire;
use crate::release::patterns::{Class, EXPECTED_MIN, Group, IDS_MAX, MARGIN, Shapes, TOLD_MAX, beyond_chance, enough};
use crate::release::patterns::{groups, hurts};
use crate::release::rates::Counts;

/// One side: whose lines, when, over how many requests.
pub(crate) struct Lines<'a> {
    pub cohort: &'a Cohort,
    pub window: Window,
    pub requests: u64,
}

/// What was found, in the order of classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    pub only_b: Vec<wire::Pattern>,
    pub escalated: Vec<wire::Pattern>,
    pub only_a: Vec<wire::Pattern>,
}

/// A pattern that is told unless it is chance.
struct Tested<'a> {
    class: Class,
    counts: Counts,
    level: Level,
    group: &'a Group<'a>,
}

/// The patterns of both sides beside each other.
pub(crate) fn find(shapes: &Shapes, a: &Lines<'_>, b: &Lines<'_>) -> Found {
    if a.requests == 0 || b.requests == 0 {
        return Found::default();
    }
    let groups = groups(shapes);
    let tested: Vec<(f64, Tested<'_>)> = groups.iter().filter_map(|group| test(group, a, b)).collect();
    let kept = beyond_chance(&tested.iter().map(|(chance, _)| *chance).collect::<Vec<_>>());
    let mut told: Vec<Tested<'_>> =
        tested.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|((_, tested), _)| tested).collect();
    told.sort_by_key(|one| (one.class, u64::MAX - one.counts.candidate.max(one.counts.baseline)));
    let of = |class: Class| {
        let of_class = told.iter().filter(|one| one.class == class).take(TOLD_MAX);
        of_class.map(|one| written(one, a, b)).collect()
    };
    Found { only_b: of(Class::New), escalated: of(Class::Escalated), only_a: of(Class::Gone) }
}

/// The lines of a side: how many, of which slots, and the worst level.
fn lines(group: &Group<'_>, side: &Lines<'_>) -> (u64, u8, Level) {
    let mut found = (0, 0, Level::Unknown);
    for (_, version) in of_side(group, side) {
        let cells = in_window(version, &side.window);
        let before = found.0;
        for cell in cells {
            found.0 += cell.count;
            found.1 |= cell.slots;
        }
        if found.0 > before {
            found.2 = found.2.max(version.level);
        }
    }
    found
}

fn of_side<'a>(
    group: &'a Group<'a>,
    side: &'a Lines<'_>,
) -> impl Iterator<Item = (&'a shipwake_store::PatternRow, &'a PatternVersion)> {
    let wanted = side.cohort.version.as_deref();
    group.versions().filter(move |(_, version)| wanted.is_none_or(|wanted| *wanted == *version.version))
}

fn in_window<'a>(version: &'a PatternVersion, window: &Window) -> impl Iterator<Item = &'a PatternCell> {
    let (from_ms, to_ms) = (window.from_ms, window.to_ms);
    version.cells.iter().filter(move |cell| (from_ms..to_ms).contains(&cell.t_ms))
}

fn test<'a>(group: &'a Group<'a>, a: &Lines<'_>, b: &Lines<'_>) -> Option<(f64, Tested<'a>)> {
    let ((in_a, _, level_a), (in_b, slots_b, level_b)) = (lines(group, a), lines(group, b));
    let counts =
        Counts { candidate: in_b, baseline: in_a, exposure_candidate: b.requests, exposure_baseline: a.requests };
    if in_b > 0 {
        let class = if in_a == 0 { Class::New } else { Class::Escalated };
        let margin = if in_a == 0 { 1.0 } else { MARGIN };
        let told = hurts(level_b, group) && enough(in_b, slots_b);
        return told.then(|| (counts.chance_of_more(margin), Tested { class, counts, level: level_b, group }));
    }
    let told = (level_a >= Level::Info || level_a == Level::Unknown) && counts.expected() >= EXPECTED_MIN;
    told.then(|| (counts.chance_of_fewer(), Tested { class: Class::Gone, counts, level: level_a, group }))
}

fn written(tested: &Tested<'_>, a: &Lines<'_>, b: &Lines<'_>) -> wire::Pattern {
    let side = if tested.class == Class::Gone { a } else { b };
    let first = of_side(tested.group, side).min_by_key(|(row, version)| (version.first_seen_ns, row.id));
    let shown = first.map_or(tested.group.rows[0], |(row, _)| row);
    let minutes = of_side(tested.group, side).flat_map(|(_, version)| in_window(version, &side.window));
    let minutes: Vec<i64> = minutes.map(|cell| cell.t_ms).collect();
    let first_ms = if tested.class == Class::Gone { minutes.iter().max() } else { minutes.iter().min() };
    let per_second =
        |count: u64, window: &Window| round(count as f64 * 1_000.0 / (window.to_ms - window.from_ms).max(1_000) as f64);
    let ratio = tested.counts.ratio();
    let ids: BTreeSet<String> = tested.group.rows.iter().map(|row| id_text(row.id)).collect();
    wire::Pattern {
        id: id_text(shown.id),
        ids: ids.into_iter().take(IDS_MAX).collect(),
        class: tested.class.as_str(),
        level: tested.level.as_str(),
        text: tested.group.template.to_owned(),
        count: tested.counts.candidate,
        count_base: tested.counts.baseline,
        rate_cand: per_second(tested.counts.candidate, &b.window),
        rate_base: per_second(tested.counts.baseline, &a.window),
        ratio: ratio.value.map(round),
        ratio_lo: round(ratio.low),
        ratio_hi: ratio.high.map(round),
        first: first_ms.copied().unwrap_or(0),
        sample: shown.example.to_string(),
    }
}
