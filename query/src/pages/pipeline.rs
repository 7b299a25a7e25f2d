//! Is data arriving, and what was refused? The counts of ingest are passed in by whoever wires the stages; the rest is the
//! store's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shipwake_model::{Signal, UNVERSIONED};
use shipwake_store::{Rejected, ReleaseRow, ShardStatus};

use crate::pages::freshness;
use crate::pages::wire;
use crate::time::MINUTE_MS;

/// A version counts as running when it sent something within this time, of a silent service before it fell silent.
const RUNNING_MS: i64 = 5 * MINUTE_MS;
/// Names that are listed; a count says how many there are.
const NAMES_MAX: usize = 50;
/// Releases that are listed, the newest first: whoever sets up a sender looks for one of these.
const RELEASES_MAX: usize = 100;
/// Reasons that are listed, newest first.
const REJECTED_MAX: usize = 50;
/// How long what was not counted where it says stays a problem.
const LEFT_OUT_SHOWN_MS: i64 = 60 * MINUTE_MS;

/// What ingest knows. Implemented by whoever starts the stages: the query stage does not know client protocols.
pub trait PipelineSource: Send + Sync {
    /// Counters as of now. Called about once a second; must not wait.
    fn status(&self) -> PipelineStatus;
}

/// Counters of ingest since the process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PipelineStatus {
    /// Records in requests that could be read.
    pub received: Received,
    /// Records that Shipwake made itself (what it said of releases), which are none of these; they are stored as log records.
    pub own: u64,
    /// Why requests or records were not taken.
    pub rejected: Vec<Rejection>,
    /// Where senders and people connect.
    pub endpoints: Endpoints,
    /// Some instances were guessed from the host or the peer's address.
    pub instances_guessed: bool,
    /// Memory of the process, in bytes, when known. Without it the parts that shards report are added up.
    pub memory_bytes: Option<u64>,
    /// What keeps data from being taken or kept at the moment, in words: the reasons of `/readyz`.
    pub problems: Vec<String>,
    /// `/readyz` says that data is not taken, or not kept, as it should be.
    pub unready: bool,
    /// Something of what was stored is damaged or lost.
    pub degraded: bool,
    /// When the process started, in milliseconds since the epoch: counters begin there.
    pub started_ms: i64,
    /// When the last request of a signal came since then, by signal.
    pub last_received: Vec<(Signal, i64)>,
    /// What has sent since then, as far as it said so.
    pub senders: Vec<SeenSender>,
}

/// A kind of sender, by protocol, user agent, SDK or format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSender {
    /// A word such as `sdk_python` or `nginx`.
    pub kind: String,
    /// Records in its requests.
    pub received: u64,
    /// When the last request came, in milliseconds since the epoch.
    pub last_ms: i64,
}

/// Records received, by signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Log records.
    pub logs: u64,
    /// Metric data points.
    pub metrics: u64,
    /// Spans.
    pub spans: u64,
}

/// One reason for which something was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The word of `shipwake_records_rejected_total{reason}`.
    pub reason: String,
    /// Of which signal; `None` when the request could not be read.
    pub signal: Option<Signal>,
    /// How often.
    pub count: u64,
    /// When last, in milliseconds since the epoch.
    pub last_ms: i64,
    /// The newest case in words.
    pub detail: String,
}

/// Addresses to connect to, as a person would write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// OTLP/gRPC, like `http://127.0.0.1:4317`.
    pub otlp_grpc: String,
    /// OTLP/HTTP, like `http://127.0.0.1:4318`.
    pub otlp_http: String,
    /// Pages and API, like `http://127.0.0.1:4400`.
    pub ui: String,
}

