//! Stories of releases, from windows to changes: a service whose windows are made up, second by second, and a judge that looks at them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use shipwake_model::marker::{Marker, MarkerKind};
use shipwake_model::{HdrCells, ReleaseId, Source};
use shipwake_store::{
    HealthCell, HealthQuery, HealthSeries, MarkerQuery, MarkerRow, MeasureQuery, MeasureSeries, PatternQuery,
    PatternRow, ReleaseRow, ShardStatus, SlotSeries, merge_health,
};
use shipwake_verdict::Word as SaidWord;
use shipwake_verdict::kayenta::{Classification, ScoreWord};

use super::engine::{Engine, JudgeConfig};
use super::kayenta::{Asked, Said, said};
use super::state;
use super::windows::Windows;
use crate::board::Strategy;
use crate::change::{Change, Ending, Word};

/// When stories begin, in seconds since the epoch; a multiple of a minute.
pub(in crate::judge) const BEGIN_S: i64 = 1_800_000_000;
const ROUTES: [&str; 3] = ["POST /pay", "GET /cart", "GET /item"];

/// What one version does a second.
#[derive(Clone, Copy)]
pub(in crate::judge) struct Load {
    version: &'static str,
    requests: u64,
    /// Parts of a thousand.
    failing: u64,
    /// How many times as slow as usual.
    slow: f64,
    instances: u8,
}

pub(in crate::judge) fn load(version: &'static str, requests: u64, failing: u64) -> Load {
    Load { version, requests, failing, slow: 1.0, instances: 4 }
}

type CellKey = (i64, &'static str, &'static str, u8);

/// A service, as its windows tell of it.
#[derive(Default)]
pub(in crate::judge) struct World {
    cells: BTreeMap<CellKey, (u64, u64, HdrCells)>,
    /// The same by the second, as they would be stored.
    pub(in crate::judge) seconds: BTreeMap<CellKey, (u64, u64, HdrCells)>,
    pub(in crate::judge) first_seen: BTreeMap<&'static str, i64>,
    last_seen: BTreeMap<&'static str, i64>,
    instances: BTreeMap<&'static str, u32>,
    patterns: Vec<PatternRow>,
    until_s: i64,
    is_cut_off: bool,
    markers: Vec<MarkerRow>,
    /// Shards read their state and the journal behind it.
    is_starting: bool,
    random: u64,
}

/// Looked at by the judge while the story goes on.
pub(in crate::judge) struct Story {
    pub(in crate::judge) world: Mutex<World>,
    engine: Engine,
    pub(in crate::judge) now_s: i64,
    pub(in crate::judge) changes: Vec<Change>,
}

impl World {
    fn next(&mut self) -> u64 {
        // A fixed sequence (SplitMix64).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn second(&mut self, at_s: i64, loads: &[Load]) {
        for load in loads.iter().filter(|load| load.instances > 0) {
            self.first_seen.entry(load.version).or_insert(at_s);
            self.last_seen.insert(load.version, at_s);
            self.instances.insert(load.version, u32::from(load.instances));
            for _ in 0..load.requests {
                let (dice, route, slot) =
                    (self.next() % 1_000, self.next() % 3, self.next() % u64::from(load.instances));
                // Between 10 and 1000 ms, most of them short.
                let unit = (self.next() % 1_000) as f64 / 1_000.0;
                let micros = (10_000.0 * 100f64.powf(unit * unit) * load.slow) as u64;
                let (route, slot) = (ROUTES[route as usize], slot as u8);
                let levels = [(&mut self.cells, at_s.div_euclid(10) * 10), (&mut self.seconds, at_s)];
                for (level, start_s) in levels {
                    let cell = level.entry((start_s, load.version, route, slot)).or_default();
                    cell.0 += 1;
                    cell.1 += u64::from(dice < load.failing);
                    cell.2.record(micros);
                }
            }
        }
        self.until_s = at_s + 1;
    }
}

