//! Which of some rows a search finds. Pure. A field that a row does not have passes no test, so it is found by the negation.

use arrow::array::{Array, AsArray, MapArray, StringArray};
use shipwake_model::pattern::Level;

use super::language::{Bound, Bounds, Field, Search, Test, Text, level_of};
use super::rows::Rows;

/// What a column costs to read and to test; the cheapest go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cost {
    /// Few values, or numbers.
    Little,
    /// The text of the line.
    Body,
    /// Attributes.
    Map,
}

/// The parts of a search that all have to find a row.
pub(crate) fn conjuncts(search: &Search) -> Vec<&Search> {
    match search {
        Search::All => Vec::new(),
        Search::And(parts) => parts.iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

/// The columns that a search looks at, each once.
pub(crate) fn columns(search: &Search) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = match search {
        Search::All => Vec::new(),
        Search::And(parts) | Search::Or(parts) => parts.iter().flat_map(columns).collect(),
        Search::Not(part) => columns(part),
        Search::Text(_) => vec!["body"],
        Search::Field(field, _) => match field {
            Field::Column(column) => vec![column],
            Field::Level => vec!["severity_number", "severity_text"],
            Field::SeverityNumber => vec!["severity_number"],
            Field::Attribute(name) if Field::may_be_of_resource(name) => vec!["attributes", "resource"],
            Field::Attribute(_) => vec!["attributes"],
            Field::Resource(_) => vec!["resource"],
        },
    };
    found.sort_unstable();
    found.dedup();
    found
}

/// What the most expensive column of a search costs.
pub(crate) fn cost(search: &Search) -> Cost {
    let of_column = |column: &&str| match *column {
        "attributes" | "resource" => Cost::Map,
        "body" => Cost::Body,
        _ => Cost::Little,
    };
    columns(search).iter().map(of_column).max().unwrap_or(Cost::Little)
}

/// For each row whether the search finds it. Columns that are missing are those that no row has.
pub(crate) fn matches(search: &Search, rows: &Rows) -> Vec<bool> {
    match search {
        Search::All => vec![true; rows.len],
        Search::And(parts) => combined(parts, rows, true, |one, other| one && other),
        Search::Or(parts) => combined(parts, rows, false, |one, other| one || other),
        Search::Not(part) => {
            let mut found = matches(part, rows);
            found.iter_mut().for_each(|row| *row = !*row);
            found
        }
        Search::Text(text) => text_matches(text, rows),
        Search::Field(field, test) => field_matches(field, test, rows),
    }
}

fn combined(parts: &[Search], rows: &Rows, start: bool, with: impl Fn(bool, bool) -> bool) -> Vec<bool> {
    let mut found = vec![start; rows.len];
    for part in parts {
        for (row, other) in found.iter_mut().zip(matches(part, rows)) {
            *row = with(*row, other);
        }
    }
    found
}

fn text_matches(text: &Text, rows: &Rows) -> Vec<bool> {
    let mut found = vec![false; rows.len];
    let Some(bodies) = rows.column("body").and_then(|column| column.texts()) else { return found };
    body_matches(text, bodies, |row| found[row] = true);
    found
}

/// Calls `found` with each row whose body has the words.
pub(crate) fn body_matches(text: &Text, bodies: &StringArray, mut found: impl FnMut(usize)) {
    let offsets = bodies.value_offsets();
    let bytes = bodies.value_data();
    let Ok(all) = std::str::from_utf8(bytes) else {
        // The values are text; bytes between them need not be.
        return (0..bodies.len())
            .filter(|row| bodies.is_valid(*row) && text.phrase.is_in(bodies.value(*row)))
            .for_each(found);
    };
    text.phrase.find(
        all,
        0..bodies.len(),
        |row| offsets[row] as usize,
        |row| {
            if bodies.is_valid(row) {
                found(row);
            }
        },
    );
}

fn field_matches(field: &Field, test: &Test, rows: &Rows) -> Vec<bool> {
    let tester = Tester::new(test, matches!(field, Field::Column("trace_id" | "span_id" | "pattern_id")));
    match field {
        Field::Column(name) => match rows.column(name).and_then(|column| Some((column, column.texts()?))) {
            Some((column, texts)) => {
                column.rows_where(rows.len, |at| texts.is_valid(at) && tester.text(texts.value(at)))
            }
            None => vec![false; rows.len],
        },
        Field::Level => level_matches(test, rows),
        Field::SeverityNumber => match rows.column("severity_number") {
            Some(column) => {
                (0..rows.len).map(|row| column.number(row).is_some_and(|number| tester.number(number))).collect()
            }
            None => vec![false; rows.len],
        },
        Field::Resource(name) => map_matches("resource", name, &tester, rows),
        Field::Attribute(name) => {
            let mut found = map_matches("attributes", name, &tester, rows);
            if Field::may_be_of_resource(name) {
                let of_resource = map_matches("resource", name, &tester, rows);
                found.iter_mut().zip(of_resource).for_each(|(row, other)| *row |= other);
            }
            found
        }
    }
}

fn map_matches(column: &str, name: &str, tester: &Tester<'_>, rows: &Rows) -> Vec<bool> {
    let Some((column, map)) = rows.column(column).and_then(|column| Some((column, column.values().as_map_opt()?)))
    else {
        return vec![false; rows.len];
    };
    let (keys, values) = entries(map);
    let offsets = map.value_offsets();
    column.rows_where(rows.len, |at| {
        let found = (offsets[at] as usize..offsets[at + 1] as usize).find(|entry| keys.value(*entry) == name);
        map.is_valid(at) && found.is_some_and(|entry| values.is_valid(entry) && tester.text(values.value(entry)))
    })
}

fn entries(map: &MapArray) -> (&StringArray, &StringArray) {
    (map.keys().as_string::<i32>(), map.values().as_string::<i32>())
}

/// A line without a level lies in no range of levels.
fn level_matches(test: &Test, rows: &Rows) -> Vec<bool> {
    let (numbers, texts) = (rows.column("severity_number"), rows.column("severity_text"));
    let of_bound = |bound: &Option<Bound>| {
        bound.as_ref().map(|bound| (level_of(&bound.value).unwrap_or_default(), bound.included))
    };
    let wanted = |level: Level| match test {
        Test::Exists => level != Level::Unknown,
        Test::Is(word) => level_of(word) == Some(level),
        Test::Begins(_) => false,
        Test::Within(bounds) => {
            let above = of_bound(&bounds.low).is_none_or(|(low, included)| level > low || (included && level == low));
            let below =
                of_bound(&bounds.high).is_none_or(|(high, included)| level < high || (included && level == high));
            level != Level::Unknown && above && below
        }
    };
    let is_wanted: Vec<bool> = Level::ALL.iter().map(|level| wanted(*level)).collect();
    let level_of_row = |row: usize| {
        let number = numbers.and_then(|column| column.number(row)).unwrap_or(0);
        let text = texts.and_then(|column| column.text(row)).unwrap_or("");
        Level::of(i32::try_from(number).unwrap_or(0), text.as_bytes())
    };
    (0..rows.len).map(|row| is_wanted[level_of_row(row) as usize]).collect()
}

/// A test, with its numbers read.
struct Tester<'a> {
    test: &'a Test,
    numbers: (Option<f64>, Option<f64>),
    /// Hexadecimal: capitals are the same.
    ignores_case: bool,
}

