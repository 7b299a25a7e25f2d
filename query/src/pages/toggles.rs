//! Toggles of a service: which variants it serves, in which shares, by which version, and how requests fare with each. Pure.
//!
//! A toggle has windows while it is hot; of others only totals and the last hour are known, so their numbers of the range
//! are null.

use std::collections::BTreeMap;

use shipwake_store::{MeasureSeries, ToggleRow};

use crate::pages::overview::round;
use crate::pages::wire;
use crate::release::timeline::error_ratio;

/// Toggles that are shown, hot ones first, then those that changed last.
const SHOWN_MAX: usize = 50;

/// The toggles of a service. `rows` are of that service and environment; `measures` have the requests by variant.
pub(crate) fn toggles(rows: &[ToggleRow], measures: &[MeasureSeries]) -> Vec<wire::Toggle> {
    let mut by_key: BTreeMap<&str, Vec<&ToggleRow>> = BTreeMap::new();
    for row in rows {
        by_key.entry(&row.key).or_default().push(row);
    }
    let mut found: Vec<wire::Toggle> = by_key.into_iter().map(|(key, rows)| toggle(key, &rows, measures)).collect();
    found.sort_by(|a, b| (b.hot, b.changed, &a.key).cmp(&(a.hot, a.changed, &b.key)));
    found.truncate(SHOWN_MAX);
    found
}

pub(crate) fn toggle(key: &str, rows: &[&ToggleRow], measures: &[MeasureSeries]) -> wire::Toggle {
    let total: u64 = rows.iter().map(|row| row.recent).sum();
    let mut by_version: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_variant: BTreeMap<&str, Vec<&ToggleRow>> = BTreeMap::new();
    for row in rows {
        *by_version.entry(&row.release.version).or_insert(0) += row.recent;
        by_variant.entry(&row.variant).or_default().push(row);
    }
    let counted = Counted::of(measures, key);
    let part = |of: u64, whole: u64| (whole > 0).then(|| round(of as f64 / whole as f64));
    let in_range = |of: u64| counted.has_windows.then_some(of);
    let variants = by_variant.into_iter().map(|(variant, rows)| {
        let recent = rows.iter().map(|row| row.recent).sum();
        let count = |unit: &str, version: Option<&str>| counted.count(unit, Some(variant), version);
        let (requests, errors) = (count("requests", None), count("errors", None));
        wire::ToggleVariant {
            variant: variant.to_owned(),
            share: part(recent, total),
            evaluations: rows.iter().map(|row| row.evaluations).sum(),
            range_evaluations: in_range(count("evaluations", None)),
            range_share: part(count("evaluations", None), counted.count("evaluations", None, None)),
            requests,
            err: error_ratio(requests, errors).map(round),
            first_seen: rows.iter().map(|row| row.first_seen_ns.div_euclid(1_000_000)).min(),
            last_seen: rows.iter().map(|row| row.last_seen_ns.div_euclid(1_000_000)).max(),
            versions: rows
                .iter()
                .map(|row| {
                    let version = &*row.release.version;
                    wire::ToggleShare {
                        version: version.to_owned(),
                        share: part(row.recent, by_version.get(version).copied().unwrap_or(0)),
                        range_share: part(
                            count("evaluations", Some(version)),
                            counted.count("evaluations", None, Some(version)),
                        ),
                    }
                })
                .collect(),
        }
    });
    let mut variants: Vec<wire::ToggleVariant> = variants.collect();
    let shown_share = |variant: &wire::ToggleVariant| variant.range_share.or(variant.share).unwrap_or(0.0);
    variants.sort_by(|a, b| shown_share(b).total_cmp(&shown_share(a)).then_with(|| a.variant.cmp(&b.variant)));
    wire::Toggle {
        key: key.to_owned(),
        hot: rows.iter().any(|row| row.hot),
        changed: rows.iter().map(|row| row.changed_ns.div_euclid(1_000_000)).max(),
        variants,
    }
}

/// What the windows of a toggle counted in the range.
struct Counted<'a> {
    series: Vec<(&'a str, &'a MeasureSeries, u64)>,
    has_windows: bool,
}

