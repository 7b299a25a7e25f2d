//! Decoding at the door: the whole request is checked, its records counted and their times noted, and what no consumer
//! could use is found, before anything is acknowledged. One pass over the bytes, nothing kept of the records themselves.
//!
//! Pure. The bytes stay as they are; `tag.rs` and `split.rs` decide what goes to the journal.

mod points;
mod tally;

use std::collections::BTreeMap;

use shipwake_model::Signal;
use shipwake_otlp::{Resource, ScanError, resources, scan_logs, scan_metrics, scan_spans};

pub(crate) use points::fault;
use tally::Tally;

/// What an export request holds.
#[derive(Debug, Default)]
pub(crate) struct Decoded<'a> {
    /// One for each `ResourceLogs`, `ResourceMetrics` or `ResourceSpans`, in order.
    pub(crate) parts: Vec<Part<'a>>,
    /// What is rejected at the door, by reason.
    pub(crate) rejected: Rejected,
}

/// The records of one resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The content of the `ResourceLogs`, `ResourceMetrics` or `ResourceSpans`, as the client sent it.
    pub(crate) message: &'a [u8],
    pub(crate) resource: Resource<'a>,
    pub(crate) counts: Counts,
}

/// What is known about the records of a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records that are taken.
    pub(crate) records: u64,
    /// Records that are rejected.
    pub(crate) rejected: u64,
    /// Earliest and latest event time of the records that are taken and have one, in nanoseconds since the epoch.
    pub(crate) times: Option<(i64, i64)>,
}

/// Records rejected at the door: how many for each reason, and an example. The number of reasons is fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) reasons: BTreeMap<&'static str, Reason>,
}

/// One reason of [`Rejected`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) count: u64,
    /// What it was about the first of them.
    pub(crate) detail: String,
}

/// Checks all of `request` and says what it holds.
pub(crate) fn decode(signal: Signal, request: &[u8]) -> Result<Decoded<'_>, ScanError> {
    let mut tally = Tally::default();
    match signal {
        Signal::Logs => scan_logs(request, &mut tally)?,
        Signal::Metrics => scan_metrics(request, &mut tally)?,
        Signal::Traces => scan_spans(request, &mut tally)?,
    }
    let (counts, rejected) = tally.finish();
    let mut parts = Vec::with_capacity(counts.len());
    for (raw, counts) in resources(request).zip(counts) {
        let raw = raw?;
        parts.push(Part { message: raw.message, resource: raw.resource, counts });
    }
    Ok(Decoded { parts, rejected })
}

impl Decoded<'_> {
    /// Records that are taken.
    pub(crate) fn records(&self) -> u64 {
        self.parts.iter().map(|part| part.counts.records).sum()
    }
}

impl Rejected {
    pub(crate) fn add(&mut self, reason: &'static str, count: u64, detail: impl FnOnce() -> String) {
        let entry = self.reasons.entry(reason).or_insert_with(|| Reason { count: 0, detail: detail() });
        entry.count += count;
    }

    pub(crate) fn total(&self) -> u64 {
        self.reasons.values().map(|reason| reason.count).sum()
    }

    /// One sentence for the sender.
    pub(crate) fn message(&self) -> String {
        let parts: Vec<String> =
            self.reasons.iter().map(|(name, reason)| format!("{} {name}: {}", reason.count, reason.detail)).collect();
        parts.join("; ")
    }
}
