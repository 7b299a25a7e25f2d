//! Every line is in the request or rejected, and what is in the request is what the lines say: the request is read back by
//! prost.

use std::fs;
use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::lines::access::Access;
use crate::lines::access::scan::{host_and_port, last_of_list, unescaped};
use crate::lines::fields::Value;

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
            "{\"msg\":{\"a\":null}}",
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

/// What a line becomes, the plain way: a list of attributes, and prost.
fn plainly(parsed: &Parsed<'_>, text: &str) -> LogRecord {
    let (time_ns, number, body, attributes) = match parsed {
        Parsed::Access(access) => (access.time_ns, access.severity(), Some(text), attributes_of(access)),
        Parsed::Line(line) => {
            let attributes = line.attributes.iter().map(|(name, value)| {
                let value = match value {
                    Value::Text(text) => any_value::Value::StringValue(text.to_string()),
                    Value::Int(number) => any_value::Value::IntValue(*number),
                    Value::Double(number) => any_value::Value::DoubleValue(*number),
                    Value::Bool(value) => any_value::Value::BoolValue(*value),
                    Value::Object(text) => panic!("{name} is an attribute: {text}"),
                    Value::Null => {
                        let value = Some(AnyValue { value: None });
                        return KeyValue { key: name.to_string(), value, ..KeyValue::default() };
                    }
                };
                pair(name, value)
            });
            (line.time_ns, line.severity, line.message.as_deref(), attributes.collect())
        }
    };
    let mut record = LogRecord {
        time_unix_nano: time_ns.unwrap_or(0),
        observed_time_unix_nano: RECEIVED_NS as u64,
        severity_number: number,
        body: body.map(|text| AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }),
        attributes,
        ..LogRecord::default()
    };
    if let Parsed::Line(line) = parsed {
        record.severity_text = line.severity_text.to_string();
        record.trace_id.clone_from(&line.trace_id);
        record.span_id.clone_from(&line.span_id);
    }
    record
}

