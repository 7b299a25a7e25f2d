//! The encoders, read back by prost.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use prost::Message;
use shipwake_otlp::write::*;

#[test]
fn varints_and_field_sizes_are_those_of_prost() {
    let values = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1]).chain([u64::MAX]);
    for value in values {
        let (mut ours, mut prosts) = (Vec::new(), Vec::new());
        put_varint(&mut ours, value);
        prost::encoding::encode_varint(value, &mut prosts);
        assert_eq!(ours, prosts);
        assert_eq!(ours.len(), varint_len(value));
    }
    for len in [0, 1, 127, 128, 20_000] {
        for field in [1, 15, 16, 3_000] {
            let mut out = Vec::new();
            put_len_field(&mut out, field, &vec![1; len]);
            assert_eq!(out.len(), len_field_size(field, len));
            let mut message = Vec::new();
            put_message(&mut message, field, |out| out.resize(out.len() + len, 1));
            assert_eq!(out, message);
        }
    }
}

#[test]
fn a_record_in_pieces_is_the_record_as_a_whole() {
    // Lengths of one, two and three bytes in front of the record.
    for bytes in [0, 1, 100, 115, 116, 117, 118, 119, 120, 121, 127, 128, 300, 16_000, 20_000, 3_000_000] {
        let body = vec![b'x'; bytes];
        let attributes = [
            ("text", Value::String(b"y")),
            ("long", Value::String(&body)),
            ("int", Value::Int(-1)),
            ("double", Value::Double(0.25)),
            ("bool", Value::Bool(true)),
            ("list", Value::Array(&[Value::Int(1)])),
        ];
        let line = LogLine {
            time_unix_nano: 7,
            observed_time_unix_nano: 8,
            severity_number: 17,
            body: Value::String(&body),
            attributes: &attributes,
            ..LogLine::default()
        };
        let mut whole = Vec::new();
        put_resource_logs(&mut whole, &[("service.name", "a".into())], "scope", |out| {
            put_log_record(out, &line);
            put_log_record(out, &LogLine::default());
        });
        let mut records = Vec::new();
        // With room for nothing, for some of it, and for all.
        put_record_in_pieces(&mut records, 7, 8, 17, bytes % 1000, |out| {
            out.body(&body);
            out.text(b"text", b"y");
            out.text(b"long", &body);
            out.int(b"int", -1);
            out.double(b"double", 0.25);
            out.boolean(b"bool", true);
            out.attribute_value("list", Value::Array(&[Value::Int(1)]));
        });
        put_record_in_pieces(&mut records, 0, 0, 0, 100, |_| {});
        let mut pieces = Vec::new();
        put_resource_logs_of(&mut pieces, &[("service.name", "a".into())], "scope", &records);
        put_resource_logs_around(&mut records, &[("service.name", "a".into())], "scope");
        assert_eq!(records, pieces, "{bytes}");
        assert!(crate::agree::check_logs(&pieces), "{bytes}");
        let read = |bytes: &[u8]| ExportLogsServiceRequest::decode(bytes).expect("valid");
        assert_eq!(read(&pieces), read(&whole), "{bytes}");
        assert_eq!(pieces.len(), whole.len(), "{bytes}: no byte more than needed");
    }
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    put_resource_logs(&mut whole, &[], "", |_| {});
    put_resource_logs_of(&mut pieces, &[], "", &[]);
    assert_eq!(whole, pieces);
}

#[test]
fn a_record_that_is_written_in_the_order_of_a_line_has_the_bytes_of_one() {
    let long = "n".repeat(200);
    for (number, room) in [(0, 0), (17, 10), (-3, 5000)] {
        let attributes = [
            ("a", Value::String(b"")),
            (&*long, Value::Int(i64::MIN)),
            (&*long, Value::Bool(false)),
            ("map", Value::Map(&[("k", Value::Empty)])),
            ("d", Value::Double(-0.0)),
        ];
        let line = LogLine {
            time_unix_nano: 7,
            observed_time_unix_nano: 8,
            severity_number: number,
            severity_text: b"ERROR",
            body: Value::String(long.as_bytes()),
            attributes: &attributes,
            trace_id: &[1; 16],
            span_id: &[2; 8],
            ..LogLine::default()
        };
        let (mut whole, mut pieces) = (vec![9], vec![9]);
        put_log_record(&mut whole, &line);
        put_record(&mut pieces, room, |out| {
            out.time(7);
            out.severity(number);
            out.severity_text(b"ERROR");
            out.body(long.as_bytes());
            attributes.iter().for_each(|(name, value)| out.attribute_value(name, *value));
            out.ids(&[1; 16], &[2; 8]);
            out.observed_time(8);
        });
        assert_eq!(pieces, whole, "{number}");
    }
}

