//! Attempts to tell people of verdicts, as records in the journal: so the table `notifications` has all of them on every node.
//!
//! The notifier keeps the newest attempts and how far they are recorded, with what it owes. What was recorded and not yet noted when a
//! process died is recorded again, and is one row all the same. An attempt that no place is kept for before the journal takes it is counted.

use std::sync::Arc;
use std::time::Duration;

use shipwake_alerts::outbox::attempts::Attempt;
use shipwake_alerts::{Handle, Status};
use shipwake_ingest::{Ingest, Kind};
use shipwake_model::{Notification, ReleaseId, UNVERSIONED};
use tokio_util::sync::CancellationToken;

/// Between attempts at a journal that takes nothing at the moment.
const AGAIN: Duration = Duration::from_secs(2);
const NS_PER_MS: i64 = 1_000_000;
/// The service that has the records of what tells of no release.
const OWN_SERVICE: &str = "shipwake";

/// Records every attempt of a notifier, in order, until it is stopped or the notifier ends.
///
/// # Errors
/// None; what cannot be recorded is said in the log.
pub async fn record(notifier: Handle, ingest: Ingest, stop: CancellationToken) -> anyhow::Result<()> {
    let mut recorded = notifier.recorded();
    loop {
        let status = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            status = notifier.attempted_after(recorded) => status,
        };
        let Some(status) = status else { return Ok(()) };
        let (gone, attempts) = status.attempts.after(recorded);
        if gone > 0 {
            tracing::warn!(
                gone,
                "attempts to deliver notifications are not in the table notifications: the journal took nothing for too long"
            );
            recorded += gone;
        }
        for attempt in attempts {
            let told = notification(&attempt, &status);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = until_taken(&ingest, &told) => {}
            }
            recorded += 1;
            notifier.has_recorded(recorded);
        }
    }
}

async fn until_taken(ingest: &Ingest, told: &Notification) {
    let mut is_said = false;
    while let Err(error) = ingest.record_notification(told).await {
        if error.kind() != Kind::Passing {
            tracing::error!(%error, receiver = told.receiver, "an attempt to deliver a notification was not recorded");
            return;
        }
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(%error, "an attempt to deliver a notification is not recorded yet: trying again");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn notification(attempt: &Attempt, status: &Status) -> Notification {
    let (release, sequence) = match &attempt.told {
        Some((release, sequence)) => (release.clone(), Some(*sequence)),
        None => (own_release(), None),
    };
    let receiver = status.receivers.iter().find(|receiver| receiver.name == attempt.receiver);
    Notification {
        release,
        at_ns: attempt.at_ms.saturating_mul(NS_PER_MS),
        id: attempt.id.to_string(),
        receiver: attempt.receiver.to_string(),
        kind: receiver.map_or("", |receiver| receiver.kind).to_owned(),
        about: attempt.about.clone(),
        sequence,
        attempt: attempt.number,
        result: attempt.result.as_str().to_owned(),
        status: attempt.status,
        answer: attempt.answer.clone(),
        took_ms: attempt.took_ms,
    }
}

fn own_release() -> ReleaseId {
    let nothing: Arc<str> = "".into();
    ReleaseId {
        service: OWN_SERVICE.into(),
        namespace: nothing.clone(),
        environment: nothing,
        version: UNVERSIONED.into(),
    }
}
