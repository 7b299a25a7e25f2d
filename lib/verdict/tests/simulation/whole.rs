//! Whole releases as the product judges them: errors, crashes, durations at three thresholds, orders, revenue, log patterns and
//! instances that answer, all at once and all moved by the same hidden trouble, under the default policy.

use shipwake_verdict::latency::Thresholds;
use shipwake_verdict::patterns::PatternLines;
use shipwake_verdict::special::{normal_cdf, normal_quantile};
use shipwake_verdict::{Check, Comparison, Counts, Facts, Instances, Noise, Policy, Side, Slots, Tally, Word};

use super::dice::Dice;
use super::scenario::Outcome;
use super::world::WINDOW_S;

/// Two instances of a hundred requests a second together beside eight slots of nine hundred.
const SLOTS_C: usize = 2;
const SLOTS_B: usize = 8;
const RPS_C: f64 = 100.0;
const RPS_B: f64 = 900.0;
/// Durations are lognormal with this deviation.
const SIGMA: f64 = 0.6;
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// Streams of counts by slot: errors, crashes, three thresholds, orders, slots that answer.
const STREAMS: usize = 7;
/// How often it is looked at.
const LOOK_S: i64 = 30;
/// Patterns that the baseline's errors have always logged.
const PATTERNS: u64 = 6;

/// What a release is like.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    pub name: &'static str,
    /// How many times as often its requests fail.
    pub failing: f64,
    /// How many times as long they take.
    pub slower: f64,
    /// How much trouble slots have: the standard deviation of the logarithm of their durations. With it, more requests fail and fewer order.
    pub trouble: f64,
    /// In how many seconds it passes.
    pub memory_s: f64,
    /// How much of the baseline's past is known, in windows.
    pub history: i64,
}

pub fn whole_releases() -> [Whole; 6] {
    let good = Whole { name: "good", failing: 1.0, slower: 1.0, trouble: 0.03, memory_s: 1.0, history: 360 };
    [
        good,
        Whole { name: "good, trouble that lasts", memory_s: 60.0, ..good },
        Whole { name: "good, much trouble", trouble: 0.1, ..good },
        Whole { name: "good, ten minutes after the service came up", history: 60, ..good },
        Whole { name: "fails twice as often", failing: 2.0, ..good },
        Whole { name: "30 % slower", slower: 1.3, ..good },
    ]
}

/// Runs a release for an hour with seeds `from..from + runs`.
pub fn run(whole: &Whole, from: u64, runs: u32) -> Outcome {
    let mut outcome = Outcome { runs, ..Outcome::default() };
    for seed in from..from + u64::from(runs) {
        outcome.add(one(whole, seed));
    }
    outcome.sort();
    outcome
}

/// What one slot did in one window.
struct SlotWindow {
    streams: [Tally; STREAMS],
    revenue: f64,
    /// Lines of each known pattern, and of one that nobody has seen.
    lines: [u64; PATTERNS as usize + 1],
}

struct Traffic<'a> {
    whole: &'a Whole,
    dice: Dice,
    trouble: [f64; SLOTS_C + SLOTS_B],
    limits: [f64; 3],
}

impl Traffic<'_> {
    fn slot(&mut self, slot: usize) -> SlotWindow {
        let whole = self.whole;
        let is_candidate = slot < SLOTS_C;
        let (failing, slower) = if is_candidate { (whole.failing, whole.slower) } else { (1.0, 1.0) };
        let kept = (-WINDOW_S as f64 / whole.memory_s).exp();
        let step = whole.trouble * self.dice.normal();
        self.trouble[slot] = kept * self.trouble[slot] + (1.0 - kept * kept).sqrt() * step;
        let trouble = self.trouble[slot];
        let rps = if is_candidate { RPS_C / SLOTS_C as f64 } else { RPS_B / SLOTS_B as f64 };
        let requests = self.dice.poisson(rps * WINDOW_S as f64);
        let sessions = requests / 4;
        let mut streams = [Tally::default(); STREAMS];
        let errors = self.dice.dispersed(requests as f64 * 0.005 * failing * (4.0 * trouble).exp(), 2.0).min(requests);
        streams[0] = Tally::new(errors, requests);
        let crashed = self.dice.poisson(sessions as f64 * 0.001 * failing * (4.0 * trouble).exp());
        streams[1] = Tally::new(crashed.min(sessions), sessions);
        // Those beyond a threshold are some of those beyond the one before it.
        let (mut beyond, mut chance_before) = (requests, 1.0);
        for (stream, limit) in streams[2..5].iter_mut().zip(self.limits) {
            let chance = normal_cdf((slower.ln() + trouble - limit) / SIGMA);
            beyond = self.dice.binomial(beyond, chance / chance_before);
            chance_before = chance;
            *stream = Tally::new(beyond, requests);
        }
        let ordering = 0.1 * (-trouble).exp() * (1.0 - errors as f64 / requests.max(1) as f64);
        let orders = self.dice.binomial(sessions, ordering);
        streams[5] = Tally::new(orders, sessions);
        streams[6] = Tally::new(u64::from(requests > 0), 1);
        let mut lines = [0; PATTERNS as usize + 1];
        for (pattern, lines) in lines.iter_mut().enumerate().take(PATTERNS as usize) {
            // Retries log the same line again.
            *lines = self.dice.poisson(errors as f64 * 0.3) * (1 + pattern as u64 % 3);
        }
        lines[PATTERNS as usize] = u64::from(self.dice.unit() < 1e-3);
        let revenue = 30.0 * orders as f64 + 15.0 * (orders as f64).sqrt() * self.dice.normal();
        SlotWindow { streams, revenue, lines }
    }
}

