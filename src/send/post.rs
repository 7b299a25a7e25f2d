//! A batch of lines to a running Shipwake, tried until it is taken.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, RETRY_AFTER};
use reqwest::{Client, Url};

use super::answer::{self, Answer, Taken};
use super::words::{Words, say};
use super::{Target, cut};

/// The Start page knows `pipe` and `tail` by it.
const AGENT: &str = concat!("shipwake-pipe/", env!("CARGO_PKG_VERSION"));
/// Longer than a server holds a request and waits for its disk together.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Below this, packing costs more than it saves.
const PACKED_FROM_BYTES: usize = 1 << 10;

/// The server that an option names, for messages, and the address of a route there.
///
/// # Errors
/// When it is not an address.
pub fn address(option: &str, endpoint: &str, route: &str) -> anyhow::Result<(String, Url)> {
    let place = endpoint.trim_end_matches('/');
    let place = if place.contains("://") { place.to_owned() } else { format!("http://{place}") };
    let url = Url::parse(&format!("{place}{route}")).with_context(|| format!("{option} {place}"))?;
    if url.scheme() != "http" {
        bail!("{option} {place}: only http is spoken; a proxy in front can do TLS");
    }
    Ok((place, url))
}

/// A client for one server, which answers in time or not at all.
///
/// # Errors
/// When the operating system gives no threads.
pub fn client(url: &Url, agent: &str) -> anyhow::Result<Client> {
    let mut client = Client::builder().user_agent(agent).timeout(ANSWER_TIME_MAX).connect_timeout(CONNECT_TIME_MAX);
    if url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]") {
        // A proxy of the company is not the way to this machine.
        client = client.no_proxy();
    }
    Ok(client.build()?)
}

/// The way to a server. One batch at a time, so that lines arrive in their order.
pub struct Post {
    client: Client,
    url: Url,
    place: String,
    words: Words,
    sums: Sums,
}

/// What became of all batches so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Lines that are on the server's disk.
    pub accepted: u64,
    /// Lines that the server rejected one by one.
    pub rejected: u64,
    /// Lines of batches that the server refused as a whole.
    pub refused: u64,
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is on the server's disk, without the lines that were rejected.
    Taken,
    /// The server will never take it. The first word of this server to us: what it was asked is wrong.
    RefusedAtFirst(String),
    /// The server will never take it, although it took others. It was said.
    Refused,
}

impl Post {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When the endpoint is not an address.
    pub fn new(target: &Target) -> anyhow::Result<Self> {
        let (place, mut url) = address("--endpoint", &target.endpoint, "/v1/lines")?;
        url.query_pairs_mut().extend_pairs(target.query());
        Ok(Post { client: client(&url, AGENT)?, url, place, words: Words::default(), sums: Sums::default() })
    }

    /// What became of all batches so far.
    pub fn sums(&self) -> Sums {
        self.sums
    }

    /// Where it sends to.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Sends a batch until it is taken or can never be. The same `key` again counts once, so a call that was cancelled
    /// may be repeated.
    pub async fn deliver(&mut self, batch: &[u8], key: &str) -> Delivered {
        let whole = cut::body(batch);
        // A batch that is too large for the server goes in halves, each under a key of its own.
        let mut parts = vec![(&whole[..], key.to_owned())];
        let mut outcome = Delivered::Taken;
        while let Some((part, key)) = parts.pop() {
            match self.until_answered(part, &key).await {
                Answer::Taken(taken) => self.note_taken(part, &taken),
                Answer::TooLarge(reason) => match cut::halves(part) {
                    Some((first, second)) => {
                        parts.push((second, format!("{key}.2")));
                        parts.push((first, format!("{key}.1")));
                    }
                    None => outcome = self.note_refused(part, &reason),
                },
                Answer::Refused(reason) => {
                    if self.sums == Sums::default() {
                        return Delivered::RefusedAtFirst(reason);
                    }
                    outcome = self.note_refused(part, &reason);
                }
                Answer::Later { .. } => unreachable!("not an answer to end with"),
            }
        }
        outcome
    }

    /// Tries until there is an answer that is not about the moment.
    async fn until_answered(&mut self, part: &[u8], key: &str) -> Answer {
        let packed = (part.len() >= PACKED_FROM_BYTES).then(|| packed(part));
        for attempt in 1.. {
            let (reason, hint) = match self.attempt(part, packed.as_deref(), key).await {
                Answer::Later { reason, hint } => (reason, hint),
                answer => return answer,
            };
            if let Some(text) = self.words.away(&self.place, &reason, Instant::now()) {
                say(&text);
            }
            tokio::time::sleep(answer::pause(attempt, hint, rand::random())).await;
        }
        unreachable!("attempts do not end")
    }

    async fn attempt(&self, plain: &[u8], packed: Option<&[u8]>, key: &str) -> Answer {
        let request = self.client.post(self.url.clone()).header("idempotency-key", key);
        let request = match packed {
            Some(packed) => request.header(CONTENT_ENCODING, "gzip").body(packed.to_vec()),
            None => request.body(plain.to_vec()),
        };
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Answer::Later { reason: cause(&error), hint: None },
        };
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match answer.bytes().await {
            Ok(body) => answer::read(status, retry_after.as_deref(), &body),
            Err(error) => Answer::Later { reason: cause(&error), hint: None },
        }
    }

    fn note_taken(&mut self, part: &[u8], taken: &Taken) {
        let now = Instant::now();
        if let Some(text) = self.words.back(&self.place, now) {
            say(&text);
        }
        self.sums.accepted += taken.accepted;
        self.sums.rejected += taken.rejected;
        for (number, reason) in &taken.errors {
            let line = part.split(|byte| *byte == b'\n').nth(number.saturating_sub(1)).unwrap_or_default();
            if let Some(text) = self.words.rejected(line, reason, now) {
                say(&text);
            }
        }
    }

    fn note_refused(&mut self, part: &[u8], reason: &str) -> Delivered {
        let lines = cut::lines(part);
        self.sums.refused += lines;
        say(&format!("{} refuses {lines} lines for good: {reason}", self.place));
        Delivered::Refused
    }
}

fn packed(part: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(part.len() / 4), Compression::fast());
    encoder.write_all(part).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// The innermost reason: the others only say that there was an error.
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "does not answer in time".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("cannot be reached ({innermost})")
}
