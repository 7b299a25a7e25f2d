//! The question of a comparison: two cohorts, their windows of time, filters. Pure: the present and what is known of the
//! service are arguments.
//!
//! A cohort is written `ver:2.14.0`, `flag:pay-v2=on`, `win:now-1h..now-30m`, or several of these with a space between; a
//! text without a kind in front is a version. Whatever is not understood is answered with what is known.

use serde::Deserialize;
use shipwake_store::{ReleaseRow, ToggleRow};

use super::metric::{self, Metric};
use crate::error::QueryError;
use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS, parse_time, rfc3339_ns};

/// The kinds of a cohort's parts, as written.
const KINDS: [&str; 3] = ["ver:", "flag:", "win:"];
/// Windows are kept for about this long by default; a longer question is a mistake.
const SPAN_MAX_MS: i64 = 400 * 24 * HOUR_MS;
/// Filters and names that are looked at.
const FILTERS_MAX: usize = 20;
/// Names that a problem lists.
const LISTED_MAX: usize = 12;

/// What came over HTTP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Body {
    pub service: String,
    pub env: Option<String>,
    pub namespace: Option<String>,
    /// The cohort that is compared against.
    pub a: Option<String>,
    pub b: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// Windows of one side, `from..to`.
    pub wa: Option<String>,
    pub wb: Option<String>,
    pub metric: Option<String>,
    pub filters: Vec<String>,
    pub select: Option<Selection>,
}

/// Durations that are to be explained, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    pub from: f64,
    pub to: f64,
}

/// Which requests: all of the service, less what is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cohort {
    pub version: Option<String>,
    /// Key and variant of a toggle.
    pub flag: Option<(String, String)>,
}

/// A range of time on windows of one resolution: the start is included, the end is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub from_ms: i64,
    pub to_ms: i64,
    pub resolution_s: i64,
}

/// A filter by route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    /// Any of these; all where there are none.
    pub only: Vec<String>,
    pub without: Vec<String>,
}

/// A question that is understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub a: Cohort,
    pub b: Cohort,
    pub window_a: Window,
    pub window_b: Window,
    pub routes: Routes,
    pub select: Option<Selection>,
    pub metric: Metric,
}

/// What a question is read against: releases and toggles of this service and environment.
pub(crate) struct Known<'a> {
    pub service: &'a str,
    pub releases: &'a [ReleaseRow],
    pub toggles: &'a [ToggleRow],
    pub now_ms: i64,
}

/// Reads a question.
///
/// # Errors
/// [`QueryError::BadArgument`] that names the argument, and what there is instead.
pub(crate) fn read(body: &Body, known: &Known<'_>) -> Result<Asked, QueryError> {
    let named = body.metric.as_deref().unwrap_or_default();
    let of = Metric::read(named)
        .ok_or_else(|| bad("metric", named, format!("what can be compared: {}", metric::WRITTEN)))?;
    let whole = (body.from.as_deref().unwrap_or("now-30m"), body.to.as_deref().unwrap_or("now"));
    let side = |argument, text: &Option<String>, own: &Option<String>, of: &'static str| {
        let (cohort, written) = match text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => cohort(argument, text)?,
            None => (Cohort::default(), None),
        };
        let own = own.as_deref().filter(|own| !own.is_empty()).map(|own| ends(of, own)).transpose()?;
        let named = text.as_deref().is_some_and(|text| !text.trim().is_empty());
        let (argument, (from, to)) = match written.or(own) {
            Some((from, to)) => (if written.is_some() { argument } else { of }, (from, to)),
            None => ("from", whole),
        };
        let window = window(argument, from, to, known)?;
        check_known(if of == "wa" { "a" } else { "b" }, &cohort, known)?;
        Ok::<_, QueryError>((cohort, window, named))
    };
    let (mut a, window_a, named_a) = side("a", &body.a, &body.wa, "wa")?;
    let (mut b, window_b, named_b) = side("b", &body.b, &body.wb, "wb")?;
    choose(&mut a, &mut b, named_a, named_b, known, &window_a);
    let routes = routes(&body.filters)?;
    if !routes.is_empty() && (a.flag.is_some() || b.flag.is_some()) {
        let reason = "requests of a toggle's variants are not kept by route: take the filter or the toggle away";
        return Err(bad("filters", &body.filters.join(" "), reason.to_owned()));
    }
    if !of.is_of_requests() && (!routes.is_empty() || a.flag.is_some() || b.flag.is_some()) {
        let reason = "only what requests tell is kept by route and by variant: duration, errors, rate";
        return Err(bad("metric", named, reason.to_owned()));
    }
    Ok(Asked { a, b, window_a, window_b, routes, select: selection(body.select)?, metric: of })
}

