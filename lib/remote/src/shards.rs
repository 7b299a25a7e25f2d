//! The reader's side: the shards that other processes fold, asked as the store asks for them.
//!
//! Whom to ask is what the newest manifests say, and an answer counts only if it comes from the writer of the newest manifest that is
//! known when it has come: what a process says that lost its shard is void. Rows and files of a shard are of one moment, the
//! owner's: it says which commit its rows come on top of, and the files are those of that commit. A shard that cannot be asked is
//! answered for by its files alone, and named.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shipwake_store::{
    Elsewhere, Follower, HealthQuery, HealthSeries, HotRows, Incomplete, MarkerQuery, MarkerRow, MeasureQuery,
    MeasureSeries, PatternQuery, PatternRow, ReleaseRow, SegmentFile, ShardSnapshot, ShardStatus, SlotSeries, Table,
    ToggleRow, UsageOfDay, VerdictRow,
};

use crate::ask::Client;
use crate::config::RemoteConfig;
use crate::error::RemoteError;
use crate::flights::Flights;
use crate::follow::Threads;
use crate::mirror::{Chunks, Mirror};
use crate::states::{Lack, States};
use crate::wire::{Answer, HeardRows, HeardShard, Question, Wanted, is_stable};

/// How often a question is put to whoever has a shard now, when it was not who was asked first.
const ROUNDS_MAX: usize = 3;
/// How old the list of releases may be. Pages ask for it several times.
const RELEASES_KEPT: Duration = Duration::from_millis(200);

/// Asks the owners of shards. Dropping it ends its threads.
pub struct RemoteShards {
    pub(crate) known: Arc<Known>,
    _threads: Threads,
}

/// What asking and following share.
pub(crate) struct Known {
    pub config: RemoteConfig,
    pub follower: Follower,
    client: Client,
    states: Mutex<States>,
    mirror: Mutex<Mirror>,
    /// Owners that could not be reached, with the reason, until they are.
    down: Mutex<HashMap<Arc<str>, String>>,
    flights: Flights<Vec<Answer>>,
    releases_at: Mutex<Option<Instant>>,
}

/// Who is asked besides those that answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Also {
    Nobody,
    /// Owners that could not be reached.
    Unreachable,
}

/// What one owner answered.
struct Round<T> {
    /// Shards whose answer counts, with whether they are ready.
    accepted: Vec<(u32, bool)>,
    /// Shards that have to be asked elsewhere, with the reason.
    refused: Vec<(u32, String)>,
    /// Shards whose answer was good and came together with one that was not.
    again: Vec<u32>,
    answer: Option<T>,
}

impl RemoteShards {
    /// Begins to follow. Looks at all manifests once before it returns, and asks all owners for their state: blocks for as long.
    ///
    /// # Errors
    /// [`RemoteError::Threads`], [`RemoteError::Client`].
    pub fn start(config: RemoteConfig, follower: Follower) -> Result<Arc<Self>, RemoteError> {
        let known = Known {
            client: Client::new()?,
            states: Mutex::default(),
            mirror: Mutex::new(Mirror::new(config.mirror_bytes)),
            down: Mutex::default(),
            flights: Flights::default(),
            releases_at: Mutex::default(),
            config,
            follower,
        };
        let known = Arc::new(known);
        let threads = Threads::start(&known)?;
        Ok(Arc::new(Self { known, _threads: threads }))
    }
}

impl Elsewhere for RemoteShards {
    fn snapshot(&self, tables: &[Table], here: &[u32]) -> (Vec<ShardSnapshot>, Vec<Incomplete>) {
        self.known.snapshot(tables, here)
    }

    fn health(&self, query: &HealthQuery, here: &[u32]) -> Vec<Vec<HealthSeries>> {
        let answers = self.known.ask(&Question::Health(query.clone()), here).into_iter();
        answers.filter_map(|answer| if let Answer::Health(all) = answer { Some(all) } else { None }).collect()
    }

    fn slots(&self, query: &HealthQuery, here: &[u32]) -> Vec<Vec<SlotSeries>> {
        let answers = self.known.ask(&Question::Slots(query.clone()), here).into_iter();
        answers.filter_map(|answer| if let Answer::Slots(all) = answer { Some(all) } else { None }).collect()
    }

