//! What the pipeline page shows about receiving: counts by signal, and the last reasons for which something was rejected.
//! Bounded: reasons are words of ours, and of each only the last example is kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use shipwake_model::Signal;

use crate::sender::{Sender, Senders};

/// Longest example text, in bytes.
const DETAIL_BYTES_MAX: usize = 300;

/// A snapshot for `/api/v1/pipeline`. Counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestStatus {
    /// One entry for each signal.
    pub signals: Vec<SignalStatus>,
    /// Reasons for which records or whole requests were not taken, the most recent first.
    pub rejections: Vec<Rejection>,
    /// Bytes that requests hold now.
    pub in_flight_bytes: u64,
    /// The most that they may hold.
    pub in_flight_bytes_max: u64,
    /// Requests that wait for room now.
    pub waiting_requests: u64,
    /// Requests that were refused before their records were known.
    pub refused_requests: u64,
    /// Resources whose instance was guessed from the pod, the host or the peer's address.
    pub instances_guessed: u64,
    /// Records without any version.
    pub unversioned_records: u64,
    /// Records that Shipwake recorded itself, which no sender brought and no signal counts here; `/metrics` counts them with the rest.
    pub own_records: u64,
    /// What sent requests, as far as it said so; only those that did.
    pub senders: Vec<SenderStatus>,
    /// `opening`, `open` or `closed`.
    pub journal: &'static str,
}

/// What came in of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalStatus {
    /// Which signal.
    pub signal: Signal,
    /// Records in requests that could be read.
    pub received: u64,
    /// Of those, records that ingest did not keep.
    pub rejected: u64,
    /// Bytes of the requests after decompression.
    pub bytes: u64,
    /// When the last request of this signal came, nanoseconds since 1970 UTC; 0 when none did.
    pub last_received_ns: i64,
}

/// A kind of sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderStatus {
    /// Which.
    pub sender: Sender,
    /// Records in requests of it that could be read.
    pub received: u64,
    /// When its last request came, nanoseconds since 1970 UTC.
    pub last_received_ns: i64,
}

/// A reason, how often it occurred, and the last example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The word that counters use.
    pub reason: &'static str,
    /// The signal, if it was known.
    pub signal: Option<Signal>,
    /// Records, or requests when `whole_request`.
    pub count: u64,
    /// Whether whole requests were refused.
    pub whole_request: bool,
    /// What was wrong the last time.
    pub detail: String,
    /// When that was, nanoseconds since 1970 UTC.
    pub last_ns: i64,
}

/// Where the snapshot comes from.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    signals: [SignalCounts; Signal::ALL.len()],
    refused_requests: u64,
    instances_guessed: u64,
    unversioned_records: u64,
    own_records: u64,
    senders: [SenderCounts; Sender::ALL.len()],
    rejections: BTreeMap<(&'static str, Option<Signal>, bool), Rejection>,
}

#[derive(Clone, Copy, Debug, Default)]
struct SignalCounts {
    received: u64,
    rejected: u64,
    bytes: u64,
    last_received_ns: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct SenderCounts {
    received: u64,
    last_received_ns: i64,
}

/// What a request brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brought {
    pub(crate) signal: Signal,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) instances_guessed: u64,
    pub(crate) unversioned: u64,
    pub(crate) senders: Senders,
    pub(crate) received_ns: i64,
    /// By Shipwake itself.
    pub(crate) is_own: bool,
}

impl StatusBoard {
    pub(crate) fn received(&self, brought: Brought) {
        self.change(|counts| {
            if brought.is_own {
                counts.own_records += brought.records;
                return;
            }
            let signal = &mut counts.signals[brought.signal as usize - 1];
            signal.received += brought.records;
            signal.bytes += brought.bytes;
            signal.last_received_ns = brought.received_ns;
            counts.instances_guessed += brought.instances_guessed;
            counts.unversioned_records += brought.unversioned;
            for sender in brought.senders.iter() {
                let counts = &mut counts.senders[sender as usize];
                counts.received += brought.records;
                counts.last_received_ns = brought.received_ns;
            }
        });
    }

    pub(crate) fn rejected(&self, signal: Signal, reason: &'static str, records: u64, detail: &str, now_ns: i64) {
        self.change(|counts| {
            counts.signals[signal as usize - 1].rejected += records;
            counts.note(reason, Some(signal), false, records, detail, now_ns);
        });
    }

    pub(crate) fn refused(&self, signal: Option<Signal>, reason: &'static str, detail: &str, now_ns: i64) {
        self.change(|counts| {
            counts.refused_requests += 1;
            counts.note(reason, signal, true, 1, detail, now_ns);
        });
    }

    /// Everything that is counted here; the caller fills in the rest.
    pub(crate) fn snapshot(&self) -> IngestStatus {
        self.change(|counts| {
            let mut rejections: Vec<Rejection> = counts.rejections.values().cloned().collect();
            rejections.sort_by_key(|rejection| std::cmp::Reverse(rejection.last_ns));
            let signals = Signal::ALL.map(|signal| {
                let SignalCounts { received, rejected, bytes, last_received_ns } = counts.signals[signal as usize - 1];
                SignalStatus { signal, received, rejected, bytes, last_received_ns }
            });
            let senders = Sender::ALL.into_iter().zip(counts.senders).filter(|(_, counts)| counts.last_received_ns > 0);
            let senders = senders.map(|(sender, SenderCounts { received, last_received_ns })| SenderStatus {
                sender,
                received,
                last_received_ns,
            });
            IngestStatus {
                senders: senders.collect(),
                signals: signals.to_vec(),
                rejections,
                refused_requests: counts.refused_requests,
                instances_guessed: counts.instances_guessed,
                unversioned_records: counts.unversioned_records,
                own_records: counts.own_records,
                ..IngestStatus::default()
            }
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        // Counters stay usable when a holder panicked between two of them.
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    fn note(
        &mut self,
        reason: &'static str,
        signal: Option<Signal>,
        whole_request: bool,
        count: u64,
        detail: &str,
        last_ns: i64,
    ) {
        let mut end = detail.len().min(DETAIL_BYTES_MAX);
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        let entry = self.rejections.entry((reason, signal, whole_request)).or_insert_with(|| Rejection {
            reason,
            signal,
            count: 0,
            whole_request,
            detail: String::new(),
            last_ns,
        });
        entry.count += count;
        entry.detail.clear();
        entry.detail.push_str(&detail[..end]);
        entry.last_ns = last_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_kept_once_with_the_last_example() {
        let board = StatusBoard::default();
        board.rejected(Signal::Metrics, "not_a_number", 2, "first", 10);
        board.rejected(Signal::Metrics, "not_a_number", 3, &"é".repeat(400), 20);
        board.refused(None, "overloaded", "full", 15);
        let status = board.snapshot();
        assert_eq!(status.signals[1].rejected, 5);
        assert_eq!(status.refused_requests, 1);
        let reasons: Vec<_> = status.rejections.iter().map(|r| (r.reason, r.count, r.last_ns)).collect();
        assert_eq!(reasons, [("not_a_number", 5, 20), ("overloaded", 1, 15)]);
        assert!(status.rejections[0].detail.len() <= DETAIL_BYTES_MAX);
    }
}
