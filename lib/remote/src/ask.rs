//! One question to one owner over HTTP. The thread that asks waits; the connection is worked by a runtime of its own, which goes on
//! whatever the asking thread is.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Runtime;

use crate::error::RemoteError;
use crate::mirror::Chunks;
use crate::serve::SHARDS_PATH;
use crate::wire::{Have, Heard, HeardRows, Question, Request, Wanted, read_answer, read_rows};

/// A process that does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);
/// A connection that nobody used for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer. An owner sends pieces of 16 MiB and, at the most, all windows since its last commit.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Bytes of a refusal that are repeated.
const REFUSAL_BYTES: usize = 300;
/// How many times the time of one piece all pieces of a snapshot get. A shard holds 64 MiB at the most, which are four, while rows may
/// be added meanwhile.
const PIECES_TIMES: u32 = 5;

/// Asks other processes.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    runtime: Option<Runtime>,
}

impl Client {
    pub fn new() -> Result<Self, RemoteError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ask-owners")
            .enable_all()
            .build()
            .map_err(RemoteError::Threads)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(RemoteError::Client)?;
        Ok(Self { http, runtime: Some(runtime) })
    }

    /// Asks for anything but rows.
    pub fn ask(
        &self,
        owner: &str,
        shards: &[Wanted],
        question: &Question,
        until: Instant,
    ) -> Result<Heard, RemoteError> {
        let request = Request { shards: shards.to_vec(), question: question.clone(), have: Have::default() };
        let bytes = self.post(owner, request.write(), until)?;
        read_answer(&bytes).map_err(|reason| RemoteError::Unreadable { owner: owner.to_owned(), reason })
    }

    /// Asks for rows, in pieces if need be, each of which gets the time. Gives the answer that completes them, and the chunks that it
    /// speaks of.
    pub fn ask_rows(
        &self,
        owner: &str,
        shards: &[Wanted],
        question: &Question,
        (mut process, mut chunks): (u64, Chunks),
        patience: Duration,
    ) -> Result<(HeardRows, Chunks), RemoteError> {
        let begun = Instant::now();
        while begun.elapsed() < PIECES_TIMES * patience {
            let have = Have { process, chunks: chunks.keys().copied().collect() };
            let request = Request { shards: shards.to_vec(), question: question.clone(), have };
            let bytes = self.post(owner, request.write(), Instant::now() + patience)?;
            let unreadable = |reason| RemoteError::Unreadable { owner: owner.to_owned(), reason };
            let mut heard = read_rows(&bytes).map_err(unreadable)?;
            if heard.process != process {
                process = heard.process;
                chunks = HashMap::new();
            }
            chunks.extend(heard.sent.drain());
            if !heard.more {
                return Ok((heard, chunks));
            }
        }
        let reason = format!("its rows did not come together within {:?}", PIECES_TIMES * patience);
        Err(RemoteError::Refused { owner: owner.to_owned(), reason })
    }

    /// What tasks of this module run on.
    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime is taken only when the client is dropped")
    }

    fn post(&self, owner: &str, body: Vec<u8>, until: Instant) -> Result<Bytes, RemoteError> {
        let left = until.saturating_duration_since(Instant::now());
        let (done, answer) = sync_channel(1);
        let (http, of_task) = (self.http.clone(), owner.to_owned());
        self.runtime().spawn(async move {
            let asked = tokio::time::timeout(left, post(&http, &of_task, body)).await;
            // Nobody waits any more when the asking thread has given up.
            let _ = done.send(asked.unwrap_or_else(|_| {
                let reason = format!("no answer within {} ms", left.as_millis());
                Err(RemoteError::Unreachable { owner: of_task, reason })
            }));
        });
        let gone = || RemoteError::Unreachable { owner: owner.to_owned(), reason: "the question was lost".to_owned() };
        answer.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The last user may be a task, where waiting for a runtime is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn post(http: &reqwest::Client, owner: &str, body: Vec<u8>) -> Result<Bytes, RemoteError> {
    let unreachable =
        |error: reqwest::Error| RemoteError::Unreachable { owner: owner.to_owned(), reason: in_words(&error) };
    let request = http.post(format!("{}{SHARDS_PATH}", owner.trim_end_matches('/'))).body(body);
    let mut answer = request.header("content-type", "application/json").send().await.map_err(unreachable)?;
    let (status, mut bytes) = (answer.status(), BytesMut::new());
    while let Some(part) = answer.chunk().await.map_err(unreachable)? {
        bytes.extend_from_slice(&part);
        if bytes.len() > ANSWER_BYTES_MAX {
            let reason = format!("it has more than {} MiB", ANSWER_BYTES_MAX >> 20);
            return Err(RemoteError::Unreadable { owner: owner.to_owned(), reason });
        }
    }
    if status.is_success() {
        return Ok(bytes.freeze());
    }
    let said = String::from_utf8_lossy(&bytes[..bytes.len().min(REFUSAL_BYTES)]);
    Err(RemoteError::Refused { owner: owner.to_owned(), reason: format!("{status}: {}", said.trim()) })
}

/// The reason at the bottom of an error of the client: those above it only repeat the address.
fn in_words(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if error.is_connect() { format!("cannot connect: {deepest}") } else { deepest.to_string() }
}
