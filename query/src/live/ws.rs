//! `GET /api/v1/live/ws`: any number of topics over one WebSocket.
//!
//! One task per socket reads commands, sends news and beats. Nothing is queued: while a send waits for a slow client, the
//! channels move on, and the next send has the newest frame.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message as WsMessage, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::stream::{FuturesUnordered, StreamExt};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::MissedTickBehavior;

use crate::error::QueryError;
use crate::live::channel::{Cursor, Message, Subscriber, newer_than};
use crate::live::origin;
use crate::live::topic::Topic;
use crate::query::Query;

/// Topics over one socket. A page follows one or two.
const SUBSCRIPTIONS_MAX: usize = 16;
/// A command is a topic and a few short arguments.
const COMMAND_BYTES_MAX: usize = 16 << 10;
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// A client that takes nothing for this long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Close code of RFC 6455: the endpoint is going away.
const GOING_AWAY: u16 = 1001;

pub(crate) async fn upgrade(
    State(query): State<Query>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let accepted = origin::check(&headers, &query.config().allowed_origins)
        .and_then(|()| upgrade.map_err(|error| QueryError::BadRequest { reason: error.body_text() }))
        .and_then(|upgrade| query.hub().connection().map(|place| (upgrade, place)));
    match accepted {
        Ok((upgrade, place)) => {
            upgrade.max_message_size(COMMAND_BYTES_MAX).on_upgrade(move |socket| serve(socket, query, place))
        }
        Err(error) => error.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Command {
    Sub {
        id: i64,
        topic: String,
        #[serde(default)]
        args: BTreeMap<String, String>,
    },
    Unsub {
        id: i64,
    },
    Pause {
        id: i64,
    },
    Resume {
        id: i64,
        #[serde(default)]
        after: Option<u64>,
    },
}

/// One topic of a socket.
struct Subscription {
    subscriber: Subscriber,
    cursor: Cursor,
    paused: bool,
    /// Tells the waits of an earlier subscription with the same id apart.
    generation: u64,
}

struct Connection {
    socket: WebSocket,
    query: Query,
    subscriptions: HashMap<i64, Subscription>,
    generations: u64,
}

/// Why a socket is closed.
struct Gone;

async fn serve(socket: WebSocket, query: Query, _place: OwnedSemaphorePermit) {
    let closing = query.hub().closing();
    let mut connection = Connection { socket, query, subscriptions: HashMap::new(), generations: 0 };
    let ended = tokio::select! {
        ended = connection.run() => ended,
        () = closing.cancelled() => Ok(()),
    };
    if ended.is_ok() {
        let frame = CloseFrame { code: GOING_AWAY, reason: "shipwake is stopping".into() };
        let _ = tokio::time::timeout(SEND_TIMEOUT, connection.socket.send(WsMessage::Close(Some(frame)))).await;
    }
}

impl Connection {
    /// Runs until the client is gone.
    async fn run(&mut self) -> Result<(), Gone> {
        let mut news = FuturesUnordered::new();
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = self.socket.recv() => {
                    let Some(Ok(message)) = received else { return Err(Gone) };
                    if let Some((id, generation)) = self.command(message).await? {
                        news.extend(self.wait_for_news(id, generation));
                    }
                }
                Some((id, generation)) = news.next(), if !news.is_empty() => {
                    self.send_news(id, generation).await?;
                    news.extend(self.wait_for_news(id, generation));
                }
                _ = beats.tick() => {
                    let beat = Message::heartbeat(&self.query).text(None);
                    self.send(beat).await?;
                }
            }
        }
    }

    /// Carries out a command; gives the subscription to wait for when there is a new one.
    async fn command(&mut self, message: WsMessage) -> Result<Option<(i64, u64)>, Gone> {
        let text = match message {
            WsMessage::Text(text) => text,
            WsMessage::Close(_) => return Err(Gone),
            WsMessage::Binary(_) => {
                self.refuse(None, "bad-request", "commands are text").await?;
                return Ok(None);
            }
            // Answered by the WebSocket itself.
            WsMessage::Ping(_) | WsMessage::Pong(_) => return Ok(None),
        };
        match serde_json::from_str(&text) {
            Ok(Command::Sub { id, topic, args }) => return self.subscribe(id, &topic, args).await,
            Ok(Command::Unsub { id }) => {
                self.subscriptions.remove(&id);
            }
            Ok(Command::Pause { id }) => {
                if let Some(subscription) = self.subscriptions.get_mut(&id) {
                    subscription.paused = true;
                }
            }
            Ok(Command::Resume { id, after }) => self.resume(id, after).await?,
            Err(error) => self.refuse(None, "bad-request", &format!("not a command: {error}")).await?,
        }
        Ok(None)
    }

    async fn subscribe(
        &mut self,
        id: i64,
        topic: &str,
        args: BTreeMap<String, String>,
    ) -> Result<Option<(i64, u64)>, Gone> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX && !self.subscriptions.contains_key(&id) {
            let detail = format!("a connection follows at most {SUBSCRIPTIONS_MAX} topics");
            self.refuse(Some(id), "busy", &detail).await?;
            return Ok(None);
        }
        let subscribed = Topic::parse(topic, args).and_then(|topic| self.query.hub().subscribe(&self.query, topic));
        match subscribed {
            Ok(subscriber) => {
                self.generations += 1;
                let generation = self.generations;
                let subscription = Subscription { subscriber, cursor: Cursor::default(), paused: false, generation };
                self.subscriptions.insert(id, subscription);
                self.send_news(id, generation).await?;
                Ok(Some((id, generation)))
            }
            Err(error) => {
                self.subscriptions.remove(&id);
                self.send(Message::of_error(&error).text(Some(id))).await?;
                Ok(None)
            }
        }
    }

    async fn resume(&mut self, id: i64, after: Option<u64>) -> Result<(), Gone> {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return self.refuse(Some(id), "not-found", "there is no subscription with this id").await;
        };
        subscription.paused = false;
        match after {
            Some(seq) => subscription.cursor = Cursor::after(seq),
            None => subscription.cursor.resume(),
        }
        let generation = subscription.generation;
        self.send_news(id, generation).await
    }

    /// Waits for the next frame of a subscription; nothing when the subscription has ended meanwhile.
    fn wait_for_news(&self, id: i64, generation: u64) -> Option<impl Future<Output = (i64, u64)> + use<>> {
        let subscription = self.subscriptions.get(&id).filter(|subscription| subscription.generation == generation)?;
        let news = subscription.subscriber.news();
        let known = if subscription.paused { subscription.subscriber.newest_seq() } else { subscription.cursor.seen() };
        Some(async move {
            newer_than(news, known).await;
            (id, generation)
        })
    }

    async fn send_news(&mut self, id: i64, generation: u64) -> Result<(), Gone> {
        let current = self.subscriptions.get_mut(&id);
        let Some(subscription) = current.filter(|one| one.generation == generation && !one.paused) else {
            return Ok(());
        };
        for message in subscription.cursor.take(&subscription.subscriber) {
            self.send(message.text(Some(id))).await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, id: Option<i64>, code: &str, detail: &str) -> Result<(), Gone> {
        self.send(Message::error(code, "The command is not understood", detail).text(id)).await
    }

    async fn send(&mut self, text: String) -> Result<(), Gone> {
        match tokio::time::timeout(SEND_TIMEOUT, self.socket.send(WsMessage::Text(text.into()))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}
