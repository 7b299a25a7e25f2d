//! Blooms of a segment: for each row group a filter that says whether a key can be in it. Pure; the bytes are described in `FORMAT.md`.
//!
//! The filters are split-block: a key sets eight bits within one block of 32 bytes, so a question reads one block. Blocks are
//! kept in pages with a checksum each, so that a question is answered from a few kilobytes of a large file, and never from
//! damaged ones: a bit that was lost would hide a row.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::encode::ROW_GROUP_ROWS;

/// Bits for each different key of a row group. At ten bits about one question in a hundred is answered with a false yes.
const BITS_PER_KEY: u64 = 10;
const BLOCK_BYTES: usize = 32;
const BLOCKS_PER_PAGE: u32 = 127;
const PAGE_BYTES: usize = BLOCKS_PER_PAGE as usize * BLOCK_BYTES + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 4;
const MAGIC: &[u8; 4] = b"SWBF";
/// 2: words as they are cut since letters of scripts without spaces are a word each. 3: the header says how many rows a row group has.
const VERSION: u32 = 3;
/// The oldest whose words are cut as they are now.
const VERSION_MIN: u32 = 2;
const HEADER_BYTES: usize = 12;
const GROUP_BYTES: usize = 12;
/// Of version 2, where all row groups but the last have [`ROW_GROUP_ROWS`].
const GROUP_BYTES_2: usize = 8;
/// Read of a file at first: the header of some eighty row groups.
pub(crate) const AHEAD_BYTES: u64 = 1 << 10;

/// Keys that were seen lately and need not be noted again: a power of two.
const RECENT_KEYS: usize = 1 << 14;

/// Short words that were seen lately need not even be hashed again: a power of two.
const RECENT_WORDS: usize = 1 << RECENT_WORDS_BITS;
const RECENT_WORDS_BITS: u32 = 13;

/// Keys are put apart by their upper bits into parts of about so many, which stay in the nearest cache.
const PART_KEYS: usize = 512;
/// A part with more, which chance does not make, is sorted.
const PART_KEYS_MAX: usize = 8 * PART_KEYS;

/// What multiplies a key for each of the eight words of a block: any odd numbers do.
const MULTIPLIERS: [u32; 8] =
    [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1, 0xd3a2_646d, 0xfd70_46c5, 0xb55a_4f09];

/// A word of the body.
pub(crate) fn word_key(word: impl AsRef<[u8]>) -> u64 {
    xxh3_64_with_seed(word.as_ref(), 0)
}

/// A trace id, as it is stored.
pub(crate) fn trace_key(trace_id: &str) -> u64 {
    xxh3_64_with_seed(trace_id.as_bytes(), 1)
}

/// An attribute with its value.
pub(crate) fn attribute_key(name: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64_with_seed(name.as_bytes(), 2))
}

/// Makes the blooms of a segment, row group by row group.
#[derive(Debug)]
pub(crate) struct BloomsBuilder {
    groups: Vec<Group>,
    pages: Vec<u8>,
    keys: Vec<u64>,
    recent: Box<[u64]>,
    /// Words of up to seven bytes, as [`packed`] has them.
    recent_words: Box<[u64]>,
}

/// The filter of a row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    blocks: u32,
    /// Different keys in it; for people.
    keys: u32,
    /// Rows of the row group.
    pub(crate) rows: u32,
    /// Where its pages begin in the file.
    start: u64,
}

impl BloomsBuilder {
    pub(crate) fn new() -> Self {
        Self {
            groups: Vec::new(),
            pages: Vec::new(),
            keys: Vec::new(),
            recent: vec![0; RECENT_KEYS].into(),
            recent_words: vec![0; RECENT_WORDS].into(),
        }
    }

    /// Notes a word of the current row group.
    #[inline]
    pub(crate) fn add_word(&mut self, word: &[u8]) {
        if let Some(packed) = packed(word) {
            let mixed = packed.wrapping_mul(u64::from(MULTIPLIERS[0]) << 32 | u64::from(MULTIPLIERS[1]));
            let place = &mut self.recent_words[(mixed >> (64 - RECENT_WORDS_BITS)) as usize];
            if *place == packed {
                return;
            }
            *place = packed;
        }
        self.add(word_key(word));
    }

    /// Notes a key of the current row group.
    pub(crate) fn add(&mut self, key: u64) {
        let place = &mut self.recent[key as usize & (RECENT_KEYS - 1)];
        if *place != key {
            *place = key;
            self.keys.push(key);
        }
    }