/// The answer.
pub(crate) fn answer(
    ingest: PipelineStatus,
    shards: &[ShardStatus],
    releases: &[ReleaseRow],
    now_ms: i64,
) -> wire::Pipeline {
    let wm = freshness::watermark_ms(shards);
    let services = services(releases, now_ms);
    let memory_of_shards = shards.iter().flat_map(|shard| &shard.memory_bytes).map(|(_, bytes)| bytes).sum();
    wire::Pipeline {
        meta: wire::Meta { wm, lag_ms: freshness::lag_ms(wm, now_ms), now: now_ms, ..wire::Meta::default() },
        received: wire::ReceivedCounts {
            logs: ingest.received.logs,
            metrics: ingest.received.metrics,
            spans: ingest.received.spans,
        },
        own: ingest.own,
        stored: stored(shards),
        started: ingest.started_ms,
        last: last_received(&ingest.last_received),
        senders: senders(ingest.senders),
        rejected: rejected(ingest.rejected, shards),
        deduplicated: shards.iter().map(|shard| shard.deduplicated).sum(),
        shards: shards.iter().map(|status| shard(status, now_ms)).collect(),
        services: services.len(),
        services_without_version: without_version(&services),
        services_with_two_versions: services.values().filter(|versions| versions.len() > 1).count(),
        releases: newest(releases),
        endpoints: wire::EndpointNames {
            otlp_grpc: ingest.endpoints.otlp_grpc,
            otlp_http: ingest.endpoints.otlp_http,
            ui: ingest.endpoints.ui,
        },
        memory_bytes: ingest.memory_bytes.unwrap_or(memory_of_shards),
        unready: ingest.unready,
        degraded: ingest.degraded,
        problems: ingest.problems.into_iter().chain(left_out(shards, now_ms)).collect(),
        instances_guessed: ingest.instances_guessed || releases.iter().any(|row| row.instance_guessed),
    }
}

/// What is stored of each signal, also from before the process started.
fn stored(shards: &[ShardStatus]) -> wire::ReceivedCounts {
    let of = |signal: Signal| shards.iter().map(|shard| shard.stored_by_signal[signal as usize - 1]).sum();
    wire::ReceivedCounts { logs: of(Signal::Logs), metrics: of(Signal::Metrics), spans: of(Signal::Traces) }
}

fn last_received(found: &[(Signal, i64)]) -> wire::LastReceived {
    let of =
        |signal: Signal| found.iter().find(|(of, last_ms)| *of == signal && *last_ms > 0).map(|(_, last_ms)| *last_ms);
    wire::LastReceived { logs: of(Signal::Logs), metrics: of(Signal::Metrics), spans: of(Signal::Traces) }
}

fn senders(found: Vec<SeenSender>) -> Vec<wire::SeenSender> {
    let wired = |seen: SeenSender| wire::SeenSender { kind: seen.kind, received: seen.received, last: seen.last_ms };
    found.into_iter().map(wired).collect()
}

/// By service, environment and namespace.
type RunningVersions = BTreeMap<(Arc<str>, Arc<str>, Arc<str>), BTreeSet<Arc<str>>>;

/// The versions that run, by service. A service that has been silent counts with those that it had last: it has not lost
/// its versions by sending nothing.
fn services(releases: &[ReleaseRow], now_ms: i64) -> RunningVersions {
    let key = |row: &ReleaseRow| {
        let release = &row.release;
        (release.service.clone(), release.environment.clone(), release.namespace.clone())
    };
    let last_ms = |row: &ReleaseRow| row.last_seen_ns.div_euclid(1_000_000);
    let mut newest: BTreeMap<_, i64> = BTreeMap::new();
    for row in releases {
        let newest_ms = newest.entry(key(row)).or_insert(i64::MIN);
        *newest_ms = last_ms(row).max(*newest_ms);
    }
    let mut services = RunningVersions::new();
    for row in releases {
        let newest_ms = newest[&key(row)];
        let until_ms = if newest_ms >= now_ms - RUNNING_MS { now_ms } else { newest_ms };
        let versions = services.entry(key(row)).or_default();
        if last_ms(row) >= until_ms - RUNNING_MS {
            versions.insert(row.release.version.clone());
        }
    }
    services
}