    fn patterns(&self, query: &PatternQuery, here: &[u32]) -> Vec<Vec<PatternRow>> {
        let answers = self.known.ask(&Question::Patterns(query.clone()), here).into_iter();
        answers.filter_map(|answer| if let Answer::Patterns(all) = answer { Some(all) } else { None }).collect()
    }

    fn measures(&self, query: &MeasureQuery, here: &[u32]) -> Vec<MeasureSeries> {
        let answers = self.known.ask(&Question::Measures(query.clone()), here).into_iter();
        let all = answers.filter_map(|answer| if let Answer::Measures(all) = answer { Some(all) } else { None });
        all.flatten().collect()
    }

    fn usage_of_day(&self, service: &str, environment: &str, here: &[u32]) -> Vec<UsageOfDay> {
        let question = Question::Usage { service: service.to_owned(), environment: environment.to_owned() };
        let answers = self.known.ask(&question, here).into_iter();
        let all = answers.filter_map(|answer| if let Answer::Usage(all) = answer { Some(all) } else { None });
        all.flatten().collect()
    }

    fn toggles(&self, place: Option<(&str, &str)>, here: &[u32]) -> Vec<ToggleRow> {
        let place = place.map(|(service, environment)| (service.to_owned(), environment.to_owned()));
        let answers = self.known.ask(&Question::Toggles(place), here).into_iter();
        let all = answers.filter_map(|answer| if let Answer::Toggles(all) = answer { Some(all) } else { None });
        all.flatten().collect()
    }

    fn markers(&self, query: &MarkerQuery, here: &[u32]) -> Vec<MarkerRow> {
        let answers = self.known.ask(&Question::Markers(query.clone()), here).into_iter();
        let all = answers.filter_map(|answer| if let Answer::Markers(all) = answer { Some(all) } else { None });
        all.flatten().collect()
    }

    fn verdicts(&self, query: &MarkerQuery, here: &[u32]) -> Vec<VerdictRow> {
        let answers = self.known.ask(&Question::Verdicts(query.clone()), here).into_iter();
        let all = answers.filter_map(|answer| if let Answer::Verdicts(all) = answer { Some(all) } else { None });
        all.flatten().collect()
    }

    fn releases(&self, here: &[u32]) -> Vec<ReleaseRow> {
        self.known.releases(here)
    }

    fn live_files(&self) -> Vec<Arc<[SegmentFile]>> {
        let follower = &self.known.follower;
        follower
            .known_shards()
            .into_iter()
            .filter_map(|shard| follower.newest(shard))
            .map(|of| of.files.clone())
            .collect()
    }

    fn status(&self, here: &[u32]) -> Vec<ShardStatus> {
        self.known.states().statuses(here)
    }

    fn incomplete(&self, since: Instant, here: &[u32]) -> Vec<Incomplete> {
        self.known.states().incomplete(since, here)
    }
}

impl Known {
    /// Anything but rows, of all shards but those that are `here`.
    fn ask(&self, question: &Question, here: &[u32]) -> Vec<Answer> {
        let key = format!("{question:?} {here:?}");
        self.flights.ask(&key, self.config.deadline, || self.ask_now(question, here, Also::Nobody))
    }

    fn ask_now(&self, question: &Question, here: &[u32], also: Also) -> Vec<Answer> {
        let until = Instant::now() + self.config.deadline;
        let (answers, _) = self.rounds(here, until, also, &|owner, wanted| {
            let heard = self.client.ask(owner, wanted, question, until)?;
            let is_void = |shard: u32, writer: u64| !self.is_newest(shard, writer);
            let void: Vec<u32> =
                heard.answering.iter().filter(|one| is_void(one.shard, one.writer)).map(|one| one.shard).collect();
            let mut refused = refusals(owner, &heard.refused);
            if !void.is_empty() {
                // The answers are merged: one that does not count spoils all.
                refused.extend(void.iter().map(|shard| (*shard, taken_over(owner))));
                let again = heard.answering.iter().map(|one| one.shard).filter(|shard| !void.contains(shard)).collect();
                return Ok(Round { accepted: Vec::new(), refused, again, answer: None });
            }
            let accepted = heard.answering.iter().map(|one| (one.shard, one.ready)).collect();
            Ok(Round { accepted, refused, again: Vec::new(), answer: Some(heard.answer) })
        });
        answers
    }

