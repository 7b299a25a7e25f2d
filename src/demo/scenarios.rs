//! What can happen in the shop: named scripts, each a table of moments. Data; `world.rs` and `run.rs` do what they say.
//!
//! Times are seconds of script time: `--speed 4` plays a script in a quarter of the time.

/// A script.
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// One sentence: what happens.
    pub about: &'static str,
    /// Where to look and what to see there.
    pub look: &'static str,
    /// Services whose resources have no version.
    pub unversioned: &'static [&'static str],
    /// What happens when, in order.
    pub steps: &'static [Step],
    /// What the rollout tool does when it is told a verdict on a new version, in seconds from then on; nothing where nobody rolls out.
    pub on_verdict: &'static [OnVerdict],
    /// Policies that fit a shop of this size, where the defaults do not: a story is not told in an afternoon.
    pub policies: &'static str,
}

/// What a rollout tool does with one release.
pub struct OnVerdict {
    /// The service.
    pub service: &'static str,
    /// The version that is rolled out.
    pub candidate: &'static str,
    /// From here on the script is left to the tool, where there is one.
    pub from_s: f64,
    /// Without a decision by then a person takes one: the story has an end.
    pub by_hand_s: f64,
    /// At NO-GO.
    pub roll_back: &'static [Step],
    /// At GO.
    pub promote: &'static [Step],
}

