//! Toggles of a service: which variants it serves, in which shares, by which version, and how requests fare with each. Pure.

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

fn toggle(key: &str, rows: &[&ToggleRow], measures: &[MeasureSeries]) -> wire::Toggle {
    let total: u64 = rows.iter().map(|row| row.recent).sum();
    let mut by_version: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_variant: BTreeMap<&str, Vec<&ToggleRow>> = BTreeMap::new();
    for row in rows {
        *by_version.entry(&row.release.version).or_insert(0) += row.recent;
        by_variant.entry(&row.variant).or_default().push(row);
    }
    let part = |of: u64, whole: u64| (whole > 0).then(|| round(of as f64 / whole as f64));
    let variants = by_variant.into_iter().map(|(variant, rows)| {
        let recent = rows.iter().map(|row| row.recent).sum();
        let (requests, errors) =
            (requests_of(measures, key, variant, "requests"), requests_of(measures, key, variant, "errors"));
        wire::ToggleVariant {
            variant: variant.to_owned(),
            share: part(recent, total),
            evaluations: rows.iter().map(|row| row.evaluations).sum(),
            requests,
            err: error_ratio(requests, errors).map(round),
            first_seen: rows.iter().map(|row| row.first_seen_ns.div_euclid(1_000_000)).min(),
            last_seen: rows.iter().map(|row| row.last_seen_ns.div_euclid(1_000_000)).max(),
            versions: rows
                .iter()
                .map(|row| wire::ToggleShare {
                    version: row.release.version.to_string(),
                    share: part(row.recent, by_version.get(&*row.release.version).copied().unwrap_or(0)),
                })
                .collect(),
        }
    });
    let mut variants: Vec<wire::ToggleVariant> = variants.collect();
    variants.sort_by(|a, b| b.share.partial_cmp(&a.share).unwrap_or(std::cmp::Ordering::Equal));
    wire::Toggle {
        key: key.to_owned(),
        hot: rows.iter().any(|row| row.hot),
        changed: rows.iter().map(|row| row.changed_ns.div_euclid(1_000_000)).max(),
        variants,
    }
}

fn requests_of(measures: &[MeasureSeries], key: &str, variant: &str, unit: &str) -> u64 {
    measures
        .iter()
        .filter(|series| series.key.signal == "toggle" && &*series.key.metric == key && &*series.key.unit == unit)
        .filter(|series| series.key.attributes.iter().any(|(name, value)| name == "variant" && value == variant))
        .flat_map(|series| &series.cells)
        .map(|cell| cell.count)
        .sum()
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
        let cell = |count: u64| vec![MeasureCell { t_ms: 0, count, sum: count as f64, distinct: None }];
        let measures = [
            MeasureSeries { key: key("requests"), cells: cell(20) },
            MeasureSeries { key: key("errors"), cells: cell(5) },
            MeasureSeries { key: key("evaluations"), cells: cell(99) },
        ];
        let found = toggles(&rows, &measures);
        assert_eq!(found.iter().map(|toggle| toggle.key.as_str()).collect::<Vec<_>>(), ["pay", "old"]);
        let [off, on] = &found[0].variants[..] else { panic!("two variants") };
        assert_eq!((off.variant.as_str(), off.share, off.err), ("off", Some(0.6), None));
        assert_eq!((on.share, on.requests, on.err, on.evaluations), (Some(0.4), 20, Some(0.25), 80));
        let versions: Vec<_> = on.versions.iter().map(|one| (one.version.as_str(), one.share)).collect();
        assert_eq!(versions, [("1", Some(round(1.0 / 3.0))), ("2", Some(1.0))]);
        assert_eq!(found[1].variants[0].share, None, "no evaluation within the hour is not a share of zero");
    }
}
