//! Going on from the last commit: state and position from the newest manifest, recent cells from stored windows.
//!
//! The state is there before the first record is folded; recent cells come after, newest segments first, because the pages
//! can do without them for a moment and the journal cannot. Both orders give the same sums.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType};
use hashbrown::HashMap;
use shipwake_model::pattern::{Level, id_of_text};
use shipwake_model::{HdrCells, ReleaseId, Resolution, Sketch, Source};
use shipwake_store::{SegmentFile, ShardCommitter, Store, StoreError, Table};

use crate::cells::FullCell;
use crate::commit::Cut;
use crate::config::AggregateConfig;
use crate::error::AggregateError;
use crate::patterns;
use crate::product::recent::{stored_cell, stored_key};
use crate::recent::{Addition, SECONDS_KEPT_NS, TENS_KEPT_NS};
use crate::series::Measure;
use crate::state::State;
use crate::state_bytes::decode;
use crate::view::Shared;

const COLUMNS: [&str; 18] = [
    "service",
    "namespace",
    "environment",
    "version",
    "window_start",
    "resolution_s",
    "signal",
    "metric",
    "unit",
    "attributes",
    "source",
    "route",
    "slot",
    "count",
    "sum",
    "min",
    "max",
    "histogram",
];

/// Becomes the writer of the shard and takes back its state.
pub fn recover(store: &Store, shard: u32, config: &AggregateConfig) -> Result<(ShardCommitter, State), AggregateError> {
    let opened = store.open_shard(shard).map_err(|source| AggregateError::Store { shard, source })?;
    let (committer, Some(recovered)) = opened else {
        return Ok((opened.0, State::new(config)));
    };
    if recovered.state.is_empty() {
        let last_line = last_line(store, &recovered.files);
        return Ok((committer, State::forgotten(config, recovered.next_offset, last_line)));
    }
    let state = decode(&recovered.state, config).map_err(|reason| AggregateError::State { shard, reason })?;
    same_offset(&state, recovered.next_offset).map_err(|reason| AggregateError::State { shard, reason })?;
    Ok((committer, state))
}

/// The same where other processes may believe that the shard is theirs: commits what they have left, so that they learn better at
/// their next commit. `None` when the shard is not wanted here any more.
pub fn take_over(
    store: &Store,
    shard: u32,
    config: &AggregateConfig,
    is_wanted: impl Fn() -> bool,
) -> Result<Option<(ShardCommitter, State)>, AggregateError> {
    while is_wanted() {
        let (mut committer, mut state) = recover(store, shard, config)?;
        let now_ns = config.clock.now_ns();
        let taken = match committer.seq() {
            Some(_) => committer.take_over(now_ns),
            None => Cut::take(&mut state).commit(&mut committer, now_ns).map(|_| ()),
        };
        match taken {
            Ok(()) => return Ok(Some((committer, state))),
            // It was not read to its end, or somebody else takes it over as well.
            Err(StoreError::Fenced { seq, .. }) => {
                tracing::info!(shard, seq, "another process was first; reading again");
            }
            Err(source) => return Err(AggregateError::Store { shard, source }),
        }
    }
    Ok(None)
}

