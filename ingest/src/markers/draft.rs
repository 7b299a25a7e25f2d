//! A marker that is being put together from what a tool says: fields as they were found, and what the address of the hook says where
//! the tool says nothing. Pure.

use axum::extract::Query;
use http::Uri;
use serde_json::Value as Json;
use shipwake_model::marker::{DeployStatus, Exposure, ID_BYTES_MAX, MarkerKind, Role, derived_id};
use shipwake_model::release::{DEFAULT_ENVIRONMENT, IDENTITY_BYTES_MAX};
use shipwake_model::{Marker, ReleaseId, UNVERSIONED};

use crate::lines::time;

/// Markers without an id and without a time that say the same within this time are one: a retry, not another deployment.
const SAME_WITHIN_NS: i64 = 600 * 1_000_000_000;

/// What the address of a hook says about markers that do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    service: Option<String>,
    namespace: Option<String>,
    env: Option<String>,
    version: Option<String>,
}

impl Defaults {
    /// Reads the query of an address. With `strict` it may hold nothing else: on our own routes that is a mistake, while clients of
    /// others have parameters of their own.
    pub(super) fn of_query(uri: &Uri, strict: bool) -> Result<Self, String> {
        let read = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(given) = read.map_err(|error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        let mut defaults = Defaults::default();
        for (name, value) in given {
            match name.as_str() {
                "service" => defaults.service = Some(value),
                "namespace" => defaults.namespace = Some(value),
                "env" | "environment" => defaults.env = Some(value),
                "version" => defaults.version = Some(value),
                other if strict => {
                    let other = crate::error::shortened(other);
                    return Err(format!("unknown parameter {other}; there are service, namespace, env and version"));
                }
                _ => {}
            }
        }
        Ok(defaults)
    }
}

/// The fields of a marker as they were found. Empty texts count as nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) kind: Option<MarkerKind>,
    /// The id itself.
    pub(super) id: Option<String>,
    /// What an id is made of, where the sender has several things that tell one from another.
    pub(super) id_parts: Vec<String>,
    pub(super) service: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) version: Option<String>,
    pub(super) previous: Option<String>,
    /// Nanoseconds since 1970.
    pub(super) at_ns: Option<i64>,
    pub(super) until_ns: Option<i64>,
    pub(super) said_ns: Option<i64>,
    pub(super) weight: Option<f64>,
    pub(super) role: Option<Role>,
    pub(super) exposure: Option<Exposure>,
    pub(super) status: Option<DeployStatus>,
    pub(super) toggle: Option<String>,
    pub(super) commit: Option<String>,
    pub(super) url: Option<String>,
    pub(super) by: Option<String>,
    pub(super) source: Option<String>,
    pub(super) text: Option<String>,
    /// A person or a program of ours wrote it: texts that are too long are refused and not cut, and a deployment names its version.
    pub(super) is_exact: bool,
}

impl Draft {
    /// The marker. `source` names who sent it.
    pub(super) fn finish(self, source: &str, defaults: &Defaults, received_ns: i64) -> Result<Marker, String> {
        let kind = self.kind.ok_or("kind is missing: deploy, rollback, promote, weight, toggle, freeze or note")?;
        let or = |said: Option<String>, default: &Option<String>| clean(said).or_else(|| clean(default.clone()));
        let named = |name: &str, text: Option<String>| match text {
            Some(text) if text.len() > IDENTITY_BYTES_MAX => {
                Err(format!("{name} is longer than {IDENTITY_BYTES_MAX} bytes"))
            }
            text => Ok(text),
        };
        let service = named("service", or(self.service, &defaults.service))?.ok_or(
            "no service: nothing of it says which service it is about, and neither does the address (?service=…)",
        )?;
        let version = named("version", or(self.version, &defaults.version))?;
        let needs_version = matches!(kind, MarkerKind::Deploy | MarkerKind::Rollback | MarkerKind::Promote);
        if self.is_exact && version.is_none() && needs_version {
            return Err(format!("a marker of the kind {} needs a version", kind.as_str()));
        }
        let release = ReleaseId {
            service: service.as_str().into(),
            namespace: named("namespace", or(self.namespace, &defaults.namespace))?.unwrap_or_default().into(),
            environment: named("env", or(self.environment, &defaults.env))?
                .unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned())
                .into(),
            version: version.as_deref().unwrap_or(UNVERSIONED).into(),
        };
        let at_ns = self.at_ns.unwrap_or(received_ns);
        let text = |text: Option<String>| clean(text).unwrap_or_default();
        let mut marker = Marker {
            until_ns: self.until_ns,
            said_ns: self.said_ns,
            previous: text(self.previous),
            weight: self.weight,
            role: self.role,
            exposure: self.exposure,
            status: self.status,
            toggle: text(self.toggle),
            commit: text(self.commit),
            url: web_address(text(self.url), self.is_exact)?,
            by: text(self.by),
            source: clean(self.source).unwrap_or_else(|| source.to_owned()),
            text: text(self.text),
            ..Marker::new(text(self.id), kind, release, at_ns)
        };
        if !self.is_exact {
            marker = marker.shortened();
        }
        if !self.id_parts.is_empty() {
            let parts: Vec<&str> = self.id_parts.iter().map(String::as_str).collect();
            marker.id = derived_id(source, &parts);
        } else if marker.id.len() > ID_BYTES_MAX && !self.is_exact {
            marker.id = derived_id(source, &[&marker.id]);
        } else if marker.id.is_empty() {
            let at_ns = self.at_ns.unwrap_or(received_ns - received_ns.rem_euclid(SAME_WITHIN_NS));
            marker.id = Marker { at_ns, ..marker.clone() }.id_of_content();
        }
        marker.check()?;
        Ok(marker)
    }
}

