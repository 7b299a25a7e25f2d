//! The registry of Shipwake's own metrics, and its text form for `/metrics`.
//!
//! Parts register their metrics while they are built; after that the registry is only read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The registry, shared between the parts that are being built and the pages that show it.
#[derive(Clone, Default)]
pub struct SharedRegistry(Arc<Mutex<Registry>>);

/// One line of the text form.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name with its suffix, for example `shipwake_records_received_total`.
    pub name: String,
    /// Labels in the order of the line.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl SharedRegistry {
    /// The registry, to register metrics in.
    pub fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All metrics in the OpenMetrics text format, which Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.lock()).expect("writing to a string does not fail");
        text
    }

    /// All samples.
    pub fn samples(&self) -> Vec<Sample> {
        self.text().lines().filter(|line| !line.starts_with('#')).filter_map(parse_sample).collect()
    }

    /// The names of all samples, each once.
    pub fn sample_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.samples().into_iter().map(|sample| sample.name).collect();
        names.dedup();
        names
    }
}

/// Parses `name{key="value",…} value`. Label values of ours hold no quotes.
fn parse_sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, rest)) => (name, parse_labels(rest.strip_suffix('}')?)),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

fn parse_labels(text: &str) -> Vec<(String, String)> {
    text.split("\",")
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;

    #[test]
    fn samples_are_read_back_from_the_text() {
        let registry = SharedRegistry::default();
        let family = Family::<Vec<(String, String)>, Counter>::default();
        registry.lock().register("records", "Records.", family.clone());
        family.get_or_create(&vec![("a".to_owned(), "x y".to_owned()), ("b".to_owned(), "2".to_owned())]).inc_by(3);
        let samples = registry.samples();
        let expected = Sample {
            name: "records_total".into(),
            labels: vec![("a".into(), "x y".into()), ("b".into(), "2".into())],
            value: 3.0,
        };
        assert_eq!(samples, vec![expected]);
    }
}
