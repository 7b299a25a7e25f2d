//! One cell of a metric: what its points added up to in one window.

use shipwake_model::Sketch;
use shipwake_model::sketch::Distinct;

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
    /// Histograms of one form.
    Sketch(Box<Sketch>),
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
            MetricCell::Sketch(sketch) => self.add_sketch(sketch),
        }
    }

    /// The values, or `None` for a histogram or an empty cell.
    pub fn totals(&self) -> Option<Totals> {
        match self {
            MetricCell::One(value) => Some(Totals::one(*value)),
            MetricCell::Many(totals) => Some(**totals),
            MetricCell::Empty | MetricCell::Sketch(_) => None,
        }
    }

    /// Bytes on the heap, estimated.
    pub fn heap_bytes(&self) -> usize {
        match self {
            MetricCell::Empty | MetricCell::One(_) => 0,
            MetricCell::Many(_) => size_of::<Totals>(),
            MetricCell::Sketch(sketch) => size_of::<Sketch>() + sketch_bytes(sketch),
        }
    }

    /// Adds several values.
    pub fn add_totals(&mut self, more: &Totals) {
        match (&mut *self, more.count) {
            (MetricCell::Many(totals), _) => totals.add(more),
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
