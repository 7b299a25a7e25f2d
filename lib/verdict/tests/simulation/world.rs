//! One simulated release: windows of ten seconds with slots, before and after the candidate comes.

use shipwake_verdict::{Counts, Slots, Tally};

use super::dice::Dice;

/// How counts of events come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Burst {
    /// Each for itself.
    None,
    /// Variance so many times the mean, each window for itself.
    Windows(f64),
    /// The rate of each slot wanders, with this standard deviation of its logarithm, and forgets in this many seconds.
    Wander { deviation: f64, memory_s: f64 },
}

/// A service, its release, and what goes on meanwhile.
#[derive(Clone, Debug)]
pub struct World {
    /// Requests a second.
    pub candidate_rps: f64,
    pub baseline_rps: f64,
    /// The candidate's share grows from `candidate_rps` to this many requests a second over the judged time.
    pub ramp_to_rps: Option<f64>,
    /// The part of requests that fails on the baseline.
    pub failing: f64,
    /// How many times as often they fail on the candidate.
    pub ratio: f64,
    /// The part of requests that fails on the candidate, where that is told by itself: nothing is so many times as often as never.
    pub candidate_failing: Option<f64>,
    /// From this window on; before it the candidate is like the baseline.
    pub breaks_at: i64,
    pub burst: Burst,
    /// Standard deviation of the logarithm of the rate between pods.
    pub spread: f64,
    pub candidate_pods: u32,
    pub baseline_pods: u32,
    /// Both sides fail ten times as often for a tenth of the time.
    pub shared_incidents: bool,
    /// Traffic doubles and halves within an hour.
    pub season: bool,
    /// Of two endpoints, one fails twenty times as often; the candidate gets twice the share of it.
    pub skewed_endpoints: bool,
    /// One pod of the candidate falls silent after a third of the time.
    pub silent_pod: bool,
    /// The candidate restarts every twenty minutes: for ten seconds half of its requests are lost with their counts.
    pub restarts: bool,
}

impl Default for World {
    fn default() -> Self {
        World {
            candidate_rps: 100.0,
            baseline_rps: 900.0,
            ramp_to_rps: None,
            failing: 0.005,
            ratio: 1.0,
            candidate_failing: None,
            breaks_at: 0,
            burst: Burst::None,
            spread: 0.0,
            candidate_pods: 8,
            baseline_pods: 16,
            shared_incidents: false,
            season: false,
            skewed_endpoints: false,
            silent_pod: false,
            restarts: false,
        }
    }
}

/// The state of a run.
pub struct Run<'a> {
    world: &'a World,
    dice: Dice,
    /// Factors of the pods' rates, the candidate's first.
    pods: Vec<f64>,
    /// Wandering logarithms of the rates of the pods.
    wandering: Vec<f64>,
}

/// Seconds of a window.
pub const WINDOW_S: i64 = 10;
/// Replicate slots that the baseline's pods are put into.
const SLOTS: usize = 8;

impl<'a> Run<'a> {
    pub fn new(world: &'a World, seed: u64) -> Run<'a> {
        let mut dice = Dice::new(seed);
        let pods = world.candidate_pods + world.baseline_pods;
        let spread = world.spread;
        Run {
            world,
            pods: (0..pods).map(|_| (spread * dice.normal() - spread * spread / 2.0).exp()).collect(),
            wandering: vec![f64::NAN; pods as usize],
            dice,
        }
    }

    /// The baseline's slots in a window before the candidate came.
    pub fn before(&mut self, k: i64) -> Slots {
        let (first, pods) = (self.world.candidate_pods as usize, self.world.baseline_pods as usize);
        let rps = self.world.baseline_rps / pods as f64 * self.season(k);
        let failing = self.world.failing * self.incident(k);
        let mut slots = Slots::default();
        for (slot, tally) in slots.iter_mut().enumerate().take(pods) {
            *tally = self.pods((first + slot..first + pods).step_by(SLOTS), rps, failing);
        }
        slots
    }

    /// Both sides in the `k`-th of `windows` windows after it came, by stratum.
    pub fn window(&mut self, k: i64, windows: i64) -> Vec<Counts> {
        let world = self.world;
        let strata: &[(f64, f64, f64)] =
            if world.skewed_endpoints { &[(0.9, 0.8, 0.2), (0.1, 0.2, 4.0)] } else { &[(1.0, 1.0, 1.0)] };
        let grown = world.ramp_to_rps.map_or(0.0, |to| (to - world.candidate_rps) * k as f64 / windows as f64);
        let (candidates, all) = (world.candidate_pods as usize, (world.candidate_pods + world.baseline_pods) as usize);
        let rps_c = (world.candidate_rps + grown) * self.season(k) / candidates as f64;
        let rps_b = (world.baseline_rps - grown) * self.season(k) / (all - candidates) as f64;
        let failing = world.failing * self.incident(k);
        let ratio = if k < world.breaks_at { 1.0 } else { world.ratio };
        let silent = usize::from(world.silent_pod && k > windows / 3);
        let lost = world.restarts && k % 120 == 60;
        let mut both = Vec::with_capacity(strata.len());
        for &(share_b, share_c, factor) in strata {
            let failing_c = world.candidate_failing.unwrap_or(failing * factor * ratio);
            let candidate = self.pods(silent..candidates, rps_c * share_c, failing_c);
            let baseline = self.pods(candidates..all, rps_b * share_b, failing * factor);
            let kept = if lost { Tally::new(candidate.events / 2, candidate.exposure / 2) } else { candidate };
            both.push(Counts::new(kept, baseline));
        }
        both
    }

    fn season(&self, k: i64) -> f64 {
        if self.world.season { (k as f64 / 57.0).sin().exp2() } else { 1.0 }
    }

    fn incident(&self, k: i64) -> f64 {
        if self.world.shared_incidents && k % 100 >= 90 { 10.0 } else { 1.0 }
    }

    /// A window of some pods, each of which gets so many requests a second. Counts of pods add up to counts of the same kind
    /// (Poisson, or gamma bursts of the same size), so they are drawn at once.
    fn pods(&mut self, pods: impl ExactSizeIterator<Item = usize>, rps: f64, failing: f64) -> Tally {
        let expected = rps * pods.len() as f64 * WINDOW_S as f64;
        // Requests are many, or their exact spread does not matter.
        let exposure = if expected < 30.0 {
            self.dice.poisson(expected)
        } else {
            (expected + expected.sqrt() * self.dice.normal()).round().max(0.0) as u64
        };
        let many = pods.len() as f64;
        let mean = exposure as f64 * pods.map(|pod| (failing * self.factor(pod)).min(1.0)).sum::<f64>() / many;
        let events = match self.world.burst {
            Burst::Windows(dispersion) => self.dice.dispersed(mean, dispersion),
            Burst::None | Burst::Wander { .. } => self.dice.poisson(mean),
        };
        Tally::new(events.min(exposure), exposure)
    }

    /// How many times as often a pod's requests fail as others' in the next window.
    fn factor(&mut self, pod: usize) -> f64 {
        let Burst::Wander { deviation, memory_s } = self.world.burst else { return self.pods[pod] };
        let kept = (-WINDOW_S as f64 / memory_s).exp();
        let step = self.dice.normal() * deviation;
        let before = self.wandering[pod];
        let now = if before.is_nan() { step } else { kept * before + (1.0 - kept * kept).sqrt() * step };
        self.wandering[pod] = now;
        self.pods[pod] * (now - deviation * deviation / 2.0).exp()
    }
}
