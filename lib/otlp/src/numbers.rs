//! Repeated numbers (bucket counts, bounds), packed or not, decoded as they are asked for.

use crate::fields::{Fields, FieldsIter};
use crate::wire::{LEN, Reader};

/// How one number of a list is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Encoding {
    Fixed64,
    Varint,
}

/// Whole numbers: the counts of a histogram's buckets.
#[derive(Clone, Copy, Debug)]
pub struct U64s<'a> {
    fields: Fields<'a>,
    encoding: Encoding,
}

/// Numbers: the bounds of a histogram's buckets. May be NaN or infinite, and in any order.
#[derive(Clone, Copy, Debug)]
pub struct F64s<'a> {
    bits: U64s<'a>,
}

impl<'a> U64s<'a> {
    /// No numbers.
    pub const EMPTY: U64s<'static> = U64s { fields: Fields::EMPTY, encoding: Encoding::Fixed64 };

    #[inline]
    pub(crate) fn new(fields: Fields<'a>, encoding: Encoding) -> Self {
        U64s { fields, encoding }
    }

    /// The numbers in order.
    #[inline]
    pub fn iter(&self) -> U64sIter<'a> {
        U64sIter { packed: Reader::new(&[]), fields: self.fields.iter(), encoding: self.encoding }
    }

    /// How many there are. Walks the list.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> F64s<'a> {
    /// No numbers.
    pub const EMPTY: F64s<'static> = F64s { bits: U64s::EMPTY };

    #[inline]
    pub(crate) fn new(fields: Fields<'a>) -> Self {
        F64s { bits: U64s::new(fields, Encoding::Fixed64) }
    }

    /// The numbers in order.
    #[inline]
    pub fn iter(&self) -> F64sIter<'a> {
        F64sIter { bits: self.bits.iter() }
    }

    /// How many there are. Walks the list.
    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }
}

impl Default for U64s<'_> {
    #[inline]
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Default for F64s<'_> {
    #[inline]
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> IntoIterator for U64s<'a> {
    type Item = u64;
    type IntoIter = U64sIter<'a>;

    #[inline]
    fn into_iter(self) -> U64sIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for F64s<'a> {
    type Item = f64;
    type IntoIter = F64sIter<'a>;

    #[inline]
    fn into_iter(self) -> F64sIter<'a> {
        self.iter()
    }
}

/// Iterates over [`U64s`].
#[derive(Clone, Debug)]
pub struct U64sIter<'a> {
    packed: Reader<'a>,
    fields: FieldsIter<'a>,
    encoding: Encoding,
}

impl Iterator for U64sIter<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        while self.packed.is_at_end() {
            let mut field = self.fields.next()?;
            if field.key & 7 != LEN {
                return read(&mut field.value, self.encoding);
            }
            self.packed = field.value.message().ok()?;
        }
        read(&mut self.packed, self.encoding)
    }
}

#[inline(always)]
fn read(r: &mut Reader<'_>, encoding: Encoding) -> Option<u64> {
    match encoding {
        Encoding::Fixed64 => r.fixed64().ok(),
        Encoding::Varint => r.varint().ok(),
    }
}

/// Iterates over [`F64s`].
#[derive(Clone, Debug)]
pub struct F64sIter<'a> {
    bits: U64sIter<'a>,
}

impl Iterator for F64sIter<'_> {
    type Item = f64;

    #[inline]
    fn next(&mut self) -> Option<f64> {
        self.bits.next().map(f64::from_bits)
    }
}
