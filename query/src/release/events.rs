//! What happened to the releases of a service, read from their cells: a release was first seen, its share of the traffic
//! rose to a new level, it left, an older version came back.
//!
//! A share has a level until the windows since some moment are implausible under it: then the level is theirs, from that
//! moment on. The evidence is the likelihood ratio of two binomial shares to one (the G statistic, halved: Sokal and Rohlf,
//! Biometry, 4th ed., chapter 17). So one step of the traffic is one event, whatever the noise.

use std::sync::Arc;

use shipwake_model::UNVERSIONED;

use crate::release::differences::percent_text;
use crate::release::pair::{left_at, windows_of};
use crate::release::timeline::{Grid, VersionLine};
use crate::time::MINUTE_MS;

/// A level of a share is taken over at least this many requests.
const SHARE_REQUESTS_MIN: u64 = 20;
/// A new level is told when it is this much likelier than the old one going on, as a logarithm: chance makes one in some
/// ten thousand looks.
const EVIDENCE_MIN: f64 = 12.0;
/// Evidence that a window lies between two levels: the traffic was moved within it.
const EVIDENCE_BETWEEN: f64 = 4.5;
/// Smallest change of the odds to speak of: 50 % to 57 %, 5 % to 6.5 %, 95 % to 96.2 %.
const ODDS_RATIO_MIN: f64 = 1.3;
/// Windows that a new level must hold for.
const HELD_WINDOWS: usize = 2;
/// A level that gives way to one further on within this many windows was the traffic on its way.
const PASSING_WINDOWS: usize = 3;
/// How far back the beginning of a new level is looked for.
const LOOK_BACK_MS: i64 = 5 * MINUTE_MS;
const LOOK_BACK_WINDOWS_MAX: usize = 60;
/// An older version that gets at least this share after a newer one lost half of its own has come back.
const COMEBACK_SHARE: f64 = 0.5;
/// Shares below this are not what somebody is leaving from.
const LEAVING_SHARE_MIN: f64 = 0.01;
/// Newest events that are kept: a version text that changes with every request makes many.
const EVENTS_MAX: usize = 100;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub t_ms: i64,
    /// `release`, `share`, `rollback`.
    pub kind: &'static str,
    pub version: Arc<str>,
    /// Share of the traffic, where the event is about it.
    pub share: Option<f64>,
    pub title: String,
}

/// The events in the range, oldest first. `lines` are oldest release first.
pub(crate) fn find(lines: &[VersionLine], grid: &Grid) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for line in lines.iter().filter(|line| &*line.version != UNVERSIONED) {
        events.extend(first_seen(line, grid));
    }
    if lines.iter().filter(|line| line.requests() > 0).count() > 1 {
        let totals = totals(lines, grid);
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.requests() > 0) {
            follow_share(lines, index, line, &totals, grid, &mut events);
        }
    }
    events.sort_by(|a, b| (a.t_ms, a.kind, &a.version).cmp(&(b.t_ms, b.kind, &b.version)));
    let surplus = events.len().saturating_sub(EVENTS_MAX);
    events.split_off(surplus)
}

fn first_seen(line: &VersionLine, grid: &Grid) -> Option<Event> {
    let t_ms = line.first_seen_ms.filter(|seen_ms| (grid.from_ms..grid.to_ms).contains(seen_ms))?;
    let title = format!("{} first seen", line.version);
    Some(Event { t_ms, kind: "release", version: line.version.clone(), share: None, title })
}

/// Requests of all versions in each complete window, so that what was told once stays as it is.
fn totals(lines: &[VersionLine], grid: &Grid) -> Vec<u64> {
    let complete = usize::try_from((grid.watermark_ms - grid.from_ms).div_euclid(grid.step_ms)).unwrap_or(0);
    let windows = lines.iter().map(|line| line.cells.len()).max().unwrap_or(0).min(complete);
    let total = |window: usize| lines.iter().filter_map(|line| line.cells.get(window)).map(|cell| cell.requests).sum();
    (0..windows).map(total).collect()
}

