//! Is a release worse than the one beside it? Counts of both in, an answer out that may be asked for at any time.
//!
//! The answer is one of four words ([`Word`]): `no_go` needs evidence that the candidate is worse than its limits, `go` needs
//! evidence that it is not; `watch` and `wait` say what is missing. All evidence is e-values: whoever looks every second, stops,
//! goes on or changes the share of traffic still calls at most one good release in a hundred bad. The comparison is with the
//! baseline's traffic of the same time; its past only says how noisy it is.
//!
//! Pure: no clock, no I/O, no chance. Time is an argument, and the same windows give the same verdict to the bit.
//!
//! ```
//! use shipwake_verdict::{Check, Comparison, Counts, Facts, Instances, Noise, Policy, Tally, Word};
//!
//! // Before the candidate came: an hour of the baseline's windows by replicate slot says how noisy errors are.
//! let history: Vec<_> = (0..360).map(|k| (k * 10, [Tally::new(5 + (k as u64 * 7) % 3, 1_125); 8])).collect();
//! let noise = Noise::learn(&history, Some(18));
//!
//! let policy = Policy::default();
//! let errors = Check::errors(&policy, noise, 3.6e6);
//! let mut comparison = Comparison::open(policy, vec![errors], vec!["POST /pay".to_owned()], 3_600);
//!
//! // Windows of ten seconds, as they come: the candidate fails thirty requests in a hundred from the second minute on.
//! let pay = comparison.stratum("POST /pay");
//! let mut word = Word::Wait;
//! for start_s in (3_600..4_200).step_by(10) {
//!     let failed = if start_s < 3_720 { 5 } else { 300 };
//!     let counts = Counts::new(Tally::new(failed, 1_000), Tally::new(45, 9_000));
//!     comparison.add(0, 0, pay, start_s, counts);
//!     let two = Instances { count: Some(2), silent: 0 };
//!     let verdict = comparison.judge(&Facts {
//!         now_s: start_s + 12,
//!         complete_until_s: start_s + 10,
//!         candidate: two,
//!         baseline: Instances { count: Some(18), silent: 0 },
//!         concurrent: true,
//!     });
//!     word = verdict.word;
//!     if word == Word::NoGo {
//!         assert_eq!(start_s, 3_720);
//!         assert!(verdict.summary.starts_with("Roll back: errors 0.5 % → 30 %"), "{}", verdict.summary);
//!         break;
//!     }
//! }
//! assert_eq!(word, Word::NoGo);
//! ```
//!
//! - [`comparison`]: a release beside its baseline; `judge`, `missing` and `sentence` make the verdict of it.
//! - [`check`] and [`policy`]: what is judged, and every default with its reason.
//! - `grid`, `bets`, [`noise`], `marks`, `track`, `evidence`: the evidence of counts.
//! - [`values`] with [`symmetric`], [`patterns`], [`split`], [`quantile`], [`latency`]: means, log patterns, the split of
//!   traffic, durations.
//! - [`boundary`], [`special`]: bounds that hold at every look, and the functions they are made of.
//! - [`plan`]: how much more it takes. [`audit`]: how often it would have been wrong. [`record`]: the stored form.
//! - [`kayenta`]: what Kayenta's judge would have said.

pub mod audit;
mod bets;
pub mod boundary;
pub mod check;
pub mod comparison;
pub mod counts;
mod evidence;
mod fixed;
mod grid;
pub mod guard;
mod judge;
pub mod kayenta;
pub mod latency;
mod marks;
mod missing;
pub mod noise;
pub mod patterns;
pub mod plan;
pub mod policy;
pub mod quantile;
pub mod record;
mod sentence;
pub mod special;
pub mod split;
pub mod symmetric;
mod text;
mod track;
pub mod values;
pub mod verdict;

pub use check::{Check, Group, Kind, Part};
pub use comparison::{Comparison, Facts, Instances};
pub use counts::{Counts, Tally};
pub use guard::Guard;
pub use noise::{Noise, Slots};
pub use patterns::PatternLines;
pub use policy::Policy;
pub use values::Side;
pub use verdict::{CheckResult, State, Verdict, Word};
