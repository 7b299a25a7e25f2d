//! One topic with its arguments: computed about once a second, for all that follow it, and only while somebody does.
//!
//! A channel keeps the newest frame and a few before it. A reader that is slow misses frames and is given the newest one
//! whole; nothing is queued for it. A reader that was away for a moment can have the deltas it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::error::QueryError;
use crate::live::delta;
use crate::live::topic::{Answer, Topic};
use crate::query::Query;

/// How often a topic is computed at the most.
const TICK: Duration = Duration::from_secs(1);
/// A topic rests this many times as long as it took: a page over weeks, which reads windows from disk, must not keep a
/// thread busy because somebody left it open.
const REST: u32 = 10;
const TICK_MAX: Duration = Duration::from_secs(30);
/// Frames that are kept for readers that were away: half a minute.
const FRAMES_KEPT: usize = 30;
/// A channel without readers is forgotten after this time; until then a reader can come back to it.
const STALE_AFTER_MS: i64 = 30_000;

/// One message's worth of a topic.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Rises by one. Begins at the present in milliseconds, so that it also rises over restarts.
    pub seq: u64,
    wm: Option<i64>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Data { full: String, delta: Option<String> },
    Failed { code: &'static str, title: &'static str, detail: String },
}

/// A message without its addressee: its kind, and its members after `"k"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub kind: &'static str,
    pub seq: Option<u64>,
    members: String,
}

impl Message {
    /// The envelope; over WebSocket with the subscription's id.
    pub fn text(&self, id: Option<i64>) -> String {
        match id {
            Some(id) => format!("{{\"id\":{id},\"k\":\"{}\",{}}}", self.kind, self.members),
            None => format!("{{\"k\":\"{}\",{}}}", self.kind, self.members),
        }
    }

    fn data(kind: &'static str, frame: &Frame, data: &str) -> Self {
        let wm = frame.wm.map_or("null".to_owned(), |wm| wm.to_string());
        let members = format!("\"seq\":{},\"wm\":{wm},\"data\":{data}", frame.seq);
        Self { kind, seq: Some(frame.seq), members }
    }

    fn gap(skipped: u64) -> Self {
        Self { kind: "gap", seq: None, members: format!("\"skipped\":{skipped},\"reason\":\"slow_client\"") }
    }

    /// Something the reader asked for cannot be had.
    pub fn error(code: &str, title: &str, detail: &str) -> Self {
        let members = format!("\"code\":{},\"title\":{},\"detail\":{}", json!(code), json!(title), json!(detail));
        Self { kind: "err", seq: None, members }
    }

    /// The same from an error.
    pub fn of_error(error: &QueryError) -> Self {
        Self::error(error.code(), error.title(), &error.to_string())
    }

    /// A sign of life with the data's age.
    pub fn heartbeat(query: &Query) -> Self {
        let (now_ms, wm, lag_ms) = query.freshness();
        Self {
            kind: "hb",
            seq: None,
            members: format!("\"now\":{now_ms},\"wm\":{},\"lag_ms\":{}", json!(wm), json!(lag_ms)),
        }
    }
}

pub(crate) struct Channel {
    topic: Topic,
    newest: watch::Sender<Option<Arc<Frame>>>,
    state: Mutex<State>,
}

struct State {
    subscribers: usize,
    ticker: Option<AbortOnDropHandle<()>>,
    /// The answer of the newest frame with data, for the next delta.
    answer: Option<Answer>,
    frames: VecDeque<Arc<Frame>>,
    /// Where the newest answer of a tail ended, also when there was an error since.
    cursor: Option<String>,
    next_seq: u64,
    left_ms: i64,
}

impl Channel {
    pub fn new(topic: Topic, now_ms: i64) -> Self {
        let state = State {
            subscribers: 0,
            ticker: None,
            answer: None,
            frames: VecDeque::new(),
            cursor: None,
            next_seq: u64::try_from(now_ms).unwrap_or(0),
            left_ms: now_ms,
        };
        Self { topic, newest: watch::Sender::new(None), state: Mutex::new(state) }
    }

    /// Follows the channel, which begins to compute when this is the first one.
    pub fn subscribe(self: &Arc<Self>, query: &Query) -> Subscriber {
        let mut state = self.lock();
        state.subscribers += 1;
        if state.ticker.is_none() {
            // What was left from earlier readers is no answer as of now.
            self.newest.send_replace(None);
            state.ticker = Some(query.spawn(tick(self.clone(), query.clone())));
        }
        Subscriber { channel: self.clone(), query: query.clone(), newest: self.newest.subscribe() }
    }

    /// Whether nobody has followed it for a while.
    pub fn is_stale(&self, now_ms: i64) -> bool {
        let state = self.lock();
        state.subscribers == 0 && now_ms - state.left_ms > STALE_AFTER_MS
    }