fn bad(argument: &'static str, value: &str, reason: String) -> QueryError {
    QueryError::BadArgument { argument, value: value.to_owned(), reason }
}

/// Start and end of a window as written.
type Ends<'a> = (&'a str, &'a str);

/// Takes a cohort's text apart, and gives its window where it has one.
fn cohort<'a>(argument: &'static str, text: &'a str) -> Result<(Cohort, Option<Ends<'a>>), QueryError> {
    let bad = |reason: String| bad(argument, text, reason);
    let (mut found, mut window) = (Cohort::default(), None);
    for part in parts_of(text) {
        let kind = KINDS.into_iter().find(|kind| part.starts_with(kind));
        let value = part[kind.map_or(0, str::len)..].trim();
        let twice = match kind {
            Some("flag:") => found.flag.is_some(),
            Some("win:") => window.is_some(),
            _ => found.version.is_some(),
        };
        if twice || value.is_empty() {
            let what = kind.unwrap_or("ver:");
            return Err(bad(format!("{what} is there {}", if twice { "twice" } else { "without a value" })));
        }
        match kind {
            Some("flag:") => {
                let of = value.rsplit_once('=').filter(|(key, variant)| !key.is_empty() && !variant.is_empty());
                let (key, variant) =
                    of.ok_or_else(|| bad("a variant of a toggle is written flag:key=variant".to_owned()))?;
                found.flag = Some((key.to_owned(), variant.to_owned()));
            }
            Some("win:") => window = Some(ends(argument, value)?),
            _ => found.version = Some(value.to_owned()),
        }
    }
    Ok((found, window))
}

/// The text at every space that a kind follows.
fn parts_of(text: &str) -> Vec<&str> {
    let is_start = |at: usize| KINDS.iter().any(|kind| text[at + 1..].starts_with(kind));
    let mut starts: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).filter(|at| is_start(*at)).collect();
    starts.insert(0, 0);
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| text[*start..end].trim()).collect()
}

fn ends<'a>(argument: &'static str, text: &'a str) -> Result<Ends<'a>, QueryError> {
    let found = text.split_once("..").map(|(from, to)| (from.trim(), to.trim()));
    found.ok_or_else(|| bad(argument, text, "a window is written from..to, like now-1h..now-30m".to_owned()))
}

/// A window on the coarsest resolution that tells its length well.
fn window(argument: &'static str, from: &str, to: &str, known: &Known<'_>) -> Result<Window, QueryError> {
    let first_seen = |version: &str| {
        let rows = known.releases.iter().filter(|row| &*row.release.version == version);
        rows.map(|row| row.first_seen_ns.div_euclid(1_000_000)).min()
    };
    let read = |argument, text| parse_time(argument, text, known.now_ms, first_seen);
    let from_ms = read(argument, from)?;
    let to_ms = read(if argument == "from" { "to" } else { argument }, to)?.min(known.now_ms + MINUTE_MS);
    if from_ms >= to_ms {
        let written = |ms: i64| rfc3339_ns(ms.saturating_mul(1_000_000)).unwrap_or_else(|| ms.to_string());
        let reason = format!("the window ends at {} and begins only at {}", written(to_ms), written(from_ms));
        return Err(bad(argument, from, reason));
    }
    let span_ms = to_ms.saturating_sub(from_ms);
    if span_ms > SPAN_MAX_MS {
        return Err(bad(argument, from, format!("a window is at most {} days long", SPAN_MAX_MS / (24 * HOUR_MS))));
    }
    let resolution_s = match span_ms {
        up_to_an_hour if up_to_an_hour <= HOUR_MS => 10,
        up_to_a_day if up_to_a_day <= 24 * HOUR_MS => 60,
        _ => 3_600,
    };
    let step_ms = resolution_s * SECOND_MS;
    let up = |ms: i64| -(-ms).div_euclid(step_ms) * step_ms;
    Ok(Window { from_ms: from_ms.div_euclid(step_ms) * step_ms, to_ms: up(to_ms), resolution_s })
}

