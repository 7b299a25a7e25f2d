//! How many lines a segment of logs has, by minute, service, version and level: questions that count lines are answered from these
//! numbers and not from the rows. Pure; the bytes are described in `FORMAT.md`.
//!
//! Rows come in the order of the segment, so those of one kind come minute after minute. Where there are about as many kinds and
//! minutes as rows, or wildly many, nothing is kept: the rows are then as good.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimestampNanosecondType, UInt32Type};
use shipwake_model::window::NS_PER_S;

use crate::tables::time_type;

/// The length of what is counted together.
pub(crate) const MINUTE_NS: i64 = 60 * NS_PER_S;
/// Counts of a segment at the most: some 200 kB.
const CELLS_MAX: usize = 64 * 1024;
/// Rows for each count, on average, at least.
const ROWS_PER_CELL_MIN: usize = 4;
/// Kinds that are compared with a row before they are looked up.
const RECENT: usize = 4;
const VERSION: u64 = 1;

const TEXTS: [&str; 4] = ["service", "namespace", "environment", "version"];

/// Counts the rows of a segment.
#[derive(Debug, Default)]
pub(crate) struct CountsBuilder {
    texts: HashMap<Box<str>, u32>,
    kinds: Vec<Kind>,
    by_key: HashMap<Key, usize>,
    recent: [usize; RECENT],
    rows: usize,
    cells: usize,
}

/// What is counted together, texts by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    texts: [u32; TEXTS.len()],
    severity_number: i32,
    severity_text: Option<u32>,
}

#[derive(Debug)]
struct Kind {
    key: Key,
    /// Minutes since the epoch, and lines of each.
    minutes: Vec<(i64, u64)>,
}

/// A column of texts: of rows, or of the resources that rows are of by their numbers.
#[derive(Clone, Copy)]
enum Texts<'a> {
    OfRows(&'a StringArray),
    OfResources(&'a [u32], &'a StringArray),
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.as_dictionary_opt::<UInt32Type>() {
            Some(dictionary) => Self::OfResources(dictionary.keys().values(), dictionary.values().as_string()),
            None => Self::OfRows(column.as_string()),
        }
    }

    fn value(self, row: usize) -> &'a str {
        match self {
            Self::OfRows(texts) => texts.value(row),
            Self::OfResources(numbers, texts) => texts.value(numbers[row] as usize),
        }
    }
}

/// The columns of a batch that matter.
struct Columns<'a> {
    texts: [Texts<'a>; TEXTS.len()],
    severity_numbers: &'a Int32Array,
    severity_texts: &'a StringArray,
    times: &'a [i64],
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        let column = |name: &str| batch.column_by_name(name).expect("log rows have the column");
        Self {
            texts: TEXTS.map(|name| Texts::of(column(name))),
            severity_numbers: column("severity_number").as_primitive(),
            severity_texts: column("severity_text").as_string(),
            times: column("time").as_primitive::<TimestampNanosecondType>().values(),
        }
    }

    fn severity_text(&self, row: usize) -> Option<&'a str> {
        self.severity_texts.is_valid(row).then(|| self.severity_texts.value(row))
    }

    fn are_equal(&self, one: usize, other: usize) -> bool {
        self.severity_numbers.value(one) == self.severity_numbers.value(other)
            && self.severity_text(one) == self.severity_text(other)
            && self.texts.iter().all(|texts| texts.value(one) == texts.value(other))
    }
}