    /// Takes a fresh answer and wakes the readers. `false` when there are none any more: then the ticker ends.
    fn publish(&self, answered: Result<Answer, QueryError>) -> bool {
        let mut state = self.lock();
        let frame = Arc::new(next_frame(&mut state, answered));
        state.frames.push_back(frame.clone());
        if state.frames.len() > FRAMES_KEPT {
            state.frames.pop_front();
        }
        self.newest.send_replace(Some(frame));
        self.go_on(&mut state)
    }

    fn go_on(&self, state: &mut State) -> bool {
        if state.subscribers == 0 {
            // Dropping the handle aborts the task, which is at its end here.
            state.ticker = None;
        }
        state.subscribers > 0
    }

    /// The frames after `seq`, if all are still here and can be said as deltas.
    fn missed(&self, seq: u64) -> Option<Vec<Arc<Frame>>> {
        let state = self.lock();
        let missed: Vec<Arc<Frame>> = state.frames.iter().filter(|frame| frame.seq > seq).cloned().collect();
        let complete = missed.first().is_some_and(|first| first.seq == seq + 1)
            && missed.iter().all(|frame| matches!(frame.body, Body::Data { delta: Some(_), .. }));
        complete.then_some(missed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tick(channel: Arc<Channel>, query: Query) {
    loop {
        let started = Instant::now();
        let cursor = channel.lock().cursor.clone();
        let answered = channel.topic.answer(&query, cursor).await;
        if !channel.publish(answered) {
            return;
        }
        tokio::time::sleep_until(started + (REST * started.elapsed()).clamp(TICK, TICK_MAX)).await;
        if !channel.go_on(&mut channel.lock()) {
            return;
        }
    }
}

fn next_frame(state: &mut State, answered: Result<Answer, QueryError>) -> Frame {
    let seq = state.next_seq;
    state.next_seq += 1;
    match answered {
        Ok(answer) => {
            let full = answer.text();
            let delta = state.answer.as_ref().and_then(|old| delta::between(old, &answer, full.len()));
            let wm = answer.meta().wm;
            state.cursor = answer.cursor().map(str::to_owned).or_else(|| state.cursor.take());
            state.answer = Some(answer);
            Frame { seq, wm, body: Body::Data { full, delta } }
        }
        Err(error) => {
            state.answer = None;
            let body = Body::Failed { code: error.code(), title: error.title(), detail: error.to_string() };
            Frame { seq, wm: None, body }
        }
    }
}

/// One reader of a channel.
pub(crate) struct Subscriber {
    channel: Arc<Channel>,
    query: Query,
    newest: watch::Receiver<Option<Arc<Frame>>>,
}

impl Subscriber {
    /// A receiver to wait on with [`newer_than`]; the frames are taken with [`Cursor::take`].
    pub fn news(&self) -> watch::Receiver<Option<Arc<Frame>>> {
        self.newest.clone()
    }

    /// The number of the newest frame.
    pub fn newest_seq(&self) -> Option<u64> {
        self.newest.borrow().as_ref().map(|frame| frame.seq)
    }
}

/// Waits until there is a frame other than the known one, or until the channel is gone.
pub(crate) async fn newer_than(mut news: watch::Receiver<Option<Arc<Frame>>>, known: Option<u64>) {
    let is_news = |frame: &Option<Arc<Frame>>| frame.as_ref().is_some_and(|frame| Some(frame.seq) != known);
    let _ = news.wait_for(is_news).await;
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut state = self.channel.lock();
        state.subscribers -= 1;
        state.left_ms = self.query.now_ms();
    }
}

/// How far a reader is.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    seen: Option<u64>,
    /// The reader was away and says what it has seen; until then it is not slow but late.
    resuming: bool,
    failed: Option<String>,
}

impl Cursor {
    /// A reader that has seen the frames up to `seq`.
    pub fn after(seq: u64) -> Self {
        Self { seen: Some(seq), resuming: true, failed: None }
    }

    /// The last frame that was taken.
    pub fn seen(&self) -> Option<u64> {
        self.seen
    }

    /// Says that the reader was away on purpose.
    pub fn resume(&mut self) {
        self.resuming = true;
    }

    /// The messages that bring the reader to the newest frame.
    pub fn take(&mut self, subscriber: &Subscriber) -> Vec<Message> {
        let newest = subscriber.newest.borrow().clone();
        match newest {
            Some(frame) => self.advance(&frame, |seen| subscriber.channel.missed(seen)),
            None => Vec::new(),
        }
    }