    /// Ends the current row group, which has so many rows.
    pub(crate) fn end_group(&mut self, rows: u32) {
        let keys = &mut self.keys;
        leave_each_once(keys);
        let blocks = (keys.len() as u64 * BITS_PER_KEY).div_ceil(8 * BLOCK_BYTES as u64).max(1) as u32;
        let mut filter = vec![[0_u32; 8]; blocks as usize];
        for key in keys.iter() {
            set(&mut filter[block_of(*key, blocks) as usize], *key);
        }
        for page in filter.chunks(BLOCKS_PER_PAGE as usize) {
            let from = self.pages.len();
            for word in page.iter().flatten() {
                self.pages.extend_from_slice(&word.to_le_bytes());
            }
            let checksum = crc32c::crc32c(&self.pages[from..]);
            self.pages.extend_from_slice(&checksum.to_le_bytes());
        }
        self.groups.push(Group { blocks, keys: keys.len() as u32, rows, start: 0 });
        keys.clear();
        self.recent.fill(0);
        self.recent_words.fill(0);
    }

    /// Adds the row groups of another file, whose segment has so many rows, as they are. The error says what is wrong with it, and where.
    pub(crate) fn append(&mut self, file: &[u8], rows: u64) -> Result<(), (u64, String)> {
        let header = header_bytes(file)?.min(file.len() as u64) as usize;
        let groups = read_header(&file[..header], file.len() as u64, rows)?;
        for page in groups.iter().flat_map(Group::pages) {
            if checked(&file[page.start as usize..page.end as usize]).is_none() {
                return Err((page.start, "the checksum is wrong".to_owned()));
            }
        }
        self.groups.extend(groups);
        self.pages.extend_from_slice(&file[header..]);
        Ok(())
    }

    /// The file.
    pub(crate) fn finish(self) -> Vec<u8> {
        let header = HEADER_BYTES + self.groups.len() * GROUP_BYTES + CHECKSUM_BYTES;
        let mut file = Vec::with_capacity(header + self.pages.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&(self.groups.len() as u32).to_le_bytes());
        for group in &self.groups {
            file.extend_from_slice(&group.blocks.to_le_bytes());
            file.extend_from_slice(&group.keys.to_le_bytes());
            file.extend_from_slice(&group.rows.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
        file.extend_from_slice(&self.pages);
        file
    }
}

/// Whether the part before the first page is of an older version, whose words were cut by other rules.
pub(crate) fn is_older(header: &[u8]) -> bool {
    header.starts_with(MAGIC) && number(header, 4).is_some_and(|version| (1..VERSION_MIN).contains(&version))
}

/// Bytes of the part before the first page, by the beginning of the file. The error says what is wrong and at which offset.
pub(crate) fn header_bytes(beginning: &[u8]) -> Result<u64, (u64, String)> {
    if beginning.get(..4) != Some(MAGIC.as_slice()) {
        return Err((0, "it does not begin like a file of blooms".to_owned()));
    }
    let of_group = match number(beginning, 4).unwrap_or(0) {
        VERSION => GROUP_BYTES,
        2 => GROUP_BYTES_2,
        version => return Err((4, format!("it has version {version}, this version of shipwake reads {VERSION}"))),
    };
    let Some(groups) = number(beginning, 8) else { return Err((8, "its header is cut".to_owned())) };
    Ok((HEADER_BYTES + groups as usize * of_group + CHECKSUM_BYTES) as u64)
}

/// Reads the part before the first page, which is [`header_bytes`] long. `file_bytes` is the size of the whole file, `rows` those of its
/// segment. The error says what is wrong and at which offset.
pub(crate) fn read_header(header: &[u8], file_bytes: u64, rows: u64) -> Result<Vec<Group>, (u64, String)> {
    let end = header_bytes(header)? as usize - CHECKSUM_BYTES;
    let Some(checksum) = number(header, end) else { return Err((8, "its header is cut".to_owned())) };
    if crc32c::crc32c(&header[..end]) != checksum {
        return Err((0, "the checksum of its header is wrong".to_owned()));
    }
    let says_rows = number(header, 4) == Some(VERSION);
    let mut start = (end + CHECKSUM_BYTES) as u64;
    let (mut groups, mut left) = (Vec::new(), rows);
    for at in (HEADER_BYTES..end).step_by(if says_rows { GROUP_BYTES } else { GROUP_BYTES_2 }) {
        let number = |at: usize| number(header, at).unwrap_or(0);
        let rows = if says_rows { number(at + 8) } else { left.min(ROW_GROUP_ROWS as u64) as u32 };
        let group = Group { blocks: number(at), keys: number(at + 4), rows, start };
        left = left.checked_sub(rows.into()).unwrap_or(u64::MAX);
        start = group.end();
        groups.push(group);
    }
    if left != 0 {
        return Err((8, format!("its row groups are not those of a segment of {rows} rows")));
    }
    if start != file_bytes {
        return Err((file_bytes.min(start), format!("it has {file_bytes} bytes instead of {start}")));
    }
    Ok(groups)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|four| u32::from_le_bytes(four.try_into().expect("four bytes")))
}

impl Group {
    /// The page that has the key's block.
    pub(crate) fn page_of(&self, key: u64) -> Range<u64> {
        let page = u64::from(block_of(key, self.blocks) / BLOCKS_PER_PAGE);
        let from = self.start + page * PAGE_BYTES as u64;
        from..(from + PAGE_BYTES as u64).min(self.end())
    }

