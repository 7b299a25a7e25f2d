//! `kpis.yaml`: declared KPIs, read and checked as a whole. Every problem names its line; an unknown word names the nearest
//! known one. The form is described in `docs/kpis.md`. Relies on a YAML parser that keeps positions; decides no meaning.

use std::path::Path;
use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use shipwake_model::kpi::{Better, Kpi, KpiSource, KpiValue, Per};

use crate::config::nearest;

/// Declarations in one file.
const KPIS_MAX: usize = 200;
const FILE_BYTES_MAX: u64 = 1 << 20;
const TEXT_BYTES_MAX: usize = 128;
/// Conditions on the attributes of a log record.
const CONDITIONS_MAX: usize = 8;

type Node<'a> = MarkedYaml<'a>;

/// Reads a file.
///
/// # Errors
/// Every problem found, one a line, with the file in front.
pub fn load(path: &Path) -> Result<Arc<[Kpi]>, Vec<String>> {
    let named = |problem: String| format!("{}: {problem}", path.display());
    let size = std::fs::metadata(path).map_err(|error| vec![named(error.to_string())])?.len();
    if size > FILE_BYTES_MAX {
        return Err(vec![named(format!("larger than {FILE_BYTES_MAX} bytes"))]);
    }
    let text = std::fs::read_to_string(path).map_err(|error| vec![named(error.to_string())])?;
    parse(&text).map(Into::into).map_err(|problems| problems.into_iter().map(named).collect())
}

/// Reads the text of a file.
pub fn parse(text: &str) -> Result<Vec<Kpi>, Vec<String>> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| vec![format!("not valid YAML: {error}")])?;
    let mut reader = Reader::default();
    let kpis = match &documents[..] {
        [] => Vec::new(),
        [document] => reader.document(document),
        [_, second, ..] => {
            reader.say(second, "a second document: there is one per file");
            Vec::new()
        }
    };
    if reader.problems.is_empty() { Ok(kpis) } else { Err(reader.problems) }
}

/// What is wrong so far.
#[derive(Default)]
struct Reader {
    problems: Vec<String>,
}

impl Reader {
    fn say(&mut self, at: &Node<'_>, problem: impl std::fmt::Display) {
        self.problems.push(format!("line {}: {problem}", at.span.start.line()));
    }

    fn document(&mut self, document: &Node<'_>) -> Vec<Kpi> {
        let Some([list]) = self.fields(document, ["kpis"]) else { return Vec::new() };
        let Some(list) = list else { return Vec::new() };
        let YamlData::Sequence(items) = &list.data else {
            self.say(list, "kpis is not a list");
            return Vec::new();
        };
        if items.len() > KPIS_MAX {
            self.say(list, format!("more than {KPIS_MAX} KPIs"));
        }
        let mut kpis: Vec<Kpi> = Vec::new();
        for item in items.iter().take(KPIS_MAX) {
            let Some(kpi) = self.kpi(item) else { continue };
            // The same key for another service is another KPI.
            let clash = |known: &&Kpi| {
                known.key == kpi.key
                    && overlap(&known.service, &kpi.service)
                    && overlap(&known.environment, &kpi.environment)
            };
            if kpis.iter().find(clash).is_some() {
                self.say(item, format!("the key `{}` is declared twice for the same service", kpi.key));
            }
            kpis.push(kpi);
        }
        kpis
    }

