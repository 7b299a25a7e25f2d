//! The answer: a word, and everything that it rests on.

use crate::check::Group;
use crate::counts::Counts;
use crate::guard::Guard;
use crate::noise::Noise;
use crate::patterns::FoundPattern;
use crate::quantile::QuantileDifference;

/// One of four words, the same on pages, in the API, in metrics and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Shown as not worse than the limits.
    Go,
    /// Shown as worse; stays for that release.
    NoGo,
    /// Suspicious, or a guard is open; not decided.
    Watch,
    /// Not enough evidence yet.
    Wait,
}

impl Word {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Go => "go",
            Word::NoGo => "no_go",
            Word::Watch => "watch",
            Word::Wait => "wait",
        }
    }

    /// Whether there is a decision.
    pub fn is_decided(self) -> bool {
        matches!(self, Word::Go | Word::NoGo)
    }
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Among those that are shown to be worse.
    Worse,
    /// Looks worse: evidence of ten or more.
    Suspicious,
    /// Shown to be worse by less than the margin.
    Fine,
    /// Neither.
    Undecided,
    /// Nothing to compare.
    NoData,
}

impl State {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Worse => "worse",
            State::Suspicious => "suspicious",
            State::Fine => "fine",
            State::Undecided => "undecided",
            State::NoData => "no_data",
        }
    }
}

/// How strong evidence is, for people.
pub fn strength(evidence: f64) -> &'static str {
    match evidence {
        e if e >= 100.0 => "decisive",
        e if e >= 30.0 => "strong",
        e if e >= 10.0 => "moderate",
        e if e >= 3.0 => "weak",
        _ => "none",
    }
}

/// What a check measures, with its interval at every look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// What the numbers are.
    pub kind: EffectKind,
    /// The candidate's rate over the baseline's, or the change of a mean as a part of it.
    pub value: f64,
    /// Where the interval begins; `None` where nothing bounds it.
    pub low: Option<f64>,
    /// Where it ends.
    pub high: Option<f64>,
    /// The limit for "worse", after it was widened for the spread between machines.
    pub limit_worse: f64,
    /// The limit for "fine", after it was narrowed.
    pub limit_fine: f64,
}

/// What the numbers of an effect are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// Of rates: 1 is no difference, 2 is twice as often.
    Ratio,
    /// A change of a mean as a part of it: 0 is no difference, -0.1 is a tenth less.
    Change,
}

/// Which stratum speaks loudest.
#[derive(Clone, Debug, PartialEq)]
pub struct Dominant {
    /// Its name; text from telemetry.
    pub stratum: String,
    /// Its part of the evidence; above one when others speak against it.
    pub share: f64,
}

/// How a check stands, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// Its stable name.
    pub id: String,
    /// For people.
    pub title: String,
    /// Whose budget it shares.
    pub group: Group,
    /// Its share of the budget.
    pub weight: f64,
    /// "Go" needs it.
    pub required: bool,
    /// It may decide alone.
    pub critical: bool,
    /// How it stands.
    pub state: State,
    /// Of the part that speaks loudest; `None` without data.
    pub effect: Option<Effect>,
    /// That part's name: `slower than 210 ms`.
    pub part: String,
    /// Its counts on both sides. Of events of which fewer are worse these are the sides as they are.
    pub counts: Counts,
    /// The logarithm of the evidence of a catastrophe, fast.
    pub ln_fast: f64,
    /// The logarithm of the evidence that it is worse than its margin, carefully.
    pub ln_worse: f64,
    /// The logarithm of the evidence that it is fine.
    pub ln_fine: f64,
    /// What was known of its noise.
    pub noise: Option<Noise>,
    /// Independent blocks that were compared.
    pub blocks: u32,
    /// Windows that came too late to count.
    pub late: u64,
    /// Effect and counts are of the time since then, in seconds since the epoch, where the release broke later than it came.
    pub since_s: Option<i64>,
    /// Which route or region explains it.
    pub dominant: Option<Dominant>,
    /// Since when it looks worse (evidence of ten or more): the window with which that began, in seconds since the epoch.
    pub suspicious_since_s: Option<i64>,
    /// Quantiles for people, of durations.
    pub quantiles: Vec<QuantileDifference>,
    /// Patterns that are named, of log lines.
    pub patterns: Vec<FoundPattern>,
    /// Candidate requests (or other exposure) until it can be shown to be fine; `None` when it is, or when that is not to be had.
    pub missing: Option<Missing>,
    /// One clause for people.
    pub why: String,
}

/// How much more it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Missing {
    /// The candidate's requests, or other exposure.
    pub exposure: f64,
    /// Seconds at the present rate.
    pub seconds: f64,
    /// The share of traffic at which it takes half as long.
    pub faster_at_share: Option<f64>,
}

/// Since when a release is "no go", and why it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Latched {
    /// Event time up to which data was complete, in seconds since the epoch.
    pub at_s: i64,
    /// Whether the fast path said so.
    pub fast: bool,
    /// The checks that were worse, by name.
    pub checks: Vec<String>,
    /// The sentence of then.
    pub summary: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The word.
    pub word: Word,
    /// One sentence that a person can act on.
    pub summary: String,
    /// Every check.
    pub checks: Vec<CheckResult>,
    /// What is missing or not in order.
    pub guards: Vec<Guard>,
    /// Since when it is "no go".
    pub latched: Option<Latched>,
    /// The logarithms of the evidence that all checks together give, over what is needed: "no go" at zero and above.
    pub ln_fast: f64,
    /// The same of the careful path.
    pub ln_slow: f64,
    /// Until "go" can be said.
    pub missing: Option<Missing>,
    /// Event time up to which data was complete, in seconds since the epoch.
    pub complete_until_s: i64,
    /// What its policy says otherwise than the default ([`Policy::differences`](crate::Policy::differences)).
    pub policy_says: Vec<String>,
}

impl Verdict {
    /// 0 for "no go", 100 for "go", and between `marginal` and `pass` while it is not decided: what tools with scores go on
    /// at.
    pub fn score(&self, marginal: f64, pass: f64) -> f64 {
        match self.word {
            Word::Go => 100.0,
            Word::NoGo => 0.0,
            Word::Watch | Word::Wait => 0.5 * (marginal + pass),
        }
    }
}
