//! KPIs: every event by its name, and what is declared in `kpis.yaml`.
//!
//! An event counts under its own name without any configuration, so that a page can show it. A declaration with the same
//! key takes its place for the service it concerns; otherwise both are folded, under their own keys.

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::kpi::{Kpi, KpiSource, KpiValue};
use shipwake_model::{Signal, Sketch, Source};
use shipwake_otlp::{AnyValue, KeyValues};

use super::series::{Name, What};
use crate::cumulative::Total;
use crate::metric_cell::Totals;
use crate::resources::KnownResource;
use crate::state::{OTHER_UNIT, State};

/// Bytes of a unit that a problem names.
const UNIT_SHOWN: usize = 32;

/// The declarations, found by what they are counted from.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    all: Arc<[Kpi]>,
    by_event: HashMap<Vec<u8>, Vec<u16>, ahash::RandomState>,
    by_metric: HashMap<Vec<u8>, Vec<u16>, ahash::RandomState>,
    of_logs: Vec<u16>,
}

impl Declared {
    pub(crate) fn new(all: &Arc<[Kpi]>) -> Self {
        let mut declared = Declared { all: all.clone(), ..Declared::default() };
        for (place, kpi) in all.iter().enumerate().take(usize::from(u16::MAX)) {
            let place = place as u16;
            match &kpi.source {
                KpiSource::Event(name) => {
                    declared.by_event.entry(name.clone().into_bytes()).or_default().push(place);
                }
                KpiSource::Metric(name) => {
                    declared.by_metric.entry(name.clone().into_bytes()).or_default().push(place);
                }
                KpiSource::Log { .. } => declared.of_logs.push(place),
            }
        }
        declared
    }

    pub(crate) fn all(&self) -> &[Kpi] {
        &self.all
    }

    /// Whether log records have to be looked at.
    #[inline]
    pub(crate) fn reads_logs(&self) -> bool {
        !self.of_logs.is_empty()
    }

    /// The declarations that are counted from a metric.
    pub(crate) fn of_metric(&self, name: &[u8]) -> Vec<u16> {
        if self.by_metric.is_empty() { Vec::new() } else { self.by_metric.get(name).cloned().unwrap_or_default() }
    }

    fn concerned(&self, places: &[u16], known: &KnownResource) -> Vec<u16> {
        let concerns = |place: &&u16| self.all[usize::from(**place)].concerns(&known.id.service, &known.id.environment);
        places.iter().filter(concerns).copied().collect()
    }
}

impl State {
    /// Folds an event under its name, and under what is declared for it.
    pub(crate) fn fold_event(&mut self, known: &KnownResource, name: &[u8], attributes: &KeyValues<'_>, time_ns: i64) {
        let (value, unit) = value_and_unit(attributes);
        let declared = self.product.declared.clone();
        let places = declared.by_event.get(name).map(|places| declared.concerned(places, known)).unwrap_or_default();
        for place in &places {
            let worth = self.worth_in_unit(known, *place, value, unit);
            self.add_to_kpi(known, Source::Logs, *place, worth, time_ns);
        }
        if places.iter().any(|place| declared.all[usize::from(*place)].key.as_bytes() == name) {
            return;
        }
        let name = self.product_name(known, &Name::Event { name, unit });
        let series = self.product_series(known, Source::Logs, What::Event { name, valued: value.is_some() });
        match value {
            Some(value) => self.product.windows.add_spread(series, time_ns, value),
            None => self.product.windows.add(series, time_ns, 0.0),
        }
    }

    /// What an event is worth to a declared KPI: nothing where its unit is another one than is declared, since the two do not
    /// add up. An event that is only counted stays one.
    fn worth_in_unit(&mut self, known: &KnownResource, place: u16, value: Option<f64>, unit: &[u8]) -> Option<Worth> {
        let declared = self.product.declared.clone();
        let kpi = &declared.all()[usize::from(place)];
        let agrees = kpi.unit.is_empty() || unit.is_empty() || kpi.unit.as_bytes() == unit;
        if value.is_some() && !agrees && kpi.value != KpiValue::Count {
            self.leave_out(OTHER_UNIT, Signal::Logs, || {
                let (service, unit) = (&known.id.service, String::from_utf8_lossy(&unit[..unit.len().min(UNIT_SHOWN)]));
                format!(
                    "the KPI {} is declared in {}, service {service} sends events in {unit}: their values are left out",
                    kpi.key, kpi.unit
                )
            });
        }
        value.filter(|_| agrees).map(Worth::One)
    }