/// The largest number of a stored log record; numbers go on behind it. Segments that cannot be read are set aside.
fn last_line(store: &Store, files: &[SegmentFile]) -> i64 {
    let mut last = 0;
    for file in files.iter().filter(|file| file.table == Table::Logs) {
        match store.read_segment(file, Some(&["line"]), i64::MIN..i64::MAX) {
            Ok(batches) => {
                let numbers = batches.iter().filter_map(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
                last = numbers.filter_map(arrow::compute::max).fold(last, i64::max);
            }
            Err(error) => {
                store.set_aside(&error);
            }
        }
    }
    last
}

/// Whether a shard would take up this state, committed together with `next_offset`. For checks while nothing runs.
pub fn check_state(state: &[u8], next_offset: u64) -> Result<(), String> {
    let state = decode(state, &AggregateConfig::default())?;
    same_offset(&state, next_offset)
}

fn same_offset(state: &State, next_offset: u64) -> Result<(), String> {
    if state.next_offset == next_offset {
        return Ok(());
    }
    Err(format!("it ends at offset {}, its manifest at {next_offset}", state.next_offset))
}

/// Adds the stored cells of the last minutes and the last hour to the recent ones. Blocks on the disk. Stops early when the
/// shard was reloaded in between.
pub fn reload_recent(store: &Store, shared: &Shared) -> Result<(), StoreError> {
    let (files, newest_ns, epoch) = {
        let inner = shared.lock();
        (inner.files.clone(), inner.state.watermark.newest_ns(), inner.epoch)
    };
    for (table, kept_ns) in [(Table::Windows1s, SECONDS_KEPT_NS), (Table::Windows, TENS_KEPT_NS)] {
        let from_ns = newest_ns.saturating_sub(kept_ns);
        let wanted = |file: &&SegmentFile| file.table == table && file.overlaps(from_ns, i64::MAX);
        let mut newest_first: Vec<&SegmentFile> = files.iter().filter(wanted).collect();
        newest_first.sort_by_key(|file| std::cmp::Reverse(file.id.seq));
        for file in newest_first {
            let batches = match store.read_segment(file, Some(&COLUMNS), from_ns..i64::MAX) {
                // What is damaged is missing on the pages, which say so, and the rest is not.
                Err(error) if store.set_aside(&error) => continue,
                batches => batches?,
            };
            let mut inner = shared.lock();
            if inner.epoch != epoch {
                return Ok(());
            }
            for batch in &batches {
                add_rows(&mut inner.state, batch);
            }
            let newest_ns = inner.state.watermark.newest_ns();
            inner.state.recent.prune(newest_ns);
            inner.state.patterns.prune(newest_ns);
            inner.state.product.recent.prune(newest_ns);
            drop(inner);
            shared.give_way();
        }
    }
    Ok(())
}

fn add_rows(state: &mut State, batch: &RecordBatch) {
    let Some(rows) = Rows::of(batch) else { return };
    let mut releases: HashMap<ReleaseId, Arc<ReleaseId>> = HashMap::new();
    for row in 0..batch.num_rows() {
        if let Some((id, level)) = rows.pattern(row) {
            let release = rows.release(row);
            let release = releases.entry(release.clone()).or_insert_with(|| Arc::new(release));
            state.patterns.add_recent(&patterns::Addition {
                start_ns: rows.window_start.value(row),
                release,
                id,
                level,
                slot: (rows.slot.value(row) & 7) as u8,
                count: rows.count.value(row).max(0) as u64,
            });
            continue;
        }
        let (Some(resolution), Some(source)) = (rows.resolution(row), Source::from_word(rows.source.value(row))) else {
            continue;
        };
        let cell = match rows.cell(row) {
            Ok(Some(cell)) => cell,
            Ok(None) => {
                if resolution == Resolution::S10 {
                    add_measure(state, &rows, row, &mut releases);
                }
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "stored histogram cannot be read; the page shows this window without it");
                continue;
            }
        };
        let id = rows.release(row);
        let release = releases.entry(id.clone()).or_insert_with(|| Arc::new(id));
        state.recent.add(&Addition {
            start_ns: rows.window_start.value(row),
            resolution,
            release,
            source,
            route: &rows.route.value(row).into(),
            slot: (rows.slot.value(row) & 7) as u8,
            cell: &cell,
        });
    }
}

/// Adds a stored row of a KPI, of usage or of a toggle.
fn add_measure(state: &mut State, rows: &Rows<'_>, row: usize, releases: &mut HashMap<ReleaseId, Arc<ReleaseId>>) {
    let id = rows.release(row);
    let release = releases.entry(id.clone()).or_insert_with(|| Arc::new(id));
    let (signal, metric, unit) = (rows.signal.value(row), rows.metric.value(row), rows.unit.value(row));
    let Some(key) = stored_key(release, signal, metric, unit, rows.attributes(row)) else { return };
    let sketch = rows.histogram.is_valid(row).then(|| Sketch::decode(rows.histogram.value(row)));
    match sketch.transpose() {
        Ok(sketch) => {
            let (count, sum) = (rows.count.value(row).max(0) as u64, rows.summary[0].value(row));
            state.product.recent.add(rows.window_start.value(row), key, &stored_cell(count, sum, sketch));
        }
        Err(error) => {
            tracing::warn!(%error, "stored distinct count cannot be read; the page shows this window without it");
        }
    }
}

