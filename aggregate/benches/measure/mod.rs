//! How well lines are grouped, against the templates that made them.

use std::collections::{BTreeMap, BTreeSet};

use shipwake_aggregate::patterns::Book;
use shipwake_model::pattern::{group, mask, message};

use crate::corpus::Line;

const PATTERNS_MAX: usize = 1_000;

/// What was measured.
pub struct Accuracy {
    /// Grouping accuracy, 0 to 1.
    pub ga: f64,
    /// F1 of group accuracy, 0 to 1.
    pub fga: f64,
    /// Groups found.
    pub groups: usize,
    /// Templates that made the lines.
    pub templates: usize,
}

/// The id of a line.
pub fn learn(book: &mut Book, line: &str, shape: &mut Vec<u8>) -> u64 {
    shape.clear();
    mask(message(line.as_bytes()).text, shape);
    book.learn(shape, || line.to_owned(), 0, PATTERNS_MAX)
}

/// Learns all lines, groups what was learnt as pages do, and compares.
pub fn accuracy(lines: &[Line]) -> Accuracy {
    let (mut book, mut shape) = (Book::default(), Vec::new());
    let ids: Vec<u64> = lines.iter().map(|line| learn(&mut book, &line.text, &mut shape)).collect();
    let shapes: Vec<&str> = book.entries().map(|entry| &*entry.shape).collect();
    let grouped = group(&shapes);
    let group_of: BTreeMap<u64, usize> = book.entries().map(|entry| entry.id).zip(grouped.groups).collect();
    let (mut found, mut truth) = (BTreeMap::<usize, BTreeSet<usize>>::new(), BTreeMap::<usize, BTreeSet<usize>>::new());
    for (at, (line, id)) in lines.iter().zip(&ids).enumerate() {
        // Lines beyond the bound are one group, which is as wrong as it should count.
        found.entry(group_of.get(id).copied().unwrap_or(usize::MAX)).or_default().insert(at);
        truth.entry(line.template).or_default().insert(at);
    }
    let truths: BTreeSet<&BTreeSet<usize>> = truth.values().collect();
    let right: Vec<&BTreeSet<usize>> = found.values().filter(|group| truths.contains(group)).collect();
    let (precision, recall) = (right.len() as f64 / found.len() as f64, right.len() as f64 / truth.len() as f64);
    Accuracy {
        ga: right.iter().map(|group| group.len()).sum::<usize>() as f64 / lines.len() as f64,
        fga: if right.is_empty() { 0.0 } else { 2.0 * precision * recall / (precision + recall) },
        groups: found.len(),
        templates: truth.len(),
    }
}
