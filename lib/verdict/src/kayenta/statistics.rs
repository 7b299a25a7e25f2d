//! Descriptive statistics, effect sizes and outliers as Kayenta takes them.

use libm::{fabs, floor, sqrt};

use super::mann_whitney::ranks;

/// What is shown beside a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Smallest value; 0 without values, as all others.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of a sample.
    pub std: f64,
    /// How many values there are.
    pub count: usize,
}

impl Summary {
    /// Of any number of values.
    pub fn of(values: &[f64]) -> Summary {
        if values.is_empty() {
            return Summary::default();
        }
        Summary {
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean: mean(values),
            std: if values.len() == 1 { 0.0 } else { sqrt(squares(values) / (values.len() - 1) as f64) },
            count: values.len(),
        }
    }
}

/// The percentile `p` (0..=100) with linear interpolation between values (R's type 7). NaN without values.
pub fn percentile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = p / 100.0 * last as f64;
    let below = floor(place) as usize;
    if below >= last {
        return sorted[last];
    }
    sorted[below] + (place - below as f64) * (sorted[below + 1] - sorted[below])
}

/// The experiment's mean over the control's; NaN when either is zero.
pub fn mean_ratio(control: &[f64], experiment: &[f64]) -> f64 {
    let (control, experiment) = (mean(control), mean(experiment));
    if control == 0.0 || experiment == 0.0 { f64::NAN } else { experiment / control }
}

/// The share of pairs in which the experiment's value is the larger one, ties counting half (the "common language effect size").
pub fn dominance(control: &[f64], experiment: &[f64]) -> f64 {
    let (m, n) = (experiment.len() as f64, control.len() as f64);
    let all: Vec<f64> = experiment.iter().chain(control).copied().collect();
    let sum: f64 = ranks(&all).iter().take(experiment.len()).sum();
    (2.0 * sum - m * (m + 1.0)) / (2.0 * n * m)
}

/// The difference of means in pooled standard deviations.
pub fn cohen_d(control: &Summary, experiment: &Summary) -> f64 {
    let (n, m) = (control.count as f64, experiment.count as f64);
    let pooled = ((m - 1.0) * experiment.std * experiment.std + (n - 1.0) * control.std * control.std) / (n + m - 2.0);
    fabs(experiment.mean - control.mean) / sqrt(pooled)
}

/// Which values lie beyond `factor` interquartile ranges outside of the quartiles; with `reduced` sensitivity they must be beyond the
/// first and last percentile, too.
pub fn is_outlier_by_iqr(values: &[f64], factor: f64, reduced: bool) -> Vec<bool> {
    let (first, third) = (percentile(values, 25.0), percentile(values, 75.0));
    let (mut low, mut high) = (first - factor * (third - first), third + factor * (third - first));
    if reduced {
        (low, high) = (low.min(percentile(values, 1.0)), high.max(percentile(values, 99.0)));
    }
    values.iter().map(|value| *value > high || *value < low).collect()
}

/// Which values lie beyond `k` standard deviations of a population from the mean.
pub fn is_outlier_by_sigma(values: &[f64], k: f64) -> Vec<bool> {
    let mean = mean(values);
    let deviation = sqrt(squares(values) / values.len() as f64);
    values.iter().map(|value| fabs(value - mean) > deviation * k).collect()
}

/// The mean in two passes; NaN without values.
fn mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let first = values.iter().sum::<f64>() / n;
    first + values.iter().map(|value| value - first).sum::<f64>() / n
}

fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean) * (value - mean)).sum()
}
