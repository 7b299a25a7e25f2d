//! What can stop the aggregator or one of its shards, told apart by what the caller does about it.

use shipwake_journal::JournalError;
use shipwake_store::StoreError;

impl AggregateError {
    /// Whether it is about the data of one shard: the others can go on, and a restart of the program would meet it again.
    pub(crate) fn is_of_one_shard(&self) -> bool {
        matches!(self, Self::State { .. } | Self::Store { source: StoreError::Damaged { .. }, .. })
    }

    /// The error with its causes, in one line.
    pub(crate) fn in_full(&self) -> String {
        let mut words = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            words.push_str(&format!(": {error}"));
            cause = error.source();
        }
        words
    }
}

/// An error that ends a shard. Everything that can be waited out is waited out inside and shows in the shard's status.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The journal cannot be read. Whether a restart helps is what the journal's error says.
    #[error("shard {shard} cannot read the journal at offset {offset}")]
    Journal {
        /// The shard.
        shard: u32,
        /// The offset that was asked for.
        offset: u64,
        /// Why.
        #[source]
        source: JournalError,
    },
    /// The store refused a commit or a read in a way that time does not heal.
    #[error("shard {shard} cannot use the store")]
    Store {
        /// The shard.
        shard: u32,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The committed state is not what this version wrote. Nothing was changed; the shard must not go on without it,
    /// because records would be counted twice.
    #[error("state of shard {shard} cannot be read: {reason}")]
    State {
        /// The shard.
        shard: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gave no thread for a shard.
    #[error("cannot start shard {shard}")]
    Thread {
        /// The shard.
        shard: u32,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system gave no thread for the work in the background.
    #[error("cannot start the background work of the store")]
    Background(#[source] std::io::Error),
    /// Nobody tells any more which shards are to run here.
    #[error("the group of the processes that share the journal cannot be heard any more")]
    NoGroup,
    /// A shard stopped on a broken invariant. A bug; the message is in the log.
    #[error("shard {shard} stopped unexpectedly")]
    Panicked {
        /// The shard.
        shard: u32,
    },
}
