//! A canary beside its baseline, as telemetry by OTLP, and a receiver of signed webhooks that hears what is said about it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use standardwebhooks::Webhook;

use crate::harness::{Shipwake, Start, spawn_with};
use crate::otlp::{now_ns, post, resource, spans};

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;
/// A key for tests; Standard Webhooks' form.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Instances of each version.
const INSTANCES: u64 = 4;
/// How long a word is waited for: many times what it takes, for machines that do much else.
pub const WORD_WITHIN: Duration = Duration::from_secs(120);

/// A message that was received, and when, ns since 1970.
#[derive(Clone)]
pub struct Heard {
    pub at_ns: u64,
    pub id: String,
    pub body: Value,
}

/// What a receiver answers.
pub enum Answer {
    /// It has it.
    Yes,
    /// A status line, and headers behind it.
    Status(&'static str),
    /// Not a word.
    Nothing,
}

/// A receiver of webhooks that checks signatures and keeps what it says yes to.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        Self::that_answers(|_| Answer::Yes)
    }

    /// One that answers as it likes: what a request with a right signature is answered is said by its number, from 0.
    pub fn that_answers(answers: impl Fn(u64) -> Answer + Send + 'static) -> Receiver {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", socket.local_addr().expect("an address"));
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let of_thread = heard.clone();
        // Ends with the test program.
        std::thread::spawn(move || {
            let mut number = 0;
            for stream in socket.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let Some((headers, body)) = request(&mut reader) else { continue };
                let verified = Webhook::new(SECRET).expect("a key").verify(&body, &headers).is_ok();
                let answer = if verified { answers(number) } else { Answer::Status("401 Unauthorized") };
                number += u64::from(verified);
                if matches!(answer, Answer::Yes) {
                    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
                    let body = serde_json::from_slice(&body).expect("JSON");
                    of_thread.lock().expect("ours").push(Heard { at_ns: now_ns(), id, body });
                }
                let status = match answer {
                    Answer::Yes => "200 OK",
                    Answer::Status(status) => status,
                    // Whoever asked finds the connection closed.
                    Answer::Nothing => continue,
                };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = reader.get_mut().write_all(answer.as_bytes());
            }
        });
        Receiver { url, heard }
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("ours").clone()
    }

    /// The verdicts that were told of a service, in the order in which they came.
    pub fn words(&self, service: &str) -> Vec<String> {
        let of = |heard: &Heard| {
            let data = &heard.body["data"];
            (data["service"] == service).then(|| data["verdict"].as_str().unwrap_or("?").to_owned())
        };
        self.heard().iter().filter_map(of).collect()
    }
}

/// Headers and body of a request.
fn request(reader: &mut impl BufRead) -> Option<(http::HeaderMap, Vec<u8>)> {
    let mut headers = http::HeaderMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name: http::HeaderName = name.to_lowercase().parse().ok()?;
        headers.insert(name, value.parse().ok()?);
    }
    let length = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((headers, body))
}

/// A Shipwake that tells a receiver of every word.
pub async fn judging(data: &Path, receiver: &Receiver, ports: Option<[u16; 3]>) -> Shipwake {
    let alerts = data.with_extension("alerts.yaml");
    let text = format!(
        "receivers:\n  - name: tests\n    webhook:\n      url: {}\n      secrets: [{{ env: VERDICT_SECRET }}]\n    verdicts: [go, no_go, watch, wait]\n",
        receiver.url
    );
    std::fs::write(&alerts, text).expect("written");
    let options = ["--alerts", alerts.to_str().expect("text")];
    let shipwake = spawn_with(&Start { data, options: &options, ports }, &[("VERDICT_SECRET", SECRET)]);
    shipwake.wait_ready().await;
    shipwake
}

/// A request of one version at a time: which instance it hits, how long it takes and whether it fails follow from its number.
fn requests(times_ns: impl Iterator<Item = (u64, u64)>, instance: u64, failing: u64) -> Vec<(u64, u64, i64)> {
    let of_instance = times_ns.filter(|(number, _)| number % INSTANCES == instance);
    let of = |(number, at_ns): (u64, u64)| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let fails = mixed % 100 < failing;
        (at_ns, (10 + mixed % 90) * MS, if fails { 503 } else { 200 })
    };
    of_instance.map(of).collect()
}

/// Sends so many requests a second of a version, of a time that has passed, in requests of some seconds each.
pub async fn send_past(
    shipwake: &Shipwake,
    service: &str,
    version: &str,
    from_ns: u64,
    to_ns: u64,
    rate: u64,
    failing: u64,
) {
    const PIECE_S: u64 = 60;
    let mut at_ns = from_ns;
    while at_ns < to_ns {
        let end_ns = (at_ns + PIECE_S * S).min(to_ns);
        for instance in 0..INSTANCES {
            let step_ns = S / rate;
            let times = (at_ns / step_ns..end_ns / step_ns).map(|number| (number, number * step_ns));
            let all = requests(times, instance, failing);
            let name = format!("{version}-{instance}");
            post(&shipwake.http(), "traces", &spans(resource(service, version, &name), &all)).await;
        }
        at_ns = end_ns;
    }
}

/// Waits until a version's past is there: what is judged is compared with it.
pub async fn is_known(shipwake: &Shipwake, service: &str, version: &str, many: u64) {
    let statement = format!("select count(*) from spans where service = '{service}' and version = '{version}'");
    shipwake.wait_number(&statement, many.try_into().expect("few")).await;
}

/// How many requests [`send_past`] sends.
pub fn many(from_ns: u64, to_ns: u64, rate: u64) -> u64 {
    to_ns / (S / rate) - from_ns / (S / rate)
}

/// Sends what has happened since the last time, for each version with its rate and failing part of a hundred. Until something is so.
pub async fn send_live(
    shipwake: &Shipwake,
    service: &str,
    versions: &[(&str, u64, u64)],
    mut sent_ns: u64,
    mut is_done: impl FnMut() -> bool,
) -> u64 {
    let deadline = Instant::now() + WORD_WITHIN;
    while !is_done() {
        assert!(Instant::now() < deadline, "not within {WORD_WITHIN:?}\n{}", shipwake.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let to_ns = now_ns();
        for (version, rate, failing) in versions {
            send_past(shipwake, service, version, sent_ns, to_ns, *rate, *failing).await;
        }
        sent_ns = to_ns;
    }
    sent_ns
}
