//! Log patterns by version and time, as the pages ask for them, merged over shards.
//!
//! Pure. A shard holds only some instances of a release, and its memory of a version may begin later than another's, so
//! everything about one pattern and version is added up.

use std::collections::HashMap;
use std::sync::Arc;

use shipwake_model::pattern::Level;

/// Which patterns a reader wants. `None` means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternQuery {
    /// The service.
    pub service: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// Start of the first cell, ms, included. Cells are a minute long.
    pub from_ms: i64,
    /// End, ms, excluded.
    pub to_ms: i64,
}

/// A pattern of a service, whether it has cells in the range or not.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternRow {
    /// The service.
    pub service: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Where it runs.
    pub environment: Arc<str>,
    /// The id, as in `logs.pattern_id`.
    pub id: u64,
    /// The line with `<*>` for its parameters.
    pub template: Arc<str>,
    /// A line that had it.
    pub example: Arc<str>,
    /// The versions that had it.
    pub versions: Vec<PatternVersion>,
}

/// A pattern in one version.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternVersion {
    /// The version.
    pub version: Arc<str>,
    /// The worst level it came with.
    pub level: Level,
    /// Event time of the first line that is remembered, ns.
    pub first_seen_ns: i64,
    /// Event time of the newest line, ns.
    pub last_seen_ns: i64,
    /// Lines that are remembered, whatever the range.
    pub count: u64,
    /// Minutes of the range that had any, sorted by time.
    pub cells: Vec<PatternCell>,
}

/// One minute of a pattern in one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternCell {
    /// Start, ms.
    pub t_ms: i64,
    /// Lines.
    pub count: u64,
    /// Replicate slots that sent some: bit n is slot n.
    pub slots: u8,
}

/// Service, namespace, environment and id.
type Key = (Arc<str>, Arc<str>, Arc<str>, u64);

/// Adds up what the shards answered. Rows come out in the order of service, namespace, environment and id.
pub fn merge_patterns(answers: impl IntoIterator<Item = Vec<PatternRow>>) -> Vec<PatternRow> {
    let mut merged: Vec<PatternRow> = Vec::new();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for row in answers.into_iter().flatten() {
        let key = (row.service.clone(), row.namespace.clone(), row.environment.clone(), row.id);
        match places.get(&key) {
            Some(place) => row.versions.into_iter().for_each(|version| merged[*place].add(version)),
            None => {
                places.insert(key, merged.len());
                merged.push(row);
            }
        }
    }
    let order = |row: &PatternRow| (row.service.clone(), row.namespace.clone(), row.environment.clone(), row.id);
    merged.sort_by_cached_key(order);
    merged
}

impl PatternRow {
    /// Adds what is known of the pattern in one version.
    pub fn add(&mut self, more: PatternVersion) {
        match self.versions.iter_mut().find(|known| known.version == more.version) {
            Some(known) => known.add(more),
            None => self.versions.push(more),
        }
    }
}

impl PatternVersion {
    fn add(&mut self, more: PatternVersion) {
        self.level = self.level.max(more.level);
        self.first_seen_ns = self.first_seen_ns.min(more.first_seen_ns);
        self.last_seen_ns = self.last_seen_ns.max(more.last_seen_ns);
        self.count = self.count.saturating_add(more.count);
        self.cells.extend(more.cells);
        merge_cells(&mut self.cells);
    }
}

/// Sorts cells by time and makes one of those of the same minute.
pub fn merge_cells(cells: &mut Vec<PatternCell>) {
    cells.sort_by_key(|cell| cell.t_ms);
    cells.dedup_by(|later, earlier| {
        let same = later.t_ms == earlier.t_ms;
        if same {
            earlier.count = earlier.count.saturating_add(later.count);
            earlier.slots |= later.slots;
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, version: &str, cells: &[(i64, u64, u8)]) -> PatternRow {
        let cells: Vec<_> = cells
            .iter()
            .map(|(t_ms, count, slots)| PatternCell { t_ms: *t_ms, count: *count, slots: *slots })
            .collect();
        PatternRow {
            service: "shop".into(),
            namespace: "".into(),
            environment: "prod".into(),
            id,
            template: "a <*>".into(),
            example: "a 1".into(),
            versions: vec![PatternVersion {
                version: version.into(),
                level: Level::Warn,
                first_seen_ns: cells[0].t_ms,
                last_seen_ns: cells[0].t_ms + 5,
                count: cells.iter().map(|cell| cell.count).sum(),
                cells,
            }],
        }
    }

    #[test]
    fn a_pattern_of_two_shards_is_one() {
        let left = vec![row(7, "1", &[(0, 2, 1), (60, 1, 1)]), row(9, "1", &[(0, 1, 1)])];
        let right = vec![row(7, "1", &[(60, 4, 2)]), row(7, "2", &[(60, 1, 4)])];
        let merged = merge_patterns([left, right]);
        assert_eq!(merged.iter().map(|row| row.id).collect::<Vec<_>>(), [7, 9]);
        let one = &merged[0].versions[0];
        assert_eq!((one.count, one.first_seen_ns, one.last_seen_ns), (7, 0, 65));
        assert_eq!(one.cells, row(7, "1", &[(0, 2, 1), (60, 5, 3)]).versions[0].cells);
        assert_eq!(merged[0].versions.len(), 2);
    }
}
