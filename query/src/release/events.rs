//! What happened to the releases of a service, read from their cells: a release was first seen, its share of the traffic
//! passed a step, it left, an older version came back.

use std::sync::Arc;

use shipwake_model::UNVERSIONED;

use crate::release::differences::percent_text;
use crate::release::pair::windows_of;
use crate::release::timeline::{Grid, VersionLine};
use crate::time::SECOND_MS;

/// Shares of the traffic that rollouts stop at. A step is told when it is passed upwards, once until the share has
/// fallen to half of it: a share measured on few requests swings around its true value.
const SHARE_STEPS: [f64; 7] = [0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.99];
/// Below this share a version that had more has left.
const SHARE_GONE: f64 = 0.005;
/// A share is taken over this much time, and over at least this many requests.
const SHARE_SPAN_MS: i64 = 30 * SECOND_MS;
const SHARE_REQUESTS_MIN: u64 = 20;
/// A version whose share rose by this much after another one left has come back.
const COMEBACK_SHARE: f64 = 0.5;
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
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.requests() > 0) {
            follow_share(lines, index, line, grid, &mut events);
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

/// Walks through the windows of one version, from where it has another one beside it, and tells when its share passes a
/// step or is gone. Only complete windows count, so that what was told once stays as it is.
fn follow_share(lines: &[VersionLine], index: usize, line: &VersionLine, grid: &Grid, events: &mut Vec<Event>) {
    let span = windows_of(SHARE_SPAN_MS, grid);
    let others = lines.iter().filter(|other| other.version != line.version);
    let Some(others_began) = others.filter_map(VersionLine::first_traffic).min() else { return };
    let Some(began) = line.first_traffic() else { return };
    // A version that was there first has not reached its share in the range, nor one that is older than the range.
    let was_there = began <= others_began || line.first_seen_ms.is_none_or(|seen_ms| seen_ms < grid.from_ms);
    let mut armed = [true; SHARE_STEPS.len()];
    let mut highest: f64 = 0.0;
    let complete = usize::try_from((grid.watermark_ms - grid.from_ms).div_euclid(grid.step_ms)).unwrap_or(0);
    let windows = began.max(others_began)..line.cells.len().min(complete);
    for window in windows {
        let Some(share) = share_at(lines, line, window, span) else { continue };
        if highest == 0.0 && was_there {
            for (step, armed) in SHARE_STEPS.iter().zip(&mut armed) {
                *armed = *armed && share < *step;
            }
        }
        let start_ms = grid.from_ms + window as i64 * grid.step_ms;
        let t_ms = start_ms.max(line.first_seen_ms.unwrap_or(start_ms));
        let passed = SHARE_STEPS.iter().rposition(|step| share >= *step).filter(|step| armed[*step]);
        if passed.is_some() {
            events.push(share_event(lines, index, line, t_ms, share, window, span));
        }
        for (step, armed) in SHARE_STEPS.iter().zip(&mut armed) {
            *armed = if share >= *step { false } else { *armed || share < step / 2.0 };
        }
        highest = highest.max(share);
        if share < SHARE_GONE && highest >= 2.0 * SHARE_GONE {
            highest = 0.0;
            let title = format!("{} takes no traffic any more", line.version);
            events.push(Event { t_ms, kind: "share", version: line.version.clone(), share: Some(0.0), title });
        }
    }
}

/// A step upwards: of an older version at the cost of a newer one that is leaving, it is a rollback.
fn share_event(
    lines: &[VersionLine],
    index: usize,
    line: &VersionLine,
    t_ms: i64,
    share: f64,
    window: usize,
    span: usize,
) -> Event {
    let newer_left = lines[index + 1..].iter().find(|newer| {
        let before = window.checked_sub(2 * span).and_then(|window| share_at(lines, newer, window, span));
        let now = share_at(lines, newer, window, span);
        before.zip(now).is_some_and(|(before, now)| now < before / 2.0 && before >= SHARE_STEPS[0])
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

/// The share of a version over the windows up to and including `window`; `None` on too few requests.
fn share_at(lines: &[VersionLine], line: &VersionLine, window: usize, span: usize) -> Option<f64> {
    let windows = (window + 1).saturating_sub(span)..window + 1;
    let requests = |line: &VersionLine| -> u64 { line.cells[windows.clone()].iter().map(|cell| cell.requests).sum() };
    let total: u64 = lines.iter().map(requests).sum();
    (total >= SHARE_REQUESTS_MIN).then(|| requests(line) as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::{T0, grid, traffic};

    fn told(lines: &[VersionLine]) -> Vec<String> {
        let grid = grid(lines[0].cells.len());
        find(lines, &grid)
            .into_iter()
            .map(|event| format!("{} {} {}", (event.t_ms - T0) / 10_000, event.kind, event.title))
            .collect()
    }

    #[test]
    fn a_steady_service_has_no_events() {
        assert_eq!(told(&[traffic("1", -9, &[100; 20])]), Vec::<String>::new());
        assert_eq!(told(&[traffic("1", -99, &[95; 20]), traffic("2", -9, &[5; 20])]), Vec::<String>::new());
    }

    #[test]
    fn a_canary_is_first_seen_and_then_passes_steps() {
        let old: Vec<u64> = (0..24)
            .map(|n| {
                if n < 4 {
                    100
                } else if n < 14 {
                    95
                } else {
                    50
                }
            })
            .collect();
        let new: Vec<u64> = old.iter().map(|n| 100 - n).collect();
        let told = told(&[traffic("1", -9, &old), traffic("2", 4, &new)]);
        assert_eq!(told[0], "4 release 2 first seen");
        assert_eq!(told[1], "4 share 2 takes 1.7 % of the traffic");
        assert!(told[2].starts_with("6 share 2 takes 5.0 %"), "{told:?}");
        assert!(told.last().is_some_and(|last| last.starts_with("16 share 2 takes 50.0 %")), "{told:?}");
    }

    #[test]
    fn a_version_that_comes_back_is_a_rollback() {
        let old: Vec<u64> = (0..30).map(|n| if n < 15 { 20 } else { 100 }).collect();
        let new: Vec<u64> = old.iter().map(|n| 100 - n).collect();
        let told = told(&[traffic("1", -9, &old), traffic("2", -5, &new)]);
        assert!(told.iter().any(|event| event.contains("rollback 1 is back at")), "{told:?}");
        assert!(told.iter().any(|event| event.contains("2 takes no traffic any more")), "{told:?}");
    }

    #[test]
    fn a_share_that_swings_around_a_step_is_told_once() {
        let new: Vec<u64> = (0..40).map(|n| 4 + (n % 3)).collect();
        let old: Vec<u64> = new.iter().map(|n| 100 - n).collect();
        let told = told(&[traffic("1", -9, &old), traffic("2", 0, &new)]);
        assert!(told.iter().filter(|event| event.contains("5.0 %")).count() <= 1, "{told:?}");
    }
}
