//! Two cohorts of a service's requests beside each other: what exactly changed, for whom, and is it real?
//!
//! A cohort is a version, a variant of a toggle, a window of time, or what of these is named together. Both are read from
//! `windows` once, by route and replicate slot; everything after that is pure.
//!
//! - [`request`]: the question: cohorts, windows, filters; [`metric`]: what is compared. `cells`, `values`: what is read for it.
//! - [`measures`]: everything that both sides have, a row each: requests, sessions, KPIs, metrics of the app.
//! - [`sides`]: what both cohorts measure in common. [`numbers`]: quantiles, distance, errors, with intervals of
//!   `lib/verdict` that hold at every look. [`bins`]: the distributions as drawn.
//! - [`explain`]: which routes, instances and toggles the difference lies in. [`patterns`]: log lines that only one side has.
//! - [`sentence`]: that in words, and what makes the comparison weak. [`answer`]: all of it together; [`wire`]: its form.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod bins;
pub(crate) mod cells;
pub(crate) mod explain;
pub(crate) mod http;
pub(crate) mod measures;
pub(crate) mod metric;
pub(crate) mod numbers;
pub(crate) mod patterns;
pub(crate) mod request;
pub(crate) mod sentence;
pub(crate) mod sides;
pub(crate) mod values;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
