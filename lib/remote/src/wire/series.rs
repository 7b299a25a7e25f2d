//! The small answers of shards: cells, patterns, toggles, releases, status.
//!
//! A number that may be any double goes as its bits: what JSON makes of it may not be what it was.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shipwake_model::pattern::Level;
use shipwake_model::slot::SLOTS;
use shipwake_model::{Signal, Source};
use shipwake_store::{
    HealthCell, HealthSeries, MeasureCell, MeasureKey, MeasureSeries, PatternCell, PatternRow, PatternVersion,
    Rejected, ReleaseRow, ShardStatus, SlotSeries, ToggleRow, UsageOfDay,
};

use super::parts::Pieces;
use super::places::{KnownReleases, Releases, put_distinct, put_hdr, put_values, take_distinct, take_hdr, take_values};
use super::question::signal;

/// Start, requests, errors, slots; sum, minimum, maximum and length of the histogram.
type HealthCellForm = (i64, u64, u64, u8, u64, u64, u64, u64);

/// A series of requests, errors and durations.
#[derive(Serialize, Deserialize)]
pub(super) struct HealthForm {
    release: usize,
    source: String,
    route: String,
    cells: Vec<HealthCellForm>,
}

impl HealthForm {
    pub fn of(series: &HealthSeries, releases: &mut Releases, body: &mut Vec<u8>) -> Self {
        let cells = cell_forms(&series.cells, body);
        let source = series.source.as_str().to_owned();
        Self { release: releases.number(&series.release), source, route: series.route.to_string(), cells }
    }

    pub fn read(self, releases: &KnownReleases, pieces: &mut Pieces) -> Result<HealthSeries, String> {
        let cells = read_cells(self.cells, pieces)?;
        let source = source(&self.source)?;
        Ok(HealthSeries { release: releases.get(self.release)?, source, route: self.route.into(), cells })
    }
}

/// A series of one replicate slot.
#[derive(Serialize, Deserialize)]
pub(super) struct SlotForm {
    release: usize,
    source: String,
    slot: u8,
    cells: Vec<HealthCellForm>,
}

impl SlotForm {
    pub fn of(series: &SlotSeries, releases: &mut Releases, body: &mut Vec<u8>) -> Self {
        let cells = cell_forms(&series.cells, body);
        let source = series.source.as_str().to_owned();
        Self { release: releases.number(&series.release), source, slot: series.slot, cells }
    }

    pub fn read(self, releases: &KnownReleases, pieces: &mut Pieces) -> Result<SlotSeries, String> {
        if self.slot >= SLOTS {
            return Err(format!("there is no slot {}", self.slot));
        }
        let cells = read_cells(self.cells, pieces)?;
        Ok(SlotSeries { release: releases.get(self.release)?, source: source(&self.source)?, slot: self.slot, cells })
    }
}

fn cell_forms(cells: &[HealthCell], body: &mut Vec<u8>) -> Vec<HealthCellForm> {
    let mut form = |cell: &HealthCell| {
        let duration = &cell.duration;
        let (min, max) = (duration.min().unwrap_or(0), duration.max().unwrap_or(0));
        let length = put_hdr(body, duration);
        (cell.t_ms, cell.requests, cell.errors, cell.slots, duration.sum(), min, max, length)
    };
    cells.iter().map(&mut form).collect()
}

fn read_cells(forms: Vec<HealthCellForm>, pieces: &mut Pieces) -> Result<Vec<HealthCell>, String> {
    let mut cells = Vec::with_capacity(forms.len());
    for (t_ms, requests, errors, slots, sum, min, max, length) in forms {
        let duration = take_hdr(pieces, length, (sum, min, max))?;
        cells.push(HealthCell { t_ms, requests, errors, duration, slots });
    }
    Ok(cells)
}

fn source(word: &str) -> Result<Source, String> {
    Source::from_word(word).ok_or_else(|| format!("there is no source {word:?}"))
}

/// A log pattern.
#[derive(Serialize, Deserialize)]
pub(super) struct PatternForm {
    service: String,
    namespace: String,
    environment: String,
    id: u64,
    template: String,
    example: String,
    versions: Vec<PatternVersionForm>,
}

#[derive(Serialize, Deserialize)]
struct PatternVersionForm {
    version: String,
    level: u8,
    first_seen_ns: i64,
    last_seen_ns: i64,
    count: u64,
    /// Start, lines, slots.
    cells: Vec<(i64, u64, u8)>,
}

impl PatternForm {
    pub fn of(row: &PatternRow) -> Self {
        let version = |of: &PatternVersion| PatternVersionForm {
            version: of.version.to_string(),
            level: of.level as u8,
            first_seen_ns: of.first_seen_ns,
            last_seen_ns: of.last_seen_ns,
            count: of.count,
            cells: of.cells.iter().map(|cell| (cell.t_ms, cell.count, cell.slots)).collect(),
        };
        Self {
            service: row.service.to_string(),
            namespace: row.namespace.to_string(),
            environment: row.environment.to_string(),
            id: row.id,
            template: row.template.to_string(),
            example: row.example.to_string(),
            versions: row.versions.iter().map(version).collect(),
        }
    }

