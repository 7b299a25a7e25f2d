//! Many runs of one world, judged by the engine, and what became of them.

use shipwake_verdict::{Check, Comparison, Counts, Facts, Instances, Noise, Policy, Slots, Tally, Word};

use super::world::{Run, WINDOW_S, World};

/// How runs are judged.
#[derive(Clone, Copy, Debug)]
pub struct Judging {
    /// How long the release is looked at, in windows of ten seconds.
    pub windows: i64,
    /// How much of the baseline's past is known, in windows.
    pub history: i64,
    /// A fixed length of blocks, in seconds; by the noise if none.
    pub block_s: Option<u32>,
    /// Windows come up to this many windows late, a third of them.
    pub late: i64,
    /// It is looked at after so many windows, again and again.
    pub look: i64,
    /// How many times as many errors are worse.
    pub worse: f64,
    /// Standard deviations by which the limit for "go" is narrowed where machines differ.
    pub allowance_fine: f64,
}

impl Default for Judging {
    fn default() -> Self {
        let Policy { errors, allowance_fine, .. } = Policy::default();
        Judging { windows: 360, history: 360, block_s: Some(60), late: 0, look: 1, worse: errors.worse, allowance_fine }
    }
}

/// What became of the runs.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub runs: u32,
    pub no_go: u32,
    pub go: u32,
    /// Seconds until "no go" and "go", rising: from the candidate's first request, or from when it broke.
    pub no_go_after_s: Vec<i64>,
    pub go_after_s: Vec<i64>,
}

impl Outcome {
    /// When a run was first "no go", and when it was first "go".
    pub fn add(&mut self, (no_go_s, go_s): (Option<i64>, Option<i64>)) {
        self.no_go += u32::from(no_go_s.is_some());
        self.go += u32::from(go_s.is_some());
        self.no_go_after_s.extend(no_go_s);
        self.go_after_s.extend(go_s);
    }

    pub fn sort(&mut self) {
        self.no_go_after_s.sort_unstable();
        self.go_after_s.sort_unstable();
    }

    pub fn median(after_s: &[i64], runs: u32) -> Option<i64> {
        after_s.get((runs as usize).div_ceil(2) - 1).copied()
    }
}

/// Runs a world with seeds `from..from + runs`.
pub fn run(world: &World, judging: &Judging, from: u64, runs: u32) -> Outcome {
    let mut outcome = Outcome { runs, ..Outcome::default() };
    for seed in from..from + u64::from(runs) {
        outcome.add(one(world, judging, seed));
    }
    outcome.sort();
    outcome
}

/// When one run was first "no go", and when it was first "go".
fn one(world: &World, judging: &Judging, seed: u64) -> (Option<i64>, Option<i64>) {
    let mut run = Run::new(world, seed);
    let history: Vec<(i64, Slots)> =
        (0..judging.history).map(|k| ((k - judging.history) * WINDOW_S, run.before(k))).collect();
    let noise = Noise::learn(&history, Some(world.baseline_pods));
    // The warm-up is left out of the figures: a release is taken to be warm.
    let mut policy = Policy { warm_up_s: 0, block_s: judging.block_s, ..Policy::default() };
    (policy.errors.worse, policy.allowance_fine) = (judging.worse, judging.allowance_fine);
    let check = Check::errors(&policy, noise, 0.0);
    let mut comparison = Comparison::open(policy, vec![check], vec!["a".to_owned(), "b".to_owned()], 0);
    let mut held: Vec<(i64, i64, u16, Counts)> = Vec::new();
    let (mut no_go_s, mut go_s) = (None, None);
    for k in 0..judging.windows {
        for (stratum, counts) in run.window(k, judging.windows).into_iter().enumerate() {
            let delay = if judging.late > 0 && (k + seed as i64) % 3 == 0 { 1 + (k * 7) % judging.late } else { 0 };
            if judging.late > 0 {
                held.push((k + delay, k, stratum as u16, counts));
            } else {
                comparison.add(0, 0, stratum as u16, k * WINDOW_S, counts);
            }
        }
        for (_, k, stratum, counts) in held.extract_if(.., |(due, ..)| *due <= k) {
            add_in_halves(&mut comparison, stratum, k * WINDOW_S, counts);
        }
        if (k + 1) % judging.look != 0 {
            continue;
        }
        let end_s = (k + 1) * WINDOW_S;
        let complete_until_s = end_s - judging.late * WINDOW_S;
        let instances = |count| Instances { count: Some(count), silent: 0 };
        let facts = Facts {
            now_s: complete_until_s + 5,
            complete_until_s,
            candidate: instances(world.candidate_pods),
            baseline: instances(world.baseline_pods),
            concurrent: true,
        };
        match comparison.judge(&facts).word {
            Word::NoGo => {
                no_go_s = Some(end_s - world.breaks_at * WINDOW_S);
                break;
            }
            // Until it breaks it is good.
            Word::Go if k >= world.breaks_at => go_s = go_s.or(Some(end_s)),
            Word::Go => {}
            Word::Watch | Word::Wait => {}
        }
    }
    (no_go_s, go_s)
}

/// A window comes in two parts, the second one first seen as late: as from two shards.
fn add_in_halves(comparison: &mut Comparison, stratum: u16, start_s: i64, counts: Counts) {
    let half = |tally: Tally| Tally::new(tally.events / 2, tally.exposure / 2);
    let rest = |tally: Tally| Tally::new(tally.events - tally.events / 2, tally.exposure - tally.exposure / 2);
    comparison.add(0, 0, stratum, start_s, Counts::new(half(counts.candidate), half(counts.baseline)));
    comparison.add(0, 0, stratum, start_s, Counts::new(rest(counts.candidate), rest(counts.baseline)));
}

/// The upper bound of Clopper and Pearson, at 99 %, of the part of runs that were called "no go".
pub fn upper_99(hits: u32, runs: u32) -> f64 {
    let (x, n) = (f64::from(hits), f64::from(runs));
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let at_most = 1.0 - shipwake_verdict::special::incomplete_beta(x + 1.0, n - x, middle);
        if at_most > 0.01 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