pub(in crate::judge) fn id(version: &str) -> Arc<ReleaseId> {
    Arc::new(ReleaseId {
        service: "checkout".into(),
        namespace: "shop".into(),
        environment: "production".into(),
        version: version.into(),
    })
}

impl Windows for Mutex<World> {
    fn releases(&self) -> Vec<ReleaseRow> {
        let world = self.lock().expect("no test panics with it");
        let row = |(version, first_s): (&&'static str, &i64)| ReleaseRow {
            release: id(version),
            first_seen_ns: first_s * 1_000_000_000,
            last_seen_ns: world.last_seen[version] * 1_000_000_000,
            records: (world.last_seen[version] - first_s) as u64,
            requests: 1,
            instances: world.instances[version],
            instance_guessed: false,
            hashes: vec![format!("template-{version}").into()],
        };
        world.first_seen.iter().map(row).collect()
    }

    fn health(&self, query: &HealthQuery) -> Vec<HealthSeries> {
        let world = self.lock().expect("no test panics with it");
        let range = query.from_ms / 1_000..query.to_ms / 1_000;
        let step_ms = i64::from(query.step_s) * 1_000;
        let series = world.cells.iter().filter(|(key, _)| range.contains(&key.0)).map(|(key, cell)| {
            let (start_s, version, route, slot) = *key;
            let cell = HealthCell {
                t_ms: (start_s * 1_000).div_euclid(step_ms) * step_ms,
                requests: cell.0,
                errors: cell.1,
                duration: cell.2.clone(),
                slots: 1 << slot,
            };
            let route = if query.by_route { route } else { "" };
            vec![HealthSeries { release: id(version), source: Source::Spans, route: route.into(), cells: vec![cell] }]
        });
        merge_health(series)
    }

    fn slots(&self, query: &HealthQuery) -> Vec<SlotSeries> {
        let world = self.lock().expect("no test panics with it");
        let range = query.from_ms / 1_000..query.to_ms / 1_000;
        let mut found: BTreeMap<(&'static str, u8), BTreeMap<i64, HealthCell>> = BTreeMap::new();
        for ((start_s, version, _, slot), cell) in world.cells.iter().filter(|(key, _)| range.contains(&key.0)) {
            let t_ms = start_s * 1_000;
            let more =
                HealthCell { t_ms, requests: cell.0, errors: cell.1, duration: cell.2.clone(), slots: 1 << slot };
            let cells = found.entry((*version, *slot)).or_default();
            match cells.get_mut(&t_ms) {
                Some(known) => known.add(&more),
                None => drop(cells.insert(t_ms, more)),
            }
        }
        let series = |((version, slot), cells): ((&str, u8), BTreeMap<i64, HealthCell>)| SlotSeries {
            release: id(version),
            source: Source::Spans,
            slot,
            cells: cells.into_values().collect(),
        };
        found.into_iter().map(series).collect()
    }

    fn patterns(&self, _: &PatternQuery) -> Vec<PatternRow> {
        self.lock().expect("no test panics with it").patterns.clone()
    }

    fn measures(&self, _: &MeasureQuery) -> Vec<MeasureSeries> {
        Vec::new()
    }

    fn markers(&self, _: &MarkerQuery) -> Vec<MarkerRow> {
        self.lock().expect("no test panics with it").markers.clone()
    }

    fn status(&self) -> Vec<ShardStatus> {
        let world = self.lock().expect("no test panics with it");
        let watermark_ns = (world.until_s - 2) * 1_000_000_000;
        vec![
            ShardStatus { watermark_ns, ready: !world.is_starting, ..ShardStatus::default() },
            // One that never had a record.
            ShardStatus { watermark_ns: i64::MIN, ready: true, ..ShardStatus::default() },
        ]
    }

    fn is_incomplete(&self, _: Instant) -> bool {
        self.lock().expect("no test panics with it").is_cut_off
    }
}

impl Story {
    fn new() -> Story {
        Story {
            world: Mutex::default(),
            engine: Engine::new(JudgeConfig::default()),
            now_s: BEGIN_S,
            changes: Vec::new(),
        }
    }

