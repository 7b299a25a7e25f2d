//! Stories that were judged while they went on, judged again from their stored windows.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::{HdrCells, ReleaseId, Source};
use shipwake_verdict::Word;
use shipwake_verdict::policy::Margins;

use super::*;
use crate::judge::tests::{BEGIN_S, Story, id, load};
use crate::policies::{NamedPolicy, Policies};

const CELLS_MAX: usize = 1_000_000;

/// The windows of a story, of a second or of ten.
fn windows(story: &Story, length_s: i64) -> Vec<StoredWindow> {
    let world = story.world.lock().expect("no test panics with it");
    type Sum = (u64, u64, HdrCells);
    let mut sums: BTreeMap<(i64, &str, &str, u8), Sum> = BTreeMap::new();
    for ((at_s, version, route, slot), (requests, errors, duration)) in &world.seconds {
        let start_s = at_s.div_euclid(length_s) * length_s;
        let sum = sums.entry((start_s, version, route, *slot)).or_default();
        sum.0 += requests;
        sum.1 += errors;
        sum.2.merge(duration);
    }
    let ids: BTreeMap<&str, Arc<ReleaseId>> = world.first_seen.keys().map(|version| (*version, id(version))).collect();
    let window = |((start_s, version, route, slot), (requests, errors, duration))| StoredWindow {
        release: ids[version].clone(),
        start_s,
        length_s,
        what: Stored::Health { source: Source::Spans, route: Arc::from(route), slot, requests, errors, duration },
    };
    sums.into_iter().map(window).collect()
}

/// A story again, from windows of so many seconds.
fn again(story: &Story, length_s: i64, config: JudgeConfig) -> Vec<Replayed> {
    let mut replay = Replay::new(config, BEGIN_S + 3_000, CELLS_MAX);
    for (version, first_s) in &story.world.lock().expect("no test panics with it").first_seen {
        replay.know_release(id(version), first_s * 1_000_000_000, false);
    }
    // In pieces, as they come from a store.
    let mut all = windows(story, length_s);
    all.sort_by_key(|window| window.start_s);
    for until_s in (BEGIN_S..story.now_s + 600).step_by(600) {
        let after = all.partition_point(|window| window.start_s < until_s);
        replay.take(all.drain(..after).collect()).expect("within the bound");
        replay.run_until(until_s.min(story.now_s));
    }
    replay.finish()
}

/// The words of a story as they were told: each with its time.
fn told(story: &Story) -> Vec<(&'static str, i64)> {
    let words = story.changes.iter().filter(|change| change.ending.is_none());
    words.map(|change| (change.to.as_str(), change.at_ms)).collect()
}

fn called(replayed: &Replayed) -> Vec<(&'static str, i64)> {
    replayed.calls.iter().map(|call| (call.word.as_str(), call.at_ms)).collect()
}

fn bad_story() -> Story {
    let mut story = Story::with_an_hour(5);
    story.run(200, 1, &[load("1", 36, 5), load("2", 36, 5)]);
    story.run(30, 1, &[load("1", 36, 5), load("2", 36, 300)]).run(90, 1, &[load("1", 72, 5)]);
    story
}

fn good_story() -> Story {
    let mut story = Story::with_an_hour(5);
    story.run(1_500, 10, &[load("1", 40, 5), load("2", 40, 5)]);
    story
}

#[test]
fn the_same_windows_give_the_same_words_in_the_same_second() {
    let story = bad_story();
    let replayed = again(&story, 1, JudgeConfig::default());
    assert_eq!(replayed.len(), 1);
    assert_eq!(called(&replayed[0]), told(&story));
    assert_eq!(decision(&replayed[0].calls).map(|call| call.word), Some(Word::NoGo));
    let ending = story.changes.iter().find_map(|change| change.ending);
    assert_eq!(replayed[0].ending.map(|(how, _)| how), ending);
    assert_eq!((&*replayed[0].release.version, replayed[0].baseline.as_deref()), ("2", Some("1")));
}

#[test]
fn windows_of_ten_seconds_give_the_same_call_when_the_window_is_over() {
    for (story, word) in [(bad_story(), Word::NoGo), (good_story(), Word::Go)] {
        let replayed = again(&story, 10, JudgeConfig::default());
        let call = decision(&replayed[0].calls).expect("it was called");
        assert_eq!(call.word, word);
        let then = told(&story).into_iter().find(|(told, _)| *told == word.as_str()).expect("called so then");
        assert!((0..=10_000).contains(&(call.at_ms - then.1)), "{} and {}", call.at_ms, then.1);
    }
}

