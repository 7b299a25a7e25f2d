//! OTLP in JSON at the door: it becomes protobuf before anything else looks at it, in the memory that the request was granted.
//!
//! While that happens there are two copies, as there are when a request is tagged; text that becomes longer in protobuf (long
//! lists of short numbers) acquires room first.

use std::sync::Arc;

use bytes::Bytes;
use shipwake_model::Signal;
use shipwake_otlp::json::{self, GROWTH_MAX, JsonError, Transcoded};
use tokio::time::Instant;

use crate::admission::Grant;
use crate::error::IngestError;
use crate::ingest::Core;

/// Texts above this are read on a blocking thread: about half a millisecond of work.
const INLINE_BYTES_MAX: usize = 96 << 10;

/// The export request that `text` stands for, and what its sender should know about it.
pub(crate) async fn transcode(
    core: &Arc<Core>,
    signal: Signal,
    text: Bytes,
    grant: &mut Grant,
    hold: Instant,
) -> Result<(Bytes, Option<String>), IngestError> {
    let len = text.len();
    let done = match run(signal, &text, len).await {
        Err(JsonError::TooLarge { .. }) => {
            let limit = len.saturating_mul(GROWTH_MAX).min(core.config.message_bytes_max);
            grant.grow((len + limit).min(core.config.in_flight_bytes_max), true, hold).await?;
            run(signal, &text, limit).await
        }
        done => done,
    };
    drop(text);
    let Transcoded { mut request, ignored } = done?;
    request.shrink_to_fit();
    grant.settle(request.len());
    Ok((Bytes::from(request), ignored))
}

async fn run(signal: Signal, text: &Bytes, bytes_max: usize) -> Result<Transcoded, JsonError> {
    let transcode = match signal {
        Signal::Logs => json::transcode_logs,
        Signal::Metrics => json::transcode_metrics,
        Signal::Traces => json::transcode_spans,
    };
    if text.len() <= INLINE_BYTES_MAX {
        return transcode(text, bytes_max);
    }
    let text = text.clone();
    let work = tokio::task::spawn_blocking(move || transcode(&text, bytes_max));
    work.await.expect("reading JSON does not panic, and blocking work is not aborted")
}
