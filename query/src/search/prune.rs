//! What need not be looked at: row groups whose statistics rule a search out, and rows that blooms and index rule out.
//!
//! Pruning may only skip what cannot match; of a part that is negated nothing is ruled out.

use shipwake_store::{Candidates, RowGroup, SegmentFile, Store, Wanted};

use super::language::{Field, Search, Test};
use super::matching::conjuncts;

/// Whether a row of the row group can be found.
pub(crate) fn may_match(search: &Search, group: &RowGroup) -> bool {
    match search {
        Search::All | Search::Not(_) | Search::Text(_) => true,
        Search::And(parts) => parts.iter().all(|part| may_match(part, group)),
        Search::Or(parts) => parts.iter().any(|part| may_match(part, group)),
        // Ids are compared without regard to case.
        Search::Field(Field::Column("trace_id" | "span_id" | "pattern_id"), Test::Is(value)) => {
            let column = if let Search::Field(Field::Column(column), _) = search { column } else { "" };
            group.may_be(column, &value.to_ascii_lowercase()) || group.may_be(column, value)
        }
        Search::Field(Field::Column(column), Test::Is(value)) => group.may_be(column, value),
        Search::Field(Field::Column("service" | "environment" | "version"), Test::Begins(_)) => {
            let Search::Field(Field::Column(column), Test::Begins(value)) = search else { return true };
            group.may_begin(column, value)
        }
        Search::Field(..) => true,
    }
}

/// The rows of a segment that can be found, as its blooms and its index know it. Blocks on the disk.
pub(crate) fn candidates(store: &Store, file: &SegmentFile, search: &Search) -> Candidates {
    let mut wanted = Wanted::default();
    let mut found = Candidates::All;
    for part in conjuncts(search) {
        match part {
            Search::Or(parts) => {
                let either = parts.iter().map(|part| candidates(store, file, part)).reduce(Candidates::or);
                found = found.and(either.unwrap_or(Candidates::All));
            }
            other => want(other, &mut wanted),
        }
        if found.is_none() {
            return found;
        }
    }
    if wanted.is_empty() { found } else { found.and(store.candidates(file, &wanted)) }
}

/// Adds what a row must have that this part finds.
fn want(part: &Search, wanted: &mut Wanted) {
    match part {
        Search::Text(text) => wanted.words.extend(text.phrase.whole_words().iter().cloned()),
        Search::Field(Field::Column("trace_id"), Test::Is(value)) if wanted.trace_id.is_none() => {
            wanted.trace_id = Some(value.to_ascii_lowercase());
        }
        Search::Field(Field::Attribute(name), Test::Is(value)) if !Field::may_be_of_resource(name) => {
            wanted.attributes.push((name.clone(), value.clone()));
        }
        _ => {}
    }
}
