//! The algebra that validity rests on, over many true ratios, and known cases.

use proptest::prelude::*;

use super::*;
use crate::counts::Tally;

fn counts(candidate: (u64, u64), baseline: (u64, u64)) -> Counts {
    Counts::new(Tally::new(candidate.0, candidate.1), Tally::new(baseline.0, baseline.1))
}

fn likelihood(windows: &[Counts]) -> Likelihood {
    let mut sum = Likelihood::default();
    for window in windows {
        sum.add(&Addend::of(*window));
    }
    sum
}

/// The expected factor of one event at the true ratio, for the ratio `to` against `from`.
fn expectation_of_an_event(true_ratio: f64, from: f64, to: f64, n_c: f64, n_b: f64) -> f64 {
    let share = |r: f64| n_c * r / (n_c * r + n_b);
    let (truth, zero, one) = (share(true_ratio), share(from), share(to));
    truth * one / zero + (1.0 - truth) * (1.0 - one) / (1.0 - zero)
}

#[test]
fn the_grid_rises_and_holds_the_margins() {
    assert!(LN_RATIOS.is_sorted_by(|a, b| a < b));
    for margin in [1.0 / 1.1, 1.0, 1.0 / 0.95, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0] {
        let (up, down) = (Point::at_least(margin), Point::at_most(margin));
        assert!((up.ratio() - margin).abs() < 1e-9 && up == down, "{margin}: {} {}", up.ratio(), down.ratio());
    }
    assert!(Point::at_least(1.3).ratio() >= 1.3 && Point::at_most(1.3).ratio() <= 1.3);
    assert_eq!(Point::at_least(1e9), Point(POINTS - 2));
    assert_eq!(Point::at_most(1e-9), Point(1));
}

proptest! {
    #[test]
    fn no_event_is_expected_to_speak_against_a_true_null(part in 0.0f64..1.0, n_c in 1.0f64..1e6, n_b in 1.0f64..1e6) {
        for from in (1..POINTS - 1).step_by(5) {
            let margin = LN_RATIOS[from];
            // "At most the margin" is true, and every larger ratio is held against it.
            let truth = exp(LN_RATIOS[0] + part * (margin - LN_RATIOS[0]));
            for ln_to in &LN_RATIOS[from + 1..] {
                let value = expectation_of_an_event(truth, exp(margin), exp(*ln_to), n_c, n_b);
                prop_assert!(value <= 1.0 + 1e-9, "{truth} {margin} {ln_to}: {value}");
            }
            // "At least the margin" is true, and every smaller ratio is held against it.
            let truth = exp(margin + part * (LN_RATIOS[POINTS - 1] - margin));
            for ln_to in &LN_RATIOS[..from] {
                let value = expectation_of_an_event(truth, exp(margin), exp(*ln_to), n_c, n_b);
                prop_assert!(value <= 1.0 + 1e-9, "{truth} {margin} {ln_to}: {value}");
            }
        }
    }

    /// The floor's extra events: with Poisson counts of means `p_c N_c` and `p_b N_b`, at the edge of the null
    /// `p_c = r0 (p_b + a)`, a window's factor is at most one in expectation (it is exact, from the means' generating function).
    #[test]
    fn a_floor_keeps_the_expectation(p_b in 0.0f64..0.1, a in 1e-6f64..0.01, n_c in 1.0f64..1e4, n_b in 1.0f64..1e4, from in 1usize..70) {
        let margin = exp(LN_RATIOS[from]);
        let share = |r: f64| n_c * r / (n_c * r + n_b);
        for ln_to in &LN_RATIOS {
            let (zero, one) = (share(margin), share(exp(*ln_to)));
            let (up, down) = (one / zero, (1.0 - one) / (1.0 - zero));
            let p_c = margin * (p_b + a);
            let ln = p_c * n_c * (up - 1.0) + p_b * n_b * (down - 1.0) + a * n_b * log(down);
            prop_assert!(ln <= 1e-9 * (p_c * n_c * up).max(1.0), "{ln_to}: {ln}");
        }
    }

    #[test]
    fn windows_in_any_order_and_grouping_give_the_same_bits(
        windows in proptest::collection::vec(((0u64..50, 1u64..5_000), (0u64..90, 1u64..50_000)), 1..30),
        cut in 0usize..30,
    ) {
        let windows: Vec<Counts> = windows.into_iter().map(|(c, b)| counts(c, b)).collect();
        let (left, right) = windows.split_at(cut % windows.len());
        let mut merged = likelihood(right);
        let mut turned = left.to_vec();
        turned.reverse();
        merged.merge(&likelihood(&turned));
        let whole = likelihood(&windows);
        prop_assert_eq!(&merged, &whole);
        let mut without = whole;
        for window in &windows {
            without.subtract(&Addend::of(*window));
        }
        prop_assert_eq!(without, Likelihood::default());
    }

    #[test]
    fn the_interval_holds_the_estimate(x_c in 0u64..3_000, x_b in 0u64..3_000, n_c in 1_000u64..100_000, n_b in 1_000u64..100_000) {
        let curve = likelihood(&[counts((x_c, n_c), (x_b, n_b))]).curve(0.0, 1.0);
        let estimate = curve.estimate();
        let (low, high) = curve.interval(0.05);
        prop_assert!(low.is_none_or(|low| low <= estimate * 1.0001), "{:?} {}", low, estimate);
        prop_assert!(high.is_none_or(|high| high >= estimate * 0.9999), "{:?} {}", high, estimate);
    }
}

