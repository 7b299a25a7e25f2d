//! The board: what is judged now, and what was lately. The judge publishes it whole; gates and pages read it.
//!
//! A reader holds one board for the whole of an answer, so that all parts of an answer are of one moment. [`Reader::changed`] waits
//! for the next one: that is what long polls stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shipwake_model::ReleaseId;
use shipwake_model::pattern::Level;
use shipwake_verdict::Verdict;
use tokio::sync::watch;

use crate::change::Ending;

/// All releases that are judged, and those that were until lately.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Counts boards: it rises with each one that says something new.
    pub revision: u64,
    /// When it was made, ms since the epoch.
    pub as_of_ms: i64,
    /// One entry for each release, newest first.
    pub releases: Vec<Arc<Judged>>,
    /// How often it would have been wrong, by namespace, service and environment.
    pub audits: Arc<BTreeMap<PlaceId, SelfAudit>>,
    /// Versions that run and have taken no request yet, newest first: no releases until then, and not unknown.
    pub idle: Vec<Arc<Judged>>,
    /// The versions that were seen of each service.
    pub versions: Arc<Versions>,
}

/// Namespace, service and environment.
pub type PlaceId = (Arc<str>, Arc<str>, Arc<str>);

/// How the judge does on a service's own traffic, where it is known that nothing is wrong: slots of the stable version are judged as if
/// they were releases beside the others.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfAudit {
    /// Fake releases that were judged since the start.
    pub releases: u32,
    /// Of these, how many were called "no go": every one is a false alarm.
    pub no_go: u32,
    /// The part of them.
    pub rate: f64,
    /// Below this the rate lies, with a confidence of 95 % if fake releases were independent.
    pub rate_below: f64,
    /// Fake releases of the last day whose errors were doubled against the others'.
    pub doubled: u32,
    /// Of these, how many were called "no go" while they lasted.
    pub doubled_found: u32,
    /// Seconds within which [`SelfAudit::PART`] of them were; `None` when fewer were.
    pub found_within_s: Option<i64>,
    /// Noise is taken to be at least this: with less there were more false alarms than the budget allows.
    pub dispersion_floor: Option<f64>,
}

impl SelfAudit {
    /// The part of doubled fake releases that is to be found.
    pub const PART: f64 = 0.95;
}

/// Names of versions by the name of their service; a bounded number of each.
pub type Versions = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// How a release takes traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A share of the traffic, beside the baseline.
    Canary,
    /// The traffic changed over at one moment.
    BlueGreen,
    /// Instances are replaced one by one.
    Rolling,
    /// No customer sees it.
    Dark,
    /// Nothing runs beside it: compared with the time before.
    BeforeAfter,
}

impl Strategy {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Canary => "canary",
            Strategy::BlueGreen => "blue_green",
            Strategy::Rolling => "rolling",
            Strategy::Dark => "dark",
            Strategy::BeforeAfter => "before_after",
        }
    }
}

/// A release with its verdict.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The candidate: service, namespace, environment and version.
    pub release: ReleaseId,
    /// The version that it is compared with.
    pub baseline: Option<Arc<str>>,
    /// How it takes traffic.
    pub strategy: Strategy,
    /// Its share of the traffic now, 0 to 1.
    pub share: Option<f64>,
    /// The worst level of each log pattern that the verdict names.
    pub levels: BTreeMap<u64, Level>,
    /// Pod template hashes by which rollout tools may name it, and its baseline.
    pub hashes: [Vec<Arc<str>>; 2],
    /// When its first request came, ms since the epoch.
    pub opened_ms: i64,
    /// Since when the verdict has its word, ms.
    pub since_ms: i64,
    /// Counts the changes of the word.
    pub sequence: u64,
    /// Event time that complete data is behind the clock, ms.
    pub data_lag_ms: i64,
    /// The name of the policy it is judged by.
    pub policy: Arc<str>,
    /// Why it is judged no more, and since when, ms.
    pub ending: Option<(Ending, i64)>,
    /// The verdict, with everything it rests on.
    pub verdict: Verdict,
    /// For each check of the verdict, in its order: how the effect went, oldest first.
    pub trails: Vec<Vec<TrailPoint>>,
    /// The words it has had, oldest first.
    pub past: Vec<Past>,
}

/// The effect of a check at one look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrailPoint {
    /// Event time up to which data was complete, ms.
    pub t_ms: i64,
    /// Best estimate, as [`shipwake_verdict::verdict::Effect::value`].
    pub value: f64,
    /// Where the interval begins.
    pub low: Option<f64>,
    /// Where it ends.
    pub high: Option<f64>,
    /// The evidence (e-value) that it is worse than its limit, as a natural logarithm.
    pub ln_worse: f64,
}

/// A word that a release had.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// The word.
    pub word: shipwake_verdict::Word,
    /// From when on, ms.
    pub at_ms: i64,
    /// The sentence of then.
    pub summary: Arc<str>,
}

/// Where the judge publishes boards.
#[derive(Debug)]
pub struct Publisher {
    boards: watch::Sender<Arc<Board>>,
}

/// Where boards are read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    boards: watch::Receiver<Arc<Board>>,
}

/// A publisher, and a reader of its boards; the first board is empty.
pub fn board() -> (Publisher, Reader) {
    let (sender, receiver) = watch::channel(Arc::default());
    (Publisher { boards: sender }, Reader { boards: receiver })
}

impl Board {
    /// How the judge does on the service of a release.
    pub fn audit_of(&self, release: &ReleaseId) -> Option<&SelfAudit> {
        self.audits.get(&(release.namespace.clone(), release.service.clone(), release.environment.clone()))
    }
}

impl Publisher {
    /// Shows a board to all readers.
    pub fn publish(&self, board: Board) {
        self.boards.send_replace(Arc::new(board));
    }
}

impl Reader {
    /// The board as it is.
    pub fn now(&self) -> Arc<Board> {
        self.boards.borrow().clone()
    }

    /// The first board of a later revision than the one that is known. Never returns once the judge has ended without one: give it
    /// a limit.
    pub async fn changed(&mut self, known: u64) -> Arc<Board> {
        let next = self.boards.wait_for(|board| board.revision > known).await.ok().map(|board| board.clone());
        match next {
            Some(board) => board,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_sees_the_next_board_and_not_the_one_it_knows() {
        let (publisher, mut reader) = board();
        assert_eq!(reader.now().revision, 0);
        publisher.publish(Board { revision: 1, ..Board::default() });
        let seen = reader.changed(0).await;
        assert_eq!(seen.revision, 1);
        let next = tokio::spawn(async move { reader.changed(1).await.revision });
        publisher.publish(Board { revision: 1, as_of_ms: 5, ..Board::default() });
        publisher.publish(Board { revision: 2, ..Board::default() });
        assert_eq!(next.await.expect("it ends"), 2);
    }
}
