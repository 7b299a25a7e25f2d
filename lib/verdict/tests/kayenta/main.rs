//! Kayenta's judge, held to the project's own test vectors (`*.txt` beside this file; Apache-2.0, Netflix, Inc.).

use std::collections::BTreeMap;

use shipwake_verdict::kayenta::{
    Classification, Direction, EffectSize, Metric, MetricResult, NanStrategy, ScoreWord, Scored, Summary, Thresholds,
    classify, cohen_d, dominance, is_outlier_by_iqr, is_outlier_by_sigma, mean_ratio, percentile, score,
    shift_statistic, test,
};

/// A named case: lines of a word and what follows it.
struct Case {
    name: String,
    lines: BTreeMap<String, String>,
}

impl Case {
    fn numbers(&self, key: &str) -> Vec<f64> {
        self.lines[key].split_whitespace().map(|word| word.parse().expect("a number")).collect()
    }

    /// What follows a word of a line.
    fn word(&self, line: &str, word: &str, place: usize) -> Option<&str> {
        let words: Vec<&str> = self.lines[line].split_whitespace().collect();
        words.iter().position(|known| *known == word).map(|at| words[at + place])
    }
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, cases.last_mut()) {
            ("case", _) => cases.push(Case { name: rest.to_owned(), lines: BTreeMap::new() }),
            (_, Some(case)) => {
                case.lines.insert(word.to_owned(), rest.to_owned());
            }
            (_, None) => panic!("a line before the first case: {line}"),
        }
    }
    cases
}

fn find<'a>(cases: &'a [Case], name: &str) -> &'a Case {
    cases.iter().find(|case| case.name.ends_with(name)).unwrap_or_else(|| panic!("no case {name}"))
}

fn near(value: f64, expected: f64, within: f64) {
    assert!((value - expected).abs() <= within, "{value} instead of {expected}");
}

fn settings(case: &Case) -> Metric {
    let number = |word: &str, place| -> f64 {
        case.word("settings", word, place).expect("a setting").parse().expect("a number")
    };
    let is = |word: &str, value: &str| case.word("settings", word, 1) == Some(value);
    Metric {
        direction: match case.word("settings", "direction", 1) {
            Some("Increase") => Direction::Increase,
            Some("Decrease") => Direction::Decrease,
            _ => Direction::Either,
        },
        nan_strategy: if is("nan", "Replace") { NanStrategy::Replace } else { NanStrategy::Remove },
        critical: is("critical", "true"),
        effect_size: if is("effect", "cles") { EffectSize::Cles } else { EffectSize::MeanRatio },
        allowed: (number("allowed", 1), number("allowed", 2)),
        critical_bounds: (number("critical_bounds", 1), number("critical_bounds", 2)),
        tolerance: number("tolerance", 1),
        confidence: number("confidence", 1),
        ..Metric::default()
    }
}

#[test]
fn metrics_are_classified_as_kayenta_classifies_them() {
    let cases = cases(include_str!("classifier.txt"));
    assert_eq!(cases.len(), 34);
    for case in &cases {
        let result = classify("metric", &case.numbers("control"), &case.numbers("experiment"), &settings(case));
        if let Some(expected) = case.word("expect", "classification", 1) {
            assert_eq!(result.classification.as_str(), expected, "{}", case.name);
        }
        if let Some(expected) = case.word("expect", "critical", 1) {
            assert_eq!(result.critical.to_string(), expected, "{}", case.name);
        }
        if let Some(expected) = case.word("expect", "deviation", 1) {
            assert_eq!(result.ratio.to_string(), expected.trim_end_matches(".0"), "{}", case.name);
        }
        if case.name.ends_with("Reason String") {
            assert!(result.reason.is_some_and(|reason| !reason.is_empty()));
        }
    }
}

#[test]
fn the_statistic_and_its_intervals_are_kayentas() {
    const E: f64 = 1e-6;
    let cases = cases(include_str!("mann_whitney.txt"));
    let sides = |name: &str| {
        let case = find(&cases, name);
        (case.numbers("experiment"), case.numbers("control"))
    };
    let (x, y) = sides("Wilcoxon Diff Function");
    near(shift_statistic(0.0, 0.0, &x, &y).expect("a statistic"), -1.229416, E);
    near(shift_statistic(5.0, 0.0, &x, &y).expect("a statistic"), -35.80606, E);
    near(shipwake_verdict::special::normal_quantile(0.01), -2.326348, E);

    let at = |name: &str, confidence: f64| {
        let (x, y) = sides(name);
        test(&x, &y, confidence).expect("a statistic")
    };
    let expected = [
        ("Confidence Interval & Estimate", 0.95, [6.0, 39.0], 22.5, E),
        ("Problem Case", 0.98, [-1.4808028936386108e-5, 1.808255910873413e-5], 1.808255910873413e-5, E),
        ("Tie out with R Version", 0.95, [-0.500002521696696, -3.486287505871302e-5], -0.4999393907180323, 1e-4),
        (
            "Tie out with R Version (Large)",
            0.98,
            [-0.4999173250549087, -6.912685789769486e-6],
            -3.45044082729315e-5,
            1e-4,
        ),
    ];
    for (name, confidence, interval, estimate, within) in expected {
        let found = at(name, confidence);
        near(found.interval[0], interval[0], E);
        near(found.interval[1], interval[1], E);
        near(found.estimate, estimate, within);
    }
    // To all digits: the problem case is what a scale-free solver would not reproduce.
    near(at("Problem Case", 0.98).interval[0], -1.4808028936386108e-5, 1e-18);
    near(at("Problem Case", 0.98).estimate, 1.808255910873413e-5, 1e-18);
}

