//! Two versions with log-normal durations and a known shift between them, sent over the real ports: the comparison finds the shift.

use serde_json::{Value, json};

use crate::harness::{Shipwake, start};
use crate::otlp::{now_ns, post, resource, spans};

const REQUESTS: usize = 20_000;
const SHIFT: f64 = 1.38;
const SIGMA: f64 = 0.6;
const MEDIAN_S: f64 = 0.2;
/// Of the standard normal distribution at 0.5, 0.9 and 0.99.
const NORMAL: [(f64, f64); 3] = [(0.5, 0.0), (0.9, 1.281_552), (0.99, 2.326_348)];

/// Log-normal durations in nanoseconds, by Box and Muller from a generator with a fixed seed.
fn durations(seed: u64, factor: f64) -> Vec<u64> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let normal = std::iter::repeat_with(|| (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos());
    normal.take(REQUESTS).map(|z| (MEDIAN_S * factor * (SIGMA * z).exp() * 1e9) as u64).collect()
}

/// The value at a quantile of what was sent, in seconds.
fn sent_quantile(durations: &[u64], q: f64) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1] as f64 / 1e9
}

async fn compare(shipwake: &Shipwake, body: Value) -> Value {
    let answer = reqwest::Client::new().post(format!("{}/api/v1/compare", shipwake.ui())).json(&body).send().await;
    let answer = answer.expect("an answer");
    let status = answer.status();
    let body = answer.json().await.expect("JSON");
    assert!(status.is_success(), "{status} {body}");
    body
}

fn at(answer: &Value, q: f64) -> &Value {
    answer["quantiles"].as_array().expect("a table").iter().find(|one| one["q"] == q).expect("the quantile")
}

#[tokio::test]
async fn a_known_shift_of_two_log_normals_is_found_and_covered() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(folder.path()).await;
    let sent = [("1.0", durations(7, 1.0)), ("1.1", durations(11, SHIFT))];
    let now = now_ns();
    for (version, durations) in &sent {
        for (batch, chunk) in durations.chunks(2_000).enumerate() {
            let start = |n: usize| now - 120_000_000_000 + (batch * 2_000 + n) as u64 * 1_000_000;
            let requests: Vec<_> = chunk.iter().enumerate().map(|(n, duration)| (start(n), *duration, 200)).collect();
            let instance = format!("{version}-{}", batch % 3);
            post(&shipwake.http(), "traces", &spans(resource("checkout", version, &instance), &requests)).await;
        }
    }
    shipwake.wait_number("select count(*) from spans where service = 'checkout'", 2 * REQUESTS as i64).await;
    let answer =
        compare(&shipwake, json!({"service": "checkout", "a": "ver:1.0", "b": "ver:1.1", "from": "now-10m"})).await;
    assert_eq!((&answer["a"]["n"], &answer["b"]["n"]), (&json!(REQUESTS), &json!(REQUESTS)), "each once: {answer}");
    let resolution = answer["resolution"].as_f64().expect("closed buckets");
    assert!(resolution > 0.0 && resolution < 0.01, "{resolution}");
    for (q, z) in NORMAL {
        let found = at(&answer, q);
        let number = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name} of {found}"));
        let (a, b) = (sent_quantile(&sent[0].1, q), sent_quantile(&sent[1].1, q));
        // Half a bucket to either side, on both sides.
        let allowed = 2.0 * resolution * (a + b) + 1e-5;
        assert!((number("diff") - (b - a)).abs() <= allowed, "{q}: {found}, sent {a} and {b}");
        let truth = MEDIAN_S * (SIGMA * z).exp() * (SHIFT - 1.0);
        assert!(
            number("lo") < truth && truth < number("hi") && number("lo") > 0.0,
            "{q}: {found} does not cover {truth}"
        );
    }
    let same =
        compare(&shipwake, json!({"service": "checkout", "a": "ver:1.0", "b": "ver:1.0", "from": "now-10m"})).await;
    assert!(same["quantiles"].as_array().expect("a table").iter().all(|one| one["differs"] == false), "{same}");
    let swapped =
        compare(&shipwake, json!({"service": "checkout", "a": "ver:1.1", "b": "ver:1.0", "from": "now-10m"})).await;
    let negated = |name: &str, of: &str| {
        let (there, back) = (at(&answer, 0.99)[name].as_f64(), at(&swapped, 0.99)[of].as_f64());
        assert!(there.zip(back).is_some_and(|(there, back)| (there + back).abs() < 1e-9), "{name}: {there:?} {back:?}");
    };
    negated("diff", "diff");
    negated("lo", "hi");
    negated("hi", "lo");
}
