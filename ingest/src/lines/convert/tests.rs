//! Every line is in the request or rejected, and what is in the request is what the lines say: the request is read back by
//! prost.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use prost::Message;

use super::*;

const RECEIVED_NS: i64 = 1_795_428_100_000_000_000;

fn convert(query: &str, text: &str) -> (ConvertedLines, ExportLogsServiceRequest) {
    let converted = convert_lines(query, text.as_bytes(), RECEIVED_NS, &IngestConfig::default()).expect("valid");
    let request = ExportLogsServiceRequest::decode(converted.request.as_slice()).expect("a valid request");
    (converted, request)
}

fn records(request: &ExportLogsServiceRequest) -> Vec<&LogRecord> {
    request.resource_logs.iter().flat_map(|part| &part.scope_logs[0].log_records).collect()
}

fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        _ => String::new(),
    }
}

#[test]
fn versions_come_from_the_line_then_the_upstream_then_the_query() {
    let line = |tail: &str| format!("10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 {tail}\n");
    let text =
        ["0.001 10.0.0.5:8080", "0.001 10.0.0.6:8080", "0.001 10.0.0.7:80", "0.001 -", "0.001 version=9 10.0.0.5:8080"]
            .map(line)
            .concat();
    let query = "service=web&version=0&format=nginx&upstream=10.0.0.5:8080=1.41.0,10.0.0.6=1.42.0,10.0.0.7:80=pay@2";
    let (converted, request) = convert(query, &text);
    assert_eq!((converted.accepted, converted.rejected), (5, 0));
    let releases: Vec<String> = request
        .resource_logs
        .iter()
        .map(|part| {
            let attributes = &part.resource.as_ref().expect("given").attributes;
            let count = part.scope_logs[0].log_records.len();
            let [service, version] = ["service.name", "service.version"].map(|name| attribute(attributes, name));
            format!("{service}@{version} {count}")
        })
        .collect();
    assert_eq!(releases, ["web@1.41.0 1", "web@1.42.0 1", "pay@2 1", "web@0 1", "web@9 1"]);
}

#[test]
fn a_line_keeps_its_text_and_gets_the_names_of_the_conventions() {
    let line =
        r#"10.1.2.3 - ada [23/Nov/2026:10:00:00 +0000] "GET /caf\xC3\xA9?x=1 HTTP/2.0" 503 12 "-" "a \x22b\x22" 0.250"#;
    let (_, request) = convert("service=web&format=nginx", line);
    let record = records(&request)[0];
    let body = record.body.as_ref().and_then(|body| body.value.clone());
    assert_eq!(body, Some(any_value::Value::StringValue(line.to_owned())));
    assert_eq!((record.time_unix_nano, record.severity_number), (1_795_428_000_000_000_000, 17));
    assert_eq!(record.observed_time_unix_nano, RECEIVED_NS as u64);
    for (name, expected) in [
        ("shipwake.access_log", "true"),
        ("http.request.method", "GET"),
        ("url.path", "/café"),
        ("url.query", "x=1"),
        ("network.protocol.version", "2"),
        ("http.response.status_code", "503"),
        ("http.response.body.size", "12"),
        ("http.server.request.duration", "0.25"),
        ("user_agent.original", "a \"b\""),
        ("http.request.header.referer", ""),
        ("client.address", "10.1.2.3"),
        ("user.name", "ada"),
    ] {
        assert_eq!(attribute(&record.attributes, name), expected, "{name}");
    }
}

#[test]
fn a_request_that_would_become_too_large_is_refused_whole() {
    let config = IngestConfig { message_bytes_max: 4096, ..IngestConfig::default() };
    let text = "10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n".repeat(30);
    let error = convert_lines("format=nginx", text.as_bytes(), 0, &config).expect_err("too large");
    assert!(matches!(error, IngestError::TooLarge { .. }), "{error}");
}

/// Words that formats are made of, so that chance gets far into them.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "10.0.0.1",
            "10.0.0.1:80",
            "-",
            "- -",
            "[",
            "]",
            "[23/Nov/2026:10:00:00 +0000]",
            "[06/Feb/2026:12:14:14.655]",
            "\"GET / HTTP/1.1\"",
            "\"GET /\"",
            "\"\"",
            "\"-\"",
            "\"a\\\"b\"",
            "\"",
            "\\",
            "\\x",
            "200",
            "503",
            "-1",
            "000",
            "0",
            "0.005",
            "1.",
            "front",
            "back/srv",
            "0/0/1/2/3",
            "1/2/3",
            "---- 1/1/1/1/1 0/0",
            "{a|b}",
            "{",
            "<190>",
            "<190>1 - h a p m -",
            "<190>1 - h a p m [a b=\"]\"]",
            "Nov 26 10:55:41 h t:",
            "Connect from",
            "to",
            "(a/b)",
            "rt=0.1",
            "urt=\"0.1, 0.2\"",
            "k=\"",
            "a,",
            ":",
            "[up]",
            "[]",
            "unix:/x:",
            "{\"a\":1}",
            "{\"",
            "level=info",
            "msg=x",
            "é",
            "\u{feff}",
            "\t",
            "\r",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics_and_every_line_is_accepted_or_rejected(
        lines in prop::collection::vec(prop::collection::vec(word(), 0..14), 0..6),
        glue in prop::sample::select(vec![" ", ""]),
        format in prop::sample::select(vec!["auto", "json", "logfmt", "nginx", "httpd", "haproxy", "varnish", "raw"]),
        options in prop::sample::select(vec!["", "&tz=+02:00&duration_unit=ms", "&upstream=back=1,10.0.0.1:80=2,up=s@3"]),
    ) {
        let lines: Vec<String> = lines.iter().map(|words| words.join(glue).replace('\n', " ")).collect();
        let text = lines.join("\n");
        let not_blank = lines.iter().filter(|line| !line.as_bytes().trim_ascii().is_empty()).count() as u64;
        let (converted, request) = convert(&format!("multiline=off&format={format}{options}"), &text);
        prop_assert_eq!(converted.accepted + converted.rejected, not_blank);
        prop_assert_eq!(records(&request).len() as u64, converted.accepted);
        let (joined, _) = convert(&format!("format={format}{options}"), &text);
        prop_assert!(joined.accepted + joined.rejected <= not_blank);
        prop_assert_eq!(joined.accepted + joined.rejected == 0, not_blank == 0);
    }

    #[test]
    fn bytes_that_are_no_text_become_records_that_are(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        format in prop::sample::select(vec!["auto", "nginx", "httpd", "haproxy", "varnish", "raw"]),
    ) {
        let query = format!("format={format}");
        let converted = convert_lines(&query, &bytes, RECEIVED_NS, &IngestConfig::default()).expect("small");
        ExportLogsServiceRequest::decode(converted.request.as_slice()).expect("text is UTF-8");
    }
}
