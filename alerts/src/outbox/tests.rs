//! What the outbox promises, one promise a test. Time is a number; answers are made up.

use std::sync::Arc;

use super::attempts::{Answer, Outcome, Result};
use super::pace::Pace;
use super::policy::{Policy, Rate, Retry, Wants};
use super::row::{Body, Row, RowId};
use super::tidy::ROWS_PER_RECEIVER_MAX;
use super::{Busy, Outbox};
use crate::change::tests::change;
use crate::change::{Change, Word};
use crate::state_bytes::{self, State};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const START: i64 = 1_795_428_000_000;

pub(super) fn policy(name: &str) -> Policy {
    Policy {
        name: name.into(),
        wants: Wants::default(),
        merges: true,
        rate: Rate { interval_ms: 0, burst: 1 },
        retry: Retry { first_ms: SECOND, max_ms: MINUTE },
        max_age_ms: 24 * 60 * MINUTE,
        fallback: None,
        fallback_after_ms: 5 * MINUTE,
        address: 1,
    }
}

/// An outbox, its receivers and its time.
struct Bench {
    outbox: Outbox,
    policies: Vec<Policy>,
    pace: Pace,
    now: i64,
}

impl Bench {
    fn new(policies: Vec<Policy>) -> Self {
        Bench { outbox: Outbox::default(), policies, pace: Pace::new(START - 60 * MINUTE), now: START }
    }

    fn accept(&mut self, change: Change) {
        self.outbox.accept(change, self.now, &self.policies, &Busy::new());
    }

    fn no_go(&mut self, version: &str, sequence: u64) {
        self.accept(change(version, sequence, Word::Wait, Word::NoGo));
    }

    fn due(&self) -> Vec<u64> {
        self.outbox.due(self.now, &self.policies, &self.pace, &Busy::new())
    }

    fn settle(&mut self, order: u64, outcome: Outcome) {
        let answer = Answer { outcome, status: None, text: String::new(), took_ms: 1 };
        self.outbox.settle(order, answer, self.now, &self.policies);
    }

    fn tidy(&mut self) {
        self.outbox.tidy(self.now, &self.policies, &Busy::new());
    }

    /// Goes on to when something is due, and returns it.
    fn next_due(&mut self) -> Vec<u64> {
        for _ in 0..1_000 {
            let due = self.due();
            if !due.is_empty() {
                return due;
            }
            let next = self.outbox.next_ms(self.now, &self.policies, &self.pace, &Busy::new());
            self.now = next.expect("something will be due").max(self.now + 1);
            self.tidy();
        }
        panic!("nothing becomes due");
    }

    fn of(&self, receiver: &str) -> Vec<&Row> {
        self.outbox.rows.values().filter(|row| &*row.receiver == receiver).collect()
    }

    fn crash(&mut self) {
        let state = State { caller: Arc::default(), outbox: self.outbox.clone() };
        self.outbox = state_bytes::decode(&state_bytes::encode(&state)).expect("decodes").outbox;
        self.pace = Pace::new(self.now);
    }
}

fn sequences(row: &Row) -> Vec<u64> {
    match &row.body {
        Body::Changes(changes) => changes.told.iter().map(|change| change.sequence).collect(),
        Body::Lost(_) | Body::Test => Vec::new(),
    }
}

#[test]
fn the_first_of_a_release_is_first_and_other_releases_do_not_wait_for_it() {
    let mut bench = Bench::new(vec![Policy { merges: false, ..policy("pager") }]);
    bench.no_go("2", 1);
    bench.accept(change("2", 2, Word::NoGo, Word::Go));
    bench.no_go("3", 1);
    assert_eq!(bench.due(), [0]);
    bench.settle(0, Outcome::Failed(None));
    assert_eq!(bench.due(), [2], "the second of release 2 waits for the first");
    bench.settle(2, Outcome::Delivered);
    assert_eq!(bench.next_due(), [0]);
    bench.settle(0, Outcome::Delivered);
    assert_eq!(bench.due(), [1]);
    bench.settle(1, Outcome::Delivered);
    assert!(bench.outbox.rows.is_empty());
}

#[test]
fn each_receiver_has_one_attempt_at_a_time() {
    let mut bench = Bench::new(vec![policy("chat"), policy("hook")]);
    bench.no_go("2", 1);
    bench.no_go("3", 1);
    assert_eq!(bench.due(), [0, 1]);
    let busy = Busy::from([("chat".into(), 0)]);
    assert_eq!(bench.outbox.due(bench.now, &bench.policies, &bench.pace, &busy), [1]);
}

