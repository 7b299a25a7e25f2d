//! Follows all files, in rounds: find files, read from each, write down what is about to be sent, send it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::files::{Named, is_generation};
use super::followed::{Followed, Look};
use super::mark::FileId;
use super::recover::{copy_of, find_again};
use super::state::{Entry, StateDir, prune};
use super::{From, TailArgs};
use crate::app;
use crate::send::cut;
use crate::send::post::{Delivered, Post};
use crate::send::words::say;

/// How often files are looked at when there is nothing to send, and how often new ones are searched.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const SEARCH_EVERY: Duration = Duration::from_millis(500);
/// Batches of a round: what may be in memory at once, in mebibytes.
const BATCHES_MAX: usize = 8;
/// Files that are open at once; the next ones wait until others are over.
const OPEN_MAX: usize = 900;
/// After a signal, delivery may take so long: less than what managers of services allow.
const WAIT_AFTER_SIGNAL: Duration = Duration::from_secs(8);
/// Troubles with files are said this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

const NOT_DELIVERED: u8 = 1;
const REFUSED: u8 = 2;
/// Endings of files that hold no lines as they are.
const PACKED: [&str; 6] = ["gz", "zst", "bz2", "xz", "zip", "lz4"];

struct Tail {
    names: Vec<Named>,
    from: From,
    state: StateDir,
    post: Post,
    followed: Vec<Followed>,
    /// Files that are over: not to be read again when their names turn up.
    over: BTreeMap<FileId, Entry>,
    /// Names that were followed before this start: what is there now is new.
    remembered: BTreeSet<PathBuf>,
    /// Where the next round begins, so that one busy file does not keep others waiting.
    turn: usize,
    unsaved: bool,
    complained: Option<Instant>,
}

/// See [`super::run`].
pub async fn run(args: TailArgs) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    app::cancel_on_signal(&stop)?;
    let names = args.files.iter().map(|name| Named::new(name)).collect::<anyhow::Result<_>>()?;
    let (post, state) = (Post::new(&args.target)?, StateDir::open(&args.state)?);
    let entries = state.read()?;
    let mut tail = Tail {
        names,
        from: args.from,
        state,
        post,
        followed: find_again(&entries, now_ms()),
        over: BTreeMap::new(),
        remembered: entries.into_iter().map(|entry| entry.named).collect(),
        turn: 0,
        unsaved: true,
        complained: None,
    };
    tail.search(true);
    if tail.followed.is_empty() {
        say(&format!("nothing at {} yet; waiting for it", args.files.join(", ")));
    }
    // Where each file begins is written down before anything is sent: a restart must not choose again.
    tail.save()?;
    tail.rounds(&stop, args.target.wait.min(WAIT_AFTER_SIGNAL)).await
}

