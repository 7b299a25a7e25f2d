//! What Kayenta's judge (`NetflixACAJudge-v1.0`) would have said: for teams that move, beside our own verdict.
//!
//! Written from the judge's behaviour and held to the project's own test vectors (`tests/kayenta.rs`), its oddities included: the test is
//! unpaired, timestamps are dropped, absence of evidence is a pass, and the solver's absolute tolerance of 1e-4 blinds it to
//! small metrics. Where it adds noise to two constant sides it uses chance; a fixed sequence stands in for that here, so that the
//! answer is always the same.

mod classify;
mod mann_whitney;
mod score;
mod statistics;

pub use classify::{Classification, Direction, EffectSize, Metric, MetricResult, NanStrategy, classify};
pub use mann_whitney::{MannWhitney, all_tied, shift_statistic, test};
pub use score::{GroupScore, Score, ScoreWord, Scored, Thresholds, score};
pub use statistics::{Summary, cohen_d, dominance, is_outlier_by_iqr, is_outlier_by_sigma, mean_ratio, percentile};

/// The judge's name on the wire.
pub const JUDGE_NAME: &str = "NetflixACAJudge-v1.0";
