//! Takes a complete request to the journal: decode, tag, split, append. The caller may answer its client when this returns.
//!
//! From the moment a request's records are counted as received, the rest runs in a task of its own that a client who goes
//! away cannot stop: every record is accounted for, and the memory is given back only when the journal is done with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shipwake_journal::{Journal, JournalError, Record};
use shipwake_model::Signal;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::admission::Grant;
use crate::decode::{Rejected, decode};
use crate::error::IngestError;
use crate::ingest::Core;
use crate::sender::Senders;
use crate::split::{Context, Repetition, Split, split};
use crate::status::Brought;

/// Requests above this are decoded on a blocking thread: scanning so much takes about half a millisecond.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// A complete request in memory.
pub(crate) struct Delivery {
    pub(crate) signal: Signal,
    /// An export request in protobuf, decompressed.
    pub(crate) request: Bytes,
    /// What the request's bytes were before they became an export request, for counters.
    pub(crate) client_bytes: u64,
    /// The memory that `request` takes.
    pub(crate) grant: Grant,
    pub(crate) peer: Option<Arc<str>>,
    pub(crate) repetition: Repetition,
    /// Records that were rejected before they came here, and are not in `request`.
    pub(crate) rejected_before: Rejected,
    pub(crate) senders: Senders,
    pub(crate) origin: Origin,
}

/// Where a request comes from, and so who waits for it.
#[derive(Clone)]
pub(crate) enum Origin {
    /// A client that listens for some seconds.
    Client,
    /// Shipwake itself. It is counted as every record is, and is not told as something that a sender has brought.
    Own,
    /// Something that goes on only when it is known what became of the request, and which of its parts are there already.
    Source(Arc<dyn Fn(&Record) -> bool + Send + Sync>),
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Records that are durable now.
    pub(crate) accepted: u64,
    /// Records that were rejected at the door.
    pub(crate) rejected: Rejected,
}

/// A request as the journal takes it, with what is to be counted.
struct Prepared {
    split: Split,
    outcome: Outcome,
    brought: Brought,
    grant: Grant,
}

/// Returns when all records that are not rejected are durable.
pub(crate) async fn deliver(
    core: &Arc<Core>,
    journal: Arc<dyn Journal>,
    delivery: Delivery,
) -> Result<Outcome, IngestError> {
    let has_client = matches!(delivery.origin, Origin::Client | Origin::Own);
    let prepared = if delivery.request.len() > INLINE_BYTES_MAX {
        let (core, journal) = (core.clone(), journal.clone());
        let work = tokio::task::spawn_blocking(move || prepare(&core, &*journal, delivery));
        work.await.expect("decoding does not panic, and blocking work is not aborted")?
    } else {
        prepare(core, &*journal, delivery)?
    };
    let Prepared { split, outcome, brought, grant } = prepared;
    count(core, &brought, &outcome.rejected);
    if split.records.is_empty() {
        return Ok(outcome);
    }
    let appended = append(core, journal, brought.signal, split.records, grant, has_client).await;
    appended.map(|()| outcome)
}

fn prepare(core: &Core, journal: &dyn Journal, delivery: Delivery) -> Result<Prepared, IngestError> {
    let Delivery { signal, request, client_bytes, mut grant, peer, repetition, rejected_before, senders, origin } =
        delivery;
    let received_ns = core.now_ns();
    let decoded = decode(signal, &request)?;
    let context = Context {
        tenant: &core.tenant,
        signal,
        peer: peer.as_deref(),
        repetition,
        received_ns,
        partitions: journal.partitions(),
        value_bytes_max: journal.record_bytes_max(),
    };
    let mut split = split(&request, &decoded, &context)?;
    let is_own = matches!(origin, Origin::Own);
    if let Origin::Source(is_there) = origin {
        split.records.retain(|record| !is_there(record));
    }
    let accepted: u64 = split.records.iter().map(|record| u64::from(record.header.records)).sum();
    let mut rejected = decoded.rejected;
    for (reason, found) in rejected_before.reasons {
        rejected.add(reason, found.count, || found.detail);
    }
    let brought = Brought {
        signal,
        records: accepted + rejected.total(),
        bytes: client_bytes,
        instances_guessed: split.instances_guessed,
        unversioned: split.unversioned,
        senders: senders.and(split.senders),
        received_ns,
        is_own,
    };
    grant.settle(split.records.iter().map(|record| record.value.len()).sum());
    Ok(Prepared { split, outcome: Outcome { accepted, rejected }, brought, grant })
}

