//! A change of verdict as a value: what the verdict engine hands over, and all that a message can tell of it.
//!
//! Texts come from telemetry: they are cut to size when a change is accepted, and each receiver makes them harmless in its
//! own way when it writes them.

use std::sync::Arc;

use shipwake_model::ReleaseId;
use shipwake_model::release::IDENTITY_BYTES_MAX;

/// A summary is a sentence.
pub const SUMMARY_BYTES_MAX: usize = 1_000;
/// Checks in one change; the engine puts the most telling first.
pub const CHECKS_MAX: usize = 12;
/// Text of a check: its name, and why it is as it is.
pub const CHECK_BYTES_MAX: usize = 300;
/// Links in one change.
pub const LINKS_MAX: usize = 5;
/// An address, and the words for it.
pub const LINK_BYTES_MAX: usize = 1_000;

/// The four words that every part of Shipwake uses for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word {
    /// Shown as not worse than the limits.
    Go,
    /// Shown as worse.
    NoGo,
    /// Suspicious, or a guard is open.
    Watch,
    /// Not enough evidence yet.
    Wait,
}

impl Word {
    /// All of them, as files and the wire spell them.
    pub const WORDS: [(&str, Word); 4] =
        [("go", Word::Go), ("no_go", Word::NoGo), ("watch", Word::Watch), ("wait", Word::Wait)];

    /// As the wire spells it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize].0
    }

    /// As people read it.
    pub fn title(self) -> &'static str {
        ["GO", "NO-GO", "WATCH", "WAIT"][self as usize]
    }

    /// Whether a rollout tool can act on it.
    pub fn is_decided(self) -> bool {
        matches!(self, Word::Go | Word::NoGo)
    }
}

/// Why a release is judged no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Its traffic went back to the version before.
    RolledBack,
    /// A later version took its traffic.
    Replaced,
    /// It is what others are compared with now.
    Promoted,
    /// Nothing came from it any more, and nobody got its traffic.
    GoneSilent,
}

impl Ending {
    /// All of them, as the wire spells them.
    pub const WORDS: [(&str, Ending); 4] = [
        ("rolled_back", Ending::RolledBack),
        ("replaced", Ending::Replaced),
        ("promoted", Ending::Promoted),
        ("gone_silent", Ending::GoneSilent),
    ];

    /// As the wire spells it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize].0
    }

    /// As people read it.
    pub fn title(self) -> &'static str {
        ["rolled back", "replaced", "promoted", "gone silent"][self as usize]
    }

    /// As a sentence about a release says it.
    pub fn told(self) -> &'static str {
        ["was rolled back", "was replaced", "was promoted", "has gone silent"][self as usize]
    }
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// Shown as worse than its limit.
    Worse,
    /// Looks worse.
    Suspicious,
    /// Shown as not worse.
    Fine,
    /// Not decided.
    Undecided,
    /// Nothing to compare.
    NoData,
}

impl CheckState {
    /// All of them, as the wire spells them.
    pub const WORDS: [(&str, CheckState); 5] = [
        ("worse", CheckState::Worse),
        ("suspicious", CheckState::Suspicious),
        ("fine", CheckState::Fine),
        ("undecided", CheckState::Undecided),
        ("no_data", CheckState::NoData),
    ];

    /// As the wire spells it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize].0
    }
}

/// How far the candidate is from the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// What the figures are: `ratio` (of rates: 2 is twice as often), `change` (of a mean: 0.38 is 38 % more).
    pub kind: String,
    /// Best estimate.
    pub value: f64,
    /// Lower end of the interval that may be looked at at any time; `None` where nothing bounds it.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The limit it is held to.
    pub margin: f64,
}

/// Bad events, and the events they are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Bad ones.
    pub bad: u64,
    /// All.
    pub all: u64,
}

/// The evidence of one check.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Stable name, for example `http_5xx`.
    pub id: String,
    /// For people.
    pub title: String,
    /// How it stands.
    pub state: CheckState,
    /// How far apart the two are, if that is known.
    pub effect: Option<Effect>,
    /// Evidence (an e-value) that the candidate is worse than the limit.
    pub e_worse: Option<f64>,
    /// Counts of the candidate.
    pub candidate: Option<Counts>,
    /// Counts of the baseline.
    pub baseline: Option<Counts>,
    /// A sentence: what was seen, and what explains it.
    pub why: String,
}

/// Where to look further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Words for it.
    pub text: String,
    /// `http://` or `https://`.
    pub url: String,
}

/// A change of the verdict on a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The candidate: service, namespace, environment and version.
    pub release: ReleaseId,
    /// The version that it is compared with.
    pub baseline: Option<Arc<str>>,
    /// Share of the traffic that the candidate has, 0 to 1.
    pub share: Option<f64>,
    /// The verdict before.
    pub from: Word,
    /// The verdict now.
    pub to: Word,
    /// Said when the release is judged no more: what was wrong with it is over, whatever the verdict.
    pub ending: Option<Ending>,
    /// One sentence a person can act on.
    pub summary: String,
    /// Evidence, the most telling first.
    pub checks: Vec<Check>,
    /// Where to look further.
    pub links: Vec<Link>,
    /// When it changed, ms since the epoch.
    pub at_ms: i64,
    /// Counts the changes of a release; later ones have larger numbers.
    pub sequence: u64,
}

