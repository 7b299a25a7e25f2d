//! What a series is: by what metadata says about its own name or about the family that its ending makes it a part of, and
//! where nothing was said by the ending alone, as Prometheus' naming has it.
//!
//! | said about the family | `_bucket` | `_sum`, `_count` | `_gsum`, `_gcount` | `_total` | `_created` | the name itself |
//! |---|---|---|---|---|---|---|
//! | counter | | | | running total | level | running total |
//! | histogram | running total | running total | | | level | native histogram |
//! | summary | | running total | | | level | quantile: level |
//! | gauge histogram | level | | level | | | native histogram |
//! | nothing | running total, with `le` | running total | level | running total | level | level |
//!
//! A `_sum` that is below zero is no running total, whatever its name: observations may be negative, and go down.

use shipwake_otlp::write::MetricForm;

use super::read::Series;

/// What a metric is, as far as it was said. Both protocols use the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Unknown,
    Counter,
    /// Gauges, infos and state sets.
    Level,
    Histogram,
    GaugeHistogram,
    Summary,
}

/// Endings of names, and the families that have series of this ending.
const ENDINGS: [(&[u8], &[Kind]); 8] = [
    (b"_bucket", &[Kind::Histogram, Kind::GaugeHistogram]),
    (b"_sum", &[Kind::Histogram, Kind::Summary]),
    (b"_count", &[Kind::Histogram, Kind::Summary]),
    (b"_gsum", &[Kind::GaugeHistogram]),
    (b"_gcount", &[Kind::GaugeHistogram]),
    (b"_total", &[Kind::Counter]),
    (b"_created", &[Kind::Counter, Kind::Histogram, Kind::Summary]),
    (b"_info", &[Kind::Level]),
];

impl Kind {
    /// By the number of either protocol.
    pub(super) fn from_number(number: u64) -> Self {
        match number {
            1 => Kind::Counter,
            2 | 6 | 7 => Kind::Level,
            3 => Kind::Histogram,
            4 => Kind::GaugeHistogram,
            5 => Kind::Summary,
            _ => Kind::Unknown,
        }
    }
}

/// What `lookup` says about a series: about its own name first, then about its family. Gives kind and unit.
pub(super) fn of_name<U: Default>(name: &[u8], lookup: impl Fn(&[u8]) -> Option<(Kind, U)>) -> Option<(Kind, U)> {
    if let Some(found) = lookup(name) {
        return Some(found);
    }
    let (ending, kinds) = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending))?;
    let family = &name[..name.len() - ending.len()];
    let (kind, unit) = lookup(family).filter(|(kind, _)| !family.is_empty() && kinds.contains(kind))?;
    // When something was created is a moment, whatever was created.
    Some(if *ending == b"_created" { (Kind::Level, U::default()) } else { (kind, unit) })
}

/// A name without the ending that says which part of a family a series is, and the ending.
pub(super) fn base_name(name: &[u8]) -> (&[u8], &[u8]) {
    for ending in [&b"_bucket"[..], b"_sum", b"_count", b"_gsum", b"_gcount"] {
        if let Some(base) = name.strip_suffix(ending).filter(|base| !base.is_empty()) {
            return (base, ending);
        }
    }
    (name, b"")
}

/// What a series is that stands for itself.
pub(super) fn form_of(series: &Series<'_>) -> MetricForm {
    let ending = base_name(series.name).1;
    let is_total = match (series.kind, ending) {
        (Kind::Counter, _) => true,
        (Kind::Level | Kind::GaugeHistogram, _) | (_, b"_gsum" | b"_gcount") => false,
        (_, b"_bucket") => series.label(b"le").is_some(),
        (_, b"_sum" | b"_count") => true,
        _ => series.name.ends_with(b"_total"),
    };
    if is_total { MetricForm::Sum } else { MetricForm::Gauge }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_by_its_family_and_only_by_one_that_has_such_parts() {
        let families = [
            (&b"wait"[..], Kind::Histogram),
            (b"rpc", Kind::Summary),
            (b"hits", Kind::Counter),
            (b"pool", Kind::Level),
            (b"size", Kind::GaugeHistogram),
            (b"wait_count", Kind::Level),
        ];
        let lookup = |name: &[u8]| families.iter().find(|family| family.0 == name).map(|family| (family.1, ()));
        for (name, expected) in [
            ("wait_bucket", Some(Kind::Histogram)),
            ("wait_sum", Some(Kind::Histogram)),
            // What is said about the name itself comes first.
            ("wait_count", Some(Kind::Level)),
            ("wait", Some(Kind::Histogram)),
            ("rpc_sum", Some(Kind::Summary)),
            ("rpc_bucket", None),
            ("hits_total", Some(Kind::Counter)),
            ("hits_created", Some(Kind::Level)),
            ("hits_sum", None),
            ("pool_count", None),
            ("size_gcount", Some(Kind::GaugeHistogram)),
            ("size_count", None),
            ("_sum", None),
            ("other", None),
        ] {
            assert_eq!(of_name(name.as_bytes(), lookup).map(|found| found.0), expected, "{name}");
        }
    }
}
