//! What answers are made without, because a segment is damaged: the words that every kind of answer carries.

use std::ops::Range;

use shipwake_store::{Store, Table};

/// Segments that an answer names; of more it gives the number.
const NAMED_MAX: usize = 5;

/// A sentence for each damaged segment of the tables asked for whose rows can be of these times, ns. `i64::MAX` as the end has no end.
pub(crate) fn missing_in(store: &Store, is_read: impl Fn(Table) -> bool, range_ns: Range<i64>) -> Vec<String> {
    let mut lost = store.lost();
    lost.retain(|lost| is_read(lost.table) && lost.overlaps(range_ns.start, range_ns.end));
    let mut words: Vec<String> = lost.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if let Some(more) = lost.get(NAMED_MAX..).filter(|more| !more.is_empty()) {
        let rows: u64 = more.iter().map(|lost| lost.rows).sum();
        words.push(format!("{rows} rows of {} more damaged segments are missing", more.len()));
    }
    words
}
