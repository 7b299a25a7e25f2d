//! Boards for tests: releases whose verdicts a real comparison gave, so that no test believes in a verdict that there cannot be.

use std::sync::Arc;

use shipwake_model::ReleaseId;
use shipwake_verdict::{
    Check, Comparison, Counts, Facts, Instances, Noise, PatternLines, Policy, Tally, Verdict, Word,
};

use super::shipwake::board::{Board, Judged, Past, Strategy, TrailPoint};
use super::shipwake::change::Ending;
use super::shipwake::time::system_ms;

/// The candidate's first request.
const OPENED_S: i64 = 1_795_404_000;

/// A release to be judged.
#[derive(Clone, Debug)]
pub struct Release {
    judged: Judged,
}

impl Release {
    /// A canary of a service in production beside 2.13.4, that waits.
    pub fn new(service: &str, version: &str) -> Self {
        let release = ReleaseId {
            service: service.into(),
            namespace: "".into(),
            environment: "production".into(),
            version: version.into(),
        };
        let judged = Judged {
            release,
            baseline: Some("2.13.4".into()),
            strategy: Strategy::Canary,
            share: Some(0.1),
            hashes: [Vec::new(), Vec::new()],
            opened_ms: OPENED_S * 1_000,
            since_ms: OPENED_S * 1_000,
            sequence: 1,
            data_lag_ms: 3_100,
            policy: "default".into(),
            ending: None,
            verdict: verdict(Word::Wait),
            trails: Vec::new(),
            past: vec![Past { word: Word::Wait, at_ms: OPENED_S * 1_000, summary: "Wait.".into() }],
        };
        Release { judged }
    }

    pub fn word(mut self, word: Word) -> Self {
        self.judged.verdict = verdict(word);
        self.judged.sequence = 2;
        let point = TrailPoint { t_ms: OPENED_S * 1_000, value: 1.1, low: None, high: Some(1.4), ln_worse: 0.5 };
        self.judged.trails = vec![vec![point]];
        self
    }

    pub fn env(mut self, env: &str) -> Self {
        self.judged.release.environment = env.into();
        self
    }

    pub fn namespace(mut self, namespace: &str) -> Self {
        self.judged.release.namespace = namespace.into();
        self
    }

    pub fn hash(mut self, candidate: &str, baseline: &str) -> Self {
        self.judged.hashes = [vec![candidate.into()], vec![baseline.into()]];
        self
    }

    pub fn ended(mut self, ending: Ending) -> Self {
        self.judged.ending = Some((ending, OPENED_S * 1_000 + 60_000));
        self
    }

    pub fn judged(self) -> Judged {
        self.judged
    }
}

/// A board of now, of the first revision; newest first.
pub fn board_of(releases: Vec<Release>) -> Board {
    let releases = releases.into_iter().map(|release| Arc::new(release.judged())).collect();
    Board { revision: 1, as_of_ms: system_ms(std::time::SystemTime::now()), releases, ..Board::default() }
}

/// What a comparison says of a release whose traffic leads to this word.
fn verdict(word: Word) -> Verdict {
    let policy = Policy::default();
    let noise = Noise { dispersion: 1.2, dispersion_fast: 1.2, rate: Some(0.005), learnt_s: 3_600, ..Noise::unknown() };
    let checks = vec![Check::errors(&policy, noise, 3.6e5), Check::patterns()];
    let mut comparison = Comparison::open(policy, checks, vec!["POST /pay".to_owned()], OPENED_S);
    let windows = if word == Word::Go { 240 } else { 31 };
    for k in 0..windows {
        let failing = if word == Word::NoGo && k >= 20 { 300 } else { 5 };
        let counts = Counts::new(Tally::new(failing, 1_000), Tally::new(45, 9_000));
        comparison.add(0, 0, 0, OPENED_S + k * 10, counts);
        if failing > 5 {
            let counts = Counts::new(Tally::new(41, 1_000), Tally::new(0, 9_000));
            let lines =
                PatternLines { id: 0xab, template: "pool exhausted for <*>", known: false, slot: k as u8 % 8, counts };
            comparison.add_pattern(1, lines);
        }
    }
    let now_s = OPENED_S + windows * 10 + 3;
    let silent = u32::from(word == Word::Watch);
    let verdict = comparison.judge(&Facts {
        now_s,
        complete_until_s: now_s - 3,
        candidate: Instances { count: Some(3), silent },
        baseline: Instances { count: Some(18), silent: 0 },
        concurrent: true,
    });
    assert_eq!(verdict.word, word, "{}", verdict.summary);
    verdict
}