/// Requests of one version among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    own: u64,
    all: u64,
}

impl Part {
    fn plus(self, other: Part) -> Part {
        Part { own: self.own + other.own, all: self.all + other.all }
    }

    fn share(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.own as f64 / self.all as f64 }
    }

    /// How much likelier two shares are than one, as a logarithm.
    fn evidence_against(self, other: Part) -> f64 {
        let both = self.plus(other);
        let log_likelihood = |part: Part, share: f64| {
            let term = |count: u64, p: f64| if count > 0 { count as f64 * p.ln() } else { 0.0 };
            term(part.own, share) + term(part.all - part.own, 1.0 - share)
        };
        let apart = log_likelihood(self, self.share()) + log_likelihood(other, other.share());
        apart - log_likelihood(self, both.share()) - log_likelihood(other, both.share())
    }

    /// Whether the odds differ enough to speak of.
    fn is_apart(self, other: Part) -> bool {
        let odds = |part: Part| part.own as f64 / (part.all - part.own) as f64;
        let (low, high) = (odds(self).min(odds(other)), odds(self).max(odds(other)));
        high > low && (low == 0.0 || high.is_infinite() || high >= ODDS_RATIO_MIN * low)
    }
}

/// A level that a share took.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Where the old level ends.
    left: usize,
    /// The first window of the new level.
    window: usize,
    before: Part,
    now: Part,
}

impl Step {
    fn rises(&self) -> bool {
        self.now.share() > self.before.share()
    }
}

/// The parts of a version, window by window.
fn parts(line: &VersionLine, totals: &[u64]) -> Vec<Part> {
    totals.iter().zip(&line.cells).map(|(all, cell)| Part { own: cell.requests, all: *all }).collect()
}

/// The levels of a share, one after the other, without the first.
fn steps(parts: &[Part], look_back: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut began = 0;
    for end in 1..=parts.len() {
        if let Some(step) = likeliest_step(parts, began, end, look_back) {
            began = step.window;
            match steps.last_mut() {
                // It was too little to be told apart from this level at once.
                Some(last) if step.window <= last.window + PASSING_WINDOWS && last.rises() == step.rises() => {
                    last.now = step.now;
                }
                _ => steps.push(step),
            }
        }
    }
    steps
}

/// The change of level in the windows from `began` to `end` (excluded) that explains them best, if there is one.
fn likeliest_step(parts: &[Part], began: usize, end: usize, look_back: usize) -> Option<Step> {
    let sum = |windows: &[Part]| windows.iter().fold(Part::default(), |sum, part| sum.plus(*part));
    let earliest = (began + 1).max(end.saturating_sub(look_back));
    if earliest + HELD_WINDOWS > end {
        return None;
    }
    let recent = sum(&parts[end - HELD_WINDOWS..end]);
    if parts[end - 1].evidence_against(parts[end - 2]) >= EVIDENCE_BETWEEN {
        // The traffic was moved in the newest window: the level that it goes to shows in the next.
        return None;
    }
    let (mut before, mut since) = (sum(&parts[began..earliest]), sum(&parts[earliest..end]));
    let mut likeliest: Option<(f64, Step)> = None;
    for (left, &first) in parts.iter().enumerate().take(end - HELD_WINDOWS + 1).skip(earliest) {
        let tail = Part { own: since.own - first.own, all: since.all - first.all };
        let in_between = is_between(first, before, tail);
        let (window, now) = if in_between { (left + 1, tail) } else { (left, since) };
        let evidence = before.evidence_against(now);
        let others = Part { own: now.own - parts[window].own, all: now.all - parts[window].all };
        let holds = end - window >= HELD_WINDOWS
            && before.all >= SHARE_REQUESTS_MIN
            && now.all >= SHARE_REQUESTS_MIN
            && first.all > 0
            && evidence >= EVIDENCE_MIN
            && now.is_apart(before)
            // A version takes more from a window on in which it has a request: a long tail of nothing hides the moment.
            && (now.share() <= before.share() || parts[window].own > 0)
            && parts[window].evidence_against(others) < EVIDENCE_BETWEEN
            && recent.is_apart(before)
            && (recent.share() > before.share()) == (now.share() > before.share());
        if holds && likeliest.is_none_or(|(best, _)| evidence > best) {
            likeliest = Some((evidence, Step { left, window, before, now }));
        }
        before = before.plus(first);
        since = tail;
    }
    likeliest.map(|(_, step)| step)
}

