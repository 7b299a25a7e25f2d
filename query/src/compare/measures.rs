//! Everything that two cohorts can be compared by, a row each: requests, sessions, KPIs, metrics of the app. Pure.
//!
//! Intervals are those of [`super::numbers`] wherever the number is a share of things that are counted, or a quantile. The
//! rate says how much traffic a side was given, and a mean or a sum is ruled by few large values: these have none, and say so.

use std::collections::{BTreeMap, BTreeSet};

use shipwake_model::kpi::{Kpi, KpiSource, KpiValue, Per};
use shipwake_model::sketch::{Distinct, Exponential, Sketch};
use shipwake_store::MeasureSeries;

use super::answer::Facts;
use super::metric::Metric;
use super::numbers::{self, Errors, Quantile};
use super::request::{Cohort, Window};
use super::sentence;
use super::sides::{self, Side};
use super::values::{Valued, alike};

/// Metrics of the app that are told; the ones with the most values.
const METRICS_MAX: usize = 24;
/// KPIs that are told, and of these events that nobody declared.
const KPIS_MAX: usize = 24;
const UNDECLARED_MAX: usize = 6;
/// Things counted on either side, below which a share says little.
const ENOUGH: u64 = 50;
/// The name under which events beyond the bound of a service are counted.
const BEYOND: &str = "__other__";

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Seconds,
    /// 0 to 1; differences are points.
    Ratio,
    /// A second.
    Rate,
    Number,
}

impl Form {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Seconds => "seconds",
            Form::Ratio => "ratio",
            Form::Rate => "rate",
            Form::Number => "number",
        }
    }

    /// Of values in a unit.
    pub fn of_unit(unit: &str) -> Form {
        if unit == "s" { Form::Seconds } else { Form::Number }
    }
}

/// One thing on both sides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub metric: Metric,
    /// Of what has a distribution.
    pub q: Option<f64>,
    /// `requests`, `sessions`, `kpi`, `metric`.
    pub group: &'static str,
    pub title: String,
    pub form: Form,
    pub unit: String,
    pub a: Option<f64>,
    pub b: Option<f64>,
    /// The interval of the difference; `None` where there is no bound.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// What it rests on: requests, sessions, values.
    pub n: [u64; 2],
    /// `higher` or `lower`; `None` where neither is good in itself.
    pub better: Option<&'static str>,
    /// There is enough on both sides.
    pub enough: bool,
    /// Choosing it shows how its values are distributed.
    pub has_distribution: bool,
    /// Why there is no interval.
    pub note: Option<&'static str>,
}

impl Row {
    /// B less A.
    pub fn diff(&self) -> Option<f64> {
        self.a.zip(self.b).map(|(a, b)| b - a)
    }

    /// That as a part of A.
    pub fn relative(&self) -> Option<f64> {
        let (a, b) = self.a.zip(self.b)?;
        (a != 0.0).then(|| (b - a) / a.abs())
    }

    /// Whether the difference is beyond chance.
    pub fn differs(&self) -> bool {
        self.enough && (self.low.is_some_and(|low| low > 0.0) || self.high.is_some_and(|high| high < 0.0))
    }

    fn blank(metric: Metric, group: &'static str, title: &str, form: Form) -> Row {
        Row {
            metric,
            q: None,
            group,
            title: title.to_owned(),
            form,
            unit: String::new(),
            a: None,
            b: None,
            low: None,
            high: None,
            n: [0, 0],
            better: None,
            enough: false,
            has_distribution: false,
            note: None,
        }
    }

    /// A share of what is counted, `scale` of it for each.
    fn share(mut self, found: Option<Errors>, scale: f64, n: [u64; 2]) -> Row {
        self.n = n;
        self.enough = n.iter().all(|n| *n >= ENOUGH);
        if let Some(found) = found {
            (self.a, self.b) = (Some(found.a * scale), Some(found.b * scale));
            (self.low, self.high) = (Some(found.low * scale), Some(found.high * scale));
        }
        self
    }

    fn quantile(mut self, found: &Quantile, n: [u64; 2]) -> Row {
        (self.q, self.a, self.b) = (Some(found.q), found.a, found.b);
        (self.low, self.high, self.enough, self.n) = (found.low, found.high, found.enough, n);
        self.has_distribution = true;
        self
    }
}

