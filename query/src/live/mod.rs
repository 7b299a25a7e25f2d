//! The pages' answers, pushed. `LIVE.md` describes the messages.
//!
//! - [`topic`]: what can be followed. [`channel`]: one topic with its arguments, computed once a second for all that follow
//!   it, and only while somebody does. [`delta`]: what changed between two answers; pure.
//! - [`ws`], [`sse`]: the two ways to a client, with the same JSON.

pub(crate) mod channel;
pub(crate) mod delta;
pub(crate) mod origin;
pub(crate) mod sse;
pub(crate) mod topic;
pub(crate) mod ws;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::error::QueryError;
use crate::live::channel::{Channel, Subscriber};
use crate::live::topic::Topic;
use crate::query::Query;

/// Different topics and arguments at once. Each is a computation a second.
const CHANNELS_MAX: usize = 64;
/// Live connections at once.
const CONNECTIONS_MAX: usize = 512;

/// All channels.
pub(crate) struct Hub {
    channels: Mutex<HashMap<Topic, Arc<Channel>>>,
    connections: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            channels: Mutex::new(HashMap::new()),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            closing: CancellationToken::new(),
        }
    }
}

impl Hub {
    /// Ends all connections, now and from now on.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Cancelled when connections have to end.
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// A place for one more connection.
    pub fn connection(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        let full = QueryError::Busy { running: CONNECTIONS_MAX, waiting: 0, retry_after_s: 10 };
        self.connections.clone().try_acquire_owned().map_err(|_| full)
    }

    /// Follows a topic. The channel runs as long as a subscriber is held.
    pub fn subscribe(&self, query: &Query, topic: Topic) -> Result<Subscriber, QueryError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&topic) {
            return Ok(channel.subscribe(query));
        }
        channels.retain(|_, channel| !channel.is_stale(query.now_ms()));
        if channels.len() >= CHANNELS_MAX {
            return Err(QueryError::Busy { running: CHANNELS_MAX, waiting: 0, retry_after_s: 10 });
        }
        let channel = Arc::new(Channel::new(topic.clone(), query.now_ms()));
        channels.insert(topic, channel.clone());
        Ok(channel.subscribe(query))
    }
}
