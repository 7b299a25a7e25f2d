//! How many different things were seen: HyperLogLog with 4096 registers, and the things' codes themselves while they are few.
//!
//! Up to [`DISTINCT_CODES_MAX`] different things the count is exact but for collisions of 32-bit codes (about one chance in
//! three thousand of being off by one at a thousand). Beyond, the standard error is 1.04 / √4096 = 1.6 %; the estimate is
//! Ertl's improved one (arXiv 1702.01284), which needs no tables of corrections. Two sketches merge to what one sketch of
//! all things would be, bit for bit, in whatever order.
//!
//! Things are hashed with xxh3 and seed 0. The hash is part of stored forms: it never changes.

use xxhash_rust::xxh3::xxh3_64;

use super::SketchError;
use super::bytes::{Reader, put_varint};

/// First byte of the stored form.
pub(super) const TAG: u8 = 0xe3;
const VERSION: u8 = 1;
const SPARSE: u8 = 0;
const DENSE: u8 = 1;

/// Bits of a hash that choose the register.
const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;
/// The rank of a register is at most this: one more than the bits that are left of a hash.
const RANK_MAX: u8 = (64 - PRECISION + 1) as u8;
/// Bits of a hash that a code keeps, the highest; the rest is reduced to its rank.
const CODE_BITS: u32 = 26;
/// More codes than this take more memory than registers do.
pub const DISTINCT_CODES_MAX: usize = 1024;

/// A set of things of which only the size is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Codes in rising order, each once.
    Sparse(Vec<u32>),
    Dense(Box<[u8; REGISTERS]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct(Form::Sparse(Vec::new()))
    }
}

impl Distinct {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a thing.
    pub fn insert(&mut self, thing: &[u8]) {
        self.insert_hash(xxh3_64(thing));
    }

    /// Takes note of a thing by its hash, which is [`Distinct::hash`] of it.
    #[inline]
    pub fn insert_hash(&mut self, hash: u64) {
        self.insert_code(code(hash));
    }

    /// The hash of a thing.
    #[inline]
    pub fn hash(thing: &[u8]) -> u64 {
        xxh3_64(thing)
    }

    /// Adds all things of `other`.
    pub fn merge(&mut self, other: &Distinct) {
        match (&mut self.0, &other.0) {
            (Form::Dense(mine), Form::Dense(theirs)) => {
                for (mine, theirs) in mine.iter_mut().zip(theirs.iter()) {
                    *mine = (*mine).max(*theirs);
                }
            }
            (Form::Sparse(mine), Form::Dense(theirs)) => {
                let mut registers = theirs.clone();
                mine.iter().for_each(|code| raise(&mut registers, *code));
                self.0 = Form::Dense(registers);
            }
            (Form::Sparse(mine), Form::Sparse(theirs)) if mine.is_empty() => {
                mine.extend_from_slice(theirs);
            }
            (_, Form::Sparse(theirs)) => theirs.iter().for_each(|code| self.insert_code(*code)),
        }
    }

