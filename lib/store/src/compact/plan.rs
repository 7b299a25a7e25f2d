//! What to compact next. Pure: from the live segments of a shard, the time and the configuration.
//!
//! Segments are merged within their window only. While a window fills, segments are merged when there are many; when it is over,
//! what it has becomes one segment, or several of full size, with the full-text index. What comes later waits until it is worth
//! rewriting what is there. Windows of a day that is over, if they are small, become one for the day: a quiet system would
//! otherwise have thousands of files.

use std::collections::{BTreeMap, HashSet};

use shipwake_model::window::NS_PER_S;

use crate::encode::Beside;
use crate::{Retention, SegmentFile, SegmentId, Table, Window};

/// Segments merged at a time: each is read at the same time as the others.
const INPUTS_MAX: usize = 16;
/// How long after the end of a window what comes for it is counted as being in time.
const SETTLE_NS: i64 = 300 * NS_PER_S;
/// Segments of a day are merged when the day has been over for so long.
const DAY_SETTLE_NS: i64 = 3 * 3600 * NS_PER_S;
const DAY_NS: i64 = 24 * 3600 * NS_PER_S;
/// Segments that are of several windows are merged with those committed in the same span, because they are kept as long as the
/// newest of them.
const MIXED_SPAN_NS: i64 = 6 * 3600 * NS_PER_S;
/// A segment is written again together with smaller ones when they are at least this fraction of it, or have waited for long.
const WORTH_A_FRACTION: u64 = 4;
const WAIT_MAX_NS: i64 = 3600 * NS_PER_S;

/// Segments that become one.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) table: Table,
    pub(crate) inputs: Vec<SegmentFile>,
    /// The window of what comes out; `None` for rows of several windows.
    pub(crate) window: Option<Window>,
    pub(crate) level: u8,
    pub(crate) beside: Beside,
    /// In one word, for metrics.
    pub(crate) kind: Kind,
}

/// Why a job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Small segments become a large one.
    Merge,
    /// A segment gets its index.
    Index,
    /// Rows whose time is over are left out.
    Retain,
    /// What lies beside a segment is made again.
    Repair,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Merge => "merge",
            Kind::Index => "index",
            Kind::Retain => "retain",
            Kind::Repair => "repair",
        }
    }
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// The live segments of the shard.
    pub(crate) files: &'a [SegmentFile],
    /// Those that are to be replaced already, or cannot be read.
    pub(crate) left_alone: &'a HashSet<SegmentId>,
    /// Those whose blooms or index cannot be used.
    pub(crate) damaged: &'a HashSet<SegmentId>,
    pub(crate) now_ns: i64,
    /// Size that segments grow to.
    pub(crate) bytes_max: u64,
    /// Whether logs get a full-text index.
    pub(crate) with_index: bool,
    pub(crate) retention: &'a Retention,
}

/// The next job; `None` when there is nothing to do.
pub(crate) fn next(situation: &Situation<'_>) -> Option<Job> {
    let files = || situation.files.iter().filter(|file| !situation.left_alone.contains(&file.id));
    if let Some(file) = files().find(|file| situation.damaged.contains(&file.id)) {
        return Some(Job::alone(file, Kind::Repair));
    }
    let mut places: BTreeMap<Place, Vec<&SegmentFile>> = BTreeMap::new();
    for file in files().filter(|file| file.table.window_ns().is_some()) {
        places.entry(Place::of(file, situation)).or_default().push(file);
    }
    let merge = places.iter().find_map(|(place, files)| place.job(files, situation));
    merge.or_else(|| {
        let due = |file: &&SegmentFile| situation.retention.is_thinning_due(file, situation.now_ns);
        files().find(due).map(|file| Job::alone(file, Kind::Retain))
    })
}

/// Segments that may be merged with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    table: Table,
    window: Window,
    /// Rows are of several windows; the window above is that of the commit.
    is_mixed: bool,
}

impl Place {
    fn of(file: &SegmentFile, situation: &Situation<'_>) -> Self {
        let table = file.table;
        let Some(window) = file.window else {
            return Self { table, window: Window::of(file.committed_ns, MIXED_SPAN_NS), is_mixed: true };
        };
        let day = Window::of(window.start_ns, DAY_NS);
        let is_day_over = situation.now_ns.saturating_sub(day.end_ns()) >= DAY_SETTLE_NS;
        let is_full = file.bytes >= situation.bytes_max / 2;
        Self { table, window: if is_day_over && !is_full { day } else { window }, is_mixed: false }
    }

