//! One job: the inputs are read and checked, copied or merged, written under a new name, and proposed to the committer.
//!
//! Until the committer has published it nobody sees what was written. A crash leaves files that no manifest names, which are removed
//! when the shard is opened.

use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::join::{Join, NotCopied, Piece, is_by_row_group, is_fit};
use super::merge::{Contents, Merge};
use super::plan::{Job, Kind};
use crate::attempt::Attempt;
use crate::encode::{Beside, Encoded, SegmentEncoder};
use crate::proposals::Replacement;
use crate::scan::{OpenSegment, Ranges};
use crate::shared::Shared;
use crate::{SegmentFile, SegmentId, StoreError};

/// Whether to go on with the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    GoOn,
    Stop,
}

/// Does the job; `None` when `pace`, which is asked after every few thousand rows, has stopped it.
///
/// What is large is copied as it is, behind what is small, merged row by row. Rows that are to go, or files beside a segment that are
/// damaged, mean that all is written anew.
pub(crate) fn run(
    shared: &Arc<Shared>,
    job: &Job,
    now_ns: i64,
    pace: &mut dyn FnMut() -> Pace,
) -> Result<Option<Replacement>, StoreError> {
    let made = match joined(shared, job, now_ns, pace) {
        Ok(made) => Some(made),
        Err(NotCopied::Stopped) => None,
        Err(NotCopied::Failed(error)) => return Err(error),
        Err(NotCopied::Unfit(why)) => {
            tracing::debug!(kind = job.kind.word(), table = %job.table, %why, "rows are written anew");
            merged(shared, job, &job.inputs, job.beside, now_ns, pace)?
        }
    };
    let Some(made) = made else { return Ok(None) };
    let (rows, encoded) = (job.inputs.iter().map(|file| file.rows).sum::<u64>(), made.encoded);
    shared.metrics.compacted(job.kind.word(), job.table, rows - encoded.rows, encoded.segment.len() as u64);
    let inputs = job.inputs.iter().map(|file| file.id).collect();
    if encoded.rows == 0 {
        return Ok(Some(Replacement { inputs, output: None, is_void: false }));
    }
    let described = Described::of(job);
    let mut attempt = Attempt::new(&shared.objects);
    let SegmentId { shard, seq, .. } = job.inputs[0].id;
    let (level, from, to) = (job.level, described.first_offset, described.next_offset);
    let name = format!("data/{}/{shard}-{seq}-m{level}-{from}-{to}", job.table);
    let written = attempt.create_segment(&name, &encoded)?;
    attempt.keep = true;
    let output = SegmentFile {
        // Given by the commit that publishes it.
        id: SegmentId { shard, seq: u64::MAX, table: job.table, part: 0 },
        table: job.table,
        path: written.segment.path,
        rows: encoded.rows,
        bytes: written.segment.bytes,
        time_min_ns: made.time_min_ns,
        time_max_ns: made.time_max_ns,
        shard,
        first_offset: described.first_offset,
        next_offset: described.next_offset,
        committed_ns: described.committed_ns,
        crc32c: written.segment.crc32c,
        window: job.window,
        level: job.level,
        thinned_ns: made.thinned_ns,
        blooms: written.blooms,
        index: written.index,
        parts: Some(written.parts),
        pin: Arc::default(),
    };
    Ok(Some(Replacement { inputs, output: Some(output), is_void: false }))
}

/// A segment that was made, and what is said of its rows.
struct Made {
    encoded: Encoded,
    time_min_ns: i64,
    time_max_ns: i64,
    /// Rows that are kept for no longer than this are not in it.
    thinned_ns: i64,
}

/// Large inputs one behind the other, by time, and small ones merged into one of them.
fn joined(shared: &Arc<Shared>, job: &Job, now_ns: i64, pace: &mut dyn FnMut() -> Pace) -> Result<Made, NotCopied> {
    let may_copy = matches!(job.kind, Kind::Merge | Kind::Index);
    let (mut copied, small): (Vec<_>, Vec<_>) = job.inputs.iter().cloned().partition(|file| may_copy && is_fit(file));
    if copied.is_empty() {
        return Err(NotCopied::Unfit("its row groups are small, or their rows are looked at".to_owned()));
    }
    let small = match small.is_empty() {
        true => None,
        false => Some(merged(shared, job, &small, Beside::Blooms, now_ns, pace)?.ok_or(NotCopied::Stopped)?),
    };
    let mut small = small.filter(|made| made.encoded.rows > 0);
    copied.sort_by_key(|file| (file.time_min_ns, file.id));
    let sum = |of: fn(&SegmentFile) -> u64| job.inputs.iter().map(of).sum::<u64>() as usize;
    let mut join = Join::new(job.table, sum(|file| file.rows), sum(|file| file.bytes), job.beside)?;
    let lists = || copied.iter().map(|file| (file.time_min_ns, file.time_max_ns, file.thinned_ns));
    let all = lists().chain(small.as_ref().map(|made| (made.time_min_ns, made.time_max_ns, made.thinned_ns)));
    let (time_min_ns, time_max_ns, thinned_ns) =
        all.reduce(|one, two| (one.0.min(two.0), one.1.max(two.1), one.2.min(two.2))).expect("one is copied");
    for file in &copied {
        if let Some(made) = small.take_if(|made| made.time_min_ns <= file.time_min_ns) {
            join.add(&made.encoded.into(), pace)?;
        }
        join.add(&Piece::read(shared, file)?, pace)?;
    }
    if let Some(made) = small {
        join.add(&made.encoded.into(), pace)?;
    }
    Ok(Made { encoded: join.finish()?, time_min_ns, time_max_ns, thinned_ns })
}

