//! Which rows of a segment can be what a search looks for, as blooms and index know it: a set that may be too large and is never
//! too small. Pure.
//!
//! Whoever asks reads these rows and compares each with the search itself. Sets of the parts of a search are put together with
//! [`Candidates::and`] and [`Candidates::or`]; of a part that is negated nothing can be ruled out.

use std::ops::Range;

use crate::encode::ROW_GROUP_ROWS;

/// What a row must have, all of it together. Empty: nothing is asked, so every row has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Words of the body, as [`shipwake_model::words::each_word`] cuts them (lower case). Order does not matter.
    pub words: Vec<String>,
    /// The trace id, as stored: 32 hexadecimal digits in lower case.
    pub trace_id: Option<String>,
    /// Attributes of the record with exactly these values.
    pub attributes: Vec<(String, String)>,
}

/// Rows of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Nothing can be ruled out.
    All,
    /// Only rows of these row groups, ascending. A row group has 131 072 rows, the last one what is left.
    RowGroups(Vec<u32>),
    /// Only these rows, ascending, counted from the beginning of the segment.
    Rows(Vec<u32>),
}

impl Wanted {
    /// Rows whose body has all words of `text`, which is any part of a line that begins and ends at the edge of a word.
    pub fn text(text: &str) -> Self {
        Self { words: shipwake_model::words::words(text), ..Self::default() }
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.trace_id.is_none() && self.attributes.is_empty()
    }
}

impl Candidates {
    /// No row.
    pub const NONE: Candidates = Candidates::Rows(Vec::new());

    /// Whether no row is left, so that the segment need not be opened.
    pub fn is_none(&self) -> bool {
        match self {
            Candidates::All => false,
            Candidates::RowGroups(groups) => groups.is_empty(),
            Candidates::Rows(rows) => rows.is_empty(),
        }
    }

    /// Rows that are in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        use Candidates::{All, RowGroups, Rows};
        match (self, other) {
            (All, set) | (set, All) => set,
            (RowGroups(one), RowGroups(two)) => RowGroups(common(one, &two, |group| group)),
            (RowGroups(groups), Rows(rows)) | (Rows(rows), RowGroups(groups)) => Rows(common(rows, &groups, group_of)),
            (Rows(one), Rows(two)) => Rows(common(one, &two, |row| row)),
        }
    }

    /// Rows that are in either set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        use Candidates::{All, RowGroups, Rows};
        match (self, other) {
            (All, _) | (_, All) => All,
            (RowGroups(one), RowGroups(two)) => RowGroups(either(one, two)),
            (Rows(one), Rows(two)) => Rows(either(one, two)),
            (RowGroups(groups), Rows(rows)) | (Rows(rows), RowGroups(groups)) => {
                let mut of_rows: Vec<u32> = rows.into_iter().map(group_of).collect();
                of_rows.dedup();
                RowGroups(either(groups, of_rows))
            }
        }
    }

    /// The rows as ranges, ascending and apart, of a segment with `rows` rows.
    pub fn ranges(&self, rows: u64) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match ranges.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ if range.is_empty() => {}
            _ => ranges.push(range),
        };
        match self {
            Candidates::All => add(0..rows),
            Candidates::RowGroups(groups) => {
                for group in groups {
                    let start = u64::from(*group) * ROW_GROUP_ROWS as u64;
                    add(start.min(rows)..(start + ROW_GROUP_ROWS as u64).min(rows));
                }
            }
            Candidates::Rows(found) => {
                for row in found {
                    add(u64::from(*row).min(rows)..(u64::from(*row) + 1).min(rows));
                }
            }
        }
        ranges
    }
}

fn group_of(row: u32) -> u32 {
    row / ROW_GROUP_ROWS as u32
}

/// Those of `values` whose `key` is in `keys`. Both ascend, and so do the keys.
fn common(mut values: Vec<u32>, keys: &[u32], key: impl Fn(u32) -> u32) -> Vec<u32> {
    let mut at = 0;
    values.retain(|value| {
        let wanted = key(*value);
        while keys.get(at).is_some_and(|found| *found < wanted) {
            at += 1;
        }
        keys.get(at) == Some(&wanted)
    });
    values
}

fn either(mut one: Vec<u32>, two: Vec<u32>) -> Vec<u32> {
    one.extend(two);
    one.sort_unstable();
    one.dedup();
    one
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const GROUP: u32 = ROW_GROUP_ROWS as u32;
    const ROWS: u64 = 3 * ROW_GROUP_ROWS as u64 - 100;

    fn rows(set: &Candidates) -> BTreeSet<u64> {
        set.ranges(ROWS).into_iter().flatten().collect()
    }

    #[test]
    fn sets_are_put_together_like_sets() {
        let sets = [
            Candidates::All,
            Candidates::NONE,
            Candidates::RowGroups(vec![]),
            Candidates::RowGroups(vec![0, 2]),
            Candidates::RowGroups(vec![1]),
            Candidates::Rows(vec![0, 5, GROUP - 1, GROUP, 2 * GROUP + 7]),
            Candidates::Rows(vec![5, GROUP + 1]),
        ];
        for one in &sets {
            for two in &sets {
                let (left, right) = (rows(one), rows(two));
                assert_eq!(rows(&one.clone().and(two.clone())), &left & &right, "{one:?} and {two:?}");
                let either = rows(&one.clone().or(two.clone()));
                assert!(either.is_superset(&(&left | &right)), "{one:?} or {two:?}");
                if matches!((one, two), (Candidates::Rows(_), Candidates::Rows(_))) {
                    assert_eq!(either, &left | &right);
                }
            }
        }
    }

    #[test]
    fn ranges_are_within_the_segment_and_apart() {
        let only = |range: Range<u64>| vec![range];
        assert_eq!(Candidates::All.ranges(ROWS), only(0..ROWS));
        assert_eq!(Candidates::All.ranges(0), []);
        let groups = Candidates::RowGroups(vec![1, 2, 9]);
        assert_eq!(groups.ranges(ROWS), only(u64::from(GROUP)..ROWS));
        assert_eq!(Candidates::Rows(vec![3, 4, 5, 9]).ranges(ROWS), [3..6, 9..10]);
        assert!(Candidates::NONE.is_none() && Candidates::RowGroups(vec![]).is_none() && !groups.is_none());
    }
}
