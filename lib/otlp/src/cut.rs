//! Cuts a `ResourceLogs`, `ResourceMetrics` or `ResourceSpans` into several of the same resource, where a journal has a bound
//! that senders do not know. The three have the same shape: a list of scopes in field 2, each with a list in field 2.
//!
//! Every log record, metric and span is copied byte for byte and is in exactly one piece, in the order it had.

use crate::ScanError;
use crate::wire::{Depth, LEN, Reader, key};
use crate::write::{len_field_size, put_len_field};

/// Field of a resource's message with its scopes, and of a scope's with its records or metrics.
const LIST: u32 = 2;

/// A level taken apart: everything but its list, and the list's entries with their keys and lengths.
struct Level<'a> {
    head: Vec<u8>,
    entries: Vec<Entry<'a>>,
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    content: Reader<'a>,
    /// With key and length.
    whole: &'a [u8],
}

/// Cuts `message`, the content of a resource's message, into pieces of at most `bytes_max` bytes. What cannot be cut, one
/// record or one metric with its points, is a piece of its own, however large.
pub fn cut(message: &[u8], bytes_max: usize) -> Result<Vec<Vec<u8>>, ScanError> {
    let level = Reader::new(message);
    let depth = Depth::ROOT.enter(level)?;
    let Level { head, entries } = take_apart(level, depth)?;
    let mut pieces = Pieces { head, bytes_max, done: Vec::new(), piece: Vec::new(), scope: Vec::new(), records: 0 };
    for entry in entries {
        let scope = take_apart(entry.content, depth.enter(entry.content)?)?;
        pieces.add_scope(&scope);
    }
    Ok(pieces.end())
}

fn take_apart(mut r: Reader<'_>, depth: Depth) -> Result<Level<'_>, ScanError> {
    let mut level = Level { head: Vec::new(), entries: Vec::new() };
    while !r.is_at_end() {
        let at = r;
        let found = r.key()?;
        if found == key(u64::from(LIST), LEN) {
            let content = r.message()?;
            level.entries.push(Entry { content, whole: at.up_to(r) });
        } else {
            r.skip(found, at, depth)?;
            level.head.extend_from_slice(at.up_to(r));
        }
    }
    Ok(level)
}

/// The pieces so far, and the one that is being made.
struct Pieces {
    head: Vec<u8>,
    bytes_max: usize,
    done: Vec<Vec<u8>>,
    /// Scopes that are complete.
    piece: Vec<u8>,
    /// The scope that records are added to.
    scope: Vec<u8>,
    /// Records in the piece that is being made.
    records: usize,
}

impl Pieces {
    fn add_scope(&mut self, scope: &Level<'_>) {
        if scope.entries.is_empty() {
            return;
        }
        self.scope.extend_from_slice(&scope.head);
        let mut in_scope = 0;
        for entry in &scope.entries {
            let after = self.head.len() + self.piece.len() + len_field_size(LIST, self.scope.len() + entry.whole.len());
            if after > self.bytes_max && self.records > 0 {
                if in_scope == 0 {
                    // A scope without records is of no use here.
                    self.scope.clear();
                }
                self.finish();
                self.scope.extend_from_slice(&scope.head);
                in_scope = 0;
            }
            self.scope.extend_from_slice(entry.whole);
            self.records += 1;
            in_scope += 1;
        }
        self.finish_scope();
    }

    fn finish_scope(&mut self) {
        if !self.scope.is_empty() {
            put_len_field(&mut self.piece, LIST, &self.scope);
            self.scope.clear();
        }
    }

    fn finish(&mut self) {
        self.finish_scope();
        let mut whole = self.head.clone();
        whole.append(&mut self.piece);
        self.done.push(whole);
        self.records = 0;
    }

    fn end(mut self) -> Vec<Vec<u8>> {
        if self.records > 0 || self.done.is_empty() {
            self.finish();
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn scope(number: usize, sizes: &[usize]) -> ScopeLogs {
        let record = |size: &usize| LogRecord { severity_text: "x".repeat(*size), ..LogRecord::default() };
        ScopeLogs {
            scope: Some(InstrumentationScope { name: format!("scope {number}"), ..Default::default() }),
            log_records: sizes.iter().map(record).collect(),
            schema_url: "schema".to_owned(),
        }
    }

    proptest! {
        /// Pieces keep the bound unless they hold one record only; together they are the whole, in order, each with the
        /// resource and its scope.
        #[test]
        fn pieces_keep_the_bound_and_lose_nothing(
            sizes in prop::collection::vec(prop::collection::vec(0usize..200, 0..6), 0..5), bytes_max in 60usize..500,
        ) {
            let entry = ResourceLogs {
                resource: Some(Resource { dropped_attributes_count: 7, ..Resource::default() }),
                scope_logs: sizes.iter().enumerate().map(|(number, sizes)| scope(number, sizes)).collect(),
                schema_url: "url".to_owned(),
            };
            let pieces = cut(&entry.encode_to_vec(), bytes_max).expect("valid");
            let mut found = Vec::new();
            for piece in &pieces {
                let piece_read = ResourceLogs::decode(&piece[..]).expect("valid");
                let records: usize = piece_read.scope_logs.iter().map(|scope| scope.log_records.len()).sum();
                prop_assert!(piece.len() <= bytes_max || records <= 1, "{} bytes of {bytes_max}, {records} records", piece.len());
                prop_assert_eq!((&piece_read.resource, &piece_read.schema_url), (&entry.resource, &entry.schema_url));
                for scope in piece_read.scope_logs {
                    prop_assert_eq!(scope.schema_url.as_str(), "schema");
                    found.extend(scope.log_records.into_iter().map(|record| (scope.scope.clone(), record)));
                }
            }
            let expected: Vec<_> = entry.scope_logs.into_iter()
                .flat_map(|scope| scope.log_records.into_iter().map(move |record| (scope.scope.clone(), record))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn broken_bytes_are_an_error() {
        assert!(cut(&[0x12, 0x05, 0x01], 100).is_err());
        assert_eq!(cut(&[], 100).expect("nothing is in it"), [Vec::<u8>::new()]);
    }
}