/// The rows, in an order that does not move while requests come in, and why there are not more. `sides` are the requests
/// that are compared.
pub(crate) fn rows(facts: &Facts<'_>, sides: [&Side; 2], unit_s: f64) -> (Vec<Row>, Option<String>) {
    let asked = facts.asked;
    let mut found = of_requests(facts, sides, unit_s);
    if asked.a.flag.is_some() || asked.b.flag.is_some() {
        return (
            found,
            Some("Sessions, KPIs and metrics are not kept by variant: compare versions to see them.".to_owned()),
        );
    }
    if !asked.routes.is_empty() {
        return (
            found,
            Some("Sessions, KPIs and metrics are not kept by route: take the filter away to see them.".to_owned()),
        );
    }
    let of = |at: usize| Products::of(facts.measures[at], [&asked.a, &asked.b][at]);
    let products = [of(0), of(1)];
    found.extend(of_sessions(&products));
    found.extend(of_kpis(facts, &products, sides));
    let (metrics, more) = of_metrics(facts.valued, [&asked.a, &asked.b]);
    found.extend(metrics);
    let note =
        (more > 0).then(|| format!("{more} metrics with fewer values are left out: metric=metric:NAME compares them."));
    (found, note)
}

fn of_requests(facts: &Facts<'_>, [a, b]: [&Side; 2], unit_s: f64) -> Vec<Row> {
    let asked = facts.asked;
    let mut found = Vec::new();
    if let (Some(of_a), Some(of_b)) = (&a.total.durations, &b.total.durations) {
        for q in [0.5, 0.95, 0.99] {
            let row =
                Row::blank(Metric::Duration, "requests", &format!("{} duration", sentence::name(q)), Form::Seconds);
            let row = row.quantile(&numbers::quantile(of_a, of_b, q, unit_s), [of_a.count(), of_b.count()]);
            found.push(Row { unit: "s".to_owned(), better: Some("lower"), ..row });
        }
    }
    let n = [a.total.requests, b.total.requests];
    if n == [0, 0] {
        return found;
    }
    let errors = Row::blank(Metric::Errors, "requests", "Error ratio", Form::Ratio);
    found.push(Row { better: Some("lower"), ..errors.share(numbers::errors(&a.total, &b.total), 1.0, n) });
    let rate = |side: &Side, window: &Window| sides::rate(side, window, facts.watermark_ms);
    found.push(Row {
        a: rate(a, &asked.window_a),
        b: rate(b, &asked.window_b),
        n,
        enough: true,
        unit: "/s".to_owned(),
        note: Some("how much traffic a side is given says nothing about its health"),
        ..Row::blank(Metric::Rate, "requests", "Requests", Form::Rate)
    });
    found
}

/// What customers did on one side.
struct Products<'a> {
    kpis: BTreeMap<&'a str, Told<'a>>,
    usage: BTreeMap<&'a str, BTreeMap<i64, Distinct>>,
}

/// The records of a KPI.
#[derive(Default)]
struct Told<'a> {
    unit: &'a str,
    count: u64,
    sum: f64,
    values: Option<Exponential>,
}

