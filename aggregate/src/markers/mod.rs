//! What was said about releases: markers, and the changes of their verdicts. Both come as log records with a name of their own, and
//! are rows of `logs` like others; here the newest are kept for pages, for the judge, and for the tables `markers` and `verdicts`.
//!
//! Who says something about a release need not run: such a record is no sign that a version takes traffic, and neither opens a
//! release nor counts as a request. Bounded in age, in number for a service in an environment, and in bytes: the oldest make room.

mod bytes;
mod kept;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use shipwake_model::window::NS_PER_S;
use shipwake_model::{Marker, ReleaseId, Signal, VerdictChange, marker, notification, verdict_change};
use shipwake_otlp::{KeyValues, LogRecord, Span};
use shipwake_store::{MarkerQuery, MarkerRow, VerdictRow};

use crate::config::Limits;
use crate::health::RequestParts;
use crate::state::{BAD_MARKER, State};
use crate::watermark::EventTime;
use kept::{Entry, Kept};

/// What was received longer ago is forgotten: a release of last year still has its line, and nothing is kept for ever.
const KEPT_NS: i64 = 400 * 24 * 3600 * NS_PER_S;

/// What a record says about a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A marker of ours.
    Marker,
    /// A change of a verdict.
    Verdict,
    /// An attempt to tell somebody of a verdict: a row of `logs` and no more.
    Notification,
    /// A deployment, by OpenTelemetry's attributes.
    Deployment,
}

impl Said {
    /// What a log record says, if it is one of these.
    #[inline]
    pub(crate) fn of_log(parts: &RequestParts<'_>) -> Option<Self> {
        Self::of_event(parts.event_name).or_else(|| parts.is_deployment.then_some(Said::Deployment))
    }

    /// What an event of this name says, if it is one of these.
    #[inline]
    pub(crate) fn of_event(name: &[u8]) -> Option<Self> {
        if name.first() != Some(&b's') {
            None
        } else if name == marker::EVENT_NAME.as_bytes() {
            Some(Said::Marker)
        } else if name == verdict_change::EVENT_NAME.as_bytes() {
            Some(Said::Verdict)
        } else if name == notification::EVENT_NAME.as_bytes() {
            Some(Said::Notification)
        } else {
            None
        }
    }
}

/// What a shard keeps of it.
#[derive(Debug)]
pub(crate) struct Markers {
    markers: Kept<MarkerRow>,
    verdicts: Kept<VerdictRow>,
}

impl Markers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Markers {
            markers: Kept::new(limits.markers_per_service, limits.marker_bytes),
            verdicts: Kept::new(limits.markers_per_service, limits.verdict_bytes),
        }
    }

    /// Forgets what is too old.
    pub(crate) fn prune(&mut self, now_ns: i64) {
        let oldest_ns = now_ns.saturating_sub(KEPT_NS);
        self.markers.forget_before(oldest_ns);
        self.verdicts.forget_before(oldest_ns);
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.markers.bytes() + self.verdicts.bytes()
    }

    /// The newest markers that a query asks for.
    pub(crate) fn markers(&self, query: &MarkerQuery) -> Vec<MarkerRow> {
        self.markers.newest(query)
    }

    /// The newest changes of verdicts that a query asks for.
    pub(crate) fn verdicts(&self, query: &MarkerQuery) -> Vec<VerdictRow> {
        self.verdicts.newest(query)
    }
}

impl State {
    /// Keeps what a log record says about a release. What cannot be used is a row all the same, and its sender's fault is told.
    #[inline(never)]
    pub(crate) fn fold_said(&mut self, said: Said, release: &ReleaseId, record: &LogRecord<'_>, placed: EventTime) {
        // A marker may be about tomorrow: the time that rows are given is about when things happened.
        let at_ns = placed.original.and_then(|time| i64::try_from(time).ok()).unwrap_or(placed.time_ns);
        let get = |name: &str| text_of(&record.attributes, name);
        let received_ns = self.received_ns;
        let fault = match said {
            Said::Marker => match Marker::read(release, at_ns, get) {
                Ok(marker) => {
                    self.markers.markers.keep(MarkerRow { marker: Arc::new(marker), received_ns });
                    None
                }
                Err(fault) => Some(("marker", fault)),
            },
            Said::Verdict => match VerdictChange::read(release, at_ns, get) {
                Ok(change) => {
                    self.markers.verdicts.keep(VerdictRow { change: Arc::new(change), received_ns });
                    None
                }
                Err(fault) => Some(("verdict", fault)),
            },
            Said::Notification => None,
            Said::Deployment => {
                self.keep_deployment(release, at_ns, &record.attributes);
                None
            }
        };
        if let Some((what, fault)) = fault {
            self.leave_out(BAD_MARKER, Signal::Logs, || format!("a {what} of service {}: {fault}", release.service));
        }
    }

    /// Keeps what a span of a pipeline says about a release that it deploys.
    #[inline(never)]
    pub(crate) fn fold_deploying_span(&mut self, release: &ReleaseId, span: &Span<'_>, end_ns: i64) {
        self.keep_deployment(release, end_ns, &span.attributes);
    }

    fn keep_deployment(&mut self, release: &ReleaseId, at_ns: i64, attributes: &KeyValues<'_>) {
        if let Some(marker) = Marker::of_deployment(release, at_ns, |name| text_of(attributes, name)) {
            self.markers.markers.keep(MarkerRow { marker: Arc::new(marker), received_ns: self.received_ns });
        }
    }
}

fn text_of(attributes: &KeyValues<'_>, name: &str) -> Option<String> {
    let value = attributes.get(name)?;
    let mut text = Vec::new();
    value.write_text(&mut text);
    Some(String::from_utf8_lossy(&text).into_owned())
}

impl Entry for MarkerRow {
    type Id = String;

    fn id(&self) -> String {
        self.marker.id.clone()
    }

    fn release(&self) -> &ReleaseId {
        &self.marker.release
    }

    fn at_ns(&self) -> i64 {
        self.marker.at_ns
    }

    fn received_ns(&self) -> i64 {
        self.received_ns
    }

    fn bytes(&self) -> usize {
        self.marker.bytes()
    }

    fn replaces(&self, known: &Self) -> bool {
        MarkerRow::replaces(self, known)
    }
}

impl Entry for VerdictRow {
    type Id = (ReleaseId, u64);

    fn id(&self) -> (ReleaseId, u64) {
        (self.change.release.clone(), self.change.sequence)
    }

    fn release(&self) -> &ReleaseId {
        &self.change.release
    }

    fn at_ns(&self) -> i64 {
        self.change.at_ns
    }

    fn received_ns(&self) -> i64 {
        self.received_ns
    }

    fn number(&self) -> u64 {
        self.change.sequence
    }

    fn bytes(&self) -> usize {
        self.change.bytes()
    }

    /// Whoever records a change again records the same.
    fn replaces(&self, _: &Self) -> bool {
        false
    }
}
