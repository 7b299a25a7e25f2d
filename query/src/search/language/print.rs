//! A search as text. What [`super::parse`] makes of it is the same search.

use std::fmt::{self, Write};

use super::parse::OPERATORS;
use super::{Bound, Bounds, Search, Test};

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Search::All => f.write_char('*'),
            Search::And(parts) => joined(f, parts, " "),
            Search::Or(parts) => joined(f, parts, " OR "),
            Search::Not(part) => {
                f.write_char('-')?;
                inside(f, part)
            }
            Search::Text(text) if text.is_prefix => write!(f, "{}*", escaped(&text.written)),
            Search::Text(text) => f.write_str(&quoted(&text.written)),
            Search::Field(field, test) => {
                let name = field.name();
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
                // What is behind one letter and begins with an escaped sign would be read as the path of a drive.
                let is_drive = name.len() == 1 && matches!(test, Test::Begins(_));
                let is_plain =
                    !is_drive && name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphabetic());
                f.write_str(&if is_plain { name } else { quoted(&name) })?;
                write!(f, ":{test}")
            }
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Exists => f.write_char('*'),
            Test::Is(value) => f.write_str(&quoted(value)),
            Test::Begins(value) => write!(f, "{}*", escaped(value)),
            Test::Within(bounds) => write!(f, "{bounds}"),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |bound: &Bound, sign: char| format!("{sign}{}", if bound.included { "=" } else { "" });
        match (&self.low, &self.high) {
            (Some(low), None) => write!(f, "{}{}", sign(low, '>'), quoted(&low.value)),
            (None, Some(high)) => write!(f, "{}{}", sign(high, '<'), quoted(&high.value)),
            (Some(low), Some(high)) => {
                let (open, close) = (if low.included { '[' } else { '{' }, if high.included { ']' } else { '}' });
                write!(f, "{open}{} TO {}{close}", quoted(&low.value), quoted(&high.value))
            }
            (None, None) => f.write_char('*'),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Search], between: &str) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            f.write_str(between)?;
        }
        inside(f, part)?;
    }
    Ok(())
}

/// With parentheses where the part has parts itself.
fn inside(f: &mut fmt::Formatter<'_>, part: &Search) -> fmt::Result {
    match part {
        Search::And(_) | Search::Or(_) => write!(f, "({part})"),
        _ => write!(f, "{part}"),
    }
}

/// Between quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Without quotes, every character that could mean something escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if !character.is_alphanumeric() {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    // A word that is written like an operator.
    if OPERATORS.contains(&text) { format!("\\{escaped}") } else { escaped }
}
