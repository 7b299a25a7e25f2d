//! The owner's routes: the shards that are registered in this process's store, for readers in others.
//!
//! A shard is locked no longer than by a reader of this process: what takes time, putting answers into bytes, comes after. Few
//! questions are answered at once, so that a crowd of readers slows itself down and not the folding. Nothing is answered for a
//! writer that is not the one asked for: the reader knows from the manifests who it should be.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use shipwake_store::{
    HotShard, Store, merge_health, merge_markers, merge_measures, merge_patterns, merge_slots, merge_toggles,
    merge_usage, merge_verdicts,
};
use tokio::sync::Semaphore;

use crate::wire::{Answer, Answering, Heard, Question, Request, Wanted, write_answer, write_rows};

/// Where shards are asked.
pub(crate) const SHARDS_PATH: &str = "/internal/v1/shards";
/// Questions that are answered at once.
const PLACES: usize = 2;
/// How long a question waits for its turn. Readers give up after two seconds, and what they gave up is not answered.
const PLACE_WAIT: Duration = Duration::from_secs(5);
/// Chunks of one answer, in bytes of memory, after the first. A piece is on its way for some tens of milliseconds, and an owner
/// holds it in memory as long.
const PIECE_BYTES: usize = 16 << 20;
/// Bytes of a question: most of it are the numbers of the chunks that the reader has.
const QUESTION_BYTES_MAX: usize = 4 << 20;

struct Server {
    store: Arc<Store>,
    /// Tells this process's numbers of chunks from those of the one before it.
    process: u64,
    piece_bytes: usize,
    places: Arc<Semaphore>,
}

/// The routes, for shards that are registered now or later.
pub fn router(store: Arc<Store>) -> Router {
    router_in_pieces(store, PIECE_BYTES)
}

/// The same with pieces of rows of another size than the usual one: tests look at what happens between two pieces.
pub fn router_in_pieces(store: Arc<Store>, piece_bytes: usize) -> Router {
    let server = Server { store, process: rand::random(), piece_bytes, places: Arc::new(Semaphore::new(PLACES)) };
    Router::new()
        .route(SHARDS_PATH, post(shards))
        .layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX))
        .with_state(Arc::new(server))
}

async fn shards(State(server): State<Arc<Server>>, question: Bytes) -> Response {
    let request = match Request::read(&question) {
        Ok(request) => request,
        Err(reason) => return refusal(StatusCode::BAD_REQUEST, reason),
    };
    let Ok(Ok(place)) = tokio::time::timeout(PLACE_WAIT, server.places.clone().acquire_owned()).await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many questions at once".to_owned());
    };
    let answered = tokio::task::spawn_blocking(move || {
        // Given back when the work has ended, not when the reader has gone.
        let _place = place;
        server.answer(&request)
    });
    match answered.await {
        Ok(Ok(bytes)) => ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response(),
        Ok(Err(reason)) => refusal(StatusCode::INTERNAL_SERVER_ERROR, reason),
        Err(ended) => refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer could not be made: {ended}")),
    }
}

fn refusal(status: StatusCode, reason: String) -> Response {
    (status, reason).into_response()
}

impl Server {
    fn answer(&self, request: &Request) -> Result<Vec<u8>, String> {
        let Question::Snapshot(tables) = &request.question else {
            return Ok(write_answer(&self.small_answer(&request.shards, &request.question)));
        };
        let (mut shards, mut refused) = (Vec::new(), Vec::new());
        for wanted in &request.shards {
            let found = self.store.shard_here(wanted.shard).map(|hot| (hot.is_ready(), hot.snapshot(tables)));
            match found {
                Some((ready, snapshot)) if snapshot.writer == wanted.writer => shards.push((snapshot, ready)),
                _ => refused.push(wanted.shard),
            }
        }
        let written = write_rows(self.process, &shards, refused, &request.have, self.piece_bytes);
        written.map_err(|error| error.to_string())
    }

    fn small_answer(&self, shards: &[Wanted], question: &Question) -> Heard {
        let (mut answering, mut refused, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in shards {
            let answered = self.store.shard_here(wanted.shard).and_then(|hot| {
                let is_asked_for = || hot.snapshot(&[]).writer == wanted.writer;
                let ready = is_asked_for() && hot.is_ready();
                let answer = ask(hot.as_ref(), wanted.shard, question);
                // A shard that was taken up anew meanwhile may have answered as somebody else.
                is_asked_for().then_some((ready, answer))
            });
            match answered {
                Some((ready, answer)) => {
                    answering.push(Answering { shard: wanted.shard, writer: wanted.writer, ready });
                    answers.push(answer);
                }
                None => refused.push(wanted.shard),
            }
        }
        Heard { answering, refused, answer: merged(question, answers) }
    }
}

/// The answer of one shard.
fn ask(hot: &dyn HotShard, shard: u32, question: &Question) -> Answer {
    match question {
        Question::Health(query) => Answer::Health(hot.health(query)),
        Question::Slots(query) => Answer::Slots(hot.slots(query)),
        Question::Patterns(query) => Answer::Patterns(hot.patterns(query)),
        Question::Measures(query) => Answer::Measures(hot.measures(query)),
        Question::Usage { service, environment } => Answer::Usage(hot.usage_of_day(service, environment)),
        Question::Toggles(place) => {
            let place = place.as_ref().map(|(service, environment)| (service.as_str(), environment.as_str()));
            Answer::Toggles(hot.toggles(place))
        }
        Question::Markers(query) => Answer::Markers(hot.markers(query)),
        Question::Verdicts(query) => Answer::Verdicts(hot.verdicts(query)),
        Question::Releases => Answer::Releases(vec![(shard, hot.releases())]),
        Question::Status | Question::Snapshot(_) => Answer::Status(vec![hot.status()]),
    }
}

/// The answers of several shards as one.
fn merged(question: &Question, answers: Vec<Answer>) -> Answer {
    /// The members of all answers of one kind; there are no others.
    macro_rules! all {
        ($kind:ident) => {
            answers.into_iter().filter_map(|answer| if let Answer::$kind(all) = answer { Some(all) } else { None })
        };
    }
    match question {
        Question::Health(_) => Answer::Health(merge_health(all!(Health))),
        Question::Slots(_) => Answer::Slots(merge_slots(all!(Slots))),
        Question::Patterns(_) => Answer::Patterns(merge_patterns(all!(Patterns))),
        Question::Measures(_) => Answer::Measures(merge_measures(all!(Measures).flatten())),
        Question::Usage { .. } => Answer::Usage(merge_usage(all!(Usage).flatten())),
        Question::Toggles(_) => Answer::Toggles(merge_toggles(all!(Toggles).flatten())),
        Question::Markers(query) => Answer::Markers(merge_markers(all!(Markers).flatten(), query.limit)),
        Question::Verdicts(query) => Answer::Verdicts(merge_verdicts(all!(Verdicts).flatten(), query.limit)),
        Question::Releases => Answer::Releases(all!(Releases).flatten().collect()),
        Question::Status | Question::Snapshot(_) => Answer::Status(all!(Status).flatten().collect()),
    }
}