    /// An hour of the stable version, without looks but the last.
    pub(in crate::judge) fn with_an_hour(failing: u64) -> Story {
        let mut story = Story::new();
        let stable = [load("1", 40, failing)];
        for _ in 0..3_600 {
            story.world.get_mut().expect("ours").second(story.now_s, &stable);
            story.now_s += 1;
        }
        story.look();
        story
    }

    /// So many seconds of the stable version, of before all that is known.
    fn has_had(&mut self, seconds: i64, stable: Load) -> &mut Story {
        let world = self.world.get_mut().expect("ours");
        let (first_s, until_s) = (world.first_seen[stable.version], world.until_s);
        (first_s - seconds..first_s).for_each(|at_s| world.second(at_s, &[stable]));
        world.first_seen.insert(stable.version, first_s - seconds);
        world.until_s = until_s;
        self
    }

    /// So many seconds of these, with a look after each `every` seconds.
    pub(in crate::judge) fn run(&mut self, seconds: i64, every: i64, loads: &[Load]) -> &mut Story {
        for second in 1..=seconds {
            self.world.get_mut().expect("ours").second(self.now_s, loads);
            self.now_s += 1;
            if second % every == 0 {
                self.look();
            }
        }
        self
    }

    fn look(&mut self) {
        let looked = self.engine.look(&self.world, self.now_s * 1_000);
        self.changes.extend(looked.changes);
    }

    /// As after `kill -9`: the state of the last commit, and the windows.
    fn restart(&mut self, state: &[u8]) {
        self.engine = state::decode(state, JudgeConfig::default()).expect("it was written by us");
    }