fn one(whole: &Whole, seed: u64) -> (Option<i64>, Option<i64>) {
    let limits = QUANTILES.map(|q| SIGMA * normal_quantile(q));
    let mut traffic = Traffic { whole, dice: Dice::new(seed), trouble: [0.0; SLOTS_C + SLOTS_B], limits };
    let mut comparison = opened(&mut traffic);
    let (mut no_go_s, mut go_s) = (None, None);
    for k in 0..360 {
        window(&mut comparison, &mut traffic, k);
        let end_s = (k + 1) * WINDOW_S;
        if end_s % LOOK_S != 0 {
            continue;
        }
        let instances = |count| Instances { count: Some(count), silent: 0 };
        let facts = Facts {
            now_s: end_s + 2,
            complete_until_s: end_s,
            candidate: instances(SLOTS_C as u32),
            baseline: instances(18),
            concurrent: true,
        };
        match comparison.judge(&facts).word {
            Word::NoGo => {
                no_go_s = Some(end_s);
                break;
            }
            Word::Go => go_s = go_s.or(Some(end_s)),
            Word::Watch | Word::Wait => {}
        }
    }
    (no_go_s, go_s)
}

/// A comparison with every check, of a baseline whose past was looked at.
fn opened(traffic: &mut Traffic<'_>) -> Comparison {
    let mut past: [Vec<(i64, Slots)>; STREAMS] = Default::default();
    for k in 0..traffic.whole.history {
        let slots: Vec<SlotWindow> = (SLOTS_C..SLOTS_C + SLOTS_B).map(|slot| traffic.slot(slot)).collect();
        for (stream, past) in past.iter_mut().enumerate() {
            let at_s = (k - traffic.whole.history) * WINDOW_S;
            past.push((at_s, std::array::from_fn(|slot| slots[slot].streams[stream])));
        }
    }
    let noise = past.each_ref().map(|past| Noise::learn(past, Some(18)));
    let policy = Policy::default();
    let thresholds = thresholds(traffic.limits, policy.latency.relative);
    let checks = vec![
        Check::errors(&policy, noise[0], 3_600.0 * (RPS_C + RPS_B)),
        Check::crashes(&policy, noise[1]),
        Check::latency(&policy, &thresholds, [noise[2], noise[3], noise[4]]),
        Check::kpi_events(&policy, "orders", "orders per session", noise[5]),
        Check::kpi_values(&policy, "revenue", "revenue per session", 60),
        Check::patterns(),
        Check::traffic(&policy, noise[6]),
    ];
    Comparison::open(policy, checks, Vec::new(), 0)
}

/// The baseline's own quantiles, exactly, and what it would have beyond them if it were slower by the limit.
fn thresholds(limits: [f64; 3], relative: f64) -> Thresholds {
    let beyond = |limit: f64| normal_cdf(-limit / SIGMA);
    let slower = relative.ln_1p();
    Thresholds {
        at: limits.map(|limit| 0.2 * limit.exp()),
        unit_s: 1.0,
        beyond: limits.map(beyond),
        limit: limits.map(|limit| beyond(limit - slower) / beyond(limit)),
    }
}

fn window(comparison: &mut Comparison, traffic: &mut Traffic<'_>, k: i64) {
    let start_s = k * WINDOW_S;
    let slots: Vec<SlotWindow> = (0..SLOTS_C + SLOTS_B).map(|slot| traffic.slot(slot)).collect();
    let (candidate, baseline) = slots.split_at(SLOTS_C);
    let sum =
        |side: &[SlotWindow], stream: usize| side.iter().fold(Tally::default(), |sum, slot| sum + slot.streams[stream]);
    let places = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (3, 0), (6, 0)];
    for (stream, (check, part)) in places.into_iter().enumerate() {
        comparison.add(check, part, 0, start_s, Counts::new(sum(candidate, stream), sum(baseline, stream)));
    }
    for (side, of) in [(Side::Candidate, candidate), (Side::Baseline, baseline)] {
        let revenue = of.iter().map(|slot| slot.revenue).sum();
        comparison.add_values(4, start_s, side, revenue, sum(of, 5).exposure);
    }
    let requests = Counts::new(Tally::new(0, sum(candidate, 0).exposure), Tally::new(0, sum(baseline, 0).exposure));
    for (slot, of) in slots.iter().enumerate() {
        for (pattern, lines) in of.lines.iter().enumerate().filter(|(_, lines)| **lines > 0) {
            let mut counts = requests;
            let side = if slot < SLOTS_C { &mut counts.candidate } else { &mut counts.baseline };
            side.events = *lines;
            let known = (pattern as u64) < PATTERNS;
            // What nobody has seen is another pattern every time.
            let id = if known { pattern as u64 } else { 1_000 + k as u64 * 16 + slot as u64 };
            comparison.add_pattern(5, PatternLines { id, template: "a line", known, slot: slot as u8, counts });
        }
    }
}
