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
        let mut slots = Slots::default();
        let first = self.world.candidate_pods;
        for pod in 0..self.world.baseline_pods {
            let rps = self.world.baseline_rps / f64::from(self.world.baseline_pods);
            let tally = self.pod((first + pod) as usize, rps * self.season(k), self.world.failing * self.incident(k));
            slots[(pod % 8) as usize] += tally;
        }
        slots
    }

    /// Both sides in the `k`-th of `windows` windows after it came, by stratum.
    pub fn window(&mut self, k: i64, windows: i64) -> Vec<Counts> {
        let world = self.world;
        let strata: &[(f64, f64, f64)] =
            if world.skewed_endpoints { &[(0.9, 0.8, 0.2), (0.1, 0.2, 4.0)] } else { &[(1.0, 1.0, 1.0)] };
        let grown = world.ramp_to_rps.map_or(0.0, |to| (to - world.candidate_rps) * k as f64 / windows as f64);
        let rps_c = (world.candidate_rps + grown) * self.season(k);
        let rps_b = (world.baseline_rps - grown) * self.season(k);
        let failing = world.failing * self.incident(k);
        let ratio = if k < world.breaks_at { 1.0 } else { world.ratio };
        let mut all = Vec::new();
        for &(share_b, share_c, factor) in strata {
            let (mut candidate, mut baseline) = (Tally::default(), Tally::default());
            for pod in 0..world.candidate_pods {
                let silent = world.silent_pod && pod == 0 && k > windows / 3;
                let rps = rps_c * share_c / f64::from(world.candidate_pods);
                let tally = self.pod(pod as usize, rps, failing * factor * ratio);
                let lost = world.restarts && k % 120 == 60;
                let kept = |tally: Tally| if lost { Tally::new(tally.events / 2, tally.exposure / 2) } else { tally };
                candidate += if silent { Tally::default() } else { kept(tally) };
            }
            for pod in 0..world.baseline_pods {
                let rps = rps_b * share_b / f64::from(world.baseline_pods);
                baseline += self.pod((world.candidate_pods + pod) as usize, rps, failing * factor);
            }
            all.push(Counts::new(candidate, baseline));
        }
        all
    }

    fn season(&self, k: i64) -> f64 {
        if self.world.season { (k as f64 / 57.0).sin().exp2() } else { 1.0 }
    }

    fn incident(&self, k: i64) -> f64 {
        if self.world.shared_incidents && k % 100 >= 90 { 10.0 } else { 1.0 }
    }

    fn pod(&mut self, pod: usize, rps: f64, failing: f64) -> Tally {
        let expected = rps * WINDOW_S as f64;
        // Requests are many, or their exact spread does not matter.
        let exposure = if expected < 30.0 {
            self.dice.poisson(expected)
        } else {
            (expected + expected.sqrt() * self.dice.normal()).round().max(0.0) as u64
        };
        let mean = exposure as f64 * (failing * self.pods[pod]).min(1.0);
        let events = match self.world.burst {
            Burst::None => self.dice.poisson(mean),
            Burst::Windows(dispersion) => self.dice.dispersed(mean, dispersion),
            Burst::Wander { deviation, memory_s } => {
                let kept = (-WINDOW_S as f64 / memory_s).exp();
                let step = self.dice.normal() * deviation;
                let before = self.wandering[pod];
                let now = if before.is_nan() { step } else { kept * before + (1.0 - kept * kept).sqrt() * step };
                self.wandering[pod] = now;
                self.dice.poisson(mean * (now - deviation * deviation / 2.0).exp())
            }
        };
        Tally::new(events.min(exposure), exposure)
    }
}
