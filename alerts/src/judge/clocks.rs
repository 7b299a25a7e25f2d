//! Versions whose clock is behind: records arrive now and are dated long before. Pure.
//!
//! Windows are of event time, so such a version is never beside the one it is to replace, and would be taken for the older of the two. It is
//! not followed until its times are those of now, and the answer says why. Something that holds records back for minutes looks the same, and is as
//! much in the way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shipwake_model::ReleaseId;
use shipwake_store::ReleaseRow;

use super::questions::place_of;
use crate::board::PlaceId;

/// Records may be this old when they come, in seconds: senders hold them for up to a minute.
const BEHIND_S: i64 = 120;
/// Without a record for so long nobody knows what a clock says now, ms: most exporters of metrics send once a minute.
const HEARD_MS: i64 = 90_000;

/// What is known of the clocks of all versions. Not stored: the next records tell it again.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// Records, and when they last grew in number, ms; `None` before they did.
    seen: HashMap<Arc<ReleaseId>, (u64, Option<i64>)>,
    /// How far behind, in seconds, of each that is.
    behind: HashMap<Arc<ReleaseId>, i64>,
    /// Places in which some version has requests and the right time.
    in_time: HashSet<PlaceId>,
}

impl Clocks {
    /// Takes note of what was seen.
    pub fn look(&mut self, rows: &[ReleaseRow], now_ms: i64) {
        // What a first look finds may have ended long ago.
        let is_first = self.seen.is_empty();
        let mut before = std::mem::take(&mut self.seen);
        self.behind.clear();
        self.in_time.clear();
        for row in rows {
            let grew_ms = match before.remove(&row.release) {
                Some((records, grew_ms)) if records == row.records => grew_ms,
                None if is_first => None,
                _ => Some(now_ms),
            };
            self.seen.insert(row.release.clone(), (row.records, grew_ms));
            let age_s = (now_ms - row.last_seen_ns.div_euclid(1_000_000)).div_euclid(1_000);
            let is_heard = grew_ms.is_some_and(|grew_ms| grew_ms + HEARD_MS > now_ms);
            if is_heard && age_s > BEHIND_S {
                self.behind.insert(row.release.clone(), age_s);
            } else if row.requests > 0 && age_s <= BEHIND_S {
                self.in_time.insert(place_of(&row.release));
            }
        }
    }

    /// How far the clock of a version is behind, in seconds, where another version of its place has the right time: if all are behind they
    /// can be compared.
    pub fn behind_s(&self, release: &ReleaseId) -> Option<i64> {
        let behind_s = self.behind.get(release).copied()?;
        self.in_time.contains(&place_of(release)).then_some(behind_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn row(version: &str, records: u64, age_s: i64) -> ReleaseRow {
        let last_seen_ns = (NOW_MS - age_s * 1_000) * 1_000_000;
        ReleaseRow {
            release: Arc::new(id(version)),
            first_seen_ns: last_seen_ns,
            last_seen_ns,
            records,
            requests: records,
            instances: 1,
            instance_guessed: false,
            hashes: Vec::new(),
        }
    }

    fn id(version: &str) -> ReleaseId {
        ReleaseId { service: "a".into(), namespace: "".into(), environment: "p".into(), version: version.into() }
    }

    #[test]
    fn a_clock_is_behind_when_records_come_that_are_old() {
        let check = |looks: &[&[ReleaseRow]], expected: Option<i64>, why: &str| {
            let mut clocks = Clocks::default();
            looks.iter().for_each(|rows| clocks.look(rows, NOW_MS));
            assert_eq!(clocks.behind_s(&id("2")), expected, "{why}");
        };
        let one = || row("1", 9, 1);
        check(&[&[one()], &[one(), row("2", 5, 600)]], Some(600), "it came with old times");
        check(&[&[one()], &[one(), row("2", 5, 120)]], None, "senders hold records");
        check(&[&[one(), row("2", 5, 600)]], None, "it may have ended before the first look");
        check(&[&[one(), row("2", 5, 600)], &[one(), row("2", 5, 600)]], None, "nothing comes");
        check(&[&[one(), row("2", 5, 600)], &[one(), row("2", 6, 600)]], Some(600), "more comes, as old");
        check(&[&[row("1", 9, 600)], &[row("1", 10, 600), row("2", 5, 600)]], None, "all are behind");
    }
}
