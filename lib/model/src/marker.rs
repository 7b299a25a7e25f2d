//! A marker: somebody told us something about a release — that it is being deployed, gets a share of the traffic, was rolled
//! back. A release is known from its first record all the same; markers say who, why, and what was meant.
//!
//! A marker travels as a log record with the event name [`EVENT_NAME`] on the resource of its release. [`Marker::attributes`]
//! and [`Marker::read`] are that form, and the only place that knows it. Of two markers with one id the one that was said later
//! counts ([`Marker::replaces`]), whichever comes first.

use crate::release::{IDENTITY_BYTES_MAX, ReleaseId, UNVERSIONED, bounded};

/// Name of the event that a marker is in OTLP.
pub const EVENT_NAME: &str = "shipwake.marker";

/// Longest id in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest text or address in bytes.
pub const TEXT_BYTES_MAX: usize = 2048;
/// Times before 2000 are a mistake in the unit, and so are times after 2100. Nanoseconds since 1970.
const TIMES_NS: std::ops::Range<i64> = 946_684_800_000_000_000..4_102_444_800_000_000_000;

macro_rules! words {
    ($(#[$about:meta])* $type:ident, $what:literal: $($(#[$doc:meta])* $variant:ident $word:literal),+ $(,)?) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$doc])* $variant),+
        }

        impl $type {
            /// All of them.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $word),+
                }
            }

            /// What a word means; capital letters are taken too.
            ///
            /// # Errors
            /// A sentence with the words that there are.
            pub fn from_word(word: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().copied().find(|one| one.as_str().eq_ignore_ascii_case(word.trim()));
                found.ok_or_else(|| {
                    let words: Vec<&str> = Self::ALL.iter().map(|one| one.as_str()).collect();
                    let word: String = word.chars().filter(|c| !c.is_control()).take(80).collect();
                    format!("{} {word:?} is not known; there are {}", $what, words.join(", "))
                })
            }
        }
    };
}

words!(
    /// What a marker says.
    MarkerKind, "kind":
    /// A version is brought into an environment.
    Deploy "deploy",
    /// A version that ran before is brought back.
    Rollback "rollback",
    /// A candidate becomes the stable version.
    Promote "promote",
    /// The share of the traffic that a version is to get.
    Weight "weight",
    /// A toggle was turned.
    Toggle "toggle",
    /// Nothing is to be deployed.
    Freeze "freeze",
    /// Anything else that is worth a line in the chart.
    Note "note",
);
words!(
    /// What a release is to its service.
    Role, "role":
    /// What customers get.
    Stable "stable",
    /// What is to become stable.
    Candidate "candidate",
    /// Runs in production without customers.
    Dark "dark",
    /// Gets copies of requests whose answers nobody sees.
    Shadow "shadow",
    /// Is to run no more.
    Retired "retired",
);
words!(
    /// Who can reach a release.
    Exposure, "exposure":
    /// Customers.
    Public "public",
    /// Only people and tests of the team.
    Internal "internal",
);
words!(
    /// How far a deployment is, where its sender says so.
    DeployStatus, "status":
    /// It is being done.
    Started "started",
    /// It is done.
    Succeeded "succeeded",
    /// It could not be done.
    Failed "failed",
);

/// What somebody said about a release. Empty texts were not said.
#[derive(Clone, Debug, PartialEq)]
pub struct Marker {
    /// Tells it from all others: what has the same id is the same marker.
    pub id: String,
    /// What it says.
    pub kind: MarkerKind,
    /// About which release. The version is [`UNVERSIONED`] where none is named.
    pub release: ReleaseId,
    /// When it happened, or is to happen; ns since 1970.
    pub at_ns: i64,
    /// Until when it lasts, ns: of a freeze.
    pub until_ns: Option<i64>,
    /// When it was said, ns: of two with one id the later counts.
    pub said_ns: i64,
    /// The version before.
    pub previous: String,
    /// Share of the traffic that the version is to get, 0 to 1.
    pub weight: Option<f64>,
    /// What the release is to its service from now on.
    pub role: Option<Role>,
    /// Who can reach it.
    pub exposure: Option<Exposure>,
    /// How far the deployment is.
    pub status: Option<DeployStatus>,
    /// Key of the toggle that was turned.
    pub toggle: String,
    /// The commit that the version was built from.
    pub commit: String,
    /// Where a person finds more: the pipeline, the pull request.
    pub url: String,
    /// Who did it.
    pub by: String,
    /// Who told us: `api`, `cli`, `github` and so on.
    pub source: String,
    /// For people.
    pub text: String,
}