#[test]
fn a_pause_that_was_asked_for_is_kept_and_a_restart_does_not_shorten_it() {
    for outcome in [Outcome::Busy(Some(30 * SECOND)), Outcome::Failed(Some(30 * SECOND))] {
        let mut bench = Bench::new(vec![policy("chat")]);
        bench.no_go("2", 1);
        bench.settle(0, outcome);
        bench.no_go("3", 1);
        bench.crash();
        let asked_at = bench.now;
        assert_eq!(bench.next_due().len(), 1);
        assert!(
            (30 * SECOND..31 * SECOND).contains(&(bench.now - asked_at)),
            "{outcome:?}: {} ms",
            bench.now - asked_at
        );
    }
}

#[test]
fn a_pause_of_a_clock_that_went_back_is_over() {
    let mut bench = Bench::new(vec![policy("chat")]);
    bench.no_go("2", 1);
    bench.settle(0, Outcome::Busy(Some(30 * SECOND)));
    bench.crash();
    bench.now -= 60 * MINUTE;
    bench.pace = Pace::new(bench.now);
    assert_eq!(bench.due(), [0]);
}

#[test]
fn a_receiver_that_fails_is_tried_with_one_notification_and_then_gets_them_all() {
    let mut bench = Bench::new(vec![policy("chat")]);
    for version in 0..20 {
        bench.no_go(&version.to_string(), 1);
    }
    let mut tries = 0;
    while bench.now < START + 10 * MINUTE {
        let due = bench.next_due();
        assert_eq!(due.len(), 1);
        bench.settle(due[0], Outcome::Failed(None));
        tries += 1;
    }
    assert!((10..40).contains(&tries), "{tries} attempts in ten minutes, for twenty notifications");
    let back = bench.now;
    let first = bench.next_due();
    bench.settle(first[0], Outcome::Delivered);
    while !bench.outbox.rows.is_empty() {
        let due = bench.due();
        assert_eq!(due.len(), 1, "what waited need not wait any longer");
        bench.settle(due[0], Outcome::Delivered);
    }
    assert!(bench.now - back <= 75 * SECOND, "{} ms after it was back", bench.now - back);
}

#[test]
fn a_notification_that_always_fails_does_not_keep_others_from_their_turn() {
    let mut bench = Bench::new(vec![policy("chat")]);
    bench.no_go("poison", 1);
    let mut delivered = 0;
    for version in 0..50 {
        bench.no_go(&version.to_string(), 1);
        for _ in 0..4 {
            let order = bench.next_due()[0];
            let is_poison = order == 0;
            bench.settle(order, if is_poison { Outcome::Failed(None) } else { Outcome::Delivered });
            delivered += u32::from(!is_poison);
            if !is_poison {
                break;
            }
        }
    }
    assert_eq!(delivered, 50);
    assert_eq!(bench.of("chat").len(), 1);
}

#[test]
fn a_pair_that_could_not_be_delivered_becomes_one_message_with_an_id_of_its_own() {
    let mut bench = Bench::new(vec![policy("chat")]);
    bench.no_go("2", 1);
    let first = bench.of("chat")[0].id;
    bench.settle(0, Outcome::Failed(None));
    bench.accept(change("2", 2, Word::NoGo, Word::Go));
    let rows = bench.of("chat");
    assert_eq!(rows.len(), 1);
    assert_eq!(sequences(rows[0]), [1, 2]);
    assert_ne!(rows[0].id, first, "the receiver may have got the first one");
    assert!(bench.outbox.take_events().iter().any(|event| event.result == Result::Merged));
}

#[test]
fn changes_for_a_receiver_that_cannot_keep_up_become_one_message() {
    let mut bench = Bench::new(vec![Policy { rate: Rate { interval_ms: SECOND, burst: 1 }, ..policy("chat") }]);
    for sequence in 1..=60 {
        for version in ["2", "3", "4"] {
            bench.accept(change(version, sequence, Word::Watch, Word::NoGo));
        }
        let due = bench.due();
        for order in due {
            bench.pace.called(&"chat".into(), bench.policies[0].rate, bench.now);
            bench.settle(order, Outcome::Delivered);
        }
        bench.now += SECOND;
    }
    assert!(bench.of("chat").len() < 25, "{} rows after a minute of three changes a second", bench.of("chat").len());
}

