//! Measures how long a record takes to be seen: marked log records are sent and asked for until a query finds them, and
//! the server's own histogram of receive-to-visible is read before and after.
//!
//! The two answer different questions: the probe includes the way here and back and the pause between questions (50 ms),
//! the server's histogram covers every batch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value, json};
use shipwake_model::Signal;
use shipwake_model::sketch::HdrCells;
use tokio_util::sync::CancellationToken;

use super::content::ENVIRONMENT;
use super::generate::wall_ns;
use super::histogram_text::Buckets;
use super::sql::{Shipwake, whole};
use super::stats::quantiles;
use super::wire::attribute::{any_text, text};
use super::wire::{Answer, Sender};

const SERVICE: &str = "load-probe";
const PROBE_EVERY: Duration = Duration::from_millis(500);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// A probe that nobody sees for so long counts as not seen.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
const METRIC: &str = "shipwake_visible_lag_seconds";

/// Probes until `ended`, then waits for the last probes. The summary says what was seen, in milliseconds.
pub async fn run(url: String, run: String, sender: Sender, ended: CancellationToken) -> Value {
    let shipwake = match Shipwake::new(&url) {
        Ok(shipwake) => shipwake,
        Err(error) => return json!({"error": format!("{error:#}")}),
    };
    let before = buckets(&shipwake).await;
    let mut prober =
        Prober { shipwake, run, sender, next: 0, waiting: BTreeMap::new(), lag_us: HdrCells::new(), last_error: None };
    prober.probe_until(&ended).await;
    let after = buckets(&prober.shipwake).await;
    let server = after.since(&before);
    json!({
        "probes": prober.next,
        "seen": prober.lag_us.count(),
        "probe_ms": quantiles(&prober.lag_us),
        "server_ms": {"p50": server.quantile(0.5).map(|s| s * 1e3), "p99": server.quantile(0.99).map(|s| s * 1e3), "count": server.count()},
        "last_error": prober.last_error,
    })
}

struct Prober {
    shipwake: Shipwake,
    run: String,
    sender: Sender,
    next: u64,
    /// When each probe that is not seen yet was sent, and its event time.
    waiting: BTreeMap<u64, (Instant, u64)>,
    lag_us: HdrCells,
    last_error: Option<String>,
}

impl Prober {
    async fn probe_until(&mut self, ended: &CancellationToken) {
        let mut probe_at = Instant::now();
        loop {
            let stopping = ended.is_cancelled();
            if stopping && self.waiting.is_empty() {
                return;
            }
            if !stopping && probe_at <= Instant::now() {
                probe_at = Instant::now() + PROBE_EVERY;
                self.send_probe().await;
            }
            self.look().await;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn send_probe(&mut self) {
        let (sent, time_ns) = (Instant::now(), wall_ns());
        let body = request(&self.run, self.next, time_ns);
        match self.sender.send(Signal::Logs, body).await {
            Answer::Accepted => {
                self.waiting.insert(self.next, (sent, time_ns));
                self.next += 1;
            }
            other => self.last_error = Some(format!("{other:?}")),
        }
    }

    async fn look(&mut self) {
        let Some(oldest_ns) = self.waiting.values().map(|(_, time_ns)| *time_ns).min() else { return };
        let sql = format!(
            "select distinct attributes['load.probe'] from logs where service = '{SERVICE}' and namespace = '{}' and time >= to_timestamp_nanos({oldest_ns})",
            self.run
        );
        match self.shipwake.rows(&sql).await {
            Ok(rows) => {
                let now = Instant::now();
                for number in rows.iter().filter_map(|row| row.first().and_then(whole)) {
                    if let Some((sent, _)) = self.waiting.remove(&(number as u64)) {
                        self.lag_us.record((now - sent).as_micros() as u64);
                    }
                }
            }
            Err(error) => self.last_error = Some(format!("{error:#}")),
        }
        self.waiting.retain(|_, (sent, _)| sent.elapsed() < SEEN_WITHIN);
    }
}

async fn buckets(shipwake: &Shipwake) -> Buckets {
    shipwake.metrics().await.map_or_else(|_| Buckets::default(), |text| Buckets::parse(&text, METRIC))
}

fn request(run: &str, number: u64, time_ns: u64) -> Bytes {
    let resource = Resource {
        attributes: vec![
            text("service.name", SERVICE),
            text("service.namespace", run),
            text("service.version", "1"),
            text("service.instance.id", "probe"),
            text("deployment.environment.name", ENVIRONMENT),
        ],
        ..Resource::default()
    };
    let log = LogRecord {
        time_unix_nano: time_ns,
        observed_time_unix_nano: time_ns,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: any_text("visible-lag probe"),
        attributes: vec![text("load.probe", &number.to_string())],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![log], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: Some(resource), scope_logs, schema_url: String::new() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}
