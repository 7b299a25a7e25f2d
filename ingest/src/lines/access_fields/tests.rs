//! Access logs as JSON, as real servers write them, and lines that only look like ones.

use super::*;
use crate::lines::fields::assign;
use crate::lines::json;
use crate::lines::upstreams::Upstreams;

fn read(text: &str) -> Line<'_> {
    let upstreams = Upstreams::new("10.0.0.5:8080=1.41.0,green=1.42.0", &[]).expect("valid");
    assign(json::parse(text).expect("JSON"), &Rules { upstreams, ..Rules::default() })
}

/// Method, path, status, duration and version.
fn shown(line: &Line<'_>) -> String {
    let text = |name: &str| {
        let found = line.attributes.iter().find(|(field, _)| field == name);
        found.map_or_else(|| "none".to_owned(), |(_, value)| value.to_text().into_owned())
    };
    assert_eq!(line.is_request, text("shipwake.access_log") == "true");
    let names = ["http.request.method", "url.path", "http.response.status_code", "http.server.request.duration"];
    let version = line.identity.version.as_deref().unwrap_or("none");
    format!("{} {version}", names.map(text).join(" "))
}

#[test]
fn nginx_with_and_without_a_request_line() {
    let line = read(
        r#"{"time":"2026-11-23T10:00:00+00:00","remote_addr":"10.1.2.3","request_method":"POST","uri":"/pay","status":502,
        "body_bytes_sent":157,"request_time":0.250,"http_referrer":"-","http_user_agent":"curl/8.5.0","upstream_addr":"10.0.0.4:8080, 10.0.0.5:8080","upstream_response_time":"0.100, 0.150"}"#,
    );
    assert_eq!(shown(&line), "POST /pay 502 0.25 1.41.0");
    assert_eq!((line.severity, line.time_ns), (17, Some(1_795_428_000_000_000_000)));
    assert_eq!(line.message.as_deref(), Some("POST /pay 502"));
    let line = read(
        r#"{"time_local":"23/Nov/2026:10:00:00 +0000","remote_addr":"10.1.2.3","request":"GET /cart?id=7 HTTP/2.0","status":"200","request_time":"0.005","upstream_addr":"-"}"#,
    );
    assert_eq!(shown(&line), "GET /cart 200 0.005 none");
    assert_eq!((line.severity, line.time_ns), (9, Some(1_795_428_000_000_000_000)));
}

#[test]
fn caddy_traefik_envoy_and_frameworks() {
    let check = |text: &str, expected: &str| assert_eq!(shown(&read(text)), expected, "{text}");
    check(
        r#"{"level":"info","ts":1795428000.25,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.1.2.3","proto":"HTTP/2.0","method":"GET","host":"shop.example","uri":"/a?b=c","headers":{"User-Agent":["curl/8.5.0"]}},"duration":0.0025,"size":10900,"status":200}"#,
        "GET /a 200 0.0025 none",
    );
    check(
        r#"{"ClientHost":"10.1.2.3","DownstreamStatus":404,"Duration":2500000,"RequestMethod":"GET","RequestPath":"/a","RequestProtocol":"HTTP/1.1","ServiceName":"green@docker","StartUTC":"2026-11-23T10:00:00Z"}"#,
        "GET /a 404 0.0025 1.42.0",
    );
    check(
        r#"{"start_time":"2026-11-23T10:00:00Z","method":"GET","path":"/a","protocol":"HTTP/1.1","response_code":503,"duration":12,"upstream_cluster":"green","upstream_host":"10.0.0.9:80","user_agent":"curl"}"#,
        "GET /a 503 0.012 1.42.0",
    );
    check(
        r#"{"level":30,"time":1795428000000,"req":{"method":"GET","url":"/a","remoteAddress":"::1"},"res":{"statusCode":200},"responseTime":7,"msg":"request completed"}"#,
        "GET /a 200 0.007 none",
    );
    check(
        r#"{"remote_ip":"::1","method":"GET","uri":"/a","user_agent":"curl","status":200,"latency":250000,"latency_human":"250µs"}"#,
        "GET /a 200 0.00025 none",
    );
    check(r#"{"ip":"::1","method":"PROPFIND","path":"/a","status":207,"duration":5}"#, "_OTHER /a 207 none none");
}

#[test]
fn a_line_about_a_call_or_about_something_else_is_no_request() {
    for text in [
        r#"{"msg":"called the bank","method":"POST","url":"https://bank.example/pay","status":200,"duration_ms":12}"#,
        r#"{"msg":"started","status":200,"ip":"::1"}"#,
        r#"{"method":"GET","path":"/a","ip":"::1","status":"ok"}"#,
        r#"{"method":"GET","path":"/a","ip":"::1","status":7}"#,
        r#"{"method":"card","path":"visa","ip":"::1","status":200}"#,
        r#"{"request":"refund","ip":"::1","status":200}"#,
    ] {
        let line = read(text);
        assert!(!line.is_request, "{text}");
        assert!(!line.attributes.iter().any(|(name, _)| name.starts_with("http.")), "{text}: {line:?}");
    }
}

#[test]
fn a_version_of_the_line_wins_over_the_mapped_one() {
    let line = read(
        r#"{"version":"7","remote_addr":"::1","method":"GET","uri":"/","status":200,"upstream_addr":"10.0.0.5:8080"}"#,
    );
    assert_eq!(line.identity.version.as_deref(), Some("7"));
}
