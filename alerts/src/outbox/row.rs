//! A row of the outbox: one notification for one receiver, under an id that stays the same however often it is sent.

use std::fmt;
use std::sync::Arc;

use shipwake_model::ReleaseId;

use crate::change::Change;

/// Changes that one message tells of; further ones in the middle are counted only.
pub const CHANGES_PER_ROW_MAX: usize = 8;
/// Titles that a summary of lost notifications names.
pub const LOST_TITLES_MAX: usize = 5;

/// Names a notification, the same over all its attempts and over restarts: receivers tell repetitions by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub [u8; 16]);

impl RowId {
    /// An id that follows from the parts and from nothing else.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finish().as_ref()[..16]);
        RowId(id)
    }

    /// A number that looks random, for the given attempt of this row.
    pub fn scatter(self, attempt: u32) -> u64 {
        let half = u64::from_le_bytes(self.0[..8].try_into().expect("eight bytes are eight bytes"));
        // The finaliser of splitmix64.
        let mut mixed = half ^ u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What rows are kept in order by: rows of one receiver and key are delivered first in, first out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// What is said of a release.
    Release(ReleaseId),
    /// What Shipwake says of itself.
    Own,
}

/// What a row tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Changes of one release, oldest first: one, or more that came while the receiver could not be reached.
    Changes(Changes),
    /// Notifications that were not delivered and never will be.
    Lost(Lost),
    /// Somebody tries the receiver out.
    Test,
}

/// Changes of one release, oldest first; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// What is told.
    pub told: Vec<Arc<Change>>,
    /// Changes after the first of these that are only counted.
    pub left_out: u64,
}

impl Changes {
    /// One change.
    pub fn one(change: Arc<Change>) -> Self {
        Changes { told: vec![change], left_out: 0 }
    }

    /// The newest change.
    pub fn last(&self) -> &Arc<Change> {
        self.told.last().expect("a row of changes has one at least")
    }

    /// Adds a change. The first and the newest ones stay.
    pub fn push(&mut self, change: Arc<Change>) {
        self.told.push(change);
        if self.told.len() > CHANGES_PER_ROW_MAX {
            self.told.remove(1);
            self.left_out += 1;
        }
    }
}

/// Notifications that were not delivered and never will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Too old.
    pub expired: u64,
    /// Too many.
    pub dropped: u64,
    /// Refused by the receiver for what is in them.
    pub rejected: u64,
    /// When the first of them was made, ms.
    pub first_ms: i64,
    /// When the last of them was made, ms.
    pub last_ms: i64,
    /// Titles of the first few.
    pub titles: Vec<String>,
}

impl Lost {
    /// How many.
    pub fn total(&self) -> u64 {
        self.expired + self.dropped + self.rejected
    }

    /// Adds a row that was made at the given time.
    pub fn add(&mut self, why: Loss, row: &Row) {
        let nothing_yet = self.total() == 0;
        match why {
            Loss::Expired => self.expired += 1,
            Loss::Dropped => self.dropped += 1,
            Loss::Rejected => self.rejected += 1,
        }
        self.first_ms = if nothing_yet { row.created_ms } else { self.first_ms.min(row.created_ms) };
        self.last_ms = if nothing_yet { row.created_ms } else { self.last_ms.max(row.created_ms) };
        if self.titles.len() < LOST_TITLES_MAX {
            self.titles.push(row.about());
        }
    }
}

/// Why a notification is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Older than its receiver wants it.
    Expired,
    /// No room.
    Dropped,
    /// Its receiver refuses what is in it.
    Rejected,
}

/// One notification for one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Names it towards the receiver.
    pub id: RowId,
    /// Who is told.
    pub receiver: Arc<str>,
    /// What it is kept in order by.
    pub key: Key,
    /// What is told.
    pub body: Body,
    /// When it was made, ms.
    pub created_ms: i64,
    /// Attempts so far.
    pub attempts: u32,
    /// When the last of them ended, ms.
    pub attempted_ms: Option<i64>,
    /// Not to be tried before, ms.
    pub next_ms: i64,
    /// Since when all attempts fail, ms.
    pub failing_since_ms: Option<i64>,
    /// The receiver that this one stands in for.
    pub stands_in_for: Option<Arc<str>>,
    /// Of its changes (`left_out` counted too), how many the fallback was told of.
    pub handed_on: u64,
}

