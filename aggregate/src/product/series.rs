//! The series of KPIs, usage and toggles: small keys in front of the series of metrics, so that a record that repeats what
//! others said before it makes no texts. Names that senders choose are bounded per service.

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::Source;

use crate::config::Limits;
use crate::resources::KnownResource;
use crate::routes::Routes;
use crate::series::{Measure, MetricForm, MetricMeta};
use crate::state::State;

/// Stands between the parts of a name that is made of several.
const JOINT: char = '\u{1}';
/// Names and units are cut to so many bytes.
const NAME_BYTES_MAX: usize = 128;

/// Which series a record adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// A kind of usage, by its place in [`super::usage::METRICS`].
    Usage(u8),
    /// An event by the number of its name and unit, and whether it has a value.
    Event { name: u32, valued: bool },
    /// A declared KPI by its place.
    Declared(u16),
    /// Evaluations, by the number of key, variant and reason.
    Toggle(u32),
    /// Requests (or failed ones) that saw a variant, by the number of key and variant.
    Toggled { name: u32, failed: bool },
    /// Durations of such requests.
    ToggledTime(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    release: u32,
    what: What,
    slot: u8,
    source: Source,
}

/// Known series.
#[derive(Debug)]
pub(crate) struct ProductSeries {
    numbers: HashMap<Key, u32, ahash::RandomState>,
    generation: u32,
    events: Routes,
    toggles: Routes,
    event_names_max: usize,
    toggle_names_max: usize,
    scratch: Vec<u8>,
}

/// What a name stands for.
pub(crate) enum Name<'a> {
    Event { name: &'a [u8], unit: &'a [u8] },
    Toggle { key: &'a [u8], variant: &'a [u8], reason: &'a [u8] },
}

impl ProductSeries {
    pub(crate) fn new(limits: &Limits) -> Self {
        ProductSeries {
            numbers: HashMap::default(),
            generation: 0,
            events: Routes::new(limits.event_names_per_service),
            toggles: Routes::new(limits.toggle_names_per_service),
            event_names_max: limits.event_names_per_service,
            toggle_names_max: limits.toggle_names_per_service,
            scratch: Vec::new(),
        }
    }

    /// The number of a name of a service; [`Routes::OTHER`] beyond the bound.
    pub(crate) fn name(&mut self, service: u32, name: &Name<'_>) -> u32 {
        let (names, parts) = match name {
            Name::Event { name, unit } => (&mut self.events, [*name, *unit, b""]),
            Name::Toggle { key, variant, reason } => (&mut self.toggles, [*key, *variant, *reason]),
        };
        self.scratch.clear();
        for (at, part) in parts.into_iter().enumerate() {
            if at > 0 {
                self.scratch.push(JOINT as u8);
            }
            self.scratch.extend_from_slice(&part[..part.len().min(NAME_BYTES_MAX)]);
        }
        names.number(service, &self.scratch)
    }

    /// Bytes on the heap, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.numbers.capacity() * (size_of::<(Key, u32)>() + 1)
    }

    /// Numbers of series are void when the series begin anew, and names get another chance then.
    fn renew(&mut self, generation: u32) {
        if self.generation != generation {
            self.generation = generation;
            self.numbers.clear();
            self.events = Routes::new(self.event_names_max);
            self.toggles = Routes::new(self.toggle_names_max);
        }
    }
}

impl State {
    /// The series of a release for what a record is about.
    pub(crate) fn product_series(&mut self, known: &KnownResource, source: Source, what: What) -> u32 {
        let key = Key { release: known.release, what, slot: known.slot, source };
        if let Some(number) = self.product.series.numbers.get(&key) {
            return *number;
        }
        let meta = self.product_meta(known, source, what);
        let (number, overflow) = self.series.metric(known.release, meta);
        self.counters.overflow += u64::from(overflow);
        self.product.series.numbers.insert(key, number);
        number
    }

    /// The number of a name; counts an overflow. Names come before series: this is where both begin anew.
    pub(crate) fn product_name(&mut self, known: &KnownResource, name: &Name<'_>) -> u32 {
        self.renew_product();
        let number = self.product.series.name(known.service, name);
        self.counters.overflow += u64::from(number == Routes::OTHER);
        number
    }

    /// To be called before a number of a name or series is used.
    #[inline]
    pub(crate) fn renew_product(&mut self) {
        self.product.series.renew(self.series.generation());
    }

    #[cold]
    fn product_meta(&self, known: &KnownResource, source: Source, what: What) -> MetricMeta {
        let none: Arc<str> = "".into();
        let (measure, metric, unit, attributes, form): (_, Arc<str>, _, _, _) = match what {
            What::Usage(place) => (
                Measure::Usage,
                super::usage::METRICS[usize::from(place)].into(),
                none,
                Vec::new(),
                MetricForm::Distinct,
            ),
            What::Declared(place) => {
                let kpi = &self.product.declared.all()[usize::from(place)];
                (Measure::Kpi, kpi.key.clone(), kpi.unit.clone(), Vec::new(), MetricForm::Level)
            }
            What::Event { name, valued } => {
                let (name, unit, _) = parts(self.product.series.events.text(name));
                // An event without a value has no smallest one either.
                let form = if valued { MetricForm::Level } else { MetricForm::Increase };
                (Measure::Kpi, name.into(), unit.into(), Vec::new(), form)
            }
            What::Toggle(name) => {
                let (key, variant, reason) = parts(self.product.series.toggles.text(name));
                let attributes = vec![("reason", reason), ("variant", variant)];
                let attributes = attributes.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
                (Measure::Toggle, key.into(), "evaluations".into(), attributes, MetricForm::Increase)
            }
            What::Toggled { name, failed } => {
                let (key, variant, _) = parts(self.product.series.toggles.text(name));
                let unit = if failed { "errors" } else { "requests" };
                let attributes = vec![("variant".to_owned(), variant.to_owned())];
                (Measure::Toggle, key.into(), unit.into(), attributes, MetricForm::Increase)
            }
            What::ToggledTime(name) => {
                let (key, variant, _) = parts(self.product.series.toggles.text(name));
                let attributes = vec![("variant".to_owned(), variant.to_owned())];
                (Measure::Toggle, key.into(), "s".into(), attributes, MetricForm::Level)
            }
        };
        let release = self.releases.get(known.release).id.clone();
        MetricMeta { release, measure, source, metric, unit, attributes, slot: known.slot, form }
    }
}

/// The parts of a name. That of names beyond the bound has only one.
fn parts(text: &str) -> (&str, &str, &str) {
    let mut parts = text.splitn(3, JOINT);
    (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""))
}
