//! The backlog: what the journal has taken and nobody has folded yet. The journal is faster than its reader, so admission
//! by bytes in flight would let an overload in whole, and what is shown would fall behind for as long as it lasts.
//!
//! A partition may hold what its reader folds in a given time, by the pace that was measured while it was busy. Beyond that
//! requests wait at the door, and come in as fast as the reader goes on. Pure: offsets, bytes and time are arguments.
//! Why it is so: `docs/decisions/0004-the-backlog-is-bounded-in-time.md`.

use std::collections::VecDeque;
use std::time::Duration;

/// Records of the journal whose bytes are counted together: 8 bytes of memory for each such group.
const GROUP_RECORDS: u64 = 8;
/// The pace that a partition's reader is trusted with before it was measured, and while it stands still for a commit.
const PACE_BYTES_PER_S_MIN: f64 = (4 << 20) as f64;
/// How long a measured pace is remembered: many commits, during which a reader stands still.
const PACE_MEMORY_S: f64 = 30.0;

/// The backlog of all partitions.
#[derive(Debug)]
pub(crate) struct Backlog {
    time_max: Duration,
    partitions: Vec<Partition>,
}

/// How far the reader of a partition is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    /// The offset that it folds next.
    pub(crate) next_offset: u64,
    /// The offset that the journal gives next.
    pub(crate) end: u64,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// Number of the first group in `groups`, once there was one.
    first_group: Option<u64>,
    /// Bytes of each group.
    groups: VecDeque<u64>,
    bytes: u64,
    /// What the reader folds in a second while it has something to fold.
    pace: f64,
    /// How long the reader was busy in all, in seconds.
    busy_s: f64,
}

impl Backlog {
    /// Nothing is counted before [`Backlog::begin`]: without a reader the counts would only grow.
    pub(crate) fn new(time_max: Duration) -> Self {
        Backlog { time_max, partitions: Vec::new() }
    }

    /// From now on there is a reader for each of `partitions`. Records from before are not counted: what the last run has
    /// left was within its bound.
    pub(crate) fn begin(&mut self, partitions: u32) {
        self.partitions = vec![Partition::default(); partitions as usize];
    }

    /// The journal has taken a record.
    pub(crate) fn appended(&mut self, partition: u32, offset: u64, bytes: usize) {
        if let Some(partition) = self.partitions.get_mut(partition as usize) {
            partition.appended(offset, bytes as u64);
        }
    }

    /// The readers have come so far, `elapsed` after they were last looked at. `None`: it has not begun.
    pub(crate) fn observe(&mut self, reader: impl Fn(u32) -> Option<Reader>, elapsed: Duration) {
        for (number, partition) in (0..).zip(&mut self.partitions) {
            if let Some(reader) = reader(number) {
                partition.observe(reader, elapsed);
            }
        }
    }

    /// Whether another request would only wait: the partition that is furthest behind decides, because nobody knows where
    /// a request goes before it was read.
    pub(crate) fn is_full(&self) -> bool {
        self.partitions.iter().any(|partition| partition.bytes > partition.bytes_max(self.time_max))
    }

    /// Bytes that nobody has folded yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.bytes).sum()
    }

    /// How long the reader that is furthest behind needs for what there is, about, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        let seconds = |partition: &Partition| partition.bytes as f64 / partition.pace.max(PACE_BYTES_PER_S_MIN);
        self.partitions.iter().map(seconds).fold(0.0, f64::max)
    }
}

impl Partition {
    /// Appends are told in any order, and may be told after they were folded.
    fn appended(&mut self, offset: u64, bytes: u64) {
        let group = offset / GROUP_RECORDS;
        let first = *self.first_group.get_or_insert(group);
        let Some(place) = group.checked_sub(first) else { return };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if place >= self.groups.len() {
            self.groups.resize(place + 1, 0);
        }
        self.groups[place] += bytes;
        self.bytes += bytes;
    }

    fn observe(&mut self, reader: Reader, elapsed: Duration) {
        let before = self.bytes;
        self.folded(reader);
        // Only a reader that had something to do all the time shows how fast it is.
        if before > 0 && self.bytes > 0 {
            self.measure((before - self.bytes) as f64, elapsed.as_secs_f64());
        }
    }

    fn folded(&mut self, reader: Reader) {
        let group = reader.next_offset / GROUP_RECORDS;
        let first = self.first_group.unwrap_or(group);
        let passed = usize::try_from(group.saturating_sub(first)).unwrap_or(usize::MAX).min(self.groups.len());
        self.bytes -= self.groups.drain(..passed).sum::<u64>();
        self.first_group = Some(first.max(group));
        if reader.next_offset >= reader.end {
            // A group that has only begun must not look like a backlog for as long as nobody sends.
            self.groups.clear();
            self.bytes = 0;
        }
    }

    /// A plain mean at first, then one that forgets.
    fn measure(&mut self, bytes: f64, seconds: f64) {
        if seconds <= 0.0 {
            return;
        }
        self.busy_s += seconds;
        let weight = (seconds / self.busy_s).max(1.0 - (-seconds / PACE_MEMORY_S).exp());
        self.pace += weight * (bytes / seconds - self.pace);
    }