#[test]
fn the_estimate_is_the_ratio_of_the_rates() {
    let curve = likelihood(&[counts((310, 10_000), (900, 90_000))]).curve(0.0, 1.0);
    assert!((curve.estimate() - 3.1).abs() < 0.03, "{}", curve.estimate());
    let (low, high) = curve.interval(0.05);
    let (low, high) = (low.expect("an end"), high.expect("an end"));
    assert!(low > 2.3 && low < 2.8 && high > 3.5 && high < 4.1, "{low} {high}");
}

#[test]
fn a_season_that_both_sides_share_says_nothing() {
    // The rate of errors is ten times as high at noon, for both.
    let windows = [counts((1, 1_000), (9, 9_000)), counts((10, 1_000), (90, 9_000)), counts((1, 1_000), (9, 9_000))];
    let curve = likelihood(&windows).curve(0.0, 1.0);
    assert!((curve.estimate() - 1.0).abs() < 0.01 && curve.ln_worse(Point::at_least(1.1), Prior::Close) < 0.0);
}

#[test]
fn an_error_free_baseline_is_an_ordinary_case() {
    // 30 % errors against none: overwhelming with a floor of half a per mille; none against none: soon fine.
    let worse = likelihood(&[counts((30, 100), (0, 900))]).curve(0.000_5, 1.0);
    assert!(
        worse.ln_worse(Point::at_least(2.0), Prior::Close) > 30.0,
        "{}",
        worse.ln_worse(Point::at_least(2.0), Prior::Close)
    );
    let good = likelihood(&[counts((0, 6_000), (0, 54_000)); 3]).curve(0.000_5, 1.0);
    assert!(good.ln_fine(Point::at_most(1.5)) > 3.0, "{}", good.ln_fine(Point::at_most(1.5)));
    let unknown = likelihood(&[counts((0, 100), (0, 900))]).curve(0.0, 1.0);
    assert!(unknown.ln_fine(Point::at_most(1.5)).abs() < 1e-9);
}

#[test]
fn overwhelming_evidence_stays_finite() {
    let curve = likelihood(&[counts((900_000_000, 1_000_000_000), (1, 1_000_000_000))]).curve(0.0, 1.0);
    assert!(
        curve.ln_worse(Point::at_least(1.1), Prior::Close).is_finite()
            && curve.ln_fine(Point::at_most(1.1)).is_finite()
    );
    let (low, high) = curve.interval(0.05);
    assert!(low.is_some() && high.is_none(), "{low:?} {high:?}");
}