/// The rows of all inputs in one order; `None` when `pace` has stopped it.
fn merged(
    shared: &Arc<Shared>,
    job: &Job,
    inputs: &[SegmentFile],
    beside: Beside,
    now_ns: i64,
    pace: &mut dyn FnMut() -> Pace,
) -> Result<Option<Made>, StoreError> {
    let Some((segments, files)) = opened(shared, inputs, now_ns, pace)? else { return Ok(None) };
    // What is damaged or cannot be read has said so. What else goes wrong was written so.
    let unreadable = |error: ParquetError| {
        let known = files.iter().find_map(Ranges::take_failure);
        let file = || shared.objects.file(&inputs[0].path);
        known.unwrap_or_else(|| StoreError::damaged(file(), format!("cannot be merged: {error}")))
    };
    let retention = &shared.config.retention;
    let mut merge = Merge::new(job.table, segments, retention).map_err(unreadable)?;
    let rows = inputs.iter().map(|file| file.rows).sum::<u64>() as usize;
    let bytes = inputs.iter().map(|file| file.bytes).sum::<u64>() as usize;
    let mut encoder = SegmentEncoder::new(job.table, rows, bytes, beside).map_err(unreadable)?;
    while let Some(batch) = merge.next().map_err(unreadable)? {
        encoder.write(&batch).map_err(unreadable)?;
        if pace() == Pace::Stop {
            return Ok(None);
        }
    }
    let (time_min_ns, time_max_ns, rows_read) = (merge.time_min_ns, merge.time_max_ns, merge.rows_read);
    drop(merge);
    if rows_read != rows as u64 {
        let what = format!("this and what is merged with it have {rows_read} rows instead of {rows}");
        return Err(StoreError::damaged(shared.objects.file(&inputs[0].path), what));
    }
    let thinned = |file: &SegmentFile| file.thinned_ns.max(retention.passed(file, now_ns));
    let thinned_ns = inputs.iter().map(thinned).min().unwrap_or(0);
    let encoded = encoder.finish().map_err(unreadable)?;
    Ok(Some(Made { encoded, time_min_ns, time_max_ns, thinned_ns }))
}

/// A segment to be merged, or a row group of one, with its age in ns.
type Aged = (Contents, i64);

/// Segments to be merged, and those who know what went wrong when reading them fails.
type Opened = (Vec<Aged>, Vec<Ranges>);

/// The inputs, ready to be read, and those who know what went wrong when reading them fails; `None` when `pace` has stopped it.
fn opened(
    shared: &Arc<Shared>,
    inputs: &[SegmentFile],
    now_ns: i64,
    pace: &mut dyn FnMut() -> Pace,
) -> Result<Option<Opened>, StoreError> {
    let (mut segments, mut files) = (Vec::with_capacity(inputs.len()), Vec::new());
    for file in inputs {
        let age_ns = now_ns.saturating_sub(file.committed_ns);
        let segment = OpenSegment::open(shared, file)?;
        // Read and checked as it is merged, so that all inputs together need not be in memory, except from a server. It does not change,
        // and stays as long as the job has its description.
        let whole =
            (shared.objects.is_remote() || file.parts.is_none()).then(|| shared.segment_bytes(file)).transpose()?;
        for groups in sorted_together(segment.metadata()) {
            segments.push((
                match whole.clone().filter(|_| shared.objects.is_remote()) {
                    Some(bytes) => Contents::Bytes(bytes, groups),
                    None => {
                        let (rows, ranges) = segment.rows();
                        files.push(ranges);
                        Contents::File(Box::new(rows.with_row_groups(groups)))
                    }
                },
                age_ns,
            ));
        }
        if pace() == Pace::Stop {
            return Ok(None);
        }
    }
    Ok(Some((segments, files)))
}

/// The row groups of a file, those together whose rows are in one order.
fn sorted_together(metadata: &ParquetMetaData) -> Vec<Vec<usize>> {
    let groups = 0..metadata.num_row_groups();
    if is_by_row_group(metadata) { groups.map(|group| vec![group]).collect() } else { vec![groups.collect()] }
}

/// What follows from the descriptions of the inputs.
struct Described {
    first_offset: u64,
    next_offset: u64,
    /// That of the newest: rows are kept a little longer, and never shorter, than they are to be.
    committed_ns: i64,
}

impl Described {
    fn of(job: &Job) -> Self {
        let files = || job.inputs.iter();
        Self {
            first_offset: files().map(|file| file.first_offset).min().unwrap_or(0),
            next_offset: files().map(|file| file.next_offset).max().unwrap_or(0),
            committed_ns: files().map(|file| file.committed_ns).max().unwrap_or(0),
        }
    }
}
