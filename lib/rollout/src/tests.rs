//! Stories of rollouts, as traffic tells them.

use std::sync::Arc;

use proptest::prelude::*;
use shipwake_model::UNVERSIONED;

use crate::notice::{Notice, NoticeKind, Role};
use crate::place::{Limits, Place, Sight};
use crate::release::{Ending, Release, Strategy};

/// When stories begin; a multiple of a window.
const BEGIN_S: i64 = 1_000_000;

/// A place that is told a story, window by window.
#[derive(Default)]
struct Story {
    place: Place,
    /// Version, first seen, instances, windows.
    seen: Vec<Sight>,
    now_s: i64,
}

impl Story {
    fn new() -> Story {
        Story { now_s: BEGIN_S, ..Story::default() }
    }

    /// So many seconds with these requests by window.
    fn run(&mut self, seconds: i64, traffic: &[(&str, u64)]) -> &mut Story {
        for _ in 0..seconds / 10 {
            for (version, requests) in traffic {
                let at = self.seen.iter().position(|sight| &*sight.version == *version).unwrap_or_else(|| {
                    let version: Arc<str> = (*version).into();
                    let first_seen_s = self.now_s + 2;
                    let (last_seen_s, windows) = (first_seen_s, Vec::new());
                    self.seen.push(Sight { version, first_seen_s, last_seen_s, instances: 2, windows });
                    self.seen.len() - 1
                });
                self.seen[at].last_seen_s = self.now_s + 9;
                self.seen[at].windows.push((self.now_s, *requests));
            }
            self.now_s += 10;
            self.look();
        }
        self
    }

    fn look(&mut self) {
        // Everything of the last minutes is told again at every look.
        for sight in &mut self.seen {
            sight.windows.retain(|(start_s, _)| *start_s >= self.now_s - 300);
        }
        self.place.look(&self.seen, self.now_s - 2, &Limits::default());
    }

    fn told(&mut self, kind: NoticeKind, version: &str, role: Option<Role>) -> &mut Story {
        let notice = Notice {
            kind,
            version: version.into(),
            at_s: self.now_s,
            previous: None,
            role,
            weight: None,
            is_internal: role == Some(Role::Dark),
        };
        self.place.announce(&notice);
        self
    }

    fn restarted(&mut self) -> &mut Story {
        self.place = Place::decode(&self.place.encode()).expect("it was written by us");
        self
    }

    /// `version/baseline strategy ending` of every release.
    fn releases(&self) -> Vec<String> {
        let words = |release: &Release| {
            let baseline = release.baseline.as_deref().unwrap_or("-");
            let ending = release.ending.map_or("open".to_owned(), |(ending, _)| format!("{ending:?}"));
            format!("{}/{baseline} {:?} {ending}", release.version, release.strategy)
        };
        self.place.releases().iter().map(words).collect()
    }
}

#[test]
fn one_version_and_versions_that_were_there_from_the_start_are_no_releases() {
    let mut story = Story::new();
    assert!(story.run(600, &[("1", 100)]).releases().is_empty());
    let mut story = Story::new();
    assert!(story.run(600, &[("1", 100), ("2", 10)]).releases().is_empty());
    assert_eq!(story.place.stable().map(|name| &**name), Some("1"));
}

#[test]
fn a_first_look_at_old_data_calls_nothing_a_release() {
    let sight = |version: &str, first_seen_s: i64| Sight {
        version: version.into(),
        first_seen_s,
        last_seen_s: BEGIN_S + 19,
        instances: 2,
        windows: vec![(BEGIN_S, 50), (BEGIN_S + 10, 50)],
    };
    let mut place = Place::default();
    // A month, a week, two hours, ten minutes.
    let ages = [2_600_000, 600_000, 7_200, 600];
    let seen: Vec<Sight> = ages.iter().map(|age| sight(&format!("{age}"), BEGIN_S - age)).collect();
    place.look(&seen, BEGIN_S + 18, &Limits::default());
    let opened: Vec<&str> = place.releases().iter().map(|release| &*release.version).collect();
    assert_eq!(opened, ["600"], "only what came within the hour that can be judged");
}

