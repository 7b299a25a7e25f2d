//! What an operator may set about receiving, with the reason for each default. Checked once, at start, all problems in
//! one message. Nothing here is read from the environment: the binary fills it in.

use std::time::Duration;

use crate::error::IngestError;
use crate::lines::Upstream;

/// Limits and times of the senders' ports.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// Whose records these are. Default `default`: there is one tenant.
    pub tenant: String,
    /// Largest request in bytes after decompression. Default 64 MiB, the limit that the OTLP specification recommends.
    pub message_bytes_max: usize,
    /// Bytes of requests that may be in memory at once, from the first byte read until the journal has answered. Default
    /// 64 MiB. More of it absorbs longer bursts; at least `message_bytes_max`. While a request is tagged or cut there are
    /// two copies of it for a moment, so the process may use up to twice as much.
    pub in_flight_bytes_max: usize,
    /// Requests that may wait for room or for the journal at once; the next is refused without waiting. Default 4096.
    pub waiting_max: usize,
    /// How long a request is held under pressure, or while the journal opens, before it is refused. Default 2 s: clients
    /// that retry nothing lose what is refused, and clients that retry give up after 4 to 13 s.
    pub hold_max: Duration,
    /// How long a body may make no progress. Default 10 s, what clients allow for a whole export.
    pub body_stall_max: Duration,
    /// How long a body may make hardly any progress while other requests wait for the memory that it holds. Default 0.25 s: the
    /// others are held for eight times as long, and stalled senders that were let in after each other are found out in turn.
    pub body_patience: Duration,
    /// How long a body may take as a whole. Default 30 s.
    pub body_time_max: Duration,
    /// How long an answer waits for the journal before the sender is told to come back. Default 8 s, below the 10 s after
    /// which clients stop listening. The append goes on; the sender's retry is recognised by its hash.
    pub append_time_max: Duration,
    /// The same for records whose repetition would not be recognised, such as lines without a time: they are worth waiting
    /// for as long as clients listen. Default 8 s.
    pub append_time_max_unrecognised: Duration,
    /// How much may wait in the journal to be folded, in time that folding it takes. Beyond it requests are held and then
    /// refused. Default 30 s: the journal takes bursts whole, and what is shown is up to date again half a minute after one.
    pub backlog_time_max: Duration,
    /// Longest line of `POST /v1/lines` in bytes. Default 256 KiB. A longer one is rejected, the others are kept.
    pub line_bytes_max: usize,
    /// Which versions are behind the names that proxies log. Default none.
    pub upstreams: Vec<Upstream>,
    /// The secret that deliveries of GitHub's webhooks are signed with. Default none: then nobody is asked for a signature.
    pub github_secret: Option<HookSecret>,
}

impl Default for IngestConfig {
    fn default() -> Self {
        IngestConfig {
            tenant: "default".to_owned(),
            message_bytes_max: 64 << 20,
            in_flight_bytes_max: 64 << 20,
            waiting_max: 4096,
            hold_max: Duration::from_secs(2),
            body_stall_max: Duration::from_secs(10),
            body_patience: Duration::from_millis(250),
            body_time_max: Duration::from_secs(30),
            append_time_max: Duration::from_secs(8),
            append_time_max_unrecognised: Duration::from_secs(8),
            backlog_time_max: Duration::from_secs(30),
            line_bytes_max: 256 << 10,
            upstreams: Vec::new(),
            github_secret: None,
        }
    }
}

/// A secret that is shared with a sender. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(pub String);

impl HookSecret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl IngestConfig {
    /// All that is wrong with the values, as one error.
    pub fn check(&self) -> Result<(), IngestError> {
        let mut problems = Vec::new();
        if self.tenant.is_empty() || self.tenant.len() > 256 {
            problems.push("tenant must have 1 to 256 bytes".to_owned());
        }
        if self.message_bytes_max < 4096 {
            problems.push("message_bytes_max must be at least 4096".to_owned());
        }
        if self.message_bytes_max > 1 << 30 {
            problems.push("message_bytes_max must be at most 1 GiB".to_owned());
        }
        if self.in_flight_bytes_max < self.message_bytes_max {
            problems.push("in_flight_bytes_max must be at least message_bytes_max".to_owned());
        }
        if self.waiting_max == 0 || self.line_bytes_max == 0 {
            problems.push("waiting_max and line_bytes_max must be above zero".to_owned());
        }
        if self.backlog_time_max.is_zero() {
            problems.push("backlog_time_max must be above zero".to_owned());
        }
        problems.extend(self.upstreams.iter().filter_map(Upstream::problem));
        if problems.is_empty() { Ok(()) } else { Err(IngestError::Config(problems.join("; "))) }
    }
}

/// Limits of a listening socket and its connections. See [`crate::serve`].
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Connections at once. Default 10 000; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections at once from one address. Default 8000, so that one sender cannot take all of them.
    pub connections_per_peer_max: usize,
    /// How long the head of an HTTP/1 request may take from its first byte. Default 10 s.
    pub head_time_max: Duration,
    /// How long a connection may be silent between requests. Default 150 s: SDKs export metrics every 60 s, and a client
    /// that writes just as its connection is closed loses the batch.
    pub idle_time_max: Duration,
    /// Requests at once on one HTTP/2 connection. Default 128.
    pub streams_max: u32,
    /// How long connections may take to finish after shutdown was asked for. Default 5 s; then they are cut.
    pub grace: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        ServeConfig {
            connections_max: 10_000,
            connections_per_peer_max: 8_000,
            head_time_max: Duration::from_secs(10),
            idle_time_max: Duration::from_secs(150),
            streams_max: 128,
            grace: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_come_in_one_message() {
        let config = IngestConfig {
            tenant: String::new(),
            message_bytes_max: 1,
            in_flight_bytes_max: 0,
            ..IngestConfig::default()
        };
        let message = config.check().expect_err("must be refused").to_string();
        for part in ["tenant", "message_bytes_max", "in_flight_bytes_max"] {
            assert!(message.contains(part), "{message}");
        }
        IngestConfig::default().check().expect("the defaults are valid");
    }
}
