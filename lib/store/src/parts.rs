//! The parts of a segment's file, each with checksums of its own, so that a reader of a few rows checks what it reads and not
//! the whole file. Pure; the bytes are described in `FORMAT.md`.
//!
//! A file is row groups, a checksum for every 16 KiB of them (the sums), counts of lines where there are any, and Parquet's own
//! end: page index and footer. Sizes and checksums of all but the row groups are in the manifest.

use std::ops::Range;

/// What one of the sums covers.
pub(crate) const CHUNK_BYTES: u64 = 16 << 10;
const SUM_BYTES: u64 = 4;

/// Where the parts are, and the checksums of those that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Bytes of the row groups, from the beginning of the file.
    pub(crate) data: u64,
    pub(crate) sums_crc32c: u32,
    /// Bytes of the counts; 0 where there are none.
    pub(crate) counts: u64,
    pub(crate) counts_crc32c: u32,
    pub(crate) end_crc32c: u32,
}

impl Parts {
    /// Where the sums are.
    pub(crate) fn sums(&self) -> Range<u64> {
        self.data..self.data.saturating_add(self.data.div_ceil(CHUNK_BYTES).saturating_mul(SUM_BYTES))
    }

    /// Where the counts are.
    pub(crate) fn counts(&self) -> Range<u64> {
        let start = self.sums().end;
        start..start.saturating_add(self.counts)
    }

    /// Where Parquet's end is in a file of so many bytes.
    pub(crate) fn end(&self, file_bytes: u64) -> Range<u64> {
        self.counts().end..file_bytes
    }

    /// Whether a file of so many bytes can have these parts.
    pub(crate) fn fit(&self, file_bytes: u64) -> bool {
        self.data > 0 && self.counts().end < file_bytes
    }

    /// What has to be read of a file of so many bytes so that a range of it can be checked: whole chunks of the row groups; all of
    /// what is behind them where the range goes beyond them.
    pub(crate) fn around(&self, range: &Range<u64>, file_bytes: u64) -> Range<u64> {
        let from = if range.start >= self.data { self.data } else { range.start / CHUNK_BYTES * CHUNK_BYTES };
        let to = match range.end {
            end if end > self.data => file_bytes,
            end => (end.div_ceil(CHUNK_BYTES) * CHUNK_BYTES).min(self.data),
        };
        from..to
    }

    /// Checks what [`Parts::around`] has said, read from `from` on. The error is the offset of the part that is not as it was written.
    pub(crate) fn check(&self, from: u64, read: &[u8], sums: &[u32], file_bytes: u64) -> Result<(), u64> {
        let row_groups = &read[..read.len().min(self.data.saturating_sub(from) as usize)];
        for (number, chunk) in (from / CHUNK_BYTES..).zip(row_groups.chunks(CHUNK_BYTES as usize)) {
            if sums.get(number as usize) != Some(&crc32c::crc32c(chunk)) {
                return Err(number * CHUNK_BYTES);
            }
        }
        if from + read.len() as u64 <= self.data {
            Ok(())
        } else {
            self.check_behind(&read[row_groups.len()..], file_bytes)
        }
    }

    /// Checks all that is behind the row groups.
    pub(crate) fn check_behind(&self, read: &[u8], file_bytes: u64) -> Result<(), u64> {
        let parts = [
            (self.sums(), self.sums_crc32c),
            (self.counts(), self.counts_crc32c),
            (self.end(file_bytes), self.end_crc32c),
        ];
        for (range, crc32c) in parts {
            let bytes = (range.start - self.data) as usize..(range.end - self.data) as usize;
            if read.get(bytes).map(crc32c::crc32c) != Some(crc32c) {
                return Err(range.start);
            }
        }
        Ok(())
    }
}

/// What stands between the row groups of a new file and Parquet's end: readers of Parquet go by the offsets that its end names.
pub(crate) struct Behind {
    data: u64,
    sums: Vec<u8>,
    counts: Vec<u8>,
}

impl Behind {
    /// Behind these row groups, which begin with the file.
    pub(crate) fn of(row_groups: &[u8], counts: Vec<u8>) -> Self {
        Self { data: row_groups.len() as u64, sums: sums_of(row_groups), counts }
    }

    /// What is to be written.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.sums.as_slice(), &self.counts].concat()
    }

    /// The parts of the file, now that Parquet has written its end.
    pub(crate) fn parts(&self, file: &[u8]) -> Parts {
        let end = self.data as usize + self.sums.len() + self.counts.len();
        let parts = Parts {
            data: self.data,
            sums_crc32c: crc32c::crc32c(&self.sums),
            counts: self.counts.len() as u64,
            counts_crc32c: crc32c::crc32c(&self.counts),
            end_crc32c: crc32c::crc32c(&file[end..]),
        };
        assert!(parts.fit(file.len() as u64) && parts.end(file.len() as u64).start == end as u64, "{parts:?}");
        parts
    }
}

/// The sums of row groups, as they are stored.
fn sums_of(row_groups: &[u8]) -> Vec<u8> {
    row_groups.chunks(CHUNK_BYTES as usize).flat_map(|chunk| crc32c::crc32c(chunk).to_le_bytes()).collect()
}

/// The sums that were stored.
pub(crate) fn read_sums(bytes: &[u8]) -> Box<[u32]> {
    bytes.as_chunks::<4>().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file of row groups of so many bytes, with parts behind them.
    fn file(data: usize, counts: usize) -> (Vec<u8>, Parts) {
        let mut file: Vec<u8> = (0..data).map(|at| (at * 31 % 251) as u8).collect();
        let sums = sums_of(&file);
        let (counts, end) = (vec![3; counts], b"the end".to_vec());
        let parts = Parts {
            data: data as u64,
            sums_crc32c: crc32c::crc32c(&sums),
            counts: counts.len() as u64,
            counts_crc32c: crc32c::crc32c(&counts),
            end_crc32c: crc32c::crc32c(&end),
        };
        for part in [sums, counts, end] {
            file.extend(part);
        }
        (file, parts)
    }

    fn checked(file: &[u8], parts: &Parts, sums: &[u32], range: &Range<u64>) -> Result<Range<u64>, u64> {
        let around = parts.around(range, file.len() as u64);
        let read = &file[around.start as usize..around.end as usize];
        parts.check(around.start, read, sums, file.len() as u64).map(|()| around)
    }

    proptest! {
        /// What is read holds the range, and a flipped bit of it is found and named by the beginning of its part.
        #[test]
        fn every_range_is_checked(
            data in 1usize..70_000,
            counts in 0usize..100,
            (from, length) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            flipped in any::<prop::sample::Index>(),
        ) {
            let (mut file, parts) = file(data, counts);
            let bytes = file.len();
            prop_assert!(parts.fit(bytes as u64) && !parts.fit(parts.counts().end));
            let sums = read_sums(&file[parts.sums().start as usize..parts.sums().end as usize]);
            let from = from.index(bytes) as u64;
            let range = from..from + length.index(bytes - from as usize) as u64 + 1;
            let around = checked(&file, &parts, &sums, &range).expect("nothing is wrong");
            prop_assert!(around.start <= range.start && range.end <= around.end);
            let at = flipped.index(bytes);
            file[at] ^= 0x40;
            let found = checked(&file, &parts, &sums, &range);
            if around.contains(&(at as u64)) {
                let offset = found.expect_err("a bit was flipped");
                prop_assert!(offset <= at as u64 && (at as u64 - offset < CHUNK_BYTES || at >= data));
            } else {
                prop_assert_eq!(found, Ok(around));
            }
        }
    }
}
