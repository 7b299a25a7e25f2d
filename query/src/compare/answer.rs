//! A comparison from what was read. Pure: the parts of both sides in, the answer out.

use std::collections::{BTreeMap, BTreeSet};

use shipwake_model::Source;
use shipwake_model::sketch::Sketch;
use shipwake_store::{ReleaseRow, ToggleRow};

use super::cells::{Measured, Part};
use super::explain::{self, Of};
use super::numbers::{self, Quantile};
use super::patterns::{self, Lines};
use super::request::{Asked, Cohort, Window, newest_first};
use super::sentence::{self, METHOD};
use super::sides::{self, Has, Side};
use super::{bins, wire};
use crate::pages::overview::round;
use crate::release::patterns::Shapes;
use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS};

/// Versions, toggles and routes that can be chosen.
const KNOWN_MAX: usize = 100;

/// What the answer is made of.
pub(crate) struct Facts<'a> {
    pub service: &'a str,
    pub environment: &'a str,
    pub asked: &'a Asked,
    /// Requests of the window of each side, of whatever cohort.
    pub parts_a: &'a [Part],
    pub parts_b: &'a [Part],
    /// Requests by variants of toggles in the windows.
    pub toggled_a: &'a [Part],
    pub toggled_b: &'a [Part],
    /// Log patterns with the lines of both windows; `None` where they were not read.
    pub shapes: Option<&'a Shapes>,
    pub releases: &'a [ReleaseRow],
    pub toggles: &'a [ToggleRow],
    pub filters: &'a [String],
    pub watermark_ms: i64,
    pub meta: crate::pages::wire::Meta,
}

/// The answer.
pub(crate) fn answer(facts: &Facts<'_>) -> wire::Comparison {
    let asked = facts.asked;
    let all = [[facts.parts_a, facts.toggled_a].concat(), [facts.parts_b, facts.toggled_b].concat()];
    let has = [sides::has(&all[0], &asked.a, &asked.routes), sides::has(&all[1], &asked.b, &asked.routes)];
    let measured = sides::common(&has[0], &has[1]);
    let side = |at: usize, cohort: &Cohort| {
        measured.map(|measured| Side::of(&all[at], cohort, &asked.routes, measured)).unwrap_or_default()
    };
    let (a, b) = (side(0, &asked.a), side(1, &asked.b));
    let mut answer = empty(facts, measured);
    answer.meta.warnings.extend(sentence::warnings(facts, measured.map(|_| (&a, &b))));
    answer.a = wire_side(&asked.a, &asked.window_a, &a, &has[0], facts.watermark_ms);
    answer.b = wire_side(&asked.b, &asked.window_b, &b, &has[1], facts.watermark_ms);
    answer.patterns = patterns(facts, &all, measured);
    let both = measured.zip(a.total.durations.as_ref().zip(b.total.durations.as_ref()));
    match both {
        Some((measured, (durations_a, durations_b))) => {
            compare(&mut answer, measured, durations_a, durations_b, &a, &b);
            answer.explain = explained(facts, &a, &b, measured);
        }
        None => answer.sentence = nothing_in_common(&answer),
    }
    answer
}

fn empty(facts: &Facts<'_>, measured: Option<Measured>) -> wire::Comparison {
    wire::Comparison {
        meta: facts.meta.clone(),
        service: facts.service.to_owned(),
        env: facts.environment.to_owned(),
        metric: "duration",
        unit: "s",
        source: measured.map(Measured::as_str),
        approximate: measured == Some(Measured::By(Source::Metrics)),
        filters: facts.filters.to_vec(),
        sentence: String::new(),
        a: wire::Side::default(),
        b: wire::Side::default(),
        edges: Vec::new(),
        quantiles: Vec::new(),
        shift: Vec::new(),
        stats: wire::Stats::default(),
        explain: Vec::new(),
        explains: if facts.asked.select.is_some() { "selection" } else { "mean" },
        patterns: wire::Patterns::default(),
        resolution: None,
        method: METHOD,
        known: known(facts),
    }
}

