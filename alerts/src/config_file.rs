//! `alerts.yaml`: read and checked as a whole. Every problem names its line; an unknown word names the nearest known one. The
//! form is described in `docs/notifications.md`. Relies on a YAML parser that keeps positions.

mod github;
pub(crate) mod reader;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, YamlData};

use crate::change::Word;
use crate::config::{AlertsConfig, RECEIVERS_MAX, Receiver};
use crate::outbox::policy::Wants;
use crate::receivers::pagerduty::{CHANGES_URL, EVENTS_URL};
use crate::receivers::webhook::SigningKey;
use crate::receivers::{Target, plain};
use crate::secret::Secret;
use crate::{address, time};
use reader::{Node, Reader};

const FILE_BYTES_MAX: u64 = 1 << 20;
/// Keys to sign with: the new one, the old one, and one for a change of mind.
const KEYS_MAX: usize = 3;
/// How long a failure lasts before the fallback is told.
const FALLBACK_AFTER_MS: i64 = 5 * 60_000;
/// What spans may be.
const AGE_MS: std::ops::RangeInclusive<i64> = 60_000..=7 * 24 * 3_600_000;
const FALLBACK_AFTER_RANGE_MS: std::ops::RangeInclusive<i64> = 10_000..=24 * 3_600_000;

/// Keys that a receiver has besides the one that says what it is.
const COMMON: [&str; 8] =
    ["name", "verdicts", "services", "environments", "max_age", "fallback", "fallback_after", "ca_file"];

/// Reads a file, and the secrets that it names.
///
/// # Errors
/// Every problem found, one a line, with the file in front.
pub fn load(path: &Path) -> Result<AlertsConfig, Vec<String>> {
    let named = |problem: String| format!("{}: {problem}", path.display());
    let size = std::fs::metadata(path).map_err(|error| vec![named(error.to_string())])?.len();
    if size > FILE_BYTES_MAX {
        return Err(vec![named(format!("larger than {FILE_BYTES_MAX} bytes"))]);
    }
    let text = std::fs::read_to_string(path).map_err(|error| vec![named(error.to_string())])?;
    let env = |name: &str| std::env::var(name).ok();
    parse(&text, &env).map_err(|problems| problems.into_iter().map(named).collect())
}

/// Reads the text of a file; `env` answers what a variable of the environment holds.
///
/// # Errors
/// Every problem found, with its line.
pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<AlertsConfig, Vec<String>> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| vec![format!("not valid YAML: {error}")])?;
    let mut reader = Reader::new(env);
    let config = match &documents[..] {
        [] => AlertsConfig::default(),
        [document] => read(&mut reader, document),
        [_, second, ..] => {
            reader.say(second, "a second document: there is one per file");
            AlertsConfig::default()
        }
    };
    reader.finish(config)
}

fn read(reader: &mut Reader<'_>, document: &Node<'_>) -> AlertsConfig {
    let mut config = AlertsConfig::default();
    let Some([url, receivers, github]) = reader.fields(document, ["url", "receivers", "github"]) else {
        return config;
    };
    config.url = url.and_then(|node| {
        let text = reader.text(node, "url")?;
        reader.check(node, address::check_url(&text)).then(|| text.trim_end_matches('/').to_owned())
    });
    config.github = github.and_then(|node| github::read(reader, node));
    let Some(list) = receivers else { return config };
    let YamlData::Sequence(items) = &list.data else {
        reader.say(list, "receivers is not a list");
        return config;
    };
    if items.len() > RECEIVERS_MAX {
        reader.say(list, format!("more than {RECEIVERS_MAX} receivers"));
    }
    let mut lines: HashMap<Arc<str>, &Node<'_>> = HashMap::new();
    for item in items.iter().take(RECEIVERS_MAX) {
        let Some(receiver) = read_receiver(reader, item) else { continue };
        if lines.insert(receiver.name.clone(), item).is_some() {
            reader.say(item, format!("a second receiver `{}`", receiver.name));
        }
        config.receivers.push(receiver);
    }
    check_fallbacks(reader, &config.receivers, &lines);
    config
}

fn read_receiver(reader: &mut Reader<'_>, item: &Node<'_>) -> Option<Receiver> {
    let kinds = ["webhook", "slack", "pagerduty", "pagerduty_changes"];
    let all: [&str; 12] = std::array::from_fn(|place| if place < 8 { COMMON[place] } else { kinds[place - 8] });
    let found = reader.fields(item, all)?;
    let [name, verdicts, services, environments, max_age, fallback, fallback_after, ca_file, targets @ ..] = found;
    let before = reader.problems();
    let name = reader.required(item, "name", name).and_then(|node| reader.word_text(node, "name"));
    let given: Vec<usize> = (0..targets.len()).filter(|place| targets[*place].is_some()).collect();
    let target = match given[..] {
        [place] => targets[place].and_then(|node| read_target(reader, node, kinds[place])),
        _ => {
            reader.say(item, format!("a receiver has one of {}", kinds.map(|kind| format!("`{kind}`")).join(", ")));
            None
        }
    };
    let trouble_only = matches!(target, Some(Target::PagerDuty { .. }));
    if let (Some(node), true) = (verdicts, trouble_only) {
        reader.say(node, "a pager opens an incident at no_go and closes it when that is over: it takes no `verdicts`");
    }
    let verdicts = match verdicts {
        Some(node) => reader.words(node, "verdicts", &Word::WORDS)?,
        None => vec![Word::NoGo, Word::Go],
    };
    let services = services.map_or(Some(Vec::new()), |node| reader.texts(node, "services"));
    let environments = environments.map_or(Some(Vec::new()), |node| reader.texts(node, "environments"));
    let max_age_ms = max_age.map(|node| reader.span(node, "max_age", AGE_MS));
    let fallback = fallback.map(|node| reader.word_text(node, "fallback"));
    let after_ms = fallback_after.map(|node| reader.span(node, "fallback_after", FALLBACK_AFTER_RANGE_MS));
    if let (Some(node), None) = (fallback_after, &fallback) {
        reader.say(node, "`fallback_after` without `fallback`");
    }
    let ca_file = ca_file.map(|node| reader.text(node, "ca_file"));
    let target = target?;
    (reader.problems() == before).then_some(())?;
    Some(Receiver {
        name: name?.into(),
        wants: Wants { verdicts, services: services?, environments: environments?, trouble_only },
        max_age_ms: max_age_ms.unwrap_or(Some(target.max_age_ms()))?,
        target,
        fallback: fallback.flatten().map(Into::into),
        fallback_after_ms: after_ms.unwrap_or(Some(FALLBACK_AFTER_MS))?,
        ca_file: ca_file.flatten().map(Into::into),
    })
}