#[test]
fn a_stricter_policy_calls_otherwise_and_the_check_is_named() {
    let story = good_story();
    let as_it_was = again(&story, 10, JudgeConfig::default());
    let mut strict = NamedPolicy { name: "strict".into(), ..NamedPolicy::default() };
    strict.policy.errors = Margins { fine: 1.01, ..strict.policy.errors };
    strict.policy.errors_fine_busy = 1.01;
    let policies = Policies { default: strict, ..Policies::default() };
    let stricter = again(&story, 10, JudgeConfig { policies, ..JudgeConfig::default() });
    let (then, now) = (decision(&as_it_was[0].calls).expect("called"), stricter[0].calls.last());
    assert_eq!(then.word, Word::Go);
    assert_ne!(stricter[0].word, Word::Go);
    assert_eq!(&*stricter[0].policy, "strict");
    let now = now.map_or(Vec::new(), |call| call.checks.clone());
    if !now.is_empty() {
        assert!(parting(&then.checks, &now).is_some(), "{:?} {now:?}", then.checks);
    }
}

#[test]
fn seconds_are_used_where_they_are_all_there_and_nothing_counts_twice() {
    let window = |start_s: i64, length_s: i64, requests: u64| StoredWindow {
        release: id("1"),
        start_s,
        length_s,
        what: Stored::Health {
            source: Source::Spans,
            route: "".into(),
            slot: 0,
            requests,
            errors: 0,
            duration: HdrCells::new(),
        },
    };
    let all = vec![
        // Whole.
        window(0, 10, 7),
        window(3, 1, 5),
        window(9, 1, 2),
        // One second is gone already.
        window(10, 10, 7),
        window(13, 1, 5),
        // Not rolled up yet.
        window(20, 1, 4),
        window(30, 10, 1),
        // Still grows.
        window(40, 10, 9),
        window(41, 1, 3),
    ];
    let kept: Vec<(i64, i64)> = finest(all, 45).iter().map(|window| (window.start_s, window.length_s)).collect();
    assert_eq!(kept, [(3, 1), (9, 1), (10, 10), (20, 1), (30, 10), (41, 1)]);
}

#[test]
fn more_windows_than_the_bound_are_refused() {
    let story = good_story();
    let mut replay = Replay::new(JudgeConfig::default(), BEGIN_S, 1_000);
    assert_eq!(replay.take(windows(&story, 10)), Err(TooMuch { cells_max: 1_000 }));
}

#[test]
fn a_decision_is_the_first_time_of_the_gravest_word() {
    let call = |word: Word, at_ms: i64| Call { word, at_ms, summary: String::new(), checks: Vec::new() };
    let at = |calls: &[Call]| decision(calls).map(|call| (call.word, call.at_ms));
    assert_eq!(at(&[]), None);
    assert_eq!(at(&[call(Word::Watch, 1), call(Word::Wait, 2)]), Some((Word::Wait, 2)));
    assert_eq!(at(&[call(Word::Go, 1), call(Word::Watch, 2), call(Word::Go, 3)]), Some((Word::Go, 1)));
    assert_eq!(at(&[call(Word::Go, 1), call(Word::NoGo, 2)]), Some((Word::NoGo, 2)));
}

#[test]
fn calls_part_at_what_is_worse_before_what_is_on_its_way() {
    let check = |id: &str, state: &str| CheckCall { id: id.to_owned(), state: state.to_owned(), why: String::new() };
    let then = [check("errors", "undecided"), check("latency", "worse"), check("crashes", "fine")];
    let now = [check("errors", "fine"), check("latency", "fine")];
    let part = parting(&then, &now).expect("they part");
    assert_eq!((part.id.as_str(), part.then.as_deref(), part.now.as_deref()), ("latency", Some("worse"), Some("fine")));
    let without = parting(&[check("crashes", "fine"), check("errors", "fine")], &[check("errors", "fine")]);
    assert_eq!(without.map(|part| (part.id, part.now)), Some(("crashes".to_owned(), None)));
    assert_eq!((parting(&then, &then), parting(&[], &now)), (None, None));
}