impl Tail {
    async fn rounds(&mut self, stop: &CancellationToken, wait: Duration) -> anyhow::Result<ExitCode> {
        let mut searched = Instant::now();
        loop {
            let last = stop.is_cancelled();
            if searched.elapsed() >= SEARCH_EVERY {
                self.search(false);
                searched = Instant::now();
            }
            let batches = self.read();
            if batches.is_empty() {
                if std::mem::take(&mut self.unsaved) {
                    self.save()?;
                }
                if last {
                    return Ok(self.finish());
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
            self.save()?;
            self.unsaved = true;
            if let Some(code) = self.send(batches, stop, wait).await? {
                return Ok(code);
            }
            // One round after the signal is what was written by then; a file that is written to has no end.
            if last {
                self.save()?;
                return Ok(self.finish());
            }
        }
    }

    /// Sends what was written down. A code ends the program.
    async fn send(
        &mut self,
        batches: Vec<(usize, Vec<u8>)>,
        stop: &CancellationToken,
        wait: Duration,
    ) -> anyhow::Result<Option<ExitCode>> {
        let given_up = async {
            stop.cancelled().await;
            tokio::time::sleep(wait).await;
        };
        tokio::pin!(given_up);
        let mut undelivered: u64 = batches.iter().map(|(_, batch)| cut::lines(batch)).sum();
        for (at, batch) in batches {
            let key = self.followed[at].key();
            let delivered = tokio::select! {
                delivered = self.post.deliver(&batch, &key) => delivered,
                () = &mut given_up => {
                    self.save()?;
                    say(&format!("{undelivered} lines are not delivered yet; they are sent at the next start"));
                    return Ok(Some(ExitCode::from(NOT_DELIVERED)));
                }
            };
            if let Delivered::RefusedAtFirst(reason) = delivered {
                say(&format!("{}: {reason}", self.post.place()));
                return Ok(Some(ExitCode::from(REFUSED)));
            }
            let entry = &mut self.followed[at].entry;
            entry.position = entry.pending.take().unwrap_or(entry.position);
            undelivered -= cut::lines(&batch);
        }
        Ok(None)
    }

    /// A batch of each file that has one, as far as a round goes; its end is in the file's entry.
    fn read(&mut self) -> Vec<(usize, Vec<u8>)> {
        let (now, now_ms) = (Instant::now(), now_ms());
        let mut batches = Vec::new();
        let mut over = Vec::new();
        let mut copies = Vec::new();
        let count = self.followed.len();
        let first = self.turn;
        for at in (0..count).map(|step| (first + step) % count) {
            if batches.len() == BATCHES_MAX {
                self.turn = at;
                break;
            }
            match self.followed[at].look(now, now_ms) {
                Ok(Look::Nothing) => {}
                Ok(Look::Batch(batch)) => {
                    let entry = &mut self.followed[at].entry;
                    entry.pending = Some(entry.position + batch.len() as u64);
                    batches.push((at, batch));
                }
                Ok(Look::Truncated) => copies.extend(self.begin_again(at)),
                Ok(Look::Over) => over.push(at),
                Err(error) => {
                    let path = self.followed[at].entry.path.clone();
                    self.complain(&path, &error);
                }
            }
        }
        // Places in `followed` are kept while there is something to send: what is over is so in the next round too.
        if batches.is_empty() {
            over.sort_unstable();
            for at in over.into_iter().rev() {
                let file = self.followed.remove(at);
                self.over.insert(file.entry.id, file.entry);
                self.unsaved = true;
            }
            self.turn = 0;
        }
        self.followed.extend(copies);
        batches
    }

    /// A file was truncated. Gives the copy that has what was not read yet.
    fn begin_again(&mut self, at: usize) -> Option<Followed> {
        let entry = self.followed[at].entry.clone();
        let copy = copy_of(&entry, |path, id| {
            // The inode of a file that is over may be another's by now; that of an open file may not.
            let is_over = |known: &Entry| matches!(Followed::resume(path, known), Ok(Some(_)));
            self.followed.iter().any(|file| file.entry.id == id) || self.over.get(&id).is_some_and(is_over)
        });
        let unread = entry.size.max(entry.pending.unwrap_or(0)) - entry.position;
        let path = entry.path.display();
        match &copy {
            Some(copy) => say(&format!("{path} was truncated; going on in its copy {}", copy.entry.path.display())),
            None if unread > 0 => say(&format!("{path} was truncated; {unread} bytes that it had are not sent")),
            None => say(&format!("{path} was truncated; reading it from its start")),
        }
        self.unsaved = true;
        if let Err(error) = self.followed[at].begin_again() {
            self.complain(&entry.path, &error);
        }
        copy
    }

    /// Finds files that are new, and sees which ones were rotated.
    fn search(&mut self, at_start: bool) {
        let now_ms = now_ms();
        for file in &mut self.followed {
            let here = file.entry.named.metadata().is_ok_and(|metadata| FileId::of(&metadata) == file.entry.id);
            self.unsaved |= file.entry.rotated == here;
            file.entry.rotated = !here;
        }
        let paths: BTreeSet<PathBuf> = self.names.iter().flat_map(Named::expand).collect();
        for path in paths {
            let Ok(metadata) = path.metadata() else { continue };
            let packed = path.extension().and_then(|ending| ending.to_str()).is_some_and(|e| PACKED.contains(&e));
            if !metadata.is_file() || packed {
                continue;
            }
            let id = FileId::of(&metadata);
            if let Some(file) = self.followed.iter_mut().find(|file| file.entry.id == id) {
                file.entry.path = path;
                continue;
            }
            if self.followed.len() >= OPEN_MAX {
                self.complain(&path, "too many files at once; it waits until others are over");
                continue;
            }
            // Over, but perhaps written to again; or its inode is another's by now.
            if let Some(mut entry) = self.over.remove(&id)
                && let Ok(Some(file)) = Followed::resume(&path, &entry)
            {
                if entry.position == metadata.len() {
                    entry.seen_ms = now_ms;
                    self.over.insert(id, entry);
                } else {
                    self.followed.push(file);
                }
                continue;
            }
            if self.is_copy(&path, metadata.len()) {
                continue;
            }
            match Followed::open(&path, &path, now_ms) {
                Ok(mut file) => {
                    if at_start && self.from == From::End && !self.remembered.contains(&path) {
                        file.skip_to_end();
                    }
                    self.followed.push(file);
                    self.unsaved = true;
                }
                Err(error) => self.complain(&path, &error),
            }
        }
    }

    /// Whether it is, or is going to be, a copy of a file that is followed: its lines were read there, and if that file is
    /// truncated the rest is read here.
    fn is_copy(&self, path: &Path, size: u64) -> bool {
        self.followed.iter().any(|file| {
            let head = file.entry.head;
            let begins_the_same = || {
                let opened = std::fs::File::open(path);
                opened.and_then(|file| head.is_of(&file, size)).unwrap_or(true)
            };
            head.bytes > 0 && is_generation(&file.entry.named, path) && (size < head.bytes || begins_the_same())
        })
    }

    fn save(&mut self) -> anyhow::Result<()> {
        let mut over: Vec<Entry> = std::mem::take(&mut self.over).into_values().collect();
        prune(&mut over, now_ms());
        let entries: Vec<Entry> =
            self.followed.iter().map(|file| file.entry.clone()).chain(over.iter().cloned()).collect();
        self.over = over.into_iter().map(|entry| (entry.id, entry)).collect();
        self.state.write(&entries)
    }

    fn complain(&mut self, path: &Path, reason: &(impl std::fmt::Display + ?Sized)) {
        if self.complained.is_none_or(|then| then.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            say(&format!("{}: {reason}", path.display()));
        }
    }

    fn finish(&self) -> ExitCode {
        let sums = self.post.sums();
        if sums.rejected > 0 {
            say(&format!("{} lines were rejected, {} accepted", sums.rejected, sums.accepted));
        }
        if sums.refused > 0 { ExitCode::from(NOT_DELIVERED) } else { ExitCode::SUCCESS }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
