//! One metric: pass, high, low or no data.

use super::mann_whitney::{all_tied, test};
use super::statistics::{dominance, is_outlier_by_iqr, mean_ratio};

/// How a metric stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classification {
    /// Not shown to differ.
    Pass,
    /// Shown to be higher.
    High,
    /// Shown to be lower.
    Low,
    /// A side has no values.
    Nodata,
    /// A side has no values, and must have.
    NodataFailMetric,
    /// No statistic exists.
    Error,
}

impl Classification {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Classification::Pass => "Pass",
            Classification::High => "High",
            Classification::Low => "Low",
            Classification::Nodata => "Nodata",
            Classification::NodataFailMetric => "NodataFailMetric",
            Classification::Error => "Error",
        }
    }
}

/// Which way a metric may not move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Increase,
    /// Down.
    Decrease,
    /// Either way.
    #[default]
    Either,
}

/// What is made of missing values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NanStrategy {
    /// They are left out.
    #[default]
    Remove,
    /// They are zero.
    Replace,
}

/// How the size of an effect is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EffectSize {
    /// The ratio of the means.
    #[default]
    MeanRatio,
    /// The share of pairs in which the experiment is larger.
    Cles,
}

/// How a metric is judged: the fields of `analysisConfigurations.canary`. Bounds are (decrease, increase).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Which way it may not move.
    pub direction: Direction,
    /// What is made of missing values.
    pub nan_strategy: NanStrategy,
    /// A failure of it fails the whole.
    pub critical: bool,
    /// It must have data.
    pub must_have_data: bool,
    /// How effects are measured.
    pub effect_size: EffectSize,
    /// Smaller effects pass.
    pub allowed: (f64, f64),
    /// Smaller effects are not critical.
    pub critical_bounds: (f64, f64),
    /// Leave out outliers, beyond this many interquartile ranges.
    pub outlier_factor: Option<f64>,
    /// The band about zero as a part of the estimate: a literal 0.25 in the judge.
    pub tolerance: f64,
    /// A literal 0.98 in the judge.
    pub confidence: f64,
}

impl Metric {
    /// The judge's defaults for a measure of effects.
    pub fn new(effect_size: EffectSize) -> Metric {
        let neutral = if effect_size == EffectSize::Cles { 0.5 } else { 1.0 };
        Metric {
            direction: Direction::Either,
            nan_strategy: NanStrategy::Remove,
            critical: false,
            must_have_data: false,
            effect_size,
            allowed: (neutral, neutral),
            critical_bounds: (neutral, neutral),
            outlier_factor: None,
            tolerance: 0.25,
            confidence: 0.98,
        }
    }
}

impl Default for Metric {
    fn default() -> Self {
        Metric::new(EffectSize::MeanRatio)
    }
}

/// What was found of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricResult {
    /// How it stands.
    pub classification: Classification,
    /// Why, where it is not plain.
    pub reason: Option<String>,
    /// The ratio of the means; NaN where there is none.
    pub ratio: f64,
    /// It fails the whole.
    pub critical: bool,
}

/// Classifies one metric: values of the control and of the experiment, in any order.
pub fn classify(name: &str, control: &[f64], experiment: &[f64], metric: &Metric) -> MetricResult {
    let (control, experiment) = (prepared(control, metric), prepared(experiment, metric));
    if control.is_empty() || experiment.is_empty() {
        return without_data(name, metric);
    }
    if sorted(&control) == sorted(&experiment) {
        return MetricResult { reason: Some("The Canary and Baseline data are identical".to_owned()), ..pass(1.0) };
    }
    if all_tied(&control) && all_tied(&experiment) && control[0] == experiment[0] {
        return pass(1.0);
    }
    let noisy = all_tied(&control) && all_tied(&experiment);
    let (control, experiment) =
        if noisy { (jittered(&control, 0), jittered(&experiment, 1)) } else { (control, experiment) };
    let Some(found) = test(&experiment, &control, metric.confidence) else {
        let reason = Some("Metric Classification Failed".to_owned());
        return MetricResult { classification: Classification::Error, reason, ..pass(1.0) };
    };
    let effect = match metric.effect_size {
        EffectSize::MeanRatio => mean_ratio(&control, &experiment),
        EffectSize::Cles => dominance(&control, &experiment),
    };
    let band = metric.tolerance * libm::fabs(found.estimate);
    let looks_up = metric.direction != Direction::Decrease;
    let looks_down = metric.direction != Direction::Increase;
    // An effect that cannot be told is not asked about.
    let at_least = |bound: f64| effect.is_nan() || effect >= bound;
    let at_most = |bound: f64| effect.is_nan() || effect <= bound;
    let (classification, is_critical) = if looks_up && found.interval[0] > band && at_least(metric.allowed.1) {
        (Classification::High, at_least(metric.critical_bounds.1))
    } else if looks_down && found.interval[1] < -band && at_most(metric.allowed.0) {
        (Classification::Low, at_most(metric.critical_bounds.0))
    } else {
        return pass(mean_ratio(&control, &experiment));
    };
    let critical = metric.critical && is_critical;
    let note = if critical { " (Critical)" } else { "" };
    MetricResult {
        classification,
        reason: Some(format!("{name} was classified as {}{note}", classification.as_str())),
        ratio: mean_ratio(&control, &experiment),
        critical,
    }
}

fn pass(ratio: f64) -> MetricResult {
    MetricResult { classification: Classification::Pass, reason: None, ratio, critical: false }
}

fn without_data(name: &str, metric: &Metric) -> MetricResult {
    if metric.nan_strategy == NanStrategy::Replace {
        return pass(1.0);
    }
    let fails = metric.must_have_data && !metric.critical;
    MetricResult {
        classification: if fails { Classification::NodataFailMetric } else { Classification::Nodata },
        reason: Some(format!("Missing data for {name}")),
        ratio: 1.0,
        critical: metric.critical && !fails,
    }
}

/// Without missing values, and without outliers where that is asked for.
fn prepared(values: &[f64], metric: &Metric) -> Vec<f64> {
    let whole: Vec<f64> = match metric.nan_strategy {
        NanStrategy::Remove => values.iter().copied().filter(|value| !value.is_nan()).collect(),
        NanStrategy::Replace => values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect(),
    };
    let Some(factor) = metric.outlier_factor.filter(|_| !whole.is_empty()) else { return whole };
    let outliers = is_outlier_by_iqr(&whole, factor, true);
    whole.into_iter().zip(outliers).filter(|(_, outlier)| !outlier).map(|(value, _)| value).collect()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Two constant sides have no ranks to speak of: a hundred-thousandth of the value is added, spread like a normal distribution and
/// the same each time.
fn jittered(values: &[f64], side: usize) -> Vec<f64> {
    /// The golden ratio's multiples fill an interval evenly, in an order that no two sides share.
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let noise = |k: usize| {
        let turn = (2 * k + side + 1) as f64 * GOLDEN;
        crate::special::normal_quantile((turn - libm::floor(turn)).clamp(1e-6, 1.0 - 1e-6))
    };
    values.iter().enumerate().map(|(k, value)| value + value * 1e-5 * noise(k)).collect()
}
