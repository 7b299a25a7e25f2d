//! What is shared between the writer thread of a partition and its readers: how far it is durable, which files there
//! are, and the newest records. Locks are held for lookups only, never over I/O.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::cache::TailCache;
use super::footer::{self, IndexEntry};
use super::queue::Queue;
use super::read::{Place, Start};
use super::segment::ActiveSegment;
use crate::error::JournalError;
use crate::journal::Stored;

/// See the module.
pub(super) struct Partition {
    number: u32,
    pub(super) dir: PathBuf,
    pub(super) queue: Queue,
    progress: watch::Sender<Progress>,
    state: Mutex<State>,
    /// Held while files are removed.
    pub(super) truncating: Mutex<()>,
}

/// How far the partition is, and whether it goes on.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub end: u64,
    pub fate: Fate,
}

#[derive(Clone, Debug)]
pub(super) enum Fate {
    Open,
    Closed,
    Poisoned(Arc<str>),
}

/// A segment file that is not written to any more: sealed, or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub path: PathBuf,
    pub salt: u64,
    pub base_offset: u64,
    pub next_offset: u64,
    pub received_ns_max: i64,
    /// Where the footer begins; the size of the file when it is damaged.
    pub footer_position: u64,
    /// It is not what was written: records are looked for in all of it, and some may be missing.
    pub is_damaged: bool,
}

/// The readable part of the segment that is written to.
struct Active {
    path: PathBuf,
    salt: u64,
    base_offset: u64,
    len: u64,
    received_ns_max: i64,
    index: Vec<IndexEntry>,
}

struct State {
    cache: TailCache,
    sealed: VecDeque<Sealed>,
    active: Option<Active>,
    end: u64,
}

/// Where a record is.
pub(super) enum Found {
    Cached(Vec<Arc<Stored>>),
    OnDisk(Place),
    Gone {
        oldest: u64,
    },
    /// In a file that is gone, between others or behind the last.
    Lost {
        oldest: u64,
    },
}

impl Partition {
    pub(super) fn new(
        (number, dir): (u32, PathBuf),
        queue: Queue,
        cache_bytes: usize,
        sealed: VecDeque<Sealed>,
        end: u64,
    ) -> Self {
        let state = State { cache: TailCache::new(cache_bytes), sealed, active: None, end };
        let progress = watch::channel(Progress { end, fate: Fate::Open }).0;
        Self { number, dir, queue, progress, state: Mutex::new(state), truncating: Mutex::new(()) }
    }