    /// Asks all owners for the state of their shards, for those who want it at once later.
    pub fn ask_for_status(&self) {
        let of_this_process: Vec<u32> =
            self.follower.known_shards().into_iter().filter(|shard| self.is_own(*shard)).collect();
        // Whoever could not be reached a while ago is given another chance by this question only.
        for answer in self.ask_now(&Question::Status, &of_this_process, Also::Unreachable) {
            let Answer::Status(statuses) = answer else { continue };
            statuses.into_iter().for_each(|status| self.states().set_status(status));
        }
    }

    fn releases(&self, here: &[u32]) -> Vec<ReleaseRow> {
        let is_fresh = lock(&self.releases_at).is_some_and(|at| at.elapsed() < RELEASES_KEPT);
        if !is_fresh {
            let asked = Instant::now();
            for answer in self.ask(&Question::Releases, here) {
                let Answer::Releases(by_shard) = answer else { continue };
                by_shard.into_iter().for_each(|(shard, rows)| self.states().set_releases(shard, rows));
            }
            *lock(&self.releases_at) = Some(asked);
        }
        self.states().releases(here)
    }

    fn snapshot(&self, tables: &[Table], here: &[u32]) -> (Vec<ShardSnapshot>, Vec<Incomplete>) {
        let until = Instant::now() + self.config.deadline;
        let question = Question::Snapshot(tables.to_vec());
        let stable: Vec<Table> = tables.iter().copied().filter(|table| is_stable(*table)).collect();
        let (found, incomplete) = self.rounds(here, until, Also::Nobody, &|owner, wanted| {
            let shards: Vec<u32> = wanted.iter().map(|wanted| wanted.shard).collect();
            let have = lock(&self.mirror).have(owner, &shards, &stable);
            let (heard, chunks) = self.client.ask_rows(owner, wanted, &question, have, self.config.deadline)?;
            self.take_rows(owner, heard, &chunks)
        });
        let mut shards: Vec<ShardSnapshot> = found.into_iter().flatten().collect();
        let answered: HashSet<u32> = shards.iter().map(|shard| shard.shard).collect();
        let missing = incomplete.iter().filter(|missing| !answered.contains(&missing.shard));
        shards.extend(missing.filter_map(|missing| self.stored_alone(missing.shard)));
        (shards, incomplete)
    }

    /// The shards of an answer whose writer is the newest that is known, each with the files of its commit.
    fn take_rows(
        &self,
        owner: &Arc<str>,
        heard: HeardRows,
        chunks: &Chunks,
    ) -> Result<Round<Vec<ShardSnapshot>>, RemoteError> {
        let unreadable = |reason| RemoteError::Unreadable { owner: owner.to_string(), reason };
        let mut round =
            Round { accepted: Vec::new(), refused: refusals(owner, &heard.refused), again: Vec::new(), answer: None };
        let mut snapshots = Vec::with_capacity(heard.shards.len());
        for shard in heard.shards {
            let (number, writer, ready) = (shard.shard, shard.writer, shard.ready);
            let files = match self.files(number, shard.seq) {
                Ok(files) => files,
                Err(reason) => {
                    round.refused.push((number, reason));
                    continue;
                }
            };
            if !self.is_newest(number, writer) {
                round.refused.push((number, taken_over(owner)));
                continue;
            }
            let snapshot = self.put_together(owner, heard.process, shard, files, chunks).map_err(unreadable)?;
            snapshots.push(snapshot);
            round.accepted.push((number, ready));
        }
        round.answer = Some(snapshots);
        Ok(round)
    }

    fn put_together(
        &self,
        owner: &Arc<str>,
        process: u64,
        heard: HeardShard,
        files: Arc<[SegmentFile]>,
        chunks: &Chunks,
    ) -> Result<ShardSnapshot, String> {
        let mut hot = Vec::with_capacity(heard.tables.len());
        for part in heard.tables {
            let mut live = Chunks::with_capacity(part.live.len());
            let mut rows = Vec::with_capacity(part.live.len() + part.batches.len());
            for id in &part.live {
                let chunk = chunks.get(id).filter(|chunk| chunk.table() == part.table);
                let chunk = chunk.ok_or_else(|| format!("it speaks of chunk {id} and did not send it"))?;
                rows.push(HotRows::Chunk(chunk.clone()));
                live.insert(*id, chunk.clone());
            }
            rows.extend(part.batches);
            if is_stable(part.table) {
                lock(&self.mirror).keep(owner, process, heard.shard, part.table, live);
            }
            hot.push((part.table, rows));
        }
        lock(&self.mirror).forget_shard_but_of(owner, heard.shard);
        Ok(ShardSnapshot {
            shard: heard.shard,
            seq: heard.seq,
            writer: heard.writer,
            files,
            hot,
            next_offset: heard.next_offset,
            watermark_ns: heard.watermark_ns,
            last_line: heard.last_line,
        })
    }

