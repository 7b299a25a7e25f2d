//! What differs between the baseline and the candidate, and since when.
//!
//! These are simple rules that say "differs"; they decide nothing about going on. A difference is notable when chance is
//! implausible *and* it is large enough to care about:
//!
//! - error ratio: the pooled two-proportion z statistic, `z = (p2 - p1) / sqrt(p (1 - p) (1/n1 + 1/n2))` with
//!   `p = (x1 + x2) / (n1 + n2)` (Fleiss, Levin, Paik: Statistical Methods for Rates and Proportions, 3rd ed., §3.1).
//! - p50, p95, p99: the same statistic for the share of durations above a level: the baseline's quantile with the margin
//!   that is worth speaking of (10 % more for slower, 10 % less for faster). Under "no difference" equal shares of both lie
//!   above any level, whatever the distribution (the quantile form of the sign test: Conover, Practical Nonparametric
//!   Statistics, §3.2). Both shares are counted, so the histogram's cells cancel out.
//! - KPIs that count at most one record a request, each for itself: the statistic of the error ratio, for 10 % and more.
//! - throughput: requests of the whole service a second before the candidate's first request and since, with the normal
//!   approximation of two Poisson rates, `z = (r2 - r1) / sqrt(r1/t1 + r2/t2)` (Przyborowski and Wilenski 1940).
//!
//! `|z| >= 4` is one false alarm in 16 000 looks at one metric that does not move. The start of a difference is, among the
//! windows from which on it is notable, the one with the largest likelihood ratio of "changed here" to "never changed",
//! `n2 * KL(p2 || p1)` of the windows from there to the end: the generalized likelihood ratio for a change (Lorden, Annals of
//! Mathematical Statistics 42, 1971). Good minutes before the change speak against it, so they are not blamed.

use shipwake_model::sketch::HdrCells;

use crate::release::timeline::{Cell, Grid, VersionLine, error_ratio, quantile_s};
use crate::time::{MINUTE_MS, clock_text};

/// Chance is implausible from here on.
const Z_NOTABLE: f64 = 4.0;
/// Fewer requests on either side are not compared.
pub(crate) const REQUESTS_MIN: u64 = 50;
/// Smallest error-ratio difference to speak of: half a percentage point, and a quarter of the larger ratio.
const ERROR_RATIO_MIN: f64 = 0.005;
const ERROR_RELATIVE_MIN: f64 = 0.25;
/// Smallest quantile difference to speak of: 10 % of the baseline, and a millisecond.
const QUANTILE_RELATIVE_MIN: f64 = 0.10;
const QUANTILE_MIN_S: f64 = 0.001;
/// Durations of the baseline above its quantile, below which the quantile is not known well enough.
const EXCEEDANCES_MIN: f64 = 10.0;
/// Expected durations above the level on the smaller side, below which the normal approximation is not used (Cochran).
const EXPECTED_MIN: f64 = 5.0;
/// Smallest change of throughput to speak of, and how much time is needed on both sides: load also moves by itself.
const THROUGHPUT_RELATIVE_MIN: f64 = 0.5;
const THROUGHPUT_SPAN_MIN_MS: i64 = MINUTE_MS;
/// Smallest change of a KPI to speak of, as a part of the larger side.
const KPI_RELATIVE_MIN: f64 = 0.10;

/// One thing that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// `error_ratio`, `p50`, `p95`, `p99`, `throughput`, `kpi`.
    pub metric: &'static str,
    /// Key and title of a KPI.
    pub kpi: Option<(String, String)>,
    /// Ratio, seconds, requests a second, or records per 1 000 requests.
    pub baseline: f64,
    pub candidate: f64,
    /// Start of the first window in which it shows, ms.
    pub since_ms: i64,
    /// It may have begun earlier: it shows from the candidate's first request in the range on, and both versions were there
    /// before.
    pub since_before: bool,
    /// Plain words.
    pub text: String,
}

/// Everything notable, errors first. `all` are the versions of the service (for throughput); `before_after` compares with
/// the whole past of the baseline instead of the same windows.
pub(crate) fn find(
    baseline: &VersionLine,
    candidate: &VersionLine,
    all: &[VersionLine],
    grid: &Grid,
    before_after: bool,
) -> Vec<Difference> {
    let Some(end) = candidate.last_traffic().map(|window| window + 1) else { return Vec::new() };
    let sides = Sides { baseline, candidate, end, before_after };
    let mut found: Vec<Difference> = Vec::new();
    found.extend(error_difference(&sides, grid));
    for (metric, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        found.extend(quantile_difference(&sides, grid, metric, q));
    }
    found.extend(throughput_difference(candidate, all, grid));
    found
}