impl Change {
    /// The same, cut to what an outbox keeps. What is left out is left out at the end.
    pub fn bounded(mut self) -> Self {
        let ReleaseId { service, namespace, environment, version } = &mut self.release;
        for name in [service, namespace, environment, version].into_iter().chain(&mut self.baseline) {
            if name.len() > IDENTITY_BYTES_MAX {
                let mut text = name.to_string();
                cut(&mut text, IDENTITY_BYTES_MAX);
                *name = text.into();
            }
        }
        cut(&mut self.summary, SUMMARY_BYTES_MAX);
        self.checks.truncate(CHECKS_MAX);
        for check in &mut self.checks {
            cut(&mut check.id, CHECK_BYTES_MAX);
            cut(&mut check.title, CHECK_BYTES_MAX);
            cut(&mut check.why, CHECK_BYTES_MAX);
            if let Some(effect) = &mut check.effect {
                cut(&mut effect.kind, CHECK_BYTES_MAX);
            }
        }
        // An address that is cut leads elsewhere.
        self.links.retain(|link| link.url.len() <= LINK_BYTES_MAX);
        self.links.truncate(LINKS_MAX);
        for link in &mut self.links {
            cut(&mut link.text, CHECK_BYTES_MAX);
        }
        self
    }

    /// Whether something is wrong with a release that takes traffic.
    pub fn is_trouble(&self) -> bool {
        self.to == Word::NoGo && self.ending.is_none()
    }

    /// Whether what was wrong with it is over.
    pub fn ends_trouble(&self) -> bool {
        self.from == Word::NoGo && !self.is_trouble()
    }
}

/// Cuts a text to so many bytes, at a character, with an ellipsis in the place of the rest.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - '…'.len_utf8()));
        text.push('…');
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A change of `checkout` for tests, with evidence.
    pub(crate) fn change(version: &str, sequence: u64, from: Word, to: Word) -> Change {
        let release = ReleaseId {
            service: "checkout".into(),
            namespace: "shop".into(),
            environment: "production".into(),
            version: version.into(),
        };
        Change {
            release,
            baseline: Some("2.13.2".into()),
            share: Some(0.1),
            from,
            to,
            ending: None,
            summary: "p99 latency +38 % (95 %: +29 … +47), limit +10 %, mostly POST /pay, 4 new error patterns"
                .to_owned(),
            checks: vec![Check {
                id: "http_5xx".to_owned(),
                title: "Server errors".to_owned(),
                state: CheckState::Worse,
                effect: Some(Effect {
                    kind: "ratio".to_owned(),
                    value: 3.1,
                    low: Some(2.2),
                    high: Some(4.3),
                    margin: 1.1,
                }),
                e_worse: Some(5.1e6),
                candidate: Some(Counts { bad: 188, all: 60_110 }),
                baseline: Some(Counts { bad: 548, all: 541_200 }),
                why: "92 % of it is POST /pay".to_owned(),
            }],
            links: vec![Link {
                text: "Evidence".to_owned(),
                url: "https://shipwake.example.com/s/checkout".to_owned(),
            }],
            at_ms: 1_795_428_000_000 + sequence as i64 * 1_000,
            sequence,
        }
    }

    #[test]
    fn what_a_change_says_is_cut_at_characters() {
        let mut long = change("2.14.0", 1, Word::Wait, Word::NoGo);
        long.summary = "é".repeat(5_000);
        long.baseline = Some("ü".repeat(5_000).into());
        long.checks = vec![long.checks[0].clone(); 100];
        long.checks[0].why = "ß".repeat(1_000);
        long.links = vec![Link { text: "x".repeat(9_000), url: format!("https://a/{}", "y".repeat(2_000)) }];
        let bounded = long.bounded();
        assert!(bounded.summary.len() <= SUMMARY_BYTES_MAX && bounded.summary.ends_with('…'));
        assert!(bounded.baseline.is_some_and(|baseline| baseline.len() <= IDENTITY_BYTES_MAX));
        assert_eq!(bounded.checks.len(), CHECKS_MAX);
        assert!(bounded.checks[0].why.len() <= CHECK_BYTES_MAX);
        assert!(bounded.links.is_empty(), "half an address leads elsewhere");
    }

    #[test]
    fn the_words_stand_at_their_places() {
        for (word, verdict) in Word::WORDS {
            assert_eq!(verdict.as_str(), word);
        }
        for (word, ending) in Ending::WORDS {
            assert_eq!(ending.as_str(), word);
        }
        for (word, state) in CheckState::WORDS {
            assert_eq!(state.as_str(), word);
        }
        assert_eq!(Word::NoGo.title(), "NO-GO");
    }
}
