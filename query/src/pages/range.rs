//! Which range of time a page shows, and in which steps. Pure.

use crate::error::QueryError;
use crate::release::timeline::Grid;
use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS, parse_duration_ms, parse_time, rfc3339_ns};

/// Shards keep cells of one second for this long.
pub(crate) const SECONDS_KEPT_MS: i64 = 5 * MINUTE_MS;
/// Shards keep cells of ten seconds for this long.
pub(crate) const RECENT_KEPT_MS: i64 = HOUR_MS;
/// A window up to this long may be left out at the beginning, so that the rest can be answered from memory.
const SKIPPED_MAX_MS: i64 = 10 * SECOND_MS;
/// Windows that an answer has at most; a chart is about this many pixels wide.
const WINDOWS_MAX: i64 = 2_000;
/// Windows that an answer has when nobody says how long a step is.
const WINDOWS_WANTED: i64 = 400;
const STEPS_S: [i64; 9] = [1, 10, 30, 60, 300, 600, 1_800, 3_600, 21_600];

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
    pub step: Option<&'a str>,
}

/// The grid to show, with what had to be changed about the question.
pub(crate) fn grid(
    asked: Asked<'_>,
    now_ms: i64,
    watermark_ms: i64,
    first_seen: impl Fn(&str) -> Option<i64>,
) -> Result<(Grid, Vec<String>), QueryError> {
    let from_ms = parse_time("from", asked.from.unwrap_or("now-30m"), now_ms, &first_seen)?;
    let to_ms = parse_time("to", asked.to.unwrap_or("now"), now_ms, &first_seen)?.min(now_ms + MINUTE_MS);
    if from_ms >= to_ms {
        let written = |ms: i64| rfc3339_ns(ms.saturating_mul(1_000_000)).unwrap_or_else(|| ms.to_string());
        let reason = format!("the range ends at {} and begins only at {}", written(to_ms), written(from_ms));
        return Err(QueryError::BadArgument {
            argument: "from",
            value: asked.from.unwrap_or("now-30m").to_owned(),
            reason,
        });
    }
    let mut warnings = Vec::new();
    let step_ms = match asked.step {
        Some(text) => asked_step_ms(text, from_ms, to_ms, now_ms, &mut warnings)?,
        None => default_step_ms(from_ms, to_ms, now_ms),
    };
    let mut aligned_ms = from_ms.div_euclid(step_ms) * step_ms;
    // The last hour is answered from memory, although its first window begins a few seconds before it. A longer window is
    // shown whole.
    let kept_from_ms = now_ms - RECENT_KEPT_MS;
    if step_ms <= SKIPPED_MAX_MS && aligned_ms < kept_from_ms && from_ms >= kept_from_ms && aligned_ms + step_ms < to_ms
    {
        aligned_ms += step_ms;
    }
    Ok((Grid { from_ms: aligned_ms, to_ms, step_ms, watermark_ms }, warnings))
}

fn default_step_ms(from_ms: i64, to_ms: i64, now_ms: i64) -> i64 {
    STEPS_S
        .into_iter()
        .map(|seconds| seconds * SECOND_MS)
        .filter(|step_ms| *step_ms >= finest_step_ms(from_ms, now_ms))
        .find(|step_ms| (to_ms - from_ms) / step_ms <= WINDOWS_WANTED)
        .unwrap_or_else(|| coarse_step_ms(from_ms, to_ms))
}

/// Cells of one second exist for the last minutes only.
fn finest_step_ms(from_ms: i64, now_ms: i64) -> i64 {
    if from_ms >= now_ms - SECONDS_KEPT_MS { SECOND_MS } else { 10 * SECOND_MS }
}

/// Whole hours, for ranges of months.
fn coarse_step_ms(from_ms: i64, to_ms: i64) -> i64 {
    ((to_ms - from_ms) / WINDOWS_WANTED).div_euclid(HOUR_MS).max(1) * HOUR_MS
}

