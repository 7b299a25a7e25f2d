//! The figures of docs/benchmarks.md: how often good releases are called bad, how soon bad ones are found, and what a look costs.
//! `cargo bench -p shipwake-verdict` for all; `-- good`, `-- bad`, `-- wrong`, `-- floor`, `-- whole`, `-- choices`, `-- cost` for some; a number
//! scales the runs, any other word is a part of the names of the rows that are wanted.

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use shipwake_verdict::{Check, Comparison, Counts, Facts, Instances, Noise, Policy, Tally};
use simulation::scenario::{Judging, Outcome, run, upper_99};
use simulation::table::{Bad, HOUR, RATIOS, bad_releases, beside_an_error_free_baseline, good_releases, wrongly_good};
use simulation::whole::whole_releases;
use simulation::world::World;

/// Runs of an hour, and of longer worlds: with none wrong the bound is below one and a half per cent. Whole releases take long,
/// too.
const RUNS: f64 = 400.0;
const RUNS_LONG: f64 = 320.0;

/// What is to be run.
struct Wanted {
    scale: f64,
    /// Part of a row's name.
    rows: Option<String>,
}

fn main() {
    const PARTS: [&str; 7] = ["good", "bad", "wrong", "floor", "whole", "choices", "cost"];
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_part = |word: &&String| PARTS.contains(&word.as_str());
    let wanted = Wanted {
        scale: words.iter().find_map(|word| word.parse::<f64>().ok()).unwrap_or(1.0),
        rows: words.iter().find(|word| !is_part(word) && word.parse::<f64>().is_err()).cloned(),
    };
    let all = !words.iter().any(|word| is_part(&word));
    for part in PARTS.into_iter().filter(|part| all || words.iter().any(|word| word == part)) {
        match part {
            "good" => good(&wanted),
            "bad" => bad(&wanted),
            "wrong" => wrong(&wanted),
            "floor" => floor(&wanted),
            "whole" => whole(&wanted),
            "choices" => other_choices(&wanted),
            _ => cost(),
        }
    }
}

impl Wanted {
    fn has(&self, row: &str) -> bool {
        self.rows.as_ref().is_none_or(|part| row.contains(part))
    }

    fn runs(&self, of: f64) -> u32 {
        (of * self.scale).max(2.0) as u32
    }

    fn of_world(&self, world: &World, judging: &Judging) -> Outcome {
        let runs = self.runs(if judging.windows > 2 * HOUR { RUNS_LONG } else { RUNS });
        in_threads(runs, |from, runs| run(world, judging, from, runs))
    }
}

fn good(wanted: &Wanted) {
    println!("good releases | runs | no go | below (99 %) | go | median until go");
    for good in good_releases().into_iter().filter(|good| wanted.has(good.name)) {
        println!("{} | {}", good.name, as_good(&wanted.of_world(&good.world, &good.judging)));
    }
}

fn bad(wanted: &Wanted) {
    println!("worse releases, 1 h | times | runs | no go | median | wrong go");
    for bad in bad_releases().into_iter().filter(|bad| wanted.has(bad.name)) {
        for ratio in RATIOS {
            let world = World { ratio, ..bad.world.clone() };
            let outcome = wanted.of_world(&world, &bad.judging);
            // One that is fine for an hour is rightly called so.
            let wrong = if world.breaks_at > 0 { 0 } else { outcome.go };
            println!("{} | {ratio} | {} | {}", bad.name, as_bad(&outcome), part(wrong, outcome.runs));
        }
    }
}

fn wrong(wanted: &Wanted) {
    println!("1.5 times, 6 h, blocks by the noise | runs | wrong go | below (99 %) | no go");
    for bad in wrongly_good().into_iter().filter(|bad| wanted.has(bad.name)) {
        let Outcome { runs, go, no_go, .. } = wanted.of_world(&bad.world, &bad.judging);
        let below = 100.0 * upper_99(go, runs);
        println!("{} | {runs} | {} | {below:.2} % | {}", bad.name, part(go, runs), part(no_go, runs));
    }
}

fn floor(wanted: &Wanted) {
    println!(
        "beside an error-free baseline, 1 h | times what is granted | runs | go | below (99 %) | median until go | no go"
    );
    for (times, bad) in beside_an_error_free_baseline().into_iter().filter(|(_, bad)| wanted.has(bad.name)) {
        let outcome = wanted.of_world(&bad.world, &bad.judging);
        let Outcome { runs, go, no_go, .. } = outcome;
        let (below, median) = (100.0 * upper_99(go, runs), after(Outcome::median(&outcome.go_after_s, runs)));
        println!(
            "{} | {times} | {runs} | {} | {below:.2} % | {median} | {}",
            bad.name,
            part(go, runs),
            part(no_go, runs)
        );
    }
}

fn whole(wanted: &Wanted) {
    println!("whole releases, 1 h | runs | no go | below (99 %) | go | median until go | median until no go");
    for whole in whole_releases().into_iter().filter(|whole| wanted.has(whole.name)) {
        let outcome = in_threads(wanted.runs(RUNS_LONG), |from, runs| simulation::whole::run(&whole, from, runs));
        let no_go = after(Outcome::median(&outcome.no_go_after_s, outcome.runs));
        println!("{} | {} | {no_go}", whole.name, as_good(&outcome));
    }
}

fn other_choices(wanted: &Wanted) {
    println!("other choices | runs | no go | median | go");
    for choice in choices().into_iter().filter(|choice| wanted.has(choice.name)) {
        let outcome = wanted.of_world(&choice.world, &choice.judging);
        println!("{} | {} | {}", choice.name, as_bad(&outcome), part(outcome.go, outcome.runs));
    }
}

