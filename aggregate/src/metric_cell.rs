//! One cell of a metric: what its points added up to in one window.

use shipwake_model::Sketch;
use shipwake_model::sketch::{Distinct, Exponential};

/// The compact form: most series have one point per window.
#[derive(Clone, Debug, Default)]
pub enum MetricCell {
    /// Nothing yet.
    #[default]
    Empty,
    /// One value.
    One(f64),
    /// Several values.
    Many(Box<Totals>),
    /// Several values, and how those among them that came one by one are distributed.
    Spread(Box<Spread>),
    /// Histograms of one form.
    Sketch(Box<Sketch>),
}

/// Values with their distribution.
#[derive(Clone, Debug)]
pub struct Spread {
    /// All values.
    pub totals: Totals,
    /// Those that came one by one: what a histogram of a client or an older row adds is in `totals` alone.
    pub values: Exponential,
}

/// Several values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Totals {
    /// A single value.
    pub fn one(value: f64) -> Self {
        Totals { count: 1, sum: value, min: value, max: value }
    }

    fn add(&mut self, more: &Totals) {
        self.count = self.count.saturating_add(more.count);
        // Two finite values of opposite signs and huge size can add up to infinity, which no reader could use.
        self.sum = (self.sum + more.sum).clamp(f64::MIN, f64::MAX);
        self.min = self.min.min(more.min);
        self.max = self.max.max(more.max);
    }
}

impl MetricCell {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.add_totals(&Totals::one(value));
    }

    /// Adds a value, and keeps how values are distributed.
    pub fn add_spread(&mut self, value: f64) {
        let totals = Totals::one(value);
        match self {
            MetricCell::Spread(spread) => {
                spread.totals.add(&totals);
                spread.values.record(value);
            }
            _ => {
                let mut values = Exponential::for_values();
                values.record(value);
                self.merge(&MetricCell::Spread(Box::new(Spread { totals, values })));
            }
        }
    }

    /// Adds a histogram. A cell has histograms of one form only: the form is part of the series' key.
    pub fn add_sketch(&mut self, sketch: &Sketch) {
        match self {
            MetricCell::Sketch(known) => {
                let merged = known.merge(sketch);
                debug_assert!(merged.is_ok(), "the form is part of the series' key");
            }
            _ => *self = MetricCell::Sketch(Box::new(sketch.clone())),
        }
    }

    /// Takes note of a thing by its hash. A cell that counts distinct things has nothing else.
    pub fn insert(&mut self, hash: u64) {
        if let MetricCell::Sketch(sketch) = self
            && let Sketch::Distinct(distinct) = &mut **sketch
        {
            distinct.insert_hash(hash);
            return;
        }
        let mut distinct = Distinct::new();
        distinct.insert_hash(hash);
        *self = MetricCell::Sketch(Box::new(Sketch::Distinct(distinct)));
    }

    /// Adds another cell of the same series.
    pub fn merge(&mut self, other: &MetricCell) {
        match other {
            MetricCell::Empty => {}
            MetricCell::One(value) => self.add(*value),
            MetricCell::Many(totals) => self.add_totals(totals),
            MetricCell::Spread(more) => {
                let mut more = more.clone();
                match self {
                    MetricCell::Spread(spread) => {
                        spread.totals.add(&more.totals);
                        spread.values.merge(&more.values);
                    }
                    _ => {
                        // Of values that were kept without their distribution the totals stay exact.
                        if let Some(totals) = self.totals() {
                            more.totals.add(&totals);
                        }
                        *self = MetricCell::Spread(more);
                    }
                }
            }
            MetricCell::Sketch(sketch) => self.add_sketch(sketch),
        }
    }

    /// The values, or `None` for a histogram or an empty cell.
    pub fn totals(&self) -> Option<Totals> {
        match self {
            MetricCell::One(value) => Some(Totals::one(*value)),
            MetricCell::Many(totals) => Some(**totals),
            MetricCell::Spread(spread) => Some(spread.totals),
            MetricCell::Empty | MetricCell::Sketch(_) => None,
        }
    }

    /// Bytes on the heap, estimated.
    pub fn heap_bytes(&self) -> usize {
        match self {
            MetricCell::Empty | MetricCell::One(_) => 0,
            MetricCell::Many(_) => size_of::<Totals>(),
            MetricCell::Spread(spread) => size_of::<Spread>() + spread.values.heap_bytes(),
            MetricCell::Sketch(sketch) => size_of::<Sketch>() + sketch_bytes(sketch),
        }
    }

    /// Adds several values.
    pub fn add_totals(&mut self, more: &Totals) {
        match (&mut *self, more.count) {
            (MetricCell::Many(totals), _) => totals.add(more),
            (MetricCell::Spread(spread), _) => spread.totals.add(more),
            (MetricCell::Empty, 1) => *self = MetricCell::One(more.sum),
            (MetricCell::One(value), _) => {
                let mut totals = Totals::one(*value);
                totals.add(more);
                *self = MetricCell::Many(Box::new(totals));
            }
            _ => *self = MetricCell::Many(Box::new(*more)),
        }
    }
}

fn sketch_bytes(sketch: &Sketch) -> usize {
    match sketch {
        Sketch::Hdr(cells) => cells.heap_bytes(),
        Sketch::Explicit(explicit) => explicit.counts.len() * 8,
        Sketch::Exponential(buckets) => (buckets.positive.counts.len() + buckets.negative.counts.len()) * 8,
        Sketch::Distinct(things) => things.heap_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_and_without_their_distribution_add_up_in_any_order() {
        let older = || {
            let mut cell = MetricCell::default();
            [3.0, 5.0].into_iter().for_each(|value| cell.add(value));
            cell
        };
        let newer = || {
            let mut cell = MetricCell::default();
            [1.0, 2.0, 40.0].into_iter().for_each(|value| cell.add_spread(value));
            cell
        };
        let expected = Totals { count: 5, sum: 51.0, min: 1.0, max: 40.0 };
        for (mut into, from) in [(older(), newer()), (newer(), older())] {
            into.merge(&from);
            let MetricCell::Spread(spread) = into else { panic!("the distribution is kept") };
            assert_eq!((spread.totals, spread.values.count), (expected, 3));
        }
        let mut both = newer();
        both.merge(&newer());
        assert!(matches!(both, MetricCell::Spread(spread) if spread.values.count == 6 && spread.totals.count == 6));
    }
}