/// One moment.
pub struct Step {
    /// Script time, seconds.
    pub at_s: f64,
    /// Whom it concerns.
    pub service: &'static str,
    /// What changes.
    pub act: Act,
    /// The change in words, for the time line; empty when it belongs to the step before.
    pub say: &'static str,
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// Instances of a version start; they get no traffic yet.
    Start { version: &'static str, instances: u32 },
    /// A version gets this percentage; the others share the rest as they did.
    Share { version: &'static str, percent: f64 },
    /// One instance of `old` stops and one of `new` starts; traffic follows the number of instances.
    Replace { old: &'static str, new: &'static str },
    /// All instances of a version stop.
    Stop { version: &'static str },
    /// A version goes wrong on one route.
    GoWrong { version: &'static str, route: &'static str, fault: Fault },
}

/// In which way a version is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// This share of requests fails, with log lines that were not there before.
    Errors { ratio: f64 },
    /// Requests that take longer than `above_ms` take `factor` times as long: a quantile above grows by exactly that.
    SlowTail { above_ms: f64, factor: f64 },
}

const NEW: &str = "2.14.0";
const OLD: &str = "2.13.4";
const NEW_CATALOG: &str = "5.1.0";
const OLD_CATALOG: &str = "5.0.1";

const fn step(at_s: f64, act: Act, say: &'static str) -> Step {
    Step { at_s, service: "checkout", act, say }
}

const fn of_catalog(at_s: f64, act: Act, say: &'static str) -> Step {
    Step { at_s, service: "catalog", act, say }
}

const START_CANARY: Step =
    step(20.0, Act::Start { version: NEW, instances: 2 }, "checkout 2.14.0 starts as a canary with 5 % of the traffic");
const CANARY_5: Step = step(20.0, Act::Share { version: NEW, percent: 5.0 }, "");
const ROLL_BACK: &[Step] = &[
    step(0.0, Act::Share { version: OLD, percent: 100.0 }, "rolled back: all traffic goes to 2.13.4"),
    step(5.0, Act::Stop { version: NEW }, ""),
];
/// A canary of which the story says that it goes wrong is not promoted before it does.
const ROLL_BACK_ONLY: OnVerdict = OnVerdict {
    service: "checkout",
    candidate: NEW,
    from_s: f64::INFINITY,
    by_hand_s: 900.0,
    roll_back: ROLL_BACK,
    promote: &[],
};
const PROMOTE_OR_ROLL_BACK: OnVerdict = OnVerdict {
    service: "checkout",
    candidate: NEW,
    from_s: 200.0,
    by_hand_s: 900.0,
    roll_back: ROLL_BACK,
    promote: PROMOTE,
};
const CATALOG: OnVerdict = OnVerdict {
    service: "catalog",
    candidate: NEW_CATALOG,
    from_s: 10.0,
    by_hand_s: 900.0,
    roll_back: &[
        of_catalog(
            0.0,
            Act::Share { version: OLD_CATALOG, percent: 100.0 },
            "rolled back: catalog 5.0.1 gets all traffic",
        ),
        of_catalog(5.0, Act::Stop { version: NEW_CATALOG }, ""),
    ],
    promote: &[
        of_catalog(
            0.0,
            Act::Share { version: NEW_CATALOG, percent: 100.0 },
            "promoted: catalog 5.1.0 gets all traffic",
        ),
        of_catalog(10.0, Act::Stop { version: OLD_CATALOG }, ""),
    ],
};
/// A story is over in minutes: caches are warm sooner than elsewhere, and a dozen requests a second prove by then what is plain: that not two
/// in a hundred more fail, and that the slowest are not half as slow again.
const POLICIES_OF_TWO: &str = "\
policies:
  - name: demo-catalog
    services: [catalog]
    warm_up: { for: 20s }
    go_after: 1m
    errors: { floor: 0.02 }
    latency: { slower_by: 0.5 }
  - name: demo
    warm_up: { for: 30s }
";
/// The same for a canary of checkout. Its apps tell of no crash, ever, so that nobody can say how noisy crashes are.
const POLICIES_OF_GOOD: &str = "\
policies:
  - name: demo
    warm_up: { for: 20s }
    go_after: 1m
    errors: { floor: 0.02 }
    latency: { slower_by: 0.5 }
    off: [crashes]
";
/// A canary that is to go wrong after two minutes is out of its warm-up by then.
const POLICIES_OF_BAD: &str = "\
policies:
  - name: demo
    warm_up: { for: 30s }
";
const PROMOTE: &[Step] = &[
    step(0.0, Act::Start { version: NEW, instances: 4 }, "promoted: all traffic goes to 2.14.0"),
    step(0.0, Act::Share { version: NEW, percent: 100.0 }, ""),
    step(10.0, Act::Stop { version: OLD }, ""),
];
const CANARY_12: Step = step(60.0, Act::Share { version: NEW, percent: 12.0 }, "the canary gets 12 %");

const GO_WRONG: Step = step(
    120.0,
    Act::GoWrong { version: NEW, route: "/pay", fault: Fault::Errors { ratio: 0.30 } },
    "POST /pay of 2.14.0 begins to fail: 30 % errors and new error lines",
);

/// All scripts; the first is the default.
pub const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "two-releases",
        about: "A new catalog is good, is told GO and gets all of the traffic; a canary of checkout goes wrong and is rolled back.",
        look: "The overview tells both words. Open service `checkout`: 2.14.0 beside 2.13.4, its share of the traffic, and from the moment \
               below its error ratio on POST /pay near 30 % while 2.13.4 stays under 1 %. Its log has lines that no version had before.",
        unversioned: &[],
        on_verdict: &[CATALOG, ROLL_BACK_ONLY],
        policies: POLICIES_OF_TWO,
        steps: &[
            of_catalog(
                5.0,
                Act::Start { version: NEW_CATALOG, instances: 3 },
                "catalog 5.1.0 starts with half of the traffic",
            ),
            of_catalog(5.0, Act::Share { version: NEW_CATALOG, percent: 50.0 }, ""),
            START_CANARY,
            CANARY_5,
            CANARY_12,
            GO_WRONG,
        ],
    },
    Scenario {
        name: "canary-errors",
        about: "A canary of checkout goes well for a minute and a half, then a third of its payments fail.",
        look: "Open service `checkout`: 2.14.0 beside 2.13.4, its share of the traffic, and from the moment below its error ratio on \
               POST /pay near 30 % while 2.13.4 stays under 1 %. Its log has lines that no version had before.",
        unversioned: &[],
        on_verdict: &[ROLL_BACK_ONLY],
        policies: POLICIES_OF_BAD,
        steps: &[START_CANARY, CANARY_5, CANARY_12, GO_WRONG],
    },
    Scenario {
        name: "canary-good",
        about: "A canary of checkout goes well and is promoted.",
        look: "Open service `checkout`: 2.14.0 takes over step by step, and no number of it differs from 2.13.4 beside it.",
        unversioned: &[],
        on_verdict: &[PROMOTE_OR_ROLL_BACK],
        policies: POLICIES_OF_GOOD,
        steps: &[
            START_CANARY,
            CANARY_5,
            CANARY_12,
            step(120.0, Act::Start { version: NEW, instances: 4 }, "the canary gets 50 %"),
            step(120.0, Act::Share { version: NEW, percent: 50.0 }, ""),
            step(240.0, Act::Share { version: NEW, percent: 100.0 }, "2.14.0 gets all traffic"),
            step(250.0, Act::Stop { version: OLD }, "2.13.4 stops"),
        ],
    },
    Scenario {
        name: "canary-slow-p99",
        about: "A canary of checkout has no more errors than before, but its slowest payments get slower by 38 %.",
        look: "Open service `checkout`: p99 of 2.14.0 rises by about 38 % on POST /pay while p50 and errors stay as they are.",
        unversioned: &[],
        on_verdict: &[ROLL_BACK_ONLY],
        policies: POLICIES_OF_BAD,
        steps: &[
            START_CANARY,
            CANARY_5,
            CANARY_12,
            step(
                120.0,
                Act::GoWrong { version: NEW, route: "/pay", fault: Fault::SlowTail { above_ms: 280.0, factor: 1.38 } },
                "POST /pay of 2.14.0 gets a slow tail: p99 + 38 %",
            ),
        ],
    },
    Scenario {
        name: "blue-green",
        about: "A second set of checkout instances is started, all traffic is switched at once, the first set stops later.",
        look: "Open service `checkout`: 2.14.0 runs idle first, then the split bar turns over in one moment.",
        unversioned: &[],
        on_verdict: &[],
        policies: "",
        steps: &[
            step(
                20.0,
                Act::Start { version: NEW, instances: 6 },
                "green (checkout 2.14.0) starts beside blue (2.13.4), without traffic",
            ),
            step(60.0, Act::Share { version: NEW, percent: 100.0 }, "all traffic is switched from blue to green"),
            step(150.0, Act::Stop { version: OLD }, "blue stops"),
        ],
    },
    Scenario {
        name: "rolling",
        about: "The instances of checkout are replaced one after the other, every 15 seconds.",
        look: "Open service `checkout`: the share of 2.14.0 grows by a sixth with every instance.",
        unversioned: &[],
        on_verdict: &[],
        policies: "",
        steps: &[
            step(
                20.0,
                Act::Replace { old: OLD, new: NEW },
                "checkout 2.14.0 replaces 2.13.4, the first of six instances",
            ),
            step(35.0, Act::Replace { old: OLD, new: NEW }, "second instance"),
            step(50.0, Act::Replace { old: OLD, new: NEW }, "third instance"),
            step(65.0, Act::Replace { old: OLD, new: NEW }, "fourth instance"),
            step(80.0, Act::Replace { old: OLD, new: NEW }, "fifth instance"),
            step(95.0, Act::Replace { old: OLD, new: NEW }, "sixth and last instance"),
        ],
    },
    Scenario {
        name: "no-version",
        about: "Four services do not say which version they are.",
        look: "The overview says that catalog, cart, search and shipping send no `service.version`, and how to set it.",
        unversioned: &["catalog", "cart", "search", "shipping"],
        on_verdict: &[],
        policies: "",
        steps: &[],
    },
    Scenario {
        name: "no-traffic-candidate",
        about: "A new version of checkout starts and is alive, but no request reaches it.",
        look: "Open service `checkout`: 2.14.0 is registered with its instances and has no request: nothing can be said about it yet.",
        unversioned: &[],
        on_verdict: &[],
        policies: "",
        steps: &[step(
            20.0,
            Act::Start { version: NEW, instances: 2 },
            "checkout 2.14.0 starts: heartbeats, but no traffic",
        )],
    },
    Scenario {
        name: "rollback-works",
        about: "A bad version of checkout is promoted too early; the version before comes back and the numbers recover.",
        look: "Open service `checkout`: errors with 2.14.0, and their end when 2.13.4 is back.",
        unversioned: &[],
        on_verdict: &[],
        policies: "",
        steps: &[
            step(
                20.0,
                Act::Start { version: NEW, instances: 2 },
                "checkout 2.14.0 starts as a canary with 12 % of the traffic",
            ),
            step(20.0, Act::Share { version: NEW, percent: 12.0 }, ""),
            step(50.0, Act::Start { version: NEW, instances: 4 }, "2.14.0 gets all traffic, 2.13.4 stops"),
            step(50.0, Act::Share { version: NEW, percent: 100.0 }, ""),
            step(55.0, Act::Stop { version: OLD }, ""),
            step(
                90.0,
                Act::GoWrong { version: NEW, route: "/pay", fault: Fault::Errors { ratio: 0.30 } },
                "POST /pay of 2.14.0 begins to fail: 30 % errors",
            ),
            step(150.0, Act::Start { version: OLD, instances: 6 }, "rollback: 2.13.4 comes back and gets all traffic"),
            step(150.0, Act::Share { version: OLD, percent: 100.0 }, ""),
            step(155.0, Act::Stop { version: NEW }, "2.14.0 stops"),
        ],
    },
];

/// The script with this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::shop::{SERVICES, service_index};

    #[test]
    fn steps_are_in_order_and_concern_what_exists() {
        for scenario in &SCENARIOS {
            assert!(scenario.steps.windows(2).all(|pair| pair[0].at_s <= pair[1].at_s), "{}", scenario.name);
            let decided = scenario.on_verdict.iter().flat_map(|on| on.roll_back.iter().chain(on.promote));
            for on in scenario.on_verdict {
                assert!(
                    on.roll_back.iter().chain(on.promote).all(|step| step.service == on.service),
                    "{}",
                    scenario.name
                );
            }
            for step in scenario.steps.iter().chain(decided) {
                let service = &SERVICES[service_index(step.service).expect("the service exists")];
                if let Act::GoWrong { route, .. } = step.act {
                    assert!(service.routes.iter().any(|known| known.route == route), "{}: {route}", scenario.name);
                }
            }
            assert!(scenario.unversioned.iter().all(|name| service_index(name).is_some()));
        }
    }

    #[test]
    fn names_are_found_and_different() {
        let names: std::collections::BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        assert!(find("canary-slow-p99").is_some() && find("nothing").is_none());
    }
}