    fn job(&self, files: &[&SegmentFile], situation: &Situation<'_>) -> Option<Job> {
        let is_full = |file: &SegmentFile| file.bytes >= situation.bytes_max / 2;
        let is_over = situation.now_ns.saturating_sub(self.window.end_ns()) >= SETTLE_NS;
        let mut small: Vec<&SegmentFile> = files.iter().copied().filter(|file| !is_full(file)).collect();
        small.sort_by_key(|file| (file.bytes, file.id));
        let chosen = if is_over { worth_merging(&small, situation) } else { many(&small, situation) };
        if chosen.len() > 1 {
            return Some(self.merge(&chosen, small.len() == chosen.len() && is_over, situation));
        }
        let wants_index = |file: &&SegmentFile| {
            let lacks = file.table == Table::Logs && file.index.is_none() && situation.with_index;
            lacks && (is_full(file) || is_over && small.len() == 1)
        };
        files.iter().copied().find(wants_index).map(|file| Job { level: 2, ..Job::alone(file, Kind::Index) })
    }

    fn merge(&self, chosen: &[&SegmentFile], is_last: bool, situation: &Situation<'_>) -> Job {
        let bytes: u64 = chosen.iter().map(|file| file.bytes).sum();
        // What will be merged again soon gets no index yet: it would be made twice.
        let is_done = is_last || bytes >= situation.bytes_max / 2;
        Job {
            table: self.table,
            inputs: chosen.iter().map(|file| (*file).clone()).collect(),
            window: (!self.is_mixed).then_some(self.window),
            level: if is_done { 2 } else { 1 },
            beside: if is_done && situation.with_index { Beside::BloomsAndIndex } else { Beside::Blooms },
            kind: Kind::Merge,
        }
    }
}

impl Job {
    /// A segment written again by itself, with what it had beside it.
    fn alone(file: &SegmentFile, kind: Kind) -> Self {
        let has_index = kind == Kind::Index || file.index.is_some();
        Self {
            table: file.table,
            inputs: vec![file.clone()],
            window: file.window,
            level: file.level,
            beside: if has_index { Beside::BloomsAndIndex } else { Beside::Blooms },
            kind,
        }
    }
}

/// The smallest segments of a window that is filling, once there are many or they make a large one.
fn many<'a>(small: &[&'a SegmentFile], situation: &Situation<'_>) -> Vec<&'a SegmentFile> {
    let bytes: u64 = small.iter().map(|file| file.bytes).sum();
    if small.len() < INPUTS_MAX && bytes < situation.bytes_max {
        return Vec::new();
    }
    take(small, situation.bytes_max)
}

/// The segments of a window that is over which are worth writing again: all, unless that would be a large one for the sake of a few
/// late rows.
fn worth_merging<'a>(small: &[&'a SegmentFile], situation: &Situation<'_>) -> Vec<&'a SegmentFile> {
    let chosen = take(small, situation.bytes_max);
    let newest_ns = chosen.iter().map(|file| file.committed_ns).max().unwrap_or(i64::MAX);
    let is_first = chosen.iter().all(|file| file.level < 2);
    if is_first || situation.now_ns.saturating_sub(newest_ns) >= WAIT_MAX_NS || chosen.len() == INPUTS_MAX {
        return chosen;
    }
    let (mut bytes, mut worth) = (0, 0);
    for (number, file) in chosen.iter().enumerate() {
        if bytes * WORTH_A_FRACTION >= file.bytes && number > 0 {
            worth = number + 1;
        }
        bytes += file.bytes;
    }
    chosen[..worth].to_vec()
}

/// The first of the segments that together are no more than one of full size, and a quarter.
fn take<'a>(small: &[&'a SegmentFile], bytes_max: u64) -> Vec<&'a SegmentFile> {
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    for file in small.iter().take(INPUTS_MAX) {
        bytes += file.bytes;
        if bytes > bytes_max + bytes_max / 4 {
            break;
        }
        chosen.push(*file);
    }
    chosen
}

#[cfg(test)]
mod tests;