impl<'a> Counted<'a> {
    fn of(measures: &'a [MeasureSeries], key: &str) -> Self {
        let series: Vec<_> = of_toggle(measures, key)
            .map(|(variant, series)| (variant, series, series.cells.iter().map(|cell| cell.count).sum()))
            .collect();
        Counted { has_windows: !series.is_empty(), series }
    }

    /// Of all variants or versions where none is named.
    fn count(&self, unit: &str, variant: Option<&str>, version: Option<&str>) -> u64 {
        let asked = |(found, series, _): &&(&str, &MeasureSeries, u64)| {
            &*series.key.unit == unit
                && variant.is_none_or(|variant| variant == *found)
                && version.is_none_or(|version| version == &*series.key.release.version)
        };
        self.series.iter().filter(asked).map(|(.., count)| count).sum()
    }
}

/// The series of a toggle with their variants.
pub(crate) fn of_toggle<'a>(
    measures: &'a [MeasureSeries],
    key: &str,
) -> impl Iterator<Item = (&'a str, &'a MeasureSeries)> {
    measures
        .iter()
        .filter(move |series| series.key.signal == "toggle" && &*series.key.metric == key)
        .filter_map(|series| Some((attribute(series, "variant")?, series)))
}

/// An attribute of a series.
pub(crate) fn attribute<'a>(series: &'a MeasureSeries, name: &str) -> Option<&'a str> {
    series.key.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipwake_model::ReleaseId;
    use shipwake_store::{MeasureCell, MeasureKey};
    use std::sync::Arc;

    fn release(version: &str) -> Arc<ReleaseId> {
        Arc::new(ReleaseId {
            service: "shop".into(),
            namespace: "".into(),
            environment: "prod".into(),
            version: version.into(),
        })
    }

    fn row(key: &str, variant: &str, version: &str, recent: u64) -> ToggleRow {
        ToggleRow {
            release: release(version),
            key: key.into(),
            variant: variant.into(),
            evaluations: recent * 2,
            recent,
            first_seen_ns: 5_000_000,
            last_seen_ns: 9_000_000,
            changed_ns: 7_000_000,
            hot: key != "old",
        }
    }

    #[test]
    fn shares_are_of_all_evaluations_and_of_each_version() {
        let rows = [
            row("old", "on", "1", 0),
            row("pay", "on", "1", 30),
            row("pay", "off", "1", 60),
            row("pay", "on", "2", 10),
        ];
        let key = |unit: &str| {
            Arc::new(MeasureKey {
                release: release("1"),
                signal: "toggle",
                metric: "pay".into(),
                unit: unit.into(),
                attributes: vec![("variant".to_owned(), "on".to_owned())],
            })
        };
        let cell = |count: u64| vec![MeasureCell { count, sum: count as f64, ..MeasureCell::default() }];
        let measures = [
            MeasureSeries { key: key("requests"), cells: cell(20) },
            MeasureSeries { key: key("errors"), cells: cell(5) },
            MeasureSeries { key: key("evaluations"), cells: cell(99) },
        ];
        let found = toggles(&rows, &measures);
        assert_eq!(found.iter().map(|toggle| toggle.key.as_str()).collect::<Vec<_>>(), ["pay", "old"]);
        let [on, off] = &found[0].variants[..] else { panic!("two variants") };
        assert_eq!((off.variant.as_str(), off.share, off.err), ("off", Some(0.6), None));
        assert_eq!((on.share, on.requests, on.err, on.evaluations), (Some(0.4), 20, Some(0.25), 80));
        assert_eq!((on.range_evaluations, on.range_share), (Some(99), Some(1.0)));
        assert_eq!((off.range_evaluations, off.range_share), (Some(0), Some(0.0)));
        assert_eq!(found[1].variants[0].range_evaluations, None, "it has no windows, which is not a count of zero");
        let versions: Vec<_> = on.versions.iter().map(|one| (one.version.as_str(), one.share)).collect();
        assert_eq!(versions, [("1", Some(round(1.0 / 3.0))), ("2", Some(1.0))]);
        assert_eq!(found[1].variants[0].share, None, "no evaluation within the hour is not a share of zero");
    }
}
