//! The state of a memory journal and its transitions, each under one short lock. No waiting happens here.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::MemoryJournal;
use super::faults::{Dice, FaultPlan};
use crate::error::JournalError;
use crate::journal::{Position, Record, Stored};

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Sent to after every transition; readers look again.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) struct State {
    partitions: Vec<Partition>,
    /// Appends that were neither answered nor given up, by number.
    pub(super) in_flight: BTreeMap<u64, Vec<Record>>,
    appends: u64,
    dice: Dice,
    plan: FaultPlan,
    pub(super) full: bool,
    fate: Fate,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// Offset of the first record of `records`.
    oldest: u64,
    /// Below it somebody else has deleted records.
    lost_before: u64,
    records: VecDeque<Arc<Stored>>,
}

#[derive(Clone, Debug)]
enum Fate {
    Open,
    /// Appends in flight are still finished.
    Closed,
    /// Nothing is finished any more.
    Crashed,
    Poisoned(Arc<str>),
}

/// What was drawn for an append.
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) delay: Duration,
    pub(super) lose_answer: bool,
}

impl Shared {
    pub(super) fn new(partitions: u32, plan: FaultPlan) -> Self {
        assert!(partitions >= 1, "a journal has at least one partition");
        let partitions = vec![Partition::default(); partitions as usize];
        let dice = Dice::new(plan.seed);
        Self::from_state(State {
            partitions,
            in_flight: BTreeMap::new(),
            appends: 0,
            dice,
            plan,
            full: false,
            fate: Fate::Open,
        })
    }

