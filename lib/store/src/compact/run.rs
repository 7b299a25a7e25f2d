//! One job: the inputs are read and checked, merged, written under a new name, and proposed to the committer.
//!
//! Until the committer has published it nobody sees what was written. A crash leaves files that no manifest names, which are removed
//! when the shard is opened.

use std::sync::Arc;

use parquet::errors::ParquetError;

use super::merge::{Contents, Merge};
use super::plan::Job;
use crate::attempt::Attempt;
use crate::encode::SegmentEncoder;
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
pub(crate) fn run(
    shared: &Arc<Shared>,
    job: &Job,
    now_ns: i64,
    pace: &mut dyn FnMut() -> Pace,
) -> Result<Option<Replacement>, StoreError> {
    let Some((segments, files)) = inputs(shared, job, now_ns, pace)? else { return Ok(None) };
    // What is damaged or cannot be read has said so. What else goes wrong was written so.
    let unreadable = |error: ParquetError| {
        let known = files.iter().find_map(Ranges::take_failure);
        let file = || shared.objects.file(&job.inputs[0].path);
        known.unwrap_or_else(|| StoreError::damaged(file(), format!("cannot be merged: {error}")))
    };
    let retention = &shared.config.retention;
    let mut merge = Merge::new(job.table, segments, retention).map_err(unreadable)?;
    let rows = job.inputs.iter().map(|file| file.rows).sum::<u64>() as usize;
    let bytes = job.inputs.iter().map(|file| file.bytes).sum::<u64>() as usize;
    let mut encoder = SegmentEncoder::new(job.table, rows, bytes, job.beside).map_err(unreadable)?;
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
        return Err(StoreError::damaged(shared.objects.file(&job.inputs[0].path), what));
    }
    let encoded = encoder.finish().map_err(unreadable)?;
    shared.metrics.compacted(job.kind.word(), job.table, rows as u64 - encoded.rows, encoded.segment.len() as u64);
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
    let thinned = |file: &SegmentFile| file.thinned_ns.max(retention.passed(file, now_ns));
    let output = SegmentFile {
        // Given by the commit that publishes it.
        id: SegmentId { shard, seq: u64::MAX, table: job.table, part: 0 },
        table: job.table,
        path: written.segment.path,
        rows: encoded.rows,
        bytes: written.segment.bytes,
        time_min_ns,
        time_max_ns,
        shard,
        first_offset: described.first_offset,
        next_offset: described.next_offset,
        committed_ns: described.committed_ns,
        crc32c: written.segment.crc32c,
        window: job.window,
        level: job.level,
        thinned_ns: job.inputs.iter().map(thinned).min().unwrap_or(0),
        blooms: written.blooms,
        index: written.index,
        parts: Some(written.parts),
        pin: Arc::default(),
    };
    Ok(Some(Replacement { inputs, output: Some(output), is_void: false }))
}

/// A segment to be merged, with its age in ns.
type Aged = (Contents, i64);

/// Segments to be merged, and those who know what went wrong when reading them fails.
type Inputs = (Vec<Aged>, Vec<Ranges>);

/// The inputs, ready to be read, and those who know what went wrong when reading them fails; `None` when `pace` has stopped it.
fn inputs(
    shared: &Arc<Shared>,
    job: &Job,
    now_ns: i64,
    pace: &mut dyn FnMut() -> Pace,
) -> Result<Option<Inputs>, StoreError> {
    let (mut segments, mut files) = (Vec::with_capacity(job.inputs.len()), Vec::new());
    for file in &job.inputs {
        let age_ns = now_ns.saturating_sub(file.committed_ns);
        if shared.objects.is_remote() {
            segments.push((Contents::Bytes(shared.segment_bytes(file)?), age_ns));
        } else {
            // Read and checked as it is merged, so that all inputs together need not be in memory. It does not change, and stays as long as
            // the job has its description.
            if file.parts.is_none() {
                shared.segment_bytes(file)?;
            }
            let (rows, ranges) = OpenSegment::open(shared, file)?.rows();
            segments.push((Contents::File(Box::new(rows)), age_ns));
            files.push(ranges);
        }
        if pace() == Pace::Stop {
            return Ok(None);
        }
    }
    Ok(Some((segments, files)))
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