impl<'a> Products<'a> {
    fn of(measures: &'a [MeasureSeries], cohort: &Cohort) -> Self {
        let mut found = Products { kpis: BTreeMap::new(), usage: BTreeMap::new() };
        let wanted = cohort.version.as_deref();
        for series in measures.iter().filter(|one| wanted.is_none_or(|wanted| *wanted == *one.key.release.version)) {
            match series.key.signal {
                "kpi" => {
                    let told = found.kpis.entry(&series.key.metric).or_default();
                    told.unit = &series.key.unit;
                    for cell in &series.cells {
                        told.count += cell.count;
                        told.sum += cell.sum;
                        if let Some(values) = &cell.values {
                            told.values.get_or_insert_with(Exponential::for_values).merge(values);
                        }
                    }
                }
                "usage" => {
                    let windows = found.usage.entry(&series.key.metric).or_default();
                    for cell in &series.cells {
                        if let Some(distinct) = &cell.distinct {
                            windows.entry(cell.t_ms).or_default().merge(distinct);
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Different ones in the whole window, about.
    fn whole(&self, metric: &str) -> u64 {
        let mut whole = Distinct::new();
        self.usage.get(metric).into_iter().flat_map(BTreeMap::values).for_each(|distinct| whole.merge(distinct));
        whole.count()
    }

    /// Each once in every window, as on the page of a service: those who come back are no fewer where a side runs longer.
    fn by_window(&self, metric: &str) -> u64 {
        self.usage.get(metric).into_iter().flat_map(BTreeMap::values).map(Distinct::count).sum()
    }
}

fn of_sessions(products: &[Products<'_>; 2]) -> Vec<Row> {
    let sessions = [0, 1].map(|at| products[at].whole("sessions"));
    if sessions == [0, 0] {
        return Vec::new();
    }
    let row = |metric, bad: &str, title: &str| {
        // Estimates of a part can exceed that of the whole by their error.
        let bad = [0, 1].map(|at| products[at].whole(bad).min(sessions[at]));
        let good = [0, 1].map(|at| sessions[at] - bad[at]);
        let found = numbers::proportion((good[0], sessions[0]), (good[1], sessions[1]));
        Row { better: Some("higher"), ..Row::blank(metric, "sessions", title, Form::Ratio).share(found, 1.0, sessions) }
    };
    vec![
        row(Metric::CrashFree, "crashed_sessions", "Crash-free sessions"),
        row(Metric::ErrorFree, "errored_sessions", "Sessions without an error"),
    ]
}

fn of_kpis(facts: &Facts<'_>, products: &[Products<'_>; 2], sides: [&Side; 2]) -> Vec<Row> {
    let mut left: BTreeSet<&str> = products.iter().flat_map(|of| of.kpis.keys().copied()).collect();
    left.remove(BEYOND);
    let mut found = Vec::new();
    for kpi in facts.kpis.iter().filter(|kpi| kpi.concerns(facts.service, facts.environment)) {
        if left.remove(&*kpi.key) {
            found.push(of_kpi(facts, &kpi.key, Some(kpi), products, sides));
        }
        if let KpiSource::Event(name) = &kpi.source {
            left.remove(name.as_str());
        }
    }
    let events = |key: &str| products.iter().filter_map(|of| of.kpis.get(key)).map(|told| told.count).sum::<u64>();
    let mut undeclared: Vec<&str> = left.into_iter().collect();
    undeclared.sort_by_key(|key| (u64::MAX - events(key), *key));
    // By name, once it is known which: counts change places while they are looked at.
    undeclared.truncate(UNDECLARED_MAX);
    undeclared.sort_unstable();
    found.extend(undeclared.into_iter().map(|key| of_kpi(facts, key, None, products, sides)));
    found.truncate(KPIS_MAX);
    found
}

fn of_kpi(
    facts: &Facts<'_>,
    key: &str,
    declared: Option<&Kpi>,
    products: &[Products<'_>; 2],
    sides: [&Side; 2],
) -> Row {
    let (value, per) = declared.map_or((KpiValue::Count, Per::Request), |kpi| (kpi.value, kpi.per));
    let nothing = Told::default();
    let told = [0, 1].map(|at| products[at].kpis.get(key).unwrap_or(&nothing));
    let unit = told.iter().map(|told| told.unit).find(|unit| !unit.is_empty()).unwrap_or_default();
    let title = declared.map_or(key, |kpi| &kpi.title);
    let mut row = Row::blank(Metric::Kpi(key.to_owned()), "kpi", title, Form::Number);
    row.better = declared.map(|kpi| kpi.better.as_str());
    row.has_distribution =
        told.iter().all(|told| told.values.as_ref().is_some_and(|values| values.count > 0)) && value != KpiValue::Count;
    let n = told.map(|told| told.count);
    let windows = [&facts.asked.window_a, &facts.asked.window_b];
    let exposure = [0, 1].map(|at| exposure(per, &products[at], sides[at], windows[at], facts.watermark_ms));
    let scale = if per == Per::Request { 1_000.0 } else { 1.0 };
    row.unit = unit_of(value, per, unit);
    if value == KpiValue::Mean {
        let mean = |told: &Told<'_>| (told.count > 0).then(|| told.sum / told.count as f64);
        let note = "a mean is ruled by few large values: choose it to compare its values at each quantile";
        return Row { a: mean(told[0]), b: mean(told[1]), n, enough: true, note: Some(note), ..row };
    }
    let counted = [0, 1].map(|at| (n[at], exposure[at] as u64));
    let is_part = value == KpiValue::Count && per != Per::None && counted.iter().all(|(n, of)| n <= of && *of > 0);
    if is_part {
        return row.share(numbers::proportion(counted[0], counted[1]), scale, counted.map(|(_, of)| of));
    }
    let amount = |at: usize| if value == KpiValue::Count { n[at] as f64 } else { told[at].sum };
    let each = |at: usize| (exposure[at] > 0.0).then(|| amount(at) * scale / exposure[at]);
    let note = match (value, per) {
        (KpiValue::Count, Per::None) => "how many a second follows the traffic that a side is given",
        (KpiValue::Count, _) => "it happens more often than what it is divided by: it is no share of that",
        _ => "a sum is ruled by few large values: choose it to compare its values at each quantile",
    };
    Row { a: each(0), b: each(1), n, enough: true, note: Some(note), ..row }
}

/// What a KPI is divided by.
fn exposure(per: Per, of: &Products<'_>, side: &Side, window: &Window, watermark_ms: i64) -> f64 {
    match per {
        Per::Request => side.total.requests as f64,
        Per::Session => of.by_window("sessions") as f64,
        Per::User => of.by_window("users") as f64,
        Per::None => sides::seconds_there(side, window, watermark_ms),
    }
}

fn unit_of(value: KpiValue, per: Per, unit: &str) -> String {
    let of = if value == KpiValue::Count { "" } else { unit };
    let by = match (value, per) {
        (KpiValue::Mean, _) => "",
        (_, Per::Request) => "per 1,000 requests",
        (_, Per::Session) => "per session",
        (_, Per::User) => "per user",
        (_, Per::None) => "a second",
    };
    format!("{of} {by}").trim().to_owned()
}

/// Metrics that both sides have, by name, and how many more there are.
fn of_metrics(valued: [&[Valued]; 2], cohorts: [&Cohort; 2]) -> (Vec<Row>, usize) {
    type Key<'a> = (&'a str, &'a str);
    let mut both: BTreeMap<Key<'_>, [Vec<Sketch>; 2]> = BTreeMap::new();
    for at in [0, 1] {
        let wanted = cohorts[at].version.as_deref();
        for one in valued[at].iter().filter(|one| wanted.is_none_or(|wanted| *wanted == *one.version)) {
            both.entry((&one.name, &one.unit)).or_default()[at].push(one.values.clone());
        }
    }
    both.retain(|_, sides| sides.iter().all(|side| !side.is_empty()));
    let count = |sides: &[Vec<Sketch>; 2]| sides.iter().flatten().map(Sketch::count).sum::<u64>();
    let mut largest: Vec<(u64, Key<'_>)> = both.iter().map(|(key, sides)| (count(sides), *key)).collect();
    largest.sort_by_key(|(count, key)| (u64::MAX - count, *key));
    let told: BTreeSet<Key<'_>> = largest.into_iter().take(METRICS_MAX).map(|(_, key)| key).collect();
    let more = both.len() - told.len();
    let rows = both.into_iter().filter(|(key, _)| told.contains(key)).filter_map(|((name, unit), mut sides)| {
        let (one, two) = sides.split_at_mut(1);
        let unit_s = alike(&mut one.iter_mut().chain(two).flatten().collect::<Vec<_>>());
        let merged = sides.map(|side| side.into_iter().reduce(|held, more| merged(held, &more)));
        let [Some(a), Some(b)] = merged else { return None };
        // The tail where it is known, since that is what hurts; else the middle.
        let of = |q: f64| numbers::quantile(&a, &b, q, unit_s);
        let found = Some(of(0.95)).filter(|found| found.enough).unwrap_or_else(|| of(0.5));
        let title = format!("{} {name}", sentence::name(found.q));
        let row = Row::blank(Metric::Values(name.to_owned()), "metric", &title, Form::of_unit(unit));
        Some(Row { unit: unit.to_owned(), ..row.quantile(&found, [a.count(), b.count()]) })
    });
    (rows.collect(), more)
}

fn merged(mut held: Sketch, more: &Sketch) -> Sketch {
    held.merge(more).unwrap_or_else(|error| debug_assert!(false, "{error}"));
    held
}