    pub fn read(self) -> Result<PatternRow, String> {
        let version = |form: PatternVersionForm| {
            let level = Level::ALL.get(usize::from(form.level)).copied();
            let cell = |(t_ms, count, slots): (i64, u64, u8)| PatternCell { t_ms, count, slots };
            Ok(PatternVersion {
                version: form.version.into(),
                level: level.ok_or_else(|| format!("there is no level {}", form.level))?,
                first_seen_ns: form.first_seen_ns,
                last_seen_ns: form.last_seen_ns,
                count: form.count,
                cells: form.cells.into_iter().map(cell).collect(),
            })
        };
        Ok(PatternRow {
            service: self.service.into(),
            namespace: self.namespace.into(),
            environment: self.environment.into(),
            id: self.id,
            template: self.template.into(),
            example: self.example.into(),
            versions: self.versions.into_iter().map(version).collect::<Result<_, String>>()?,
        })
    }
}

/// Start, records, bits of the sum; lengths of the distinct count and of the distribution.
type MeasureCellForm = (i64, u64, u64, Option<u64>, Option<u64>);

/// A series of a KPI, of usage or of a toggle.
#[derive(Serialize, Deserialize)]
pub(super) struct MeasureForm {
    release: usize,
    signal: String,
    metric: String,
    unit: String,
    attributes: Vec<(String, String)>,
    cells: Vec<MeasureCellForm>,
}

impl MeasureForm {
    pub fn of(series: &MeasureSeries, releases: &mut Releases, body: &mut Vec<u8>) -> Self {
        let mut cell = |cell: &MeasureCell| {
            let distinct = put_distinct(body, cell.distinct.as_ref());
            let values = put_values(body, cell.values.as_ref());
            (cell.t_ms, cell.count, cell.sum.to_bits(), distinct, values)
        };
        let cells = series.cells.iter().map(&mut cell).collect();
        let MeasureKey { release, signal, metric, unit, attributes } = &*series.key;
        Self {
            release: releases.number(release),
            signal: (*signal).to_owned(),
            metric: metric.to_string(),
            unit: unit.to_string(),
            attributes: attributes.clone(),
            cells,
        }
    }

    pub fn read(self, releases: &KnownReleases, pieces: &mut Pieces) -> Result<MeasureSeries, String> {
        let mut cells = Vec::with_capacity(self.cells.len());
        for (t_ms, count, sum, distinct, values) in self.cells {
            let distinct = take_distinct(pieces, distinct)?;
            let values = take_values(pieces, values)?;
            cells.push(MeasureCell { t_ms, count, sum: f64::from_bits(sum), distinct, values });
        }
        let key = MeasureKey {
            release: releases.get(self.release)?,
            signal: signal(&self.signal).ok_or_else(|| format!("there is no signal {:?}", self.signal))?,
            metric: self.metric.into(),
            unit: self.unit.into(),
            attributes: self.attributes,
        };
        Ok(MeasureSeries { key: Arc::new(key), cells })
    }
}

/// Users and sessions of a release: lengths of their distinct counts.
#[derive(Serialize, Deserialize)]
pub(super) struct UsageForm {
    release: usize,
    users: u64,
    sessions: u64,
    crashed: u64,
    errored: u64,
}

impl UsageForm {
    pub fn of(usage: &UsageOfDay, releases: &mut Releases, body: &mut Vec<u8>) -> Self {
        let mut length = |distinct| put_distinct(body, Some(distinct)).unwrap_or(0);
        let (users, sessions) = (length(&usage.users), length(&usage.sessions));
        let (crashed, errored) = (length(&usage.crashed), length(&usage.errored));
        Self { release: releases.number(&usage.release), users, sessions, crashed, errored }
    }

    pub fn read(self, releases: &KnownReleases, pieces: &mut Pieces) -> Result<UsageOfDay, String> {
        let mut distinct = |length| take_distinct(pieces, Some(length)).map(Option::unwrap_or_default);
        Ok(UsageOfDay {
            release: releases.get(self.release)?,
            users: distinct(self.users)?,
            sessions: distinct(self.sessions)?,
            crashed: distinct(self.crashed)?,
            errored: distinct(self.errored)?,
        })
    }
}

/// A variant of a toggle.
#[derive(Serialize, Deserialize)]
pub(super) struct ToggleForm {
    release: usize,
    key: String,
    variant: String,
    evaluations: u64,
    recent: u64,
    first_seen_ns: i64,
    last_seen_ns: i64,
    changed_ns: i64,
    hot: bool,
}

impl ToggleForm {
    pub fn of(row: &ToggleRow, releases: &mut Releases) -> Self {
        Self {
            release: releases.number(&row.release),
            key: row.key.to_string(),
            variant: row.variant.to_string(),
            evaluations: row.evaluations,
            recent: row.recent,
            first_seen_ns: row.first_seen_ns,
            last_seen_ns: row.last_seen_ns,
            changed_ns: row.changed_ns,
            hot: row.hot,
        }
    }

