//! The whole: groups, weights, and the word for the sum.

use std::collections::BTreeMap;

use super::classify::{Classification, MetricResult};

/// So many per cent of metrics without data fail the whole.
const NODATA_PERCENT: f64 = 50.0;

/// A metric's result with the groups it is in.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Names of groups.
    pub groups: Vec<String>,
    /// It is shown and does not count.
    pub muted: bool,
    /// What was found.
    pub result: MetricResult,
}

/// Scores from which on the whole passes, or is marginal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Passes from here on.
    pub pass: f64,
    /// Is marginal from here on.
    pub marginal: f64,
}

/// The word for a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreWord {
    /// At least the pass threshold.
    Pass,
    /// At least the marginal one.
    Marginal,
    /// Below.
    Fail,
}

impl ScoreWord {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ScoreWord::Pass => "Pass",
            ScoreWord::Marginal => "Marginal",
            ScoreWord::Fail => "Fail",
        }
    }
}

/// The score of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupScore {
    /// Its name.
    pub name: String,
    /// 0..=100; 0 when it has no data, though it then counts as 100.
    pub score: f64,
    /// None of its metrics had data.
    pub no_data: bool,
}

/// The whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// 0..=100, in hundredths.
    pub value: f64,
    /// The word for it.
    pub word: ScoreWord,
    /// Why it is zero, when a rule and not the sum made it so.
    pub reason: Option<String>,
    /// By group, in the order of names.
    pub groups: Vec<GroupScore>,
}

/// Scores all metrics. Groups without a weight share what the weights leave of a hundred.
pub fn score(metrics: &[Scored], weights: &BTreeMap<String, f64>, thresholds: Thresholds) -> Score {
    let counted: Vec<&Scored> = metrics.iter().filter(|metric| !metric.muted).collect();
    let groups = group_scores(&counted);
    let critical = counted.iter().find(|m| m.result.critical && m.result.classification != Classification::Pass);
    let without = counted.iter().filter(|m| m.result.classification == Classification::Nodata).count();
    let (value, reason) = if let Some(critical) = critical {
        let reason = critical.result.reason.as_deref().unwrap_or("");
        (0.0, Some(format!("Canary Failed: {reason}")))
    } else if without as f64 / counted.len() as f64 * 100.0 >= NODATA_PERCENT {
        (0.0, Some(format!("Canary Failed: {NODATA_PERCENT:.0}% or more metrics returned NODATA")))
    } else {
        (weighted(&groups, weights), None)
    };
    let word = if value >= thresholds.pass {
        ScoreWord::Pass
    } else if value >= thresholds.marginal {
        ScoreWord::Marginal
    } else {
        ScoreWord::Fail
    };
    Score { value, word, reason, groups }
}

fn group_scores(metrics: &[&Scored]) -> Vec<GroupScore> {
    let mut by_group: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for metric in metrics {
        for group in &metric.groups {
            let (passed, counted) = by_group.entry(group).or_default();
            match metric.result.classification {
                Classification::Pass => (*passed, *counted) = (*passed + 1.0, *counted + 1.0),
                Classification::High | Classification::Low | Classification::NodataFailMetric => *counted += 1.0,
                Classification::Nodata | Classification::Error => {}
            }
        }
    }
    let score = |(passed, counted): (f64, f64)| if counted == 0.0 { 0.0 } else { passed / counted * 100.0 };
    let group = |(name, sums): (&str, (f64, f64))| GroupScore {
        name: name.to_owned(),
        score: score(sums),
        no_data: sums.1 == 0.0,
    };
    by_group.into_iter().map(group).collect()
}

fn weighted(groups: &[GroupScore], weights: &BTreeMap<String, f64>) -> f64 {
    let missing = groups.iter().filter(|group| !weights.contains_key(&group.name)).count();
    let share = (100.0 - weights.values().sum::<f64>()) / missing.max(1) as f64;
    let part = |group: &GroupScore| {
        let score = if group.no_data { 100.0 } else { group.score };
        score * weights.get(&group.name).copied().unwrap_or(share) / 100.0
    };
    let sum: f64 = groups.iter().map(part).sum();
    libm::round(sum * 100.0) / 100.0
}
