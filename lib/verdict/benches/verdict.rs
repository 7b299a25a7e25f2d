//! The figures of docs/benchmarks.md: how often good releases are called bad, how soon bad ones are found, and what a look costs.
//! `cargo bench -p shipwake-verdict` for all; `-- good`, `-- bad`, `-- cost` for one; a number scales the runs.

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use shipwake_verdict::{Check, Comparison, Counts, Facts, Instances, Noise, Policy, Tally};
use simulation::scenario::{Judging, Outcome, run, upper_99};
use simulation::table::{RATIOS, bad_releases, good_releases};
use simulation::world::World;

/// Runs of an hour; longer worlds have fewer.
const RUNS: f64 = 400.0;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let scale = words.iter().find_map(|word| word.parse::<f64>().ok()).unwrap_or(1.0);
    let wanted = |name: &str| {
        let named = words.iter().any(|word| ["good", "bad", "cost"].contains(&word.as_str()));
        !named || words.iter().any(|word| word == name)
    };
    if wanted("good") {
        good(scale);
    }
    if wanted("bad") {
        bad(scale);
    }
    if wanted("cost") {
        cost();
    }
}

fn good(scale: f64) {
    println!("good releases | runs | no go | below (99 %) | go | median until go");
    for good in good_releases() {
        let hours = (good.judging.windows as f64 / 360.0).max(1.0);
        let runs = (RUNS * scale / hours.min(8.0)).max(20.0) as u32;
        let outcome = in_threads(&good.world, &good.judging, runs);
        println!(
            "{} | {runs} | {:.2} % | {:.2} % | {:.1} % | {}",
            good.name,
            100.0 * f64::from(outcome.no_go) / f64::from(runs),
            100.0 * upper_99(outcome.no_go, runs),
            100.0 * f64::from(outcome.go) / f64::from(runs),
            after(Outcome::median(&outcome.go_after_s, runs)),
        );
    }
}

fn bad(scale: f64) {
    println!("worse releases, 1 h | times | runs | no go | median | wrong go");
    for bad in bad_releases() {
        for ratio in RATIOS {
            let world = World { ratio, ..bad.world.clone() };
            let runs = (RUNS * scale / 2.0).max(20.0) as u32;
            let outcome = in_threads(&world, &bad.judging, runs);
            println!(
                "{} | {ratio} | {runs} | {:.1} % | {} | {:.1} %",
                bad.name,
                100.0 * f64::from(outcome.no_go) / f64::from(runs),
                after(Outcome::median(&outcome.no_go_after_s, runs)),
                // One that is fine for an hour is rightly called so.
                if world.breaks_at > 0 { 0.0 } else { 100.0 * f64::from(outcome.go) / f64::from(runs) },
            );
        }
    }
}

/// The same runs on both cores.
fn in_threads(world: &World, judging: &Judging, runs: u32) -> Outcome {
    let half = runs / 2;
    let (mut one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(world, judging, u64::from(half), runs - half));
        (run(world, judging, 0, half), other.join().expect("a run that ends"))
    });
    one.runs += other.runs;
    one.no_go += other.no_go;
    one.go += other.go;
    one.no_go_after_s.extend(other.no_go_after_s);
    one.go_after_s.extend(other.go_after_s);
    one.no_go_after_s.sort_unstable();
    one.go_after_s.sort_unstable();
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
