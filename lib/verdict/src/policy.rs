//! What is held against a release, and how sure one must be: every default with its reason.

use crate::text;

/// How a verdict is reached. `Policy::default()` is what a team gets that configures nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Chance of calling a good release bad on the fast path, over all looks and metrics. A tenth of the budget of one per cent: the
    /// fast path looks for catastrophes, whose evidence is a matter of seconds at any level.
    pub alpha_fast: f64,
    /// The same on the careful path: the rest of one per cent.
    pub alpha_slow: f64,
    /// Chance of calling a release fine that is worse than a margin. Five per cent for each check; as all of them must be fine,
    /// a release that is worse in one respect passes with no more than that.
    pub alpha_fine: f64,
    /// One minus the confidence of the intervals that are shown.
    pub alpha_interval: f64,
    /// Seconds of steady traffic before "go": what fails after a few minutes (caches, pools, leaks) is given the time to.
    pub steady_min_s: u32,
    /// Independent blocks before "go": fewer say nothing about noise.
    pub blocks_min: u32,
    /// Seconds from the candidate's first request in which it is warming up: cold caches and pools are not the version's fault.
    pub warm_up_s: u32,
    /// While it warms up only this is held against it: several times the errors, and several percentage points.
    pub warm_up: Margins,
    /// Instances of the candidate before "go": with one alone, nobody can tell the version from the machine.
    pub instances_min: u32,
    /// Seconds that complete data may lag behind the clock.
    pub lag_max_s: u32,
    /// Evidence of a traffic split other than the declared one from which on the sides are not comparable.
    pub split_evidence_max: f64,
    /// Windows later than this behind the newest are counted as late and change nothing any more.
    pub late_max_s: u32,
    /// A fixed length of blocks in seconds, instead of what the noise asks for.
    pub block_s: Option<u32>,
    /// How many standard deviations of the spread between machines a margin is widened by for "worse": 2.33 is one per cent.
    pub allowance_worse: f64,
    /// The same for "fine": 1.645 is five per cent.
    pub allowance_fine: f64,
    /// Without traffic side by side (before and after a switch) evidence must be so many times as strong.
    pub not_concurrent_factor: f64,
    /// Shares of the budget.
    pub weights: Weights,
    /// Error ratio: failed requests, crashed sessions.
    pub errors: Margins,
    /// The margin for "fine" of errors above [`Policy::busy_per_hour`]: more traffic can prove more.
    pub errors_fine_busy: f64,
    /// Requests an hour from which on a service is busy.
    pub busy_per_hour: f64,
    /// Durations.
    pub latency: LatencyLimits,
    /// Business events by session or request, of which fewer are worse.
    pub kpi: Margins,
    /// Requests by second of an instance, of which fewer are worse: a candidate that falls silent, or sheds its traffic.
    pub traffic: Margins,
    /// Log patterns of level warning and worse.
    pub patterns: PatternLimits,
}

/// How much worse is worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margins {
    /// The careful path proves "worse by more than this factor".
    pub worse: f64,
    /// The fast path proves this one.
    pub catastrophe: f64,
    /// "Fine" is proven as "worse by less than this factor".
    pub fine: f64,
    /// A rise of the rate by less than this never counts, whatever the factor is.
    pub floor: f64,
}

/// How much slower is worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyLimits {
    /// Slower by less than this part never counts.
    pub relative: f64,
    /// Slower by less than this many seconds never counts.
    pub absolute_s: f64,
    /// The least factors of requests beyond p50, p90 and p99 for "fine".
    pub fine: [f64; 3],
    /// The least factor for "worse".
    pub worse: f64,
    /// The least factor on the fast path.
    pub catastrophe: f64,
}

/// When a log pattern is held against a release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatternLimits {
    /// More often by less than this factor never counts.
    pub margin: f64,
    /// Patterns of fewer lines by request than this are named and weigh nothing: a release may log something new.
    pub floor: f64,
    /// Share of false discoveries among the patterns that are named.
    pub false_discoveries: f64,
    /// Fewer lines are an incident, not a pattern.
    pub lines_min: u64,
    /// With lines from one instance alone, so many are needed.
    pub lines_min_alone: u64,
    /// The weight of a pattern that was there before: some lines are usual in any deploy.
    pub weight_known: f64,
}