    /// The live segments of a shard as of a commit that its owner speaks of.
    fn files(&self, shard: u32, seq: Option<u64>) -> Result<Arc<[SegmentFile]>, String> {
        let Some(seq) = seq else { return Ok(Arc::from([])) };
        if let Some(known) = self.follower.at(shard, seq) {
            return Ok(known.files.clone());
        }
        let looked = self.follower.look_until(shard, seq);
        match (self.follower.at(shard, seq), looked) {
            (Some(known), _) => Ok(known.files.clone()),
            (None, Err(error)) => Err(format!("its commit {seq} cannot be read: {error}")),
            (None, Ok(())) => Err(format!("its commit {seq} is not among its manifests")),
        }
    }

    /// A shard whose owner cannot be asked, as far as it is stored.
    fn stored_alone(&self, shard: u32) -> Option<ShardSnapshot> {
        let newest = self.follower.newest(shard)?;
        Some(ShardSnapshot {
            shard,
            seq: Some(newest.seq),
            writer: newest.writer,
            files: newest.files.clone(),
            hot: Vec::new(),
            next_offset: newest.next_offset,
            watermark_ns: newest.watermark_ns,
            last_line: 0,
        })
    }

    /// Asks whoever has the shards, again when others have taken them over meanwhile. Gives the answers, and the shards that are
    /// missing from them in whole or in part.
    fn rounds<T: Send>(
        &self,
        here: &[u32],
        until: Instant,
        also: Also,
        ask: &(impl Fn(&Arc<str>, &[Wanted]) -> Result<Round<T>, RemoteError> + Sync),
    ) -> (Vec<T>, Vec<Incomplete>) {
        let elsewhere = self.follower.known_shards().into_iter().filter(|shard| !here.contains(shard));
        let mut todo: BTreeMap<u32, String> =
            elsewhere.map(|shard| (shard, "nobody answered for it".to_owned())).collect();
        let (mut tried, mut looked) = (HashSet::new(), HashSet::new());
        let (mut answers, mut incomplete) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS_MAX {
            let mut groups: BTreeMap<Arc<str>, Vec<Wanted>> = BTreeMap::new();
            for (shard, reason) in &mut todo {
                match self.whom_to_ask(*shard, also) {
                    Ok((owner, writer)) if tried.insert((*shard, owner.clone(), writer)) => {
                        groups.entry(owner).or_default().push(Wanted { shard: *shard, writer });
                    }
                    Ok(_) => {}
                    Err(why) => *reason = why,
                }
            }
            for (owner, wanted, outcome) in each_owner(groups, ask) {
                match outcome {
                    Ok(round) => {
                        if lock(&self.down).remove(&owner).is_some() {
                            tracing::info!(%owner, "the owner of shards answers again");
                        }
                        for (shard, ready) in round.accepted {
                            todo.remove(&shard);
                            incomplete.extend(self.note_answer(shard, ready, &owner));
                        }
                        answers.extend(round.answer);
                        todo.extend(round.refused);
                        for wanted in wanted.iter().filter(|wanted| round.again.contains(&wanted.shard)) {
                            tried.remove(&(wanted.shard, owner.clone(), wanted.writer));
                        }
                    }
                    Err(error) => {
                        self.note_failure(&owner, &error);
                        todo.extend(wanted.iter().map(|wanted| (wanted.shard, error.to_string())));
                    }
                }
            }
            if todo.is_empty() || Instant::now() >= until {
                break;
            }
            self.look_for_new_owners(todo.keys().copied().filter(|shard| looked.insert(*shard)));
        }
        incomplete.extend(todo.into_iter().map(|(shard, reason)| self.note_missing(shard, Lack::All, &reason)));
        incomplete.sort_by_key(|missing: &Incomplete| missing.shard);
        (answers, incomplete)
    }

