//! What can go wrong between a sender and the journal, and the one table that turns it into an answer.
//!
//! The kinds come from the OTLP specification and from what real clients do with each status: a passing fault is 503 or
//! UNAVAILABLE with a hint (nothing else is repeated by everybody), and what can never succeed must not look retryable, or
//! the sender repeats it for ever. How an answer looks in a protocol is in `answer.rs`, `otlp_grpc.rs` and `lines/`.

use std::time::Duration;

use http::StatusCode;
use shipwake_journal::JournalError;
use shipwake_otlp::ScanError;
use shipwake_otlp::json::JsonError;
use tonic::Code;

/// An error of receiving. [`IngestError::kind`] says whose fault it is and whether the sender may come again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The bytes are not an export request.
    #[error("not a valid OTLP protobuf request: {0}")]
    Protobuf(#[from] ScanError),
    /// The text is not an export request in JSON.
    #[error("not a valid OTLP JSON request: {0}")]
    Json(JsonError),
    /// A gRPC message frame, a compressed stream, a query or a body is not what it claims to be.
    #[error("{what}: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The request is larger than the limit, as sent or after decompression.
    #[error("request is larger than the limit of {limit} bytes {when}; send smaller batches")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// `as sent` or `after decompression`.
        when: &'static str,
    },
    /// The body's type is not taken on this route.
    #[error("content type {found:?} is not taken here; {expected}")]
    ContentType {
        /// What the sender declared, shortened.
        found: String,
        /// What to send instead.
        expected: &'static str,
    },
    /// The compression is not known.
    #[error("content encoding {found:?} is not supported; use gzip, zstd or none")]
    Encoding {
        /// What the sender declared, shortened.
        found: String,
    },
    /// The sender does not show that it may send this.
    #[error("{reason}")]
    Unauthorized {
        /// What is missing or does not fit.
        reason: String,
    },
    /// Another method than POST.
    #[error("method {found} is not allowed here; use POST")]
    Method {
        /// The method.
        found: String,
    },
    /// No such route or gRPC method.
    #[error("{path} does not exist; {known}")]
    NotFound {
        /// The path asked for, shortened.
        path: String,
        /// What exists.
        known: &'static str,
    },
    /// The first bytes of a connection are those of TLS.
    #[error(
        "{peer} speaks TLS to this port, which takes plain HTTP: set an endpoint that begins with http:// (in a Collector, \
         tls: {{insecure: true}}), or put a proxy in front that ends TLS"
    )]
    Tls {
        /// The sender's address.
        peer: String,
    },
    /// The sender went away, or its connection broke, in the middle of a request.
    #[error("the request's body ended early: {reason}")]
    Aborted {
        /// What the connection said.
        reason: String,
    },
    /// The body came too slowly.
    #[error("the request's body came too slowly; try again")]
    Slow,
    /// No room came free within the time that a request is held.
    #[error("too much data is in flight; try again in a few seconds")]
    Overloaded,
    /// The journal holds more than is folded in a reasonable time.
    #[error("what was sent before is still being worked through; try again in a few seconds")]
    Behind,
    /// The journal is still being opened, or is being closed.
    #[error("the journal is not open yet; try again in a few seconds")]
    NotReady,
    /// The journal did not answer in time. The records may be kept all the same.
    #[error("the journal takes longer than {} s; try again, a repetition is recognised", waited.as_secs())]
    AppendSlow {
        /// How long the request waited.
        waited: Duration,
    },
    /// The journal refused the records.
    #[error("the journal did not take the records: {0}")]
    Journal(#[from] JournalError),
    /// A value of the configuration is not possible.
    #[error("bad configuration of ingest: {0}")]
    Config(String),
    /// The listening socket failed.
    #[error("failed to {doing}: {reason}")]
    Socket {
        /// What was being done.
        doing: &'static str,
        /// The operating system's reason.
        reason: String,
    },
}

/// What the sender is told, whatever the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request can never be accepted as it is.
    Invalid,
    /// The request can never be accepted at this size.
    TooLarge,
    /// The body's form is not taken.
    Unsupported,
    /// The sender is not known.
    Unauthorized,
    /// The method is not allowed.
    Method,
    /// The route does not exist.
    NotFound,
    /// It would have been accepted at another moment: come again.
    Passing,
}

impl IngestError {
    /// Whose fault it is, and whether the sender may come again.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Protobuf(_) | Self::Json(_) | Self::Malformed { .. } | Self::Aborted { .. } | Self::Tls { .. } => {
                Kind::Invalid
            }
            Self::TooLarge { .. } | Self::Journal(JournalError::TooLarge { .. }) => Kind::TooLarge,
            Self::ContentType { .. } | Self::Encoding { .. } => Kind::Unsupported,
            Self::Unauthorized { .. } => Kind::Unauthorized,
            Self::Method { .. } => Kind::Method,
            Self::NotFound { .. } => Kind::NotFound,
            // A fault of our own may be mended by the time the sender comes again (disk freed, process restarted), and
            // no client repeats a 500 or INTERNAL.
            Self::Slow
            | Self::Overloaded
            | Self::Behind
            | Self::NotReady
            | Self::AppendSlow { .. }
            | Self::Journal(_)
            | Self::Config(_)
            | Self::Socket { .. } => Kind::Passing,
        }
    }

    /// A word for counters and for the pipeline page; few values.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Protobuf(_) => "broken_protobuf",
            Self::Json(_) => "broken_json",
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } | Self::Journal(JournalError::TooLarge { .. }) => "too_large",
            Self::ContentType { .. } => "content_type",
            Self::Encoding { .. } => "encoding",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Method { .. } => "method",
            Self::NotFound { .. } => "not_found",
            Self::Tls { .. } => "tls",
            Self::Aborted { .. } => "aborted",
            Self::Slow => "slow_body",
            Self::Overloaded => "overloaded",
            Self::Behind => "behind",
            Self::NotReady => "not_ready",
            Self::AppendSlow { .. } => "journal_slow",
            Self::Journal(JournalError::Full { .. }) => "journal_full",
            Self::Journal(JournalError::ReadOnly { .. }) => "journal_read_only",
            Self::Journal(JournalError::Unavailable { .. }) => "journal_unavailable",
            Self::Journal(_) => "journal_failed",
            Self::Config(_) | Self::Socket { .. } => "internal",
        }
    }
}

impl From<JsonError> for IngestError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooLarge { limit } => Self::TooLarge { limit, when: "in protobuf" },
            invalid @ JsonError::Invalid { .. } => Self::Json(invalid),
        }
    }
}

impl Kind {
    /// The status of an HTTP answer.
    pub fn http(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Passing => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code of a gRPC answer, and of a `google.rpc.Status` body. OUT_OF_RANGE and INTERNAL are never used: OTLP calls
    /// the first retryable, and says nothing useful about the second.
    pub fn grpc(self) -> Code {
        match self {
            Kind::Invalid => Code::InvalidArgument,
            Kind::TooLarge => Code::ResourceExhausted,
            Kind::Unauthorized => Code::Unauthenticated,
            Kind::Unsupported | Kind::Method | Kind::NotFound => Code::Unimplemented,
            Kind::Passing => Code::Unavailable,
        }
    }
}

/// At most 80 bytes of what a sender wrote, for messages.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
