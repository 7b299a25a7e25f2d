//! Where the occurrences of a repeated field are: a region of checked bytes and the way to them, iterated when asked.
//!
//! Protobuf lets a message that is not repeated occur several times; its contents then count as one. The occurrences need
//! not touch each other, so a merged list is a path (every field 1 inside every field 1), not a slice. The usual case, one
//! occurrence, is a path of one step.
//!
//! Only checked bytes come here, so an iteration cannot fail; should it meet an error all the same, it ends.

use crate::wire::{Depth, LEN, Reader, key};

/// The occurrences of a field in a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    region: &'a [u8],
    /// Field numbers from the outside in; the last is the field itself, 0 is no step.
    path: [u8; 3],
    /// Occurrences that begin before this offset do not count: another member of the oneof replaced them.
    from: usize,
}

/// One occurrence.
pub(crate) struct Field<'a> {
    /// Number and wire type.
    pub(crate) key: u64,
    /// Stands on the value, behind the key.
    pub(crate) value: Reader<'a>,
}

impl<'a> Fields<'a> {
    pub(crate) const EMPTY: Fields<'static> = Fields { region: &[], path: [0, 0, 1], from: 0 };

    /// The occurrences of `field` directly in `region`.
    #[inline(always)]
    pub(crate) fn flat(region: &'a [u8], field: u8) -> Self {
        Fields { region, path: [0, 0, field], from: 0 }
    }

    /// The occurrences along `path`, outermost first.
    pub(crate) fn nested(region: &'a [u8], path: [u8; 3], from: usize) -> Self {
        Fields { region, path, from }
    }

    #[inline(always)]
    pub(crate) fn iter(&self) -> FieldsIter<'a> {
        let none = Reader::new(&[]);
        let all = Reader::new(self.region);
        let (outer, middle, inner) = match self.path {
            [0, 0, _] => (none, none, all),
            [0, _, _] => (none, all, none),
            _ => (all, none, none),
        };
        FieldsIter { inner, outer, middle, path: self.path, from: self.from }
    }
}

/// Iterates over [`Fields`].
#[derive(Clone, Debug)]
pub(crate) struct FieldsIter<'a> {
    inner: Reader<'a>,
    middle: Reader<'a>,
    outer: Reader<'a>,
    path: [u8; 3],
    from: usize,
}

impl<'a> FieldsIter<'a> {
    /// The contents of the next length-delimited occurrence.
    #[inline(always)]
    pub(crate) fn next_message(&mut self) -> Option<&'a [u8]> {
        if self.inner.is_at_end() && self.path[1] == 0 {
            return None;
        }
        let mut ahead = self.inner;
        if self.from == 0 && ahead.key() == Ok(key(u64::from(self.path[2]), LEN)) {
            // The usual case: nothing else between the occurrences.
            let content = ahead.bytes().ok();
            self.inner = ahead;
            return content;
        }
        let (found, iter) = self.clone().search_message();
        *self = iter;
        found
    }

    /// By value, so that the iterator of a loop can stay in registers; see [`crate::wire`].
    #[inline(never)]
    fn search_message(mut self) -> (Option<&'a [u8]>, Self) {
        while let Some(mut field) = self.next() {
            if field.key & 7 == LEN {
                return (field.value.bytes().ok(), self);
            }
        }
        (None, self)
    }

    /// Moves the inner reader to the next message of the path.
    fn refill(&mut self) -> Option<()> {
        loop {
            if let Some(mut field) = next_field(&mut self.middle, self.path[1], 0) {
                self.inner = field.value.message().ok()?;
                return Some(());
            }
            let mut field = next_field(&mut self.outer, self.path[0], 0)?;
            self.middle = field.value.message().ok()?;
        }
    }
}

impl<'a> Iterator for FieldsIter<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            if let Some(field) = next_field(&mut self.inner, self.path[2], self.from) {
                return Some(field);
            }
            self.refill()?;
        }
    }
}

/// The next occurrence of a field at or behind `from`; passes over everything else.
fn next_field<'a>(reader: &mut Reader<'a>, field: u8, from: usize) -> Option<Field<'a>> {
    while !reader.is_at_end() {
        let at = *reader;
        let found = reader.key().ok()?;
        let value = *reader;
        reader.skip(found, at, Depth::ROOT).ok()?;
        if found >> 3 == u64::from(field) && at.pos() >= from {
            return Some(Field { key: found, value });
        }
    }
    None
}

/// Collects where a field occurs while its message is walked.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    count: u32,
    /// From the first occurrence's key to the end of its message.
    first: &'a [u8],
    /// The last occurrence's content, when it is a message.
    content: &'a [u8],
    /// How much of the message lies behind the last occurrence.
    after: usize,
}

impl<'a> Seen<'a> {
    /// Notes an occurrence that begins `at`, has this content, and ends where the reader is `now`.
    #[inline(always)]
    pub(crate) fn note(&mut self, at: Reader<'a>, content: &'a [u8], now: Reader<'a>) {
        if self.count == 0 {
            self.first = at.rest();
        }
        self.count = self.count.saturating_add(1);
        self.content = content;
        self.after = now.rest().len();
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The one occurrence's content; `None` when there are none or several.
    #[inline(always)]
    pub(crate) fn single(&self) -> Option<&'a [u8]> {
        (self.count == 1).then_some(self.content)
    }

    /// From the first occurrence's key to the end of the last, with other fields between them.
    #[inline(always)]
    pub(crate) fn region(&self) -> &'a [u8] {
        let len = self.first.len().saturating_sub(self.after);
        &self.first[..len]
    }

    /// The noted field's occurrences.
    #[inline(always)]
    pub(crate) fn fields(&self, field: u8) -> Fields<'a> {
        Fields::flat(self.region(), field)
    }

    /// The occurrences of `inner` inside the noted message field `outer`, taken as one message.
    pub(crate) fn inner_fields(&self, outer: u8, inner: u8) -> Fields<'a> {
        match self.single() {
            Some(content) => Fields::flat(content, inner),
            None => Fields::nested(self.region(), [0, outer, inner], 0),
        }
    }
}