    /// The next offset among durable records.
    pub(super) fn end(&self) -> u64 {
        self.progress.borrow().end
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Shows a segment to readers, with what it holds already.
    pub(super) fn show(&self, segment: &ActiveSegment) {
        let summary = &segment.summary;
        self.lock().active = Some(Active {
            path: segment.path.clone(),
            salt: segment.salt,
            base_offset: summary.base_offset,
            len: segment.len(),
            received_ns_max: summary.received_ns_max,
            index: summary.index.clone(),
        });
    }

    /// Makes records visible that have just become durable in the segment shown last.
    pub(super) fn publish(&self, records: Vec<Arc<Stored>>, segment: &ActiveSegment) {
        let mut evicted = Vec::new();
        let mut state = self.lock();
        let active = state.active.as_mut().expect("a segment is shown before it is written to");
        active.len = segment.len();
        active.received_ns_max = segment.summary.received_ns_max;
        let known = active.index.len();
        active.index.extend_from_slice(&segment.summary.index[known..]);
        state.end = segment.summary.next_offset;
        for record in records {
            state.cache.push(record, &mut evicted);
        }
        let end = state.end;
        drop(state);
        self.progress.send_modify(|progress| progress.end = end);
        drop(evicted);
    }

    /// The segment shown last has been sealed.
    pub(super) fn sealed(&self, sealed: Sealed) {
        let mut state = self.lock();
        state.active = None;
        state.sealed.push_back(sealed);
    }

    /// The writer thread is done; what is there can still be read.
    pub(super) fn closed(&self) {
        self.progress.send_modify(|progress| {
            if matches!(progress.fate, Fate::Open) {
                progress.fate = Fate::Closed;
            }
        });
    }

    pub(super) fn poisoned(&self, reason: &Arc<str>) {
        self.progress.send_modify(|progress| progress.fate = Fate::Poisoned(Arc::clone(reason)));
    }

    /// Where the records from `from` on are, for an offset below the end.
    pub(super) fn find(&self, from: u64, max_bytes: usize) -> Found {
        let state = self.lock();
        if let Some(records) = state.cache.get(from, max_bytes) {
            return Found::Cached(records);
        }
        let oldest = state.oldest();
        if from < oldest {
            return Found::Gone { oldest };
        }
        if let Some(active) = state.active.as_ref().filter(|active| active.base_offset <= from) {
            let start = footer::seek(&active.index, from).expect("the index of a segment starts with its first record");
            return Found::OnDisk(Place {
                partition: self.number,
                path: active.path.clone(),
                salt: active.salt,
                base_offset: active.base_offset,
                end: state.end,
                limit: active.len,
                start: Start::At(start),
            });
        }
        let index = state.sealed.partition_point(|sealed| sealed.next_offset <= from);
        let behind = || state.active.as_ref().map_or(state.end, |active| active.base_offset);
        match state.sealed.get(index) {
            None => Found::Lost { oldest: behind() },
            Some(sealed) if sealed.base_offset > from => Found::Lost { oldest: sealed.base_offset },
            Some(sealed) => Found::OnDisk(Place {
                partition: self.number,
                path: sealed.path.clone(),
                salt: sealed.salt,
                base_offset: sealed.base_offset,
                end: sealed.next_offset,
                limit: sealed.footer_position,
                start: if sealed.is_damaged { Start::Anywhere } else { Start::ByFooter },
            }),
        }
    }

    /// Whether a file is among those that readers are sent to.
    pub(super) fn has(&self, path: &std::path::Path) -> bool {
        let state = self.lock();
        state.active.as_ref().is_some_and(|active| active.path == path)
            || state.sealed.iter().any(|sealed| sealed.path == path)
    }

    /// Takes the oldest sealed segment out of the list if nobody needs it any more: readers do not find it from now on,
    /// and the caller removes the file.
    pub(super) fn take_removable(&self, offset: u64, retention_ns: i64, retained_bytes_max: u64) -> Option<Sealed> {
        let mut state = self.lock();
        // The last file stays, because it says what the next offset is.
        if state.active.is_none() && state.sealed.len() < 2 {
            return None;
        }
        let newest_ns = state.received_ns_max();
        let bytes: u64 = state.sealed.iter().map(|sealed| sealed.footer_position).sum();
        let oldest = state.sealed.front()?;
        let old = oldest.received_ns_max < newest_ns.saturating_sub(retention_ns);
        let removable = oldest.next_offset <= offset && (old || bytes > retained_bytes_max);
        if removable { state.sealed.pop_front() } else { None }
    }

    /// Undoes `take_removable` when the file could not be removed.
    pub(super) fn put_back(&self, sealed: Sealed) {
        self.lock().sealed.push_front(sealed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding a partition's state")
    }
}

impl Progress {
    /// Whether a reader may wait for more.
    pub(super) fn check_open(&self) -> Result<(), JournalError> {
        match &self.fate {
            Fate::Open => Ok(()),
            Fate::Closed => Err(JournalError::Closed),
            Fate::Poisoned(reason) => Err(JournalError::Poisoned { reason: Arc::clone(reason) }),
        }
    }
}

impl State {
    fn oldest(&self) -> u64 {
        let active = self.active.as_ref().map_or(self.end, |active| active.base_offset);
        self.sealed.front().map_or(active, |sealed| sealed.base_offset)
    }

    fn received_ns_max(&self) -> i64 {
        let active = self.active.as_ref().map(|active| active.received_ns_max);
        let sealed = self.sealed.iter().map(|sealed| sealed.received_ns_max);
        sealed.chain(active).max().unwrap_or(i64::MIN)
    }
}