/// The two versions and the windows that count, up to the candidate's last request.
struct Sides<'a> {
    baseline: &'a VersionLine,
    candidate: &'a VersionLine,
    end: usize,
    before_after: bool,
}

/// Which way durations move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Slower,
    Faster,
}

/// When a difference began.
#[derive(Clone, Copy)]
struct Since {
    ms: i64,
    /// Or earlier.
    before: bool,
}

impl Sides<'_> {
    /// When a window begins, and never before both versions were seen. What shows with the first request in the range of
    /// versions that are older than the range may have begun before it.
    fn dated(&self, window: usize, grid: &Grid) -> Since {
        let since = dated(self.candidate, window, grid);
        let end_ms = grid.from_ms + self.end as i64 * grid.step_ms;
        // A candidate that is the older one differs from nothing before the other came.
        let other_ms = self.baseline.first_seen_ms.filter(|seen_ms| *seen_ms < end_ms);
        let is_older = |line: &VersionLine| line.first_seen_ms.is_some_and(|seen_ms| seen_ms < grid.from_ms);
        let before = is_older(self.candidate)
            && self.baseline.first_seen_ms.is_none_or(|seen_ms| seen_ms < grid.from_ms)
            && self.candidate.first_traffic() == Some(window);
        Since { ms: other_ms.map_or(since.ms, |seen_ms| since.ms.max(seen_ms)), before }
    }
}

/// When a window begins, and never before the version was first seen in it.
fn dated(candidate: &VersionLine, window: usize, grid: &Grid) -> Since {
    let start_ms = grid.from_ms + window as i64 * grid.step_ms;
    let seen_ms = candidate.first_seen_ms.filter(|seen_ms| *seen_ms < start_ms + grid.step_ms);
    Since { ms: seen_ms.map_or(start_ms, |seen_ms| start_ms.max(seen_ms)), before: false }
}

/// Cases and trials of both sides.
#[derive(Clone, Copy, Default)]
struct Counts {
    cases_baseline: u64,
    trials_baseline: u64,
    cases_candidate: u64,
    trials_candidate: u64,
}

impl Counts {
    fn enough(&self) -> bool {
        self.trials_baseline >= REQUESTS_MIN && self.trials_candidate >= REQUESTS_MIN
    }

    fn shares(&self) -> (f64, f64) {
        let share = |cases: u64, trials: u64| cases as f64 / trials as f64;
        (share(self.cases_baseline, self.trials_baseline), share(self.cases_candidate, self.trials_candidate))
    }

    /// The baseline's share with half a case more on both sides: a baseline without a case does not make one impossible.
    fn share_of_baseline(&self) -> f64 {
        (self.cases_baseline as f64 + 0.5) / (self.trials_baseline as f64 + 1.0)
    }

    /// How much more likely the candidate's counts are at their own share than at `p1`, as a logarithm. Only ratios to one and
    /// the same `p1` can be compared.
    fn likelihood_ratio(&self, p1: f64) -> f64 {
        let (x, n) = (self.cases_candidate as f64, self.trials_candidate as f64);
        let p2 = x / n;
        let term = |count: f64, p: f64, q: f64| if count > 0.0 { count * (p / q).ln() } else { 0.0 };
        term(x, p2, p1) + term(n - x, 1.0 - p2, 1.0 - p1)
    }

    fn z(&self) -> f64 {
        let (n1, n2) = (self.trials_baseline as f64, self.trials_candidate as f64);
        let (x1, x2) = (self.cases_baseline as f64, self.cases_candidate as f64);
        let pooled = (x1 + x2) / (n1 + n2);
        let variance = pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2);
        if variance > 0.0 { (x2 / n2 - x1 / n1) / variance.sqrt() } else { 0.0 }
    }
}

