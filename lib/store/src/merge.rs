//! Small segments are written again together with the rows of a commit, so that a quiet system does not end up with a
//! file a minute for weeks: every file costs a query an opening and the manifest a line.
//!
//! It is bounded in rows and bytes, because the rows are in memory while they are written again, and in time, because
//! the merged rows are kept as long as the newest of them.

use std::collections::HashSet;

use shipwake_model::window::NS_PER_S;

use crate::shared::Shared;
use crate::{HotRows, SegmentFile, SegmentId, StoreError, Table, read};

/// A segment up to this size is small. Its footer alone is 4 KiB.
const SMALL_BYTES: u64 = 64 << 10;
/// What is merged at a time: some 30 MB in memory.
const MERGED_BYTES_MAX: u64 = 1 << 20;
/// See [`MERGED_BYTES_MAX`]; windows have small rows.
const MERGED_ROWS_MAX: u64 = 32 << 10;
/// How far apart in time of commit merged segments may be: so much longer than their retention the oldest rows are
/// kept.
const MERGED_SPAN_NS: i64 = 6 * 3600 * NS_PER_S;

/// The small segments of `table` that a commit at `now_ns` writes again; none unless there are `count_min`. Pure.
///
/// Segments in `dropped` are on their way out. Windows of 1 s are dropped within minutes and left alone.
pub(crate) fn worth_merging(
    files: &[SegmentFile],
    table: Table,
    dropped: &[SegmentId],
    now_ns: i64,
    count_min: usize,
) -> Vec<SegmentFile> {
    if table == Table::Windows1s {
        return Vec::new();
    }
    let dropped: HashSet<&SegmentId> = dropped.iter().collect();
    let of_table = files.iter().rev().filter(|file| file.table == table && !dropped.contains(&file.id));
    let small = of_table.filter(|file| {
        file.bytes <= SMALL_BYTES && now_ns.saturating_sub(file.committed_ns).saturating_abs() <= MERGED_SPAN_NS
    });
    let (mut chosen, mut bytes, mut rows) = (Vec::new(), 0, 0);
    for file in small {
        (bytes, rows) = (bytes + file.bytes, rows + file.rows);
        if bytes > MERGED_BYTES_MAX || rows > MERGED_ROWS_MAX {
            break;
        }
        chosen.push(file.clone());
    }
    if chosen.len() < count_min { Vec::new() } else { chosen }
}

/// All rows of the segments. A segment that cannot be read is an error that names it.
pub(crate) fn rows_of(shared: &Shared, files: &[SegmentFile]) -> Result<Vec<HotRows>, StoreError> {
    let mut rows = Vec::new();
    for file in files {
        let columns: Vec<usize> = (0..file.table.schema().fields().len()).collect();
        let batches = read::read(file.table, shared.segment_bytes(file)?, &columns, i64::MIN..i64::MAX)
            .map_err(|reason| StoreError::damaged(shared.objects.file(&file.path), reason))?;
        rows.extend(batches.into_iter().map(HotRows::Batch));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn file(seq: u64, bytes: u64, rows: u64) -> SegmentFile {
        let table = Table::Logs;
        SegmentFile {
            id: SegmentId { shard: 0, seq, table },
            table,
            path: "".into(),
            rows,
            bytes,
            time_min_ns: 0,
            time_max_ns: 0,
            shard: 0,
            first_offset: 0,
            next_offset: 0,
            committed_ns: seq as i64 * 60 * NS_PER_S,
            crc32c: 0,
            pin: Arc::default(),
        }
    }

    fn chosen(files: &[SegmentFile], dropped: &[SegmentId], count_min: usize) -> Vec<u64> {
        let now_ns = files.len() as i64 * 60 * NS_PER_S;
        worth_merging(files, Table::Logs, dropped, now_ns, count_min).iter().map(|file| file.id.seq).collect()
    }

    #[test]
    fn small_segments_are_merged_once_there_are_enough() {
        let mut files: Vec<SegmentFile> = (0..6).map(|seq| file(seq, 5000, 10)).collect();
        files[2].bytes = SMALL_BYTES + 1;
        assert_eq!(chosen(&files, &[], 5), [5, 4, 3, 1, 0]);
        assert!(chosen(&files, &[], 6).is_empty());
        assert!(chosen(&files, &[files[4].id], 5).is_empty());
    }

    #[test]
    fn merging_is_bounded_in_bytes_rows_and_time() {
        let files: Vec<SegmentFile> = (0..40).map(|seq| file(seq, SMALL_BYTES, 10)).collect();
        assert_eq!(chosen(&files, &[], 2).len(), 16);
        let files: Vec<SegmentFile> = (0..40).map(|seq| file(seq, 5000, 4096)).collect();
        assert_eq!(chosen(&files, &[], 2).len(), 8);
        let files: Vec<SegmentFile> = (0..400).map(|seq| file(seq, 2000, 1)).collect();
        assert_eq!(chosen(&files, &[], 2).len(), 360);
    }
}