    fn kpi(&mut self, item: &Node<'_>) -> Option<Kpi> {
        let before = self.problems.len();
        let names = ["key", "title", "source", "value", "service", "environment", "unit", "better", "per"];
        let [key, title, source, value, service, environment, unit, better, per] = self.fields(item, names)?;
        let key = self.required(item, "key", key).and_then(|node| self.text(node, "key"));
        let key = key.filter(|key| {
            let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if !plain {
                self.say(item, format!("key `{key}`: letters, digits, `.`, `_` and `-` only"));
            }
            plain
        });
        let source = self.required(item, "source", source).and_then(|node| self.source(node));
        let value = value.map_or(Some(KpiValue::Count), |node| self.word(node, "value", KpiValue::WORDS));
        let per = per.map_or(Some(Per::Request), |node| self.word(node, "per", Per::WORDS));
        let better = better.map_or(Some(Better::Higher), |node| self.word(node, "better", Better::WORDS));
        let mut optional = |node: Option<&Node<'_>>, name: &str| node.and_then(|node| self.text(node, name));
        let (title, unit) = (optional(title, "title"), optional(unit, "unit"));
        let (service, environment) = (optional(service, "service"), optional(environment, "environment"));
        let (key, source, value, per, better) = (key?, source?, value?, per?, better?);
        self.check_value(item, &source, value, per);
        (self.problems.len() == before).then(|| Kpi {
            title: title.unwrap_or_else(|| key.clone()),
            key: key.into(),
            unit: unit.unwrap_or_default().into(),
            source,
            value,
            service,
            environment,
            better,
            per,
        })
    }

    /// Whether what is made of a source can be made of it.
    fn check_value(&mut self, item: &Node<'_>, source: &KpiSource, value: KpiValue, per: Per) {
        if value == KpiValue::Mean && per != Per::None {
            self.say(item, "a mean is not divided: write `per: none`");
        }
        match source {
            KpiSource::Log { field: None, .. } if value != KpiValue::Count => {
                self.say(item, format!("value `{}` of log records needs a `field` to take it from", value.as_str()));
            }
            KpiSource::Metric(_) if value == KpiValue::Count => {
                self.say(item, "a metric is added up or averaged: write `value: sum` or `value: mean`");
            }
            _ => {}
        }
    }

    fn source(&mut self, node: &Node<'_>) -> Option<KpiSource> {
        let [event, log, metric] = self.fields(node, ["event", "log", "metric"])?;
        match (event, log, metric) {
            (Some(event), None, None) => self.text(event, "event").map(KpiSource::Event),
            (None, Some(log), None) => self.log(log),
            (None, None, Some(metric)) => self.text(metric, "metric").map(KpiSource::Metric),
            _ => {
                self.say(node, "source is one of `event`, `log` and `metric`");
                None
            }
        }
    }

    fn log(&mut self, node: &Node<'_>) -> Option<KpiSource> {
        let [matching, field] = self.fields(node, ["where", "field"])?;
        let field = match field {
            Some(field) => Some(self.text(field, "field")?),
            None => None,
        };
        let matching = self.required(node, "where", matching)?;
        let YamlData::Mapping(conditions) = &matching.data else {
            self.say(matching, "where is not a map of attributes and the values they must have");
            return None;
        };
        if conditions.is_empty() || conditions.len() > CONDITIONS_MAX {
            self.say(matching, format!("where has 1 to {CONDITIONS_MAX} attributes"));
            return None;
        }
        let mut found = Vec::new();
        for (key, value) in conditions {
            found.push((self.text(key, "an attribute")?, self.text(value, "the value of an attribute")?));
        }
        Some(KpiSource::Log { matching: found, field })
    }

    /// The values of known fields of a map; says which are not known.
    fn fields<'n, const N: usize>(
        &mut self,
        node: &'n Node<'n>,
        names: [&str; N],
    ) -> Option<[Option<&'n Node<'n>>; N]> {
        let YamlData::Mapping(map) = &node.data else {
            self.say(node, format!("not a map with {}", names.map(|name| format!("`{name}`")).join(", ")));
            return None;
        };
        let known: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut found = [None; N];
        for (key, value) in map {
            let name = scalar_text(key).unwrap_or_default();
            match names.iter().position(|known| *known == name) {
                Some(place) => found[place] = Some(value),
                None => {
                    let instead = match nearest(&name, &known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("known keys: {}", known.join(", ")),
                    };
                    self.say(key, format!("unknown key `{name}`; {instead}"));
                }
            }
        }
        Some(found)
    }

    fn required<'n>(&mut self, at: &Node<'_>, name: &str, node: Option<&'n Node<'n>>) -> Option<&'n Node<'n>> {
        if node.is_none() {
            self.say(at, format!("`{name}` is missing"));
        }
        node
    }

    fn text(&mut self, node: &Node<'_>, name: &str) -> Option<String> {
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

    fn word<T: Copy>(&mut self, node: &Node<'_>, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = scalar_text(node).unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.say(node, format!("{name} `{text}`: it is one of {}", known.join(", ")));
        }
        found
    }
}

