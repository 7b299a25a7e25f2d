//! What a server said to an export request, in the terms a sender acts on: taken, refused (may it come again, and when),
//! or no answer. Pure: status codes and bodies in, an [`Answer`] out.
//!
//! Codes and hints are those of the OTLP specification; what each SDK makes of them differs, see [`super::retry`].

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use shipwake_model::Signal;
use tonic::Code;

/// What is known about one attempt to send a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every record is durable.
    Accepted,
    /// Success, but so many records were rejected for good. Never repeated.
    Partial {
        /// How many records were rejected.
        rejected: i64,
        /// The server's words.
        message: String,
    },
    /// The server said no.
    Refused {
        /// Whether the same request may be sent again.
        retryable: bool,
        /// How long the server asks to wait.
        hint: Option<Duration>,
        /// Whether records may have been taken all the same: the server failed, as opposed to declined.
        maybe_taken: bool,
        /// Code and words, for people.
        reason: String,
    },
    /// No answer: the records may have been taken or not.
    Lost {
        /// What happened to the connection, for people.
        reason: String,
    },
}

/// The answer that a gRPC status with its `google.rpc.Status` details is.
pub fn of_grpc_status(code: Code, message: &str, details: &[u8]) -> Answer {
    let hint = retry_info(details);
    let retryable = match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => hint.is_some(),
        _ => false,
    };
    let declined =
        matches!(code, Code::ResourceExhausted | Code::InvalidArgument | Code::Unimplemented | Code::Unauthenticated);
    Answer::Refused { retryable, hint, maybe_taken: !declined, reason: format!("{code:?}: {message}") }
}

/// The answer that an HTTP status other than 200 is. `retry_after` is the header's text; seconds are understood.
pub fn of_http_status(status: u16, retry_after: Option<&str>, body: &[u8]) -> Answer {
    let hint = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let retryable = matches!(status, 429 | 502 | 503 | 504);
    let words = RpcStatus::decode(body).map(|status| status.message).unwrap_or_default();
    let maybe_taken = status >= 500;
    Answer::Refused { retryable, hint, maybe_taken, reason: format!("HTTP {status}: {words}") }
}

/// The answer that a success with this response message is.
pub fn of_success(signal: Signal, body: &[u8]) -> Answer {
    let partial = match signal {
        Signal::Logs => ExportLogsServiceResponse::decode(body).map(|response| {
            response.partial_success.map(|partial| (partial.rejected_log_records, partial.error_message))
        }),
        Signal::Metrics => ExportMetricsServiceResponse::decode(body).map(|response| {
            response.partial_success.map(|partial| (partial.rejected_data_points, partial.error_message))
        }),
        Signal::Traces => ExportTraceServiceResponse::decode(body)
            .map(|response| response.partial_success.map(|partial| (partial.rejected_spans, partial.error_message))),
    };
    match partial {
        Ok(None) => Answer::Accepted,
        Ok(Some((rejected, message))) => Answer::Partial { rejected, message },
        Err(error) => Answer::Lost { reason: format!("success with a body that is not OTLP: {error}") },
    }
}

/// `google.rpc.Status`, the body of every refusal. Written out here because the four fields are all that is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcAny>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RpcAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let any = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(any.value.as_slice()).ok()?.retry_delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    fn details(seconds: i64) -> Vec<u8> {
        let info = RetryInfo { retry_delay: Some(RetryDelay { seconds, nanos: 500_000_000 }) };
        let any =
            RpcAny { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        RpcStatus { code: 8, message: "full".to_owned(), details: vec![any] }.encode_to_vec()
    }

    #[test]
    fn resource_exhausted_may_come_again_only_with_a_hint() {
        let with = of_grpc_status(Code::ResourceExhausted, "full", &details(2));
        assert!(
            matches!(with, Answer::Refused { retryable: true, hint: Some(hint), maybe_taken: false, .. } if hint == Duration::from_millis(2_500))
        );
        let without = of_grpc_status(Code::ResourceExhausted, "too large", b"");
        assert!(matches!(without, Answer::Refused { retryable: false, hint: None, .. }));
    }

    #[test]
    fn a_failing_server_may_have_taken_the_records_and_a_declining_one_has_not() {
        let taken = |answer| matches!(answer, Answer::Refused { maybe_taken: true, .. });
        assert!(taken(of_grpc_status(Code::Unavailable, "", b"")));
        assert!(taken(of_http_status(503, Some("1"), b"")));
        assert!(!taken(of_grpc_status(Code::InvalidArgument, "", b"")));
        assert!(!taken(of_http_status(429, Some("1"), b"")));
    }

    #[test]
    fn http_answers_follow_the_specification() {
        let retry = |status, header| match of_http_status(status, header, b"") {
            Answer::Refused { retryable, hint, .. } => (retryable, hint.map(|hint| hint.as_secs())),
            other => panic!("{other:?}"),
        };
        assert_eq!(retry(429, Some("3")), (true, Some(3)));
        assert_eq!(retry(503, None), (true, None));
        assert_eq!(retry(400, Some("3")), (false, Some(3)));
        assert_eq!(retry(500, None), (false, None));
    }

    #[test]
    fn partial_success_is_told_from_success() {
        assert_eq!(of_success(Signal::Logs, b""), Answer::Accepted);
        let partial = ExportLogsPartialSuccess { rejected_log_records: 2, error_message: "no body".to_owned() };
        let body = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(of_success(Signal::Logs, &body), Answer::Partial { rejected: 2, message: "no body".to_owned() });
    }
}
