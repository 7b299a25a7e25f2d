//! Lines by pattern, version and minute of the last hour, for the pages. Bounded in bytes: the oldest minutes go first.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::pattern::Level;
use shipwake_model::window::NS_PER_S;
use shipwake_model::{ReleaseId, Resolution};
use shipwake_store::{PatternCell, PatternQuery, PatternVersion};

use super::{NS_PER_MS, ServiceKey};

/// How long minutes are kept, by event time.
const KEPT_NS: i64 = 3_600 * NS_PER_S;

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    count: u64,
    slots: u8,
}

type Minutes = HashMap<(Arc<ReleaseId>, u64, Level), Minute, ahash::RandomState>;

/// Lines of the last hour.
#[derive(Debug)]
pub(crate) struct Recent {
    minutes: BTreeMap<i64, Minutes>,
    bytes_max: usize,
    bytes: usize,
}

/// Lines to add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addition<'a> {
    /// Start of any window within the minute, ns.
    pub start_ns: i64,
    /// The release.
    pub release: &'a Arc<ReleaseId>,
    /// The pattern.
    pub id: u64,
    /// The level.
    pub level: Level,
    /// The replicate slot.
    pub slot: u8,
    /// Lines.
    pub count: u64,
}

impl Recent {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Recent { minutes: BTreeMap::new(), bytes_max, bytes: 0 }
    }

    pub(crate) fn add(&mut self, addition: &Addition<'_>) {
        let minutes = self.minutes.entry(Resolution::S60.window_start_ns(addition.start_ns)).or_default();
        let minute = minutes.entry((addition.release.clone(), addition.id, addition.level)).or_default();
        minute.count = minute.count.saturating_add(addition.count);
        minute.slots |= 1 << (addition.slot & 7);
    }

    /// Drops what is too old at `newest_ns`, or beyond the bound in bytes.
    pub(crate) fn prune(&mut self, newest_ns: i64) {
        self.minutes = self.minutes.split_off(&newest_ns.saturating_sub(KEPT_NS));
        self.bytes = self.minutes.values().map(bytes_of).sum();
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.minutes.pop_first() else { break };
            self.bytes -= bytes_of(&oldest);
        }
    }

    /// Bytes at the last [`Recent::prune`].
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The minutes that a query asks for. They say nothing of what is remembered of a version beside them.
    pub(crate) fn each(&self, query: &PatternQuery, mut found: impl FnMut(ServiceKey, u64, PatternVersion)) {
        let asks = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let range = query.from_ms.saturating_mul(NS_PER_MS)..query.to_ms.saturating_mul(NS_PER_MS);
        let mut all: HashMap<(&Arc<ReleaseId>, u64), PatternVersion, ahash::RandomState> = HashMap::default();
        for (start_ns, minutes) in self.minutes.range(range) {
            let t_ms = start_ns.div_euclid(NS_PER_MS);
            for ((release, id, level), minute) in minutes {
                if !asks(&query.service, &release.service) || !asks(&query.environment, &release.environment) {
                    continue;
                }
                let version = all.entry((release, *id)).or_insert_with(|| PatternVersion {
                    version: release.version.clone(),
                    level: *level,
                    first_seen_ns: i64::MAX,
                    last_seen_ns: i64::MIN,
                    count: 0,
                    cells: Vec::new(),
                });
                version.level = version.level.max(*level);
                version.cells.push(PatternCell { t_ms, count: minute.count, slots: minute.slots });
            }
        }
        for ((release, id), version) in all {
            found([release.service.clone(), release.namespace.clone(), release.environment.clone()], id, version);
        }
    }
}

fn bytes_of(minutes: &Minutes) -> usize {
    minutes.capacity() * (size_of::<((Arc<ReleaseId>, u64, Level), Minute)>() + 1)
}