    /// How many different things were seen, about.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Sparse(codes) => codes.len() as u64,
            Form::Dense(registers) => estimate(registers).round() as u64,
        }
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Sparse(codes) if codes.is_empty())
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Sparse(codes) => codes.capacity() * size_of::<u32>(),
            Form::Dense(_) => REGISTERS,
        }
    }

    fn insert_code(&mut self, code: u32) {
        match &mut self.0 {
            Form::Dense(registers) => raise(registers, code),
            Form::Sparse(codes) => {
                let Err(place) = codes.binary_search(&code) else { return };
                if codes.len() < DISTINCT_CODES_MAX {
                    codes.insert(place, code);
                    return;
                }
                let mut registers = Box::new([0; REGISTERS]);
                codes.iter().chain([&code]).for_each(|code| raise(&mut registers, *code));
                self.0 = Form::Dense(registers);
            }
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[TAG, VERSION]);
        match &self.0 {
            Form::Sparse(codes) => {
                out.push(SPARSE);
                put_varint(out, codes.len() as u64);
                let mut last = 0;
                for code in codes {
                    put_varint(out, u64::from(code - last));
                    last = *code;
                }
            }
            Form::Dense(registers) => {
                out.push(DENSE);
                out.extend_from_slice(&registers[..]);
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        if (reader.u8()?, reader.u8()?) != (TAG, VERSION) {
            return Err(SketchError::Unsupported { what: "version of a distinct count" });
        }
        let form = match reader.u8()? {
            SPARSE => Form::Sparse(decode_codes(&mut reader)?),
            DENSE => Form::Dense(decode_registers(&mut reader)?),
            _ => return Err(SketchError::Unsupported { what: "form of a distinct count" }),
        };
        reader.finish()?;
        Ok(Distinct(form))
    }
}

/// The highest bits of a hash, and how far behind them its first set bit is: enough for the register and its rank.
#[inline]
fn code(hash: u64) -> u32 {
    let rest = hash << CODE_BITS;
    let rank = rest.leading_zeros().min(64 - CODE_BITS) + 1;
    ((hash >> (64 - CODE_BITS)) as u32) << 6 | rank
}

/// Raises the register that a code belongs to.
#[inline]
fn raise(registers: &mut [u8; REGISTERS], code: u32) {
    const BETWEEN: u32 = CODE_BITS - PRECISION;
    let prefix = code >> 6;
    let between = prefix & ((1 << BETWEEN) - 1);
    let rank = match between {
        0 => BETWEEN + (code & 63),
        between => between.leading_zeros() - (32 - BETWEEN) + 1,
    };
    let register = &mut registers[(prefix >> BETWEEN) as usize];
    *register = (*register).max(rank as u8);
}

fn estimate(registers: &[u8; REGISTERS]) -> f64 {
    let mut multiplicity = [0u32; RANK_MAX as usize + 1];
    for rank in registers {
        multiplicity[usize::from((*rank).min(RANK_MAX))] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(multiplicity[usize::from(RANK_MAX)])) / m);
    for rank in (1..usize::from(RANK_MAX)).rev() {
        z = 0.5 * (z + f64::from(multiplicity[rank]));
    }
    z += m * sigma(f64::from(multiplicity[0]) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

/// Ertl's σ: the share of registers that are still empty.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Ertl's τ: the share of registers that are not full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

fn decode_codes(reader: &mut Reader<'_>) -> Result<Vec<u32>, SketchError> {
    let length = reader.length(1)?;
    if length > DISTINCT_CODES_MAX {
        return Err(SketchError::Inconsistent { what: "more codes than a sparse distinct count has" });
    }
    let mut codes = Vec::with_capacity(length);
    let mut last = 0u64;
    for at in 0..length {
        let step = reader.varint()?;
        last = last.saturating_add(step);
        let rank = last & 63;
        if (at > 0 && step == 0) || last > u64::from(u32::MAX) || !(1..=u64::from(64 - CODE_BITS + 1)).contains(&rank) {
            return Err(SketchError::Inconsistent { what: "codes of a distinct count are not codes in rising order" });
        }
        codes.push(last as u32);
    }
    Ok(codes)
}

fn decode_registers(reader: &mut Reader<'_>) -> Result<Box<[u8; REGISTERS]>, SketchError> {
    let mut registers = Box::new([0; REGISTERS]);
    for register in registers.iter_mut() {
        *register = reader.u8()?;
        if *register > RANK_MAX {
            return Err(SketchError::Inconsistent { what: "a register's rank is larger than a hash allows" });
        }
    }
    Ok(registers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sketch;
    use proptest::prelude::*;

    fn of(things: impl IntoIterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::new();
        things.into_iter().for_each(|thing| distinct.insert(format!("user-{thing}").as_bytes()));
        distinct
    }

    #[test]
    fn few_things_are_counted_exactly_and_again_is_not_more() {
        for n in [0, 1, 2, 17, 300, 1_000] {
            assert_eq!(of((0..n).chain(0..n)).count(), n);
        }
    }

    #[test]
    fn the_error_stays_within_what_is_promised_at_every_size() {
        for n in [1_200u64, 2_000, 5_000, 20_000, 100_000, 1_000_000] {
            // Twenty independent sets: their mean error tells a bias from luck.
            let runs = if n > 100_000 { 3 } else { 20 };
            let errors: Vec<f64> = (0..runs)
                .map(|run| of((0..n).map(|thing| thing + run * 10_000_000)).count() as f64 / n as f64 - 1.0)
                .collect();
            let rms = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            assert!(rms < 0.0163 * 1.6, "{n}: {rms}");
            assert!(mean.abs() < 0.0163 * 3.5 / (runs as f64).sqrt(), "{n}: {mean}");
            assert!(errors.iter().all(|error| error.abs() < 0.0163 * 4.0), "{n}: {errors:?}");
        }
    }

    #[test]
    fn the_hash_is_part_of_stored_forms_and_stays() {
        let stored = Sketch::Distinct(of([17])).encode();
        assert_eq!(stored[..4], [0xe3, 1, 0, 1]);
        assert_eq!(Distinct::hash(b"user-17"), xxh3_64(b"user-17"));
        assert_eq!(Distinct::hash(b""), 0x2d06_8005_38d3_94c2, "xxh3 with seed 0, from its own test vectors");
    }

    #[test]
    fn memory_is_four_kilobytes_at_the_most() {
        assert_eq!(of(0..200_000).heap_bytes(), 4_096);
        assert!(of(0..1_024).heap_bytes() <= 4_096);
    }

    #[test]
    fn damaged_bytes_are_errors() {
        let dense = Sketch::Distinct(of(0..3_000)).encode();
        let sparse = Sketch::Distinct(of(0..5)).encode();
        for bytes in [&dense, &sparse] {
            for end in 0..bytes.len() {
                assert!(Sketch::decode(&bytes[..end]).is_err());
            }
        }
        let mut high = dense.clone();
        high[100] = 60;
        assert!(Sketch::decode(&high).is_err());
        let mut newer = dense;
        newer[1] = 2;
        assert!(Sketch::decode(&newer).is_err());
        assert!(Sketch::decode(&[TAG, 1, 0, 2, 1, 0]).is_err(), "the same code twice");
        assert!(Sketch::decode(&[TAG, 1, 0, 1, 64]).is_err(), "a code without a rank");
    }

    proptest! {
        /// However things are spread over parts, and in whatever order the parts are merged, through bytes or not.
        #[test]
        fn parts_merge_to_the_sketch_of_all_things(
            parts in prop::collection::vec((0u64..50_000, 0u64..1_500), 0..6),
            through_bytes in any::<bool>(),
        ) {
            let whole = of(parts.iter().flat_map(|(from, n)| *from..from + n));
            let mut sketches: Vec<Distinct> = parts.iter().map(|(from, n)| of(*from..from + n)).collect();
            for reverse in [false, true] {
                if reverse {
                    sketches.reverse();
                }
                let mut merged = Distinct::new();
                for sketch in &sketches {
                    if through_bytes {
                        let Ok(Sketch::Distinct(read)) = Sketch::decode(&Sketch::Distinct(sketch.clone()).encode()) else {
                            panic!("not read back");
                        };
                        merged.merge(&read);
                    } else {
                        merged.merge(sketch);
                    }
                }
                prop_assert_eq!(&merged, &whole);
            }
        }
    }
}