fn read_target(reader: &mut Reader<'_>, node: &Node<'_>, kind: &str) -> Option<Target> {
    match kind {
        "webhook" => {
            let [url, secrets] = reader.fields(node, ["url", "secrets"])?;
            let url = reader.required(node, "url", url).and_then(|url| read_url(reader, url, true));
            let keys = match secrets {
                Some(secrets) => read_keys(reader, secrets),
                None => {
                    reader.say(node, "`secrets` is missing: without a signature anybody could send what looks like ours (`secrets: []` if that is meant)");
                    None
                }
            };
            Some(Target::Webhook { url: url?, keys: keys? })
        }
        "slack" => {
            let [url] = reader.fields(node, ["url"])?;
            let url = reader.required(node, "url", url).and_then(|url| read_url(reader, url, false));
            Some(Target::Slack { url: url? })
        }
        _ => {
            let [key, url] = reader.fields(node, ["routing_key", "url"])?;
            let key = reader.required(node, "routing_key", key).and_then(|key| reader.secret(key, "routing_key"));
            let standard = if kind == "pagerduty" { EVENTS_URL } else { CHANGES_URL };
            let url = url.map_or(Some(Secret::new(standard.to_owned())), |url| read_url(reader, url, true));
            let (url, key) = (url?, key?);
            Some(if kind == "pagerduty" {
                Target::PagerDuty { url, key }
            } else {
                Target::PagerDutyChanges { url, key }
            })
        }
    }
}

/// An address: a text where it may be no secret, or where one is.
fn read_url(reader: &mut Reader<'_>, node: &Node<'_>, may_be_written: bool) -> Option<Secret> {
    let url = match &node.data {
        YamlData::Mapping(_) => reader.secret(node, "url")?,
        _ if may_be_written => Secret::new(reader.text(node, "url")?),
        _ => {
            reader.say(node, "this url is a secret: say where it is, `url: {file: PATH}` or `url: {env: NAME}`");
            return None;
        }
    };
    reader.check(node, address::check_url(url.expose())).then_some(url)
}

fn read_keys(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Vec<SigningKey>> {
    let YamlData::Sequence(items) = &node.data else {
        reader.say(node, "secrets is not a list");
        return None;
    };
    if items.len() > KEYS_MAX {
        reader.say(node, format!("more than {KEYS_MAX} secrets"));
    }
    let mut keys = Vec::new();
    for item in items.iter().take(KEYS_MAX) {
        match SigningKey::parse(&reader.secret(item, "a secret")?) {
            Ok(key) => keys.push(key),
            Err(problem) => reader.say(item, problem),
        }
    }
    Some(keys)
}

fn check_fallbacks(reader: &mut Reader<'_>, receivers: &[Receiver], lines: &HashMap<Arc<str>, &Node<'_>>) {
    for receiver in receivers {
        let Some(fallback) = &receiver.fallback else { continue };
        let line = lines[&receiver.name];
        if *fallback == receiver.name {
            reader.say(line, format!("`{fallback}` cannot stand in for itself"));
        } else if !lines.contains_key(fallback) {
            let known: Vec<&str> = receivers.iter().map(|receiver| &*receiver.name).collect();
            let instead = reader::instead(fallback, &known);
            reader.say(line, format!("fallback `{}` is no receiver; {instead}", plain(fallback)));
        }
    }
}

/// What a person should know of a configuration that is valid.
pub fn warnings(config: &AlertsConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.url.is_none() && !config.receivers.is_empty() {
        warnings.push("without `url`, messages have no links to the pages".to_owned());
    }
    for receiver in &config.receivers {
        let name = &receiver.name;
        if receiver.target.url().expose().starts_with("http://") {
            warnings.push(format!(
                "receiver {name}: its address begins with http://, so what is sent can be read on the way"
            ));
        }
        if matches!(&receiver.target, Target::Webhook { keys, .. } if keys.is_empty()) {
            warnings.push(format!("receiver {name}: not signed, so anybody could send what looks like ours"));
        }
        if matches!(receiver.target, Target::PagerDuty { .. }) && receiver.fallback.is_none() {
            warnings.push(format!(
                "receiver {name}: nobody is told when the pager cannot be reached for {} (`fallback`)",
                time::span(receiver.max_age_ms)
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests;
