//! What processes that take telemetry have seen, for those that show it: a route that tells it, and a task that asks.
//!
//! Every second each peer is asked once. What a peer said last stays until it says something else; while it does not answer that is
//! said beside the numbers. A name may stand for several addresses, and each is a peer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::response::Json;
use axum::routing::get;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use shipwake_model::Signal;
use shipwake_query::{Endpoints, PipelineSource, PipelineStatus, Received, Rejection, SeenSender};
use tokio_util::sync::CancellationToken;

/// Where a process tells what it has seen.
const PATH: &str = "/internal/v1/ingest";
/// Time between two questions to a peer, and time that an answer gets.
const INTERVAL: Duration = Duration::from_secs(1);
/// Addresses that a name may stand for.
const ADDRESSES_MAX: usize = 64;

/// The route that tells others what `source` knows.
pub fn router(source: Arc<dyn PipelineSource>) -> Router {
    Router::new().route(PATH, get(move || async move { Json(Report::of(&source.status())) }))
}

/// The route of a process that takes no telemetry and is a peer all the same, because it computes parts of statements: it has
/// nothing to tell, and that is no problem.
pub fn silent_router() -> Router {
    Router::new().route(PATH, get(|| async { Json(None::<Report>) }))
}

/// What this process and its peers know, as one.
pub struct Peers {
    own: Arc<dyn PipelineSource>,
    known: Arc<Mutex<Known>>,
}

/// What the peers said.
#[derive(Default)]
struct Known {
    /// By name and address.
    reports: BTreeMap<(String, SocketAddr), Peer>,
    /// Names that stand for nothing, with the reason.
    unknown: BTreeMap<String, String>,
}

#[derive(Default)]
struct Peer {
    report: Option<Report>,
    problem: Option<String>,
}

/// A status on its way.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Report {
    received: [u64; 3],
    /// A process of an older version does not tell.
    #[serde(default)]
    own: u64,
    rejected: Vec<RejectionForm>,
    otlp_grpc: String,
    otlp_http: String,
    ui: String,
    instances_guessed: bool,
    problems: Vec<String>,
    started_ms: i64,
    /// Number of the signal, epoch ms.
    last_received: Vec<(u8, i64)>,
    /// Kind, records, epoch ms.
    senders: Vec<(String, u64, i64)>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct RejectionForm {
    reason: String,
    signal: Option<u8>,
    count: u64,
    last_ms: i64,
    detail: String,
}

impl Peers {
    /// Begins to ask the processes at these base URLs, until `stop`. `own` is what this process knows itself.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn start(
        own: Arc<dyn PipelineSource>,
        urls: Vec<String>,
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<Self>> {
        let http = reqwest::Client::builder().timeout(INTERVAL).no_proxy().build()?;
        let known = Arc::new(Mutex::new(Known::default()));
        let of_task = known.clone();
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                ask_all(&http, &urls, &of_task).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        });
        Ok(Arc::new(Self { own, known }))
    }
}

impl PipelineSource for Peers {
    fn status(&self) -> PipelineStatus {
        let mut status = self.own.status();
        let known = lock(&self.known);
        for ((name, address), peer) in &known.reports {
            // Where a name is one address it says more than the address.
            let is_alone = known.reports.keys().filter(|(of, _)| of == name).count() == 1;
            let who = if is_alone { name.clone() } else { format!("{name} ({address})") };
            if let Some(report) = &peer.report {
                add(&mut status, report, &who, *address);
            }
            if let Some(problem) = &peer.problem {
                let what = if peer.report.is_some() { "what it has received since" } else { "what it has received" };
                status
                    .problems
                    .push(format!("{who} does not tell what it sees: {problem}; {what} is not counted here"));
            }
        }
        let unknown = known.unknown.iter();
        status.problems.extend(unknown.map(|(name, reason)| format!("{name} cannot be asked: {reason}")));
        status
    }
}

async fn ask_all(http: &reqwest::Client, urls: &[String], known: &Mutex<Known>) {
    let mut addresses = Vec::new();
    for url in urls {
        let host = url.trim_start_matches("http://").to_owned();
        match tokio::time::timeout(INTERVAL, tokio::net::lookup_host(host)).await {
            Ok(Ok(found)) => {
                lock(known).unknown.remove(url);
                let mut found: Vec<SocketAddr> = found.collect();
                found.sort_unstable();
                found.dedup();
                addresses.extend(found.into_iter().take(ADDRESSES_MAX).map(|address| (url.clone(), address)));
            }
            Ok(Err(error)) => {
                lock(known).unknown.insert(url.clone(), error.to_string());
            }
            Err(_) => {
                lock(known).unknown.insert(url.clone(), "its name was not found in time".to_owned());
            }
        }
    }
    let asked = addresses.into_iter().map(|key: (String, SocketAddr)| async move {
        let answer = ask(http, key.1).await;
        (key, answer)
    });
    let answers = join_all(asked).await;
    let mut known = lock(known);
    let before = std::mem::take(&mut known.reports);
    known.reports = answers.iter().map(|(key, _)| (key.clone(), Peer::default())).collect();
    for (key, peer) in before {
        // A name that cannot be looked up for a moment does not take away what was known.
        if known.reports.contains_key(&key) || known.unknown.contains_key(&key.0) {
            known.reports.insert(key, peer);
        }
    }
    for (key, answer) in answers {
        let peer = known.reports.entry(key).or_default();
        match answer {
            Ok(report) => (peer.report, peer.problem) = (report, None),
            Err(problem) => peer.problem = Some(problem),
        }
    }
}