    pub fn read(self, releases: &KnownReleases) -> Result<ToggleRow, String> {
        Ok(ToggleRow {
            release: releases.get(self.release)?,
            key: self.key.into(),
            variant: self.variant.into(),
            evaluations: self.evaluations,
            recent: self.recent,
            first_seen_ns: self.first_seen_ns,
            last_seen_ns: self.last_seen_ns,
            changed_ns: self.changed_ns,
            hot: self.hot,
        })
    }
}

/// A release, as one shard knows it.
#[derive(Serialize, Deserialize)]
pub(super) struct ReleaseRowForm {
    release: usize,
    first_seen_ns: i64,
    last_seen_ns: i64,
    records: u64,
    requests: u64,
    instances: u32,
    instance_guessed: bool,
    #[serde(default)]
    hashes: Vec<String>,
}

impl ReleaseRowForm {
    pub fn of(row: &ReleaseRow, releases: &mut Releases) -> Self {
        Self {
            release: releases.number(&row.release),
            first_seen_ns: row.first_seen_ns,
            last_seen_ns: row.last_seen_ns,
            records: row.records,
            requests: row.requests,
            instances: row.instances,
            instance_guessed: row.instance_guessed,
            hashes: row.hashes.iter().map(|hash| hash.to_string()).collect(),
        }
    }

    pub fn read(self, releases: &KnownReleases) -> Result<ReleaseRow, String> {
        Ok(ReleaseRow {
            release: releases.get(self.release)?,
            first_seen_ns: self.first_seen_ns,
            last_seen_ns: self.last_seen_ns,
            records: self.records,
            requests: self.requests,
            instances: self.instances,
            instance_guessed: self.instance_guessed,
            hashes: self.hashes.into_iter().map(Arc::from).collect(),
        })
    }
}

/// Counters and positions of a shard.
#[derive(Serialize, Deserialize)]
pub(super) struct StatusForm {
    shard: u32,
    next_offset: u64,
    journal_end: u64,
    watermark_ns: i64,
    newest_event_ns: i64,
    series: u64,
    overflow_records: u64,
    late_records: u64,
    future_records: u64,
    deduplicated: u64,
    stored: u64,
    stored_by_signal: [u64; 3],
    rejected: Vec<RejectedForm>,
    left_out: Vec<RejectedForm>,
    memory_bytes: Vec<(String, u64)>,
    ready: bool,
    problem: Option<String>,
}

/// Reason, number of the signal, count, last time in ns, newest case.
type RejectedForm = (String, u8, u64, i64, String);

impl StatusForm {
    pub fn of(status: &ShardStatus) -> Self {
        let rejected = |all: &[Rejected]| {
            let form = |one: &Rejected| {
                (one.reason.to_string(), one.signal as u8, one.count, one.last_ns, one.detail.to_string())
            };
            all.iter().map(form).collect()
        };
        Self {
            shard: status.shard,
            next_offset: status.next_offset,
            journal_end: status.journal_end,
            watermark_ns: status.watermark_ns,
            newest_event_ns: status.newest_event_ns,
            series: status.series,
            overflow_records: status.overflow_records,
            late_records: status.late_records,
            future_records: status.future_records,
            deduplicated: status.deduplicated,
            stored: status.stored,
            stored_by_signal: status.stored_by_signal,
            rejected: rejected(&status.rejected),
            left_out: rejected(&status.left_out),
            memory_bytes: status.memory_bytes.iter().map(|(part, bytes)| ((*part).to_owned(), *bytes)).collect(),
            ready: status.ready,
            problem: status.problem.as_deref().map(str::to_owned),
        }
    }

    pub fn read(self) -> Result<ShardStatus, String> {
        Ok(ShardStatus {
            shard: self.shard,
            next_offset: self.next_offset,
            journal_end: self.journal_end,
            watermark_ns: self.watermark_ns,
            newest_event_ns: self.newest_event_ns,
            series: self.series,
            overflow_records: self.overflow_records,
            late_records: self.late_records,
            future_records: self.future_records,
            deduplicated: self.deduplicated,
            stored: self.stored,
            stored_by_signal: self.stored_by_signal,
            rejected: self.rejected.into_iter().map(rejected).collect::<Result<_, _>>()?,
            left_out: self.left_out.into_iter().map(rejected).collect::<Result<_, _>>()?,
            memory_bytes: self.memory_bytes.into_iter().map(|(name, bytes)| (part(&name), bytes)).collect(),
            ready: self.ready,
            problem: self.problem.map(Arc::from),
        })
    }
}

fn rejected((reason, signal, count, last_ns, detail): RejectedForm) -> Result<Rejected, String> {
    let signal = Signal::from_number(signal).ok_or_else(|| format!("there is no signal {signal}"))?;
    Ok(Rejected { reason: reason.into(), signal, count, last_ns, detail: detail.into() })
}

/// A part of a shard's memory by its name. Parts that this version does not know are one.
fn part(name: &str) -> &'static str {
    const PARTS: [&str; 10] = [
        "rows",
        "cells",
        "pending_commit",
        "recent",
        "product",
        "markers",
        "series",
        "patterns",
        "running_totals",
        "request_hashes",
    ];
    PARTS.into_iter().find(|part| *part == name).unwrap_or("other")
}