impl<'a> Tester<'a> {
    fn new(test: &'a Test, ignores_case: bool) -> Self {
        let number = |bound: &Option<Bound>| bound.as_ref().and_then(|bound| bound.value.trim().parse().ok());
        let numbers = match test {
            Test::Within(bounds) => (number(&bounds.low), number(&bounds.high)),
            _ => (None, None),
        };
        Self { test, numbers, ignores_case }
    }

    fn text(&self, value: &str) -> bool {
        match self.test {
            Test::Exists => true,
            Test::Is(wanted) if self.ignores_case => value.eq_ignore_ascii_case(wanted),
            Test::Is(wanted) => value == wanted,
            Test::Begins(wanted) if self.ignores_case => {
                value.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
            }
            Test::Begins(wanted) => value.starts_with(wanted.as_str()),
            Test::Within(bounds) => self.within(bounds, value),
        }
    }

    fn number(&self, value: i64) -> bool {
        match self.test {
            Test::Exists => value != 0,
            Test::Is(wanted) => wanted.parse() == Ok(value),
            Test::Begins(_) => false,
            Test::Within(bounds) => self.within(bounds, &value.to_string()),
        }
    }

    /// A bound that is a number only numbers are compared with.
    fn within(&self, bounds: &Bounds, value: &str) -> bool {
        let read: Option<f64> =
            if self.numbers.0.is_some() || self.numbers.1.is_some() { value.trim().parse().ok() } else { None };
        let passes = |bound: &Option<Bound>, number: Option<f64>, is_low: bool| {
            let Some(bound) = bound else { return true };
            let order = match (number, read) {
                (Some(number), Some(read)) => read.partial_cmp(&number),
                (Some(_), None) => None,
                (None, _) => Some(value.cmp(bound.value.as_str())),
            };
            order.is_some_and(
                |order| if is_low { order.is_gt() } else { order.is_lt() } || (bound.included && order.is_eq()),
            )
        };
        passes(&bounds.low, self.numbers.0, true) && passes(&bounds.high, self.numbers.1, false)
    }
}