#[test]
fn intermediate_values_are_kayentas() {
    const E: f64 = 1e-6;
    let cases = cases(include_str!("mann_whitney.txt"));
    let case = find(&cases, "Intermediate Values / Variables");
    let (x, y) = (case.numbers("experiment"), case.numbers("control"));
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = (least(&x) - most(&y), most(&x) - least(&y));
    near(low, -3.124999999999986, E);
    near(high, 5.555555555555557, E);
    let quantile = -shipwake_verdict::special::normal_quantile(0.025);
    near(quantile, 1.9599639845400536, E);
    let at = |shift, quantile| shift_statistic(shift, quantile, &x, &y).expect("a statistic");
    near(at(low, quantile), 17.090968923762254, E);
    near(at(high, quantile), -20.997687930433106, E);
    near(at(low, -quantile), 21.01089689284236, E);
    near(at(high, -quantile), -17.077759961353, E);
    let found = test(&x, &y, 0.95).expect("a statistic");
    near(found.interval[0], 3.521755377702165e-5, E);
    near(found.interval[1], 2.02456461662334e-5, E);
    near(found.estimate, 2.6279243045155653e-5, E);
}

#[test]
fn statistics_are_kayentas() {
    let cases = cases(include_str!("statistics.txt"));
    let values = |name: &str| find(&cases, name).numbers("values");
    assert_eq!(Summary::of(&[4.0]), Summary { min: 4.0, max: 4.0, mean: 4.0, std: 0.0, count: 1 });
    assert_eq!(Summary::of(&[]), Summary::default());
    let list = Summary::of(&[1.0, 1.0, 1.0, 10.0, 10.0, 10.0]);
    assert_eq!((list.min, list.max, list.mean, list.count), (1.0, 10.0, 5.5, 6));
    near(list.std, 4.9295, 1e-4);

    let basic = values("Basic Percentile");
    near(percentile(&basic, 5.0), 0.175, 1e-4);
    assert_eq!((percentile(&basic, 50.0), percentile(&basic, 100.0)), (1.75, 3.5));
    assert_eq!(percentile(&values("Basic Percentile Estimate (Linear Interpolation)"), 50.0), 4.5);
    near(percentile(&values("Percentile (NIST Data)"), 90.0), 95.19568, 1e-12);
    assert_eq!(percentile(&[1.0], 100.0), 1.0);
    let interpolated = values("Summary Statistics: Percentile Estimate (Linear Interpolation)");
    assert_eq!(percentile(&interpolated, 25.0), 0.0);
    near(percentile(&interpolated, 75.0), 0.0416, 1e-4);

    let sides = |name: &str| {
        let case = find(&cases, name);
        (case.numbers("control"), case.numbers("experiment"))
    };
    let ratio = |name: &str| {
        let (control, experiment) = sides(name);
        mean_ratio(&control, &experiment)
    };
    assert_eq!([ratio("(No Effect)"), ratio("(High)"), ratio("Mean Ratio (Low)")], [1.0, 10.0, 0.1]);
    assert_eq!(ratio("(Summary Stats)"), 1.0);
    assert!(ratio("(Zero Mean)").is_nan());
    let (control, experiment) = sides("Cohen's D");
    near(cohen_d(&Summary::of(&control), &Summary::of(&experiment)), 3.03821, 1e-5);
    let larger = |name: &str| {
        let (control, experiment) = sides(name);
        dominance(&control, &experiment)
    };
    assert_eq!([larger("Identical"), larger("(No Overlap)"), larger("CLES Effect Size: Low Metric")], [0.5, 0.0, 0.12]);
    near(larger("CLES Effect Size: High Metric"), 0.771, 1e-3);
}

