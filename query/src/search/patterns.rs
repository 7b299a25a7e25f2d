//! Patterns of the lines that a search finds: every filter of the search holds for them too. Counts are of lines; what a pattern's
//! lines have in common, and which versions ever had it, is what the aggregator remembers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use shipwake_model::pattern::{Level, id_text};
use shipwake_store::PatternRow;

use super::scan::{Found, Sink};
use super::wire::{PatternLine, level_of_row};

/// Patterns of all services and versions that are counted; lines of others are counted together.
const PATTERNS_MAX: usize = 20_000;
/// Patterns of an answer.
const LISTED_MAX: usize = 500;
const COLUMNS: [&str; 6] = ["service", "environment", "version", "pattern_id", "severity_number", "severity_text"];

/// Service and environment.
type Place = (Arc<str>, Arc<str>);
/// Service, environment and pattern.
type Key = (Arc<str>, Arc<str>, Arc<str>);

#[derive(Default)]
struct Count {
    levels: BTreeMap<Level, u64>,
    versions: BTreeMap<Arc<str>, u64>,
}

impl Count {
    fn worst(&self) -> Level {
        self.levels.keys().next_back().copied().unwrap_or_default()
    }
}

/// Counts lines by pattern.
#[derive(Default)]
pub(crate) struct Counts {
    patterns: HashMap<Key, Count>,
    pub versions: BTreeMap<String, u64>,
    pub total: u64,
    pub without: u64,
    /// Lines of patterns beyond the bound.
    beyond: u64,
}

impl Sink for Counts {
    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn matters(&self) -> Range<i64> {
        i64::MIN..i64::MAX
    }

    fn take(&mut self, found: &Found<'_>) {
        let columns = found.columns;
        let column = |name: &str| columns.column(name);
        // Counted by the indices of values first: texts are compared once per batch.
        let mut counts: HashMap<([Option<usize>; 4], Level), u64> = HashMap::new();
        for row in 0..columns.len {
            let value = |name: &str| column(name).and_then(|column| column.value_of(row));
            let key = [value("service"), value("environment"), value("version"), value("pattern_id")];
            *counts.entry((key, level_of_row(columns, row))).or_default() += 1;
        }
        for (([service, environment, version, pattern], level), lines) in counts {
            let text = |name: &str, at: Option<usize>| at.zip(column(name)?.texts()).map(|(at, texts)| texts.value(at));
            let name: Arc<str> = text("version", version).unwrap_or("").into();
            self.total += lines;
            *self.versions.entry(name.to_string()).or_default() += lines;
            let Some(pattern) = text("pattern_id", pattern) else {
                self.without += lines;
                continue;
            };
            let key = (
                text("service", service).unwrap_or("").into(),
                text("environment", environment).unwrap_or("").into(),
                pattern.into(),
            );
            if self.patterns.len() >= PATTERNS_MAX && !self.patterns.contains_key(&key) {
                self.beyond += lines;
                continue;
            }
            let count = self.patterns.entry(key).or_default();
            *count.levels.entry(level).or_default() += lines;
            *count.versions.entry(name).or_default() += lines;
        }
    }
}

impl Counts {
    /// Services and environments of the lines.
    pub fn places(&self) -> HashSet<Place> {
        self.patterns.keys().map(|(service, environment, _)| (service.clone(), environment.clone())).collect()
    }

    /// The patterns, worst and most frequent first, with what is remembered of them; and how many are not listed.
    pub fn listed(&self, remembered: &[PatternRow]) -> (Vec<PatternLine>, u64) {
        let mut known: HashMap<Key, Vec<&PatternRow>> = HashMap::new();
        // Of each place: when each version wrote its first line.
        let mut versions: HashMap<Place, HashMap<Arc<str>, i64>> = HashMap::new();
        for row in remembered {
            known.entry((row.service.clone(), row.environment.clone(), id_text(row.id).into())).or_default().push(row);
            let of_service = versions.entry((row.service.clone(), row.environment.clone())).or_default();
            for version in &row.versions {
                let first = of_service.entry(version.version.clone()).or_insert(version.first_seen_ns);
                *first = (*first).min(version.first_seen_ns);
            }
        }
        let mut lines: Vec<(Level, PatternLine)> = Vec::with_capacity(self.patterns.len());
        for (key, count) in &self.patterns {
            let rows = known.get(key).map(Vec::as_slice).unwrap_or_default();
            let of_service = versions.get(&(key.0.clone(), key.1.clone())).filter(|all| all.len() > 1);
            let oldest = of_service.and_then(|all| all.iter().min_by_key(|(version, first)| (**first, *version)));
            lines.push((count.worst(), line(key, count, rows, oldest.map(|(version, _)| &**version))));
        }
        lines.sort_by(|(a_level, a), (b_level, b)| {
            let (a_bad, b_bad) = ((*a_level).max(Level::Info), (*b_level).max(Level::Info));
            b_bad.cmp(&a_bad).then(b.total.cmp(&a.total)).then_with(|| a.pattern.cmp(&b.pattern))
        });
        let more = lines.len().saturating_sub(LISTED_MAX) as u64 + u64::from(self.beyond > 0);
        lines.truncate(LISTED_MAX);
        (lines.into_iter().map(|(_, line)| line).collect(), more)
    }
}

/// `oldest`: the first of several versions of the place; `None` when there are not several.
fn line(key: &Key, count: &Count, rows: &[&PatternRow], oldest: Option<&str>) -> PatternLine {
    let mut first_seen: BTreeMap<String, i64> = BTreeMap::new();
    for version in rows.iter().flat_map(|row| &row.versions) {
        let ms = version.first_seen_ns.div_euclid(1_000_000);
        let first = first_seen.entry(version.version.to_string()).or_insert(ms);
        *first = (*first).min(ms);
    }
    let ever: HashSet<&str> =
        first_seen.keys().map(String::as_str).chain(count.versions.keys().map(|version| &**version)).collect();
    let only_in =
        ever.iter().next().filter(|_| ever.len() == 1 && oldest.is_some()).map(|version| (*version).to_owned());
    // What only the first version ever wrote was not new in it: it is what was there before anything was shipped.
    let new_in = only_in.clone().filter(|version| Some(version.as_str()) != oldest);
    PatternLine {
        pattern: key.2.to_string(),
        service: key.0.to_string(),
        env: key.1.to_string(),
        template: rows.first().map(|row| row.template.to_string()),
        example: rows.first().map(|row| row.example.to_string()).filter(|example| !example.is_empty()),
        level: count.worst().as_str(),
        levels: count.levels.iter().map(|(level, lines)| (level.as_str(), *lines)).collect(),
        total: count.versions.values().sum(),
        counts: count.versions.iter().map(|(version, lines)| (version.to_string(), *lines)).collect(),
        first_seen,
        only_in,
        new_in,
    }
}
