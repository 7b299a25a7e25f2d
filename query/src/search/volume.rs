//! Lines by time: for each step of the range how many lines there are, by version, level or service.
//!
//! Where the search is only about services, versions and levels, and steps are whole minutes, segments have counted their lines
//! already (`Store::counts`). Where they have not, row groups that lie within one step and have one version need not be read.

use std::collections::HashMap;
use std::ops::Range;

use shipwake_store::RowGroup;

use super::rows::Rows;
use super::scan::{Found, Sink};
use super::wire::{VolumeSeries, level_of_row};
use crate::error::QueryError;

const NS_PER_MS: i64 = 1_000_000;
const MINUTE_NS: i64 = 60_000 * NS_PER_MS;
/// Steps of a range when nothing is said: bars of a few pixels.
const STEPS: i64 = 120;
const STEPS_MAX: i64 = 2_000;
/// Versions or services that are kept apart; what is beyond is counted as one.
const SERIES_MAX: usize = 50;
const OTHERS: &str = "(others)";
/// Lengths that a person reads: 1, 2, 5 … of every unit, and the quarter of an hour by which segments are kept apart.
const NICE_MS: [i64; 22] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
];

/// What lines are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Version,
    Level,
    Service,
}

impl By {
    /// Reads the argument; versions when nothing is said.
    pub fn parse(text: Option<&str>) -> Result<Self, QueryError> {
        match text {
            None | Some("version") => Ok(By::Version),
            Some("level") => Ok(By::Level),
            Some("service") => Ok(By::Service),
            Some(other) => Err(QueryError::BadArgument {
                argument: "by",
                value: other.to_owned(),
                reason: "there are version, level and service".to_owned(),
            }),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            By::Version => "version",
            By::Level => "level",
            By::Service => "service",
        }
    }
}

/// The length of a step: what is asked for, or a round length that makes about [`STEPS`] of them.
pub(crate) fn step_ms(asked: Option<i64>, range_ms: i64) -> Result<i64, QueryError> {
    let nice = || NICE_MS.into_iter().find(|step| range_ms / step < STEPS).unwrap_or(NICE_MS[NICE_MS.len() - 1]);
    let step = asked.unwrap_or_else(nice);
    if step < 1 || range_ms / step > STEPS_MAX {
        let reason = format!("a step is at least 1 ms, and a range has at most {STEPS_MAX} steps");
        return Err(QueryError::BadArgument { argument: "step_ms", value: step.to_string(), reason });
    }
    Ok(step)
}

/// Counts lines.
pub(crate) struct Counts {
    by: By,
    step_ns: i64,
    /// Start of the first step.
    start_ns: i64,
    steps: usize,
    series: HashMap<String, Vec<u64>>,
}

impl Counts {
    /// For a range of times; steps begin at multiples of their length.
    pub fn new(by: By, range_ns: &Range<i64>, step_ms: i64) -> Self {
        let step_ns = step_ms * NS_PER_MS;
        let start_ns = range_ns.start.div_euclid(step_ns) * step_ns;
        let steps = usize::try_from((range_ns.end - 1 - start_ns).div_euclid(step_ns) + 1).unwrap_or(1);
        Self { by, step_ns, start_ns, steps, series: HashMap::new() }
    }

    /// Starts of the steps, epoch ms.
    pub fn starts_ms(&self) -> Vec<i64> {
        (0..self.steps as i64).map(|step| (self.start_ns + step * self.step_ns) / NS_PER_MS).collect()
    }

    /// The counts, largest series first.
    pub fn series(self) -> Vec<VolumeSeries> {
        let with_total = |(key, n): (String, Vec<u64>)| VolumeSeries { key, total: n.iter().sum(), n };
        let mut series: Vec<VolumeSeries> = self.series.into_iter().map(with_total).collect();
        series.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.key.cmp(&b.key)));
        series
    }

    /// The step of a time. What is newer than the end of the range, whose end is now, counts into the last one.
    fn step(&self, time_ns: i64) -> usize {
        let step = time_ns.saturating_sub(self.start_ns).div_euclid(self.step_ns).max(0);
        usize::try_from(step).unwrap_or(usize::MAX).min(self.steps - 1)
    }

    fn add(&mut self, key: &str, step: usize, lines: u64) {
        let key = if self.series.len() >= SERIES_MAX && !self.series.contains_key(key) { OTHERS } else { key };
        match self.series.get_mut(key) {
            Some(counts) => counts[step] += lines,
            None => {
                let mut counts = vec![0; self.steps];
                counts[step] = lines;
                self.series.insert(key.to_owned(), counts);
            }
        }
    }

    fn take_levels(&mut self, columns: &Rows, times: &[i64]) {
        let mut counts: HashMap<(&'static str, usize), u64> = HashMap::new();
        for (row, time) in times.iter().enumerate() {
            *counts.entry((level_of_row(columns, row).as_str(), self.step(*time))).or_default() += 1;
        }
        counts.into_iter().for_each(|((key, step), lines)| self.add(key, step, lines));
    }
}