    /// Whether the key can be in the row group, by the page of [`Group::page_of`]; `None` when the page is damaged.
    pub(crate) fn may_have(&self, key: u64, page: &[u8]) -> Option<bool> {
        let blocks = checked(page)?;
        let at = (block_of(key, self.blocks) % BLOCKS_PER_PAGE) as usize * BLOCK_BYTES;
        let block = blocks.get(at..at + BLOCK_BYTES)?;
        let words = block.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().expect("four bytes")));
        Some(words.zip(bits(key)).all(|(word, bit)| word & bit != 0))
    }

    /// All its pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let end = self.end();
        (self.start..end).step_by(PAGE_BYTES).map(move |from| from..(from + PAGE_BYTES as u64).min(end))
    }

    fn end(&self) -> u64 {
        let pages = u64::from(self.blocks.div_ceil(BLOCKS_PER_PAGE));
        self.start + u64::from(self.blocks) * BLOCK_BYTES as u64 + pages * CHECKSUM_BYTES as u64
    }
}

/// The blocks of a page, if its checksum is right.
pub(crate) fn checked(page: &[u8]) -> Option<&[u8]> {
    let (blocks, checksum) = page.split_at_checked(page.len().checked_sub(CHECKSUM_BYTES)?)?;
    (crc32c::crc32c(blocks).to_le_bytes() == checksum).then_some(blocks)
}

/// A word of one to seven bytes with its length, in a number that no other word has; never 0.
#[inline]
fn packed(word: &[u8]) -> Option<u64> {
    let last = word.len().checked_sub(1)?;
    let bytes = match word {
        // The middle and the end may be one byte.
        [first, ..] if word.len() < 4 => {
            u64::from(*first)
                | u64::from(word[word.len() / 2]) << (8 * (word.len() / 2))
                | u64::from(word[last]) << (8 * last)
        }
        _ if word.len() < 8 => {
            let four =
                |from: usize| u64::from(u32::from_le_bytes(word[from..from + 4].try_into().expect("four bytes")));
            // What both have is the same in both.
            four(0) | four(last - 3) << (8 * (last - 3))
        }
        _ => return None,
    };
    Some(bytes | (word.len() as u64) << 56)
}

/// Leaves each key once, in no order of meaning but near those with the same upper bits, which choose the block: sorting all takes
/// several times longer.
fn leave_each_once(keys: &mut Vec<u64>) {
    let parts_bits = (keys.len() / PART_KEYS).max(1).ilog2().min(16);
    // Two shifts: by 64 is none.
    let part_of = |key: u64| (key >> 1 >> (63 - parts_bits)) as usize;
    let mut ends = vec![0_usize; 1 << parts_bits];
    keys.iter().for_each(|key| ends[part_of(*key)] += 1);
    let mut begin = 0;
    for end in &mut ends {
        begin += std::mem::replace(end, begin);
    }
    let mut parts = vec![0; keys.len()];
    for key in keys.iter() {
        let end = &mut ends[part_of(*key)];
        parts[*end] = *key;
        *end += 1;
    }
    keys.clear();
    let (mut table, mut begin) = (Vec::new(), 0);
    for end in ends {
        put_each_once(&mut parts[begin..end], &mut table, keys);
        begin = end;
    }
}

