//! Dropped segments wait here until nobody can be reading them.
//!
//! A segment is deleted when its grace period is over and no clone of its [`SegmentFile`] is left: a query that keeps
//! its snapshot never loses a file, however long it runs. What is still waiting at the end is an orphan at the next
//! open.

use crate::SegmentFile;

/// The dropped segments of a shard.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    waiting: Vec<(SegmentFile, i64)>,
}

impl Reaper {
    /// Takes in what was dropped at `now_ns` and gives the paths whose time has come.
    pub(crate) fn due(&mut self, dropped: Vec<SegmentFile>, now_ns: i64, grace_ns: i64) -> Vec<String> {
        self.waiting.extend(dropped.into_iter().map(|file| (file, now_ns)));
        let mut due = Vec::new();
        self.waiting.retain(|(file, dropped_ns)| {
            let over = now_ns.saturating_sub(*dropped_ns) >= grace_ns && !file.is_pinned();
            if over {
                due.extend(file.paths().map(|path| path.to_string()));
            }
            !over
        });
        due
    }
}
