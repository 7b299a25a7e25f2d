//! Lines as real servers write them, and what is read from each.

use super::*;
use crate::lines::time;
use crate::lines::upstreams::Upstreams;

/// 2026-11-23T10:00:00Z.
const TEN: u64 = 1_795_428_000_000_000_000;

fn rules() -> Rules {
    let upstreams = Upstreams::new("green=1.42.0,10.0.0.5:8080=1.41.0", &[]).expect("valid");
    Rules { upstreams, ..Rules::default() }
}

fn must_read(line: &str, server: Server) -> Access<'_> {
    read(line.as_bytes(), server, &rules(), TEN).unwrap_or_else(|fault| panic!("{line}: {fault:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped(bytes)).into_owned()
}

/// Method, path, status, bytes, duration, upstream and whether it counts.
fn shown(access: &Access<'_>) -> String {
    let upstream = [access.upstream.backend, access.upstream.server, last_of_list(access.upstream.address)];
    let upstream: Vec<String> = upstream.into_iter().filter(|part| !part.is_empty()).map(text).collect();
    format!(
        "{} {} {} {} {} {} {}",
        text(access.request.method),
        text(access.request.path),
        access.status,
        access.bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
        access.duration_s.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds}s")),
        if upstream.is_empty() { "-".to_owned() } else { upstream.join("/") },
        if access.is_request() { "request" } else { "record" },
    )
}

fn check(server: Server, line: &str, expected: &str) {
    assert_eq!(shown(&must_read(line, server)), expected, "{line}");
}

/// Where the servers agree, nobody has to be named.
fn check_named_or_not(server: Server, line: &str, expected: &str) {
    check(server, line, expected);
    check(Server::Any, line, expected);
}

#[test]
fn nginx_combined_and_what_sites_append() {
    let start = r#"10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "GET /cart?id=7 HTTP/1.1" 200 612"#;
    let combined = format!("{start} \"https://shop.example/\" \"Mozilla/5.0 (X11)\"");
    let access = must_read(&combined, Server::Nginx);
    assert_eq!((access.time_ns, access.client, access.request.query), (Some(TEN), &b"10.1.2.3"[..], &b"id=7"[..]));
    assert_eq!((access.referer, access.agent), (&b"https://shop.example/"[..], &b"Mozilla/5.0 (X11)"[..]));
    for (tail, rest) in [
        ("", "- -"),
        (" \"-\"", "- -"),
        (" \"10.9.9.9, 10.8.8.8\"", "- -"),
        (" 0.005", "0.005s -"),
        (" 0.005 0.004 .", "0.005s -"),
        (" 0.005 10.0.0.5:8080", "0.005s 10.0.0.5:8080"),
        (" \"10.9.9.9\" rt=0.005 uct=\"0.001\" uht=\"0.002\" urt=\"0.004\"", "0.005s -"),
        (" rt=0.005 ua=\"10.0.0.4:80, 10.0.0.5:8080\" us=\"502, 200\"", "0.005s 10.0.0.5:8080"),
        (" request_time=0.005 upstream=green", "0.005s green"),
        (" request_time=0.005 pool=blue", "0.005s blue"),
        (" green 0.005", "0.005s green"),
        (" 512 0.005 [shop-web-80] [] 10.0.0.5:8080 612 0.004 200 5f3a", "0.005s shop-web-80/10.0.0.5:8080"),
        (
            " 512 0.005 [shop-web-80] [shop-canary-80] 10.0.0.4:80, 10.0.0.5:8080 0, 612 0.001, 0.004 502, 200 5f3a",
            "0.005s shop-canary-80/10.0.0.5:8080",
        ),
        (" \"unclosed", "- -"),
        (" k=\"unclosed", "- -"),
        (" 7", "- -"),
    ] {
        check_named_or_not(Server::Nginx, &format!("{combined}{tail}"), &format!("GET /cart 200 612 {rest} request"));
    }
    let line = format!(
        "{combined} rt=0.005 ua=\"10.0.0.4:80, 10.0.0.5:8080\" us=\"502, 200\" urt=\"0.1, 0.25\" xff=\"1.1.1.1\""
    );
    let list = must_read(&line, Server::Nginx);
    assert_eq!(
        (list.upstream.status, list.upstream.duration_s, list.forwarded_for),
        (Some(200), Some(0.25), &b"1.1.1.1"[..])
    );
}

