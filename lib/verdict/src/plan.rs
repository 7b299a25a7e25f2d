//! How much more it takes: events, requests and minutes until a question can be decided.
//!
//! Each event is worth `KL(θ(true) ‖ θ(margin))` nats on average; a mixture pays about one and a half nats for not knowing the
//! true ratio. So `n ≈ (ln(1/α) + 1.5) / KL` events of both sides together.

use libm::log;

/// What a mixture pays for not knowing the ratio, in nats.
const PRICE: f64 = 1.5;

/// The events of both sides that it takes to tell `ratio` from `margin` at `alpha`, with this share of the traffic being the
/// candidate's. Infinite when they are the same.
pub fn events_needed(alpha: f64, share: f64, ratio: f64, margin: f64, dispersion: f64) -> f64 {
    nats_to_events(-log(alpha) + PRICE, share, ratio, margin, dispersion)
}

/// The same when evidence of `ln_evidence` nats is there already.
pub fn events_missing(alpha: f64, ln_evidence: f64, share: f64, ratio: f64, margin: f64, dispersion: f64) -> f64 {
    // The price has been paid once there is evidence at all.
    let price = if ln_evidence > 0.0 { 0.0 } else { PRICE };
    let nats = (-log(alpha) + price - ln_evidence).max(0.0);
    nats_to_events(nats, share, ratio, margin, dispersion)
}

/// The smallest of a few usual shares of traffic at which the time to decide is about half of what it is at `share`, or less.
pub fn share_that_halves(share: f64, ratio: f64, margin: f64) -> Option<f64> {
    const SHARES: [f64; 5] = [0.05, 0.1, 0.25, 0.33, 0.5];
    let gain = |share: f64| divergence(share, ratio, margin);
    let now = gain(share);
    SHARES.into_iter().find(|other| *other > share && now > 0.0 && gain(*other) >= 1.9 * now)
}

fn nats_to_events(nats: f64, share: f64, ratio: f64, margin: f64, dispersion: f64) -> f64 {
    dispersion * nats / divergence(share, ratio, margin)
}

/// `KL(θ(ratio) ‖ θ(margin))` of one event.
fn divergence(share: f64, ratio: f64, margin: f64) -> f64 {
    let theta = |r: f64| share * r / (share * r + 1.0 - share);
    let (p, q) = (theta(ratio), theta(margin));
    p * log(p / q) + (1.0 - p) * log((1.0 - p) / (1.0 - q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planning_numbers_are_those_of_the_design() {
        let near = |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 0.03, "{value} {expected}");
        for (ratio, tenth, half) in
            [(1.5, 670.0, 303.0), (2.0, 200.0, 108.0), (3.0, 66.0, 47.0), (5.0, 26.0, 25.0), (10.0, 11.0, 16.0)]
        {
            near(events_needed(0.01, 0.1, ratio, 1.0, 1.0), tenth);
            near(events_needed(0.01, 0.5, ratio, 1.0, 1.0), half);
        }
        for (margin, tenth, half) in [(1.5, 545.0, 220.0), (2.0, 173.0, 76.0)] {
            near(events_needed(0.05, 0.1, 1.0, margin, 1.0), tenth);
            near(events_needed(0.05, 0.5, 1.0, margin, 1.0), half);
        }
    }

    #[test]
    fn evidence_that_is_there_need_not_be_gathered_again() {
        let missing = |ln| events_missing(0.05, ln, 0.1, 1.0, 1.5, 1.0);
        assert!(missing(0.0) > missing(1.0) && missing(1.0) > missing(2.9));
        assert_eq!(missing(3.1), 0.0);
        assert!(missing(-1.0) > missing(0.0));
    }

    #[test]
    fn a_larger_share_decides_sooner() {
        assert_eq!(share_that_halves(0.1, 1.0, 1.5), Some(0.25));
        assert_eq!(share_that_halves(0.5, 1.0, 1.5), None);
    }
}
