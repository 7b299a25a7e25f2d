//! Looking through one snapshot: which rows are looked at, in what order, and when it ends.
//!
//! Segments and hot chunks are taken newest first (or oldest first) by several threads. Of a row group nothing is read that its
//! times or its statistics rule out; then the columns with few values are read, then the texts of the lines that are left, then
//! attributes, then what the [`Sink`] wants of the rows that were found. The sink says which times still matter, so a page of the
//! newest lines ends with the first segments. A scan ends early when its time is over or its asker has gone, and says so.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shipwake_store::{
    Candidates, HotRows, RowGroup, SegmentFile, SegmentId, SegmentReader, Snapshot, Store, StoreError, Table,
};

use super::language::Search;
use super::matching::{Cost, columns, conjuncts, cost, matches};
use super::prune::{candidates, may_match};
use super::request::Direction;
use super::rows::{FEW_VALUES, Rows};
use crate::error::QueryError;
use crate::sql::budget::SharedMemory;

/// Opened segments that are kept: their row groups and pages, not their rows.
const READERS_BYTES: usize = 48 << 20;
/// What lines are counted by in a segment, besides the minute.
const COUNTED_BY: [&str; 6] = ["service", "namespace", "environment", "version", "severity_number", "severity_text"];
const MINUTE_NS: i64 = 60_000_000_000;
/// Rows of a row group that are looked at first where what they have may be enough: two pages.
const FIRST_ROWS: usize = 4096;

/// What the snapshot is looked through for.
pub(crate) struct Scan<'a> {
    pub store: &'a Store,
    pub snapshot: &'a Snapshot,
    pub readers: &'a Readers,
    /// What batches of rows are charged to while they are looked at.
    pub memory: &'a Arc<SharedMemory>,
    pub search: &'a Search,
    /// Event times, ns.
    pub range_ns: Range<i64>,
    pub direction: Direction,
    pub threads: usize,
    pub stop: &'a Stop,
}

/// When a scan has to end early.
pub(crate) struct Stop {
    pub deadline: Instant,
    pub gone: Arc<AtomicBool>,
}

impl Stop {
    pub fn is_due(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }
}

/// Where rows are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Hot { shard: u32, rows: HotRows },
    Stored { shard: u32, segment: SegmentId, reader: SegmentReader, group: usize },
}

/// Rows that were found.
pub(crate) struct Found<'a> {
    pub place: &'a Place,
    /// Their row numbers in the chunk, or in the row group.
    pub rows: &'a [u32],
    /// The sink's columns of these rows.
    pub columns: &'a Rows,
}

/// Takes what is found.
pub(crate) trait Sink: Send {
    /// The columns it wants.
    fn columns(&self) -> &'static [&'static str];
    /// The times that can still change the answer; a range that is empty ends the scan.
    fn matters(&self) -> Range<i64>;
    /// Takes rows.
    fn take(&mut self, found: &Found<'_>);
    /// Whether what it has taken can make rows that come later in the direction not matter any more.
    fn ends_early(&self) -> bool {
        false
    }
    /// Whether it takes lines that were counted minute by minute instead of the lines themselves.
    fn takes_counted(&self) -> bool {
        false
    }
    /// Takes lines that were counted: some rows of the columns that [`Store::counts`] has.
    fn take_counted(&mut self, _columns: &Rows, _rows: &[u32]) {}
    /// Takes all rows of a row group by what is known of it, without reading it; `false` when it has to be read.
    fn take_unread(&mut self, _group: &RowGroup) -> bool {
        false
    }
}

/// What a scan did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub segments: u64,
    pub segments_skipped: u64,
    /// Rows that were compared with the search.
    pub rows: u64,
    /// Its time was over before it had seen everything: it has seen all lines that are newer (or older) than this, ns.
    pub stopped_at_ns: Option<i64>,
}

/// Segments that were opened, by their path.
#[derive(Default)]
pub(crate) struct Readers {
    kept: Mutex<HashMap<Arc<str>, SegmentReader>>,
}

impl Readers {
    fn open(&self, store: &Store, file: &SegmentFile) -> Result<SegmentReader, StoreError> {
        if let Some(reader) = self.lock().get(&file.path) {
            return Ok(reader.clone());
        }
        let reader = store.open_segment(file, &FEW_VALUES)?;
        let mut kept = self.lock();
        let mut bytes: usize = kept.values().map(SegmentReader::memory_bytes).sum();
        while bytes + reader.memory_bytes() > READERS_BYTES {
            let Some(path) = kept.keys().next().cloned() else { break };
            bytes -= kept.remove(&path).map_or(0, |reader| reader.memory_bytes());
        }
        kept.insert(file.path.clone(), reader.clone());
        Ok(reader)
    }