    fn bytes_max(&self, time_max: Duration) -> u64 {
        (self.pace.max(PACE_BYTES_PER_S_MIN) * time_max.as_secs_f64()) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(100);
    const MIB: usize = 1 << 20;

    fn at(next_offset: u64, end: u64) -> impl Fn(u32) -> Option<Reader> {
        move |_| Some(Reader { next_offset, end })
    }

    fn backlog(seconds: u64) -> Backlog {
        let mut backlog = Backlog::new(Duration::from_secs(seconds));
        backlog.begin(1);
        backlog
    }

    #[test]
    fn without_a_reader_nothing_is_counted() {
        let mut backlog = Backlog::new(Duration::from_secs(1));
        backlog.appended(0, 0, 1 << 40);
        assert_eq!((backlog.bytes(), backlog.is_full()), (0, false));
    }

    #[test]
    fn a_reader_that_was_never_measured_has_room_for_a_modest_pace() {
        let mut backlog = backlog(10);
        for offset in 0..40 {
            backlog.appended(0, offset, MIB);
        }
        assert!(!backlog.is_full());
        backlog.appended(0, 40, MIB);
        assert!(backlog.is_full());
        assert!((10.0..11.0).contains(&backlog.seconds()), "{}", backlog.seconds());
    }

    #[test]
    fn a_fast_reader_may_have_more_behind_it_and_one_that_stands_still_less() {
        let mut backlog = backlog(10);
        for offset in 0..4_000 {
            backlog.appended(0, offset, MIB);
        }
        // 80 MiB/s for five seconds.
        for tick in 1..=50 {
            backlog.observe(at(tick * 8, 4_000), TICK);
        }
        let room = |backlog: &Backlog| backlog.partitions[0].bytes_max(backlog.time_max) / MIB as u64;
        assert!((790..=810).contains(&room(&backlog)), "{}", room(&backlog));
        // A commit of three seconds takes little of the trust away, and minutes all but the least of it.
        for _ in 0..30 {
            backlog.observe(at(400, 4_000), TICK);
        }
        assert!((480..=740).contains(&room(&backlog)), "{}", room(&backlog));
        for _ in 0..1_800 {
            backlog.observe(at(400, 4_000), TICK);
        }
        assert_eq!(room(&backlog), 40);
        assert!(backlog.is_full());
    }

    #[test]
    fn an_idle_reader_keeps_its_pace() {
        let mut backlog = backlog(10);
        for offset in 0..800 {
            backlog.appended(0, offset, MIB);
        }
        for tick in 1..=100 {
            backlog.observe(at(tick * 8, 800), TICK);
        }
        let pace = backlog.partitions[0].pace;
        assert_eq!(backlog.bytes(), 0);
        for _ in 0..1_000 {
            backlog.observe(at(800, 800), TICK);
        }
        assert_eq!(backlog.partitions[0].pace, pace);
    }

    #[test]
    fn the_slowest_partition_decides() {
        let mut backlog = Backlog::new(Duration::from_secs(1));
        backlog.begin(2);
        backlog.appended(0, 0, MIB);
        backlog.appended(1, 0, 5 * MIB);
        assert!(backlog.is_full());
        backlog.observe(|partition| Some(Reader { next_offset: u64::from(partition), end: 1 }), TICK);
        assert!(!backlog.is_full());
        assert_eq!(backlog.bytes(), MIB as u64);
    }

    #[test]
    fn a_reader_far_into_an_old_journal_costs_no_memory() {
        let mut backlog = backlog(1);
        backlog.observe(at(1 << 60, 1 << 60), TICK);
        backlog.appended(0, (1 << 60) - 9, MIB);
        backlog.appended(0, (1 << 60) + 3, 7);
        assert_eq!(backlog.bytes(), 7, "what was folded before it was told is passed over");
        assert_eq!(backlog.partitions[0].groups.len(), 1);
        let mut not_begun = Backlog::new(TICK);
        not_begun.begin(1);
        not_begun.observe(|_| None, TICK);
        not_begun.appended(0, 1 << 60, 5);
        assert_eq!((not_begun.bytes(), not_begun.partitions[0].groups.len()), (5, 1));
    }

    proptest! {
        /// Whatever the order of appends and of looks at the reader, what is counted is what lies behind the reader's
        /// group, and nothing when it has caught up.
        #[test]
        fn the_count_is_what_is_behind_the_reader(
            appends in prop::collection::vec((0u64..200, 1usize..1000), 1..100),
            looks in prop::collection::vec(0u64..200, 0..20),
        ) {
            let mut backlog = backlog(1);
            backlog.observe(at(0, u64::MAX), TICK);
            for (offset, bytes) in &appends {
                backlog.appended(0, *offset, *bytes);
            }
            let mut next = 0;
            for look in looks {
                next = next.max(look);
                backlog.observe(at(next, u64::MAX), TICK);
                let expected: usize = appends.iter()
                    .filter(|(offset, _)| offset / GROUP_RECORDS >= next / GROUP_RECORDS).map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(backlog.bytes(), expected as u64);
            }
            backlog.observe(at(200, 200), TICK);
            prop_assert_eq!(backlog.bytes(), 0);
        }
    }
}