/// What other choices would give, as reasons for ours: the share of good releases called "go", and of those worse by 1.5 times.
fn choices() -> Vec<Bad> {
    let adaptive = Judging { block_s: None, ..Judging::default() };
    let pods = |ratio| World { ratio, spread: 0.2, candidate_pods: 2, baseline_pods: 18, ..World::default() };
    let six_hours = Judging { windows: 6 * HOUR, ..Judging::default() };
    let wide = Judging { allowance_fine: 0.0, ..six_hours };
    let no_margin = Judging { worse: 1.0, ..adaptive };
    let worse = |ratio| World { ratio, ..World::default() };
    let bad = |name, world, judging| Bad { name, world, judging };
    vec![
        bad("1.5 times, \"worse\" from 1.0 on, blocks by the noise", worse(1.5), no_margin),
        bad("2 times, \"worse\" from 1.0 on, blocks by the noise", worse(2.0), no_margin),
        bad("good, pods differ, \"go\" not narrowed, 6 h", pods(1.0), wide),
        bad("1.5 times, pods differ, \"go\" not narrowed, 6 h", pods(1.5), wide),
        bad("good, pods differ, \"go\" narrowed, 6 h", pods(1.0), six_hours),
        bad("1.5 times, pods differ, \"go\" narrowed, 6 h", pods(1.5), six_hours),
    ]
}

fn as_good(outcome: &Outcome) -> String {
    let Outcome { runs, no_go, go, .. } = *outcome;
    let median = after(Outcome::median(&outcome.go_after_s, runs));
    format!("{runs} | {} | {:.2} % | {} | {median}", part(no_go, runs), 100.0 * upper_99(no_go, runs), part(go, runs))
}

fn as_bad(outcome: &Outcome) -> String {
    let Outcome { runs, no_go, .. } = *outcome;
    format!("{runs} | {} | {}", part(no_go, runs), after(Outcome::median(&outcome.no_go_after_s, runs)))
}

fn part(of: u32, runs: u32) -> String {
    format!("{:.1} %", 100.0 * f64::from(of) / f64::from(runs))
}

/// The same runs on both cores.
fn in_threads(runs: u32, run: impl Fn(u64, u32) -> Outcome + Sync) -> Outcome {
    let half = runs / 2;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(u64::from(half), runs - half));
        merged(run(0, half), other.join().expect("a run that ends"))
    })
}

fn merged(mut one: Outcome, other: Outcome) -> Outcome {
    one.runs += other.runs;
    one.no_go += other.no_go;
    one.go += other.go;
    one.no_go_after_s.extend(other.no_go_after_s);
    one.go_after_s.extend(other.go_after_s);
    one.sort();
    one
}

fn after(seconds: Option<i64>) -> String {
    match seconds {
        None => "undecided".to_owned(),
        Some(seconds) if seconds <= 180 => format!("{seconds} s"),
        Some(seconds) => format!("{:.0} min", seconds as f64 / 60.0),
    }
}

/// Twenty metrics of twenty strata of ten releases, an hour in: one window more, and a look.
fn cost() {
    let policy = Policy::default();
    let noise = Noise { dispersion: 1.5, dispersion_fast: 1.2, rate: Some(0.01), ..Noise::unknown() };
    let strata: Vec<String> = (0..20).map(|k| format!("GET /{k}")).collect();
    let checks: Vec<Check> = (0..20).map(|_| Check::errors(&policy, noise, 1e5)).collect();
    let mut releases: Vec<Comparison> =
        (0..10).map(|_| Comparison::open(policy.clone(), checks.clone(), strata.clone(), 0)).collect();
    let window = |comparison: &mut Comparison, k: i64| {
        for check in 0..20 {
            for stratum in 0..20 {
                let (failed, requests) = ((k as u64 + stratum) % 3, 80 + (k as u64 * 7 + stratum) % 40);
                let counts = Counts::new(Tally::new(failed, requests), Tally::new(9 * failed, 9 * requests));
                comparison.add(check, 0, stratum as u16, k * 10, counts);
            }
        }
    };
    let look = |comparison: &mut Comparison, k: i64| {
        let instances = |count| Instances { count: Some(count), silent: 0 };
        comparison.judge(&Facts {
            now_s: k * 10 + 12,
            complete_until_s: k * 10 + 10,
            candidate: instances(4),
            baseline: instances(18),
            concurrent: true,
        })
    };
    for comparison in &mut releases {
        for k in 0..360 {
            window(comparison, k);
            look(comparison, k);
        }
    }
    let mut windows_ms = Vec::new();
    let mut looks_ms = Vec::new();
    for k in 360..400 {
        let started_ms = cpu_ms();
        releases.iter_mut().for_each(|comparison| window(comparison, k));
        let between_ms = cpu_ms();
        for comparison in &mut releases {
            std::hint::black_box(look(comparison, k));
        }
        windows_ms.push(between_ms - started_ms);
        looks_ms.push(cpu_ms() - between_ms);
    }
    let (windows, looks) = (middle(windows_ms), middle(looks_ms));
    println!(
        "20 metrics x 20 strata x 10 releases, CPU time, median of 40: a window {windows:.1} ms, a look {looks:.1} ms"
    );
    println!("one comparison of 20 metrics x 20 strata, an hour in, stored: {} kB", releases[0].encode().len() / 1024);
}

/// Milliseconds that this thread had a core: other work on the machine does not count.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).expect("nanoseconds") / 1e6
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