#[test]
fn a_canary_opens_beside_the_stable_version_and_is_promoted_after_its_watch() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]);
    let opened_s = story.now_s;
    assert_eq!(story.run(10, &[("1", 90), ("2", 10)]).releases(), ["2/1 Canary open"]);
    assert_eq!(story.place.releases()[0].opened_s, opened_s + 2);
    story.run(300, &[("1", 90), ("2", 10)]);
    assert!((story.place.releases()[0].share.expect("traffic") - 0.1).abs() < 1e-9);
    story.run(300, &[("1", 50), ("2", 50)]).run(120, &[("2", 100)]);
    assert_eq!(story.releases(), ["2/1 Canary open"]);
    let full_s = story.place.releases()[0].full_since_s.expect("it has all of it");
    assert!(full_s <= story.now_s && full_s > story.now_s - 120);
    story.restarted().run(3_600, &[("2", 100)]);
    assert_eq!(story.releases(), ["2/1 Canary Promoted"]);
    assert_eq!(story.place.stable().map(|name| &**name), Some("2"));
    // It is forgotten a day later, and the next one is compared with it.
    story.run(90_000, &[("2", 10)]);
    assert!(story.releases().is_empty());
    assert_eq!(story.run(60, &[("2", 90), ("3", 10)]).releases(), ["3/2 Canary open"]);
}

#[test]
fn traffic_that_goes_back_is_a_rollback_and_who_comes_again_is_judged_again() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(200, &[("1", 90), ("2", 10)]).run(60, &[("1", 100)]);
    assert_eq!(story.run(20, &[("1", 100)]).releases(), ["2/1 Canary RolledBack"]);
    let again_s = story.now_s;
    story.restarted().run(90, &[("1", 90), ("2", 10)]);
    assert_eq!(story.releases(), ["2/1 Canary RolledBack", "2/1 Canary open"]);
    assert!(story.place.releases()[1].opened_s >= again_s);
    // The version that came back stays what others are compared with.
    assert_eq!(story.place.stable().map(|name| &**name), Some("1"));
}

#[test]
fn a_candidate_that_stops_and_whose_traffic_nobody_got_has_gone_silent() {
    let dies = || {
        let mut story = Story::new();
        story.run(120, &[("1", 100)]).run(200, &[("1", 60), ("2", 25)]).run(70, &[("1", 60)]);
        story
    };
    let mut story = dies();
    assert_eq!(story.releases(), ["2/1 Canary open"], "nobody took it back");
    assert_eq!(story.run(500, &[("1", 61)]).releases(), ["2/1 Canary open"]);
    assert_eq!(story.run(60, &[("1", 60)]).releases(), ["2/1 Canary GoneSilent"]);
    // It comes again, and is judged again.
    assert_eq!(story.restarted().run(90, &[("1", 60), ("2", 25)]).releases()[1], "2/1 Canary open");
    // It comes back before anybody gave it up: the same release goes on.
    assert_eq!(dies().run(300, &[("1", 60)]).run(100, &[("1", 60), ("2", 25)]).releases(), ["2/1 Canary open"]);
    // Traffic that rises by and by, as in any morning, was not taken over.
    let mut story = dies();
    (0..56).for_each(|k| drop(story.run(10, &[("1", 60 + k)]).releases()));
    assert_eq!(story.releases(), ["2/1 Canary GoneSilent"]);
}

#[test]
fn a_candidate_that_stops_was_taken_back_if_others_got_it_or_somebody_says_so_or_it_still_runs() {
    let before = || {
        let mut story = Story::new();
        story.run(120, &[("1", 100)]).run(200, &[("1", 60), ("2", 25)]);
        story
    };
    assert_eq!(before().run(80, &[("1", 85)]).releases(), ["2/1 Canary RolledBack"]);
    // Step by step.
    let mut steps = before();
    steps.run(60, &[("1", 75), ("2", 10)]).run(60, &[("1", 83), ("2", 2)]);
    assert_eq!(steps.run(80, &[("1", 85)]).releases(), ["2/1 Canary RolledBack"]);
    let mut said = before();
    said.told(NoticeKind::Rollback, "1", None);
    assert_eq!(said.run(80, &[("1", 60)]).releases(), ["2/1 Canary RolledBack"]);
    // Said later, it is known then.
    let mut later = before();
    later.run(300, &[("1", 60)]).told(NoticeKind::Rollback, "1", None);
    assert_eq!(later.run(10, &[("1", 60)]).releases(), ["2/1 Canary RolledBack"]);
    // Its instances run without requests.
    let mut runs = before();
    for _ in 0..8 {
        runs.seen[1].last_seen_s = runs.now_s + 9;
        runs.run(10, &[("1", 60)]);
    }
    assert_eq!(runs.releases(), ["2/1 Canary RolledBack"]);
}