#[test]
fn httpd_common_combined_and_virtual_hosts() {
    let common = r#"10.1.2.3 - ada [23/Nov/2026:11:00:00 +0100] "POST /pay HTTP/1.1" 302 -"#;
    check_named_or_not(Server::Httpd, common, "POST /pay 302 - - - request");
    assert_eq!(
        (must_read(common, Server::Httpd).time_ns, must_read(common, Server::Any).user),
        (Some(TEN), &b"ada"[..])
    );
    let with_blank = r#"10.1.2.3 - Ada Lovelace [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5"#;
    assert_eq!(must_read(with_blank, Server::Httpd).user, b"Ada Lovelace");
    let vhost = r#"shop.example:443 10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl \"x\" \xc3\xa9""#;
    let access = must_read(vhost, Server::Any);
    assert_eq!((access.host, access.client), (&b"shop.example:443"[..], &b"10.1.2.3"[..]));
    assert_eq!(text(access.agent), "curl \"x\" é");

    let combined = r#"::1 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl""#;
    for (tail, named, unnamed) in [
        (" 12345", "0.012345s", "-"),
        (" 0/12345", "0.012345s", "0.012345s"),
        (" 12345 10.0.0.5:8080", "0.012345s 10.0.0.5:8080", "- 10.0.0.5:8080"),
        (" D=12345", "0.012345s", "-"),
        (" http://10.0.0.5:8080", "- http://10.0.0.5:8080", "- http://10.0.0.5:8080"),
    ] {
        let full = |rest: &str| {
            let rest = if rest.contains(' ') { rest.to_owned() } else { format!("{rest} -") };
            format!("GET / 200 5 {rest} request")
        };
        check(Server::Httpd, &format!("{combined}{tail}"), &full(named));
        check(Server::Any, &format!("{combined}{tail}"), &full(unnamed));
    }
    let in_seconds = Rules { duration_unit: Some(crate::lines::rules::Unit::Seconds), ..rules() };
    let line = format!("{combined} 3");
    let access = read(line.as_bytes(), Server::Httpd, &in_seconds, TEN).expect("readable");
    assert_eq!(access.duration_s, Some(3.0));
}

#[test]
fn varnish_has_absolute_urls() {
    let line = r#"10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "GET http://shop.example:6081/cart HTTP/1.1" 503 265 "-" "curl/8.5.0""#;
    check_named_or_not(Server::Varnish, line, "GET /cart 503 265 - - request");
    assert_eq!(must_read(line, Server::Varnish).request.host, b"shop.example:6081");
    check(Server::Varnish, &format!("{line} 2500 miss green"), "GET /cart 503 265 0.0025s green request");
    check(Server::Varnish, &format!("{line} hit 0.002500"), "GET /cart 503 265 0.0025s - request");
}

#[test]
fn haproxy_http_formats() {
    let check = |line: &str, expected: &str| check_named_or_not(Server::Haproxy, line, expected);
    check(
        r#"10.1.2.3:41234 [23/Nov/2026:10:00:00.655] web~ green/s1 0/0/1/20/25 200 512 - - ---- 2/2/1/1/0 0/0 "GET /cart?id=7 HTTP/1.1""#,
        "GET /cart 200 512 0.025s green/s1 request",
    );
    check(
        r#"::1:41234 [23/Nov/2026:10:00:00.655] web green/<NOSRV> 0/3000/-1/-1/3001 503 212 - - SC-- 2/2/1/0/3 0/0 {shop.example|Mozilla/5.0 (X11)} {} "GET / HTTP/1.1""#,
        "GET / 503 212 3.001s green/<NOSRV> request",
    );
    check(
        r#"10.1.2.3:41234 [23/Nov/2026:10:00:00.655] web web/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 2/2/0/0/0 0/0 "<BADREQ>""#,
        "  400 0 0s web/<NOSRV> request",
    );
    check(
        r#"10.1.2.3:41234 [23/Nov/2026:10:00:00.655] web green/s1 5/0/1/-1/+800 -1 +0 - - CD-- 2/2/1/1/0 0/0 "GET /cut HTT"#,
        "GET /cut HTT 0 0 0.8s green/s1 record",
    );
    let syslog = r#"<134>Nov 23 10:00:01 lb haproxy[77]: 10.1.2.3:41234 [23/Nov/2026:10:00:00.655] web green/s1 0/0/1/20/25 200 512 - - ---- 2/2/1/1/0 0/0 "GET / HTTP/1.1" 0/0/0/0/0 shop.example/TLSv1.3/X"#;
    check(syslog, "GET / 200 512 0.025s green/s1 request");
    let access = must_read(syslog, Server::Any);
    assert_eq!(
        (access.time_ns, access.log_host, access.client_port),
        (Some(TEN + 655_000_000), &b"lb"[..], Some(41234))
    );
    assert_eq!((access.termination, access.upstream.frontend), (&b"----"[..], &b"web"[..]));
    let clf = r#"10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "GET /cart HTTP/1.1" 200 512 "" "" 41234 655 "web" "green" "s1" 0 0 1 20 25 "----" 2 2 1 1 0 0 0 "" "" "#;
    check(clf, "GET /cart 200 512 0.025s green/s1 request");
    assert_eq!(must_read(clf, Server::Haproxy).client_port, Some(41234));
}

