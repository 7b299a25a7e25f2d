//! Walks a YAML document and keeps what is wrong with it, each problem with its line.

use std::fmt;
use std::ops::RangeInclusive;

use saphyr::{MarkedYaml, Scalar, YamlData};

use crate::secret::{Secret, Source};
use crate::time::parse_span;

/// A node with its position.
pub(crate) type Node<'a> = MarkedYaml<'a>;

const TEXT_BYTES_MAX: usize = 2_000;
/// Names appear in metrics.
const NAME_BYTES_MAX: usize = 64;
/// Items of a list of names.
const NAMES_MAX: usize = 200;

/// What is wrong so far, and where secrets are looked for.
pub(crate) struct Reader<'e> {
    problems: Vec<String>,
    env: &'e dyn Fn(&str) -> Option<String>,
}

impl<'e> Reader<'e> {
    pub(crate) fn new(env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Reader { problems: Vec::new(), env }
    }

    pub(crate) fn say(&mut self, at: &Node<'_>, problem: impl fmt::Display) {
        self.problems.push(format!("line {}: {problem}", at.span.start.line()));
    }

    /// How many problems there are.
    pub(crate) fn problems(&self) -> usize {
        self.problems.len()
    }

    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<String>> {
        if self.problems.is_empty() { Ok(value) } else { Err(self.problems) }
    }

    /// Whether a check went well; says it if not.
    pub(crate) fn check(&mut self, at: &Node<'_>, result: Result<(), String>) -> bool {
        match result {
            Ok(()) => true,
            Err(problem) => {
                self.say(at, problem);
                false
            }
        }
    }

    /// The values of known fields of a map; says which are not known.
    pub(crate) fn fields<'n, const N: usize>(
        &mut self,
        node: &'n Node<'n>,
        names: [&str; N],
    ) -> Option<[Option<&'n Node<'n>>; N]> {
        let YamlData::Mapping(map) = &node.data else {
            self.say(node, format!("not a map with {}", names.map(|name| format!("`{name}`")).join(", ")));
            return None;
        };
        let mut found = [None; N];
        for (key, value) in map {
            let name = scalar_text(key).unwrap_or_default();
            match names.iter().position(|known| *known == name) {
                Some(place) => found[place] = Some(value),
                None => self.say(key, format!("unknown key `{name}`; {}", instead(&name, &names))),
            }
        }
        Some(found)
    }

    pub(crate) fn required<'n>(
        &mut self,
        at: &Node<'_>,
        name: &str,
        node: Option<&'n Node<'n>>,
    ) -> Option<&'n Node<'n>> {
        if node.is_none() {
            self.say(at, format!("`{name}` is missing"));
        }
        node
    }

    pub(crate) fn text(&mut self, node: &Node<'_>, name: &str) -> Option<String> {
        match scalar_text(node).map(|text| text.trim().to_owned()) {
            Some(text) if !text.is_empty() && text.len() <= TEXT_BYTES_MAX => Some(text),
            Some(_) => {
                self.say(node, format!("{name} has 1 to {TEXT_BYTES_MAX} bytes"));
                None
            }
            None => {
                self.say(node, format!("{name} is not a text"));
                None
            }
        }
    }

    /// A name that can stand in metrics and addresses.
    pub(crate) fn word_text(&mut self, node: &Node<'_>, name: &str) -> Option<String> {
        let text = self.text(node, name)?;
        let is_plain =
            text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && text.len() <= NAME_BYTES_MAX;
        if !is_plain {
            self.say(
                node,
                format!("{name} `{text}`: letters, digits, `.`, `_` and `-` only, at most {NAME_BYTES_MAX}"),
            );
        }
        is_plain.then_some(text)
    }

    pub(crate) fn texts(&mut self, node: &Node<'_>, name: &str) -> Option<Vec<String>> {
        let YamlData::Sequence(items) = &node.data else {
            self.say(node, format!("{name} is not a list"));
            return None;
        };
        if items.is_empty() || items.len() > NAMES_MAX {
            self.say(node, format!("{name} has 1 to {NAMES_MAX} items; without it, all"));
            return None;
        }
        // All are looked at: one mistake hides no other.
        let texts: Vec<Option<String>> = items.iter().map(|item| self.text(item, name)).collect();
        texts.into_iter().collect()
    }

    /// A list of words out of few.
    pub(crate) fn words<T: Copy>(&mut self, node: &Node<'_>, name: &str, words: &[(&str, T)]) -> Option<Vec<T>> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mut found = Vec::new();
        let texts = self.texts(node, name)?;
        for text in texts {
            match words.iter().find(|(word, _)| *word == text) {
                Some((_, word)) => found.push(*word),
                None => self.say(node, format!("{name} `{text}`: it is one of {}", known.join(", "))),
            }
        }
        Some(found)
    }

    pub(crate) fn span(&mut self, node: &Node<'_>, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(node, name)?;
        let ms = parse_span(&text).filter(|ms| range.contains(ms));
        if ms.is_none() {
            let (low, high) = (crate::time::span(*range.start()), crate::time::span(*range.end()));
            self.say(node, format!("{name} `{text}`: a span like 30s, 5m, 1h or 2d, from {low} to {high}"));
        }
        ms
    }

    /// A secret, from where the map says it is.
    pub(crate) fn secret(&mut self, node: &Node<'_>, name: &str) -> Option<Secret> {
        self.source(node, name).map(|(_, secret)| secret)
    }

    /// Where a secret is, and what is there now.
    pub(crate) fn source(&mut self, node: &Node<'_>, name: &str) -> Option<(Source, Secret)> {
        if !matches!(node.data, YamlData::Mapping(_)) {
            // Not what is written: it would be the secret.
            self.say(node, format!("{name} is a secret: say where it is, `{{file: PATH}}` or `{{env: NAME}}`"));
            return None;
        }
        let [file, env] = self.fields(node, ["file", "env"])?;
        let source = match (file, env) {
            (Some(file), None) => Source::File(self.text(file, "file")?.into()),
            (None, Some(env)) => Source::Env(self.text(env, "env")?),
            _ => {
                self.say(node, format!("{name} is in one of `file` and `env`"));
                return None;
            }
        };
        match source.read(self.env) {
            Ok(secret) => Some((source, secret)),
            Err(problem) => {
                self.say(node, format!("{name}: {problem}"));
                None
            }
        }
    }
}

/// What might have been meant.
pub(crate) fn instead(name: &str, known: &[&str]) -> String {
    let name = name.replace('-', "_");
    let near = known.iter().map(|known| (strsim::levenshtein(&name, known), *known)).min();
    match near {
        Some((edits, near)) if edits <= near.len().max(3) / 3 => format!("did you mean `{near}`?"),
        _ => format!("known: {}", known.join(", ")),
    }
}

/// A scalar as it would be written: a service whose name looks like a number is a text.
fn scalar_text(node: &Node<'_>) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(value)) => Some(value.to_string()),
        YamlData::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        YamlData::Representation(text, ..) => Some(text.to_string()),
        _ => None,
    }
}
