//! Which rows of a segment can be what a search looks for, as blooms and index know it: a set that may be too large and is never
//! too small. Pure.
//!
//! Whoever asks reads these rows and compares each with the search itself. Sets of the parts of a search are put together with
//! [`Candidates::and`] and [`Candidates::or`]; of a part that is negated nothing can be ruled out.

use std::ops::Range;

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
    /// Only rows of these ranges, ascending and apart, counted from the beginning of the segment: whole row groups.
    Ranges(Vec<Range<u32>>),
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
            Candidates::Ranges(ranges) => ranges.is_empty(),
            Candidates::Rows(rows) => rows.is_empty(),
        }
    }

    /// Rows that are in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        use Candidates::{All, Ranges, Rows};
        match (self, other) {
            (All, set) | (set, All) => set,
            (Ranges(one), Ranges(two)) => Ranges(common(&one, &two)),
            (Ranges(ranges), Rows(mut rows)) | (Rows(mut rows), Ranges(ranges)) => {
                rows.retain(|row| overlaps(&ranges, &(*row..*row + 1)));
                Rows(rows)
            }
            (Rows(mut one), Rows(two)) => {
                one.retain(|row| two.binary_search(row).is_ok());
                Rows(one)
            }
        }
    }

    /// Rows that are in either set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        use Candidates::{All, Ranges, Rows};
        match (self, other) {
            (All, _) | (_, All) => All,
            (Ranges(one), Ranges(two)) => Ranges(either(one, two)),
            (Rows(mut one), Rows(two)) => {
                one.extend(two);
                one.sort_unstable();
                one.dedup();
                Rows(one)
            }
            (Ranges(ranges), Rows(rows)) | (Rows(rows), Ranges(ranges)) => {
                Ranges(either(ranges, rows.into_iter().map(|row| row..row + 1).collect()))
            }
        }
    }

    /// Whether any row of a range can be in the set.
    pub fn overlaps(&self, rows: &Range<u32>) -> bool {
        match self {
            Candidates::All => true,
            Candidates::Ranges(ranges) => overlaps(ranges, rows),
            Candidates::Rows(found) => {
                found.get(found.partition_point(|row| *row < rows.start)).is_some_and(|row| *row < rows.end)
            }
        }
    }

    /// The rows as ranges, ascending and apart, of a segment with `rows` rows.
    pub fn ranges(&self, rows: u64) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add =
            |range: &Range<u32>| push(&mut ranges, u64::from(range.start).min(rows)..u64::from(range.end).min(rows));
        match self {
            Candidates::All => push(&mut ranges, 0..rows),
            Candidates::Ranges(found) => found.iter().for_each(add),
            Candidates::Rows(found) => found.iter().for_each(|row| add(&(*row..*row + 1))),
        }
        ranges
    }
}

/// Adds a range behind others, to the last of them where it touches it.
fn push<N: Copy + Ord>(ranges: &mut Vec<Range<N>>, range: Range<N>) {
    match ranges.last_mut() {
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ if range.is_empty() => {}
        _ => ranges.push(range),
    }
}

/// Whether any of the ranges, which ascend and are apart, has a row of another one.
fn overlaps(ranges: &[Range<u32>], rows: &Range<u32>) -> bool {
    let next = &ranges[ranges.partition_point(|range| range.end <= rows.start)..];
    next.first().is_some_and(|range| range.start < rows.end)
}

fn common(one: &[Range<u32>], two: &[Range<u32>]) -> Vec<Range<u32>> {
    let (mut found, mut at) = (Vec::new(), 0);
    for range in one {
        while two.get(at).is_some_and(|other| other.end <= range.start) {
            at += 1;
        }
        for other in two[at..].iter().take_while(|other| other.start < range.end) {
            push(&mut found, range.start.max(other.start)..range.end.min(other.end));
        }
    }
    found
}

fn either(mut one: Vec<Range<u32>>, two: Vec<Range<u32>>) -> Vec<Range<u32>> {
    one.extend(two);
    one.sort_unstable_by_key(|range| range.start);
    let mut found = Vec::with_capacity(one.len());
    one.into_iter().for_each(|range| push(&mut found, range));
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ROWS: u64 = 3 * GROUP as u64 - 100;
    const GROUP: u32 = 1000;

    fn rows(set: &Candidates) -> BTreeSet<u64> {
        set.ranges(ROWS).into_iter().flatten().collect()
    }

    fn groups(groups: &[u32]) -> Candidates {
        Candidates::Ranges(either(groups.iter().map(|group| group * GROUP..(group + 1) * GROUP).collect(), Vec::new()))
    }

    #[test]
    fn sets_are_put_together_like_sets() {
        let sets = [
            Candidates::All,
            Candidates::NONE,
            groups(&[]),
            groups(&[0, 2]),
            groups(&[1]),
            Candidates::Ranges(vec![3..7, 900..1100, 2999..5000]),
            Candidates::Rows(vec![0, 5, GROUP - 1, GROUP, 2 * GROUP + 7]),
            Candidates::Rows(vec![5, GROUP + 1]),
        ];
        for one in &sets {
            for two in &sets {
                let (left, right) = (rows(one), rows(two));
                assert_eq!(rows(&one.clone().and(two.clone())), &left & &right, "{one:?} and {two:?}");
                assert_eq!(rows(&one.clone().or(two.clone())), &left | &right, "{one:?} or {two:?}");
            }
            for range in [0..1, 5..6, 6..999, 999..1000, 1001..2000, 2500..2600, 2800..2900] {
                let is_any = rows(one).iter().any(|row| range.contains(&(*row as u32)));
                assert_eq!(one.overlaps(&range), is_any, "{one:?} and {range:?}");
            }
        }
    }

    #[test]
    fn ranges_are_within_the_segment_and_apart() {
        let only = |range: Range<u64>| vec![range];
        assert_eq!(Candidates::All.ranges(ROWS), only(0..ROWS));
        assert_eq!(Candidates::All.ranges(0), []);
        let found = groups(&[1, 2, 9]);
        assert_eq!(found.ranges(ROWS), only(u64::from(GROUP)..ROWS));
        assert_eq!(Candidates::Rows(vec![3, 4, 5, 9]).ranges(ROWS), [3..6, 9..10]);
        assert!(Candidates::NONE.is_none() && Candidates::Ranges(vec![]).is_none() && !found.is_none());
    }
}
