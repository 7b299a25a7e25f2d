//! Tables of texts and what becomes of them; the comparison with an independent writer is in `tests/otlp/json.rs`.

use super::{GROWTH_MAX, JsonError, transcode_logs, transcode_metrics, transcode_spans};
use crate::write::{self, LogLine, Value, put_resource_logs};
use crate::{LogRecord, LogSink, Resource, Scope, scan_logs};

/// The log record of a request with these fields, or why there is none.
fn record(fields: &str) -> Result<Vec<u8>, String> {
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}}]}}]}}]}}"#);
    transcode_logs(json.as_bytes(), json.len() * GROWTH_MAX).map(|done| done.request).map_err(|error| error.to_string())
}

/// A request with this record, by the encoders that lines use.
fn written(line: &LogLine<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write::put_message(&mut out, 1, |out| write::put_message(out, 2, |out| write::put_log_record(out, line)));
    out
}

fn check(fields: &str, expected: &LogLine<'_>) {
    let found = record(fields).unwrap_or_else(|error| panic!("{fields}: {error}"));
    assert_eq!(found, written(expected), "{fields}");
}

fn check_body(body: &str, expected: Value<'_>) {
    check(&format!(r#""body":{body}"#), &LogLine { body: expected, ..LogLine::default() });
}

fn refused(fields: &str, part: &str) {
    match record(fields) {
        Ok(taken) => panic!("{fields} was taken: {taken:?}"),
        Err(error) => assert!(error.contains(part), "{fields}: {error}"),
    }
}

#[test]
fn values_of_every_kind() {
    check_body(r#"{"stringValue":"a"}"#, Value::String(b"a"));
    check_body(r#"{"stringValue":""}"#, Value::String(b""));
    check_body(r#"{"boolValue":false}"#, Value::Bool(false));
    check_body(r#"{"intValue":"-9223372036854775808"}"#, Value::Int(i64::MIN));
    check_body(r#"{"intValue":9223372036854775807}"#, Value::Int(i64::MAX));
    check_body(r#"{"intValue":1e3}"#, Value::Int(1000));
    check_body(r#"{"intValue":"12.0"}"#, Value::Int(12));
    check_body(r#"{"doubleValue":-0.0}"#, Value::Double(-0.0));
    check_body(r#"{"doubleValue":"1.5"}"#, Value::Double(1.5));
    check_body(r#"{"doubleValue":"-Infinity"}"#, Value::Double(f64::NEG_INFINITY));
    check_body(r#"{"doubleValue":1e-400}"#, Value::Double(0.0));
    check_body(r#"{"bytesValue":"AQID/w=="}"#, Value::Bytes(&[1, 2, 3, 255]));
    check_body(r#"{"bytesValue":"AQID_w"}"#, Value::Bytes(&[1, 2, 3, 255]));
    check_body(r#"{"bytesValue":""}"#, Value::Bytes(&[]));
    check_body(
        r#"{"arrayValue":{"values":[{"intValue":1},{"kvlistValue":{"values":[{"key":"k","value":{"boolValue":true}}]}}]}}"#,
        Value::Array(&[Value::Int(1), Value::Map(&[("k", Value::Bool(true))])]),
    );
    assert!(matches!(record(r#""body":{"doubleValue":"NaN"}"#), Ok(bytes) if bytes.ends_with(&f64::NAN.to_le_bytes())));
}

#[test]
fn fields_of_a_record() {
    check(
        r#" "timeUnixNano" : "1795000000000000001", "severityNumber":9,"severityText":"INFO",
           "flags":1, "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174",
           "observedTimeUnixNano":2, "eventName":"paid" "#,
        &LogLine {
            time_unix_nano: 1_795_000_000_000_000_001,
            observed_time_unix_nano: 2,
            severity_number: 9,
            severity_text: b"INFO",
            flags: 1,
            trace_id: &[0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c],
            span_id: &[0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74],
            event_name: b"paid",
            ..LogLine::default()
        },
    );
    let empty = LogLine::default();
    check("", &empty);
    for absent in [
        r#""body":null,"timeUnixNano":null,"traceId":null,"attributes":null"#,
        r#""timeUnixNano":"0","severityText":"","traceId":"","attributes":[]"#,
        r#""unknown":{"a":[1,-2.5e3,{"b":"\ud83d\ude00"},[],{}],"c":null},"other":true"#,
        r#""severity_number":9"#,
        r#""timeUnixNano":null,"timeUnixNano":0"#,
    ] {
        check(absent, &empty);
    }
}

#[test]
fn text_is_kept_as_it_was_meant() {
    check_body(
        r#"{"stringValue":"\u0000\"\\\/\b\f\n\r\tA\u00e9"}"#,
        Value::String("\0\"\\/\u{8}\u{c}\n\r\tAé".as_bytes()),
    );
    check_body(r#"{"stringValue":"\ud83d\ude00"}"#, Value::String("😀".as_bytes()));
    check_body(r#"{"str\u0069ngValue":"key with an escape"}"#, Value::String(b"key with an escape"));
    for (lone, expected) in [
        (r"\ud83d", "\u{fffd}"),
        (r"\ude00", "\u{fffd}"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ud83d\n", "\u{fffd}\n"),
    ] {
        check_body(&format!(r#"{{"stringValue":"{lone}"}}"#), Value::String(expected.as_bytes()));
    }
    let long = "0123456789abcdef".repeat(20);
    check_body(&format!(r#"{{"stringValue":"{long}\n{long}"}}"#), Value::String(format!("{long}\n{long}").as_bytes()));
    let json = b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":\"a\xff\xc3\"}}]}]}]}";
    let body = Value::String(b"a\xff\xc3");
    assert_eq!(
        transcode_logs(json, 1000).map(|done| done.request),
        Ok(written(&LogLine { body, ..LogLine::default() })),
        "not UTF-8"
    );
}

#[test]
fn what_is_not_otlp_is_refused_with_its_reason() {
    for (fields, part) in [
        (r#""severityNumber":"SEVERITY_NUMBER_INFO""#, "no names for enumerations"),
        (r#""severityNumber":"9""#, "no names for enumerations"),
        (r#""severityNumber":9.5"#, "not an integer from"),
        (r#""timeUnixNano":-1"#, "not an integer from 0 to 18446744073709551615"),
        (r#""timeUnixNano":18446744073709551616"#, "not an integer"),
        (r#""timeUnixNano":"""#, "a string that is not one"),
        (r#""timeUnixNano":"1 ""#, "a string that is not one"),
        (r#""timeUnixNano":"0x10""#, "a string that is not one"),
        (r#""timeUnixNano":1e400"#, "not an integer"),
        (r#""timeUnixNano":true"#, "expected an integer, found a literal"),
        (r#""flags":4294967296"#, "not an integer"),
        (r#""body":{"doubleValue":1e400}"#, "beyond the range"),
        (r#""body":{"doubleValue":"inf"}"#, "a string that is not one"),
        (r#""body":{"doubleValue":NaN}"#, "expected a number"),
        (r#""body":{"boolValue":"true"}"#, "expected true or false, found a string"),
        (r#""body":{"boolValue":1}"#, "expected true or false, found a number"),
        (r#""body":{"stringValue":1}"#, "expected a string, found a number"),
        (r#""body":{"stringValue":"a","intValue":1}"#, "beside another member"),
        (r#""body":"text""#, "expected an object, found a string"),
        (r#""body":{"bytesValue":"A"}"#, "base64"),
        (r#""body":{"bytesValue":"A=BC"}"#, "base64"),
        (r#""body":{"bytesValue":"AB CD"}"#, "base64"),
        (r#""traceId":"5b8"#, "in the middle of a string"),
        (r#""traceId":"5b8""#, "hexadecimal"),
        (r#""traceId":"zz""#, "hexadecimal"),
        (r#""traceId":"é""#, "hexadecimal"),
        (r#""severityText":"a","severityText":"b""#, "given twice"),
        (r#""attributes":{}"#, "expected a list, found an object"),
        (r#""attributes":[null]"#, "expected an object, found a literal"),
        (r#""attributes":[{}"#, "expected ',' or ']'"),
        (r#""attributes":[{},]"#, "expected an object, found ']'"),
        (r#""severityText":"a",}"#, "expected a string, found '}'"),
        (r#""severityText":"a" "b""#, "expected ',' or '}', found a string"),
        (r#""severityText" "a""#, "expected ':'"),
        (r#"severityText:"a""#, "expected a string, found 's'"),
        (r#"'severityText':"a""#, r"expected a string, found '\''"),
        ("\"severityText\":\"a\nb\"", "control character"),
        (r#""severityText":"\x""#, "malformed escape"),
        (r#""severityText":"\u12""#, "malformed escape"),
        (r#""severityText":"\ud83d\u""#, "malformed escape"),
        (r#""unknown":[1 2]"#, "expected ',' or ']'"),
        (r#""unknown":{"a"}"#, "expected ':'"),
        (r#""unknown":{"a":1,}"#, "expected a string"),
        (r#""unknown":[1,]"#, "expected a value"),
        (r#""unknown":01"#, "expected ',' or '}'"),
        (r#""unknown":.5"#, "expected a value"),
        (r#""unknown":nul"#, "not a JSON value"),
        (r#""unknown":"\z""#, "malformed escape"),
        (r#""unknown":[}"#, "expected a value"),
    ] {
        refused(fields, part);
    }
    for whole in
        ["", " ", "[]", "null", "1", "{", "{}{}", "{} x", "\u{feff}", "{\"resourceLogs\":[{}]", "{\0}", "\u{1}{}"]
    {
        assert!(transcode_logs(whole.as_bytes(), 1000).is_err(), "{whole:?}");
    }
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(transcode_logs(&utf16, 1000).is_err());
}

#[test]
fn an_empty_request_is_empty_for_every_signal() {
    for json in ["{}", "\u{feff}{}", " {\t}\r\n", r#"{"a":1}"#] {
        assert_eq!(transcode_logs(json.as_bytes(), 9).map(|done| done.request), Ok(Vec::new()), "{json}");
        assert_eq!(transcode_spans(json.as_bytes(), 9).map(|done| done.request), Ok(Vec::new()), "{json}");
        assert_eq!(transcode_metrics(json.as_bytes(), 9).map(|done| done.request), Ok(Vec::new()), "{json}");
    }
}

#[test]
fn an_error_names_line_column_and_path() {
    let json = "{\"resourceLogs\": [{}, {\n \"scopeLogs\": [{\"logRecords\": [{},\n  {\"traceId\": \"xy\"}]}]}]}";
    let error = transcode_logs(json.as_bytes(), 1000).expect_err("no hexadecimal");
    let JsonError::Invalid { line, column, path, .. } = &error else { panic!("{error}") };
    assert_eq!((*line, *column, path.as_str()), (3, 15, "resourceLogs[1].scopeLogs[0].logRecords[1].traceId"));
    assert!(error.to_string().ends_with("at line 3, column 15, in resourceLogs[1].scopeLogs[0].logRecords[1].traceId"));
}

#[test]
fn nesting_is_bounded_and_what_passes_can_be_scanned() {
    struct Nothing;
    impl<'a> LogSink<'a> for Nothing {
        fn resource(&mut self, _: &Resource<'a>) {}
        fn scope(&mut self, _: &Scope<'a>) {}
        fn log(&mut self, _: &LogRecord<'a>) {}
    }
    let nested = |levels: usize| {
        let body = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
        record(&format!(r#""body":{body}"#))
    };
    let deepest = (0..60).filter_map(|levels| nested(levels).ok()).inspect(|request| {
        assert_eq!(scan_logs(request, &mut Nothing), Ok(()));
    });
    // Three levels down to the record and one to the body leave 96 for lists and their elements.
    assert_eq!(deepest.count(), 49);
    assert!(nested(100_000).is_err_and(|error| error.contains("nested deeper") && error.len() < 400));
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let error = record(&format!("\"unknown\":{}", open.repeat(100_000))).expect_err("too deep");
        assert!(error.contains("nested too deep"), "{error}");
    }
    assert!(record(&format!("\"unknown\":{}{}", "[".repeat(127), "]".repeat(127))).is_ok());
}

#[test]
fn output_beyond_the_limit_is_refused() {
    let zeros = vec!["0"; 10_000].join(",");
    let json = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"explicitBounds":[{zeros}]}}]}}}}]}}]}}]}}"#
    );
    assert_eq!(transcode_metrics(json.as_bytes(), json.len()), Err(JsonError::TooLarge { limit: json.len() }));
    let done = transcode_metrics(json.as_bytes(), json.len() * GROWTH_MAX).expect("fits");
    assert!(done.request.len() > 80_000);
}

#[test]
fn names_that_were_surely_meant_are_told() {
    let ignored = |json: &str| transcode_logs(json.as_bytes(), 1000).expect("valid").ignored;
    assert_eq!(ignored(r#"{"resourceLogs":[{"resource":{"attributes":[]},"x_y":1}]}"#), None);
    let snake = ignored(r#"{"resource_logs":[{"scope_logs":1}]}"#).expect("told");
    assert!(snake.contains("\"resource_logs\"") && snake.contains("\"resourceLogs\""), "{snake}");
    let other = ignored(r#"{"resourceSpans":[]}"#).expect("told");
    assert!(other.contains("resourceSpans") && other.contains("resourceLogs"), "{other}");
    let inner = ignored(r#"{"resourceLogs":[{"scope_logs":[]}]}"#).expect("told");
    assert!(inner.contains("scopeLogs"), "{inner}");
}

#[test]
fn several_resources_become_several_entries() {
    let json = r#"{"resourceLogs":[
        {"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},
         "scopeLogs":[{"scope":{"name":"s"},"logRecords":[{"timeUnixNano":"5"}]}]},
        {"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"b"}}]},
         "scopeLogs":[{"scope":{"name":"s"},"logRecords":[{"timeUnixNano":"5"}]}]}]}"#;
    let mut expected = Vec::new();
    for name in ["a", "b"] {
        put_resource_logs(&mut expected, &[("service.name", Value::from(name))], "s", |out| {
            write::put_log_record(out, &LogLine { time_unix_nano: 5, ..LogLine::default() });
        });
    }
    assert_eq!(transcode_logs(json.as_bytes(), 1000).map(|done| done.request), Ok(expected));
}