#[test]
fn what_is_being_sent_is_not_changed_and_what_can_be_delivered_is_not_merged() {
    let mut bench = Bench::new(vec![policy("chat")]);
    bench.no_go("2", 1);
    bench.accept(change("2", 2, Word::NoGo, Word::Go));
    assert_eq!(bench.of("chat").len(), 2, "nothing is wrong with the receiver");
    let mut bench = Bench::new(vec![policy("chat")]);
    bench.no_go("2", 1);
    bench.settle(0, Outcome::Failed(None));
    let busy = Busy::from([("chat".into(), 0)]);
    bench.outbox.accept(change("2", 2, Word::NoGo, Word::Go), bench.now, &bench.policies, &busy);
    assert_eq!(bench.of("chat").len(), 2);
    assert_eq!(sequences(bench.of("chat")[0]), [1]);
}

#[test]
fn incidents_are_opened_and_closed_one_by_one() {
    let mut bench = Bench::new(vec![Policy { merges: false, ..policy("pager") }]);
    bench.no_go("2", 1);
    bench.settle(0, Outcome::Failed(None));
    bench.accept(change("2", 2, Word::NoGo, Word::Go));
    assert_eq!(bench.of("pager").len(), 2);
    assert_eq!(bench.outbox.overtaken_by(0).map(|change| change.sequence), Some(2));
    assert_eq!(bench.outbox.overtaken_by(1), None);
}

#[test]
fn what_is_too_old_is_said_in_one_summary_that_grows() {
    let mut bench = Bench::new(vec![Policy { max_age_ms: 60 * MINUTE, ..policy("pager") }]);
    bench.no_go("2", 1);
    bench.settle(0, Outcome::Failed(None));
    bench.now += 30 * MINUTE;
    bench.no_go("3", 1);
    bench.now += 30 * MINUTE;
    bench.tidy();
    assert_eq!(bench.of("pager").len(), 2);
    bench.now += 30 * MINUTE;
    bench.tidy();
    let rows = bench.of("pager");
    let Body::Lost(lost) = &rows[0].body else { panic!("a summary") };
    assert_eq!((rows.len(), lost.expired, lost.first_ms, lost.last_ms), (1, 2, START, START + 30 * MINUTE));
    assert_eq!(lost.titles, ["NO-GO: checkout 2 in production", "NO-GO: checkout 3 in production"]);
    bench.now += 1_000 * 60 * MINUTE;
    bench.tidy();
    assert_eq!(bench.of("pager").len(), 1, "a summary is never too old");
    let order = bench.next_due()[0];
    bench.settle(order, Outcome::Delivered);
    assert!(bench.outbox.rows.is_empty());
}

#[test]
fn the_fallback_is_told_after_a_while_and_of_each_change_once() {
    let pager = Policy {
        fallback: Some("chat".into()),
        wants: Wants { services: vec!["checkout".into()], ..Wants::default() },
        ..policy("pager")
    };
    let chat = Policy { wants: Wants { services: vec!["none".into()], ..Wants::default() }, ..policy("chat") };
    let mut bench = Bench::new(vec![pager, chat]);
    bench.no_go("2", 1);
    bench.settle(0, Outcome::Failed(None));
    bench.now += 5 * MINUTE - 1;
    bench.tidy();
    assert!(bench.of("chat").is_empty());
    bench.now += 1;
    bench.tidy();
    assert_eq!(bench.of("chat").iter().map(|row| sequences(row)).collect::<Vec<_>>(), [[1]]);
    assert_eq!(bench.of("chat")[0].stands_in_for.as_deref(), Some("pager"));
    bench.accept(change("2", 2, Word::NoGo, Word::Go));
    bench.tidy();
    bench.tidy();
    let told: Vec<_> = bench.of("chat").iter().map(|row| sequences(row)).collect();
    assert_eq!(told, [[1], [2]], "the pager is known to be down: at once, and only what is new");
    assert_eq!(bench.of("pager").len(), 1, "it is told as well when it is back");
}

