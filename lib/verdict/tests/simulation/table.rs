//! The worlds of the published tables: good releases that must not be called bad, and bad ones that must be found.

use super::scenario::Judging;
use super::world::{Burst, World};

/// Windows of an hour.
pub const HOUR: i64 = 360;

/// A good release under noise of some kind.
pub struct Good {
    pub name: &'static str,
    pub world: World,
    pub judging: Judging,
}

fn good(name: &'static str, world: World, hours: i64) -> Good {
    Good { name, world, judging: Judging { windows: hours * HOUR, ..Judging::default() } }
}

/// Bursts that last about a hundred seconds.
pub fn correlated() -> Burst {
    Burst::Wander { deviation: 0.75, memory_s: 100.0 }
}

pub fn good_releases() -> Vec<Good> {
    let bursts = |dispersion| World { burst: Burst::Windows(dispersion), ..World::default() };
    let half = |world: World| World { candidate_rps: 500.0, baseline_rps: 500.0, ..world };
    let ramp = World { ramp_to_rps: Some(500.0), ..World::default() };
    let wander = || World { burst: correlated(), ..World::default() };
    let pods = World { spread: 0.2, candidate_pods: 2, baseline_pods: 18, ..World::default() };
    let little = World { candidate_rps: 1.0, baseline_rps: 9.0, ..World::default() };
    let incidents = World { season: true, shared_incidents: true, ..World::default() };
    let skewed = World { skewed_endpoints: true, ..World::default() };
    let day = Judging { windows: 24 * HOUR, ..Judging::default() };
    let late = Judging { late: 6, ..Judging::default() };
    let all = || World {
        burst: Burst::Windows(4.0),
        season: true,
        shared_incidents: true,
        skewed_endpoints: true,
        silent_pod: true,
        restarts: true,
        ..ramp.clone()
    };
    let at_limit = |world: World| World { ratio: 1.1, ..world };
    let adaptive = Judging { block_s: None, ..Judging::default() };
    let by_noise = |name, world, hours| {
        let Good { judging, .. } = good(name, World::default(), hours);
        Good { name, world, judging: Judging { block_s: None, ..judging } }
    };
    vec![
        good("each failure for itself, 1 h", World::default(), 1),
        // Looked at every minute: a day of looks every ten seconds takes too long, and adds little.
        Good { judging: Judging { look: 6, ..day }, ..good("the same, 24 h", World::default(), 24) },
        good("share grows from 10 to 50 %", ramp.clone(), 1),
        good("bursts, four times the variance", bursts(4.0), 1),
        good("bursts, ten times", bursts(10.0), 1),
        good("the same, half of the traffic", half(bursts(10.0)), 1),
        good("bursts of about 100 s, 1 h", wander(), 1),
        good("the same, 6 h", wander(), 6),
        good("pods differ by 20 %, 2 of 20, 6 h", pods.clone(), 6),
        good("1 and 9 requests a second, 6 h", little.clone(), 6),
        good("season and shared incidents", incidents, 1),
        good("one endpoint fails more and has another share", skewed, 1),
        good("one pod falls silent", World { silent_pod: true, ..World::default() }, 1),
        good("restarts that lose counts", World { restarts: true, ..World::default() }, 1),
        Good { name: "a third comes up to a minute late", world: bursts(4.0), judging: late },
        Good { name: "all of that at once", world: all(), judging: late },
        by_noise("each failure for itself, blocks by the noise", World::default(), 1),
        by_noise("share grows from 10 to 50 %, blocks by the noise", ramp.clone(), 1),
        by_noise("bursts, ten times, blocks by the noise", bursts(10.0), 1),
        by_noise("bursts of about 100 s, blocks by the noise", wander(), 1),
        by_noise("the same, 6 h", wander(), 6),
        by_noise("pods differ by 20 %, 2 of 20, 6 h, blocks by the noise", pods, 6),
        by_noise("1 and 9 requests a second, 6 h, blocks by the noise", little, 6),
        Good { judging: Judging { late: 6, ..adaptive }, ..by_noise("all at once, blocks by the noise", all(), 1) },
        Good { judging: Judging { history: 0, ..adaptive }, ..good("bursts, four times, no history", bursts(4.0), 1) },
        Good {
            judging: Judging { history: 60, ..adaptive },
            ..good("bursts, four times, ten minutes of history", bursts(4.0), 1)
        },
        good("worse by the limit itself: 1.1 times", at_limit(World::default()), 1),
        by_noise("the same, blocks by the noise", at_limit(World::default()), 1),
        by_noise("the same, bursts, ten times, blocks by the noise", at_limit(bursts(10.0)), 1),
    ]
}

