//! What ingest knows, in the words of the pipeline page. Query does not know ingest, so the two meet here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use shipwake_aggregate::Progress;
use shipwake_ingest::Ingest;
use shipwake_model::Signal;
use shipwake_query::{Endpoints, PipelineSource, PipelineStatus, Received, Rejection, SeenSender};

use crate::health::Readiness;

const NS_PER_MS: i64 = 1_000_000;

/// The counters of a running ingest.
pub struct IngestSource {
    ingest: Option<Ingest>,
    readiness: Readiness,
    progress: Option<Progress>,
    endpoints: Endpoints,
    started_ms: i64,
}

impl IngestSource {
    /// The counters of `ingest`, if this process takes telemetry, which listens at `endpoints`; what keeps Shipwake from taking data, and what the shards have
    /// lost.
    pub fn shared(
        ingest: &Option<Ingest>,
        readiness: &Readiness,
        progress: &Option<Progress>,
        endpoints: Endpoints,
    ) -> Arc<dyn PipelineSource> {
        let (ingest, readiness, progress) = (ingest.clone(), readiness.clone(), progress.clone());
        Arc::new(Self { ingest, readiness, progress, endpoints, started_ms: now_ms() })
    }
}

impl PipelineSource for IngestSource {
    fn status(&self) -> PipelineStatus {
        let status = self.ingest.as_ref().map(Ingest::status).unwrap_or_default();
        let received = |signal: Signal| {
            status.signals.iter().find(|found| found.signal == signal).map_or(0, |found| found.received)
        };
        let rejected = status.rejections.iter().map(|rejection| Rejection {
            reason: rejection.reason.to_owned(),
            signal: rejection.signal,
            count: rejection.count,
            last_ms: rejection.last_ns / NS_PER_MS,
            detail: rejection.detail.clone(),
        });
        let senders = status.senders.iter().map(|seen| SeenSender {
            kind: seen.sender.as_str().to_owned(),
            received: seen.received,
            last_ms: seen.last_received_ns / NS_PER_MS,
        });
        PipelineStatus {
            received: Received {
                logs: received(Signal::Logs),
                metrics: received(Signal::Metrics),
                spans: received(Signal::Traces),
            },
            own: status.own_records,
            rejected: rejected.collect(),
            endpoints: self.endpoints.clone(),
            instances_guessed: status.instances_guessed > 0,
            memory_bytes: resident_bytes(),
            started_ms: self.started_ms,
            last_received: status.signals.iter().map(|of| (of.signal, of.last_received_ns / NS_PER_MS)).collect(),
            senders: senders.collect(),
            unready: !self.readiness.missing().is_empty(),
            degraded: !self.readiness.degraded().is_empty(),
            problems: self.problems(),
        }
    }
}

impl IngestSource {
    fn problems(&self) -> Vec<String> {
        let found = self.readiness.missing().into_iter().chain(self.readiness.degraded());
        let mut problems: Vec<String> = found.map(|(_, reason)| reason).collect();
        let lost = self.progress.as_ref().map(Progress::losses).unwrap_or_default();
        let topics = self.ingest.as_ref().map(Ingest::topic_losses).unwrap_or_default();
        for loss in lost.into_iter().chain(topics) {
            if !problems.contains(&loss) {
                problems.push(loss);
            }
        }
        problems
    }
}

/// The present, epoch ms.
fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// Memory of this process that is in RAM, as the kernel counts it.
pub fn resident_bytes() -> Option<u64> {
    // The kernel counts in pages; 4 KiB on every platform that we build for.
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
