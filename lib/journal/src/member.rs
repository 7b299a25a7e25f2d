//! Which partitions a process is to read, where several share a journal: what a member of their group is told, and what it
//! answers. Whoever speaks with the group holds the other end.
//!
//! Being told that a partition is ours is no promise that nobody else reads it: a process that was stopped for a while still
//! believes what it was told before. What keeps two from counting the same record is whoever commits, not the group.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

/// Orders that may wait: one for each change in the group, and whoever takes them does so at once.
const ORDERS_MAX: usize = 64;
/// Partitions that were let go and not passed on yet; far more than one change moves.
const LET_GO_MAX: usize = 4096;

/// What the group wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read these partitions from now on.
    Take(BTreeSet<u32>),
    /// Stop reading these, bring to an end what was begun, and [let them go](Member::let_go): somebody else waits for them. Those
    /// that take too long are [`Order::Drop`]ped.
    GiveUp(BTreeSet<u32>),
    /// These are ours no more, and somebody else may read them already: forget them, and commit nothing.
    Drop(BTreeSet<u32>),
}

/// A member of the group. Dropping it leaves the group.
#[derive(Debug)]
pub struct Member {
    orders: mpsc::Receiver<Order>,
    let_go: mpsc::Sender<u32>,
    standing: Standing,
}

/// The other end: for whoever speaks with the group.
#[derive(Debug)]
pub struct Group {
    /// What the member is told.
    pub orders: mpsc::Sender<Order>,
    /// Partitions that the member has let go.
    pub let_go: mpsc::Receiver<u32>,
    /// What keeps the process out of the group.
    pub standing: Standing,
}

/// What keeps a process out of the group, in words; nothing while it is in. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Option<Arc<str>>>>);

impl Member {
    /// A member that is in no group yet, and the other end.
    pub fn new() -> (Self, Group) {
        let ((orders, told), (let_go, gone)) = (mpsc::channel(ORDERS_MAX), mpsc::channel(LET_GO_MAX));
        let standing = Standing::default();
        let group = Group { orders, let_go: gone, standing: standing.clone() };
        (Member { orders: told, let_go, standing }, group)
    }

    /// The next order; `None` when whoever speaks with the group has ended. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Order> {
        self.orders.recv().await
    }

    /// Says that a partition is not read here any more, and that whoever has it next may begin.
    pub fn let_go(&self, partition: u32) {
        // When nobody listens, or so many have not been passed on, the group finds out by itself, later.
        let _ = self.let_go.try_send(partition);
    }

    /// What keeps the process out of the group.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }
}

impl Standing {
    /// The reason; `None` while the process is in the group.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets it.
    pub fn set(&self, reason: Option<&str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason.map(Arc::from);
    }
}
