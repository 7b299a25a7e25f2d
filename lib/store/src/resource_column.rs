//! The chunk of a column that says nothing but which resource a row is of, as Parquet has it: a dictionary and pages of numbers.
//!
//! All columns of a resource come as numbers of resources, and what a resource says is looked up once and not for each of its rows.
//! Parquet's own writer would hash and compare every text of every row to find that out again, the names and values of seven attributes
//! among them: more than a third of what a log line cost. Whoever reads sees no difference.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

/// Texts of a dictionary at the most, in bytes: whoever reads one row reads all of it. Beyond it rows are written one by one.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;
/// A page ends when it has so many values, however few rows they are of.
const PAGE_VALUES_MAX: usize = 1 << 17;
/// Longer texts are not named as the smallest or the largest.
const STATISTICS_BYTES_MAX: usize = 64;

/// A column of texts, or the names or the values of a map.
pub(crate) struct ResourceColumn {
    descr: ColumnDescPtr,
    of_resources: OfResources,
    statistics: EnabledStatistics,
    page_rows_max: usize,
    compression: Compression,
    dictionary: Dictionary,
    /// What each resource says in numbers, once it was met.
    known: Vec<Option<Values>>,
    /// The resources of the rows of the page.
    page: Vec<u32>,
    /// Values of the page, in Parquet's sense: nulls and empty maps are some, too.
    page_values: usize,
    pages: Vec<Finished>,
}

/// What a resource says.
enum OfResources {
    Text(StringArray),
    Names(MapArray),
    Values(MapArray),
}

/// The numbers of a resource's texts, and for each value, nulls and an empty map included, the level to which it is there.
#[derive(Default)]
struct Values {
    texts: Vec<u32>,
    levels: Vec<u32>,
}

/// Different texts in the order in which rows first had them.
#[derive(Default)]
struct Dictionary {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
    /// As the page has them.
    plain: Vec<u8>,
}

/// A page, and the numbers of the smallest and the largest text in it.
struct Finished {
    page: CompressedPage,
    rows: usize,
    values: usize,
    ends: Option<(u32, u32)>,
}

/// Whether the columns of these resources may be dictionaries.
pub(crate) fn is_fit(of_resources: &ArrayRef) -> bool {
    let bytes = |texts: &ArrayRef| texts.as_string_opt::<i32>().map(|texts| texts.value_data().len());
    let all = match of_resources.as_map_opt() {
        Some(map) => bytes(map.keys()).max(bytes(map.values())),
        None => bytes(of_resources),
    };
    all.is_some_and(|bytes| bytes <= DICTIONARY_BYTES_MAX)
}

impl ResourceColumn {
    /// The leaves of a field, `descrs`, of what all resources say in it.
    pub(crate) fn of_field(
        of_resources: &ArrayRef,
        descrs: &[ColumnDescPtr],
        properties: &WriterProperties,
    ) -> Result<Vec<Self>> {
        let sources = match of_resources.as_map_opt() {
            Some(map) => vec![OfResources::Names(map.clone()), OfResources::Values(map.clone())],
            None => vec![OfResources::Text(of_resources.as_string().clone())],
        };
        let levels = |source: &OfResources| match source {
            OfResources::Text(_) => (0, 0),
            OfResources::Names(_) => (1, 1),
            OfResources::Values(_) => (2, 1),
        };
        let are_expected = sources.len() == descrs.len()
            && sources.iter().zip(descrs).all(|(source, descr)| {
                (descr.max_def_level(), descr.max_rep_level()) == levels(source)
                    && descr.physical_type() == Type::BYTE_ARRAY
            });
        if !are_expected {
            let names: Vec<String> = descrs.iter().map(|descr| descr.path().string()).collect();
            return Err(ParquetError::General(format!("not columns of resources: {names:?}")));
        }
        let column = |(source, descr): (OfResources, &ColumnDescPtr)| Self {
            descr: descr.clone(),
            of_resources: source,
            statistics: properties.statistics_enabled(descr.path()),
            page_rows_max: properties.data_page_row_count_limit(),
            compression: properties.compression(descr.path()),
            dictionary: Dictionary::default(),
            known: (0..of_resources.len()).map(|_| None).collect(),
            page: Vec::new(),
            page_values: 0,
            pages: Vec::new(),
        };
        Ok(sources.into_iter().zip(descrs).map(column).collect())
    }

    /// Adds rows of these resources.
    pub(crate) fn write(&mut self, resources: &[u32], zstd: &mut Compressor<'_>) -> Result<()> {
        for &resource in resources {
            let known = match &self.known[resource as usize] {
                Some(known) => known,
                None => {
                    let values = self.dictionary.values_of(&self.of_resources, resource as usize);
                    self.known[resource as usize].insert(values)
                }
            };
            self.page.push(resource);
            self.page_values += known.levels.len();
            if self.page.len() == self.page_rows_max || self.page_values >= PAGE_VALUES_MAX {
                self.end_page(zstd)?;
            }
        }
        Ok(())
    }