/// Appends each key of a part once.
fn put_each_once(part: &mut [u64], table: &mut Vec<u64>, keys: &mut Vec<u64>) {
    if part.len() > PART_KEYS_MAX {
        part.sort_unstable();
        let mut last = None;
        keys.extend(part.iter().filter(|key| last.replace(**key) != Some(**key)));
        return;
    }
    let mask = (2 * part.len()).next_power_of_two() - 1;
    table.clear();
    table.resize(mask + 1, 0);
    let mut has_zero = false;
    for &key in part.iter() {
        if key == 0 {
            // What an empty place of the table is.
            if !std::mem::replace(&mut has_zero, true) {
                keys.push(key);
            }
            continue;
        }
        let mut at = key as usize & mask;
        while table[at] != 0 && table[at] != key {
            at = (at + 1) & mask;
        }
        if table[at] == 0 {
            table[at] = key;
            keys.push(key);
        }
    }
}

fn block_of(key: u64, blocks: u32) -> u32 {
    (((key >> 32) * u64::from(blocks)) >> 32) as u32
}

/// Sets the bits of a key in its block.
#[inline]
fn set(block: &mut [u32; 8], key: u64) {
    for (word, multiplier) in block.iter_mut().zip(&MULTIPLIERS) {
        *word |= 1 << ((key as u32).wrapping_mul(*multiplier) >> 27);
    }
}