    /// Moves to a frame. `missed` gives the frames after a number, if they are still there.
    fn advance(&mut self, frame: &Frame, missed: impl FnOnce(u64) -> Option<Vec<Arc<Frame>>>) -> Vec<Message> {
        if self.seen == Some(frame.seq) {
            return Vec::new();
        }
        let resuming = std::mem::take(&mut self.resuming);
        let before = self.seen.replace(frame.seq);
        let (full, delta) = match &frame.body {
            Body::Failed { code, title, detail } => {
                let repeated = self.failed.replace(detail.clone()).is_some_and(|last| last == *detail);
                return if repeated { Vec::new() } else { vec![Message::error(code, title, detail)] };
            }
            Body::Data { full, delta } => (full, delta),
        };
        let recovered = self.failed.take().is_some();
        let snap = Message::data("snap", frame, full);
        let Some(before) = before.filter(|_| !recovered) else { return vec![snap] };
        if let Some(delta) = delta.as_ref().filter(|_| before + 1 == frame.seq) {
            return vec![Message::data("delta", frame, delta)];
        }
        if resuming {
            return missed(before).map_or(vec![snap], |frames| deltas(&frames));
        }
        let skipped = frame.seq.saturating_sub(before + 1);
        if skipped > 0 { vec![Message::gap(skipped), snap] } else { vec![snap] }
    }
}

fn deltas(frames: &[Arc<Frame>]) -> Vec<Message> {
    let delta = |frame: &Arc<Frame>| match &frame.body {
        Body::Data { delta: Some(delta), .. } => Some(Message::data("delta", frame, delta)),
        _ => None,
    };
    frames.iter().filter_map(delta).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(seq: u64, delta: bool) -> Frame {
        let body = Body::Data { full: "{}".to_owned(), delta: delta.then(|| "{}".to_owned()) };
        Frame { seq, wm: Some(5), body }
    }

    fn failed(seq: u64, detail: &str) -> Frame {
        Frame { seq, wm: None, body: Body::Failed { code: "not-found", title: "Not found", detail: detail.to_owned() } }
    }

    /// The kinds of messages for a frame, for a reader whose channel still has the frames from 10 on.
    fn kinds(cursor: &mut Cursor, frame: &Frame) -> Vec<&'static str> {
        let missed = |seen: u64| {
            (seen >= 9).then(|| (seen + 1..=frame.seq).map(|seq| Arc::new(data(seq, true))).collect::<Vec<_>>())
        };
        cursor.advance(frame, missed).into_iter().map(|message| message.kind).collect()
    }

    #[test]
    fn a_reader_begins_whole_and_follows_with_deltas() {
        let mut cursor = Cursor::default();
        assert_eq!(kinds(&mut cursor, &data(10, true)), ["snap"]);
        assert_eq!(kinds(&mut cursor, &data(10, true)), Vec::<&str>::new(), "nothing is said twice");
        assert_eq!(kinds(&mut cursor, &data(11, true)), ["delta"]);
        assert_eq!(kinds(&mut cursor, &data(12, false)), ["snap"], "where a delta cannot say it");
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed() {
        let mut cursor = Cursor::default();
        kinds(&mut cursor, &data(10, true));
        let messages = cursor.advance(&data(14, true), |_| None);
        assert_eq!(messages[0], Message::gap(3));
        assert_eq!(messages[1].kind, "snap");
    }

    #[test]
    fn a_reader_that_was_away_gets_what_it_missed() {
        assert_eq!(kinds(&mut Cursor::after(11), &data(14, true)), ["delta", "delta", "delta"]);
        assert_eq!(kinds(&mut Cursor::after(3), &data(14, true)), ["snap"], "too long away");
        let mut paused = Cursor::after(11);
        paused.resume();
        assert_eq!(kinds(&mut paused, &data(12, true)), ["delta"]);
    }

    #[test]
    fn an_error_is_said_once_and_healed_with_a_whole_answer() {
        let mut cursor = Cursor::default();
        assert_eq!(kinds(&mut cursor, &failed(10, "a")), ["err"]);
        assert_eq!(kinds(&mut cursor, &failed(11, "a")), Vec::<&str>::new());
        assert_eq!(kinds(&mut cursor, &failed(12, "b")), ["err"]);
        assert_eq!(kinds(&mut cursor, &data(13, true)), ["snap"]);
    }

    #[test]
    fn a_message_is_one_line_of_json() {
        let text = Message::error("busy", "Too \"many\"", "line\nbreak").text(Some(7));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&value["id"], &value["k"], &value["detail"]), (&json!(7), &json!("err"), &json!("line\nbreak")));
        assert!(!text.contains('\n'));
        assert_eq!(Message::gap(2).text(None), "{\"k\":\"gap\",\"skipped\":2,\"reason\":\"slow_client\"}");
    }
}