    /// The chunk, and what is said of it.
    pub(crate) fn close(mut self, zstd: &mut Compressor<'_>) -> Result<(Bytes, ColumnCloseResult)> {
        if !self.page.is_empty() {
            self.end_page(zstd)?;
        }
        let mut file = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut file);
        let plain = &self.dictionary.plain;
        let page = Page::DictionaryPage {
            buf: zstd.compress(plain)?.into(),
            num_values: self.dictionary.texts.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let written = writer.write_page(CompressedPage::new(page, plain.len()))?;
        let (dictionary_bytes, mut uncompressed) = (written.bytes_written, written.uncompressed_size);
        let mut offsets = OffsetIndexBuilder::new();
        let mut index = ColumnIndexBuilder::new(Type::BYTE_ARRAY);
        let (mut rows, mut values, mut ends) = (0, 0, None);
        for finished in self.pages {
            let written = writer.write_page(finished.page)?;
            uncompressed += written.uncompressed_size;
            offsets.append_offset_and_size(written.offset as i64, written.compressed_size as i32);
            offsets.append_row_count(finished.rows as i64);
            match finished.ends.filter(|ends| self.dictionary.are_short(*ends)) {
                Some((first, last)) => {
                    index.append(false, self.dictionary.bytes(first), self.dictionary.bytes(last), 0);
                }
                None => index.to_invalid(),
            }
            ends = self.dictionary.ends_of(ends.into_iter().chain(finished.ends).flat_map(|(a, b)| [a, b]));
            rows += finished.rows;
            values += finished.values;
        }
        writer.close()?;
        let chunk = file.into_inner()?;
        let mut metadata = ColumnChunkMetaData::builder(self.descr)
            .set_compression(self.compression)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_num_values(values as i64)
            .set_total_compressed_size(chunk.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(dictionary_bytes as i64);
        if let Some((first, last)) = ends.filter(|ends| self.dictionary.are_short(*ends)) {
            let text = |number: u32| Some(ByteArray::from(self.dictionary.bytes(number)));
            metadata = metadata.set_statistics(Statistics::byte_array(text(first), text(last), None, Some(0), false));
        }
        let has_index = self.statistics == EnabledStatistics::Page && index.valid();
        let close = ColumnCloseResult {
            bytes_written: chunk.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: if has_index { Some(index.build()?) } else { None },
            offset_index: Some(offsets.build()),
        };
        Ok((chunk.into(), close))
    }

    fn end_page(&mut self, zstd: &mut Compressor<'_>) -> Result<()> {
        let rows = || self.page.iter().map(|resource| self.known[*resource as usize].as_ref().expect("it was met"));
        let mut plain = Vec::new();
        if self.descr.max_rep_level() > 0 {
            put_levels(&mut plain, |out| {
                put_repetition(rows().map(|values| values.levels.len()), self.page_values, out);
            });
        }
        if self.descr.max_def_level() > 0 {
            let width = bit_width(self.descr.max_def_level() as u32);
            put_levels(&mut plain, |out| {
                put_numbers(rows().map(|values| values.levels.as_slice()), self.page_values, width, out);
            });
        }
        let width = bit_width((self.dictionary.texts.len() as u32).saturating_sub(1));
        plain.push(width as u8);
        let texts = || rows().map(|values| values.texts.as_slice());
        put_numbers(texts(), texts().map(<[u32]>::len).sum(), width, &mut plain);
        let has_ends = self.statistics != EnabledStatistics::None;
        let ends = if has_ends { self.dictionary.ends_of(self.texts_of_page()) } else { None };
        let compressed = Page::DataPage {
            buf: zstd.compress(&plain)?.into(),
            num_values: self.page_values as u32,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let page = CompressedPage::new(compressed, plain.len());
        self.pages.push(Finished { page, rows: self.page.len(), values: self.page_values, ends });
        self.page.clear();
        self.page_values = 0;
        Ok(())
    }

    /// The numbers of all texts of the page; some may come again.
    fn texts_of_page(&self) -> impl Iterator<Item = u32> {
        let mut is_in = vec![false; self.known.len()];
        self.page.iter().for_each(|resource| is_in[*resource as usize] = true);
        let known = self.known.iter().zip(is_in).filter_map(|(known, is_in)| known.as_ref().filter(|_| is_in));
        known.flat_map(|values| values.texts.iter().copied())
    }
}

impl Dictionary {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.plain.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.plain.extend_from_slice(text.as_bytes());
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    fn values_of(&mut self, of_resources: &OfResources, resource: usize) -> Values {
        let (map, texts) = match of_resources {
            OfResources::Text(texts) => {
                return Values { texts: vec![self.number(texts.value(resource))], levels: vec![0] };
            }
            OfResources::Names(map) => (map, map.keys()),
            OfResources::Values(map) => (map, map.values()),
        };
        let (offsets, texts) = (map.value_offsets(), texts.as_string::<i32>());
        let mut values = Values::default();
        for entry in offsets[resource] as usize..offsets[resource + 1] as usize {
            let text = texts.is_valid(entry).then(|| self.number(texts.value(entry)));
            let may_lack = matches!(of_resources, OfResources::Values(_));
            values.levels.push(1 + u32::from(may_lack && text.is_some()));
            values.texts.extend(text);
        }
        if values.levels.is_empty() {
            values.levels.push(0);
        }
        values
    }

    fn bytes(&self, number: u32) -> Vec<u8> {
        self.texts[number as usize].as_bytes().to_vec()
    }

    fn are_short(&self, (first, last): (u32, u32)) -> bool {
        [first, last].iter().all(|number| self.texts[*number as usize].len() <= STATISTICS_BYTES_MAX)
    }

    /// The smallest and the largest of some texts.
    fn ends_of(&self, numbers: impl Iterator<Item = u32>) -> Option<(u32, u32)> {
        let text = |number: u32| &self.texts[number as usize];
        let ends = |(first, last): (u32, u32), (one, other): (u32, u32)| {
            (if text(one) < text(first) { one } else { first }, if text(other) > text(last) { other } else { last })
        };
        numbers.map(|number| (number, number)).reduce(ends)
    }
}

/// Bits that hold all numbers up to this one.
fn bit_width(max: u32) -> u32 {
    u32::BITS - max.leading_zeros()
}

/// Levels as a page has them, behind their length.
fn put_levels(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let from = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out);
    let length = (out.len() - from - 4) as u32;
    out[from..from + 4].copy_from_slice(&length.to_le_bytes());
}

/// `count` numbers of at most `width` bits in Parquet's hybrid of runs: one run where all are the same, otherwise one that is packed.
/// Runs in between are not looked for: compression finds them.
fn put_numbers<'a>(numbers: impl Iterator<Item = &'a [u32]> + Clone, count: usize, width: u32, out: &mut Vec<u8>) {
    let Some(first) = numbers.clone().find_map(|numbers| numbers.first()) else { return };
    if numbers.clone().all(|numbers| numbers.iter().all(|number| number == first)) {
        put_varint((count as u64) << 1, out);
        out.extend_from_slice(&first.to_le_bytes()[..width.div_ceil(8) as usize]);
        return;
    }
    let mut packed = Packed::begin(count, width, out);
    for numbers in numbers {
        for number in numbers {
            packed.put(*number, width);
        }
    }
    packed.finish();
}

