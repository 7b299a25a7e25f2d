//! `GET /api/v1/live/sse?topic=…&…`: one topic as server-sent events, with the same JSON as over WebSocket.
//!
//! `event:` is the kind, `id:` the sequence number. A client that was cut off says `Last-Event-ID` and gets what it missed,
//! or the full answer when too much happened.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::error::QueryError;
use crate::http::{Arguments, arguments, header_text};
use crate::live::channel::{Cursor, Message, Subscriber, newer_than};
use crate::live::origin;
use crate::live::topic::Topic;
use crate::live::ws::HEARTBEAT;
use crate::query::Query;

pub(crate) async fn stream(
    State(query): State<Query>,
    headers: HeaderMap,
    given: Arguments,
) -> Result<Response, QueryError> {
    origin::check(&headers, &query.config().allowed_origins)?;
    let mut given = arguments(given)?;
    let topic = Topic::parse(&given.remove("topic").unwrap_or_default(), given)?;
    let place = query.hub().connection()?;
    let subscriber = query.hub().subscribe(&query, topic)?;
    let cursor =
        header_text(&headers, HeaderName::from_static("last-event-id")).parse().map(Cursor::after).unwrap_or_default();
    let mut beats = tokio::time::interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let closing = query.hub().closing();
    let reader = Reader { query, subscriber, cursor, pending: VecDeque::new(), beats, closing, _place: place };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies of the nginx kind hold a stream back until their buffer is full.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(reader.events())).into_response())
}

struct Reader {
    query: Query,
    subscriber: Subscriber,
    cursor: Cursor,
    pending: VecDeque<Message>,
    beats: Interval,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The events until the server stops; the client's going drops the stream.
    fn events(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        futures::stream::unfold(self, |mut reader| async move {
            let message = reader.next().await?;
            Some((Ok(event(&message)), reader))
        })
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Some(message);
            }
            let news = newer_than(self.subscriber.news(), self.cursor.seen());
            tokio::select! {
                () = news => self.pending.extend(self.cursor.take(&self.subscriber)),
                _ = self.beats.tick() => return Some(Message::heartbeat(&self.query)),
                () = self.closing.cancelled() => return None,
            }
        }
    }
}

/// The text of a message has no line breaks: it is JSON.
fn event(message: &Message) -> Bytes {
    let id = message.seq.map(|seq| format!("id: {seq}\n")).unwrap_or_default();
    Bytes::from(format!("event: {}\n{id}data: {}\n\n", message.kind, message.text(None)))
}