#[test]
fn a_rollback_with_connections_that_linger_is_one_and_ends_once() {
    let mut story = Story::new();
    story.run(120, &[("1", 1_000)]).run(200, &[("1", 500), ("2", 500)]);
    story.run(400, &[("1", 990), ("2", 5)]);
    assert_eq!(story.releases(), ["2/1 Canary RolledBack"]);
}

#[test]
fn a_rollback_after_the_switch_is_one_too() {
    let mut story = Story::new();
    story.run(120, &[("blue", 100)]).run(20, &[("blue", 50), ("green", 50)]).run(200, &[("green", 100)]);
    assert_eq!(story.releases(), ["green/blue BlueGreen open"]);
    assert!(story.place.releases()[0].needs_past(&Limits::default()));
    story.run(100, &[("blue", 100)]);
    assert_eq!(story.releases(), ["green/blue BlueGreen RolledBack"]);
    assert_eq!(story.place.stable().map(|name| &**name), Some("blue"));
}

#[test]
fn requests_that_still_reach_the_old_colour_are_counted() {
    let mut story = Story::new();
    story.run(120, &[("blue", 1_000)]).run(300, &[("blue", 2), ("green", 998)]);
    let release = &story.place.releases()[0];
    assert_eq!(release.strategy, Strategy::BlueGreen);
    assert!((20..=60).contains(&release.leaked), "{}", release.leaked);
}

#[test]
fn a_newer_version_replaces_an_open_release() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(100, &[("1", 90), ("2", 10)]).run(100, &[("1", 60), ("3", 40)]);
    assert_eq!(story.releases(), ["2/1 Canary RolledBack", "3/1 Canary open"], "most of it went back");
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(100, &[("1", 10), ("2", 90)]).run(100, &[("1", 10), ("3", 90)]);
    assert_eq!(story.releases(), ["2/1 Canary Replaced", "3/1 Canary open"]);
}

#[test]
fn a_release_that_has_everything_is_promoted_when_the_next_one_comes() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(200, &[("1", 50), ("2", 50)]).run(200, &[("2", 100)]);
    story.run(30, &[("2", 90), ("3", 10)]);
    assert_eq!(story.releases(), ["2/1 Canary Promoted", "3/2 Canary open"]);
}

#[test]
fn instances_that_are_replaced_are_a_rolling_update() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(60, &[("1", 75), ("2", 25)]);
    assert_eq!(story.releases(), ["2/1 Canary open"]);
    story.seen[0].instances = 1;
    assert_eq!(story.run(60, &[("1", 50), ("2", 50)]).releases(), ["2/1 Rolling open"]);
}

#[test]
fn what_comes_when_nothing_else_runs_is_compared_with_the_past() {
    let mut story = Story::new();
    story.run(300, &[("1", 100)]).run(700, &[]);
    assert_eq!(story.run(30, &[("2", 100)]).releases(), ["2/1 BeforeAfter open"]);
}

#[test]
fn records_without_a_version_and_the_overflow_are_never_on_trial() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(120, &[("1", 90), (UNVERSIONED, 10), ("__overflow__", 5)]);
    assert!(story.releases().is_empty());
}

#[test]
fn silence_of_the_whole_service_ends_nothing() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(100, &[("1", 90), ("2", 10)]).run(900, &[]);
    assert_eq!(story.releases(), ["2/1 Canary open"]);
    assert_eq!(story.place.releases()[0].share, None);
}