    pub(in crate::judge) fn words(&self) -> Vec<(Word, Option<Ending>)> {
        self.changes.iter().map(|change| (change.to, change.ending)).collect()
    }
}

#[test]
fn a_canary_that_breaks_is_no_go_within_seconds_and_its_rollback_is_told() {
    let mut story = Story::with_an_hour(5);
    story.run(200, 1, &[load("1", 36, 5), load("2", 36, 5)]);
    assert!(!story.words().iter().any(|(word, _)| *word == Word::NoGo), "{:?}", story.words());
    let broke_s = story.now_s;
    story.run(20, 1, &[load("1", 36, 5), load("2", 36, 300)]);
    let no_go = story.changes.iter().find(|change| change.to == Word::NoGo).expect("it is no go");
    assert!(no_go.at_ms <= (broke_s + 8) * 1_000, "after {} s", no_go.at_ms / 1_000 - broke_s);
    assert!(no_go.summary.starts_with("Roll back: errors"), "{}", no_go.summary);
    assert_eq!((no_go.baseline.as_deref(), no_go.checks[0].id.as_str()), (Some("1"), "errors"));
    story.run(90, 1, &[load("1", 72, 5)]);
    let last = story.changes.last().expect("told");
    assert_eq!((last.to, last.ending), (Word::NoGo, Some(Ending::RolledBack)));
    assert!(story.changes.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let board = story.engine.board(story.now_s * 1_000, true);
    assert_eq!(board.releases.len(), 1);
    assert!(board.releases[0].ending.is_some() && board.releases[0].verdict.word == SaidWord::NoGo);
}

#[test]
fn a_candidate_that_dies_is_not_called_rolled_back() {
    let mut story = Story::with_an_hour(5);
    story.run(200, 2, &[load("1", 36, 5), load("2", 36, 5)]).run(180, 2, &[load("1", 36, 5)]);
    assert!(story.words().iter().all(|(_, ending)| ending.is_none()), "{:?}", story.words());
    let last = story.changes.last().expect("told");
    assert_eq!(last.to, Word::Watch);
    let verdict = story.engine.cases[0].verdict.as_ref().expect("it was looked at");
    assert!(verdict.summary.contains("the candidate has sent nothing for "), "{}", verdict.summary);
    // Its instances had names all the same.
    assert!(!verdict.guards.iter().any(|guard| guard.id() == "few_instances"), "{:?}", verdict.guards);
    story.run(500, 10, &[load("1", 36, 5)]);
    let last = story.changes.last().expect("told");
    assert_eq!(last.ending, Some(Ending::GoneSilent));
    assert!(last.summary.starts_with("Gone silent: ") && last.summary.contains(" 1 went on."), "{}", last.summary);
    let state = state::encode(&story.engine);
    for _ in 0..2 {
        let board = story.engine.board(story.now_s * 1_000, true);
        let verdict = &board.releases[0].verdict;
        assert!(verdict.summary.starts_with("Gone silent: "), "{}", verdict.summary);
        assert!(verdict.missing.is_none() && !verdict.guards.iter().any(shipwake_verdict::Guard::is_of_time));
        story.restart(&state);
    }
}

#[test]
fn a_release_that_ended_before_it_was_decided_says_how_it_ended_and_not_what_it_waits_for() {
    let mut story = Story::with_an_hour(5);
    story.run(100, 2, &[load("1", 36, 5), load("2", 36, 5)]).run(90, 2, &[load("1", 72, 5)]);
    assert_eq!(story.changes.last().and_then(|change| change.ending), Some(Ending::RolledBack));
    let board = story.engine.board(story.now_s * 1_000, true);
    let said = &board.releases[0].verdict.summary;
    assert_eq!(said, "Rolled back: the traffic went back to 1. It was not decided.");
}

#[test]
fn a_version_that_runs_without_a_request_is_on_the_board_and_no_release() {
    let mut story = Story::with_an_hour(5);
    story.run(60, 5, &[load("1", 40, 5), load("2", 0, 0)]);
    let board = story.engine.board(story.now_s * 1_000, true);
    assert!(board.releases.is_empty());
    let idle: Vec<&str> = board.idle.iter().map(|idle| &*idle.release.version).collect();
    assert_eq!((idle, board.idle[0].baseline.as_deref()), (vec!["2"], Some("1")));
    let expected = format!(
        "Wait: 2 was first seen at {}, runs on 4 instances and has taken no request yet.",
        crate::time::clock_time((BEGIN_S + 3_600) * 1_000)
    );
    assert_eq!(board.idle[0].verdict.summary, expected);
    assert!(board.versions["checkout"].contains("1") && board.versions["checkout"].contains("2"));
    // Its first request makes it a release.
    story.run(30, 5, &[load("1", 36, 5), load("2", 4, 0)]);
    let board = story.engine.board(story.now_s * 1_000, true);
    assert_eq!((board.releases.len(), board.idle.len()), (1, 0));
}

#[test]
fn a_good_canary_goes_and_is_never_no_go() {
    let mut story = Story::with_an_hour(5);
    story.run(1_500, 10, &[load("1", 40, 5), load("2", 40, 5)]);
    let words = story.words();
    assert_eq!(words.last(), Some(&(Word::Go, None)), "{words:?} {:?}", story.engine.cases[0].verdict);
    assert!(!words.iter().any(|(word, _)| *word == Word::NoGo));
    let board = story.engine.board(story.now_s * 1_000, true);
    let judged = &board.releases[0];
    assert_eq!((judged.strategy, judged.baseline.as_deref()), (Strategy::Canary, Some("1")));
    assert!(judged.trails.iter().any(|trail| trail.len() > 50) && judged.past.len() == words.len());
    let checks: Vec<&str> = judged.verdict.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(checks, ["errors", "latency", "traffic"]);
    assert_eq!(judged.verdict.checks[1].quantiles.len(), 3);
}

#[test]
fn a_slower_canary_is_named_by_its_latency() {
    let mut story = Story::with_an_hour(5);
    let slow = Load { slow: 1.6, ..load("2", 40, 5) };
    story.run(900, 10, &[load("1", 40, 5), slow]);
    let no_go = story.changes.iter().find(|change| change.to == Word::NoGo).expect("it is no go");
    assert_eq!(no_go.checks[0].id, "latency");
}

#[test]
fn what_cannot_be_known_is_never_go() {
    // One instance.
    let mut alone = Story::with_an_hour(5);
    alone.run(1_200, 10, &[load("1", 40, 5), Load { instances: 1, ..load("2", 40, 5) }]);
    // A baseline that is sick itself.
    let mut sick = Story::with_an_hour(5);
    sick.run(1_200, 10, &[load("1", 40, 80), load("2", 40, 80)]);
    // No traffic but the first request.
    let mut idle = Story::with_an_hour(5);
    idle.run(1, 1, &[load("1", 40, 5), load("2", 1, 0)]).run(55, 5, &[load("1", 40, 5)]);
    // Data that stops.
    let mut stale = Story::with_an_hour(5);
    stale.run(250, 10, &[load("1", 40, 5), load("2", 40, 5)]);
    for _ in 0..200 {
        stale.now_s += 5;
        stale.look();
    }
    // Shards that cannot be heard.
    let mut deaf = Story::with_an_hour(5);
    deaf.world.get_mut().expect("ours").is_cut_off = true;
    deaf.run(1_200, 10, &[load("1", 40, 5), load("2", 40, 5)]);
    for story in [alone, sick, idle, stale, deaf] {
        assert!(!story.words().iter().any(|(word, _)| *word == Word::Go), "{:?}", story.words());
    }
}

#[test]
fn a_go_is_taken_back_when_data_stops() {
    let mut story = Story::with_an_hour(5);
    story.run(1_500, 10, &[load("1", 40, 5), load("2", 40, 5)]);
    assert_eq!(story.words().last(), Some(&(Word::Go, None)));
    for _ in 0..15 {
        story.now_s += 5;
        story.look();
    }
    assert_eq!(story.words().last(), Some(&(Word::Watch, None)));
}

#[test]
fn a_past_that_comes_after_the_first_look_is_learnt_from() {
    let (stable, canary) = (load("1", 40, 20), load("2", 40, 20));
    let mut story = Story::new();
    story.run(30, 1, &[stable]).run(25, 1, &[stable, canary]);
    let noise = |story: &Story| {
        let verdict = story.engine.cases[0].verdict.as_ref().expect("it was looked at");
        verdict.checks[0].noise.expect("errors have noise")
    };
    let early = noise(&story);
    assert!(early.learnt_s < 60 && early.dispersion > 3.0, "{early:?}");
    // The rest is folded piece by piece: each is learnt from.
    for piece in 0..10 {
        story.has_had(350, stable).run(10, 1, &[stable, canary]);
        assert!(piece < 9 || noise(&story).learnt_s > 3_000, "{:?}", noise(&story));
    }
    let late = noise(&story);
    assert!(late.dispersion < 1.5, "{late:?}");
    // Nothing that was counted before is lost: each side has all of its requests.
    story.run(200, 1, &[stable, canary]);
    let verdict = story.engine.cases[0].verdict.clone().expect("looked at");
    let counted = verdict.checks[0].counts.candidate.exposure;
    assert!(counted >= 40 * 200, "{counted}");
    let of_check = |id: &str| verdict.checks.iter().find(|check| check.id == id).expect("it is judged").clone();
    assert!(of_check("traffic").counts.candidate.exposure >= 4 * 20, "{:?}", of_check("traffic"));
    assert!(of_check("latency").effect.is_some());
    story.run(600, 10, &[stable, canary]);
    assert_eq!(story.words().last(), Some(&(Word::Go, None)), "{:?}", story.words());
    // What was decided is not decided again.
    let told = story.words().len();
    story.has_had(60, load("1", 4_000, 20)).run(30, 1, &[stable, canary]);
    assert_eq!((story.words().len(), noise(&story)), (told, late));
}

#[test]
fn a_release_without_anything_beside_it_is_compared_with_the_hour_before() {
    let mut story = Story::with_an_hour(5);
    story.run(20, 1, &[load("1", 20, 5), load("2", 20, 5)]).run(300, 5, &[load("2", 40, 5)]);
    let board = story.engine.board(story.now_s * 1_000, true);
    assert_eq!(board.releases[0].strategy, Strategy::BlueGreen);
    assert!(board.releases[0].verdict.guards.contains(&shipwake_verdict::Guard::NotConcurrent));
    assert!(!story.words().iter().any(|(word, _)| *word == Word::NoGo), "{:?}", story.words());
    story.run(60, 1, &[load("2", 40, 400)]);
    assert_eq!(story.words().last(), Some(&(Word::NoGo, None)));
}

#[test]
fn a_release_that_has_all_the_traffic_is_still_watched() {
    let mut story = Story::with_an_hour(5);
    story.run(1_200, 10, &[load("1", 40, 5), load("2", 40, 5)]).run(600, 10, &[load("2", 80, 5)]);
    assert!(!story.words().iter().any(|(word, _)| *word == Word::NoGo), "{:?}", story.words());
    assert!(story.engine.cases[0].after.is_some(), "the hour before stands in for the baseline");
    story.run(120, 5, &[load("2", 80, 400)]);
    assert_eq!(story.words().last(), Some(&(Word::NoGo, None)));
}

#[test]
fn a_judge_that_is_killed_goes_on_as_if_it_had_looked_away() {
    let (mut one, mut other) = (Story::with_an_hour(5), Story::with_an_hour(5));
    let script: [(i64, [Load; 2]); 3] = [
        (180, [load("1", 30, 5), load("2", 30, 5)]),
        (40, [load("1", 30, 5), load("2", 30, 150)]),
        (100, [load("1", 60, 5), load("2", 0, 0)]),
    ];
    for (seconds, loads) in script {
        for second in 0..seconds {
            one.run(1, 1, &loads);
            let (state, many) = (state::encode(&other.engine), other.changes.len());
            other.run(1, 1, &loads);
            if second % 7 == 3 {
                // What was decided after the commit is lost, and decided again.
                other.changes.truncate(many);
                other.restart(&state);
                // Shards are not ready at once.
                other.world.get_mut().expect("ours").is_starting = true;
                other.look();
                other.world.get_mut().expect("ours").is_starting = false;
                other.look();
            }
        }
    }
    let told = |story: &Story| {
        story.changes.iter().map(|change| (change.sequence, change.to, change.ending)).collect::<Vec<_>>()
    };
    assert_eq!(told(&one), told(&other));
    assert!(told(&one).iter().any(|(_, word, _)| *word == Word::NoGo));
    let boards = [&mut one, &mut other].map(|story| story.engine.board(0, true).releases[0].verdict.clone());
    assert_eq!(boards[0].checks[0].counts, boards[1].checks[0].counts);
    assert_eq!(boards[0].checks[0].ln_fast.to_bits(), boards[1].checks[0].ln_fast.to_bits());
}

#[test]
fn slots_of_a_stable_version_are_judged_as_fake_releases_and_none_is_called_bad() {
    let mut story = Story::with_an_hour(5);
    story.run(30, 10, &[load("1", 40, 5)]);
    let sums: Vec<_> = story.engine.audits.sums.values().collect();
    assert_eq!(sums.len(), 1);
    assert!(sums[0].audit.releases >= 8 && sums[0].audit.no_go == 0, "{sums:?}");
    // The same windows are not audited again.
    let before = sums[0].clone();
    story.run(30, 10, &[load("1", 40, 5)]);
    assert_eq!(story.engine.audits.sums.values().next(), Some(&before));
}

#[test]
fn a_share_that_is_not_the_announced_one_decides_nothing() {
    let mut story = Story::with_an_hour(5);
    let marker = Marker {
        weight: Some(0.1),
        ..Marker::new("m".to_owned(), MarkerKind::Weight, (*id("2")).clone(), story.now_s * 1_000_000_000)
    };
    story.world.get_mut().expect("ours").markers = vec![MarkerRow { marker: Arc::new(marker), received_ns: 0 }];
    story.run(900, 10, &[load("1", 40, 5), load("2", 40, 5)]);
    assert!(!story.words().iter().any(|(word, _)| word.is_decided()), "{:?}", story.words());
    let verdict = story.engine.cases[0].verdict.as_ref().expect("it was looked at");
    assert!(verdict.guards.iter().any(|guard| guard.id() == "split_mismatch"), "{:?}", verdict.guards);
}

#[test]
fn damaged_state_is_refused() {
    let mut story = Story::with_an_hour(5);
    story.run(30, 5, &[load("1", 30, 5), load("2", 30, 5)]);
    let bytes = state::encode(&story.engine);
    let again = state::decode(&bytes, JudgeConfig::default()).expect("ours");
    assert_eq!(state::encode(&again), bytes);
    for cut in (0..bytes.len()).step_by(97) {
        assert!(cut == 0 || state::decode(&bytes[..cut], JudgeConfig::default()).is_err(), "cut at {cut}");
    }
}

#[test]
fn what_fake_releases_came_to_is_known_after_a_restart() {
    let mut story = Story::with_an_hour(20);
    story.run(30, 10, &[load("1", 40, 20)]);
    let told = |story: &mut Story| story.engine.board(story.now_s * 1_000, true).audit_of(&id("1")).cloned();
    let before = told(&mut story).expect("an hour was audited");
    let bytes = state::encode(&story.engine);
    story.restart(&bytes);
    assert_eq!(told(&mut story), Some(before.clone()));
    // And the same hour is not audited again.
    story.run(30, 10, &[load("1", 40, 20)]);
    assert_eq!(told(&mut story), Some(before));
}

#[test]
fn a_candidate_with_a_clock_that_is_behind_is_told_of_and_judged_once_it_is_mended() {
    let mut story = Story::with_an_hour(5);
    let (one, two) = ([load("1", 36, 5)], [load("2", 36, 5)]);
    for _ in 0..120 {
        let world = story.world.get_mut().expect("ours");
        world.second(story.now_s - 600, &two);
        world.second(story.now_s, &one);
        story.now_s += 1;
        story.look();
    }
    let board = story.engine.board(story.now_s * 1_000, true);
    assert!(board.releases.is_empty() && story.changes.is_empty(), "{:?}", story.changes);
    let said = &board.idle[0].verdict;
    assert_eq!((said.word, said.guards[0].id()), (SaidWord::Watch, "clock_behind"));
    let expected =
        "Watch: 2, on 4 instances, cannot be judged: the candidate's records are dated 10 min before they come: ";
    assert!(said.summary.starts_with(expected), "{}", said.summary);
    // Somebody sets the clock.
    story.run(60, 5, &[one[0], two[0]]);
    let board = story.engine.board(story.now_s * 1_000, true);
    assert_eq!((board.releases.len(), board.idle.len()), (1, 0));
    assert_eq!((&*board.releases[0].release.version, board.releases[0].baseline.as_deref()), ("2", Some("1")));
}

/// A release that is judged, one that was rolled back and forgotten by nobody, and a service that was audited.
fn golden_story() -> Story {
    let mut story = Story::with_an_hour(5);
    story.run(20, 10, &[load("1", 40, 5)]).run(100, 10, &[load("1", 36, 5), load("2", 36, 5)]);
    story.run(90, 10, &[load("1", 72, 5)]).run(60, 10, &[load("1", 36, 5), load("3", 36, 5)]);
    story
}

#[test]
fn states_of_older_versions_open() {
    for bytes in [include_bytes!("../../tests/golden/judge_v1.bin").as_slice(), GOLDEN] {
        let engine = state::decode(bytes, JudgeConfig::default()).expect("it was written by us");
        let words: Vec<(&str, bool)> =
            engine.cases.iter().map(|case| (&*case.id.version, case.release.is_open())).collect();
        assert_eq!(words, [("2", false), ("3", true)]);
        assert_eq!(engine.audits.sums.len(), usize::from(bytes == GOLDEN));
    }
}

/// Written by this version: `SHIPWAKE_WRITE_GOLDEN=1 cargo test -p shipwake-alerts golden` after a change of the format, as a new file.
const GOLDEN: &[u8] = include_bytes!("../../tests/golden/judge_v2.bin");

#[test]
fn the_golden_state_is_what_this_version_writes() {
    if std::env::var_os("SHIPWAKE_WRITE_GOLDEN").is_some() {
        let bytes = state::encode(&golden_story().engine);
        std::fs::write("tests/golden/judge_v2.bin", bytes).expect("written");
    }
    let again = state::decode(GOLDEN, JudgeConfig::default()).expect("it was written by us");
    assert_eq!(state::encode(&again), GOLDEN, "what is read is written again as it was");
}

fn kayenta(story: &Story) -> Said {
    let asked = Asked {
        release: (*id("2")).clone(),
        baseline: Some("1".into()),
        is_before: false,
        opened_ms: (BEGIN_S + 3_600) * 1_000,
        until_ms: story.now_s * 1_000,
        reach_from_ms: Asked::reach_from(story.now_s * 1_000),
    };
    said(&story.world, &asked).expect("there are minutes")
}

#[test]
fn kayentas_judge_sees_the_same_minutes() {
    let mut good = Story::with_an_hour(5);
    good.run(1_200, 60, &[load("1", 40, 5), load("2", 40, 5)]);
    let said = kayenta(&good);
    assert_eq!((said.from_ms, said.to_ms), ((BEGIN_S + 3_600) * 1_000, (BEGIN_S + 4_800) * 1_000));
    assert_eq!((said.score.word, said.score.value, said.is_cut), (ScoreWord::Pass, 100.0, false), "{said:?}");
    let names: Vec<(&str, usize, usize)> =
        said.metrics.iter().map(|metric| (metric.name, metric.sides[0].0, metric.sides[1].0)).collect();
    assert_eq!(
        names,
        [("failed requests", 20, 20), ("p50 latency", 20, 20), ("p90 latency", 20, 20), ("p99 latency", 20, 20)]
    );

    let mut bad = Story::with_an_hour(5);
    bad.run(1_200, 60, &[load("1", 40, 5), load("2", 40, 60)]);
    let said = kayenta(&bad);
    assert_eq!(said.metrics[0].result.classification, Classification::High, "{said:?}");
    assert_eq!((said.score.value, said.score.word), (50.0, ScoreWord::Fail), "one of two groups");

    let mut alone = Story::with_an_hour(5);
    alone.run(300, 60, &[load("2", 40, 5)]);
    let asked = Asked {
        release: (*id("2")).clone(),
        baseline: Some("1".into()),
        is_before: true,
        opened_ms: (BEGIN_S + 3_600) * 1_000,
        until_ms: alone.now_s * 1_000,
        reach_from_ms: Asked::reach_from(alone.now_s * 1_000),
    };
    let said = super::kayenta::said(&alone.world, &asked).expect("there are minutes");
    assert_eq!((said.metrics[0].sides[0].0, said.metrics[0].sides[1].0), (5, 5), "the five minutes before stand in");
    assert_eq!(super::kayenta::said(&alone.world, &Asked { until_ms: asked.opened_ms + 59_000, ..asked }), None);
}

#[test]
fn a_board_tells_how_often_the_judge_would_have_been_wrong_and_how_soon_right() {
    let mut story = Story::with_an_hour(20);
    story.run(30, 10, &[load("1", 40, 20)]);
    let board = story.engine.board(story.now_s * 1_000, true);
    let told = board.audit_of(&id("1")).expect("an hour was audited");
    assert!(told.releases >= 8 && told.no_go == 0 && told.rate_below < 0.35, "{told:?}");
    assert_eq!((told.doubled, told.dispersion_floor), (told.releases, None), "{told:?}");
}

#[test]
fn a_release_is_known_by_the_pod_templates_that_its_instances_name() {
    let mut story = Story::with_an_hour(5);
    story.run(60, 10, &[load("1", 40, 5), load("2", 40, 5)]);
    let board = story.engine.board(story.now_s * 1_000, true);
    let hashes = board.releases[0].hashes.clone().map(|of| of.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(hashes, [["template-2"], ["template-1"]]);
}