    /// The process that has a shard, and its writer; or why nobody can be asked.
    fn whom_to_ask(&self, shard: u32, also: Also) -> Result<(Arc<str>, u64), String> {
        let newest = self.follower.newest(shard).ok_or_else(|| match self.follower.trouble(shard) {
            Some(trouble) => format!("nothing of it can be read: {trouble}"),
            None => "nothing of it has been read yet".to_owned(),
        })?;
        let owner = newest.owner.clone().or_else(|| self.config.owner_if_unnamed.clone());
        let owner = owner.ok_or("its newest commit does not say which process has it")?;
        if self.config.own.as_ref() == Some(&owner) {
            return Err("this process is taking it up, or has just given it away".to_owned());
        }
        let reason = lock(&self.down).get(&owner).cloned();
        match reason {
            Some(reason) if also == Also::Nobody => Err(reason),
            _ => Ok((owner, newest.writer)),
        }
    }

    fn is_own(&self, shard: u32) -> bool {
        self.config.own.is_some() && self.follower.newest(shard).is_some_and(|newest| newest.owner == self.config.own)
    }

    fn is_newest(&self, shard: u32, writer: u64) -> bool {
        self.follower.newest(shard).is_some_and(|newest| newest.writer == writer)
    }

    /// Whoever has taken a shard over says so in a manifest. Shards that have been missing for a while are looked after by the
    /// thread that follows: their askers do not wait for the store.
    fn look_for_new_owners(&self, shards: impl Iterator<Item = u32>) {
        let missing: HashSet<u32> =
            self.states().incomplete(Instant::now(), &[]).into_iter().map(|missing| missing.shard).collect();
        for shard in shards.filter(|shard| !missing.contains(shard)) {
            if let Err(error) = self.follower.look(shard) {
                tracing::warn!(shard, error = &error as &dyn std::error::Error, "the manifests cannot be read");
            }
        }
    }

    fn note_answer(&self, shard: u32, ready: bool, owner: &str) -> Option<Incomplete> {
        if !ready {
            let reason = format!("{owner} has taken it over and is reading what was written before");
            return Some(self.note_missing(shard, Lack::Newest, &reason));
        }
        if let Some(since_ms) = self.states().answered(shard) {
            let missing_ms = (self.config.clock)() - since_ms;
            tracing::info!(shard, owner, missing_ms, "a shard of another process is whole again");
        }
        None
    }

    fn note_missing(&self, shard: u32, lack: Lack, reason: &str) -> Incomplete {
        let now_ms = (self.config.clock)();
        let (incomplete, is_news) = self.states().missed(shard, (lack, reason), Instant::now(), now_ms);
        if is_news {
            tracing::warn!(shard, reason, "the newest records of a shard are missing from answers");
        }
        incomplete
    }

    fn note_failure(&self, owner: &Arc<str>, error: &RemoteError) {
        if let RemoteError::Unreachable { .. } = error {
            lock(&self.down).insert(owner.clone(), error.to_string());
            lock(&self.mirror).forget(owner);
        }
    }

    fn states(&self) -> MutexGuard<'_, States> {
        lock(&self.states)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusals(owner: &str, shards: &[u32]) -> Vec<(u32, String)> {
    shards.iter().map(|shard| (*shard, format!("{owner} does not have it any more"))).collect()
}

fn taken_over(owner: &str) -> String {
    format!("{owner} has lost it to another process")
}

/// An owner, what it was asked for, and what became of it.
type Outcome<T> = (Arc<str>, Vec<Wanted>, Result<Round<T>, RemoteError>);

/// Asks several owners at the same time.
fn each_owner<T: Send>(
    groups: BTreeMap<Arc<str>, Vec<Wanted>>,
    ask: &(impl Fn(&Arc<str>, &[Wanted]) -> Result<Round<T>, RemoteError> + Sync),
) -> Vec<Outcome<T>> {
    if groups.len() < 2 {
        return groups
            .into_iter()
            .map(|(owner, wanted)| (owner.clone(), wanted.clone(), ask(&owner, &wanted)))
            .collect();
    }
    std::thread::scope(|scope| {
        let asked: Vec<_> = groups
            .into_iter()
            .map(|(owner, wanted)| {
                let (of_thread, shards) = (owner.clone(), wanted.clone());
                (owner, wanted, scope.spawn(move || ask(&of_thread, &shards)))
            })
            .collect();
        let joined = asked.into_iter().map(|(owner, wanted, thread)| {
            let outcome = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (owner, wanted, outcome)
        });
        joined.collect()
    })
}