/// A scalar as it would be written. `per: none` is a text here, and so is a version that looks like a number.
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

fn overlap(one: &Option<String>, other: &Option<String>) -> bool {
    one.is_none() || other.is_none() || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
kpis:
  - key: orders
    title: Orders
    source: { event: order_placed }
    service: checkout
    per: request
    better: higher
  - key: revenue
    source: { event: order_placed }
    value: sum
    unit: EUR
    per: session
  - key: stock_outs
    source:
      log:
        where: { logger: stock, code: 17 }
    per: none
    better: lower
  - key: basket
    source: { log: { where: { logger: cart }, field: items } }
    value: mean
    per: none
  - key: queue
    source: { metric: queue.depth }
    value: mean
    per: none
";

    #[test]
    fn declarations_are_read_with_their_defaults() {
        let kpis = parse(GOOD).expect("valid");
        assert_eq!(kpis.len(), 5);
        let orders = &kpis[0];
        assert_eq!((&*orders.key, orders.title.as_str(), orders.value), ("orders", "Orders", KpiValue::Count));
        assert_eq!(
            (orders.per, orders.better, orders.service.as_deref()),
            (Per::Request, Better::Higher, Some("checkout"))
        );
        assert_eq!((kpis[1].title.as_str(), &*kpis[1].unit, kpis[1].per), ("revenue", "EUR", Per::Session));
        let matching = vec![("logger".to_owned(), "stock".to_owned()), ("code".to_owned(), "17".to_owned())];
        assert_eq!(kpis[2].source, KpiSource::Log { matching, field: None });
        assert_eq!(kpis[4].source, KpiSource::Metric("queue.depth".to_owned()));
        assert!(parse("").expect("an empty file declares nothing").is_empty());
    }

    #[test]
    fn every_problem_is_said_with_its_line() {
        let check = |text: &str, words: &[&str]| {
            let problems = parse(text).expect_err(text);
            assert_eq!(problems.len(), words.len(), "{problems:?}");
            for (problem, word) in problems.iter().zip(words) {
                assert!(problem.contains(word), "{problem} lacks {word}");
            }
        };
        check("kpi: []", &["line 1: unknown key `kpi`; did you mean `kpis`?"]);
        check("kpis: 7", &["not a list"]);
        check("- a", &["not a map with `kpis`"]);
        check("kpis:\n  - title: x", &["line 2: `key` is missing", "`source` is missing"]);
        check(
            "kpis:\n  - key: a b\n    source: { event: x }\n    beter: lower\n    per: week",
            &[
                "line 4: unknown key `beter`; did you mean `better`?",
                "letters, digits",
                "per `week`: it is one of request, session, user, none",
            ],
        );
        check("kpis:\n  - key: a\n    source: { event: x, metric: y }", &["source is one of"]);
        check("kpis:\n  - key: a\n    source: { metric: y }", &["a metric is added up or averaged"]);
        check("kpis:\n  - key: a\n    source: { log: { where: { a: b } } }\n    value: sum", &["needs a `field`"]);
        check("kpis:\n  - key: a\n    source: { log: { field: x } }", &["`where` is missing"]);
        check("kpis:\n  - key: a\n    source: { event: x }\n    value: mean", &["a mean is not divided"]);
        check(
            "kpis:\n  - {key: a, source: {event: x}}\n  - {key: a, source: {event: y}, service: s}",
            &["line 3: the key `a` is declared twice"],
        );
        check("kpis: [", &["not valid YAML"]);
        check("a: 1\n---\nb: 2", &["second document"]);
        assert!(
            parse("kpis:\n  - {key: a, source: {event: x}, service: s}\n  - {key: a, source: {event: y}, service: t}")
                .is_ok()
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let problems = load(Path::new("no/such/kpis.yaml")).expect_err("not there");
        assert!(problems[0].contains("no/such/kpis.yaml"), "{problems:?}");
    }
}