    /// Forgets segments that are no more.
    pub fn keep_only(&self, snapshot: &Snapshot) {
        let mut kept = self.lock();
        let live: std::collections::HashSet<&str> = snapshot.files(Table::Logs).map(|file| &*file.path).collect();
        kept.retain(|path, _| live.contains(&**path));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, SegmentReader>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment or a hot chunk.
enum Unit<'a> {
    Hot { shard: u32, rows: &'a HotRows, time_ns: (i64, i64) },
    Stored { shard: u32, file: &'a SegmentFile },
}

impl Unit<'_> {
    fn time_ns(&self) -> (i64, i64) {
        match self {
            Unit::Hot { time_ns, .. } => *time_ns,
            Unit::Stored { file, .. } => (file.time_min_ns, file.time_max_ns),
        }
    }
}

impl Scan<'_> {
    /// Looks through everything that matters to the sink. The first error of a thread ends all.
    pub fn run<S: Sink>(&self, sink: &mut S) -> Result<Scanned, QueryError> {
        let (units, skipped) = self.units();
        let work = Work {
            scan: self,
            counts_only: sink.takes_counted() && columns(self.search).iter().all(|name| COUNTED_BY.contains(name)),
            conjuncts: conjuncts(self.search),
            ends_early: sink.ends_early(),
            wanted: sink.columns(),
            next: AtomicUsize::new(0),
            rows: AtomicU64::new(0),
            segments: AtomicU64::new(0),
            skipped: AtomicU64::new(skipped),
            stopped: Mutex::new(None),
            failed: Mutex::new(None),
            sink: Mutex::new(sink),
        };
        let threads = self.threads.clamp(1, units.len().max(1));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| work.run(&units));
            }
            work.run(&units);
        });
        if let Some(error) = work.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        Ok(Scanned {
            segments: work.segments.into_inner(),
            segments_skipped: work.skipped.into_inner(),
            rows: work.rows.into_inner(),
            stopped_at_ns: work.stopped.into_inner().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// What overlaps the range, in the order of the direction; and how many segments do not.
    fn units(&self) -> (Vec<Unit<'_>>, u64) {
        let (mut units, mut skipped) = (Vec::new(), 0);
        for shard in &self.snapshot.shards {
            for file in shard.files.iter().filter(|file| file.table == Table::Logs) {
                if file.overlaps(self.range_ns.start, self.range_ns.end) {
                    units.push(Unit::Stored { shard: shard.shard, file });
                } else {
                    skipped += 1;
                }
            }
            for rows in shard.hot.iter().filter(|(table, _)| *table == Table::Logs).flat_map(|(_, rows)| rows) {
                if let Some(time_ns) = times_of(rows).filter(|times| overlaps(*times, &self.range_ns)) {
                    units.push(Unit::Hot { shard: shard.shard, rows, time_ns });
                }
            }
        }
        match self.direction {
            Direction::Older => units.sort_by_key(|unit| std::cmp::Reverse(unit.time_ns().1)),
            Direction::Newer => units.sort_by_key(|unit| unit.time_ns().0),
        }
        (units, skipped)
    }
}

fn overlaps((min, max): (i64, i64), range: &Range<i64>) -> bool {
    (min < range.end || range.end == i64::MAX) && max >= range.start
}

fn within(time: i64, range: &Range<i64>) -> bool {
    range.start <= time && (time < range.end || range.end == i64::MAX)
}

fn times_of(rows: &HotRows) -> Option<(i64, i64)> {
    hot_rows(rows, &["time"]).column("time")?.times()
}

/// Some columns of a hot chunk.
pub(crate) fn hot_rows(rows: &HotRows, names: &[&'static str]) -> Rows {
    match rows {
        HotRows::Chunk(chunk) => Rows::of_chunk(chunk, names),
        HotRows::Batch(batch) => {
            let wanted: Vec<usize> = names.iter().filter_map(|name| batch.schema().index_of(name).ok()).collect();
            Rows::of_batch(&batch.project(&wanted).expect("the indices are of this batch"))
        }
    }
}

/// What the threads of a scan share.
struct Work<'a, S> {
    scan: &'a Scan<'a>,
    conjuncts: Vec<&'a Search>,
    /// Lines that were counted are as good as the lines.
    counts_only: bool,
    ends_early: bool,
    wanted: &'static [&'static str],
    next: AtomicUsize,
    rows: AtomicU64,
    segments: AtomicU64,
    skipped: AtomicU64,
    stopped: Mutex<Option<i64>>,
    failed: Mutex<Option<QueryError>>,
    sink: Mutex<&'a mut S>,
}