/// `None` of a process that takes no telemetry.
async fn ask(http: &reqwest::Client, address: SocketAddr) -> Result<Option<Report>, String> {
    let answer = http.get(format!("http://{address}{PATH}")).send().await.map_err(|error| reason(&error))?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    answer.json().await.map_err(|error| reason(&error))
}

/// The bottom of an error: what is above it repeats the address.
fn reason(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Adds what a peer knows.
fn add(status: &mut PipelineStatus, report: &Report, who: &str, address: SocketAddr) {
    let [logs, metrics, spans] = report.received;
    status.received.logs += logs;
    status.received.metrics += metrics;
    status.received.spans += spans;
    status.own += report.own;
    status.rejected.extend(report.rejected.iter().map(|form| Rejection {
        reason: form.reason.clone(),
        signal: form.signal.and_then(Signal::from_number),
        count: form.count,
        last_ms: form.last_ms,
        detail: form.detail.clone(),
    }));
    if status.endpoints.otlp_grpc.is_empty() {
        let reachable = |url: &str| reachable(url, address);
        status.endpoints.otlp_grpc = reachable(&report.otlp_grpc);
        status.endpoints.otlp_http = reachable(&report.otlp_http);
    }
    status.instances_guessed |= report.instances_guessed;
    status.problems.extend(report.problems.iter().map(|problem| format!("{who}: {problem}")));
    if report.started_ms > 0 {
        status.started_ms = status.started_ms.min(report.started_ms);
    }
    for (signal, last_ms) in &report.last_received {
        let Some(signal) = Signal::from_number(*signal) else { continue };
        match status.last_received.iter_mut().find(|(of, _)| *of == signal) {
            Some((_, known_ms)) => *known_ms = (*known_ms).max(*last_ms),
            None => status.last_received.push((signal, *last_ms)),
        }
    }
    for (kind, received, last_ms) in &report.senders {
        match status.senders.iter_mut().find(|known| known.kind == *kind) {
            Some(known) => {
                known.received += received;
                known.last_ms = known.last_ms.max(*last_ms);
            }
            None => status.senders.push(SeenSender { kind: kind.clone(), received: *received, last_ms: *last_ms }),
        }
    }
}

/// An address that a peer listens at, as others reach it: one that listens everywhere is reached where it was asked.
fn reachable(url: &str, address: SocketAddr) -> String {
    let host = match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    url.replace("//0.0.0.0:", &format!("//{host}:")).replace("//[::]:", &format!("//{host}:"))
}

impl Report {
    fn of(status: &PipelineStatus) -> Self {
        let Received { logs, metrics, spans } = status.received;
        let Endpoints { otlp_grpc, otlp_http, ui } = status.endpoints.clone();
        let rejected = status.rejected.iter().map(|rejection| RejectionForm {
            reason: rejection.reason.clone(),
            signal: rejection.signal.map(|signal| signal as u8),
            count: rejection.count,
            last_ms: rejection.last_ms,
            detail: rejection.detail.clone(),
        });
        let senders = status.senders.iter().map(|seen| (seen.kind.clone(), seen.received, seen.last_ms));
        Self {
            received: [logs, metrics, spans],
            own: status.own,
            rejected: rejected.collect(),
            otlp_grpc,
            otlp_http,
            ui,
            instances_guessed: status.instances_guessed,
            problems: status.problems.clone(),
            started_ms: status.started_ms,
            last_received: status.last_received.iter().map(|(signal, ms)| (*signal as u8, *ms)).collect(),
            senders: senders.collect(),
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Whole reports are put in.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(logs: u64, last_ms: i64) -> PipelineStatus {
        let endpoint = |port: u16| format!("http://0.0.0.0:{port}");
        PipelineStatus {
            received: Received { logs, metrics: 1, spans: 2 },
            own: 4,
            rejected: vec![Rejection {
                reason: "too_large".to_owned(),
                signal: Some(Signal::Logs),
                count: 3,
                last_ms,
                detail: "example".to_owned(),
            }],
            endpoints: Endpoints { otlp_grpc: endpoint(4317), otlp_http: endpoint(4318), ui: endpoint(4400) },
            started_ms: last_ms - 5,
            last_received: vec![(Signal::Logs, last_ms)],
            senders: vec![SeenSender { kind: "nginx".to_owned(), received: logs, last_ms }],
            problems: vec!["the disk is full".to_owned()],
            ..PipelineStatus::default()
        }
    }

    #[test]
    fn what_peers_received_adds_up_and_their_problems_name_them() {
        let sent = serde_json::to_vec(&Report::of(&status(10, 200))).expect("is JSON");
        let report: Report = serde_json::from_slice(&sent).expect("reads");
        let mut sum = PipelineStatus { started_ms: 500, ..PipelineStatus::default() };
        let address = "10.0.0.7:4400".parse().expect("an address");
        add(&mut sum, &report, "http://a:4400", address);
        add(&mut sum, &Report::of(&status(5, 100)), "http://b:4400", "10.0.0.8:4400".parse().expect("an address"));
        assert_eq!((sum.received, sum.own), (Received { logs: 15, metrics: 2, spans: 4 }, 8));
        assert_eq!(sum.endpoints.otlp_grpc, "http://10.0.0.7:4317");
        assert_eq!((sum.started_ms, &sum.last_received[..]), (95, &[(Signal::Logs, 200)][..]));
        assert_eq!(sum.senders, [SeenSender { kind: "nginx".to_owned(), received: 15, last_ms: 200 }]);
        assert_eq!(sum.problems, ["http://a:4400: the disk is full", "http://b:4400: the disk is full"]);
        assert_eq!(sum.rejected.iter().map(|rejection| rejection.count).sum::<u64>(), 6);
    }
}