#[test]
fn outliers_are_kayentas() {
    let cases = cases(include_str!("statistics.txt"));
    let values = |name: &str| find(&cases, name).numbers("values");
    let places = |outliers: Vec<bool>| -> Vec<usize> {
        outliers.iter().enumerate().filter(|(_, outlier)| **outlier).map(|(place, _)| place).collect()
    };
    assert_eq!(places(is_outlier_by_sigma(&values("KSigma Detection"), 3.0)), [5]);
    assert_eq!(places(is_outlier_by_sigma(&values("KSigma Two Sided"), 1.0)), [3, 7]);
    assert_eq!(places(is_outlier_by_iqr(&values("IQR Detection"), 1.5, false)), [4]);
    assert_eq!(places(is_outlier_by_iqr(&values("IQR Detect Two Sided"), 1.5, false)), [3, 7]);
    assert_eq!(places(is_outlier_by_iqr(&values("IQR Empty Data"), 1.5, false)), Vec::<usize>::new());
    assert_eq!(places(is_outlier_by_iqr(&values("IQR NIST Test"), 1.5, false)), [89]);
}

#[test]
fn missing_values_are_removed_or_replaced_and_outliers_left_out() {
    // Of three missing values none is left; replaced, they are zeros like the other side's.
    let missing = [f64::NAN; 3];
    let with = |nan_strategy| Metric { nan_strategy, ..Metric::default() };
    let at = |metric: &Metric| classify("m", &[0.0, 0.0, 0.0], &missing, metric).classification;
    assert_eq!(at(&with(NanStrategy::Remove)), Classification::Nodata);
    assert_eq!(at(&with(NanStrategy::Replace)), Classification::Pass);
    let must = Metric { must_have_data: true, ..Metric::default() };
    assert_eq!(at(&must), Classification::NodataFailMetric);
    assert_eq!(at(&Metric { critical: true, ..must }), Classification::Nodata);
    // One value far out pulls the mean beyond what is allowed; without it the effect is too small.
    let control: Vec<f64> = (0..40).map(|k| 100.0 + f64::from(k % 7)).collect();
    let mut experiment: Vec<f64> = control.iter().map(|value| value + 4.0).collect();
    experiment.push(1e6);
    let strict = Metric { allowed: (0.5, 2.0), ..Metric::default() };
    let outliers = Metric { outlier_factor: Some(3.0), ..strict };
    let classified = |metric: &Metric| classify("m", &control, &experiment, metric).classification;
    assert_eq!((classified(&strict), classified(&outliers)), (Classification::High, Classification::Pass));
}

#[test]
fn two_constant_sides_differ_without_chance() {
    let found = classify("m", &[1.0; 20], &[2.0; 20], &Metric::default());
    assert_eq!(found.classification, Classification::High);
    assert_eq!(found, classify("m", &[1.0; 20], &[2.0; 20], &Metric::default()));
}

/// A metric with a classification in groups; critical ones are written with an exclamation mark.
fn scored(classification: Classification, group: &str) -> Scored {
    let result =
        MetricResult { classification, reason: Some("why".to_owned()), ratio: 1.0, critical: group.ends_with('!') };
    Scored { groups: vec![group.trim_end_matches('!').to_owned()], muted: false, result }
}

#[test]
fn scores_are_kayentas() {
    use Classification::{High, Low, Nodata, Pass};
    let check = |metrics: &[(Classification, &str)], weights: &[(&str, f64)], expected: f64| {
        let metrics: Vec<Scored> = metrics.iter().map(|(found, group)| scored(*found, group)).collect();
        let weights = weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        let found = score(&metrics, &weights, Thresholds { pass: 75.0, marginal: 50.0 });
        assert_eq!(found.value, expected, "{metrics:?}");
        found
    };
    check(&[(Pass, "g")], &[], 100.0);
    check(&[(High, "g")], &[], 0.0);
    assert_eq!(check(&[(Nodata, "g")], &[], 0.0).groups[0].score, 0.0);
    let two = check(&[(Pass, "a"), (Pass, "a"), (Nodata, "b")], &[], 100.0);
    assert_eq!((two.groups[0].score, two.groups[1].score), (100.0, 0.0));
    check(&[(Pass, "g"), (High, "g")], &[], 50.0);
    check(&[(Pass, "g"), (High, "g"), (Low, "g")], &[], 33.33);
    check(&[(Pass, "1"), (Pass, "1"), (High, "2")], &[("1", 75.0), ("2", 25.0)], 75.0);
    check(&[(Pass, "1"), (High, "1"), (High, "2")], &[("1", 50.0), ("2", 50.0)], 25.0);
    check(&[(Pass, "1"), (Nodata, "1"), (High, "2")], &[("1", 50.0), ("2", 50.0)], 50.0);
    let critical = check(&[(Pass, "g"), (High, "g!")], &[], 0.0);
    assert_eq!((critical.word, critical.reason.as_deref()), (ScoreWord::Fail, Some("Canary Failed: why")));
    check(&[(Low, "g"), (Pass, "g!")], &[], 50.0);
    check(&[(Pass, "g"), (Nodata, "g!")], &[], 0.0);
    let four = [(High, "1"), (Low, "1"), (Pass, "1"), (High, "2")];
    check(&four, &[("1", 15.0), ("2", 85.0)], 5.0);
}