impl Sides<'_> {
    /// The window at which the change most likely was, among those from which on it is notable and `large_enough`. `count`
    /// gives cases and trials of a cell.
    fn change_point(
        &self,
        count: impl Fn(&Cell) -> (u64, u64),
        large_enough: impl Fn(&Counts) -> bool,
    ) -> Option<usize> {
        let mut counts = if self.before_after { self.counts_of_baseline(&count) } else { Counts::default() };
        let p1 = self.counts_of_baseline(&count).share_of_baseline();
        let mut likeliest: Option<(f64, usize)> = None;
        for window in (0..self.end).rev() {
            let (cases, trials) = count(&self.candidate.cells[window]);
            counts.cases_candidate += cases;
            counts.trials_candidate += trials;
            if !self.before_after {
                let (cases, trials) = count(&self.baseline.cells[window]);
                counts.cases_baseline += cases;
                counts.trials_baseline += trials;
            }
            // A window without traffic of the candidate adds nothing, so a difference cannot begin in it.
            if self.candidate.cells[window].requests == 0 || !counts.enough() || !large_enough(&counts) {
                continue;
            }
            let ratio = counts.likelihood_ratio(p1);
            if counts.z().abs() >= Z_NOTABLE && likeliest.is_none_or(|(best, _)| ratio > best) {
                likeliest = Some((ratio, window));
            }
        }
        likeliest.map(|(_, window)| window)
    }

    /// Cases and trials of the baseline in all windows that count.
    fn counts_of_baseline(&self, count: impl Fn(&Cell) -> (u64, u64)) -> Counts {
        let end = if self.before_after { self.baseline.cells.len() } else { self.end };
        let mut counts = Counts::default();
        for cell in &self.baseline.cells[..end] {
            let (cases, trials) = count(cell);
            counts.cases_baseline += cases;
            counts.trials_baseline += trials;
        }
        counts
    }

    /// The window from which the share of durations above a level differs in one direction.
    fn quantile_window(&self, level_us: u64, direction: Direction) -> Option<usize> {
        let above = |duration: &HdrCells| duration.count() - duration.count_between(0, level_us);
        let large_enough = |counts: &Counts| {
            let (p1, p2) = counts.shares();
            let pooled = (counts.cases_baseline + counts.cases_candidate) as f64
                / (counts.trials_baseline + counts.trials_candidate) as f64;
            let expected = pooled * counts.trials_baseline.min(counts.trials_candidate) as f64;
            (p2 > p1) == (direction == Direction::Slower) && expected >= EXPECTED_MIN
        };
        self.change_point(|cell| (above(&cell.duration), cell.duration.count()), large_enough)
    }

    /// Both sides from a window on.
    fn totals_from(&self, window: usize) -> (Cell, Cell) {
        let baseline =
            if self.before_after { self.baseline.total(0..usize::MAX) } else { self.baseline.total(window..self.end) };
        (baseline, self.candidate.total(window..self.end))
    }
}

fn error_difference(sides: &Sides<'_>, grid: &Grid) -> Option<Difference> {
    let large_enough = |counts: &Counts| {
        let (p1, p2) = counts.shares();
        (p2 - p1).abs() >= ERROR_RATIO_MIN && (p2 - p1).abs() >= ERROR_RELATIVE_MIN * p1.max(p2)
    };
    let window = sides.change_point(|cell| (cell.errors, cell.requests), large_enough)?;
    let (baseline, candidate) = sides.totals_from(window);
    Some(difference(
        "error_ratio",
        error_ratio(baseline.requests, baseline.errors)?,
        error_ratio(candidate.requests, candidate.errors)?,
        sides.dated(window, grid),
    ))
}

/// Whether a KPI moved. The lines are those of the two versions, with the KPI's records in the place of errors; a KPI that has
/// more records than requests is no part of them, and nothing is said.
pub(crate) fn of_kpi(
    (key, title): (&str, &str),
    baseline: &VersionLine,
    candidate: &VersionLine,
    grid: &Grid,
    before_after: bool,
) -> Option<Difference> {
    let end = candidate.last_traffic()? + 1;
    let sides = Sides { baseline, candidate, end, before_after };
    let is_part = |line: &VersionLine| {
        let total = line.total(0..usize::MAX);
        total.errors <= total.requests
    };
    if !is_part(baseline) || !is_part(candidate) {
        return None;
    }
    let large_enough = |counts: &Counts| {
        let (p1, p2) = counts.shares();
        (p2 - p1).abs() >= KPI_RELATIVE_MIN * p1.max(p2)
    };
    let window = sides.change_point(|cell| (cell.errors, cell.requests), large_enough)?;
    let (before, now) = sides.totals_from(window);
    let per_thousand = |cell: &Cell| error_ratio(cell.requests, cell.errors).map(|ratio| ratio * 1_000.0);
    let (before, now, since) = (per_thousand(&before)?, per_thousand(&now)?, sides.dated(window, grid));
    let mut difference = difference("kpi", before, now, since);
    difference.text = format!("{title} per 1,000 requests{}", difference.text);
    difference.kpi = Some((key.to_owned(), title.to_owned()));
    Some(difference)
}