/// Counts records that were rejected before they could become part of a request.
pub(crate) fn reject(core: &Core, signal: Signal, reason: &'static str, records: u64, bytes: u64, detail: &str) {
    let (mut rejected, received_ns) = (Rejected::default(), core.now_ns());
    rejected.add(reason, records, || detail.to_owned());
    let brought = Brought {
        signal,
        records,
        bytes,
        instances_guessed: 0,
        unversioned: 0,
        senders: Senders::default(),
        received_ns,
        is_own: false,
    };
    count(core, &brought, &rejected);
}

fn count(core: &Core, brought: &Brought, rejected: &Rejected) {
    core.metrics.received(brought.signal, brought.records, brought.bytes);
    core.metrics.unversioned(brought.unversioned);
    core.status.received(*brought);
    for (reason, found) in &rejected.reasons {
        core.metrics.rejected(brought.signal, reason, found.count);
        core.status.rejected(brought.signal, reason, found.count, &found.detail, brought.received_ns);
    }
}

/// Appends in a task that outlives the request, and waits for it as long as a client waits.
async fn append(
    core: &Arc<Core>,
    journal: Arc<dyn Journal>,
    signal: Signal,
    records: Vec<Record>,
    grant: Grant,
    has_client: bool,
) -> Result<(), IngestError> {
    let (answer, answered) = oneshot::channel();
    let is_recognised = records.iter().all(|record| record.header.request_hash.is_some());
    let task = core.clone();
    core.appends.spawn(async move {
        let count: u64 = records.iter().map(|record| u64::from(record.header.records)).sum();
        let sizes: Vec<usize> = records.iter().map(|record| record.value.len()).collect();
        let appended = journal.append(records).await;
        drop(grant);
        let result = match appended {
            Ok(positions) => {
                task.refusal.appended();
                let mut backlog = task.lock_backlog();
                for (position, bytes) in positions.iter().zip(sizes) {
                    backlog.appended(position.partition, position.offset, bytes);
                }
                Ok(())
            }
            Err(error) => Err(refused(&task, signal, count, error)),
        };
        // The client may have gone; its records are accounted for all the same.
        let _ = answer.send(result);
    });
    let config = &core.config;
    let waited: Duration = if is_recognised { config.append_time_max } else { config.append_time_max_unrecognised };
    if !has_client {
        return answered.await.expect("the task sends an answer before it ends");
    }
    match timeout(waited, answered).await {
        Ok(answer) => answer.expect("the task sends an answer before it ends"),
        Err(_) => Err(IngestError::AppendSlow { waited }),
    }
}

fn refused(core: &Core, signal: Signal, records: u64, error: JournalError) -> IngestError {
    let must_stop = error.must_stop();
    let detail = error.to_string();
    if error.retryable() && !matches!(error, JournalError::Closed) {
        core.refusal.refused(&detail, core.now_ns());
    }
    let refusal = IngestError::Journal(error);
    core.metrics.rejected(signal, refusal.reason(), records);
    core.status.rejected(signal, refusal.reason(), records, &detail, core.now_ns());
    if must_stop {
        error!(%detail, "journal failed for good");
        core.fail(&detail);
    } else if core.warnings.allow() {
        warn!(%detail, signal = signal.as_str(), records, "journal refused a request");
    }
    refusal
}
