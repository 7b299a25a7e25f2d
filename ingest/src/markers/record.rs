//! Changes of verdicts in: whoever judges releases has each change of a word recorded, so that the table `verdicts` has it on every
//! node, and after every restart.

use bytes::Bytes;
use shipwake_model::{Signal, VerdictChange};

use super::encode;
use crate::body::Deadlines;
use crate::decode::Rejected;
use crate::error::IngestError;
use crate::ingest::Ingest;
use crate::produce::{Delivery, Origin, deliver};
use crate::sender::Senders;

impl Ingest {
    /// Appends a change of a verdict to the journal; it is durable when this returns. Recording a change again (the same release and
    /// sequence) is harmless: it is one row of `verdicts`, so whoever is not sure does it again.
    ///
    /// # Errors
    /// When the journal does not take it, for example while it is being opened: [`crate::error::Kind::Passing`] says that it can be
    /// tried again.
    pub async fn record_verdict(&self, change: &VerdictChange) -> Result<(), IngestError> {
        let core = self.core();
        let change = change.clone().shortened();
        let deadlines = Deadlines::starting_now(&core.config);
        let journal = core.journal.wait(deadlines.hold).await?;
        let request = encode::request_of_verdict(&change, core.now_ns());
        let grant = core.budget.enter(request.len(), deadlines.hold).await?;
        let delivery = Delivery {
            signal: Signal::Logs,
            client_bytes: request.len() as u64,
            request: Bytes::from(request),
            grant,
            peer: None,
            repetition: encode::repetition_of_verdict(&core.tenant, &change),
            rejected_before: Rejected::default(),
            senders: Senders::default(),
            origin: Origin::Own,
        };
        deliver(core, journal, delivery).await.map(|_| ())
    }
}
