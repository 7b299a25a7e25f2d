//! What the judge and the notifier have to say: changes of verdicts, so that the table `verdicts` has them on every node, and attempts to
//! tell of them, which are the table `notifications`. Both as log records.

use bytes::Bytes;
use shipwake_model::{Notification, Signal, VerdictChange};

use super::encode;
use crate::body::Deadlines;
use crate::decode::Rejected;
use crate::error::IngestError;
use crate::ingest::Ingest;
use crate::produce::{Delivery, Origin, deliver};
use crate::sender::Senders;
use crate::split::Repetition;

impl Ingest {
    /// Appends a change of a verdict to the journal; it is durable when this returns. Recording a change again (the same release and
    /// sequence) is harmless: it is one row of `verdicts`, so whoever is not sure does it again.
    ///
    /// # Errors
    /// When the journal does not take it, for example while it is being opened: [`crate::error::Kind::Passing`] says that it can be
    /// tried again.
    pub async fn record_verdict(&self, change: &VerdictChange) -> Result<(), IngestError> {
        let change = change.clone().shortened();
        let repetition = encode::repetition_of_verdict(&self.core().tenant, &change);
        self.record(encode::request_of_verdict(&change, self.core().now_ns()), repetition).await
    }

    /// Appends an attempt to tell somebody of a verdict; it is durable when this returns. Recording the same attempt again is harmless: it
    /// is one row of `notifications`.
    ///
    /// # Errors
    /// As [`Ingest::record_verdict`].
    pub async fn record_notification(&self, told: &Notification) -> Result<(), IngestError> {
        let told = told.clone().shortened();
        let repetition = encode::repetition_of_notification(&self.core().tenant, &told);
        self.record(encode::request_of_notification(&told, self.core().now_ns()), repetition).await
    }

    /// Appends a request of ours with one log record.
    async fn record(&self, request: Vec<u8>, repetition: Repetition) -> Result<(), IngestError> {
        let core = self.core();
        let deadlines = Deadlines::starting_now(&core.config);
        let journal = core.journal.wait(deadlines.hold).await?;
        let grant = core.budget.enter(request.len(), deadlines.hold).await?;
        let delivery = Delivery {
            signal: Signal::Logs,
            client_bytes: request.len() as u64,
            request: Bytes::from(request),
            grant,
            peer: None,
            repetition,
            rejected_before: Rejected::default(),
            senders: Senders::default(),
            origin: Origin::Own,
        };
        deliver(core, journal, delivery).await.map(|_| ())
    }
}