/// A release that is worse by a factor.
pub struct Bad {
    pub name: &'static str,
    pub world: World,
    pub judging: Judging,
}

/// How much worse.
pub const RATIOS: [f64; 4] = [1.5, 2.0, 5.0, 20.0];

pub fn bad_releases() -> Vec<Bad> {
    let little = World { candidate_rps: 1.0, baseline_rps: 9.0, ..World::default() };
    let rare = World { failing: 0.000_5, ..little };
    let adaptive = Judging { block_s: None, ..Judging::default() };
    let bad = |name, world| Bad { name, world, judging: Judging::default() };
    vec![
        bad("100 and 900 requests a second, 0.5 % fail", World::default()),
        bad("the same, bursts of about 100 s", World { burst: correlated(), ..World::default() }),
        bad("1 and 9 requests a second, 0.5 % fail", little),
        bad("1 and 9 requests a second, 0.05 % fail", rare),
        bad(
            "100 and 900, pods differ by 20 %, 2 of 20",
            World { spread: 0.2, candidate_pods: 2, baseline_pods: 18, ..World::default() },
        ),
        Bad {
            name: "100 and 900, fine for an hour first",
            world: World { breaks_at: HOUR, ..World::default() },
            judging: Judging { windows: 2 * HOUR, ..Judging::default() },
        },
        Bad { name: "100 and 900, blocks by the noise", world: World::default(), judging: adaptive },
    ]
}

/// Releases of six hours that are worse by just the limit for "go": called "go", they are called so wrongly.
pub fn wrongly_good() -> Vec<Bad> {
    let judging = Judging { windows: 6 * HOUR, block_s: None, ..Judging::default() };
    let bad = |name, world| Bad { name, world: World { ratio: 1.5, ..world }, judging };
    let bursts = |dispersion| World { burst: Burst::Windows(dispersion), ..World::default() };
    let pods = World { spread: 0.2, candidate_pods: 2, baseline_pods: 18, ..World::default() };
    vec![
        bad("each failure for itself", World::default()),
        bad("bursts, four times the variance", bursts(4.0)),
        bad("bursts, ten times", bursts(10.0)),
        bad("bursts of about 100 s", World { burst: correlated(), ..World::default() }),
        bad("pods differ by 20 %, 2 of 20", pods),
        bad("1 and 9 requests a second", World { candidate_rps: 1.0, baseline_rps: 9.0, ..World::default() }),
        Bad { judging: Judging { history: 0, ..judging }, ..bad("bursts, four times, no history", bursts(4.0)) },
    ]
}

/// Releases beside a baseline that never fails, of an hour: each fails so many times as often as is granted to one beside such a baseline.
/// Below one it may be called "go"; from there on that is wrong.
pub fn beside_an_error_free_baseline() -> Vec<(f64, Bad)> {
    let granted = shipwake_verdict::Policy::default().errors.floor;
    let learnt = Judging { block_s: None, ..Judging::default() };
    let unknown = Judging { history: 0, ..learnt };
    let mut found = Vec::new();
    for times in [0.0, 1.0, 2.0, 5.0, 10.0] {
        let world = |burst| World { failing: 0.0, candidate_failing: Some(times * granted), burst, ..World::default() };
        let small = World { candidate_rps: 10.0, baseline_rps: 90.0, ..world(Burst::None) };
        let mut put = |name, world, judging| found.push((times, Bad { name, world, judging }));
        put("each failure for itself", world(Burst::None), learnt);
        put("bursts, four times the variance", world(Burst::Windows(4.0)), learnt);
        put("bursts, ten times", world(Burst::Windows(10.0)), learnt);
        put("bursts, four times, no history", world(Burst::Windows(4.0)), unknown);
        put("10 and 90 requests a second", small, learnt);
    }
    found
}
