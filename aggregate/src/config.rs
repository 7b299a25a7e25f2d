//! What the aggregator can be told. The defaults hold 1.2 TB a day on two cores in a few hundred MB.

use std::sync::Arc;
use std::time::Duration;

use shipwake_model::Kpi;

use crate::clock::Clock;

/// Configuration of the aggregator. Bounds are per shard.
#[derive(Clone, Debug)]
pub struct AggregateConfig {
    /// Longest time between two commits while something changes. Default 60 s; shorter means less to replay after a
    /// crash and more, smaller segments.
    pub commit_interval: Duration,
    /// Hot rows and cells that make a commit, in bytes. Default 24 MiB.
    pub commit_bytes: usize,
    /// Hot bytes at which the shard stops reading the journal until a commit has succeeded. Default 64 MiB: under overload
    /// every shard holds as much.
    pub hot_bytes_max: usize,
    /// Bytes read from the journal at once. Default 4 MiB.
    pub read_bytes: usize,
    /// Limits of what telemetry can make the shard remember.
    pub limits: Limits,
    /// How long after its end a window still counts as open, on top of the watermark's skew. Default 60 s.
    pub lateness: Duration,
    /// KPIs to fold besides every event by its name. Default none. They apply to records that are folded from now on.
    pub kpis: Arc<[Kpi]>,
    /// The time of day. Default: the system's.
    pub clock: Clock,
}

/// How much telemetry may make a shard remember. Beyond each bound records fold into an overflow that keeps the sums
/// right, and a counter says so.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Series of windows. Default 200 000.
    pub series: usize,
    /// Series of one metric. Default 20 000.
    pub series_per_metric: usize,
    /// Running totals that differences are made from. Default 200 000.
    pub streams: usize,
    /// Running totals of one release. Default 100 000.
    pub streams_per_release: usize,
    /// Services, with their namespace and environment. Default 2 000.
    pub services: usize,
    /// Versions of one service that are live or recent. Default 200.
    pub releases_per_service: usize,
    /// Routes of one service. Default 200.
    pub routes_per_service: usize,
    /// Request hashes that are remembered for ten minutes. Default 262 144.
    pub request_hashes: usize,
    /// Bytes of merged recent cells for the pages. Default 24 MiB.
    pub recent_bytes: usize,
    /// Log patterns of one service. Default 1 000.
    pub patterns_per_service: usize,
    /// Log patterns of all services. Default 16 384, which take some 10 MB.
    pub patterns: usize,
    /// Bytes of recent lines by pattern and minute for the pages. Default 8 MiB.
    pub recent_pattern_bytes: usize,
    /// The same for KPIs, usage and toggles. Default 12 MiB.
    pub measures_bytes: usize,
    /// Names of events of one service, each with its units. Default 100.
    pub event_names_per_service: usize,
    /// Toggles of one service. Default 200.
    pub toggles_per_service: usize,
    /// Variants with their versions, over all toggles. Default 50 000.
    pub toggle_entries: usize,
    /// Markers of one service in one environment, and as many changes of verdicts. Default 500.
    pub markers_per_service: usize,
    /// Bytes of markers. Default 4 MiB, which is some 8 000 of them.
    pub marker_bytes: usize,
    /// Bytes of changes of verdicts with what they rest on. Default 4 MiB.
    pub verdict_bytes: usize,
    /// Hot toggles of one service with their variants and reasons. Default 1 000.
    pub toggle_names_per_service: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            series: 200_000,
            series_per_metric: 20_000,
            streams: 200_000,
            streams_per_release: 100_000,
            services: 2_000,
            releases_per_service: 200,
            routes_per_service: 200,
            request_hashes: 1 << 18,
            recent_bytes: 24 << 20,
            patterns_per_service: 1_000,
            patterns: 16_384,
            recent_pattern_bytes: 8 << 20,
            measures_bytes: 12 << 20,
            event_names_per_service: 100,
            toggles_per_service: 200,
            toggle_entries: 50_000,
            toggle_names_per_service: 1_000,
            markers_per_service: 500,
            marker_bytes: 4 << 20,
            verdict_bytes: 4 << 20,
        }
    }
}

impl Default for AggregateConfig {
    fn default() -> Self {
        AggregateConfig {
            commit_interval: Duration::from_secs(60),
            commit_bytes: 24 << 20,
            hot_bytes_max: 64 << 20,
            read_bytes: 4 << 20,
            limits: Limits::default(),
            lateness: Duration::from_secs(60),
            kpis: Arc::default(),
            clock: Clock::default(),
        }
    }
}