/// The columns of a batch of stored windows.
struct Rows<'a> {
    identity: [&'a arrow::array::StringArray; 4],
    window_start: &'a arrow::array::PrimitiveArray<TimestampNanosecondType>,
    resolution_s: &'a arrow::array::PrimitiveArray<Int32Type>,
    signal: &'a arrow::array::StringArray,
    metric: &'a arrow::array::StringArray,
    unit: &'a arrow::array::StringArray,
    attributes: &'a arrow::array::MapArray,
    source: &'a arrow::array::StringArray,
    route: &'a arrow::array::StringArray,
    slot: &'a arrow::array::PrimitiveArray<Int8Type>,
    count: &'a arrow::array::PrimitiveArray<Int64Type>,
    summary: [&'a arrow::array::PrimitiveArray<Float64Type>; 3],
    histogram: &'a arrow::array::BinaryArray,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let column = |name: &str| batch.column_by_name(name);
        let text = |name: &str| column(name)?.as_string_opt::<i32>();
        let number = |name: &str| column(name)?.as_primitive_opt::<Float64Type>();
        Some(Rows {
            identity: [text("service")?, text("namespace")?, text("environment")?, text("version")?],
            window_start: column("window_start")?.as_primitive_opt()?,
            resolution_s: column("resolution_s")?.as_primitive_opt()?,
            signal: text("signal")?,
            metric: text("metric")?,
            unit: text("unit")?,
            attributes: column("attributes")?.as_map_opt()?,
            source: text("source")?,
            route: text("route")?,
            slot: column("slot")?.as_primitive_opt()?,
            count: column("count")?.as_primitive_opt()?,
            summary: [number("sum")?, number("min")?, number("max")?],
            histogram: column("histogram")?.as_binary_opt::<i32>()?,
        })
    }

    /// The pattern and the level of lines that were counted in a minute.
    fn pattern(&self, row: usize) -> Option<(u64, Level)> {
        let is_minute = self.resolution_s.value(row) == Resolution::S60.seconds();
        if !is_minute || self.signal.value(row) != Measure::Pattern.as_str() {
            return None;
        }
        let attributes = self.attributes.value(row);
        let (keys, values) =
            (attributes.column(0).as_string_opt::<i32>()?, attributes.column(1).as_string_opt::<i32>()?);
        let level = (0..keys.len()).find(|at| keys.value(*at) == patterns::LEVEL)?;
        Some((id_of_text(self.metric.value(row))?, Level::from_word(values.value(level))?))
    }

    fn resolution(&self, row: usize) -> Option<Resolution> {
        match self.resolution_s.value(row) {
            1 => Some(Resolution::S1),
            10 => Some(Resolution::S10),
            _ => None,
        }
    }

    fn attributes(&self, row: usize) -> Vec<(String, String)> {
        let entries = self.attributes.value(row);
        let (keys, values) = (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_string_opt::<i32>());
        let (Some(keys), Some(values)) = (keys, values) else { return Vec::new() };
        (0..entries.len()).map(|at| (keys.value(at).to_owned(), values.value(at).to_owned())).collect()
    }

    fn release(&self, row: usize) -> ReleaseId {
        let [service, namespace, environment, version] = self.identity.map(|column| column.value(row).into());
        ReleaseId { service, namespace, environment, version }
    }

    /// What the row adds to requests, errors or durations; `None` for other signals.
    fn cell(&self, row: usize) -> Result<Option<FullCell>, shipwake_model::sketch::SketchError> {
        let count = self.count.value(row).max(0) as u64;
        let cell = match self.signal.value(row) {
            "requests" => FullCell { requests: count, ..FullCell::default() },
            "errors" => FullCell { errors: count, ..FullCell::default() },
            "duration" if self.histogram.is_valid(row) => {
                let [sum, min, max] = self.summary.map(|column| column.value(row).max(0.0) as u64);
                let duration = HdrCells::decode_v2(self.histogram.value(row))?.with_summary(sum, min, max);
                FullCell { duration, ..FullCell::default() }
            }
            _ => return Ok(None),
        };
        Ok(Some(cell))
    }
}
