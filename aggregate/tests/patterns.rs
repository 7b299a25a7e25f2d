//! Lines of fourteen kinds of systems are grouped as well as `docs/benchmarks.md` says.

#[path = "../benches/corpus/mod.rs"]
mod corpus;
#[path = "../benches/measure/mod.rs"]
mod measure;

use corpus::SYSTEMS;
use measure::accuracy;

#[test]
fn grouping_stays_as_accurate_as_it_is() {
    let found: Vec<_> = SYSTEMS.iter().map(|system| (system.name, accuracy(&system.lines(2_000, 7)))).collect();
    let mean =
        |of: fn(&measure::Accuracy) -> f64| found.iter().map(|(_, one)| of(one)).sum::<f64>() / found.len() as f64;
    let (ga, fga) = (mean(|one| one.ga), mean(|one| one.fga));
    for (name, one) in &found {
        eprintln!("{name:<26} GA {:.3} FGA {:.3}, {} of {} groups", one.ga, one.fga, one.groups, one.templates);
    }
    assert!(ga >= 0.80 && fga >= 0.80, "GA {ga:.3} FGA {fga:.3}");
}