impl Marker {
    /// A marker that says nothing but its kind.
    pub fn new(id: String, kind: MarkerKind, release: ReleaseId, at_ns: i64) -> Self {
        Marker {
            id,
            kind,
            release,
            at_ns,
            until_ns: None,
            said_ns: at_ns,
            previous: String::new(),
            weight: None,
            role: None,
            exposure: None,
            status: None,
            toggle: String::new(),
            commit: String::new(),
            url: String::new(),
            by: String::new(),
            source: String::new(),
            text: String::new(),
        }
    }

    /// Whether it names a version.
    pub fn is_versioned(&self) -> bool {
        &*self.release.version != UNVERSIONED
    }

    /// Everything that is wrong with it, for its sender.
    ///
    /// # Errors
    /// A sentence for each fault, joined by semicolons.
    pub fn check(&self) -> Result<(), String> {
        let mut faults = Vec::new();
        if self.id.is_empty() || self.id.len() > ID_BYTES_MAX {
            faults.push(format!("id must have 1 to {ID_BYTES_MAX} bytes"));
        }
        for (name, text) in [("previous", &self.previous), ("toggle", &self.toggle), ("commit", &self.commit)] {
            if text.len() > IDENTITY_BYTES_MAX {
                faults.push(format!("{name} is longer than {IDENTITY_BYTES_MAX} bytes"));
            }
        }
        for (name, text) in [("text", &self.text), ("url", &self.url), ("by", &self.by), ("source", &self.source)] {
            if text.len() > TEXT_BYTES_MAX {
                faults.push(format!("{name} is longer than {TEXT_BYTES_MAX} bytes"));
            }
        }
        if self.weight.is_some_and(|weight| !(0.0..=1.0).contains(&weight)) {
            faults.push(format!("weight {} is not between 0 and 1", self.weight.unwrap_or_default()));
        }
        if self.kind == MarkerKind::Weight && self.weight.is_none() {
            faults.push("a marker of the kind weight needs a weight".to_owned());
        }
        if self.kind == MarkerKind::Toggle && self.toggle.is_empty() {
            faults.push("a marker of the kind toggle needs the key of the toggle".to_owned());
        }
        for (name, time_ns) in [("at", Some(self.at_ns)), ("until", self.until_ns)] {
            if time_ns.is_some_and(|time_ns| !TIMES_NS.contains(&time_ns)) {
                faults.push(format!("{name} lies outside of the years 2000 to 2100"));
            }
        }
        if self.until_ns.is_some_and(|until_ns| until_ns < self.at_ns) {
            faults.push("until lies before at".to_owned());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// Cuts every text to its bound, for what comes from a tool whose user cannot make it shorter. An id is never cut: that
    /// would make one of two.
    pub fn shortened(mut self) -> Self {
        for text in [&mut self.previous, &mut self.toggle, &mut self.commit] {
            *text = bounded(text);
        }
        for text in [&mut self.text, &mut self.url, &mut self.by, &mut self.source] {
            cut(text, TEXT_BYTES_MAX);
        }
        self
    }

    /// Whether this one counts and not `other`, which has the same id. `received_ns` is when each of the two was received,
    /// this one first; the answer does not depend on which of them is looked at first.
    pub fn replaces(&self, other: &Marker, received_ns: [i64; 2]) -> bool {
        (self.said_ns, received_ns[0]) > (other.said_ns, received_ns[1])
    }

    /// Everything besides release and time, as attributes of a log record. What was not said has no attribute.
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut out = vec![(ID, self.id.clone()), (KIND, self.kind.as_str().to_owned())];
        let mut put = |name, text: Option<String>| out.extend(text.map(|text| (name, text)));
        put(UNTIL, self.until_ns.map(|ns| ns.to_string()));
        put(SAID, (self.said_ns != self.at_ns).then(|| self.said_ns.to_string()));
        put(WEIGHT, self.weight.map(|weight| weight.to_string()));
        put(ROLE, self.role.map(|role| role.as_str().to_owned()));
        put(EXPOSURE, self.exposure.map(|exposure| exposure.as_str().to_owned()));
        put(STATUS, self.status.map(|status| status.as_str().to_owned()));
        for (name, text) in [
            (PREVIOUS, &self.previous),
            (TOGGLE, &self.toggle),
            (COMMIT, &self.commit),
            (URL, &self.url),
            (BY, &self.by),
            (SOURCE, &self.source),
            (TEXT, &self.text),
        ] {
            put(name, (!text.is_empty()).then(|| text.clone()));
        }
        out
    }

    /// Reads what [`Marker::attributes`] wrote, or what somebody wrote by its documentation: `attribute` gives the text of an
    /// attribute. A marker without an id gets one from its content, so that the same record is the same marker.
    ///
    /// # Errors
    /// What is wrong with it, as [`Marker::check`] says it.
    pub fn read(release: &ReleaseId, at_ns: i64, attribute: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name: &str| attribute(name).filter(|text| !text.is_empty());
        let text = |name: &str| get(name).unwrap_or_default();
        let kind = MarkerKind::from_word(&get(KIND).ok_or("kind is missing")?)?;
        let mut marker = Marker {
            until_ns: get(UNTIL).map(|text| number(UNTIL, &text)).transpose()?,
            said_ns: get(SAID).map_or(Ok(at_ns), |text| number(SAID, &text))?,
            previous: text(PREVIOUS),
            weight: get(WEIGHT).map(|text| number(WEIGHT, &text)).transpose()?,
            role: get(ROLE).as_deref().map(Role::from_word).transpose()?,
            exposure: get(EXPOSURE).as_deref().map(Exposure::from_word).transpose()?,
            status: get(STATUS).as_deref().map(DeployStatus::from_word).transpose()?,
            toggle: text(TOGGLE),
            commit: text(COMMIT),
            url: text(URL),
            by: text(BY),
            source: get(SOURCE).unwrap_or_else(|| "otlp".to_owned()),
            text: text(TEXT),
            ..Marker::new(text(ID), kind, release.clone(), at_ns)
        };
        if marker.id.is_empty() {
            marker.id = marker.id_of_content();
        }
        marker.check()?;
        Ok(marker)
    }

    /// A marker of OpenTelemetry's attributes `deployment.id`, `deployment.name` and `deployment.status` on a log record, or of
    /// `cicd.*` on a span that deploys. `None` where there is nothing to tell one deployment from another.
    pub fn of_deployment(release: &ReleaseId, at_ns: i64, attribute: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name: &str| attribute(name).filter(|text| !text.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| get(name));
        let id = first(&["deployment.id", "cicd.pipeline.task.run.id"])?;
        let status = first(&["deployment.status", "cicd.pipeline.task.run.result"]);
        let status = status.as_deref().map(|status| match status {
            "failed" | "failure" | "error" | "timeout" | "cancellation" => DeployStatus::Failed,
            "succeeded" | "success" => DeployStatus::Succeeded,
            _ => DeployStatus::Started,
        });
        let word = status.map_or("", DeployStatus::as_str);
        let marker = Marker {
            status,
            commit: get("vcs.ref.head.revision").unwrap_or_default(),
            url: first(&["cicd.pipeline.run.url.full", "cicd.pipeline.task.run.url.full"]).unwrap_or_default(),
            source: "otlp".to_owned(),
            text: first(&["deployment.name", "cicd.pipeline.task.name", "cicd.pipeline.name"]).unwrap_or_default(),
            ..Marker::new(
                derived_id("otlp", &[&release.service, &release.environment, &id, word]),
                MarkerKind::Deploy,
                release.clone(),
                at_ns,
            )
        };
        let marker = marker.shortened();
        marker.check().is_ok().then_some(marker)
    }

    /// An id that is the same for the same content, for markers whose sender gives none.
    pub fn id_of_content(&self) -> String {
        let mut content: Vec<String> = self
            .attributes()
            .into_iter()
            .filter(|(name, _)| *name != ID)
            .map(|(name, text)| format!("{name}={text}"))
            .collect();
        let release = &self.release;
        for text in [&release.service, &release.namespace, &release.environment, &release.version] {
            content.push(text.to_string());
        }
        content.push(self.at_ns.to_string());
        let content: Vec<&str> = content.iter().map(String::as_str).collect();
        derived_id(&self.source, &content)
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        let texts =
            [&self.id, &self.previous, &self.toggle, &self.commit, &self.url, &self.by, &self.source, &self.text];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// An id made of what tells things of one source apart: short, and never the same for different parts.
pub fn derived_id(source: &str, parts: &[&str]) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    format!("{source}-{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes))
}

const ID: &str = "shipwake.marker.id";
const KIND: &str = "shipwake.marker.kind";
const UNTIL: &str = "shipwake.marker.until";
const SAID: &str = "shipwake.marker.said";
const PREVIOUS: &str = "shipwake.marker.previous";
const WEIGHT: &str = "shipwake.marker.weight";
const ROLE: &str = "shipwake.marker.role";
const EXPOSURE: &str = "shipwake.marker.exposure";
const STATUS: &str = "shipwake.marker.status";
const TOGGLE: &str = "shipwake.marker.toggle";
const COMMIT: &str = "shipwake.marker.commit";
const URL: &str = "shipwake.marker.url";
const BY: &str = "shipwake.marker.by";
const SOURCE: &str = "shipwake.marker.source";
const TEXT: &str = "shipwake.marker.text";

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    text.trim().parse().map_err(|_| format!("{name} {shown:?} is not a number"))
}

/// Cuts a text at a character.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
}

#[cfg(test)]
mod tests;
