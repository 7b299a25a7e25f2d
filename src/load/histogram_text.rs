//! A histogram out of Prometheus' text form: enough to take the difference of two readings and a quantile of it. Pure.

use std::collections::BTreeMap;

/// Cumulative counts by upper bound, all label sets of a metric added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Keyed by the bits of the bound, which sort like the bounds because these are positive.
    by_bound: BTreeMap<u64, f64>,
}

impl Buckets {
    /// Reads the buckets of `metric`.
    pub fn parse(text: &str, metric: &str) -> Self {
        let mut buckets = Self::default();
        let prefix = format!("{metric}_bucket{{");
        for line in text.lines() {
            let Some((labels, value)) = line.strip_prefix(&prefix).and_then(|rest| rest.split_once('}')) else {
                continue;
            };
            let bound = labels
                .split("le=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .map(|text| text.replace("+Inf", "inf"));
            let bound = bound.and_then(|text| text.parse::<f64>().ok());
            let value = value.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
            if let (Some(bound), Some(value)) = (bound, value) {
                *buckets.by_bound.entry(bound.max(0.0).to_bits()).or_default() += value;
            }
        }
        buckets
    }

    /// What was counted between an earlier reading and this one. A restart in between counts from zero.
    pub fn since(&self, before: &Self) -> Self {
        let restarted = self.count() < before.count();
        let earlier = |bound| if restarted { 0.0 } else { before.by_bound.get(bound).copied().unwrap_or(0.0) };
        Self { by_bound: self.by_bound.iter().map(|(bound, count)| (*bound, count - earlier(bound))).collect() }
    }

    /// How many values were counted.
    pub fn count(&self) -> f64 {
        self.by_bound.last_key_value().map_or(0.0, |(_, count)| *count)
    }

    /// The value at a quantile, a straight line within its bucket; `None` when empty. Above the last finite bound: that bound.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count();
        if rank <= 0.0 {
            return None;
        }
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.by_bound {
            let high = f64::from_bits(*bound);
            if *count >= rank {
                let inside = (rank - below) / (count - below).max(f64::MIN_POSITIVE);
                return Some(if high.is_finite() { low + (high - low) * inside } else { low });
            }
            (low, below) = (high, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE lag histogram\n\
        lag_bucket{le=\"0.1\",signal=\"logs\"} 50\nlag_bucket{le=\"0.2\",signal=\"logs\"} 100\nlag_bucket{le=\"+Inf\",signal=\"logs\"} 100\n\
        lag_bucket{signal=\"spans\",le=\"0.1\"} 50\nlag_bucket{signal=\"spans\",le=\"0.2\"} 99\nlag_bucket{signal=\"spans\",le=\"+Inf\"} 100\n";

    #[test]
    fn label_sets_add_up_and_quantiles_lie_within_buckets() {
        let buckets = Buckets::parse(TEXT, "lag");
        assert_eq!(buckets.count(), 200.0);
        assert_eq!(buckets.quantile(0.5), Some(0.1));
        assert_eq!(buckets.quantile(0.25), Some(0.05));
        assert_eq!(buckets.quantile(1.0), Some(0.2));
        assert_eq!(Buckets::default().quantile(0.5), None);
    }

    #[test]
    fn differences_of_readings_count_only_what_came_between() {
        let later = Buckets::parse(TEXT, "lag");
        let earlier =
            Buckets::parse("lag_bucket{le=\"0.1\"} 90\nlag_bucket{le=\"0.2\"} 90\nlag_bucket{le=\"+Inf\"} 90\n", "lag");
        let between = later.since(&earlier);
        assert_eq!(between.count(), 110.0);
        assert!(between.quantile(0.5).is_some_and(|value| value > 0.1));
        assert_eq!(earlier.since(&later), earlier);
    }
}