impl CountsBuilder {
    /// Counts rows.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        if self.cells > CELLS_MAX {
            return;
        }
        let columns = Columns::of(batch);
        // A row of each of the recent kinds, by which it is recognised.
        let mut rows: [Option<usize>; RECENT] = [None; RECENT];
        let mut next = 0;
        for (row, time_ns) in columns.times.iter().enumerate() {
            let known = (0..RECENT).find(|at| rows[*at].is_some_and(|other| columns.are_equal(row, other)));
            let kind = match known {
                Some(at) => self.recent[at],
                None => {
                    let kind = self.kind_of(&columns, row);
                    (rows[next], self.recent[next]) = (Some(row), kind);
                    next = (next + 1) % RECENT;
                    kind
                }
            };
            let minutes = &mut self.kinds[kind].minutes;
            let minute = time_ns.div_euclid(MINUTE_NS);
            match minutes.last_mut() {
                Some((last, lines)) if *last == minute => *lines += 1,
                _ => {
                    minutes.push((minute, 1));
                    self.cells += 1;
                }
            }
        }
    }

    /// Adds counts that were stored, of a segment with so many rows; without any (`None`) there will be none of all together.
    pub(crate) fn append(&mut self, counts: Option<&RecordBatch>, rows: usize) {
        self.rows += rows;
        let Some(counts) = counts else {
            self.cells = CELLS_MAX + 1;
            return;
        };
        let text = |name: &str| counts[name].as_dictionary::<Int32Type>();
        let columns = TEXTS.map(text);
        let numbers = counts["severity_number"].as_primitive::<Int32Type>();
        let severity_texts = text("severity_text");
        let times = counts["time"].as_primitive::<TimestampNanosecondType>();
        let lines = counts["lines"].as_primitive::<Int64Type>();
        // The texts of one file are the same for all columns: each is looked up once.
        let own: Vec<u32> =
            columns[0].values().as_string::<i32>().iter().map(|text| self.text(text.unwrap_or_default())).collect();
        for row in 0..counts.num_rows() {
            let key = Key {
                texts: columns.map(|column| column.key(row).map_or(0, |at| own[at])),
                severity_number: numbers.value(row),
                severity_text: severity_texts.key(row).map(|at| own[at]),
            };
            let kind = self.kind(key);
            self.kinds[kind].minutes.push((times.value(row).div_euclid(MINUTE_NS), lines.value(row) as u64));
            self.cells += 1;
        }
    }

    fn kind_of(&mut self, columns: &Columns<'_>, row: usize) -> usize {
        let key = Key {
            texts: columns.texts.map(|texts| self.text(texts.value(row))),
            severity_number: columns.severity_numbers.value(row),
            severity_text: columns.severity_text(row).map(|text| self.text(text)),
        };
        self.kind(key)
    }

    fn kind(&mut self, key: Key) -> usize {
        *self.by_key.entry(key).or_insert_with(|| {
            self.kinds.push(Kind { key, minutes: Vec::new() });
            self.kinds.len() - 1
        })
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.insert(text.into(), number);
        number
    }

    /// The counts as they are stored; nothing where they are not worth it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.cells <= CELLS_MAX {
            self.kinds.iter_mut().for_each(Kind::sum_up);
            self.cells = self.kinds.iter().map(|kind| kind.minutes.len()).sum();
        }
        if self.cells > CELLS_MAX || self.cells * ROWS_PER_CELL_MIN > self.rows {
            return Vec::new();
        }
        let mut bytes = Vec::new();
        put(&mut bytes, VERSION);
        let mut texts: Vec<(Box<str>, u32)> = self.texts.into_iter().collect();
        texts.sort_unstable_by_key(|(_, number)| *number);
        put(&mut bytes, texts.len() as u64);
        for (text, _) in texts {
            put(&mut bytes, text.len() as u64);
            bytes.extend_from_slice(text.as_bytes());
        }
        put(&mut bytes, self.kinds.len() as u64);
        for Kind { key, minutes } in self.kinds {
            key.texts.iter().for_each(|text| put(&mut bytes, (*text).into()));
            put(&mut bytes, zigzag(key.severity_number.into()));
            put(&mut bytes, key.severity_text.map_or(0, |text| u64::from(text) + 1));
            put(&mut bytes, minutes.len() as u64);
            let mut before = 0;
            for (minute, lines) in minutes {
                put(&mut bytes, zigzag(minute - before));
                put(&mut bytes, lines);
                before = minute;
            }
        }
        bytes
    }
}

impl Kind {
    /// Each minute once: what is put together of several segments has a minute of each of them.
    fn sum_up(&mut self) {
        self.minutes.sort_unstable();
        self.minutes.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0 };
            is_same
        });
    }
}