/// Whether the traffic was moved within this window: its share lies between those before and after it.
fn is_between(window: Part, before: Part, after: Part) -> bool {
    let (low, high) = (before.share().min(after.share()), before.share().max(after.share()));
    let inside = low < window.share() && window.share() < high;
    // The last requests of a version that leaves are no level.
    let leaves = after.own == 0 && window.own > 0;
    leaves || inside && window.evidence_against(after) >= EVIDENCE_BETWEEN
}

/// Tells the rises of one version, and that it has left.
fn follow_share(
    lines: &[VersionLine],
    index: usize,
    line: &VersionLine,
    totals: &[u64],
    grid: &Grid,
    events: &mut Vec<Event>,
) {
    let look_back = windows_of(LOOK_BACK_MS, grid).min(LOOK_BACK_WINDOWS_MAX);
    let at_ms = |window: usize| {
        let start_ms = grid.from_ms + window as i64 * grid.step_ms;
        start_ms.max(line.first_seen_ms.filter(|seen_ms| *seen_ms < start_ms + grid.step_ms).unwrap_or(start_ms))
    };
    let mut gone: Option<i64> = None;
    for step in steps(&parts(line, totals), look_back) {
        if step.now.own == 0 {
            gone = Some(at_ms(step.window));
        } else if step.rises() {
            events.extend(gone.take().map(|t_ms| gone_event(line, t_ms)));
            events.push(rise_event(lines, index, &step, totals, at_ms(step.window)));
        }
    }
    // A few requests may have come after the level fell to nothing, and a version with few never had a level.
    let others_stay = lines.iter().any(|other| other.last_traffic() > line.last_traffic());
    let last_ms = line.last_traffic().map(|last| grid.from_ms + (last as i64 + 1) * grid.step_ms);
    let gone = gone.and(last_ms).or_else(|| left_at(line, grid).filter(|_| others_stay));
    events.extend(gone.map(|t_ms| gone_event(line, t_ms)));
}

fn gone_event(line: &VersionLine, t_ms: i64) -> Event {
    let title = format!("{} takes no traffic any more", line.version);
    Event { t_ms, kind: "share", version: line.version.clone(), share: Some(0.0), title }
}

/// A step upwards: of an older version at the cost of a newer one that is leaving, it is a rollback.
fn rise_event(lines: &[VersionLine], index: usize, step: &Step, totals: &[u64], t_ms: i64) -> Event {
    let line = &lines[index];
    let share = step.now.share();
    let newer_left = lines[index + 1..].iter().find(|newer| {
        let parts = parts(newer, totals);
        // As much time before the step as it is known to have held.
        let (from, until) = (step.left.saturating_sub(HELD_WINDOWS), (step.window + HELD_WINDOWS).min(parts.len()));
        let sum = |windows: &[Part]| windows.iter().fold(Part::default(), |sum, part| sum.plus(*part)).share();
        let (before, now) = (sum(&parts[from..step.left]), sum(&parts[step.window..until]));
        before >= LEAVING_SHARE_MIN && now < before / 2.0
    });
    let version = line.version.clone();
    match newer_left.filter(|_| share >= COMEBACK_SHARE) {
        Some(newer) => {
            let title =
                format!("{} is back at {} of the traffic, {} is leaving", version, percent_text(share), newer.version);
            Event { t_ms, kind: "rollback", version, share: Some(share), title }
        }
        None => {
            let title = format!("{} takes {} of the traffic", version, percent_text(share));
            Event { t_ms, kind: "share", version, share: Some(share), title }
        }
    }
}

#[cfg(test)]
mod tests;