/// Shares of the false-alarm budget by group. They need not add up to one: they are taken in proportion among the groups that
/// are judged, and evenly within a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Error ratio, crash-free sessions: what customers notice first.
    pub errors: f64,
    /// Durations.
    pub latency: f64,
    /// Business events and values: slow to tell, and moved by much else.
    pub kpi: f64,
    /// New and escalated log patterns: a hint more than a harm.
    pub patterns: f64,
    /// Requests by instance.
    pub traffic: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            alpha_fast: 0.001,
            alpha_slow: 0.009,
            alpha_fine: 0.05,
            alpha_interval: 0.05,
            steady_min_s: 300,
            blocks_min: 5,
            warm_up_s: 120,
            warm_up: Margins { worse: 5.0, catastrophe: 5.0, fine: 5.0, floor: 0.05 },
            instances_min: 2,
            lag_max_s: 30,
            split_evidence_max: 1000.0,
            late_max_s: 3600,
            block_s: None,
            allowance_worse: 2.33,
            allowance_fine: 1.645,
            not_concurrent_factor: 10.0,
            weights: Weights { errors: 0.4, latency: 0.3, kpi: 0.2, patterns: 0.1, traffic: 0.1 },
            errors: Margins { worse: 1.1, catastrophe: 2.0, fine: 1.5, floor: 0.000_5 },
            errors_fine_busy: 1.25,
            busy_per_hour: 1e6,
            latency: LatencyLimits {
                relative: 0.1,
                absolute_s: 0.005,
                fine: [1.1, 1.25, 1.5],
                worse: 1.1,
                catastrophe: 2.0,
            },
            kpi: Margins { worse: 1.0 / 0.95, catastrophe: 2.0, fine: 1.0 / 0.95, floor: 0.0 },
            traffic: Margins { worse: 1.25, catastrophe: 3.0, fine: 1.5, floor: 0.0 },
            patterns: PatternLimits {
                margin: 2.0,
                floor: 0.000_5,
                false_discoveries: 0.05,
                lines_min: 3,
                lines_min_alone: 5,
                weight_known: 0.1,
            },
        }
    }
}

impl Policy {
    /// The margins of errors for a service with so many requests an hour.
    pub fn errors_at(&self, requests_per_hour: f64) -> Margins {
        let busy = requests_per_hour >= self.busy_per_hour;
        Margins {
            fine: if busy { self.errors.fine.min(self.errors_fine_busy) } else { self.errors.fine },
            ..self.errors
        }
    }
}

impl Policy {
    /// What is wrong with it, each in words; empty when nothing is. For configurations: nothing here panics on a bad policy, it only
    /// answers nonsense.
    pub fn problems(&self) -> Vec<String> {
        let chance = |value: f64| value > 0.0 && value < 1.0;
        let chances = [
            ("alpha_fast", self.alpha_fast),
            ("alpha_slow", self.alpha_slow),
            ("alpha_fine", self.alpha_fine),
            ("alpha_interval", self.alpha_interval),
            ("patterns.false_discoveries", self.patterns.false_discoveries),
        ];
        let mut problems: Vec<String> = chances
            .into_iter()
            .filter(|(_, value)| !chance(*value))
            .map(|(name, value)| format!("{name} is {value}, and must lie between 0 and 1"))
            .collect();
        let margins =
            [("warm_up", self.warm_up), ("errors", self.errors), ("kpi", self.kpi), ("traffic", self.traffic)];
        for (name, margins) in margins {
            let factors = [("worse", margins.worse), ("catastrophe", margins.catastrophe), ("fine", margins.fine)];
            let wrong = factors.into_iter().filter(|(_, factor)| !(*factor >= 1.0 && *factor <= 100.0));
            problems.extend(
                wrong.map(|(word, factor)| format!("{name}.{word} is {factor}, and must lie between 1 and 100")),
            );
            if !(0.0..1.0).contains(&margins.floor) {
                problems.push(format!("{name}.floor is {}, and must lie between 0 and 1", margins.floor));
            }
        }
        let weights = [
            ("errors", self.weights.errors),
            ("latency", self.weights.latency),
            ("kpi", self.weights.kpi),
            ("patterns", self.weights.patterns),
            ("traffic", self.weights.traffic),
        ];
        let wrong = weights.into_iter().filter(|(_, weight)| !(*weight > 0.0 && weight.is_finite()));
        problems.extend(wrong.map(|(name, weight)| format!("weights.{name} is {weight}, and must be above 0")));
        problems
    }
}

impl Policy {
    /// What it says otherwise than [`Policy::default`], in the words of a file of policies: "errors.fine 3 (default 1.5)". Whoever reads a
    /// limit that no document has finds here where it is from.
    pub fn differences(&self) -> Vec<String> {
        let default = Policy::default();
        if *self == default {
            return Vec::new();
        }
        let (own, usual) = (self.said(), default.said());
        let differing = own.into_iter().zip(usual).filter(|((_, own), (_, usual))| own != usual);
        differing.map(|((name, own), (_, usual))| format!("{name} {own} (default {usual})")).collect()
    }

