//! Sparse HDR cells: the histogram of raw durations.
//!
//! The index function is that of the crate `hdrhistogram` with two significant digits over 1..=3 600 000 000 ticks, so that
//! cells and a dense histogram convert into each other without loss. A cell is one word, index above count, in a sorted
//! vector: 8 bytes per populated cell, where a dense histogram would take 13 kB. Sum, minimum and maximum are exact.

/// Larger values are counted in the last cell; one hour of microseconds.
pub const HDR_TICKS_MAX: u64 = 3_600_000_000;

/// 2^8 sub-buckets: the smallest power of two that holds two significant digits.
const SUB_BUCKET_BITS: u32 = 8;
const SUB_BUCKET_HALF: u64 = 128;
const COUNT_BITS: u32 = 48;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// A mergeable histogram of unsigned ticks with two significant digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HdrCells {
    /// Sorted by index: `index << 48 | count`, with count > 0.
    cells: Vec<u64>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl HdrCells {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one value. Values above [`HDR_TICKS_MAX`] go into the last cell; sum and maximum stay exact.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `n` equal values.
    pub fn record_n(&mut self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        self.extend_summary(n, value.saturating_mul(n), value, value);
        self.add_cell(index_of(value), n);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &HdrCells) {
        if other.count == 0 {
            return;
        }
        self.extend_summary(other.count, other.sum, other.min, other.max);
        if other.cells.len() * 4 < self.cells.len() {
            for cell in &other.cells {
                self.add_cell(cell_index(*cell), cell_count(*cell));
            }
        } else {
            self.cells = merged(&self.cells, &other.cells);
        }
    }

    /// The value at quantile `q`: the highest value that is equivalent to the one at that rank, as hdrhistogram gives it.
    /// `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        self.cell_at(q).map(|(low, high)| if q <= 0.0 { low } else { high })
    }

    /// The lowest and the highest value of the cell in which quantile `q` lies; `None` when empty.
    pub(super) fn cell_at(&self, q: f64) -> Option<(u64, u64)> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.cells.iter().find(|cell| {
            seen += cell_count(**cell);
            seen >= rank
        });
        reached.or(self.cells.last()).map(|cell| (lowest_of(cell_index(*cell)), highest_of(cell_index(*cell))))
    }

    /// How many values lie in the cells from the one of `low` to the one of `high`, both included.
    pub fn count_between(&self, low: u64, high: u64) -> u64 {
        let (first, last) = (index_of(low), index_of(high));
        self.cells
            .iter()
            .filter(|cell| (first..=last).contains(&cell_index(**cell)))
            .map(|cell| cell_count(*cell))
            .sum()
    }

    /// The populated cells in rising order: (lowest value, highest value, count).
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.cells.iter().map(|cell| {
            let index = cell_index(*cell);
            (lowest_of(index), highest_of(index), cell_count(*cell))
        })
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The sum of the values in ticks; exact unless the cells were decoded without a summary.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The smallest value, or `None` when empty.
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// The largest value, or `None` when empty.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The same cells with the exact sum, minimum and maximum that were stored beside them.
    pub fn with_summary(mut self, sum: u64, min: u64, max: u64) -> Self {
        if self.count > 0 {
            (self.sum, self.min, self.max) = (sum, min, max);
        }
        self
    }

    /// Bytes on the heap, for memory budgets.
    pub fn heap_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<u64>()
    }

    /// The dense histogram with the same counts.
    pub fn to_histogram(&self) -> hdrhistogram::Histogram<u64> {
        let mut dense = hdrhistogram::Histogram::new_with_bounds(1, HDR_TICKS_MAX, 2)
            .expect("the bounds are constants that hdrhistogram accepts");
        for (low, _, count) in self.iter() {
            dense.saturating_record_n(low, count);
        }
        dense
    }

    /// Populated (index, count) pairs in rising order.
    pub(super) fn cells(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.cells.iter().map(|cell| (cell_index(*cell), cell_count(*cell)))
    }

    /// Cells in rising order of index; sum, minimum and maximum are estimated from them.
    pub(super) fn from_cells(pairs: &[(u16, u64)]) -> Self {
        let mut out = HdrCells { cells: Vec::with_capacity(pairs.len()), ..HdrCells::default() };
        for &(index, count) in pairs {
            let (low, high) = (lowest_of(index), highest_of(index));
            out.extend_summary(count, (low + (high - low) / 2).saturating_mul(count), low, high);
            out.cells.push(pack(index, count));
        }
        out
    }

    fn add_cell(&mut self, index: u16, n: u64) {
        let at = self.cells.partition_point(|cell| cell_index(*cell) < index);
        match self.cells.get_mut(at) {
            Some(cell) if cell_index(*cell) == index => *cell = pack(index, cell_count(*cell).saturating_add(n)),
            _ => self.cells.insert(at, pack(index, n)),
        }
    }

    fn extend_summary(&mut self, count: u64, sum: u64, min: u64, max: u64) {
        if self.count == 0 {
            (self.min, self.max) = (min, max);
        } else {
            (self.min, self.max) = (self.min.min(min), self.max.max(max));
        }
        self.count = self.count.saturating_add(count);
        self.sum = self.sum.saturating_add(sum);
    }
}

/// The number of cells that exist.
pub(super) const INDEXES: u16 = 3328;

fn merged(left: &[u64], right: &[u64]) -> Vec<u64> {
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        let (a, b) = (left[l], right[r]);
        match cell_index(a).cmp(&cell_index(b)) {
            std::cmp::Ordering::Less => {
                out.push(a);
                l += 1;
            }
            std::cmp::Ordering::Greater => {
                out.push(b);
                r += 1;
            }
            std::cmp::Ordering::Equal => {
                out.push(pack(cell_index(a), cell_count(a) + cell_count(b)));
                (l, r) = (l + 1, r + 1);
            }
        }
    }
    out.extend_from_slice(&left[l..]);
    out.extend_from_slice(&right[r..]);
    out
}

fn pack(index: u16, count: u64) -> u64 {
    u64::from(index) << COUNT_BITS | count.min(COUNT_MAX)
}

fn cell_index(cell: u64) -> u16 {
    (cell >> COUNT_BITS) as u16
}

fn cell_count(cell: u64) -> u64 {
    cell & COUNT_MAX
}

/// The cell of a value.
pub(super) fn index_of(value: u64) -> u16 {
    let value = value.min(HDR_TICKS_MAX);
    let bucket = (64 - SUB_BUCKET_BITS) - (value | (2 * SUB_BUCKET_HALF - 1)).leading_zeros();
    let sub_bucket = value >> bucket;
    // For bucket 0 the sub-bucket may lie below the half: the sum is written so that it cannot go below zero.
    (u64::from(bucket) * SUB_BUCKET_HALF + sub_bucket) as u16
}

/// The lowest value of a cell.
pub(super) fn lowest_of(index: u16) -> u64 {
    let (bucket, sub_bucket) = place_of(index);
    sub_bucket << bucket
}

/// The highest value of a cell.
pub(super) fn highest_of(index: u16) -> u64 {
    let (bucket, sub_bucket) = place_of(index);
    ((sub_bucket + 1) << bucket) - 1
}

fn place_of(index: u16) -> (u32, u64) {
    let index = u64::from(index);
    if index < 2 * SUB_BUCKET_HALF {
        return (0, index);
    }
    let bucket = index / SUB_BUCKET_HALF - 1;
    (bucket as u32, index % SUB_BUCKET_HALF + SUB_BUCKET_HALF)
}