impl Row {
    /// A new row, to be tried at once.
    pub fn new(receiver: Arc<str>, body: Body, stands_in_for: Option<Arc<str>>, now_ms: i64) -> Self {
        let key = match &body {
            Body::Changes(changes) => Key::Release(changes.last().release.clone()),
            Body::Lost(_) | Body::Test => Key::Own,
        };
        let mut row = Row {
            id: RowId([0; 16]),
            receiver,
            key,
            body,
            created_ms: now_ms,
            attempts: 0,
            attempted_ms: None,
            next_ms: now_ms,
            failing_since_ms: None,
            stands_in_for,
            handed_on: 0,
        };
        row.name();
        row
    }

    /// Gives the row the id of what is in it now. A row that says something else is another one to its receiver.
    pub fn name(&mut self) {
        let mut content = Vec::new();
        match &self.body {
            Body::Changes(changes) => {
                for change in &changes.told {
                    content.extend_from_slice(&change.sequence.to_le_bytes());
                    content.extend_from_slice(&change.at_ms.to_le_bytes());
                }
                content.extend_from_slice(&changes.left_out.to_le_bytes());
            }
            Body::Lost(lost) => {
                for number in [lost.expired, lost.dropped, lost.rejected] {
                    content.extend_from_slice(&number.to_le_bytes());
                }
                content.extend_from_slice(&lost.first_ms.to_le_bytes());
                content.extend_from_slice(&lost.last_ms.to_le_bytes());
            }
            Body::Test => content.extend_from_slice(&self.created_ms.to_le_bytes()),
        }
        let kind = [match &self.body {
            Body::Changes(_) => 0,
            Body::Lost(_) => 1,
            Body::Test => 2,
        }];
        let stands_in = self.stands_in_for.as_deref().unwrap_or("");
        let mut parts: Vec<&[u8]> = vec![&kind, self.receiver.as_bytes(), stands_in.as_bytes(), &content];
        if let Key::Release(ReleaseId { service, namespace, environment, version }) = &self.key {
            parts.extend([service, namespace, environment, version].map(|text| text.as_bytes()));
        }
        self.id = RowId::of(&parts);
    }

    /// How many changes it tells of, those that are only counted included.
    pub fn changes(&self) -> u64 {
        match &self.body {
            Body::Changes(changes) => changes.told.len() as u64 + changes.left_out,
            Body::Lost(_) | Body::Test => 0,
        }
    }

    /// The release that it tells of, and the number of the newest change of it.
    pub fn told(&self) -> Option<(ReleaseId, u64)> {
        match &self.body {
            Body::Changes(changes) => Some((changes.last().release.clone(), changes.last().sequence)),
            Body::Lost(_) | Body::Test => None,
        }
    }

    /// A few words for logs and lists, not for messages.
    pub fn about(&self) -> String {
        match &self.body {
            Body::Changes(changes) => {
                let change = changes.last();
                let ReleaseId { service, environment, version, .. } = &change.release;
                let mut about = format!("{}: {service} {version} in {environment}", change.to.title());
                crate::change::cut(&mut about, 200);
                about
            }
            Body::Lost(lost) => format!("{} notifications undelivered", lost.total()),
            Body::Test => "test".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Word;
    use crate::change::tests::change;

    #[test]
    fn an_id_follows_from_receiver_and_content_only() {
        let told = Arc::new(change("2.14.0", 1, Word::Wait, Word::NoGo));
        let row = |receiver: &str, now_ms| {
            Row::new(receiver.into(), Body::Changes(Changes::one(told.clone())), None, now_ms).id
        };
        assert_eq!(row("chat", 1), row("chat", 2));
        assert_ne!(row("chat", 1), row("pager", 1));
        let later = Arc::new(change("2.14.0", 2, Word::NoGo, Word::Go));
        let mut merged = Row::new("chat".into(), Body::Changes(Changes::one(told.clone())), None, 1);
        if let Body::Changes(changes) = &mut merged.body {
            changes.push(later);
        }
        merged.name();
        assert_ne!(merged.id, row("chat", 1), "it says something else now");
        assert_eq!(row("chat", 1).to_string().len(), 32);
    }

    #[test]
    fn the_first_and_the_newest_changes_stay() {
        let mut changes = Changes::one(Arc::new(change("2", 0, Word::Wait, Word::NoGo)));
        for sequence in 1..50 {
            changes.push(Arc::new(change("2", sequence, Word::NoGo, Word::Go)));
        }
        let told: Vec<u64> = changes.told.iter().map(|change| change.sequence).collect();
        assert_eq!(told, [0, 43, 44, 45, 46, 47, 48, 49]);
        assert_eq!(changes.left_out, 42);
    }
}
