//! The bounds of asking other processes, with defaults.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The present in milliseconds since the epoch. Tests pass their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Configuration of a reader.
#[derive(Clone)]
pub struct RemoteConfig {
    /// The base URL of this process: shards whose manifests name it are its own and not asked for. Default none.
    pub own: Option<Arc<str>>,
    /// Whom to ask about shards whose manifests name nobody. Default none: such shards have no owner that could be asked.
    pub owner_if_unnamed: Option<Arc<str>>,
    /// Time that a question gets, and each piece of rows. Default 2 s.
    pub deadline: Duration,
    /// Time between two looks at the manifests of a shard. Default 1 s: one request of the store for each shard.
    pub follow_interval: Duration,
    /// Time between two questions for the state of all shards. Default 0.5 s.
    pub status_interval: Duration,
    /// Bytes of hot rows that are kept, so that only new ones are fetched. Default 256 MiB; what does not fit is fetched anew by
    /// every question.
    pub mirror_bytes: usize,
    /// The present. Default: the system's clock.
    pub clock: Clock,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            own: None,
            owner_if_unnamed: None,
            deadline: Duration::from_secs(2),
            follow_interval: Duration::from_secs(1),
            status_interval: Duration::from_millis(500),
            mirror_bytes: 256 << 20,
            clock: Arc::new(system_clock_ms),
        }
    }
}

fn system_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
