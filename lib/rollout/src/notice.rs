//! What people and tools announce of a release. Traffic alone is enough to know of one; an announcement refines it.

use std::sync::Arc;

/// What a version is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What others are compared with.
    Stable,
    /// On trial.
    Candidate,
    /// Runs like production, and customers do not see it.
    Dark,
    /// Gets copies of requests, whose answers nobody sees.
    Shadow,
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// A version comes, or gets another part of the traffic.
    Deploy,
    /// It is what others are compared with from now on.
    Promote,
    /// It comes back, and what is on trial leaves.
    Rollback,
}

/// An announcement about a version of a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What is announced.
    pub kind: NoticeKind,
    /// The version.
    pub version: Arc<str>,
    /// When, in seconds since the epoch.
    pub at_s: i64,
    /// What it is to be compared with.
    pub previous: Option<Arc<str>>,
    /// What it is meant to be.
    pub role: Option<Role>,
    /// The part of the traffic that it is to get, 0 to 1.
    pub weight: Option<f64>,
    /// Only traffic of the team's own reaches it.
    pub is_internal: bool,
}
