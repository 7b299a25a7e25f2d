//! A comparison from what was read. Pure: the parts of both sides in, the answer out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shipwake_model::Source;
use shipwake_model::kpi::Kpi;
use shipwake_model::sketch::Sketch;
use shipwake_store::{MeasureSeries, ReleaseRow, ToggleRow};

use super::cells::{Measured, Part};
use super::explain::{self, Keyed, Of};
use super::measures::{self, Form};
use super::metric::Metric;
use super::numbers::{self, Quantile};
use super::patterns::{self, Lines};
use super::request::{Asked, Cohort, Window, newest_first};
use super::sentence::{self, METHOD};
use super::sides::{self, Has, Side};
use super::values::{Explaining, Valued, alike};
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
    /// Declared KPIs of whatever service.
    pub kpis: &'a [Kpi],
    /// KPIs and usage of the windows of both sides, of whatever version.
    pub measures: [&'a [MeasureSeries]; 2],
    /// Metrics of the app of both windows.
    pub valued: [&'a [Valued]; 2],
    /// The KPI or metric that is compared.
    pub own: [&'a [Explaining]; 2],
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
    // Where durations are not what is asked for, requests without any will do.
    let counted = measured.or_else(|| sides::counted(&has[0], &has[1]));
    let side = |at: usize, cohort: &Cohort| {
        counted.map(|measured| Side::of(&all[at], cohort, &asked.routes, measured)).unwrap_or_default()
    };
    let (a, b) = (side(0, &asked.a), side(1, &asked.b));
    let mut answer = empty(facts, measured);
    answer.meta.warnings.extend(sentence::warnings(facts, counted.map(|_| (&a, &b))));
    answer.a = wire_side(&asked.a, &asked.window_a, &a, &has[0], facts.watermark_ms);
    answer.b = wire_side(&asked.b, &asked.window_b, &b, &has[1], facts.watermark_ms);
    answer.patterns = patterns(facts, &all, measured);
    let unit_s = counted.map_or(1.0, Measured::unit_s);
    let (rows, note) = measures::rows(facts, [&a, &b], unit_s);
    if let Some(errors) = numbers::errors(&a.total, &b.total) {
        answer.stats.errors = Some(wire_errors(&errors));
    }
    match (&asked.metric, counted) {
        (Metric::Duration, Some(by)) if measured.is_some() => of_durations(&mut answer, facts, by, &a, &b),
        (Metric::Duration, _) => answer.sentence = nothing_in_common(&answer),
        (Metric::Kpi(_) | Metric::Values(_), _) => of_values(&mut answer, facts, &rows),
        (metric, by) => of_number(&mut answer, facts, &rows, (metric, by), [&a, &b]),
    }
    answer.measures = rows.iter().map(wire_measure).collect();
    answer.measures_note = note;
    answer
}

fn empty(facts: &Facts<'_>, measured: Option<Measured>) -> wire::Comparison {
    wire::Comparison {
        meta: facts.meta.clone(),
        service: facts.service.to_owned(),
        env: facts.environment.to_owned(),
        metric: facts.asked.metric.written(),
        title: "Duration".to_owned(),
        unit: "s".to_owned(),
        form: Form::Seconds.as_str(),
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
        measures: Vec::new(),
        measures_note: None,
        patterns: wire::Patterns::default(),
        resolution: None,
        method: METHOD,
        known: known(facts),
    }
}

/// How long requests take.
fn of_durations(answer: &mut wire::Comparison, facts: &Facts<'_>, measured: Measured, a: &Side, b: &Side) {
    let Some((of_a, of_b)) = a.total.durations.as_ref().zip(b.total.durations.as_ref()) else { return };
    let table = distributions(answer, of_a, of_b, measured.unit_s());
    let errors = numbers::errors(&a.total, &b.total);
    let names = [name(&answer.a, "A", answer), name(&answer.b, "B", answer)];
    answer.sentence = sentence::sentence(&table, errors.as_ref(), &names[0], &names[1]);
    answer.explain = explained(facts, a, b, measured, facts.asked.select.map_or(Of::Mean, Of::Share));
}

/// A number of requests or sessions that has no distribution.
fn of_number(
    answer: &mut wire::Comparison,
    facts: &Facts<'_>,
    rows: &[measures::Row],
    (metric, by): (&Metric, Option<Measured>),
    [a, b]: [&Side; 2],
) {
    let asked = facts.asked;
    answer.source = by.filter(|_| metric.is_of_requests()).map(Measured::as_str);
    let names = [name(&answer.a, "A", answer), name(&answer.b, "B", answer)];
    let Some(row) = rows.iter().find(|row| row.metric == *metric) else {
        let what = if metric.is_of_requests() { "requests of the same kind" } else { "sessions" };
        answer.sentence = format!("nothing to compare: {} and {} do not both have {what}", names[0], names[1]);
        return;
    };
    (answer.title, answer.unit, answer.form) = (row.title.clone(), row.unit.clone(), row.form.as_str());
    answer.sentence = sentence::of_row(row, &names[0], &names[1]);
    if row.a.is_none() || row.b.is_none() {
        return;
    }
    match (metric, by) {
        (Metric::Errors, Some(measured)) => {
            answer.explains = "errors";
            answer.explain = explained(facts, a, b, measured, Of::Errors);
        }
        (Metric::Rate, _) => {
            answer.explains = "rate";
            let seconds = [(a, &asked.window_a), (b, &asked.window_b)]
                .map(|(side, window)| sides::seconds_there(side, window, facts.watermark_ms));
            answer.explain = explain::of_rate(&a.parts, &b.parts, seconds).into_iter().map(wire_explained).collect();
        }
        _ => {}
    }
}

/// The values of a KPI, or of a metric of the app.
fn of_values(answer: &mut wire::Comparison, facts: &Facts<'_>, rows: &[measures::Row]) {
    let asked = facts.asked;
    let metric = &asked.metric;
    let row = rows.iter().find(|row| row.metric == *metric);
    let names = [name(&answer.a, "A", answer), name(&answer.b, "B", answer)];
    let what = metric.of_windows().map_or("", |(_, name)| name);
    answer.source = None;
    answer.title = row.filter(|row| row.group == "kpi").map_or(what, |row| &row.title).to_owned();
    let cohorts = [&asked.a, &asked.b];
    let (mut sides, unit) = own_of(facts.own, cohorts);
    let of_row = row.filter(|row| row.group == "kpi").map(|row| sentence::of_row(row, &names[0], &names[1]));
    if sides.iter().any(Vec::is_empty) {
        let nothing = || format!("nothing to compare: {} and {} do not both have values of {what}", names[0], names[1]);
        answer.sentence = of_row.unwrap_or_else(nothing);
        if let Some(row) = row {
            (answer.unit, answer.form) = (row.unit.clone(), row.form.as_str());
        }
        return;
    }
    let unit_s =
        alike(&mut sides.iter_mut().flatten().filter_map(|one| one.part.durations.as_mut()).collect::<Vec<_>>());
    let [a, b] = [0, 1].map(|at| {
        let mut side = Side::default();
        for one in &sides[at] {
            side.total.add(&one.part);
            side.parts.push(one.part.clone());
        }
        side
    });
    let Some((of_a, of_b)) = a.total.durations.as_ref().zip(b.total.durations.as_ref()) else { return };
    let form = Form::of_unit(&unit);
    answer.source = a.parts.first().map(|part| part.measured.as_str());
    (answer.unit, answer.form, answer.approximate) = (unit.to_string(), form.as_str(), false);
    (answer.a.n, answer.b.n) = (a.total.n(), b.total.n());
    let table = distributions(answer, of_a, of_b, unit_s);
    let of_values = sentence::of_values(&table, (&answer.title, form, &unit), &names[0], &names[1]);
    answer.sentence = of_row.map_or(of_values.clone(), |said| format!("{said}; {of_values}"));
    let keyed = sides.map(|side| side.iter().flat_map(by_attribute).collect::<Vec<_>>());
    let of = asked.select.map_or(Of::Mean, Of::Share);
    let keyed = Keyed { prefix: "attribute.", sides: [&keyed[0], &keyed[1]], unit_s };
    answer.explain = explain::rows(&a.parts, &b.parts, keyed, of, unit_s).into_iter().map(wire_explained).collect();
}

/// The values that both cohorts tell, in the unit that has the most of them.
fn own_of(own: [&[Explaining]; 2], cohorts: [&Cohort; 2]) -> ([Vec<Explaining>; 2], Arc<str>) {
    let of_cohort = |at: usize| {
        let wanted = cohorts[at].version.as_deref();
        own[at].iter().filter(move |one| wanted.is_none_or(|wanted| *wanted == *one.part.version))
    };
    let mut counts: BTreeMap<&Arc<str>, [u64; 2]> = BTreeMap::new();
    for at in [0, 1] {
        of_cohort(at).for_each(|one| counts.entry(&one.unit).or_default()[at] += one.part.requests);
    }
    // Of both sides, where there is such a unit.
    let unit = counts.iter().max_by_key(|(_, [a, b])| (*a.min(b), a + b)).map(|(unit, _)| Arc::clone(unit));
    let unit = unit.unwrap_or_else(|| "".into());
    ([0, 1].map(|at| of_cohort(at).filter(|one| one.unit == unit).cloned().collect()), unit)
}

fn by_attribute(one: &Explaining) -> impl Iterator<Item = Part> + '_ {
    one.attributes.iter().map(|pair| Part { flag: Some(pair.clone()), ..one.part.clone() })
}

/// Everything that needs a distribution on both sides; gives the quantiles of the table.
fn distributions(answer: &mut wire::Comparison, of_a: &Sketch, of_b: &Sketch, unit_s: f64) -> Vec<Quantile> {
    let table: Vec<Quantile> = numbers::TABLE.iter().map(|q| numbers::quantile(of_a, of_b, *q, unit_s)).collect();
    answer.quantiles = table.iter().map(wire_quantile).collect();
    answer.shift = numbers::SHIFT.iter().map(|q| wire_quantile(&numbers::quantile(of_a, of_b, *q, unit_s))).collect();
    answer.resolution = numbers::resolution([of_a, of_b]).map(round);
    (answer.stats.mean_a, answer.stats.mean_b) =
        (numbers::mean_s(of_a, unit_s).map(round), numbers::mean_s(of_b, unit_s).map(round));
    // An axis of logarithms and cells from zero on have no place for what lies below it.
    if [of_a, of_b].into_iter().any(|of| of.quantile(0.0).is_some_and(|(least, _)| least < 0.0)) {
        return table;
    }
    let (cells_a, cells_b) = (of_a.to_hdr(unit_s * 1e6).0, of_b.to_hdr(unit_s * 1e6).0);
    let bins = bins::bins(&cells_a, &cells_b);
    (answer.edges, answer.a.counts, answer.b.counts) = (bins.edges, bins.a, bins.b);
    let distance = numbers::distance(&cells_a, &cells_b);
    answer.stats.ks = distance.map(|distance| round(distance.ks));
    answer.stats.ks_at = distance.map(|distance| round(distance.at_s));
    answer.stats.ks_chance = distance.and_then(|distance| distance.chance).map(round);
    table
}

fn wire_errors(errors: &numbers::Errors) -> wire::Errors {
    wire::Errors {
        a: round(errors.a),
        b: round(errors.b),
        diff: round(errors.diff()),
        lo: round(errors.low),
        hi: round(errors.high),
        differs: errors.differs(),
    }
}

fn wire_measure(row: &measures::Row) -> wire::Measure {
    let rounded = |value: Option<f64>| value.map(round);
    wire::Measure {
        metric: row.metric.written(),
        q: row.q,
        group: row.group,
        title: row.title.clone(),
        form: row.form.as_str(),
        unit: row.unit.clone(),
        a: rounded(row.a),
        b: rounded(row.b),
        diff: rounded(row.diff()),
        lo: rounded(row.low),
        hi: rounded(row.high),
        rel: rounded(row.relative()),
        n_a: row.n[0],
        n_b: row.n[1],
        better: row.better,
        ok: row.enough,
        differs: row.differs(),
        distribution: row.has_distribution,
        note: row.note,
    }
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
        rps: sides::rate(side, window, watermark_ms).map(round),
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

fn explained(facts: &Facts<'_>, a: &Side, b: &Side, measured: Measured, of: Of) -> Vec<wire::Explained> {
    let asked = facts.asked;
    // Variants beside versions: only where a side is not itself one, and no route is asked for.
    let by_variant = asked.a.flag.is_none() && asked.b.flag.is_none() && asked.routes.is_empty();
    let flags = |parts: &[Part], cohort: &Cohort| -> Vec<Part> {
        let version = cohort.version.as_deref();
        let wanted = |part: &&Part| by_variant && version.is_none_or(|version| *version == *part.version);
        parts.iter().filter(wanted).cloned().collect()
    };
    let (flags_a, flags_b) = (flags(facts.toggled_a, &asked.a), flags(facts.toggled_b, &asked.b));
    let keyed = Keyed { prefix: "toggle.", sides: [&flags_a, &flags_b], unit_s: Measured::Toggled.unit_s() };
    let rows = explain::rows(&a.parts, &b.parts, keyed, of, measured.unit_s());
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
