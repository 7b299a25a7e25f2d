//! The log patterns of services as the pages read them, kept for a moment.
//!
//! They are grouped then, which is most of the work of a comparison. A shard puts them together under the lock that folding needs, which takes it a millisecond or so; patterns change slower
//! than pages are computed, and several pages may be about one service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shipwake_store::{PatternQuery, Store};

use crate::pages::range::RECENT_KEPT_MS;
use crate::release::patterns::Shapes;
use crate::time::{MINUTE_MS, SECOND_MS};

/// How long an answer is good for.
const KEPT_MS: i64 = 2 * SECOND_MS;
/// Services that are kept.
const SERVICES_MAX: usize = 256;

/// Service and environment.
type Key = (String, String);
/// When patterns were asked for, and what was answered.
type Kept = HashMap<Key, (i64, Arc<Shapes>)>;

/// Patterns by service, and when they were asked for.
#[derive(Debug, Default)]
pub(crate) struct KeptPatterns {
    kept: Mutex<Kept>,
}

impl KeptPatterns {
    /// The patterns of a service with the minutes of the last hour.
    pub fn of(&self, store: &Store, service: &str, environment: &str, now_ms: i64) -> Arc<Shapes> {
        let key = (service.to_owned(), environment.to_owned());
        let fresh = |asked_ms: i64| (0..KEPT_MS).contains(&(now_ms - asked_ms));
        if let Some((asked_ms, shapes)) = self.lock().get(&key)
            && fresh(*asked_ms)
        {
            return shapes.clone();
        }
        let asked = Instant::now();
        let shapes = Arc::new(Shapes::of(store.patterns(&PatternQuery {
            service: Some(key.0.clone()),
            environment: Some(key.1.clone()),
            from_ms: now_ms - RECENT_KEPT_MS,
            // Clocks that run a little ahead.
            to_ms: now_ms + MINUTE_MS,
        })));
        if !store.incomplete(asked).is_empty() {
            // What lacks something is good for one answer, which says so.
            return shapes;
        }
        let mut kept = self.lock();
        if kept.len() >= SERVICES_MAX {
            kept.retain(|_, (asked_ms, _)| fresh(*asked_ms));
        }
        if kept.len() < SERVICES_MAX {
            kept.insert(key, (now_ms, shapes.clone()));
        }
        shapes
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Only whole answers are put in.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