fn pair(name: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The attributes of an access log's line, in the order of `docs/lines.md`'s table: those that say something.
fn attributes_of(access: &Access<'_>) -> Vec<KeyValue> {
    let text = |name: &str, text: &[u8]| {
        let text = if access.has_escapes { unescaped(text).into_owned() } else { text.to_vec() };
        let says_something = !text.is_empty() && text != b"-";
        let value = || any_value::Value::StringValue(String::from_utf8(text).expect("text"));
        says_something.then(|| pair(name, value()))
    };
    let int = |name: &str, number: Option<u64>| Some(pair(name, any_value::Value::IntValue(number? as i64)));
    let double = |name: &str, number: Option<f64>| Some(pair(name, any_value::Value::DoubleValue(number?)));
    let (request, upstream) = (&access.request, &access.upstream);
    let known = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];
    let is_known = known.iter().any(|method| method.as_bytes() == request.method);
    let method = if is_known { request.method } else { b"_OTHER" };
    let host = if request.host.is_empty() { access.host } else { request.host };
    let (host, port) = host_and_port(host).map_or((host, None), |(host, port)| (host, Some(port)));
    let size = if access.bytes_with_header { "http.response.size" } else { "http.response.body.size" };
    let status = u64::from(access.status);
    [
        access.is_request().then(|| pair("shipwake.access_log", any_value::Value::BoolValue(true))),
        access.has_request.then(|| text("http.request.method", method)).flatten(),
        (access.has_request && !is_known).then(|| text("http.request.method_original", request.method)).flatten(),
        text("url.path", request.path),
        text("url.query", request.query),
        text("url.scheme", request.scheme),
        text("network.protocol.version", request.version),
        text("server.address", host),
        int("server.port", port),
        int("http.response.status_code", (status != 0).then_some(status)),
        int(size, access.bytes),
        double("http.server.request.duration", access.duration_s),
        text("user_agent.original", access.agent),
        text("http.request.header.referer", access.referer),
        text("http.request.header.x-forwarded-for", access.forwarded_for),
        text("client.address", access.client),
        int("client.port", access.client_port),
        text("user.name", access.user),
        text("host.name", access.log_host),
        text("proxy.frontend", upstream.frontend),
        text("proxy.backend", upstream.backend),
        text("proxy.server", upstream.server),
        text("proxy.upstream.address", last_of_list(upstream.address)),
        int("proxy.upstream.status_code", upstream.status),
        double("proxy.upstream.duration", upstream.duration_s),
        text("proxy.termination_state", access.termination),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Checks that a line becomes what it becomes the plain way.
fn check_plainly(query: &str, line: &str) {
    let uri = format!("/v1/lines?multiline=off&service=web&{query}").parse().expect("a path");
    let rules = Parameters::of(&uri).and_then(|of| Rules::new(&of, &[], &Patterns::default())).expect("valid");
    let (converted, request) = convert(&format!("multiline=off&service=web&{query}"), line);
    // A line of the text: without a mark in front and a return behind.
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match parse(line, &rules, RECEIVED_NS as u64) {
        Ok(parsed) if converted.accepted == 1 => assert_eq!(records(&request), [&plainly(&parsed, line)], "{line}"),
        _ => assert_eq!(converted.accepted, 0, "{line}"),
    }
}

#[test]
fn lines_of_all_kinds_become_what_they_become_the_plain_way() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/lines");
    let mut checked = 0;
    for entry in fs::read_dir(corpus).expect("the corpus is in the repository") {
        let text = fs::read(entry.expect("readable").path()).expect("readable");
        for line in String::from_utf8_lossy(&text).lines() {
            for format in ["auto", "json", "logfmt", "nginx", "httpd", "haproxy", "varnish", "raw"] {
                check_plainly(&format!("format={format}&upstream=blue=1,10.0.0.5:8080=shop@2"), line);
                checked += 1;
            }
        }
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_line() {
    let texts =
        ["\u{feff}{\"level\":\"error\",\"msg\":\"a\"}\n\u{feff}{\"msg\":\"b\"}", "\u{feff}a\n  b\n\u{feff}\n\u{feff}c"];
    let bodies = |text: &str| -> Vec<String> {
        let (_, request) = convert("service=web", text);
        records(&request).iter().map(|record| format!("{:?}", record.body)).collect()
    };
    let plain = |texts: &[&str]| bodies(&texts.join("\n\n"));
    assert_eq!(bodies(texts[0]), plain(&["{\"msg\":\"a\"}", "{\"msg\":\"b\"}"]));
    assert_eq!(bodies(texts[1]), plain(&["a\n  b", "c"]));
    let (_, request) = convert("service=web", texts[0]);
    assert_eq!(records(&request)[0].severity_number, 17);
}

#[test]
fn an_address_that_is_mapped_is_still_an_address() {
    let query = "format=nginx&upstream=10.0.0.5:8080=1,10.0.0.6=2,green=3,http://10.0.0.7/x=4,[::1]:80=5";
    for (upstream, name, expected, version) in [
        ("10.0.0.5:8080", "proxy.upstream.address", "10.0.0.5:8080", "1"),
        ("\"10.0.0.5:8080\"", "proxy.upstream.address", "10.0.0.5:8080", "1"),
        ("up=10.0.0.5:8080", "proxy.upstream.address", "10.0.0.5:8080", "1"),
        ("10.0.0.6", "proxy.upstream.address", "10.0.0.6", "2"),
        ("10.0.0.6:9", "proxy.upstream.address", "10.0.0.6:9", "2"),
        ("http://10.0.0.7/x", "proxy.upstream.address", "http://10.0.0.7/x", "4"),
        ("[::1]:80", "proxy.upstream.address", "[::1]:80", "5"),
        ("green", "proxy.backend", "green", "3"),
        ("10.0.0.9:80", "proxy.upstream.address", "10.0.0.9:80", ""),
    ] {
        let line = format!("10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\" {upstream}");
        let (_, request) = convert(query, &line);
        let attributes = &records(&request)[0].attributes;
        let other = if name == "proxy.backend" { "proxy.upstream.address" } else { "proxy.backend" };
        assert_eq!((attribute(attributes, name), attribute(attributes, other)), (expected.to_owned(), String::new()));
        let resource = request.resource_logs[0].resource.as_ref().expect("given");
        assert_eq!(attribute(&resource.attributes, "service.version"), version, "{upstream}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_line_becomes_what_it_becomes_the_plain_way(
        words in prop::collection::vec(word(), 0..20),
        format in prop::sample::select(vec!["auto", "json", "logfmt", "nginx", "httpd", "haproxy", "varnish", "raw"]),
        options in prop::sample::select(vec!["", "&tz=+02:00&duration_unit=ms", "&upstream=back=1,10.0.0.1:80=2,up=s@3"]),
    ) {
        let line = words.join(" ").replace('\n', " ");
        if !line.trim_start_matches('\u{feff}').as_bytes().trim_ascii().is_empty() {
            check_plainly(&format!("format={format}{options}"), &line);
        }
    }

    #[test]
    fn a_line_of_an_access_log_becomes_what_it_becomes_the_plain_way(
        client in "[a-f0-9.:]{1,12}",
        method in prop::sample::select(vec!["GET", "POST", "PROPFIND", "get", ""]),
        path in "(/|http://[a-z.]{1,9}(:80)?/)[ -!#-\\[\\]-~é]{0,200}",
        status in 0u32..700,
        agent in "[ -!#-~é]{0,300}",
        tail in prop::collection::vec(word(), 0..8),
        query in prop::sample::select(vec!["format=auto", "format=nginx&upstream=back=1", "format=httpd", "format=varnish"]),
    ) {
        let line = format!(
            "{client} - ada [23/Nov/2026:10:00:00 +0000] \"{method} {path} HTTP/1.1\" {status:03} 12 \"-\" \"{agent}\" {}",
            tail.join(" ")
        );
        check_plainly(query, &line.replace(['\n', '\r'], " "));
    }

    #[test]
    fn nothing_panics_and_every_line_is_accepted_or_rejected(
        lines in prop::collection::vec(prop::collection::vec(word(), 0..14), 0..6),
        glue in prop::sample::select(vec![" ", ""]),
        format in prop::sample::select(vec!["auto", "json", "logfmt", "nginx", "httpd", "haproxy", "varnish", "raw"]),
        options in prop::sample::select(vec!["", "&tz=+02:00&duration_unit=ms", "&upstream=back=1,10.0.0.1:80=2,up=s@3"]),
    ) {
        let lines: Vec<String> = lines.iter().map(|words| words.join(glue).replace('\n', " ")).collect();
        let text = lines.join("\n");
        let text_of = |line: &str| line.strip_prefix('\u{feff}').unwrap_or(line).as_bytes().trim_ascii().len();
        let not_blank = lines.iter().filter(|line| text_of(line) > 0).count() as u64;
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