fn asked_step_ms(
    text: &str,
    from_ms: i64,
    to_ms: i64,
    now_ms: i64,
    warnings: &mut Vec<String>,
) -> Result<i64, QueryError> {
    let bad = |reason: String| QueryError::BadArgument { argument: "step", value: text.to_owned(), reason };
    let seconds = text.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(SECOND_MS));
    let asked_ms = seconds
        .or_else(|| parse_duration_ms(text))
        .ok_or_else(|| bad("expected a duration like 10s or 1m".to_owned()))?;
    if !(SECOND_MS..=24 * HOUR_MS).contains(&asked_ms) || asked_ms % SECOND_MS != 0 {
        return Err(bad("a step is between 1s and 24h, in whole seconds".to_owned()));
    }
    let fitting_ms = if asked_ms < 10 * SECOND_MS { SECOND_MS } else { asked_ms / (10 * SECOND_MS) * 10 * SECOND_MS };
    let step_ms = fitting_ms.max(finest_step_ms(from_ms, now_ms));
    if step_ms != asked_ms {
        warnings.push(format!("the step is {} s: finer windows are not kept for this range", step_ms / SECOND_MS));
    }
    if (to_ms - from_ms) / step_ms > WINDOWS_MAX {
        let reason = format!("the range has more than {WINDOWS_MAX} windows of this step");
        return Err(bad(reason));
    }
    Ok(step_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_442_407_000;

    fn step_s(from: &str, step: Option<&str>) -> Result<i64, QueryError> {
        let asked = Asked { from: Some(from), to: None, step };
        grid(asked, NOW, NOW, |_| None).map(|(grid, _)| grid.step_ms / 1_000)
    }

    #[test]
    fn the_step_fits_the_range_and_what_is_kept() {
        let check = |from: &str, step: Option<&str>, expected: i64| {
            assert_eq!(step_s(from, step).expect(from), expected, "{from}");
        };
        check("now-5m", None, 1);
        check("now-30m", None, 10);
        check("now-1h", None, 10);
        check("now-6h", None, 60);
        check("now-7d", None, 1_800);
        check("now-90d", None, 21_600);
        check("now-800w", None, 336 * 3_600);
        check("now-5m", Some("1s"), 1);
        check("now-30m", Some("1s"), 10);
        check("now-30m", Some("60"), 60);
        check("now-30m", Some("25s"), 20);
    }

    #[test]
    fn a_step_that_makes_no_sense_is_refused() {
        for step in ["", "0", "x", "1y", "1500ms", "-10s", "99999999999999999"] {
            assert!(
                matches!(step_s("now-30m", Some(step)), Err(QueryError::BadArgument { argument: "step", .. })),
                "{step}"
            );
        }
        assert!(step_s("now-14d", Some("10s")).is_err(), "120 960 windows are no chart");
        assert!(matches!(step_s("now+1h", None), Err(QueryError::BadArgument { argument: "from", .. })));
    }

    #[test]
    fn the_grid_is_aligned_and_stops_at_the_watermark() {
        let (grid, _) = grid(Asked { from: Some("now-1m"), to: None, step: Some("10s") }, NOW, NOW - 12_000, |_| None)
            .expect("a range");
        assert_eq!(grid.from_ms % 10_000, 0);
        assert_eq!(grid.starts().last().copied(), Some(1_795_442_390_000));
    }

    #[test]
    fn the_last_hour_begins_with_a_window_that_is_kept() {
        let asked = Asked { from: Some("now-1h"), to: None, step: None };
        let (grid, _) = grid(asked, NOW, NOW, |_| None).expect("a range");
        assert_eq!(grid.from_ms, NOW - HOUR_MS + 3_000);
    }

    #[test]
    fn a_long_first_window_is_not_left_out() {
        let asked = Asked { from: Some("now-1h"), to: None, step: Some("10m") };
        let (grid, _) = grid(asked, NOW, NOW, |_| None).expect("a range");
        assert!((NOW - HOUR_MS - 600_000..=NOW - HOUR_MS).contains(&grid.from_ms), "{}", grid.from_ms);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_told_in_times() {
        let asked = Asked { from: Some("now"), to: Some("now-7s"), step: None };
        let Err(QueryError::BadArgument { reason, .. }) = grid(asked, NOW, NOW, |_| None) else { panic!("a range") };
        assert_eq!(reason, "the range ends at 2026-11-23T14:00:00Z and begins only at 2026-11-23T14:00:07Z");
    }
}
