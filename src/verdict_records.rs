//! What the judge says, as records in the journal: so the table `verdicts` has it on every node, and after every restart.
//!
//! What is recorded already is asked of the table at the start. A change that is recorded twice all the same is one row: nothing has to
//! be remembered here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shipwake_alerts::board::{Board, Judged, Reader};
use shipwake_ingest::{Ingest, Kind};
use shipwake_model::{ReleaseId, VerdictChange};
use shipwake_store::{MarkerQuery, Store};
use tokio_util::sync::CancellationToken;

/// Between attempts at a journal that takes nothing at the moment.
const AGAIN: Duration = Duration::from_secs(2);
const NS_PER_MS: i64 = 1_000_000;
/// The newest changes that are looked through at the start; what is older is of no release on the board.
const RECORDED_MAX: usize = 10_000;

/// Records every change of every release on the boards, in order, until it is stopped.
///
/// # Errors
/// When asking the table panicked; what cannot be recorded is said in the log.
pub async fn record(
    mut boards: Reader,
    ingest: Ingest,
    store: Arc<Store>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut recorded: Option<HashMap<ReleaseId, u64>> = None;
    let mut known = 0;
    loop {
        let board = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            board = boards.changed(known) => board,
        };
        known = board.revision;
        if recorded.is_none() {
            // With the first board all shards have been heard. It may ask other processes.
            let store = store.clone();
            recorded = Some(tokio::task::spawn_blocking(move || recorded_in(&store)).await?);
        }
        for change in new_changes(&board, recorded.get_or_insert_default()) {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = until_taken(&ingest, &change) => {}
            }
        }
    }
}

/// The newest change of every release that the table has.
fn recorded_in(store: &Store) -> HashMap<ReleaseId, u64> {
    let mut newest = HashMap::new();
    for row in store.verdicts(&MarkerQuery { limit: RECORDED_MAX, ..MarkerQuery::all() }) {
        let sequence = newest.entry(row.change.release.clone()).or_insert(0);
        *sequence = row.change.sequence.max(*sequence);
    }
    newest
}

