//! Why an owner gave no answer. The reader names the shard and goes on with what is stored.

/// An error of asking another process.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The process cannot be reached, or did not answer in time. It may come back.
    #[error("{owner} does not answer: {reason}")]
    Unreachable {
        /// Its base URL.
        owner: String,
        /// What the network said.
        reason: String,
    },
    /// The process answers, and cannot answer this: it is starting, stopping or busy.
    #[error("{owner} refuses: {reason}")]
    Refused {
        /// Its base URL.
        owner: String,
        /// What it said.
        reason: String,
    },
    /// What came is not what this version of shipwake understands.
    #[error("{owner} gave an answer that cannot be read: {reason}")]
    Unreadable {
        /// Its base URL.
        owner: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The threads that ask could not be started.
    #[error("cannot start threads that ask other processes: {0}")]
    Threads(std::io::Error),
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
}