/// Everything that needs durations on both sides.
fn compare(answer: &mut wire::Comparison, measured: Measured, of_a: &Sketch, of_b: &Sketch, a: &Side, b: &Side) {
    let unit_s = measured.unit_s();
    let table = numbers::TABLE.map(|q| numbers::quantile(of_a, of_b, q, unit_s));
    let (cells_a, cells_b) = (of_a.to_hdr(unit_s * 1e6).0, of_b.to_hdr(unit_s * 1e6).0);
    let errors = numbers::errors(&a.total, &b.total);
    let bins = bins::bins(&cells_a, &cells_b);
    (answer.edges, answer.a.counts, answer.b.counts) = (bins.edges, bins.a, bins.b);
    answer.sentence =
        sentence::sentence(&table, errors.as_ref(), &name(&answer.a, "A", answer), &name(&answer.b, "B", answer));
    answer.quantiles = table.iter().map(wire_quantile).collect();
    answer.shift = numbers::SHIFT.iter().map(|q| wire_quantile(&numbers::quantile(of_a, of_b, *q, unit_s))).collect();
    answer.resolution = numbers::resolution([of_a, of_b]).map(round);
    let distance = numbers::distance(&cells_a, &cells_b);
    answer.stats = wire::Stats {
        ks: distance.map(|distance| round(distance.ks)),
        ks_at: distance.map(|distance| round(distance.at_s)),
        ks_chance: distance.and_then(|distance| distance.chance).map(round),
        mean_a: numbers::mean_s(of_a, unit_s).map(round),
        mean_b: numbers::mean_s(of_b, unit_s).map(round),
        errors: errors.map(|errors| wire::Errors {
            a: round(errors.a),
            b: round(errors.b),
            diff: round(errors.diff()),
            lo: round(errors.low),
            hi: round(errors.high),
            differs: errors.differs(),
        }),
    };
}

/// A side's name in the sentence: its label, unless both have the same.
fn name(side: &wire::Side, letter: &str, answer: &wire::Comparison) -> String {
    if answer.a.label == answer.b.label { letter.to_owned() } else { side.label.clone() }
}

fn nothing_in_common(answer: &wire::Comparison) -> String {
    let of = |side: &wire::Side| match side.has.iter().any(|has| has.durations > 0) {
        true => "durations of another kind",
        false if side.has.is_empty() => "no requests",
        false => "requests without durations",
    };
    format!(
        "nothing to compare: {} has {}, {} has {}",
        name(&answer.a, "A", answer),
        of(&answer.a),
        name(&answer.b, "B", answer),
        of(&answer.b)
    )
}

fn wire_side(cohort: &Cohort, window: &Window, side: &Side, has: &[Has], watermark_ms: i64) -> wire::Side {
    wire::Side {
        label: cohort.label(),
        version: cohort.version.clone(),
        flag: cohort.flag.clone().map(|(key, variant)| wire::Flag { key, variant }),
        from: window.from_ms,
        to: window.to_ms,
        n: side.total.n(),
        requests: side.total.requests,
        errors: side.total.errors,
        rps: sentence::rate(side, window, watermark_ms).map(round),
        first: side.total.seen_ms.map(|(first, _)| first),
        last: side.total.seen_ms.map(|(_, last)| last),
        counts: Vec::new(),
        has: has
            .iter()
            .map(|has| wire::Has { source: has.measured.as_str(), requests: has.requests, durations: has.durations })
            .collect(),
    }
}

fn wire_quantile(of: &Quantile) -> wire::Quantile {
    let rounded = |value: Option<f64>| value.map(round);
    wire::Quantile {
        q: of.q,
        a: rounded(of.a),
        b: rounded(of.b),
        diff: rounded(of.diff),
        lo: rounded(of.low),
        hi: rounded(of.high),
        rel: rounded(of.relative),
        rel_lo: rounded(of.relative_low),
        rel_hi: rounded(of.relative_high),
        ok: of.enough,
        differs: of.enough && of.differs(),
    }
}

fn explained(facts: &Facts<'_>, a: &Side, b: &Side, measured: Measured) -> Vec<wire::Explained> {
    let asked = facts.asked;
    let of = asked.select.map_or(Of::Mean, Of::Share);
    // Variants beside versions: only where a side is not itself one, and no route is asked for.
    let by_variant = asked.a.flag.is_none() && asked.b.flag.is_none() && asked.routes.is_empty();
    let flags = |parts: &[Part], cohort: &Cohort| -> Vec<Part> {
        let version = cohort.version.as_deref();
        let wanted = |part: &&Part| by_variant && version.is_none_or(|version| *version == *part.version);
        parts.iter().filter(wanted).cloned().collect()
    };
    let (flags_a, flags_b) = (flags(facts.toggled_a, &asked.a), flags(facts.toggled_b, &asked.b));
    let units = [measured.unit_s(), Measured::Toggled.unit_s()];
    let rows = explain::rows(&a.parts, &b.parts, [&flags_a, &flags_b], of, units);
    rows.into_iter().map(wire_explained).collect()
}