    fn from_state(state: State) -> Self {
        Self { state: Mutex::new(state), changes: watch::channel(()).0 }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding the lock of a memory journal")
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn partitions(&self) -> u32 {
        self.lock().partitions.len() as u32
    }

    pub(super) fn end(&self, partition: u32) -> u64 {
        self.lock().partitions.get(partition as usize).map_or(0, Partition::end)
    }

    /// Takes an append in, or refuses it before it had any effect.
    pub(super) fn begin(&self, records: Vec<Record>) -> Result<Ticket, JournalError> {
        let mut state = self.lock();
        state.check_open()?;
        state.check_records(&records)?;
        state.appends += 1;
        if state.plan.poison_after.is_some_and(|appends| state.appends > appends) {
            let reason: Arc<str> = "fault plan: the appends allowed are used up".into();
            state.fate = Fate::Poisoned(Arc::clone(&reason));
            drop(state);
            self.changes.send_replace(());
            return Err(JournalError::Poisoned { reason });
        }
        let plan = state.plan.clone();
        if state.full || state.dice.chance(plan.full) {
            return Err(JournalError::Full { path: memory_path() });
        }
        if state.dice.chance(plan.refuse) {
            return Err(injected("append to"));
        }
        let lose_answer = state.dice.chance(plan.lose_answer);
        let delay = state.dice.duration(plan.delay_max);
        let id = state.appends;
        state.in_flight.insert(id, records);
        Ok(Ticket { id, delay, lose_answer })
    }

    /// Makes an append durable and visible, and answers it.
    pub(super) fn finish(&self, id: u64, lose_answer: bool) -> Result<Vec<Position>, JournalError> {
        let result = self.lock().finish(id, lose_answer);
        self.changes.send_replace(());
        result
    }

    /// The caller gave up waiting: the seed decides whether the records are kept.
    pub(super) fn abandon(&self, id: u64) {
        let mut state = self.lock();
        let keep = state.dice.chance(0.5);
        let Some(records) = state.in_flight.remove(&id) else { return };
        if keep && matches!(state.fate, Fate::Open | Fate::Closed) {
            state.keep(records);
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// Records from `from` on, or `None` when a reader has to wait.
    pub(super) fn look(
        &self,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Option<Vec<Arc<Stored>>>, JournalError> {
        let state = self.lock();
        let partitions = state.partitions.len() as u32;
        let Some(part) = state.partitions.get(partition as usize) else {
            return Err(JournalError::NoPartition { partition, partitions });
        };
        if matches!(state.fate, Fate::Crashed) {
            return Err(JournalError::Closed);
        }
        if from < part.lost_before {
            return Err(JournalError::Lost { partition, from, oldest: part.oldest });
        }
        if from < part.oldest {
            return Err(JournalError::OffsetGone { from, oldest: part.oldest });
        }
        if from > part.end() {
            return Err(JournalError::OffsetAhead { from, end: part.end() });
        }
        if from == part.end() {
            // Appends in flight may still bring something, after `close` too.
            if matches!(state.fate, Fate::Closed) && !state.in_flight.is_empty() {
                return Ok(None);
            }
            return state.check_open().map(|()| None);
        }
        let mut left = max_bytes;
        let mut found = Vec::new();
        for record in part.records.range((from - part.oldest) as usize..) {
            if !found.is_empty() && record.value.len() > left {
                break;
            }
            left = left.saturating_sub(record.value.len());
            found.push(Arc::clone(record));
        }
        Ok(Some(found))
    }

    pub(super) fn truncate(&self, partition: u32, offset: u64, lost: bool) -> Result<(), JournalError> {
        let mut state = self.lock();
        let partitions = state.partitions.len() as u32;
        let Some(part) = state.partitions.get_mut(partition as usize) else {
            return Err(JournalError::NoPartition { partition, partitions });
        };
        if lost {
            part.lost_before = part.lost_before.max(offset.min(part.end()));
        }
        while part.oldest < offset && part.records.pop_front().is_some() {
            part.oldest += 1;
        }
        Ok(())
    }

    pub(super) fn poison(&self, reason: &str) {
        self.lock().fate = Fate::Poisoned(reason.into());
        self.changes.send_replace(());
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        if matches!(state.fate, Fate::Open) {
            state.fate = Fate::Closed;
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// Ends this journal and returns what a new start would find.
    pub(super) fn crash(&self) -> Self {
        let mut state = self.lock();
        let in_flight = std::mem::take(&mut state.in_flight);
        let was_crashed = matches!(state.fate, Fate::Crashed);
        assert!(!was_crashed, "a journal crashes once; go on with what restart() returned");
        let mut after = State {
            partitions: state.partitions.clone(),
            in_flight: BTreeMap::new(),
            appends: 0,
            dice: Dice::new(state.dice.next()),
            plan: state.plan.clone(),
            full: false,
            fate: Fate::Open,
        };
        for records in in_flight.into_values() {
            after.keep_torn(records);
        }
        state.fate = Fate::Crashed;
        drop(state);
        self.changes.send_replace(());
        Self::from_state(after)
    }
}

impl State {
    fn check_open(&self) -> Result<(), JournalError> {
        match &self.fate {
            Fate::Open => Ok(()),
            Fate::Closed | Fate::Crashed => Err(JournalError::Closed),
            Fate::Poisoned(reason) => Err(JournalError::Poisoned { reason: Arc::clone(reason) }),
        }
    }

    fn check_records(&self, records: &[Record]) -> Result<(), JournalError> {
        let partitions = self.partitions.len() as u32;
        records.iter().try_for_each(|record| record.check(partitions, MemoryJournal::RECORD_BYTES_MAX))
    }

    fn finish(&mut self, id: u64, lose_answer: bool) -> Result<Vec<Position>, JournalError> {
        let records = self.in_flight.remove(&id);
        if !matches!(self.fate, Fate::Closed) {
            self.check_open()?;
        }
        let mut records = records.expect("only finish, abandon and crash remove an append, and each ends it");
        if !lose_answer {
            return Ok(self.keep(records));
        }
        let spared = self.dice.below(self.partitions.len() + 1) as u32;
        records.retain(|record| record.partition != spared);
        self.keep(records);
        Err(injected("answer an append to"))
    }

    fn keep(&mut self, records: Vec<Record>) -> Vec<Position> {
        records.into_iter().map(|record| self.keep_one(record)).collect()
    }

    /// Keeps a first part of every partition's records: what a torn tail may leave.
    fn keep_torn(&mut self, records: Vec<Record>) {
        let mut torn = vec![false; self.partitions.len()];
        for record in records {
            let partition = record.partition as usize;
            torn[partition] |= self.dice.chance(0.3);
            if !torn[partition] {
                self.keep_one(record);
            }
        }
    }

    fn keep_one(&mut self, record: Record) -> Position {
        let Record { partition, header, value } = record;
        let part = &mut self.partitions[partition as usize];
        let offset = part.end();
        part.records.push_back(Arc::new(Stored { offset, header, value }));
        Position { partition, offset }
    }
}

impl Partition {
    fn end(&self) -> u64 {
        self.oldest + self.records.len() as u64
    }
}

fn injected(doing: &'static str) -> JournalError {
    JournalError::Io { doing, path: memory_path(), source: Arc::new(io::Error::other("fault plan")) }
}

fn memory_path() -> PathBuf {
    PathBuf::from("(memory)")
}