impl Sink for Counts {
    fn columns(&self) -> &'static [&'static str] {
        match self.by {
            By::Version => &["time", "version"],
            By::Level => &["time", "severity_number", "severity_text"],
            By::Service => &["time", "service"],
        }
    }

    fn matters(&self) -> Range<i64> {
        i64::MIN..i64::MAX
    }

    fn take(&mut self, found: &Found<'_>) {
        let columns = found.columns;
        let Some(times) = columns.column("time").and_then(|column| column.all_times()) else { return };
        let Some(keys) = columns.column(self.by.as_str()) else { return self.take_levels(columns, times) };
        // Rows come sorted by version and time: runs of the same are long.
        let mut run: Option<(usize, usize, u64)> = None;
        for (row, time) in times.iter().enumerate() {
            let Some(value) = keys.value_of(row) else { continue };
            let step = self.step(*time);
            match &mut run {
                Some((of_value, of_step, lines)) if (*of_value, *of_step) == (value, step) => *lines += 1,
                _ => {
                    let last = run.replace((value, step, 1));
                    if let Some((value, step, lines)) = last {
                        self.add(keys.texts().map_or("", |texts| texts.value(value)), step, lines);
                    }
                }
            }
        }
        if let Some((value, step, lines)) = run {
            self.add(keys.texts().map_or("", |texts| texts.value(value)), step, lines);
        }
    }

    fn takes_counted(&self) -> bool {
        self.step_ns % MINUTE_NS == 0
    }

    fn take_counted(&mut self, columns: &Rows, rows: &[u32]) {
        let Some((times, lines)) =
            columns.column("time").and_then(|column| column.all_times()).zip(columns.column("lines"))
        else {
            return;
        };
        for row in rows.iter().map(|row| *row as usize) {
            let step = self.step(times[row]);
            let lines = lines.number(row).and_then(|lines| u64::try_from(lines).ok()).unwrap_or(0);
            match columns.column(self.by.as_str()) {
                Some(keys) => self.add(keys.text(row).unwrap_or(""), step, lines),
                None => self.add(level_of_row(columns, row).as_str(), step, lines),
            }
        }
    }

    fn take_unread(&mut self, group: &RowGroup) -> bool {
        let (first, last) = (self.step(group.time_min_ns), self.step(group.time_max_ns));
        let Some(key) = group.only_value(self.by.as_str()).filter(|_| first == last).map(str::to_owned) else {
            return false;
        };
        self.add(&key, first, group.rows as u64);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_cover_the_range() {
        assert_eq!(step_ms(None, 3_600_000).expect("a step"), 60_000);
        assert_eq!(step_ms(None, 86_400_000).expect("a step"), 900_000);
        assert!(step_ms(Some(0), 1_000).is_err() && step_ms(Some(1), 1_000_000).is_err());
        let counts = Counts::new(By::Level, &(1_500 * NS_PER_MS..3_001 * NS_PER_MS), 1_000);
        assert_eq!(counts.starts_ms(), [1_000, 2_000, 3_000]);
        assert_eq!(Counts::new(By::Level, &(1_000 * NS_PER_MS..3_000 * NS_PER_MS), 1_000).starts_ms(), [1_000, 2_000]);
    }

    #[test]
    fn series_are_bounded_and_nothing_is_lost() {
        let mut counts = Counts::new(By::Version, &(0..NS_PER_MS), 1);
        (0..100).for_each(|version| counts.add(&version.to_string(), 0, 1));
        let series = counts.series();
        assert!(series.len() <= SERIES_MAX + 1);
        assert_eq!((series[0].key.as_str(), series.iter().map(|one| one.total).sum::<u64>()), (OTHERS, 100));
    }
}