    /// All that a file can say, by name.
    fn said(&self) -> Vec<(String, String)> {
        let number = |value: f64| format!("{}", libm::rint(value * 1e6) / 1e6);
        let factor = |value: f64| format!("{}", libm::rint(value * 1e3) / 1e3);
        let mut said: Vec<(String, String)> = Vec::new();
        for (name, margins) in [("errors", self.errors), ("kpi", self.kpi), ("traffic", self.traffic)] {
            said.push((format!("{name}.worse"), factor(margins.worse)));
            said.push((format!("{name}.catastrophe"), factor(margins.catastrophe)));
            said.push((format!("{name}.fine"), factor(margins.fine)));
            said.push((format!("{name}.floor"), number(margins.floor)));
        }
        let (latency, patterns, weights) = (&self.latency, &self.patterns, &self.weights);
        let numbers = [
            ("latency.slower_by", latency.relative),
            ("latency.slower_by_ms", latency.absolute_s * 1e3),
            ("latency.worse", latency.worse),
            ("latency.catastrophe", latency.catastrophe),
            ("patterns.margin", patterns.margin),
            ("patterns.floor", patterns.floor),
            ("patterns.lines_min", patterns.lines_min as f64),
            ("warm_up.worse", self.warm_up.worse),
            ("warm_up.floor", self.warm_up.floor),
            ("weights.errors", weights.errors),
            ("weights.latency", weights.latency),
            ("weights.kpi", weights.kpi),
            ("weights.patterns", weights.patterns),
            ("weights.traffic", weights.traffic),
            ("alpha.no_go", self.alpha_fast + self.alpha_slow),
            ("alpha.go", self.alpha_fine),
            ("blocks_min", f64::from(self.blocks_min)),
            ("instances_min", f64::from(self.instances_min)),
            ("machines.no_go", self.allowance_worse),
            ("machines.go", self.allowance_fine),
        ];
        said.extend(numbers.into_iter().map(|(name, value)| (name.to_owned(), number(value))));
        let spans = [("warm_up.for", self.warm_up_s), ("go_after", self.steady_min_s), ("lag_max", self.lag_max_s)];
        said.extend(spans.into_iter().map(|(name, seconds)| (name.to_owned(), text::span(f64::from(seconds)))));
        said.push(("block".to_owned(), self.block_s.map_or("by the noise".to_owned(), |s| text::span(f64::from(s)))));
        said
    }
}

impl Margins {
    /// The extra events of the baseline for each unit of exposure (`grid`) that make "at most `ratio` times" mean "at most `ratio`
    /// times, or the floor more", at the baseline's usual rate.
    pub(crate) fn extra_at(&self, ratio: f64, usual_rate: Option<f64>) -> f64 {
        (self.floor - (ratio - 1.0) * usual_rate.unwrap_or(0.0)).max(0.0) / ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_decides_where_it_is_the_wider_limit() {
        let margins = Policy::default().errors;
        // At 0.5 % a tenth more is half a per mille, too: nothing is added.
        assert!(margins.extra_at(1.1, Some(0.005)) < 1e-12);
        // Without errors, and without history, the limit is the floor.
        for rate in [Some(0.0), None] {
            assert!((1.1 * margins.extra_at(1.1, rate) - 0.000_5).abs() < 1e-12);
        }
        // At 0.1 %: 1.1 (p + a) = p + floor.
        let (p, a) = (0.001, margins.extra_at(1.1, Some(0.001)));
        assert!((1.1 * (p + a) - (p + 0.000_5)).abs() < 1e-12);
    }

    #[test]
    fn a_policy_that_cannot_be_is_told() {
        assert_eq!(Policy::default().problems(), Vec::<String>::new());
        let mut policy = Policy { alpha_slow: 0.0, ..Policy::default() };
        policy.errors.fine = 0.9;
        policy.weights.kpi = f64::NAN;
        let problems = policy.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(problems[1], "errors.fine is 0.9, and must lie between 1 and 100");
    }

    #[test]
    fn what_differs_from_the_default_is_said_in_the_words_of_a_file() {
        assert_eq!(Policy::default().differences(), Vec::<String>::new());
        let mut policy = Policy { steady_min_s: 60, block_s: Some(30), ..Policy::default() };
        policy.errors.fine = 3.0;
        policy.errors.floor = 0.08;
        (policy.alpha_fast, policy.alpha_slow) = (0.005, 0.045);
        let expected = [
            "errors.fine 3 (default 1.5)",
            "errors.floor 0.08 (default 0.0005)",
            "alpha.no_go 0.05 (default 0.01)",
            "go_after 60 s (default 5 min)",
            "block 30 s (default by the noise)",
        ];
        assert_eq!(policy.differences(), expected);
    }

    #[test]
    fn much_traffic_must_prove_more() {
        let policy = Policy::default();
        assert_eq!((policy.errors_at(1e5).fine, policy.errors_at(2e6).fine), (1.5, 1.25));
    }
}