/// The columns of counts: those of the table by which lines are counted, the beginning of the minute as `time`, and `lines`.
pub(crate) fn schema() -> SchemaRef {
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut fields: Vec<Field> = TEXTS.iter().map(|name| Field::new(*name, text(), false)).collect();
    fields.extend([
        Field::new("severity_number", DataType::Int32, false),
        Field::new("severity_text", text(), true),
        Field::new("time", time_type(), false),
        Field::new("lines", DataType::Int64, false),
    ]);
    Arc::new(Schema::new(fields))
}

/// The counts that were stored, a row each. `None`: these are not counts, or of a version that is not known.
pub(crate) fn read(bytes: &[u8]) -> Option<RecordBatch> {
    let mut bytes = bytes;
    if take(&mut bytes)? != VERSION {
        return None;
    }
    let mut texts = Vec::new();
    for _ in 0..take(&mut bytes)? {
        let length = usize::try_from(take(&mut bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(length)?;
        texts.push(std::str::from_utf8(text).ok()?);
        bytes = rest;
    }
    let text_number = |number: u64| usize::try_from(number).ok().filter(|at| *at < texts.len()).map(|at| at as i32);
    let mut of_texts: [Vec<i32>; TEXTS.len()] = Default::default();
    let (mut severity_numbers, mut severity_texts) = (Vec::new(), Vec::new());
    let (mut times, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..take(&mut bytes)? {
        let mut key = [0; TEXTS.len()];
        for text in &mut key {
            *text = text_number(take(&mut bytes)?)?;
        }
        let severity_number = i32::try_from(unzigzag(take(&mut bytes)?)).ok()?;
        let severity_text = match take(&mut bytes)? {
            0 => None,
            number => Some(text_number(number - 1)?),
        };
        let mut minute: i64 = 0;
        for _ in 0..take(&mut bytes)? {
            minute = minute.checked_add(unzigzag(take(&mut bytes)?))?;
            times.push(minute.saturating_mul(MINUTE_NS));
            lines.push(i64::try_from(take(&mut bytes)?).ok()?);
            of_texts.iter_mut().zip(key).for_each(|(column, text)| column.push(text));
            severity_numbers.push(severity_number);
            severity_texts.push(severity_text);
        }
    }
    let values: ArrayRef = Arc::new(StringArray::from(texts));
    let dictionary = |keys: Int32Array| -> Option<ArrayRef> {
        Some(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values.clone()).ok()?))
    };
    let mut columns = Vec::new();
    for keys in of_texts {
        columns.push(dictionary(keys.into())?);
    }
    columns.push(Arc::new(Int32Array::from(severity_numbers)) as ArrayRef);
    columns.push(dictionary(severity_texts.into())?);
    columns.push(Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC")));
    columns.push(Arc::new(Int64Array::from(lines)));
    RecordBatch::try_new(schema(), columns).ok().filter(|_| bytes.is_empty())
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Seven bits a byte, the lowest first; the highest bit says that more come.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Service, version, level and its text, minute.
    type Line = (u8, u8, i32, Option<u8>, i64);

    fn batch(lines: &[Line]) -> RecordBatch {
        let text = |of: &dyn Fn(&Line) -> Option<String>| -> ArrayRef {
            Arc::new(lines.iter().map(of).collect::<StringArray>())
        };
        let times = lines.iter().map(|line| line.4 * MINUTE_NS + 7);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("service", text(&|line| Some(format!("service {}", line.0)))),
            ("namespace", text(&|_| Some(String::new()))),
            ("environment", text(&|line| Some(format!("environment {}", line.0 % 2)))),
            ("version", text(&|line| Some(line.1.to_string()))),
            ("severity_number", Arc::new(lines.iter().map(|line| Some(line.2)).collect::<Int32Array>())),
            ("severity_text", text(&|line| line.3.map(|text| format!("level {text}")))),
            ("time", Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ];
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    fn summed(lines: impl Iterator<Item = (Line, i64)>) -> BTreeMap<Line, i64> {
        let mut summed = BTreeMap::new();
        lines.for_each(|(line, count)| *summed.entry(line).or_default() += count);
        summed
    }

    fn counted(counts: &RecordBatch) -> BTreeMap<Line, i64> {
        let text = |name: &str, row: usize| {
            let column = counts.column_by_name(name).expect("a column").as_dictionary::<Int32Type>();
            let texts = column.values().as_string::<i32>();
            column.key(row).map(|key| texts.value(key).rsplit(' ').next().expect("a part").parse().expect("a number"))
        };
        let numbers = counts["severity_number"].as_primitive::<Int32Type>();
        let times = counts["time"].as_primitive::<TimestampNanosecondType>();
        let lines = counts["lines"].as_primitive::<Int64Type>();
        summed((0..counts.num_rows()).map(|row| {
            let (service, version) = (text("service", row).expect("is set"), text("version", row).expect("is set"));
            let line = (service, version, numbers.value(row), text("severity_text", row), times.value(row) / MINUTE_NS);
            (line, lines.value(row))
        }))
    }

    proptest! {
        /// However the lines come, in however many batches: all are counted, each once.
        #[test]
        fn every_line_is_counted_once(
            lines in prop::collection::vec((0u8..6, 0u8..3, -1i32..3, prop::option::of(0u8..2), -2i64..3), 1..200),
            cut in any::<prop::sample::Index>(),
        ) {
            // Often enough that counting them is worth it.
            let lines: Vec<Line> = lines.iter().flat_map(|line| [*line; ROWS_PER_CELL_MIN]).collect();
            let (first, second) = lines.split_at(cut.index(lines.len()));
            let mut builder = CountsBuilder::default();
            builder.add(&batch(first));
            builder.add(&batch(second));
            let bytes = builder.finish();
            let counts = read(&bytes).expect("they were just written");
            prop_assert_eq!(counted(&counts), summed(lines.iter().map(|line| (*line, 1))));
            for end in 0..bytes.len() {
                prop_assert!(read(&bytes[..end]).is_none());
            }
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn numbers_come_back(number in any::<i64>()) {
            let mut bytes = Vec::new();
            put(&mut bytes, zigzag(number));
            prop_assert_eq!(take(&mut &bytes[..]).map(unzigzag), Some(number));
        }
    }

    #[test]
    fn counts_of_several_segments_are_added_up_and_one_without_leaves_none() {
        let of = |lines: &[Line]| {
            let mut builder = CountsBuilder::default();
            builder.add(&batch(lines));
            read(&builder.finish()).expect("worth it")
        };
        let one = [(1, 0, 9, None, 5); 40];
        let two: Vec<Line> =
            [[(0, 1, 17, Some(1), 5); 20], [(1, 0, 9, None, 5); 20], [(1, 0, 9, None, 6); 20]].concat();
        let mut builder = CountsBuilder::default();
        builder.append(Some(&of(&one)), 40);
        builder.append(Some(&of(&two)), 60);
        let counts = read(&builder.finish()).expect("they were just written");
        assert_eq!(counted(&counts), summed(one.iter().chain(&two).map(|line| (*line, 1))));
        assert_eq!(counts.num_rows(), 3, "a minute of a kind once");
        let mut builder = CountsBuilder::default();
        builder.append(Some(&of(&one)), 40);
        builder.append(None, 60);
        assert_eq!(builder.finish(), Vec::<u8>::new());
    }

    #[test]
    fn counts_that_are_as_many_as_the_rows_are_not_kept() {
        let mut builder = CountsBuilder::default();
        builder.add(&batch(&[(0, 0, 9, None, 0), (1, 0, 9, None, 0), (1, 0, 9, None, 1)]));
        assert_eq!(builder.finish(), Vec::<u8>::new());
        let mut builder = CountsBuilder::default();
        let lines: Vec<Line> = (0..=CELLS_MAX as i64).map(|minute| (0, 0, 9, None, minute)).collect();
        (0..ROWS_PER_CELL_MIN).for_each(|_| builder.add(&batch(&lines)));
        assert_eq!(builder.finish(), Vec::<u8>::new());
    }
}
