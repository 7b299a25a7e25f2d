//! Reads the body of a request into memory that was acquired before, however the body is framed and compressed.
//!
//! [`Collector`] owns the bytes and their grant; HTTP feeds it a whole body, gRPC the payload of one message. Memory is
//! acquired in steps as bytes come in, never on the word of a declared length, and a body that stalls while others wait for
//! memory gives it back (`pace.rs`). Nothing here knows what the bytes mean.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::admission::{Budget, Grant};
use crate::config::IngestConfig;
use crate::error::IngestError;
use crate::inflate::{Encoding, Inflate, Step};
use crate::pace::Pace;

/// First grant of a request that does not say how long it is, or says that it is longer. Small, so that many clients who
/// send nothing, or very slowly, cannot hold what the others need.
const FIRST_GRANT_BYTES: usize = 32 << 10;
/// Below this a grant grows fourfold, above twofold: few steps for a usual export, little waste for a large one.
const STEEP_BELOW_BYTES: usize = 256 << 10;
/// When no more than this is missing, or no more than has come, all of it is granted on the sender's word.
const TRUSTED_BYTES_MAX: usize = 96 << 10;
/// After unpacking so much the task lets others run: about a millisecond of work.
const YIELD_AFTER_BYTES: usize = 512 << 10;
/// How much of a refused body is read and thrown away, so that the answer is not lost in a connection reset.
const DISCARD_BYTES_MAX: usize = 2 << 20;
/// How long a refused body is read for.
const DISCARD_TIME_MAX: Duration = Duration::from_millis(250);

/// The points in time at which a request is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Until when it waits for room, and for the journal to be open.
    pub(crate) hold: Instant,
    /// Until when the body has to be complete.
    pub(crate) body: Instant,
    /// How long the body may make no progress.
    pub(crate) stall: Duration,
    /// The same while others wait for its memory.
    pub(crate) patience: Duration,
}

impl Deadlines {
    pub(crate) fn starting_now(config: &IngestConfig) -> Self {
        let now = Instant::now();
        Deadlines {
            hold: now + config.hold_max,
            body: now + config.body_time_max,
            stall: config.body_stall_max,
            patience: config.body_patience,
        }
    }
}

/// Takes the bytes of one request, unpacks them, and keeps limits while doing so.
pub(crate) struct Collector {
    budget: Budget,
    inflate: Inflate,
    grant: Grant,
    bytes_max: usize,
    packed: bool,
    /// Bytes of memory for each byte that is collected: more than 1 when the bytes are going to be converted.
    weight: usize,
    /// How long the bytes will be, when they are not packed and the sender says it. Not to be trusted.
    declared: Option<usize>,
    hold: Instant,
    pace: Pace,
}

impl Collector {
    /// Waits for a first grant. `declared` is the length of the bytes to come, if known; a length over the limit is
    /// refused before anything is read. `weight` is at least 1.
    pub(crate) async fn new(
        budget: &Budget,
        encoding: Encoding,
        declared: Option<u64>,
        bytes_max: usize,
        weight: usize,
        deadlines: &Deadlines,
    ) -> Result<Self, IngestError> {
        if declared.is_some_and(|declared| declared > bytes_max as u64) {
            return Err(IngestError::TooLarge { limit: bytes_max, when: "as sent" });
        }
        let packed = encoding != Encoding::Identity;
        let declared = declared.filter(|_| !packed).map(|declared| declared as usize);
        let wanted = declared.unwrap_or(bytes_max).min(FIRST_GRANT_BYTES);
        let grant = budget.enter(wanted * weight, deadlines.hold).await?;
        let mut inflate = Inflate::new(encoding)?;
        inflate.allow(wanted.min(grant.bytes() / weight));
        let (budget, hold) = (budget.clone(), deadlines.hold);
        let pace = Pace::new(deadlines.patience, Instant::now());
        Ok(Collector { budget, inflate, grant, bytes_max, packed, weight, declared, hold, pace })
    }

