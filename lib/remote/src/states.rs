//! What is known of each shard that other processes fold: since when its hot state is missing, and what it said last. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use shipwake_store::{Incomplete, ReleaseRow, ShardStatus};

/// All shards that were ever asked for.
#[derive(Debug, Default)]
pub(crate) struct States {
    shards: BTreeMap<u32, State>,
}

#[derive(Debug, Default)]
struct State {
    missing: Option<Missing>,
    /// When an answer last lacked the shard, and what was said of it then.
    last_missed: Option<(Instant, Incomplete)>,
    status: Option<ShardStatus>,
    releases: Vec<ReleaseRow>,
}

#[derive(Clone, Debug)]
struct Missing {
    since_ms: i64,
    reason: Arc<str>,
    lack: Lack,
}

/// What is missing of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// All that is in no segment: nobody answers for it.
    All,
    /// The newest of it: its owner is reading what was written before it took the shard over.
    Newest,
}

impl States {
    /// The shard's hot state was missing from an answer. Gives what is to be said of it, and whether that is news.
    pub fn missed(
        &mut self,
        shard: u32,
        (lack, reason): (Lack, &str),
        now: Instant,
        now_ms: i64,
    ) -> (Incomplete, bool) {
        let state = self.shards.entry(shard).or_default();
        let is_news = state.missing.is_none();
        let since_ms = state.missing.as_ref().map_or(now_ms, |missing| missing.since_ms);
        let missing = Missing { since_ms, reason: reason.into(), lack };
        let incomplete = Incomplete { shard, since_ms, reason: missing.reason.clone() };
        state.missing = Some(missing);
        state.last_missed = Some((now, incomplete.clone()));
        (incomplete, is_news)
    }

    /// The shard answered with all it has. Gives since when it had been missing, if it was.
    pub fn answered(&mut self, shard: u32) -> Option<i64> {
        self.shards.entry(shard).or_default().missing.take().map(|missing| missing.since_ms)
    }

    /// What is to be said of answers that were made since a moment, without the shards that are `here`.
    pub fn incomplete(&self, since: Instant, here: &[u32]) -> Vec<Incomplete> {
        let elsewhere = self.shards.iter().filter(|(shard, _)| !here.contains(shard));
        let said = elsewhere.filter_map(|(shard, state)| match (&state.missing, &state.last_missed) {
            (Some(Missing { since_ms, reason, .. }), _) => {
                Some(Incomplete { shard: *shard, since_ms: *since_ms, reason: reason.clone() })
            }
            (None, Some((when, incomplete))) if *when >= since => Some(incomplete.clone()),
            _ => None,
        });
        said.collect()
    }

    pub fn set_status(&mut self, status: ShardStatus) {
        let state = self.shards.entry(status.shard).or_default();
        state.status = Some(status);
    }

    /// The last status of all shards but those that are `here`. Of shards that are missing it is as it was, and says so.
    pub fn statuses(&self, here: &[u32]) -> Vec<ShardStatus> {
        let elsewhere = self.shards.iter().filter(|(shard, _)| !here.contains(shard));
        let status = |(_, state): (&u32, &State)| {
            let mut status = state.status.clone()?;
            if let Some(Missing { reason, lack: Lack::All, .. }) = &state.missing {
                (status.ready, status.problem) = (false, Some(reason.clone()));
                // How far it is behind is not known; it must not hold the others' watermark back.
                status.journal_end = status.next_offset;
            }
            Some(status)
        };
        elsewhere.filter_map(status).collect()
    }

    pub fn set_releases(&mut self, shard: u32, releases: Vec<ReleaseRow>) {
        self.shards.entry(shard).or_default().releases = releases;
    }

    /// The releases that all shards but those that are `here` named last.
    pub fn releases(&self, here: &[u32]) -> Vec<ReleaseRow> {
        let elsewhere = self.shards.iter().filter(|(shard, _)| !here.contains(shard));
        elsewhere.flat_map(|(_, state)| state.releases.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_made_while_a_shard_was_missing_says_so_even_when_it_is_back() {
        let (mut states, begun) = (States::default(), Instant::now());
        assert!(states.missed(1, (Lack::All, "gone"), Instant::now(), 500).1);
        let (incomplete, is_news) = states.missed(1, (Lack::All, "still gone"), Instant::now(), 900);
        assert!(!is_news, "it is said once");
        assert_eq!((incomplete.since_ms, &*incomplete.reason), (500, "still gone"));
        assert_eq!(states.incomplete(Instant::now(), &[]), std::slice::from_ref(&incomplete));
        assert_eq!(states.incomplete(begun, &[1]), [], "a shard that is here is not missing");
        assert_eq!(states.answered(1), Some(500));
        assert_eq!(states.answered(1), None);
        assert_eq!(states.incomplete(begun, &[]), [incomplete], "of an answer that was begun before");
        assert_eq!(states.incomplete(Instant::now(), &[]), []);
    }

    #[test]
    fn a_shard_that_is_missing_keeps_its_counts_and_is_not_ready() {
        let mut states = States::default();
        let status = ShardStatus { shard: 2, stored: 7, ready: true, journal_end: 9, ..ShardStatus::default() };
        states.set_status(status.clone());
        states.missed(2, (Lack::All, "gone"), Instant::now(), 1);
        states.missed(3, (Lack::All, "never seen"), Instant::now(), 1);
        let statuses = states.statuses(&[]);
        assert_eq!(statuses.len(), 1);
        assert_eq!((statuses[0].stored, statuses[0].ready, statuses[0].problem.as_deref()), (7, false, Some("gone")));
        assert_eq!(statuses[0].journal_end, 0, "it holds nobody back");
        states.missed(2, (Lack::Newest, "catching up"), Instant::now(), 1);
        assert_eq!(states.statuses(&[]), [status], "an owner that answers speaks for itself");
        states.answered(2);
        assert!(states.statuses(&[])[0].ready && states.statuses(&[2]).is_empty());
    }
}