/// Releases by when they were first seen. A shard has a row of its own for each.
fn newest(releases: &[ReleaseRow]) -> Vec<wire::SeenRelease> {
    let mut seen: BTreeMap<(&str, &str, &str), (i64, i64)> = BTreeMap::new();
    for row in releases {
        let key = (&*row.release.service, &*row.release.environment, &*row.release.version);
        let (first, last) = seen.entry(key).or_insert((row.first_seen_ns, row.last_seen_ns));
        (*first, *last) = (row.first_seen_ns.min(*first), row.last_seen_ns.max(*last));
    }
    let mut newest: Vec<_> = seen.into_iter().collect();
    newest.sort_by_key(|(_, (first, _))| std::cmp::Reverse(*first));
    let listed = newest.into_iter().take(RELEASES_MAX);
    listed
        .map(|((service, env, version), (_, last))| wire::SeenRelease {
            service: service.to_owned(),
            env: env.to_owned(),
            version: version.to_owned(),
            last: last.div_euclid(1_000_000),
        })
        .collect()
}

fn without_version(services: &RunningVersions) -> Vec<String> {
    let mut names: Vec<String> = services
        .iter()
        .filter(|(_, versions)| versions.iter().any(|version| &**version == UNVERSIONED))
        .map(|((service, _, _), _)| service.to_string())
        .collect();
    names.dedup();
    names.truncate(NAMES_MAX);
    names
}

/// What ingest refused and what shards could not fold, newest first.
fn rejected(ingest: Vec<Rejection>, shards: &[ShardStatus]) -> Vec<wire::Rejected> {
    let mut merged: BTreeMap<(String, Option<Signal>), wire::Rejected> = BTreeMap::new();
    let of_shards = shards.iter().flat_map(|shard| &shard.rejected).map(|rejected| Rejection {
        reason: rejected.reason.to_string(),
        signal: Some(rejected.signal),
        count: rejected.count,
        last_ms: rejected.last_ns.div_euclid(1_000_000),
        detail: rejected.detail.to_string(),
    });
    for one in ingest.into_iter().chain(of_shards) {
        let wired = wire::Rejected {
            reason: one.reason.clone(),
            count: one.count,
            signal: one.signal.map(signal_word),
            last: (one.last_ms > 0).then_some(one.last_ms),
            detail: one.detail,
        };
        match merged.entry((one.reason, one.signal)) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(wired);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let held = place.get_mut();
                let count = held.count + wired.count;
                if wired.last > held.last {
                    *held = wired;
                }
                held.count = count;
            }
        }
    }
    let mut all: Vec<wire::Rejected> = merged.into_values().collect();
    all.sort_by_key(|rejected| std::cmp::Reverse(rejected.last));
    all.truncate(REJECTED_MAX);
    all
}

/// What shards have stored within the last hour and not counted where it says, in words: newest first.
fn left_out(shards: &[ShardStatus], now_ms: i64) -> Vec<String> {
    let all = shards.iter().flat_map(|shard| &shard.left_out);
    let mut recent: Vec<_> =
        all.filter(|one| one.last_ns.div_euclid(1_000_000) > now_ms.saturating_sub(LEFT_OUT_SHOWN_MS)).collect();
    recent.sort_by_key(|one| std::cmp::Reverse(one.last_ns));
    let words = |one: &&Rejected| format!("{} ({} {} so far)", one.detail, one.count, signal_word(one.signal));
    recent.iter().map(words).collect()
}

/// Pages speak of spans where OTLP speaks of traces.
fn signal_word(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "spans",
        other => other.as_str(),
    }
}

fn shard(status: &ShardStatus, now_ms: i64) -> wire::Shard {
    let watermark = freshness::watermark_ms(std::slice::from_ref(status));
    wire::Shard {
        shard: status.shard,
        watermark,
        lag_ms: freshness::lag_ms(watermark, now_ms),
        next_offset: status.next_offset,
        behind: status.journal_end.saturating_sub(status.next_offset),
        stored: status.stored,
        late: status.late_records,
        series: status.series,
        ready: status.ready,
    }
}