#[test]
fn a_request_made_of_lines_is_read_by_prost() {
    let line = LogLine {
        time_unix_nano: 7,
        observed_time_unix_nano: 8,
        severity_number: 17,
        severity_text: b"ERROR",
        body: "payment refused".into(),
        attributes: &[
            ("http.route", "/pay".into()),
            ("n", Value::Int(-1)),
            ("x", Value::Double(0.0)),
            ("list", Value::Array(&[Value::Bool(false), Value::Bytes(&[1])])),
            ("map", Value::Map(&[("k", Value::Empty)])),
        ],
        flags: 1,
        trace_id: &[1; 16],
        span_id: &[2; 8],
        event_name: b"",
    };
    let mut out = Vec::new();
    put_resource_logs(&mut out, &[("service.name", "checkout".into())], "shipwake.lines", |out| {
        put_log_record(out, &line);
        put_log_record(out, &LogLine::default());
    });
    put_resource_logs(&mut out, &[], "", |_| {});
    assert!(crate::agree::check_logs(&out));

    let request = ExportLogsServiceRequest::decode(&out[..]).unwrap();
    assert_eq!(request.resource_logs.len(), 2);
    let scope = &request.resource_logs[0].scope_logs[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "shipwake.lines");
    assert_eq!(scope.log_records[1], Default::default());
    let record = &scope.log_records[0];
    assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (7, 8));
    assert_eq!((record.severity_number, record.severity_text.as_str(), record.flags), (17, "ERROR", 1));
    assert_eq!((record.trace_id.len(), record.span_id.len()), (16, 8));
    let values: Vec<_> = record.attributes.iter().map(|kv| kv.value.clone().unwrap_or_default().value).collect();
    assert_eq!(values[0], Some(any_value::Value::StringValue("/pay".into())));
    assert_eq!(values[1], Some(any_value::Value::IntValue(-1)));
    assert_eq!(values[2], Some(any_value::Value::DoubleValue(0.0)));
    assert!(matches!(&values[3], Some(any_value::Value::ArrayValue(array)) if array.values.len() == 2));
    assert!(matches!(&values[4], Some(any_value::Value::KvlistValue(map)) if map.values[0].key == "k"));
}

#[test]
fn partial_success_is_absent_on_full_success() {
    assert!(partial_success(0, "").is_empty());
    let response = ExportLogsServiceResponse::decode(&partial_success(3, "three were NaN")[..]).unwrap();
    let expected = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "three were NaN".into() };
    assert_eq!(response.partial_success, Some(expected));
}

#[test]
fn a_status_says_when_to_come_again_and_what_was_wrong() {
    let violations = [Violation { field: "resource_logs", description: "truncated at byte 7" }];
    let status = Status {
        code: 8,
        message: "too much",
        retry_after: Some(Duration::from_millis(1_500)),
        violations: &violations,
    };
    let decoded = RpcStatus::decode(&status.encode()[..]).unwrap();
    assert_eq!((decoded.code, decoded.message.as_str()), (8, "too much"));
    assert_eq!(decoded.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let retry = RetryInfo::decode(&decoded.details[0].value[..]).unwrap();
    assert_eq!(retry.retry_delay, Some(Delay { seconds: 1, nanos: 500_000_000 }));
    assert_eq!(decoded.details[1].type_url, "type.googleapis.com/google.rpc.BadRequest");
    let bad = BadRequest::decode(&decoded.details[1].value[..]).unwrap();
    assert_eq!(bad.field_violations[0].field, "resource_logs");
    assert_eq!(bad.field_violations[0].description, "truncated at byte 7");

    let plain = Status { code: 3, message: "no", ..Status::default() };
    assert!(RpcStatus::decode(&plain.encode()[..]).unwrap().details.is_empty());
}

/// `google.rpc.Status` and its details, as their `.proto` files number them.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}
