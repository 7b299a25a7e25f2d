//! Which fields lines have, and what is often in them: of some of the newest lines, and the answer says of how many.

use std::collections::{BTreeMap, HashMap};

use super::language::Field;
use super::wire::{FieldLine, FieldValue, Line};

/// Lines that are looked at.
pub(crate) const SAMPLE: usize = 1_000;
/// Different fields, and values of a field, that are told apart.
const FIELDS_MAX: usize = 500;
const VALUES_MAX: usize = 200;
/// Values of a field that are listed, and how long they may be.
const TOP: usize = 10;
const VALUE_BYTES_MAX: usize = 200;

#[derive(Default)]
struct Values {
    lines: u64,
    numbers: u64,
    booleans: u64,
    values: HashMap<String, u64>,
}

/// The fields of some lines: columns first, then attributes by how many lines have them.
pub(crate) fn of(lines: &[Line]) -> Vec<FieldLine> {
    let mut columns: BTreeMap<usize, (String, Values)> = BTreeMap::new();
    let mut others: HashMap<String, Values> = HashMap::new();
    for line in lines {
        let of_columns = [
            ("level", line.level),
            ("service", &line.service),
            ("version", &line.version),
            ("environment", &line.env),
            ("instance", &line.instance),
            ("event_name", line.event.as_deref().unwrap_or("")),
            ("scope", line.scope.as_deref().unwrap_or("")),
        ];
        for (place, (name, value)) in of_columns.into_iter().enumerate().filter(|(_, (_, value))| !value.is_empty()) {
            columns.entry(place).or_insert_with(|| (name.to_owned(), Values::default())).1.add(value);
        }
        let attributes = line.attrs.iter().map(|(name, value)| (Field::Attribute(name.clone()).name(), value));
        let resource = line.resource.iter().map(|(name, value)| (Field::Resource(name.clone()).name(), value));
        for (name, value) in attributes.chain(resource) {
            if others.len() < FIELDS_MAX || others.contains_key(&name) {
                others.entry(name).or_default().add(value);
            }
        }
    }
    let mut others: Vec<(String, Values)> = others.into_iter().collect();
    others.sort_by(|(a_name, a), (b_name, b)| b.lines.cmp(&a.lines).then_with(|| a_name.cmp(b_name)));
    columns.into_values().chain(others).map(|(name, values)| values.line(name)).collect()
}

impl Values {
    fn add(&mut self, value: &str) {
        self.lines += 1;
        self.numbers += u64::from(value.parse::<f64>().is_ok());
        self.booleans += u64::from(matches!(value, "true" | "false"));
        if value.len() <= VALUE_BYTES_MAX && (self.values.len() < VALUES_MAX || self.values.contains_key(value)) {
            *self.values.entry(value.to_owned()).or_default() += 1;
        }
    }

    fn line(self, name: String) -> FieldLine {
        let kind = match self.lines {
            lines if lines == self.numbers => "number",
            lines if lines == self.booleans => "boolean",
            _ => "text",
        };
        let values = self.values.len() as u64;
        let mut top: Vec<FieldValue> =
            self.values.into_iter().map(|(value, lines)| FieldValue { value, lines }).collect();
        top.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.value.cmp(&b.value)));
        top.truncate(TOP);
        FieldLine { name, kind, lines: self.lines, values, top }
    }
}