/// The text without blanks around it, unless nothing is left.
pub(super) fn clean(text: Option<String>) -> Option<String> {
    let text = text?;
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// An address that a page may make a link of. One that is not of the web is a mistake of whoever wrote it, and left out of what a tool sent.
fn web_address(url: String, is_exact: bool) -> Result<String, String> {
    let is_of = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if url.is_empty() || is_of("http://") || is_of("https://") {
        Ok(url)
    } else if is_exact {
        Err(format!("url {} begins with neither http:// nor https://", crate::error::shortened(&url)))
    } else {
        Ok(String::new())
    }
}

/// The text at a place of a JSON value; numbers are texts too, everything else is nothing.
pub(super) fn text_at(json: &Json, pointer: &str) -> Option<String> {
    match json.pointer(pointer)? {
        Json::String(text) => clean(Some(text.clone())),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The first text of several places.
pub(super) fn first_text(json: &Json, pointers: &[&str]) -> Option<String> {
    pointers.iter().find_map(|pointer| text_at(json, pointer))
}

/// The time at a place, as RFC 3339 or a number since 1970, whose unit shows in its size.
pub(super) fn time_at(json: &Json, pointer: &str) -> Result<Option<i64>, String> {
    let Some(value) = json.pointer(pointer).filter(|value| !value.is_null()) else { return Ok(None) };
    let found = match value {
        Json::String(text) if text.trim().is_empty() => return Ok(None),
        Json::String(text) => time::from_text(text, None).or_else(|| {
            let digits = text.trim();
            time::from_epoch(digits.parse().ok()?, digits.parse().ok())
        }),
        Json::Number(number) => time::from_epoch(number.as_f64().unwrap_or(0.0), number.as_i64()),
        _ => None,
    };
    let found = found.and_then(|time_ns| i64::try_from(time_ns).ok()).map(Some);
    found.ok_or_else(|| {
        let name = pointer.trim_start_matches('/').replace('/', ".");
        let shown = crate::error::shortened(&value.to_string());
        format!("{name} {shown} is neither RFC 3339 with an offset nor a time since 1970")
    })
}

/// What `key:value` and `key=value` among some words say: `service:checkout version:2.14.0 env:production`.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    pairs: Vec<(String, String)>,
    bare: Vec<String>,
}

impl Words {
    pub(super) fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut found = Words::default();
        for word in words {
            let word = word.trim().trim_end_matches([',', ';']);
            match word.split_once([':', '=']) {
                // A time and an address have colons too.
                Some((key, value)) if is_key(key) && !value.is_empty() && !value.starts_with("//") => {
                    found.pairs.push((key.to_ascii_lowercase(), value.trim().to_owned()));
                }
                _ if !word.is_empty() => found.bare.push(word.to_ascii_lowercase()),
                _ => {}
            }
        }
        found
    }

    pub(super) fn get(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.pairs.iter().find(|(known, _)| known == key)).map(|(_, value)| value.clone())
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.bare.iter().any(|known| known == word)
    }

    /// Fills in what is not said yet.
    pub(super) fn fill(&self, draft: &mut Draft) {
        let fill = |field: &mut Option<String>, keys: &[&str]| {
            if field.is_none() {
                *field = self.get(keys);
            }
        };
        fill(&mut draft.service, &["service", "service.name", "app", "application"]);
        fill(&mut draft.namespace, &["namespace", "service.namespace"]);
        fill(&mut draft.version, &["version", "service.version", "release"]);
        fill(&mut draft.environment, &["env", "environment", "deployment.environment.name", "deployment.environment"]);
        fill(&mut draft.previous, &["previous", "previous_version"]);
        fill(&mut draft.commit, &["commit", "sha", "git.commit.sha", "revision"]);
        fill(&mut draft.by, &["by", "user", "author", "actor"]);
        fill(&mut draft.url, &["url"]);
        fill(&mut draft.toggle, &["toggle", "flag", "feature_flag"]);
        draft.role = draft.role.or_else(|| self.get(&["role"]).and_then(|word| Role::from_word(&word).ok()));
        let weight = || self.get(&["weight"])?.trim_end_matches('%').parse::<f64>().ok();
        draft.weight = draft.weight.or_else(weight).filter(|weight| (0.0..=1.0).contains(weight));
        let kind = || {
            let of_pair = self.get(&["kind", "event", "type"]).and_then(|word| MarkerKind::from_word(&word).ok());
            let of_word = |kind: &MarkerKind| self.has(kind.as_str());
            let of_words = [("deployment", MarkerKind::Deploy), ("deployed", MarkerKind::Deploy)];
            of_pair
                .or_else(|| MarkerKind::ALL.iter().copied().find(of_word))
                .or_else(|| of_words.into_iter().find(|(word, _)| self.has(word)).map(|(_, kind)| kind))
        };
        draft.kind = draft.kind.or_else(kind);
        // What its kind needs is missing: it is a line in the chart all the same.
        let lacks = match draft.kind {
            Some(MarkerKind::Weight) => draft.weight.is_none(),
            Some(MarkerKind::Toggle) => draft.toggle.is_none(),
            _ => false,
        };
        if lacks {
            draft.kind = Some(MarkerKind::Note);
        }
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.' | b'-'))
}
