//! What it costs to turn lines into an OTLP request: from the bytes of lines to the bytes of the request, on one core.
//!
//! Run with `cargo bench -p shipwake-ingest --bench lines`.

// Criterion's macro makes a public function that cannot be documented.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shipwake_ingest::{IngestConfig, convert_lines};

const LINES: usize = 5_000;
const RECEIVED_NS: i64 = 1_795_428_100_000_000_000;

fn combined(n: usize) -> String {
    format!(
        "203.0.113.{} - - [23/Nov/2026:10:{:02}:{:02} +0000] \"GET /api/checkout/{}?ref=home HTTP/1.1\" {} {} \
         \"https://shop.example/cart\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/130.0.0.0 Safari/537.36\"",
        n % 250,
        n / 60 % 60,
        n % 60,
        n * 7919,
        [200, 200, 200, 404, 500][n % 5],
        n % 9000,
    )
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

fn lines(criterion: &mut Criterion) {
    let text = |line: fn(usize) -> String| (0..LINES).map(|n| line(n) + "\n").collect::<String>();
    let timed = |n: usize| format!("{} 0.{:03} 10.0.0.{}:8080", combined(n), n % 1000, 5 + n % 2);
    let json = |n: usize| {
        format!(
            "{{\"time\":\"2026-11-23T10:00:{:02}.123Z\",\"level\":\"info\",\"msg\":\"order {n} accepted\",\
             \"user\":\"u-{}\",\"route\":\"/api/checkout/{{id}}\",\"ms\":12.5}}",
            n % 60,
            n % 97
        )
    };
    let plain = |n: usize| format!("2026-11-23T10:00:{:02}.123Z INFO [worker-{}] order {n} accepted", n % 60, n % 8);
    let upstream = "service=web&upstream=10.0.0.5:8080=1.41.0,10.0.0.6:8080=1.42.0";
    let cases = [
        ("nginx combined", "service=web&version=1&format=nginx", text(combined)),
        ("nginx combined, found by auto", "service=web&version=1", text(combined)),
        ("nginx timed, with upstreams", upstream, text(timed)),
        ("haproxy, with backends", "service=web&format=haproxy&upstream=blue=1.41.0,green=1.42.0", text(haproxy)),
        ("json", "service=web&version=1", text(json)),
        ("plain text", "service=web&version=1", text(plain)),
    ];
    let config = IngestConfig::default();
    let mut group = criterion.benchmark_group("lines to OTLP");
    for (name, query, text) in cases {
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