#[test]
fn haproxy_connections_are_records_and_no_requests() {
    let check = |line: &str, expected: &str| check_named_or_not(Server::Haproxy, line, expected);
    check("10.1.2.3:41234 [23/Nov/2026:10:00:00.655] db pg/s1 0/0/5007 212 -- 0/0/0/0/3 0/0", "  0 212 - pg/s1 record");
    check("Connect from 10.1.2.3:39156 to 10.0.3.1:7701 (web/HTTP)", "  0 - - - record");
    check("10.1.2.3:41234 [23/Nov/2026:10:00:00.655] web/1: SSL handshake failure", "  0 - - - record");
    let line = "<134>Nov 23 10:00:00 haproxy[7]: Connect from 10.1.2.3:39156 to 10.0.3.1:7701 (web/HTTP)";
    let access = must_read(line, Server::Haproxy);
    assert_eq!(
        (access.time_ns, access.upstream.frontend, access.host),
        (Some(TEN), &b"web"[..], &b"10.0.3.1:7701"[..])
    );
}

#[test]
fn a_time_without_a_zone_is_utc_or_what_was_said() {
    let line =
        r#"10.1.2.3:4 [23/Nov/2026:12:00:00.000] web b/s 0/0/1/20/25 200 512 - - ---- 2/2/1/1/0 0/0 "GET / HTTP/1.1""#;
    let in_zone = |zone_s| {
        let rules = Rules { zone_s, ..Rules::default() };
        read(line.as_bytes(), Server::Any, &rules, TEN).expect("readable").time_ns
    };
    assert_eq!((in_zone(None), in_zone(Some(7200))), (time::from_text("2026-11-23T12:00:00Z", None), Some(TEN)));
}

#[test]
fn syslog_headers_and_iso_times_do_not_matter() {
    for header in [
        "<190>Nov 23 10:00:00 web nginx: ",
        "<190>1 2026-11-23T10:00:00Z web nginx - - - ",
        "Nov 23 10:00:00 web nginx[12]: ",
    ] {
        let line = format!("{header}10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5");
        let access = must_read(&line, Server::Any);
        assert_eq!(
            (access.client, access.log_host, access.time_ns),
            (&b"10.1.2.3"[..], &b"web"[..], Some(TEN)),
            "{line}"
        );
    }
    let line = r#"10.1.2.3 - - [2026-11-23T10:00:00+00:00] "GET / HTTP/1.1" 200 5"#;
    assert_eq!(must_read(line, Server::Nginx).time_ns, Some(TEN));
}

#[test]
fn odd_lines_are_read_and_count_as_what_they_are() {
    let line = |request: &str, rest: &str| format!("10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] {request} {rest}");
    for (request, rest, expected) in [
        (r#""\x16\x03\x01\x02\x00\x01""#, "400 157", "  400 157 - - request"),
        (r#""GET /""#, "200 5", "GET / 200 5 - - request"),
        (r#""GET /a b HTTP/1.1""#, "200 5", "GET /a b 200 5 - - request"),
        (r#""PROPFIND /x HTTP/1.1""#, "207 5", "PROPFIND /x 207 5 - - request"),
        (r#""GET /slow HTTP/1.1""#, "499 0", "GET /slow 499 0 - - request"),
        (r#""GET /x HTTP/1.1""#, "444 0", "GET /x 444 0 - - request"),
        (r#""GET /x HTTP/1.1""#, "000 0", "GET /x 0 0 - - record"),
        (r#""""#, "400 0", "  400 0 - - record"),
        (r#""-""#, "408 -", "  408 - - - record"),
        (r#""GET /\x22quoted\x22 HTTP/1.1""#, "200 5", "GET /\"quoted\" 200 5 - - request"),
    ] {
        check_named_or_not(Server::Nginx, &line(request, rest), expected);
    }
}

#[test]
fn what_is_no_access_log_line_is_rejected_with_what_was_expected() {
    let check = |server: Server, line: &str, expected: &str, at: usize| {
        let fault = read(line.as_bytes(), server, &rules(), TEN).expect_err(line);
        assert!(fault.expected.contains(expected) && fault.at == at, "{line}: {fault:?}");
    };
    check(Server::Nginx, "hello", "a time in brackets", 0);
    check(Server::Nginx, "10.1.2.3 - - [yesterday] \"GET / HTTP/1.1\" 200 5", "a time in brackets", 0);
    check(Server::Httpd, "10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] GET 200", "a request in quotes", 42);
    check(Server::Httpd, "10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET /", "a request in quotes", 42);
    check(Server::Varnish, "10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" ok 5", "a status", 59);
    check(
        Server::Varnish,
        "10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 x",
        "a number of bytes",
        63,
    );
    check(Server::Nginx, "10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"x", "the referer", 65);
    check(Server::Haproxy, "hello", "an address of a client", 0);
    check(Server::Haproxy, "10.1.2.3:4 [x] web b/s", "a time in brackets", 11);
    check(Server::Haproxy, "10.1.2.3:4 [23/Nov/2026:10:00:00.655] web b", "a backend and a server", 41);
    check(Server::Haproxy, "10.1.2.3:4 [23/Nov/2026:10:00:00.655] web b/s 1/2", "timers", 45);
    check(Server::Haproxy, "Connect from somewhere", "an address of a client", 12);
}