    /// Folds a log record into the KPIs that are counted from log records.
    pub(crate) fn fold_log_kpis(&mut self, known: &KnownResource, attributes: &KeyValues<'_>, time_ns: i64) {
        let declared = self.product.declared.clone();
        for place in declared.concerned(&declared.of_logs, known) {
            let KpiSource::Log { matching, field } = &declared.all[usize::from(place)].source else { continue };
            let matches = |(key, wanted): &(String, String)| {
                attributes.iter().any(|found| found.key == key.as_bytes() && is_text(&found.value, wanted))
            };
            if !matching.iter().all(matches) {
                continue;
            }
            let found = field.as_ref().map(|field| attributes.iter().find(|found| found.key == field.as_bytes()));
            match found {
                // Counted as they are.
                None => self.add_to_kpi(known, Source::Logs, place, None, time_ns),
                Some(Some(found)) => {
                    if let Some(value) = number(&found.value) {
                        self.add_to_kpi(known, Source::Logs, place, Some(Worth::One(value)), time_ns);
                    }
                }
                Some(None) => {}
            }
        }
    }

    /// Folds what a point of a metric adds into the KPIs that are counted from it.
    pub(crate) fn fold_metric_kpis(&mut self, known: &KnownResource, places: &[u16], added: Worth, time_ns: i64) {
        let declared = self.product.declared.clone();
        for place in declared.concerned(places, known) {
            self.add_to_kpi(known, Source::Metrics, place, Some(added), time_ns);
        }
    }

    /// Adds to a declared KPI. What it needs a value for and has none is not counted.
    fn add_to_kpi(&mut self, known: &KnownResource, source: Source, place: u16, worth: Option<Worth>, time_ns: i64) {
        let kpi = &self.product.declared.all()[usize::from(place)];
        if worth.is_none() && kpi.value != KpiValue::Count {
            return;
        }
        self.renew_product();
        let series = self.product_series(known, source, What::Declared(place));
        match worth {
            Some(Worth::One(value)) => self.product.windows.add_spread(series, time_ns, value),
            Some(Worth::Many(totals)) => self.product.windows.add_totals(series, time_ns, &totals),
            None => self.product.windows.add(series, time_ns, 0.0),
        }
    }
}

/// What a record is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Worth {
    /// One value, whose distribution is kept.
    One(f64),
    /// Several values that are known by their totals only.
    Many(Totals),
}

/// What an increase of a metric adds: the increase, or how many a histogram has and their sum. How increases from export to
/// export are distributed says nothing about customers.
pub(crate) fn added(increase: &Total) -> Option<Worth> {
    let (count, sum, min, max) = match increase {
        Total::Number(value) => return Some(Worth::Many(Totals::one(*value))),
        Total::Sketch(Sketch::Explicit(found)) => (found.count, found.sum?, found.min, found.max),
        Total::Sketch(Sketch::Exponential(found)) => (found.count, found.sum?, found.min, found.max),
        Total::Sketch(Sketch::Hdr(_) | Sketch::Distinct(_)) => return None,
    };
    if count == 0 {
        return None;
    }
    // A histogram without extremes has none smaller or larger than its mean.
    let mean = sum / count as f64;
    Some(Worth::Many(Totals { count, sum, min: min.unwrap_or(mean), max: max.unwrap_or(mean) }))
}

/// What an event is worth, and in what unit.
fn value_and_unit<'a>(attributes: &KeyValues<'a>) -> (Option<f64>, &'a [u8]) {
    let (mut value, mut unit) = (None, &b""[..]);
    for attribute in attributes {
        match attribute.key {
            b"value" => value = number(&attribute.value),
            b"unit" => unit = attribute.value.as_bytes().unwrap_or(b""),
            _ => {}
        }
    }
    (value, unit)
}

fn number(value: &AnyValue<'_>) -> Option<f64> {
    let number = match value {
        AnyValue::Int(number) => *number as f64,
        AnyValue::Double(number) => *number,
        AnyValue::String(text) => std::str::from_utf8(text).ok()?.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn is_text(value: &AnyValue<'_>, wanted: &str) -> bool {
    if let AnyValue::String(text) = value {
        return *text == wanted.as_bytes();
    }
    let mut text = Vec::new();
    value.write_text(&mut text);
    text == wanted.as_bytes()
}