    /// The next data of a body, or `None` at its end.
    pub(crate) async fn next_chunk<B>(
        &mut self,
        body: &mut B,
        deadlines: &Deadlines,
    ) -> Result<Option<Bytes>, IngestError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let mut next = std::pin::pin!(next_chunk(body, deadlines));
        loop {
            let found = timeout_at(self.pace.look_at(), &mut next).await;
            if let Ok(Ok(chunk)) = &found {
                self.pace.came(chunk.as_ref().map_or(0, Bytes::len));
            }
            let is_complete = matches!(found, Ok(Ok(None)));
            if !is_complete && self.pace.is_over(Instant::now(), || self.budget.is_short()) {
                return Err(IngestError::Slow);
            }
            if let Ok(found) = found {
                return found;
            }
        }
    }

    /// Takes all of `input`.
    pub(crate) async fn push(&mut self, mut input: &[u8]) -> Result<(), IngestError> {
        let mut yielded_at = self.inflate.len();
        while !input.is_empty() {
            if self.inflate.step(&mut input)? == Step::Full {
                self.make_room().await?;
            }
            if self.inflate.len() - yielded_at > YIELD_AFTER_BYTES {
                yielded_at = self.inflate.len();
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// The complete bytes with their grant.
    pub(crate) async fn finish(mut self) -> Result<(Bytes, Grant), IngestError> {
        while self.inflate.finish()? == Step::Full {
            self.make_room().await?;
        }
        let mut bytes = self.inflate.take();
        // The journal keeps the bytes for a while: it should not keep a buffer of twice their size.
        if bytes.capacity() - bytes.len() > bytes.len() / 4 {
            bytes.shrink_to_fit();
        }
        self.grant.settle(bytes.capacity() * self.weight);
        Ok((Bytes::from(bytes), self.grant))
    }

    async fn make_room(&mut self) -> Result<(), IngestError> {
        let held = self.inflate.len();
        if held >= self.bytes_max {
            let when = if self.packed { "after decompression" } else { "as sent" };
            return Err(IngestError::TooLarge { limit: self.bytes_max, when });
        }
        let factor = if held < STEEP_BELOW_BYTES { 4 } else { 2 };
        let declared = self.declared.filter(|declared| *declared > held);
        let stepped = (held * factor).max(FIRST_GRANT_BYTES).min(declared.unwrap_or(self.bytes_max));
        let whole = declared.filter(|declared| declared - held <= held.max(TRUSTED_BYTES_MAX));
        let wanted = whole.unwrap_or(stepped);
        self.grant.grow(wanted * self.weight, whole.is_some(), self.hold_from_now()).await?;
        self.pace.begin_again(Instant::now());
        self.inflate.allow(wanted);
        Ok(())
    }

    /// A request that is already in, and has come slowly, still gets a moment to find room.
    fn hold_from_now(&self) -> Instant {
        const AT_LEAST: Duration = Duration::from_millis(500);
        self.hold.max(Instant::now() + AT_LEAST)
    }
}

/// The next data of a body, or `None` at its end. Trailers are passed over.
pub(crate) async fn next_chunk<B>(body: &mut B, deadlines: &Deadlines) -> Result<Option<Bytes>, IngestError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let until = deadlines.body.min(Instant::now() + deadlines.stall);
        match timeout_at(until, body.frame()).await {
            Err(_) => return Err(IngestError::Slow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(IngestError::Aborted { reason: error.to_string() }),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads a whole body as HTTP carries it.
pub(crate) async fn read_body<B>(
    body: &mut B,
    mut collector: Collector,
    deadlines: &Deadlines,
) -> Result<(Bytes, Grant), IngestError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    while let Some(chunk) = collector.next_chunk(body, deadlines).await? {
        collector.push(&chunk).await?;
    }
    collector.finish().await
}

/// Reads and forgets what is left of a body that will not be taken. A client that is still writing when the connection
/// closes never sees the answer, and some then drop the batch.
pub(crate) async fn discard<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut left = DISCARD_BYTES_MAX;
    let _ = timeout(DISCARD_TIME_MAX, async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(bytes);
            if left == 0 {
                return;
            }
        }
    })
    .await;
}
