//! The wire form of the pages' answers, in one place. Times are epoch milliseconds, durations seconds, ratios 0 to 1;
//! `null` means "no data" and is never the same as 0. Names are a promise: fields are added, never renamed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::incomplete::IncompleteShard;

/// What every data answer carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Meta {
    /// Everything up to this event time has been folded.
    pub wm: Option<i64>,
    pub lag_ms: Option<i64>,
    pub now: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// Something is missing; the warnings say what.
    pub partial: bool,
    pub warnings: Vec<String>,
    /// Shards whose newest records are missing, because the process that has them does not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<IncompleteShard>,
    pub query_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envs: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Overview {
    pub meta: Meta,
    pub summary: Summary,
    pub services: Vec<OverviewService>,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub services: usize,
    pub rollouts: usize,
    pub steady: usize,
    pub unversioned: usize,
    /// Services whose candidate differs notably.
    pub differing: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OverviewService {
    pub service: String,
    pub env: String,
    pub namespace: String,
    /// `steady`, `rollout`, `unversioned`.
    pub state: &'static str,
    pub source: Option<&'static str>,
    /// Durations are estimates within the buckets of the app's own histograms.
    pub approximate: bool,
    pub headline: Option<String>,
    pub lanes: Vec<OverviewLane>,
    pub red: Red,
    /// How a business figure of the candidate differs from the baseline's; null where that cannot be said.
    pub kpi: Option<OverviewKpi>,
    pub spark: Spark,
    /// Log patterns of the candidate that no other version had.
    pub new_patterns: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OverviewKpi {
    pub key: String,
    pub title: String,
    /// Relative: -0.06 is six percent less.
    pub delta: f64,
    /// `higher`, `lower`; null for an event that nobody declared.
    pub better: Option<&'static str>,
    /// Whether it moved beyond chance.
    pub moved: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OverviewLane {
    pub version: String,
    pub role: &'static str,
    pub share: Option<f64>,
    pub instances: Option<u32>,
    /// When the release was first seen.
    pub since: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Red {
    pub rps: Option<f64>,
    pub err: BothSides,
    pub p99_s: BothSides,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct BothSides {
    pub baseline: Option<f64>,
    pub candidate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spark {
    pub t0: i64,
    pub step_s: i64,
    pub err: Vec<Option<f64>>,
    pub rps: Vec<Option<f64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Event {
    pub t: i64,
    /// Seen in the traffic: `release`, `share`, `rollback`. Said by somebody: `deploy`, `rollback`, `promote`, `weight`, `toggle`,
    /// `freeze`, `note`; `verdict`.
    pub kind: &'static str,
    pub service: String,
    pub env: String,
    pub version: String,
    pub share: Option<f64>,
    pub title: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Deploys {
    pub meta: DeploysMeta,
    pub deploys: Vec<Deploy>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DeploysMeta {
    pub as_of: i64,
    /// Something is missing: what these shards know.
    pub partial: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<IncompleteShard>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Deploy {
    pub service: String,
    pub namespace: String,
    pub env: String,
    pub version: String,
    pub previous: Option<String>,
    /// Null where it was only announced.
    pub first_seen: Option<i64>,
    pub last_seen: Option<i64>,
    /// Its first marker.
    pub announced: Option<i64>,
    pub by: Option<String>,
    pub source: Option<String>,
    pub url: Option<String>,
    pub commit: Option<String>,
    pub is_rollback: bool,
    /// `live`, `live_beside_others`, `replaced`, `rolled_back`, `gone_silent`, `no_traffic`, `announced_only`.
    pub outcome: &'static str,
    /// The last word.
    pub verdict: Option<DeployVerdict>,
    /// Newest first.
    pub markers: Vec<DeployMarker>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DeployVerdict {
    pub state: String,
    pub headline: String,
    pub at: i64,
}

/// Texts are empty where nothing was said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DeployMarker {
    pub id: String,
    pub kind: &'static str,
    pub at: i64,
    pub until: Option<i64>,
    pub weight: Option<f64>,
    pub role: Option<&'static str>,
    pub status: Option<&'static str>,
    pub toggle: String,
    pub by: String,
    pub source: String,
    pub text: String,
    pub url: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ServiceRelease {
    pub meta: Meta,
    pub service: String,
    pub env: String,
    pub namespaces: Vec<String>,
    pub pair: Pair,
    pub headline: String,
    pub differences: Vec<Difference>,
    pub source: Option<&'static str>,
    /// Durations are estimates within the buckets of the app's own histograms.
    pub approximate: bool,
    /// Some traffic comes without a version.
    pub unversioned: bool,
    pub t: Vec<i64>,
    pub lanes: Vec<Lane>,
    pub routes: Vec<Route>,
    /// Log patterns of the candidate against the baseline: new ones first, then escalated, then gone.
    pub patterns: Vec<Pattern>,
    /// Since when they were compared; null when there is nothing to compare.
    pub patterns_since: Option<i64>,
    /// What the columns `kpi` of the lanes are, in the order to show them.
    pub kpis: Vec<Kpi>,
    /// Of the last day; empty where nobody sends ids of users or sessions.
    pub usage: Vec<UsageVersion>,
    pub toggles: Vec<Toggle>,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Kpi {
    pub key: String,
    pub title: String,
    pub unit: String,
    /// `count`, `sum`, `mean`.
    pub value: &'static str,
    /// `request` (a thousand of them), `session`, `user`, `none` (a second, for counts and sums).
    pub per: &'static str,
    /// `higher`, `lower`; null for an event that nobody declared.
    pub better: Option<&'static str>,
    pub declared: bool,
    /// Over the whole range.
    pub versions: Vec<KpiVersion>,
    /// Null where records have no values.
    pub values: Option<KpiValues>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct KpiVersion {
    pub version: String,
    pub role: &'static str,
    pub value: Option<f64>,
    /// Records that it is made of.
    pub n: u64,
    /// Of the single values, where records have values, over the whole range.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

/// How the single values of a KPI are distributed. Bar `i` counts values from `low[i]` to `high[i]`; bars lie side by side
/// and get wider with the values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct KpiValues {
    pub low: Vec<f64>,
    pub high: Vec<f64>,
    pub versions: Vec<KpiValuesOf>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct KpiValuesOf {
    pub version: String,
    pub role: &'static str,
    /// How many values.
    pub n: u64,
    /// Part of them in each bar.
    pub part: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct UsageVersion {
    pub version: String,
    pub role: &'static str,
    pub users: u64,
    pub sessions: u64,
    pub crashed: u64,
    /// Sessions that met an error, crashed ones included.
    pub errored: u64,
    pub crash_free: Option<f64>,
    /// Part of all sessions of the service.
    pub adoption: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Toggle {
    pub key: String,
    pub hot: bool,
    /// When the set of variants last changed.
    pub changed: Option<i64>,
    pub variants: Vec<ToggleVariant>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ToggleVariant {
    pub variant: String,
    /// Of the evaluations within the last hour.
    pub share: Option<f64>,
    /// Since it was first seen.
    pub evaluations: u64,
    /// In the range; null for a toggle that has no windows, because it is not hot.
    pub range_evaluations: Option<u64>,
    /// Of the evaluations in the range.
    pub range_share: Option<f64>,
    /// Requests in the range whose spans tell of the variant, and how many of them failed.
    pub requests: u64,
    pub err: Option<f64>,
    pub first_seen: Option<i64>,
    pub last_seen: Option<i64>,
    pub versions: Vec<ToggleShare>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ToggleShare {
    pub version: String,
    /// Of the version's evaluations within the last hour.
    pub share: Option<f64>,
    /// Of the version's evaluations in the range.
    pub range_share: Option<f64>,
}

/// One toggle of a service: its variants beside each other as if they were versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ToggleDetail {
    pub meta: Meta,
    pub service: String,
    pub env: String,
    pub key: String,
    pub hot: bool,
    pub changed: Option<i64>,
    /// Only requests and evaluations of this version are shown; null for all.
    pub version: Option<String>,
    /// All that evaluate it.
    pub versions: Vec<String>,
    /// Variants in place of versions.
    pub pair: Pair,
    pub headline: String,
    pub differences: Vec<Difference>,
    /// What the lanes count: `toggled_requests`, or `evaluations` where requests do not tell of the variant.
    pub source: Option<&'static str>,
    pub t: Vec<i64>,
    /// A lane is a variant.
    pub lanes: Vec<Lane>,
    pub variants: Vec<ToggleVariant>,
    /// Every variant with every version.
    pub cells: Vec<ToggleCell>,
    /// Why the variants were served.
    pub reasons: Vec<ToggleReason>,
}

/// A variant with a version, in the range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ToggleCell {
    pub variant: String,
    pub version: String,
    pub evaluations: u64,
    pub requests: u64,
    pub err: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ToggleReason {
    pub variant: String,
    /// Lower case, as OpenFeature names it; empty where the sender gave none.
    pub reason: String,
    pub evaluations: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub candidate: Option<String>,
    pub baseline: Option<String>,
    /// `canary` (side by side), `single` (before and after), or null without a candidate.
    pub strategy: Option<&'static str>,
    /// The comparison is with the past, which is weaker than side by side.
    pub before_after: bool,
    /// When the candidate was first seen.
    pub since: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// `error_ratio`, `p50`, `p95`, `p99`, `throughput`, `kpi`.
    pub metric: &'static str,
    /// Of a KPI its key and title; its numbers are per 1 000 requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub baseline: Option<f64>,
    pub candidate: Option<f64>,
    pub since: Option<i64>,
    /// It may have begun before `since`, with which the range begins.
    pub since_before: bool,
    pub text: String,
}

/// One version. The columns are as long as `t` of the answer (or of the delta).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Lane {
    pub version: String,
    /// `baseline`, `candidate`, `other`, `retired`, `no_traffic`.
    pub role: &'static str,
    pub instances: Option<u32>,
    pub first_seen: Option<i64>,
    pub last_seen: Option<i64>,
    /// Requests in the range.
    pub requests: u64,
    #[serde(flatten)]
    pub columns: Columns,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Columns {
    pub share: Vec<Option<f64>>,
    pub rps: Vec<Option<f64>>,
    pub err: Vec<Option<f64>>,
    pub p50: Vec<Option<f64>>,
    pub p95: Vec<Option<f64>>,
    pub p99: Vec<Option<f64>>,
    /// Requests of the window.
    pub n: Vec<Option<u64>>,
    /// KPIs by their keys.
    pub kpi: BTreeMap<String, Vec<Option<f64>>>,
}

impl Columns {
    /// The columns from a window on.
    pub fn tail(&self, window: usize) -> Columns {
        fn rest<T: Clone>(column: &[T], window: usize) -> Vec<T> {
            column.get(window..).unwrap_or_default().to_vec()
        }
        Columns {
            share: rest(&self.share, window),
            rps: rest(&self.rps, window),
            err: rest(&self.err, window),
            p50: rest(&self.p50, window),
            p95: rest(&self.p95, window),
            p99: rest(&self.p99, window),
            n: rest(&self.n, window),
            kpi: self.kpi.iter().map(|(key, column)| (key.clone(), rest(column, window))).collect(),
        }
    }

    /// Whether a window here holds the same as a window there.
    pub fn same_at(&self, window: usize, other: &Columns, other_window: usize) -> bool {
        self.share.get(window) == other.share.get(other_window)
            && self.rps.get(window) == other.rps.get(other_window)
            && self.err.get(window) == other.err.get(other_window)
            && self.p50.get(window) == other.p50.get(other_window)
            && self.p95.get(window) == other.p95.get(other_window)
            && self.p99.get(window) == other.p99.get(other_window)
            && self.n.get(window) == other.n.get(other_window)
            && self.kpi.len() == other.kpi.len()
            && self.kpi.iter().all(|(key, column)| {
                other.kpi.get(key).is_some_and(|theirs| column.get(window) == theirs.get(other_window))
            })
    }
}

/// A log pattern that the two versions do not have alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pattern {
    /// Of the shape that was seen first, which stands for all of them.
    pub id: String,
    /// Its shapes, as in `logs.pattern_id`; the first ones of very many.
    pub ids: Vec<String>,
    /// `new`, `escalated`, `gone`.
    pub class: &'static str,
    pub level: &'static str,
    /// `<*>` stands for what varies.
    pub text: String,
    /// Lines in the time that was compared.
    pub count: u64,
    pub count_base: u64,
    /// Lines a second.
    pub rate_cand: f64,
    pub rate_base: f64,
    /// How often the candidate has it for each time the baseline has, per request; null where the baseline has none.
    pub ratio: Option<f64>,
    /// The interval of 95 %; `ratio_hi` is null where there is no bound.
    pub ratio_lo: f64,
    pub ratio_hi: Option<f64>,
    /// First line in the candidate; of what has gone the last one in the baseline.
    pub first: i64,
    pub sample: String,
}

/// One route, its versions beside each other over the whole range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Route {
    pub route: String,
    pub requests: u64,
    pub versions: Vec<RouteVersion>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RouteVersion {
    pub version: String,
    pub role: &'static str,
    pub requests: u64,
    pub err: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pipeline {
    pub meta: Meta,
    /// Since `started`.
    pub received: ReceivedCounts,
    /// Records that Shipwake made itself since then: in `stored.logs`, and not in `received.logs`.
    pub own: u64,
    /// Ever: a restart forgets nothing.
    pub stored: ReceivedCounts,
    /// When the process started.
    pub started: i64,
    /// The last request of each signal since then.
    pub last: LastReceived,
    /// What has sent since then, as far as it said so.
    pub senders: Vec<SeenSender>,
    pub rejected: Vec<Rejected>,
    pub deduplicated: u64,
    pub shards: Vec<Shard>,
    pub services: usize,
    pub services_without_version: Vec<String>,
    pub services_with_two_versions: usize,
    pub releases: Vec<SeenRelease>,
    pub endpoints: EndpointNames,
    pub memory_bytes: u64,
    pub instances_guessed: bool,
    /// Data is not taken, or not kept, as it should be: `/readyz` says so too.
    pub unready: bool,
    /// Something of what was stored is damaged or lost.
    pub degraded: bool,
    /// What keeps data from being taken or kept at the moment, and what is damaged, in words.
    pub problems: Vec<String>,
}

/// A release that has sent anything at all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SeenRelease {
    pub service: String,
    pub env: String,
    pub version: String,
    /// Event time of its newest record.
    pub last: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LastReceived {
    pub logs: Option<i64>,
    pub metrics: Option<i64>,
    pub spans: Option<i64>,
}

/// A kind of sender: `otlp_grpc`, `otlp_http`, `collector`, `curl`, `sdk_…`, `lines`, `pipe`, `nginx`, `httpd`, `haproxy`,
/// `varnish`, `syslog`, `events`, `remote_write`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SeenSender {
    pub kind: String,
    pub received: u64,
    pub last: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ReceivedCounts {
    pub logs: u64,
    pub metrics: u64,
    pub spans: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rejected {
    pub reason: String,
    pub count: u64,
    /// `logs`, `metrics`, `spans`; null when the request could not be read.
    pub signal: Option<&'static str>,
    pub last: Option<i64>,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Shard {
    pub shard: u32,
    pub watermark: Option<i64>,
    pub lag_ms: Option<i64>,
    pub next_offset: u64,
    /// Journal records that are not folded yet.
    pub behind: u64,
    pub stored: u64,
    pub late: u64,
    pub series: u64,
    pub ready: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct EndpointNames {
    pub otlp_grpc: String,
    pub otlp_http: String,
    pub ui: String,
}
