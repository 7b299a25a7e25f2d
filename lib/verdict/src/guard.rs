//! What keeps a verdict from being given, whatever the evidence is.

use crate::text;

/// Something that is missing or not in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Guard {
    /// The candidate took no traffic.
    NoTraffic,
    /// The candidate's records are dated long before they come: nothing is beside them.
    ClockBehind {
        /// By so many seconds.
        seconds: i64,
    },
    /// There is no baseline with traffic.
    NoBaseline,
    /// Complete data ends so many seconds before the clock.
    Lag {
        /// Seconds behind the clock.
        seconds: i64,
    },
    /// The candidate is warming up.
    WarmUp {
        /// Seconds to go.
        seconds: i64,
    },
    /// The baseline itself is worse than it used to be: "not worse than a sick service" says nothing.
    BaselineUnhealthy {
        /// The check's title.
        check: String,
        /// Its rate of late.
        now: f64,
        /// Its rate in its own past.
        usual: f64,
    },
    /// The baseline fails so often, and has for long, that "not worse" is no recommendation.
    BaselineFailing {
        /// The check's title.
        check: String,
        /// Its rate of late.
        now: f64,
    },
    /// Traffic is not split as declared.
    SplitMismatch {
        /// The candidate's declared share.
        declared: f64,
        /// Its observed share.
        observed: f64,
    },
    /// Instances that should send are silent.
    Silent {
        /// Of the candidate.
        candidate: u32,
        /// Of the baseline.
        baseline: u32,
    },
    /// The candidate has sent nothing for a while, and the baseline has.
    GoneSilent {
        /// Seconds since its last request.
        seconds: i64,
    },
    /// Too few instances of the candidate to tell the version from the machine.
    FewInstances {
        /// How many there are; `None` when records name none.
        instances: Option<u32>,
        /// How many are needed.
        needed: u32,
    },
    /// Too little steady traffic.
    TooShort {
        /// Seconds to go.
        seconds: i64,
        /// Independent blocks to go.
        blocks: u32,
    },
    /// The two never took traffic side by side: evidence must be ten times as strong.
    NotConcurrent,
}

impl Guard {
    /// Keeps a release from being called good.
    pub fn blocks_go(&self) -> bool {
        !matches!(self, Guard::NotConcurrent)
    }

    /// Keeps a release from being called bad, too: what is compared is not comparable, or not known yet. A silent instance does not, as
    /// crashing is a way to be silent; nor does too little time, as evidence is evidence; nor a baseline that always fails, as worse than that
    /// is bad.
    pub fn blocks_no_go(&self) -> bool {
        matches!(
            self,
            Guard::NoTraffic
                | Guard::ClockBehind { .. }
                | Guard::NoBaseline
                | Guard::Lag { .. }
                | Guard::BaselineUnhealthy { .. }
                | Guard::SplitMismatch { .. }
        )
    }

    /// Time alone opens it: of no interest once there is a decision.
    pub fn is_of_time(&self) -> bool {
        matches!(self, Guard::WarmUp { .. } | Guard::TooShort { .. })
    }

    /// Somebody should look: not just a matter of time.
    pub fn is_suspicious(&self) -> bool {
        matches!(
            self,
            Guard::Lag { .. }
                | Guard::ClockBehind { .. }
                | Guard::BaselineUnhealthy { .. }
                | Guard::BaselineFailing { .. }
                | Guard::SplitMismatch { .. }
                | Guard::Silent { .. }
                | Guard::GoneSilent { .. }
        )
    }

    /// The stable name.
    pub fn id(&self) -> &'static str {
        match self {
            Guard::NoTraffic => "no_traffic",
            Guard::ClockBehind { .. } => "clock_behind",
            Guard::NoBaseline => "no_baseline",
            Guard::Lag { .. } => "lag",
            Guard::WarmUp { .. } => "warm_up",
            Guard::BaselineUnhealthy { .. } => "baseline_unhealthy",
            Guard::BaselineFailing { .. } => "baseline_failing",
            Guard::SplitMismatch { .. } => "split_mismatch",
            Guard::Silent { .. } => "silent_instances",
            Guard::GoneSilent { .. } => "gone_silent",
            Guard::FewInstances { .. } => "few_instances",
            Guard::TooShort { .. } => "too_short",
            Guard::NotConcurrent => "not_concurrent",
        }
    }

    /// What a person reads, as part of a sentence.
    pub fn text(&self) -> String {
        match self {
            Guard::NoTraffic => "the candidate has taken no traffic beside the baseline".to_owned(),
            Guard::ClockBehind { seconds } => format!(
                "the candidate's records are dated {} before they come: set the clock of its machines, or see what holds its records back",
                text::passed(*seconds as f64)
            ),
            Guard::NoBaseline => "there is no baseline with traffic to compare with".to_owned(),
            Guard::Lag { seconds } => format!("data is {} behind", text::span(*seconds as f64)),
            Guard::WarmUp { seconds } => format!("the candidate warms up for another {}", text::span(*seconds as f64)),
            Guard::BaselineUnhealthy { check, now, usual } => {
                format!("the baseline is unhealthy itself: {check} {} → {}", text::percent(*usual), text::percent(*now))
            }
            Guard::BaselineFailing { check, now } => {
                format!("the baseline is no measure, it fails all the time: {check} {}", text::percent(*now))
            }
            Guard::SplitMismatch { declared, observed } => format!(
                "the candidate gets {} of the traffic where {} were declared",
                text::percent(*observed),
                text::percent(*declared)
            ),
            Guard::Silent { candidate, baseline } => match (candidate, baseline) {
                (c, 0) => format!("{} of the candidate sent nothing of late", instances(*c)),
                (0, b) => format!("{} of the baseline sent nothing of late", instances(*b)),
                (c, b) => format!("{} of the candidate and {b} of the baseline sent nothing of late", instances(*c)),
            },
            Guard::GoneSilent { seconds } => format!(
                "the candidate has sent nothing for {}, while the baseline goes on",
                text::passed(*seconds as f64)
            ),
            Guard::FewInstances { instances: None, .. } => {
                "records name no instances: set service.instance.id to tell a version from a machine".to_owned()
            }
            Guard::FewInstances { instances: Some(1), .. } => {
                "one instance: cannot tell version from machine".to_owned()
            }
            Guard::FewInstances { instances: Some(n), needed } => {
                format!("{} of {needed} that are needed", instances(*n))
            }
            Guard::TooShort { seconds, blocks } => match (seconds, blocks) {
                (s, 0) => format!("another {} of steady traffic", text::span(*s as f64)),
                (s, b) if *s <= 0 => format!("{b} more independent {}", blocks_word(*b)),
                (s, b) => {
                    format!("another {} of steady traffic and {b} more {}", text::span(*s as f64), blocks_word(*b))
                }
            },
            Guard::NotConcurrent => "no concurrent control: compared with the baseline's past".to_owned(),
        }
    }
}

fn blocks_word(count: u32) -> &'static str {
    if count == 1 { "block" } else { "blocks" }
}

fn instances(count: u32) -> String {
    if count == 1 { "one instance".to_owned() } else { format!("{count} instances") }
}