fn quantile_difference(sides: &Sides<'_>, grid: &Grid, metric: &'static str, q: f64) -> Option<Difference> {
    // The level is the baseline's quantile over all windows that count, so that it does not move with the suffix.
    let (all_baseline, _) = sides.totals_from(0);
    if (all_baseline.duration.count() as f64) * (1.0 - q) < EXCEEDANCES_MIN {
        return None; // The baseline's own quantile is not known.
    }
    let level_us = all_baseline.duration.quantile(q)?;
    let margin_us = (level_us as f64 * QUANTILE_RELATIVE_MIN).max(QUANTILE_MIN_S * 1e6) as u64;
    let window = sides
        .quantile_window(level_us.saturating_add(margin_us), Direction::Slower)
        .or_else(|| sides.quantile_window(level_us.saturating_sub(margin_us), Direction::Faster))?;
    let (baseline, candidate) = sides.totals_from(window);
    let (before, now) = (quantile_s(&baseline.duration, q)?, quantile_s(&candidate.duration, q)?);
    let change = (now - before).abs();
    if change < QUANTILE_MIN_S || change < QUANTILE_RELATIVE_MIN * before {
        return None;
    }
    Some(difference(metric, before, now, sides.dated(window, grid)))
}

fn throughput_difference(candidate: &VersionLine, all: &[VersionLine], grid: &Grid) -> Option<Difference> {
    let arrival = candidate.first_traffic()?;
    let requests = |windows: std::ops::Range<usize>| -> u64 {
        all.iter().flat_map(|line| line.cells.get(windows.clone()).unwrap_or_default()).map(|cell| cell.requests).sum()
    };
    // The service may itself have begun within the range: only windows from its first request on are "before".
    let begun = all.iter().filter_map(VersionLine::first_traffic).min()?;
    // Nor is it a drop that the service fell silent in the end: that is said in other words.
    let ended = all.iter().filter_map(VersionLine::last_traffic).max()? + 1;
    let (before_windows, since_windows) = (begun..arrival, arrival..ended);
    let span_ms = |windows: &std::ops::Range<usize>| {
        let end_ms = (grid.from_ms + windows.end as i64 * grid.step_ms).min(grid.watermark_ms);
        end_ms - (grid.from_ms + windows.start as i64 * grid.step_ms)
    };
    let (before_ms, since_ms) = (span_ms(&before_windows), span_ms(&since_windows));
    if before_ms < THROUGHPUT_SPAN_MIN_MS || since_ms < THROUGHPUT_SPAN_MIN_MS {
        return None;
    }
    let (before_n, since_n) = (requests(before_windows), requests(since_windows));
    let (t1, t2) = (before_ms as f64 / 1e3, since_ms as f64 / 1e3);
    let (r1, r2) = (before_n as f64 / t1, since_n as f64 / t2);
    let z = (r2 - r1) / (r1 / t1 + r2 / t2).sqrt();
    let notable = before_n >= REQUESTS_MIN && z.abs() >= Z_NOTABLE && (r2 - r1).abs() >= THROUGHPUT_RELATIVE_MIN * r1;
    notable.then(|| difference("throughput", r1, r2, dated(candidate, arrival, grid)))
}

fn difference(metric: &'static str, baseline: f64, candidate: f64, since: Since) -> Difference {
    let (name, write): (&str, fn(f64) -> String) = match metric {
        "error_ratio" => ("error ratio", percent_text),
        "throughput" => ("throughput of the service", rate_text),
        // Its title comes in front.
        "kpi" => ("", number_text),
        quantile => (quantile, seconds_text),
    };
    let word = if since.before { "since before" } else { "since" };
    let text = format!("{name} {} → {} {word} {}", write(baseline), write(candidate), clock_text(since.ms));
    Difference { metric, kpi: None, baseline, candidate, since_ms: since.ms, since_before: since.before, text }
}

/// `0.4 %`, `30.1 %`, `0.03 %`, `100 %`; almost everything is not written as everything.
pub(crate) fn percent_text(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent >= 100.0 {
        "100 %".to_owned()
    } else if percent > 99.9 {
        "99.9 %".to_owned()
    } else if percent < 0.1 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// `0.8 ms`, `41 ms`, `1.24 s`.
pub(crate) fn seconds_text(seconds: f64) -> String {
    let ms = seconds * 1e3;
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{seconds:.2} s")
    }
}

/// Three significant digits: `0.421`, `61.0`, `1240`.
pub(crate) fn number_text(value: f64) -> String {
    let places = if value >= 100.0 || value == 0.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.places$}")
}

/// `0.4/s`, `120/s`.
pub(crate) fn rate_text(per_second: f64) -> String {
    if per_second < 10.0 { format!("{per_second:.1}/s") } else { format!("{per_second:.0}/s") }
}

#[cfg(test)]
mod tests;