#[test]
fn what_a_receiver_refuses_is_told_to_the_fallback_at_once_or_counted() {
    let mut bench = Bench::new(vec![Policy { fallback: Some("chat".into()), ..policy("pager") }, policy("chat")]);
    bench.no_go("2", 1);
    bench.settle(1, Outcome::Delivered);
    bench.settle(0, Outcome::Rejected);
    assert!(bench.of("pager").is_empty());
    assert_eq!(bench.of("chat").len(), 1);
    let mut bench = Bench::new(vec![policy("pager")]);
    bench.no_go("2", 1);
    bench.settle(0, Outcome::Rejected);
    let order = bench.next_due()[0];
    let Body::Lost(lost) = &bench.outbox.rows[&order].body else { panic!("a summary") };
    assert_eq!(lost.rejected, 1);
    bench.settle(order, Outcome::Rejected);
    assert!(bench.outbox.rows.is_empty(), "no summary of a summary");
}

#[test]
fn a_receiver_that_is_gone_is_not_called_until_it_has_another_address() {
    let mut bench = Bench::new(vec![Policy { fallback: Some("chat".into()), ..policy("hook") }, policy("chat")]);
    bench.no_go("2", 1);
    bench.settle(1, Outcome::Delivered);
    bench.settle(0, Outcome::Gone);
    bench.tidy();
    assert_eq!(bench.of("chat").len(), 1, "the fallback is told at once");
    let order = bench.next_due()[0];
    bench.settle(order, Outcome::Delivered);
    bench.now += 23 * 60 * MINUTE;
    assert!(bench.due().is_empty());
    bench.crash();
    bench.now += MINUTE;
    assert!(bench.due().is_empty(), "a restart does not change it");
    let mut tried = bench.outbox.clone();
    tried.accept_test(&"hook".into(), bench.now);
    assert!(
        !tried.due(bench.now, &bench.policies, &bench.pace, &Busy::new()).is_empty(),
        "unless somebody tries it out"
    );
    bench.policies[0].address = 2;
    assert_eq!(bench.due(), [0]);
}

#[test]
fn there_are_never_more_rows_than_fit_and_trouble_stays_the_longest() {
    let mut bench = Bench::new(vec![policy("chat")]);
    bench.no_go("first", 1);
    for version in 0..ROWS_PER_RECEIVER_MAX + 99 {
        bench.accept(change(&version.to_string(), 1, Word::Wait, Word::Go));
    }
    let rows = bench.of("chat");
    assert!(rows.len() <= ROWS_PER_RECEIVER_MAX + 1, "{} rows", rows.len());
    assert_eq!(rows[0].about(), "NO-GO: checkout first in production");
    let lost = rows.iter().find_map(|row| if let Body::Lost(lost) = &row.body { Some(lost.dropped) } else { None });
    let told = rows.iter().filter(|row| matches!(row.body, Body::Changes(_))).count();
    assert_eq!(lost.expect("a summary") as usize + told, ROWS_PER_RECEIVER_MAX + 100);
}

#[test]
fn rows_of_a_receiver_that_is_configured_no_more_are_given_up_and_logged() {
    let mut bench = Bench::new(vec![policy("chat"), policy("old")]);
    bench.no_go("2", 1);
    bench.policies.pop();
    bench.tidy();
    assert!(bench.of("old").is_empty());
    let last = bench.outbox.attempts.newest.back().expect("logged");
    assert_eq!((&*last.receiver, last.result), ("old", Result::Dropped));
}

#[test]
fn every_attempt_is_logged_and_the_log_is_bounded() {
    let mut bench = Bench::new(vec![policy("chat")]);
    bench.no_go("2", 1);
    for number in 1..=300 {
        bench.next_due();
        let answer =
            Answer { outcome: Outcome::Failed(None), status: Some(503), text: "try later\n".repeat(999), took_ms: 5 };
        bench.outbox.settle(0, answer, bench.now, &bench.policies);
        let last = bench.outbox.attempts.newest.back().expect("logged");
        assert_eq!((last.number, last.status, last.at_ms), (number, Some(503), bench.now));
        assert!(
            last.answer.starts_with("try later try later") && last.answer.len() <= super::attempts::ANSWER_BYTES_MAX
        );
    }
    assert_eq!(bench.outbox.attempts.newest.len(), super::attempts::ATTEMPTS_KEPT);
}

#[test]
fn a_test_message_is_owed_to_one_receiver() {
    let mut bench = Bench::new(vec![policy("chat"), policy("hook")]);
    bench.outbox.accept_test(&"hook".into(), bench.now);
    assert_eq!((bench.of("chat").len(), bench.of("hook").len()), (0, 1));
    assert_ne!(bench.of("hook")[0].id, RowId([0; 16]));
}
