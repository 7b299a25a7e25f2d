//! What it costs to turn lines into an OTLP request: from the bytes of lines to the bytes of the request, on one core.
//!
//! Run with `cargo bench -p shipwake-ingest --bench lines`.

// Criterion's macro makes a public function that cannot be documented.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shipwake_ingest::{IngestConfig, convert_lines};

const LINES: usize = 5_000;
const RECEIVED_NS: i64 = 1_795_428_100_000_000_000;
const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";

fn status(n: usize) -> usize {
    [200, 200, 200, 404, 500][n % 5]
}

fn combined(n: usize) -> String {
    format!(
        "203.0.113.{} - - [23/Nov/2026:10:{:02}:{:02} +0000] \"GET /api/checkout/{}?ref=home HTTP/1.1\" {} {} \
         \"https://shop.example/cart\" \"{AGENT}\"",
        n % 250,
        n / 60 % 60,
        n % 60,
        n * 7919,
        status(n),
        n % 9000,
    )
}

/// nginx with `$request_time` and `$upstream_addr`.
fn timed(n: usize) -> String {
    format!("{} 0.{:03} 10.0.0.{}:8080", combined(n), n % 1000, 5 + n % 2)
}

/// httpd and Varnish with `%D`.
fn microseconds(n: usize) -> String {
    format!("{} {}", combined(n), n * 37 % 900_000)
}

fn haproxy(n: usize) -> String {
    format!(
        "203.0.113.{}:{} [23/Nov/2026:10:00:{:02}.{:03}] web~ {}/s1 0/0/1/{}/{} 200 {} - - ---- 5/5/1/0/0 0/0 \
         \"GET /api/checkout/{} HTTP/1.1\"",
        n % 250,
        1024 + n % 60_000,
        n % 60,
        n % 1000,
        ["blue", "green"][n % 2],
        n % 90,
        n % 90 + 2,
        n % 9000,
        n,
    )
}

fn nginx_json(n: usize) -> String {
    format!(
        "{{\"time_iso8601\":\"2026-11-23T10:{:02}:{:02}+00:00\",\"remote_addr\":\"203.0.113.{}\",\
         \"request_method\":\"GET\",\"uri\":\"/api/checkout/{}\",\"server_protocol\":\"HTTP/1.1\",\"status\":{},\
         \"body_bytes_sent\":{},\"request_time\":0.{:03},\"upstream_addr\":\"10.0.0.{}:8080\",\
         \"http_referer\":\"https://shop.example/cart\",\"http_user_agent\":\"{AGENT}\"}}",
        n / 60 % 60,
        n % 60,
        n % 250,
        n * 7919,
        status(n),
        n % 9000,
        n % 1000,
        5 + n % 2,
    )
}

fn caddy_json(n: usize) -> String {
    format!(
        "{{\"level\":\"info\",\"ts\":{}.{:03},\"logger\":\"http.log.access\",\"msg\":\"handled request\",\"request\":\
         {{\"remote_ip\":\"203.0.113.{}\",\"remote_port\":\"{}\",\"proto\":\"HTTP/2.0\",\"method\":\"GET\",\
         \"host\":\"shop.example\",\"uri\":\"/api/checkout/{}\",\"headers\":{{\"User-Agent\":[\"{AGENT}\"]}}}},\
         \"user_id\":\"\",\"duration\":0.00{:04},\"size\":{},\"status\":{}}}",
        1_795_428_000 + n,
        n % 1000,
        n % 250,
        1024 + n % 60_000,
        n * 7919,
        1 + n % 9999,
        n % 9000,
        status(n),
    )
}

fn traefik_json(n: usize) -> String {
    format!(
        "{{\"ClientHost\":\"203.0.113.{}\",\"DownstreamContentSize\":{},\"DownstreamStatus\":{},\"Duration\":{},\
         \"RequestHost\":\"shop.example\",\"RequestMethod\":\"GET\",\"RequestPath\":\"/api/checkout/{}\",\
         \"RequestProtocol\":\"HTTP/2.0\",\"RouterName\":\"shop@docker\",\"ServiceName\":\"{}@docker\",\
         \"StartUTC\":\"2026-11-23T10:{:02}:{:02}.123456789Z\",\"level\":\"info\",\"msg\":\"\"}}",
        n % 250,
        n % 9000,
        status(n),
        n * 7919,
        n,
        ["blue", "green"][n % 2],
        n / 60 % 60,
        n % 60,
    )
}

fn app_json(n: usize) -> String {
    format!(
        "{{\"time\":\"2026-11-23T10:00:{:02}.123Z\",\"level\":\"info\",\"msg\":\"order {n} accepted\",\
         \"user\":\"u-{}\",\"route\":\"/api/checkout/{{id}}\",\"ms\":12.5}}",
        n % 60,
        n % 97
    )
}

fn plain(n: usize) -> String {
    format!("2026-11-23T10:00:{:02}.123Z INFO [worker-{}] order {n} accepted", n % 60, n % 8)
}

/// Name, query, line.
type Case = (&'static str, &'static str, fn(usize) -> String);

const CASES: [Case; 14] = [
    ("nginx combined", "service=web&version=1&format=nginx", combined),
    ("nginx combined, found by auto", "service=web&version=1", combined),
    ("nginx with upstreams", "service=web&format=nginx&upstream=10.0.0.5:8080=1.41.0,10.0.0.6:8080=1.42.0", timed),
    ("nginx with upstreams, found by auto", "service=web&upstream=10.0.0.5:8080=1.41.0,10.0.0.6:8080=1.42.0", timed),
    ("httpd combined with %D", "service=web&version=1&format=httpd", microseconds),
    ("varnish with %D", "service=web&version=1&format=varnish", microseconds),
    ("haproxy with backends", "service=web&format=haproxy&upstream=blue=1.41.0,green=1.42.0", haproxy),
    ("haproxy with backends, found by auto", "service=web&upstream=blue=1.41.0,green=1.42.0", haproxy),
    ("nginx JSON", "service=web&upstream=10.0.0.5:8080=1.41.0,10.0.0.6:8080=1.42.0", nginx_json),
    ("caddy JSON", "service=web&version=1", caddy_json),
    ("traefik JSON", "service=web&upstream=blue=1.41.0,green=1.42.0", traefik_json),
    ("application JSON", "service=web&version=1", app_json),
    ("plain text", "service=web&version=1", plain),
    ("plain text, kept as it is", "service=web&version=1&format=raw", plain),
];

fn lines(criterion: &mut Criterion) {
    let config = IngestConfig::default();
    let mut group = criterion.benchmark_group("lines to OTLP");
    for (name, query, line) in CASES {
        let text: String = (0..LINES).map(|n| line(n) + "\n").collect();
        let converted = convert_lines(query, text.as_bytes(), RECEIVED_NS, &config).expect("valid");
        assert_eq!((converted.accepted, converted.rejected), (LINES as u64, 0), "{name}");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| convert_lines(query, text.as_bytes(), RECEIVED_NS, &config).expect("valid"));
        });
    }
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
