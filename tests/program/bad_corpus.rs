//! Bad input of every class, sent to the running program: each case gets its answer, the good record beside it is kept, and
//! in the end everything that was received is stored, rejected or deduplicated.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Shipwake, start_with};
use crate::otlp::now_ns;
use crate::senders::{assert_conserved, post_json};

const LIMIT_BYTES: usize = 1 << 20;

/// The body of a log record inside a request, and the signal's route it goes to.
fn log(body: &str) -> String {
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"corpus"}}}}]}},"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{}",{body}}}]}}]}}]}}"#,
        now_ns()
    )
}

/// A request with the points of one metric.
fn points(data: &str, points: &[Value]) -> String {
    let metric = json!({"name": "m", data: {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": points}});
    let attribute = json!({"key": "service.name", "value": {"stringValue": "corpus"}});
    json!({"resourceMetrics": [{"resource": {"attributes": [attribute]}, "scopeMetrics": [{"metrics": [metric]}]}]})
        .to_string()
}

#[tokio::test]
async fn json_that_is_not_otlp_is_refused_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start_with(&folder.path().join("data"), &["--request-bytes", &LIMIT_BYTES.to_string()]).await;
    let deep = format!(r#""body":{}{{}}{}"#, r#"{"arrayValue":{"values":["#.repeat(10_000), "]}}".repeat(10_000));
    let cases: [(&str, String, u16, &str); 14] = [
        ("enum name", log(r#""severityNumber":"SEVERITY_NUMBER_INFO""#), 400, "no names for enumerations"),
        ("1e400", log(r#""body":{"doubleValue":1e400}"#), 400, "beyond the range"),
        ("key twice", log(r#""severityText":"a","severityText":"b""#), 400, "given twice"),
        ("two members of a choice", log(r#""body":{"stringValue":"a","intValue":1}"#), 400, "same choice"),
        ("id of odd length", log(r#""traceId":"abc""#), 400, "hexadecimal"),
        ("nested 10 000 deep", log(&deep), 400, "nested deeper"),
        ("100 000 brackets", "[".repeat(100_000), 400, "expected an object"),
        ("brackets in an unknown field", format!("{{\"x\":{}", "[".repeat(100_000)), 400, "nested too deep"),
        ("cut", log(r#""body":{"stringValue":"a"}"#)[..150].to_owned(), 400, "line 1, column"),
        ("nothing", String::new(), 400, "the end of the text"),
        ("too large", log(&format!(r#""body":{{"stringValue":"{}"}}"#, "x".repeat(LIMIT_BYTES))), 413, "limit"),
        ("lone surrogate", log(r#""body":{"stringValue":"lone \ud800"}"#), 200, ""),
        ("snake case", r#"{"resource_logs":[]}"#.to_owned(), 200, "resourceLogs"),
        ("unknown fields", log(r#""nobody":{"knows":[1,{"this":null}]},"body":{"stringValue":"kept"}"#), 200, ""),
    ];
    for (what, body, expected, part) in &cases {
        let (status, answer) = post_json(&shipwake, "logs", body).await;
        assert_eq!(status, *expected, "{what}: {answer}");
        assert!(answer.to_string().contains(part), "{what}: {answer}");
        assert!(*expected == 200 || (answer["code"].is_number() && answer["message"].is_string()), "{what}: {answer}");
        assert_eq!(
            post_json(&shipwake, "logs", &log(r#""body":{"stringValue":"good"}"#)).await,
            (200, json!({})),
            "{what}"
        );
    }
    shipwake
        .wait_number("select count(*) from logs where service = 'corpus' and body = 'good'", cases.len() as i64)
        .await;
    let rest = "select count(*) from logs where service = 'corpus' and body in ('kept', 'lone \u{fffd}')";
    assert_eq!(shipwake.number(rest).await, 2);
    assert_conserved(&shipwake).await;
}

#[tokio::test]
async fn numbers_that_mean_nothing_are_rejected_by_point_and_windows_stay_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start_with(&folder.path().join("data"), &[]).await;
    let now = now_ns();
    let at = |fields: Value| {
        let mut point = fields;
        point["timeUnixNano"] = json!(now.to_string());
        point["startTimeUnixNano"] = json!((now - 1_000_000_000).to_string());
        point
    };
    let explicit = |count: u64, counts: &[u64], bounds: &[Value]| {
        at(json!({"count": count, "sum": 1.0, "bucketCounts": counts, "explicitBounds": bounds}))
    };
    let exponential = |scale: i32, offset: i64, threshold: f64| {
        let positive = json!({"offset": offset, "bucketCounts": [1, 2]});
        at(
            json!({"count": 3, "sum": 1.0, "scale": scale, "zeroCount": 0, "zeroThreshold": threshold, "positive": positive}),
        )
    };
    let cases: [(&str, &str, Vec<Value>); 3] = [
        (
            "sum",
            "not_a_number no_value",
            vec![
                at(json!({"asDouble": "NaN"})),
                at(json!({"asDouble": "Infinity"})),
                at(json!({"asDouble": "-Infinity"})),
                at(json!({})),
            ],
        ),
        (
            "histogram",
            "inconsistent_buckets",
            vec![
                explicit(3, &[1, 2], &[json!(1.0), json!(0.5)]),
                explicit(3, &[1, 1, 1], &[json!(1.0), json!(0.5)]),
                explicit(3, &[1, 1, 1], &[json!(1.0), json!("NaN")]),
                explicit(9, &[1, 1, 1], &[json!(0.5), json!(1.0)]),
            ],
        ),
        (
            "exponentialHistogram",
            "inconsistent_buckets",
            vec![
                exponential(21, 0, 0.0),
                exponential(-11, 0, 0.0),
                exponential(0, i64::from(i32::MAX), 0.0),
                exponential(0, 0, -1.0),
            ],
        ),
    ];
    for (kind, reasons, bad) in &cases {
        let (status, answer) = post_json(&shipwake, "metrics", &points(kind, bad)).await;
        let partial = &answer["partialSuccess"];
        assert_eq!((status, partial["rejectedDataPoints"].as_str()), (200, Some(&*bad.len().to_string())), "{answer}");
        for reason in reasons.split(' ') {
            assert!(partial["errorMessage"].as_str().is_some_and(|text| text.contains(reason)), "{answer}");
        }
    }
    let good = [at(json!({"asDouble": -0.0})), at(json!({"asDouble": 5e-324})), at(json!({"asInt": "3"}))];
    assert_eq!(post_json(&shipwake, "metrics", &points("gauge", &good)).await, (200, json!({})));
    shipwake.wait_number("select count(*) from points where service = 'corpus'", 3).await;
    let unsound = "select count(*) from windows where sum is not null and (isnan(sum) or abs(sum) > 1e300)";
    assert_eq!(shipwake.number(unsound).await, 0);
    assert_eq!(shipwake.metric("shipwake_records_rejected_total", "").await, 12.0);
    assert_conserved(&shipwake).await;
}

#[tokio::test]
async fn strings_of_every_kind_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start_with(&folder.path().join("data"), &[]).await;
    let long = "x".repeat(1 << 20);
    let texts = [
        "",
        " ",
        "\0nul",
        "\u{202e}bidi\u{202c}",
        "zero\u{200b}width",
        "\u{1b}[31mred\u{1b}]8;;http://x\u{7}",
        "<script>alert(1)</script>",
        "'; drop table logs; --",
        "../../etc/passwd",
        "%s%n%x",
        "NaN",
        "null",
        "\u{10ffff}\u{fffe}",
        "e\u{301}\u{327}",
        "😀👩‍👩‍👧",
        &long,
    ];
    for text in &texts {
        let attributes: Vec<Value> = vec![
            json!({"key": text, "value": {"stringValue": text}}),
            json!({"key": "which", "value": {"stringValue": text}}),
        ];
        let body = format!(r#""body":{},"attributes":{}"#, json!({"stringValue": text}), json!(attributes));
        assert_eq!(
            post_json(&shipwake, "logs", &log(&body)).await,
            (200, json!({})),
            "{}",
            &text[..text.len().min(40)]
        );
    }
    let many: Vec<Value> = (0..10_000).map(|n| json!({"key": format!("k{n}"), "value": {"intValue": n}})).collect();
    assert_eq!(
        post_json(&shipwake, "logs", &log(&format!(r#""body":{{"stringValue":"many"}},"attributes":{}"#, json!(many))))
            .await
            .0,
        200
    );
    shipwake.wait_number("select count(*) from logs where service = 'corpus'", texts.len() as i64 + 1).await;
    let rows =
        shipwake.sql("select body from logs where service = 'corpus' and body <> 'many' and length(body) < 1000").await;
    let mut found: Vec<&str> = rows.iter().filter_map(|row| row[0].as_str()).collect();
    let mut expected: Vec<&str> = texts.iter().copied().filter(|text| text.len() < 1000).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_conserved(&shipwake).await;
}

/// Sends bytes as they are and gives the status of the answer; 0 when the connection was closed without one.
fn raw(shipwake: &Shipwake, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", shipwake.ports()[1])).expect("listening");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    // The server may answer and close before everything is written.
    let _ = stream.write_all(bytes);
    let mut head = [0; 64];
    let mut len = 0;
    while len < 12 {
        match stream.read(&mut head[len..]) {
            Ok(0) | Err(_) => return 0,
            Ok(read) => len += read,
        }
    }
    std::str::from_utf8(&head[9..12]).ok().and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn http_that_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start_with(&folder.path().join("data"), &[]).await;
    let good = log(r#""body":{"stringValue":"good"}"#);
    let json = "host: x\r\ncontent-type: application/json\r\n";
    let chunked = format!("{:x}\r\n{good}\r\n0\r\nx-trailer: 1\r\n\r\n", good.len());
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let packed = gzip(good.as_bytes());
    let with_length = |head: &str, body: &[u8]| {
        [format!("POST /v1/logs HTTP/1.1\r\n{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    };
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("length and chunks", [format!("POST /v1/logs HTTP/1.1\r\n{json}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{chunked}").as_bytes()].concat(), &[400, 200]),
        ("two lengths", format!("POST /v1/logs HTTP/1.1\r\n{json}content-length: 5\r\ncontent-length: 6\r\n\r\n{{}}    ").into_bytes(), &[400]),
        ("a length that is no number", format!("POST /v1/logs HTTP/1.1\r\n{json}content-length: abc\r\n\r\n{{}}").into_bytes(), &[400]),
        ("gzip without the header", with_length(json, &packed), &[400]),
        ("the header without gzip", with_length(&format!("{json}content-encoding: gzip\r\n"), good.as_bytes()), &[400]),
        ("an unknown compression", with_length(&format!("{json}content-encoding: br\r\n"), good.as_bytes()), &[415]),
        ("no content type", with_length("host: x\r\n", good.as_bytes()), &[415]),
        ("another method", format!("PUT /v1/logs HTTP/1.1\r\n{json}content-length: 2\r\n\r\n{{}}").into_bytes(), &[405]),
        ("another path", format!("POST /v1/log HTTP/1.1\r\n{json}content-length: 2\r\n\r\n{{}}").into_bytes(), &[404]),
        ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), &[400, 0]),
        ("a chunk size that is none", format!("POST /v1/logs HTTP/1.1\r\n{json}transfer-encoding: chunked\r\n\r\nzz\r\n").into_bytes(), &[400]),
        ("chunks with a trailer", format!("POST /v1/logs HTTP/1.1\r\n{json}transfer-encoding: chunked\r\n\r\n{chunked}").into_bytes(), &[200]),
        ("snappy that lies", [b"POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: snappy\r\ncontent-length: 5\r\n\r\n".as_slice(), b"\xff\xff\xff\xff\x0f"].concat(), &[413]),
    ];
    for (what, bytes, expected) in &cases {
        let status = raw(&shipwake, bytes);
        assert!(expected.contains(&status), "{what}: {status}, expected {expected:?}");
        assert_eq!(
            raw(&shipwake, &with_length(json, log(r#""body":{"stringValue":"beside"}"#).as_bytes())),
            200,
            "{what}"
        );
    }
    shipwake.wait_number("select count(*) from logs where body = 'beside'", cases.len() as i64).await;
    assert_conserved(&shipwake).await;
}