fn check_known(argument: &'static str, cohort: &Cohort, known: &Known<'_>) -> Result<(), QueryError> {
    let has_version = |asked: &str| known.releases.iter().any(|row| &*row.release.version == asked);
    if let Some(version) = cohort.version.as_deref().filter(|version| !has_version(version)) {
        let versions = listed(newest_first(known.releases).iter().map(|row| &*row.release.version));
        return Err(bad(argument, version, format!("{} has no such version; its versions: {versions}", known.service)));
    }
    let Some((key, variant)) = &cohort.flag else { return Ok(()) };
    let of_key = || known.toggles.iter().filter(|row| *row.key == **key);
    if of_key().next().is_none() {
        let keys = listed(known.toggles.iter().map(|row| &*row.key));
        return Err(bad(argument, key, format!("{} has no such toggle; its toggles: {keys}", known.service)));
    }
    if !of_key().any(|row| *row.variant == **variant) {
        let variants = listed(of_key().map(|row| &*row.variant));
        return Err(bad(argument, variant, format!("the toggle {key} has no such variant; it has {variants}")));
    }
    Ok(())
}

/// Different names in their order, as far as a sentence takes them.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut found: Vec<&str> = Vec::new();
    let mut more = 0;
    for name in names {
        if found.contains(&name) {
            continue;
        }
        if found.len() < LISTED_MAX { found.push(name) } else { more += 1 }
    }
    match (found.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => found.join(", "),
        _ => format!("{} and more", found.join(", ")),
    }
}

/// Releases, the one that was seen first last.
pub(crate) fn newest_first(releases: &[ReleaseRow]) -> Vec<&ReleaseRow> {
    let mut rows: Vec<&ReleaseRow> = releases.iter().collect();
    rows.sort_by(|a, b| (b.first_seen_ns, &a.release.version).cmp(&(a.first_seen_ns, &b.release.version)));
    rows
}

/// Chooses sides that nobody named: the newest release of the window against the one beside it with the most requests.
fn choose(a: &mut Cohort, b: &mut Cohort, named_a: bool, named_b: bool, known: &Known<'_>, window: &Window) {
    let seen = |row: &&ReleaseRow| {
        row.requests > 0
            && row.last_seen_ns.div_euclid(1_000_000) >= window.from_ms
            && row.first_seen_ns.div_euclid(1_000_000) < window.to_ms
    };
    let rows: Vec<&ReleaseRow> = newest_first(known.releases).into_iter().filter(seen).collect();
    let other = |taken: &Option<String>, row: &&&ReleaseRow| Some(&*row.release.version) != taken.as_deref();
    let name = |row: &&ReleaseRow| row.release.version.to_string();
    if !named_b {
        let newest = rows.iter().find(|row| !named_a || other(&a.version, row));
        b.version = newest.or(rows.first()).map(name);
    }
    if !named_a {
        let busiest = rows.iter().filter(|row| other(&b.version, row)).max_by_key(|row| row.requests);
        a.version = busiest.or(rows.first()).map(name);
    }
}

fn routes(filters: &[String]) -> Result<Routes, QueryError> {
    let mut found = Routes::default();
    if filters.len() > FILTERS_MAX {
        return Err(bad("filters", &filters.len().to_string(), format!("at most {FILTERS_MAX} filters")));
    }
    for filter in filters {
        match (filter.strip_prefix("route:eq:"), filter.strip_prefix("route:ne:")) {
            (Some(route), _) => found.only.push(route.to_owned()),
            (_, Some(route)) => found.without.push(route.to_owned()),
            _ => {
                let reason = "a filter is written route:eq:NAME or route:ne:NAME".to_owned();
                return Err(bad("filters", filter, reason));
            }
        }
    }
    Ok(found)
}

fn selection(select: Option<Selection>) -> Result<Option<Selection>, QueryError> {
    let is_range = |select: &Selection| select.from >= 0.0 && select.from < select.to && select.to.is_finite();
    match select {
        Some(select) if !is_range(&select) => {
            let written = format!("{}..{}", select.from, select.to);
            Err(bad("select", &written, "durations in seconds, the smaller one first".to_owned()))
        }
        select => Ok(select),
    }
}

impl Cohort {
    /// What it is called.
    pub fn label(&self) -> String {
        let flag = self.flag.as_ref().map(|(key, variant)| format!("{key}={variant}"));
        match (&self.version, flag) {
            (Some(version), Some(flag)) => format!("{version} {flag}"),
            (Some(version), None) => version.clone(),
            (None, Some(flag)) => flag,
            (None, None) => "all versions".to_owned(),
        }
    }
}

impl Window {
    /// Whether both have a moment in common.
    pub fn overlaps(&self, other: &Window) -> bool {
        self.from_ms < other.to_ms && other.from_ms < self.to_ms
    }
}

impl Routes {
    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.without.is_empty()
    }

    /// Whether requests of a route are asked for.
    pub fn takes(&self, route: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|only| only == route))
            && !self.without.iter().any(|without| without == route)
    }
}