fn wire_explained(row: explain::Row) -> wire::Explained {
    let (a, b) = (row.a.as_ref(), &row.b);
    let rounded = |value: Option<f64>| value.map(round);
    wire::Explained {
        a: a.map(|a| round(a.share)),
        b: round(b.share),
        n_a: a.map(|a| a.n),
        n_b: b.n,
        mean_a: rounded(a.and_then(|a| a.mean_s)),
        mean_b: rounded(b.mean_s),
        p99_a: rounded(a.and_then(|a| a.p99_s)),
        p99_b: rounded(b.p99_s),
        err_a: rounded(a.and_then(|a| a.errors)),
        err_b: rounded(b.errors),
        adds: round(row.adds),
        adds_by_share: round(row.adds_by_share),
        part: rounded(row.part),
        score: round(row.score),
        dim: row.dimension,
        value: row.value,
    }
}

/// The window in which lines of patterns are counted: they are kept by the minute, or by the hour.
pub(crate) fn pattern_window(window: &Window) -> Window {
    let step_ms = if window.resolution_s * SECOND_MS >= HOUR_MS { HOUR_MS } else { MINUTE_MS };
    let to_ms = -(-window.to_ms).div_euclid(step_ms) * step_ms;
    Window { from_ms: window.from_ms.div_euclid(step_ms) * step_ms, to_ms, resolution_s: step_ms / SECOND_MS }
}

fn patterns(facts: &Facts<'_>, all: &[Vec<Part>; 2], measured: Option<Measured>) -> wire::Patterns {
    let asked = facts.asked;
    let Some(shapes) = facts.shapes else {
        let note = Some("log lines are not kept by toggle: compare versions to see which patterns differ");
        return wire::Patterns { note, ..wire::Patterns::default() };
    };
    // A line is of no route: all requests of the side stand below it, of whatever measure there is most of.
    let everywhere = Default::default();
    let requests = |parts: &[Part], cohort: &Cohort| {
        let has = sides::has(parts, cohort, &everywhere);
        let by = has.iter().find(|has| Some(has.measured) == measured).or(has.first());
        by.map_or(0, |has| has.requests)
    };
    let lines = |at: usize, cohort, window: &Window| Lines {
        cohort,
        window: pattern_window(window),
        requests: requests(&all[at], cohort),
    };
    let found = patterns::find(shapes, &lines(0, &asked.a, &asked.window_a), &lines(1, &asked.b, &asked.window_b));
    wire::Patterns { only_b: found.only_b, escalated: found.escalated, only_a: found.only_a, note: None }
}

fn known(facts: &Facts<'_>) -> wire::Known {
    let mut versions: Vec<wire::KnownVersion> = Vec::new();
    for row in newest_first(facts.releases) {
        let (first_seen, last_seen) = (row.first_seen_ns.div_euclid(1_000_000), row.last_seen_ns.div_euclid(1_000_000));
        let version = &*row.release.version;
        if let Some(known) = versions.iter_mut().find(|known| known.version == version) {
            known.first_seen = known.first_seen.min(first_seen);
            known.last_seen = known.last_seen.max(last_seen);
        } else if versions.len() < KNOWN_MAX {
            versions.push(wire::KnownVersion { version: version.to_owned(), first_seen, last_seen });
        }
    }
    let mut toggles: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in facts.toggles {
        toggles.entry(&row.key).or_default().insert(&row.variant);
    }
    let toggles = toggles.into_iter().take(KNOWN_MAX).map(|(key, variants)| wire::KnownToggle {
        key: key.to_owned(),
        variants: variants.into_iter().take(KNOWN_MAX).map(str::to_owned).collect(),
    });
    let mut routes: BTreeMap<&str, u64> = BTreeMap::new();
    for part in facts.parts_a.iter().chain(facts.parts_b).filter(|part| !part.route.is_empty()) {
        *routes.entry(&part.route).or_insert(0) += part.requests;
    }
    let mut routes: Vec<(&str, u64)> = routes.into_iter().collect();
    routes.sort_by_key(|(route, requests)| (u64::MAX - requests, *route));
    let namespaces: BTreeSet<&str> = facts.releases.iter().map(|row| &*row.release.namespace).collect();
    wire::Known {
        versions,
        toggles: toggles.collect(),
        routes: routes.into_iter().take(KNOWN_MAX).map(|(route, _)| route.to_owned()).collect(),
        namespaces: namespaces.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    }
}
