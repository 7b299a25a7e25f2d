//! The budgets of questions, with defaults.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shipwake_model::Kpi;

/// The present in milliseconds since the epoch. Tests pass their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Budgets and bounds of the query stage.
#[derive(Clone)]
pub struct QueryConfig {
    /// Bytes one query may use. Default 256 MiB. Lower it on a small machine.
    pub memory_bytes_per_query: usize,
    /// Bytes all queries together may use. Default 256 MiB: part of the process budget of 512 MiB, and rarely used.
    pub memory_bytes: usize,
    /// Time a query gets when it does not say. Default 30 s.
    pub timeout: Duration,
    /// Time a query may ask for with `timeout_ms`. Default 10 min.
    pub timeout_max: Duration,
    /// Rows a query gets when it does not say. Default 10 000.
    pub rows: usize,
    /// Rows a query may ask for with `limit`. Default 1 000 000.
    pub rows_max: usize,
    /// Bytes of an answer before it is cut and marked `truncated`. Default 16 MiB of Arrow data; as JSON it is about three
    /// times as much.
    pub result_bytes_max: usize,
    /// Bytes of a query text. Default 64 KiB.
    pub query_bytes_max: usize,
    /// Queries that run at once. Default 4.
    pub running_max: usize,
    /// Queries that wait for a place. Default 16; more are told to come back.
    pub waiting_max: usize,
    /// Threads that run queries, and so parallel parts of one query. Default: half of the cores, so that taking in
    /// records is never starved.
    pub threads: usize,
    /// Base URLs of other query nodes, `http://host:port`; a name may stand for several addresses, and our own may be among
    /// them. Default none: every statement is computed where it is asked.
    pub peers: Vec<String>,
    /// What query nodes show each other. Default none: then their port has to be in a network of their own.
    pub cluster_token: Option<String>,
    /// Bytes of segments from which on a statement is shared out among the peers. Default 32 MiB: reading less takes about
    /// as long as asking.
    pub spread_bytes_min: u64,
    /// Origins beside the server's own that a browser page may open the live socket from, like `http://localhost:5173`.
    /// Default none. Add the address under which a proxy serves the pages when it changes the `Host` header.
    pub allowed_origins: Vec<String>,
    /// What declared KPIs mean. Default none.
    pub kpis: Arc<[Kpi]>,
    /// The present. Default: the system's clock.
    pub clock: Clock,
}

impl Default for QueryConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            memory_bytes_per_query: 256 << 20,
            memory_bytes: 256 << 20,
            timeout: Duration::from_secs(30),
            timeout_max: Duration::from_secs(600),
            rows: 10_000,
            rows_max: 1_000_000,
            result_bytes_max: 16 << 20,
            query_bytes_max: 64 << 10,
            running_max: 4,
            waiting_max: 16,
            threads: (cores / 2).max(1),
            peers: Vec::new(),
            cluster_token: None,
            spread_bytes_min: 32 << 20,
            allowed_origins: Vec::new(),
            kpis: Arc::default(),
            clock: Arc::new(system_clock_ms),
        }
    }
}

fn system_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