/// For each word of the block the bit that a key sets.
fn bits(key: u64) -> [u32; 8] {
    MULTIPLIERS.map(|multiplier| 1 << ((key as u32).wrapping_mul(multiplier) >> 27))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn blooms(groups: &[Range<u64>]) -> Vec<u8> {
        let mut builder = BloomsBuilder::new();
        for group in groups {
            group.clone().for_each(|n| builder.add(word_key(n.to_string())));
            group.clone().for_each(|n| builder.add(word_key(n.to_string())));
            builder.end_group(2 * (group.end - group.start) as u32);
        }
        builder.finish()
    }

    /// The row groups of a file; each row has a key of its own and one that another row has, too.
    fn groups(file: &[u8]) -> Result<Vec<Group>, (u64, String)> {
        let rows: u64 = (0..number(file, 8).unwrap_or(0) as usize)
            .filter_map(|group| number(file, HEADER_BYTES + group * GROUP_BYTES + 8))
            .map(u64::from)
            .sum();
        read_header(&file[..(header_bytes(file)? as usize).min(file.len())], file.len() as u64, rows)
    }

    fn may_have(file: &[u8], group: usize, word: &str) -> Option<bool> {
        let groups = groups(file).ok()?;
        let (group, key) = (groups[group], word_key(word));
        let page = group.page_of(key);
        group.may_have(key, &file[page.start as usize..page.end as usize])
    }

    #[test]
    fn a_key_is_found_where_it_is_and_rarely_elsewhere() {
        let file = blooms(&[0..100_000, 100_000..100_001, 200_000..205_000]);
        assert_eq!(groups(&file).expect("reads").iter().map(|group| group.keys).sum::<u32>(), 105_001);
        let mut wrong = [0; 3];
        for n in 0_u64..205_000 {
            let word = n.to_string();
            for (group, range) in [0..100_000, 100_000..100_001, 200_000..205_000].iter().enumerate() {
                let found = may_have(&file, group, &word).expect("is whole");
                assert!(found || !range.contains(&n), "{n} is in group {group}");
                wrong[group] += u32::from(found && !range.contains(&n));
            }
        }
        // Of some hundred thousand questions each: about one in a hundred.
        assert!(wrong[0] < 105_000 / 60 && wrong[1] < 500 && wrong[2] < 200_000 / 60, "{wrong:?}");
        let bits = file.len() as f64 * 8.0 / 105_001.0;
        assert!(bits < 10.2, "{bits} bits a key");
    }

    #[test]
    fn kinds_of_keys_are_apart_and_so_are_names_and_values() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_ne!(word_key(id), trace_key(id));
        assert_ne!(attribute_key("a", "bc"), attribute_key("ab", "c"));
        assert_ne!(attribute_key("", id), word_key(id));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found_by_whoever_reads_it() {
        let file = blooms(&[0..50, 50..60, 0..0]);
        let is_whole = |file: &[u8]| match groups(file) {
            Err(_) => false,
            Ok(groups) => {
                let mut pages = groups.iter().flat_map(Group::pages);
                pages.all(|page| checked(&file[page.start as usize..page.end as usize]).is_some())
            }
        };
        assert!(is_whole(&file));
        for bit in 0..file.len() * 8 {
            let mut broken = file.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole(&broken), "bit {bit}");
        }
        for end in 0..file.len() {
            assert!(!is_whole(&file[..end]), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn each_key_is_left_once(
            keys in prop::collection::vec(prop_oneof![Just(0_u64), any::<u64>(), 0..20_u64, (0..9_u64).prop_map(|n| n << 60)], 0..3000),
            repeated in 1_usize..8,
        ) {
            let mut found = keys.repeat(repeated);
            leave_each_once(&mut found);
            let expected: BTreeSet<u64> = keys.into_iter().collect();
            prop_assert_eq!(found.len(), expected.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<u64>>(), expected);
        }

        #[test]
        fn short_words_are_told_apart(one in "[ab\\x00]{1,8}", other in "[ab\\x00]{1,8}") {
            prop_assert_eq!(packed(one.as_bytes()) == packed(other.as_bytes()), one == other || one.len() == 8 && other.len() == 8);
            prop_assert!(packed(one.as_bytes()) != Some(0));
        }

        /// Whatever was seen lately: a word is in its own row group.
        #[test]
        fn words_are_keys_of_every_row_group_that_has_them(groups in prop::collection::vec(prop::collection::vec("[ab]{1,9}", 0..60), 1..4)) {
            let (mut by_word, mut by_key) = (BloomsBuilder::new(), BloomsBuilder::new());
            for words in &groups {
                words.iter().for_each(|word| by_word.add_word(word.as_bytes()));
                words.iter().for_each(|word| by_key.add(word_key(word)));
                by_word.end_group(7);
                by_key.end_group(7);
            }
            prop_assert_eq!(by_word.finish(), by_key.finish());
        }
    }

    #[test]
    fn keys_that_somebody_chose_to_be_near_each_other_are_left_once_too() {
        let mut keys: Vec<u64> = (0..2 * PART_KEYS_MAX as u64).map(|n| n / 2 * 4096).collect();
        let expected: BTreeSet<u64> = keys.iter().copied().collect();
        leave_each_once(&mut keys);
        assert_eq!(keys, expected.into_iter().collect::<Vec<u64>>());
    }

    #[test]
    fn files_that_are_put_together_answer_as_before_and_damage_is_not_taken_over() {
        let (one, two) = (blooms(&[0..600, 600..700]), blooms(&[500..900, 900..907]));
        let joined = |files: &[(&[u8], u64)]| {
            let mut builder = BloomsBuilder::new();
            files.iter().try_for_each(|(file, rows)| builder.append(file, *rows)).map(|()| builder.finish())
        };
        let file = joined(&[(&one, 1400), (&two, 814)]).expect("both are whole");
        assert_eq!(file, blooms(&[0..600, 600..700, 500..900, 900..907]));
        assert_eq!(
            groups(&file).expect("reads").iter().map(|group| group.rows).collect::<Vec<_>>(),
            [1200, 200, 800, 14]
        );
        assert!(joined(&[(&one, 1401)]).is_err() && joined(&[(&two, 1)]).is_err());
        for at in 0..two.len() {
            let mut broken = two.clone();
            broken[at] ^= 4;
            assert!(joined(&[(&one, 1400), (&broken, 814)]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn row_groups_of_version_2_have_the_rows_that_they_had_then() {
        let mut file = [MAGIC.as_slice(), &2_u32.to_le_bytes(), &2_u32.to_le_bytes()].concat();
        [1_u32, 0, 1, 0].iter().for_each(|number| file.extend(number.to_le_bytes()));
        file.extend(crc32c::crc32c(&file).to_le_bytes());
        let header = file.len() as u64;
        assert_eq!(header_bytes(&file), Ok(header));
        let bytes = header + 2 * (BLOCK_BYTES + CHECKSUM_BYTES) as u64;
        let rows = |rows: u64| {
            read_header(&file, bytes, rows).map(|groups| groups.iter().map(|group| group.rows).collect::<Vec<_>>())
        };
        assert_eq!(rows(ROW_GROUP_ROWS as u64 + 5), Ok(vec![ROW_GROUP_ROWS as u32, 5]));
        assert!(rows(2 * ROW_GROUP_ROWS as u64 + 1).is_err());
    }

    #[test]
    fn an_empty_row_group_has_no_key() {
        let file = blooms(&[0..0, 0..0, 0..0]);
        assert_eq!(may_have(&file, 1, "7"), Some(false));
    }
}