async fn until_taken(ingest: &Ingest, change: &VerdictChange) {
    let release = &change.release;
    let mut is_said = false;
    while let Err(error) = ingest.record_verdict(change).await {
        if error.kind() != Kind::Passing {
            tracing::error!(%error, service = %release.service, version = %release.version, "a verdict was not recorded");
            return;
        }
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(%error, "a verdict is not recorded yet: trying again");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What was not recorded yet; it counts as recorded from here on.
fn new_changes(board: &Board, recorded: &mut HashMap<ReleaseId, u64>) -> Vec<VerdictChange> {
    let mut changes = Vec::new();
    let mut still = HashMap::with_capacity(board.releases.len());
    for judged in &board.releases {
        let last = recorded.get(&judged.release).copied().unwrap_or(0);
        changes.extend(changes_of(judged).into_iter().filter(|change| change.sequence > last));
        still.insert(judged.release.clone(), last.max(judged.sequence));
    }
    *recorded = still;
    changes
}

/// The changes of a release, oldest first: the words that it has had, and that it ended.
fn changes_of(judged: &Judged) -> Vec<VerdictChange> {
    let words_until = judged.sequence - u64::from(judged.ending.is_some() && judged.sequence > 0);
    let first = (words_until + 1).saturating_sub(judged.past.len() as u64);
    let change = |sequence: u64, at_ms: i64| VerdictChange {
        release: judged.release.clone(),
        at_ns: at_ms.saturating_mul(NS_PER_MS),
        sequence,
        baseline: judged.baseline.as_deref().unwrap_or_default().to_owned(),
        verdict: String::new(),
        previous: String::new(),
        ending: String::new(),
        summary: String::new(),
        policy: judged.policy.to_string(),
        checks: String::new(),
    };
    let mut changes = Vec::new();
    let mut word = shipwake_verdict::Word::Wait;
    for (past, sequence) in judged.past.iter().zip(first..) {
        let previous = std::mem::replace(&mut word, past.word);
        changes.push(VerdictChange {
            verdict: word.as_str().to_owned(),
            previous: previous.as_str().to_owned(),
            summary: past.summary.to_string(),
            ..change(sequence, past.at_ms)
        });
    }
    // The checks are those of now, which is when the newest change was made.
    if let Some(newest) = changes.last_mut() {
        newest.checks = checks_of(judged);
    }
    if let Some((ending, at_ms)) = judged.ending {
        changes.push(VerdictChange {
            verdict: word.as_str().to_owned(),
            previous: word.as_str().to_owned(),
            ending: ending.as_str().to_owned(),
            summary: judged.verdict.summary.clone(),
            checks: checks_of(judged),
            ..change(judged.sequence, at_ms)
        });
    }
    changes
}

fn checks_of(judged: &Judged) -> String {
    let checks = judged.verdict.checks.iter();
    let checks: Vec<_> =
        checks.map(|check| json!({ "id": check.id, "state": check.state.as_str(), "why": check.why })).collect();
    serde_json::Value::from(checks).to_string()
}

#[cfg(test)]
mod tests {
    use shipwake_alerts::Ending;
    use shipwake_alerts::board::{Past, Strategy};
    use shipwake_verdict::{Comparison, Facts, Instances, Policy, Word};

    use super::*;

    fn judged(words: &[Word], ending: Option<Ending>) -> Judged {
        let instances = Instances { count: Some(2), silent: 0 };
        let facts =
            Facts { now_s: 100, complete_until_s: 99, candidate: instances, baseline: instances, concurrent: true };
        let past = words.iter().zip(1..).map(|(word, n)| Past { word: *word, at_ms: n * 1_000, summary: "so".into() });
        Judged {
            release: ReleaseId {
                service: "checkout".into(),
                namespace: "".into(),
                environment: "production".into(),
                version: "2".into(),
            },
            baseline: Some("1".into()),
            strategy: Strategy::Canary,
            share: None,
            levels: Default::default(),
            hashes: Default::default(),
            opened_ms: 0,
            since_ms: 0,
            sequence: words.len() as u64 + u64::from(ending.is_some()),
            data_lag_ms: 0,
            policy: "default".into(),
            ending: ending.map(|ending| (ending, 9_000)),
            verdict: Comparison::open(Policy::default(), Vec::new(), Vec::new(), 0).judge(&facts),
            trails: Vec::new(),
            past: past.collect(),
        }
    }

    fn told(changes: &[VerdictChange]) -> Vec<(u64, &str, &str, &str)> {
        changes.iter().map(|c| (c.sequence, c.previous.as_str(), c.verdict.as_str(), c.ending.as_str())).collect()
    }

    #[test]
    fn every_word_and_the_ending_are_recorded_once_and_in_order() {
        let mut recorded = HashMap::new();
        let board = |judged: Judged| Board { releases: vec![Arc::new(judged)], ..Board::default() };
        let first = new_changes(&board(judged(&[Word::Watch], None)), &mut recorded);
        assert_eq!(told(&first), [(1, "wait", "watch", "")]);
        let both = [Word::Watch, Word::NoGo];
        assert!(new_changes(&board(judged(&[Word::Watch], None)), &mut recorded).is_empty());
        let then = new_changes(&board(judged(&both, Some(Ending::RolledBack))), &mut recorded);
        assert_eq!(told(&then), [(2, "watch", "no_go", ""), (3, "no_go", "no_go", "rolled_back")]);
        // After a start all of them come again, with the same numbers.
        let again = new_changes(&board(judged(&both, Some(Ending::RolledBack))), &mut HashMap::new());
        assert_eq!(again.iter().map(|change| change.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(again[1].at_ns, 2_000_000_000);
    }

    #[test]
    fn words_that_are_forgotten_do_not_shift_the_numbers() {
        let mut old = judged(&[Word::Watch, Word::Wait, Word::Go], None);
        old.past.remove(0);
        assert_eq!(told(&changes_of(&old))[1], (3, "wait", "go", ""));
    }
}