#[test]
fn what_is_announced_refines_what_is_seen() {
    let mut story = Story::new();
    // There from the start, and somebody says which one is on trial.
    story.told(NoticeKind::Deploy, "2", Some(Role::Candidate)).run(60, &[("1", 90), ("2", 10)]);
    assert_eq!(story.releases(), ["2/1 Canary open"]);
    // The same said later: it is judged from about then on, and saying it again changes nothing.
    let mut story = Story::new();
    story.run(3_000, &[("1", 90), ("2", 10)]).told(NoticeKind::Deploy, "2", Some(Role::Candidate));
    let said_s = story.now_s;
    story.run(60, &[("1", 90), ("2", 10)]).told(NoticeKind::Deploy, "2", Some(Role::Candidate));
    assert_eq!(story.run(60, &[("1", 90), ("2", 10)]).releases(), ["2/1 Canary open"]);
    assert!((said_s - 600..=said_s).contains(&story.place.releases()[0].opened_s));
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).told(NoticeKind::Deploy, "2", Some(Role::Dark));
    assert_eq!(story.run(60, &[("1", 100), ("2", 3)]).releases(), ["2/1 Dark open"]);
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).told(NoticeKind::Deploy, "2", Some(Role::Stable));
    assert!(story.run(60, &[("1", 100), ("2", 3)]).releases().is_empty());
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(100, &[("1", 10), ("2", 90)]).told(NoticeKind::Rollback, "1", None);
    assert_eq!(story.run(100, &[("1", 10), ("3", 90)]).releases()[0], "2/1 Canary RolledBack");
}

#[test]
fn a_version_text_that_changes_with_every_build_is_bounded() {
    let mut story = Story::new();
    story.run(60, &[("base", 100)]);
    for build in 0..300 {
        story.run(10, &[("base", 100), (&format!("build-{build}"), 5)]);
    }
    let open = story.place.releases().iter().filter(|release| release.is_open()).count();
    assert!(open <= 4 && story.place.releases().len() <= 16 && story.place.versions.len() <= 64);
    assert!(story.place.encode().len() < 20_000);
}

#[test]
fn damaged_bytes_are_refused_and_never_taken() {
    let mut story = Story::new();
    story.run(120, &[("1", 100)]).run(100, &[("1", 90), ("2", 10)]);
    let bytes = story.place.encode();
    for cut in 0..bytes.len() {
        assert!(Place::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Place::decode(&[&bytes[..], &[0]].concat()).is_err());
}

proptest! {
    /// Whatever the traffic is: a release ends at most once, nothing is compared with itself, shares are shares, bounds hold, and a
    /// restart at any window changes nothing.
    #[test]
    fn any_traffic_keeps_the_rules(
        windows in prop::collection::vec(prop::collection::vec((0usize..5, 0u64..200), 0..4), 1..80),
        restart in any::<prop::sample::Index>(),
    ) {
        const NAMES: [&str; 5] = ["1", "2", "3", "4", UNVERSIONED];
        let (mut one, mut other) = (Story::new(), Story::new());
        let restart = restart.index(windows.len());
        let mut ended: Vec<(Arc<str>, i64, Ending)> = Vec::new();
        for (at, window) in windows.iter().enumerate() {
            let traffic: Vec<(&str, u64)> = window.iter().map(|(name, requests)| (NAMES[*name], *requests)).collect();
            one.run(10, &traffic);
            other.run(10, &traffic);
            if at == restart {
                other.restarted().look();
            }
            for release in one.place.releases() {
                prop_assert!(release.baseline.as_ref() != Some(&release.version));
                prop_assert!(&*release.version != UNVERSIONED);
                prop_assert!(release.share.is_none_or(|share| (0.0..=1.0).contains(&share)));
                if let Some((ending, _)) = release.ending {
                    let known = ended.iter().find(|(version, opened_s, _)| *version == release.version && *opened_s == release.opened_s);
                    match known {
                        Some((_, _, before)) => prop_assert_eq!(*before, ending),
                        None => ended.push((release.version.clone(), release.opened_s, ending)),
                    }
                }
            }
            let open: Vec<&Arc<str>> = one.place.releases().iter().filter(|release| release.is_open()).map(|release| &release.version).collect();
            let mut different = open.clone();
            different.sort();
            different.dedup();
            prop_assert_eq!(open.len(), different.len(), "a version is open once");
            prop_assert_eq!(one.releases(), other.releases());
        }
    }
}