impl<S: Sink> Work<'_, S> {
    fn run(&self, units: &[Unit<'_>]) {
        loop {
            let Some(unit) = units.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            if lock(&self.failed).is_some() {
                return;
            }
            if self.scan.stop.is_due() {
                return self.stopped_before(unit.time_ns());
            }
            let looked = match unit {
                Unit::Hot { shard, rows, time_ns } => {
                    self.hot(*shard, rows, *time_ns);
                    Ok(())
                }
                Unit::Stored { shard, file } => self.stored(*shard, file),
            };
            if let Err(error) = looked {
                lock(&self.failed).get_or_insert(error);
                return;
            }
        }
    }

    /// Notes that everything from here on was not seen.
    fn stopped_before(&self, (min, max): (i64, i64)) {
        let mut stopped = lock(&self.stopped);
        *stopped = Some(match (*stopped, self.scan.direction) {
            (None, Direction::Older) => max,
            (Some(at), Direction::Older) => at.max(max),
            (None, Direction::Newer) => min,
            (Some(at), Direction::Newer) => at.min(min),
        });
    }

    /// The times of those asked for that are still of interest.
    fn matters(&self, asked: &Range<i64>) -> Range<i64> {
        let matters = lock(&self.sink).matters();
        asked.start.max(matters.start)..asked.end.min(matters.end)
    }

    fn hot(&self, shard: u32, rows: &HotRows, time_ns: (i64, i64)) {
        let matters = self.matters(&self.scan.range_ns);
        if !overlaps(time_ns, &matters) {
            return;
        }
        self.rows.fetch_add(rows.num_rows() as u64, Ordering::Relaxed);
        let mut left: Option<Vec<u32>> = None;
        for stage in self.stages(!covers(&matters, time_ns)) {
            let columns = hot_rows(rows, &stage.columns);
            left = Some(stage.narrow(&columns, left.as_deref(), &matters));
            if left.as_ref().is_some_and(Vec::is_empty) {
                return;
            }
        }
        let left = left.unwrap_or_else(|| (0..rows.num_rows() as u32).collect());
        let columns = hot_rows(rows, self.wanted);
        let columns = columns.taken(&left);
        let place = Place::Hot { shard, rows: rows.clone() };
        lock(&self.sink).take(&Found { place: &place, rows: &left, columns: &columns });
    }

    fn stored(&self, shard: u32, file: &SegmentFile) -> Result<(), QueryError> {
        let asked = &self.scan.range_ns;
        let minutes = whole_minutes(asked);
        if !self.counts_only || minutes.is_empty() {
            return self.rows_of(shard, file, asked);
        }
        let Some(counts) = self.scan.store.counts(file)? else { return self.rows_of(shard, file, asked) };
        let counts = Rows::of_batch(&counts);
        let stage = Stage { parts: self.conjuncts.clone(), columns: Vec::new(), checks_time: true };
        let found = stage.narrow(&counts, None, &minutes);
        lock(&self.sink).take_counted(&counts, &found);
        // Of a minute that is asked for in part the lines themselves say which of them are meant.
        let mut parts = vec![asked.start..minutes.start, minutes.end..asked.end];
        parts.retain(|part| !part.is_empty() && overlaps((file.time_min_ns, file.time_max_ns), part));
        self.segments.fetch_add(u64::from(parts.is_empty()), Ordering::Relaxed);
        parts.iter().try_for_each(|part| self.rows_of(shard, file, part))
    }

    /// Looks at the rows of a segment with times that are asked for.
    fn rows_of(&self, shard: u32, file: &SegmentFile, asked: &Range<i64>) -> Result<(), QueryError> {
        if !overlaps((file.time_min_ns, file.time_max_ns), &self.matters(asked)) {
            return Ok(());
        }
        let candidates = candidates(self.scan.store, file, self.scan.search);
        if candidates.is_none() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.segments.fetch_add(1, Ordering::Relaxed);
        let reader = self.scan.readers.open(self.scan.store, file)?;
        let mut order: Vec<usize> = (0..reader.groups().len()).collect();
        match self.scan.direction {
            Direction::Older => order.sort_by_key(|group| std::cmp::Reverse(reader.groups()[*group].time_max_ns)),
            Direction::Newer => order.sort_by_key(|group| reader.groups()[*group].time_min_ns),
        }
        for group in order {
            let known = &reader.groups()[group];
            let times = (known.time_min_ns, known.time_max_ns);
            let matters = self.matters(asked);
            if !overlaps(times, &matters) || !may_match(self.scan.search, known) {
                continue;
            }
            let Some(of_group) = rows_of_group(&candidates, known) else { continue };
            if self.scan.stop.is_due() {
                self.stopped_before(times);
                continue;
            }
            if self.conjuncts.is_empty() && covers(&matters, times) && lock(&self.sink).take_unread(known) {
                self.rows.fetch_add(known.rows as u64, Ordering::Relaxed);
                continue;
            }
            let place = Place::Stored { shard, segment: file.id, reader: reader.clone(), group };
            if self.ends_early && of_group.as_ref().map_or(known.rows, Vec::len) > FIRST_ROWS {
                self.by_time(&place, (&reader, group), of_group.as_deref(), asked)?;
            } else {
                self.group(&place, (&reader, group), of_group, &matters)?;
            }
        }
        Ok(())
    }

    /// Looks at rows of a row group in the order of the direction, a few at first and then the rest: a page of lines that the first of them fill
    /// needs no others. They are sorted by service and version before the time, so the newest are the ends of many runs.
    fn by_time(
        &self,
        place: &Place,
        (reader, group): (&SegmentReader, usize),
        left: Option<&[u32]>,
        asked: &Range<i64>,
    ) -> Result<(), QueryError> {
        let mut rows: Vec<(i64, u32)> = Vec::new();
        self.batches(reader, group, &["time"], left, |columns, numbers| {
            let times = columns.column("time").and_then(|column| column.all_times()).unwrap_or_default();
            rows.extend(times.iter().copied().zip(numbers.iter().copied()));
        })?;
        match self.scan.direction {
            Direction::Older => rows.sort_unstable_by_key(|row| std::cmp::Reverse(*row)),
            Direction::Newer => rows.sort_unstable(),
        }
        let mut rest = rows.as_slice();
        let mut next = FIRST_ROWS;
        while let Some((time_ns, _)) = rest.first() {
            let matters = self.matters(asked);
            if self.scan.stop.is_due() {
                self.stopped_before((*time_ns, *time_ns));
                return Ok(());
            }
            let (band, others) = rest.split_at(next.min(rest.len()));
            let mut band: Vec<u32> =
                band.iter().filter(|(time_ns, _)| within(*time_ns, &matters)).map(|(_, row)| *row).collect();
            band.sort_unstable();
            if !band.is_empty() {
                self.group(place, (reader, group), Some(band), &matters)?;
            }
            // A page of the file may have rows of both: it is read twice, and not more often.
            (rest, next) = (others, usize::MAX);
        }
        Ok(())
    }

    /// Looks at a row group, at all of its rows or at some.
    fn group(
        &self,
        place: &Place,
        (reader, group): (&SegmentReader, usize),
        mut left: Option<Vec<u32>>,
        matters: &Range<i64>,
    ) -> Result<(), QueryError> {
        let known = &reader.groups()[group];
        self.rows.fetch_add(left.as_ref().map_or(known.rows, Vec::len) as u64, Ordering::Relaxed);
        for stage in self.stages(!covers(matters, (known.time_min_ns, known.time_max_ns))) {
            let mut found = Vec::new();
            self.batches(reader, group, &stage.columns, left.as_deref(), |columns, rows| {
                let of_batch = stage.narrow(columns, None, matters);
                found.extend(of_batch.into_iter().map(|row| rows[row as usize]));
            })?;
            if found.is_empty() {
                return Ok(());
            }
            left = Some(found);
        }
        self.batches(reader, group, self.wanted, left.as_deref(), |columns, rows| {
            lock(&self.sink).take(&Found { place, rows, columns });
        })
    }

    /// Reads columns of the rows that are left, batch by batch, with the number of each row in the group.
    fn batches(
        &self,
        reader: &SegmentReader,
        group: usize,
        columns: &[&str],
        left: Option<&[u32]>,
        mut each: impl FnMut(&Rows, &[u32]),
    ) -> Result<(), QueryError> {
        let all: Vec<u32>;
        let numbers = match left {
            Some(rows) => rows,
            None => {
                all = (0..reader.groups()[group].rows as u32).collect();
                &all
            }
        };
        let ranges = left.map(ranges_of);
        let (mut at, mut refused) = (0, None);
        reader.read(group, columns, ranges.as_deref(), |batch| {
            let _held = match self.scan.memory.hold(batch.get_array_memory_size()) {
                Ok(held) => held,
                Err(error) => {
                    refused = Some(error);
                    return ControlFlow::Break(());
                }
            };
            let rows = Rows::of_batch(&batch);
            each(&rows, &numbers[at..at + rows.len]);
            at += rows.len;
            if self.scan.stop.is_due() && at < numbers.len() {
                self.stopped_before((reader.groups()[group].time_min_ns, reader.groups()[group].time_max_ns));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        refused.map_or(Ok(()), Err)
    }

    /// The steps in which rows are narrowed down, each with what it reads.
    fn stages(&self, checks_time: bool) -> Vec<Stage<'_>> {
        let mut stages: Vec<Stage<'_>> = Vec::new();
        for wanted in [Cost::Little, Cost::Body, Cost::Map] {
            let parts: Vec<&Search> = self.conjuncts.iter().copied().filter(|part| cost(part) == wanted).collect();
            let checks_time = checks_time && wanted == Cost::Little;
            if parts.is_empty() && !checks_time {
                continue;
            }
            let mut names: Vec<&'static str> = parts.iter().flat_map(|part| columns(part)).collect();
            if checks_time {
                names.push("time");
            }
            names.sort_unstable();
            names.dedup();
            stages.push(Stage { parts, columns: names, checks_time });
        }
        stages
    }
}

/// The part of a range that is whole minutes; the ends of time are the ends of a minute. Empty where there is none.
fn whole_minutes(range: &Range<i64>) -> Range<i64> {
    let start = match range.start {
        i64::MIN => i64::MIN,
        start => start
            .div_euclid(MINUTE_NS)
            .saturating_add(i64::from(start.rem_euclid(MINUTE_NS) > 0))
            .saturating_mul(MINUTE_NS),
    };
    let end = match range.end {
        i64::MAX => i64::MAX,
        end => end.div_euclid(MINUTE_NS).saturating_mul(MINUTE_NS),
    };
    if start < end { start..end } else { range.start..range.start }
}

fn covers(range: &Range<i64>, (min, max): (i64, i64)) -> bool {
    within(min, range) && within(max, range)
}

/// The rows of a row group that are candidates: `Some(None)` for all of them, `None` for none.
fn rows_of_group(candidates: &Candidates, group: &RowGroup) -> Option<Option<Vec<u32>>> {
    let range = group.first_row..group.first_row + group.rows as u64;
    match candidates {
        Candidates::All => Some(None),
        Candidates::Ranges(_) => candidates.overlaps(&(range.start as u32..range.end as u32)).then_some(None),
        Candidates::Rows(rows) => {
            let from = rows.partition_point(|row| u64::from(*row) < range.start);
            let to = rows.partition_point(|row| u64::from(*row) < range.end);
            (from < to).then(|| Some(rows[from..to].iter().map(|row| (u64::from(*row) - range.start) as u32).collect()))
        }
    }
}

/// One step of narrowing down.
struct Stage<'a> {
    parts: Vec<&'a Search>,
    columns: Vec<&'static str>,
    checks_time: bool,
}

impl Stage<'_> {
    /// The rows that pass, of those in `left` or of all.
    fn narrow(&self, columns: &Rows, left: Option<&[u32]>, matters: &Range<i64>) -> Vec<u32> {
        let mut passes = vec![left.is_none(); columns.len];
        left.into_iter().flatten().for_each(|row| passes[*row as usize] = true);
        if self.checks_time
            && let Some(times) = columns.column("time").and_then(|column| column.all_times())
        {
            passes.iter_mut().zip(times).for_each(|(passes, time)| *passes &= within(*time, matters));
        }
        for part in &self.parts {
            passes.iter_mut().zip(matches(part, columns)).for_each(|(passes, found)| *passes &= found);
        }
        (0..columns.len as u32).filter(|row| passes[*row as usize]).collect()
    }
}

/// Ascending row numbers as ranges.
pub(crate) fn ranges_of(rows: &[u32]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for row in rows.iter().map(|row| *row as usize) {
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a thread that panicked left is whole; the panic itself is passed on when the scope ends.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_range_the_whole_minutes_are_known() {
        let minutes = |range: Range<i64>| whole_minutes(&range);
        assert_eq!(minutes(0..3 * MINUTE_NS), 0..3 * MINUTE_NS);
        assert_eq!(minutes(1..3 * MINUTE_NS - 1), MINUTE_NS..2 * MINUTE_NS);
        assert_eq!(minutes(-1..MINUTE_NS), 0..MINUTE_NS);
        assert_eq!(minutes(i64::MIN..i64::MAX), i64::MIN..i64::MAX);
        assert!(minutes(1..2 * MINUTE_NS - 1).is_empty() && minutes(5..5).is_empty());
    }
}