/// A level for each of `count` values of rows with so many each: 0 for the first of a row, 1 for those behind it.
fn put_repetition(values_of_rows: impl Iterator<Item = usize> + Clone, count: usize, out: &mut Vec<u8>) {
    if values_of_rows.clone().all(|values| values == 1) {
        put_varint((count as u64) << 1, out);
        out.push(0);
        return;
    }
    let mut packed = Packed::begin(count, 1, out);
    for values in values_of_rows {
        let (mut level, mut left) = (u32::MAX - 1, values as u32);
        while left > 32 {
            packed.put(level, 32);
            (level, left) = (u32::MAX, left - 32);
        }
        packed.put(level & (u32::MAX >> (32 - left)), left);
    }
    packed.finish();
}

/// A run of numbers that are packed bit by bit.
struct Packed<'a> {
    bits: u64,
    /// Bits that are not written yet: fewer than 32.
    count: u32,
    /// Where the run ends: it has a multiple of eight numbers.
    end: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Packed<'a> {
    fn begin(numbers: usize, width: u32, out: &'a mut Vec<u8>) -> Self {
        let groups = numbers.div_ceil(8);
        put_varint((groups as u64) << 1 | 1, out);
        let end = out.len() + groups * width as usize;
        out.reserve(end - out.len() + 8);
        Self { bits: 0, count: 0, end, out }
    }

    #[inline]
    fn put(&mut self, number: u32, width: u32) {
        self.bits |= u64::from(number) << self.count;
        self.count += width;
        if self.count >= 32 {
            self.out.extend_from_slice(&(self.bits as u32).to_le_bytes());
            self.bits >>= 32;
            self.count -= 32;
        }
    }

    /// Fills the last group up.
    fn finish(self) {
        self.out.extend_from_slice(&self.bits.to_le_bytes());
        self.out.resize(self.end, 0);
    }
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
