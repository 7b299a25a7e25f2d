//! The planner's sentences in the words of somebody who asks: tables that exist, types that fit, no settings that nobody
//! can change. Pure; it relies on the planner's texts and leaves those that it does not know as they are.

use crate::sql::tables::SqlTable;

/// Begins the planner's sentence about arguments that a function does not take. It calls it an internal error.
pub(crate) const NO_SIGNATURE: &str = "failed to match any signature";
/// What a function that was given the wrong types could have been given.
const CANDIDATES: &str = "Candidate functions:";

/// The message, in other words where they help.
pub(crate) fn in_words(message: &str) -> String {
    if let Some(name) = between(message, "table '", "' not found") {
        return no_such_table(name.strip_prefix("shipwake.public.").unwrap_or(name));
    }
    if (message.contains(NO_SIGNATURE) || message.contains(CANDIDATES))
        && let Some(said) = wrong_arguments(message)
    {
        return said;
    }
    let timestamp =
        message.contains("Timestamp") && ["Int", "Float", "Decimal"].iter().any(|kind| message.contains(kind));
    let does_not_fit = message.contains("Cannot infer common argument type") || message.contains("Cannot coerce");
    if timestamp && does_not_fit {
        return "a timestamp cannot be compared with a number; write for example time > now() - interval '5 minutes'"
            .to_owned();
    }
    without_settings(message)
}

/// That a table does not exist, and which ones do.
pub(crate) fn no_such_table(name: &str) -> String {
    let known: Vec<&str> = SqlTable::ALL.iter().map(|table| table.name()).collect();
    format!("there is no table {name}; there are {}", known.join(", "))
}

/// `sum(text)` is not possible, and what is. `None` when the planner's sentence is not as expected.
fn wrong_arguments(message: &str) -> Option<String> {
    let call = between(message, "argument types '", "'");
    let name = match call {
        Some(call) => call.split('(').next().unwrap_or(call),
        None => between(message, "Function '", "'")?,
    };
    let given = match call {
        Some(call) => format!("{name} does not take {}", plain_types(call[name.len()..].trim_matches(['(', ')']))),
        None => match between(message, "received ", " (") {
            Some(given) => format!("{name} does not take {}", plain_types(given)),
            None => format!("{name} does not take these arguments"),
        },
    };
    let listed = message.split(CANDIDATES).nth(1).unwrap_or_default();
    let mut forms: Vec<String> = listed
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(&format!("{name}(")) && !line.contains("UserDefined"))
        .map(plain_types)
        .collect();
    if forms.is_empty() {
        forms = needed_types(message).into_iter().map(|needed| format!("{name}({needed})")).collect();
    }
    forms.dedup();
    Some(if forms.is_empty() {
        format!("{given}; cast them to a type that it takes, for example cast(x as double)")
    } else {
        format!("{given}; it takes {}", forms.join(" or "))
    })
}

/// The types of `Function 'sum' requires Decimal, but received …`, each once.
fn needed_types(message: &str) -> Vec<String> {
    let mut needed: Vec<String> = Vec::new();
    for part in message.split(" requires ").skip(1) {
        let words = part.split(", but").next().unwrap_or_default();
        let words = plain_types(words);
        if words.len() < 60 && !needed.contains(&words) {
            needed.push(words);
        }
    }
    needed
}

/// Types by the names that `describe` uses.
fn plain_types(types: &str) -> String {
    let mut plain = types.to_owned();
    for (from, to) in [
        ("LargeUtf8", "text"),
        ("Utf8View", "text"),
        ("Utf8", "text"),
        ("String", "text"),
        ("Decimal", "decimal"),
        ("Duration", "duration"),
        ("Interval", "interval"),
        ("Numeric(1)", "number"),
        ("UInt64", "integer"),
        ("Int64", "integer"),
        ("Int32", "integer"),
        ("Float64", "double"),
    ] {
        plain = plain.replace(from, to);
    }
    plain
}

/// Nobody who asks can change the planner's settings.
fn without_settings(message: &str) -> String {
    let lines = message.lines().map(|line| {
        if line.contains("datafusion.sql_parser") {
            "write column names in lower case, or as they are between double quotes"
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_does_not_exist_is_answered_with_those_that_do() {
        let said = in_words("table 'shipwake.public.nope' not found");
        assert_eq!(
            said,
            "there is no table nope; there are events, logs, markers, notifications, patterns, points, release_health, releases, spans, toggles, verdicts, windows"
        );
    }

    #[test]
    fn nobody_is_told_to_change_settings() {
        let said = in_words("No field named x.\nuse \"X\" or disable the datafusion.sql_parser.y configuration.\nmore");
        assert_eq!(
            said,
            "No field named x.\nwrite column names in lower case, or as they are between double quotes\nmore"
        );
    }

    #[test]
    fn wrong_arguments_are_said_with_the_types_that_fit() {
        let said =
            in_words("Function 'sum' failed to match any signature, errors: Function 'sum' requires Decimal, but");
        assert_eq!(said, "sum does not take these arguments; it takes sum(decimal)");
        let said = in_words("argument types 'f(Utf8)'. Casts.\n\tCandidate functions:\n\tf(Float64)\n\tf(Int64)");
        assert_eq!(said, "f does not take text; it takes f(double) or f(integer)");
    }

    #[test]
    fn other_messages_stay_as_they_are() {
        assert_eq!(
            in_words("Cannot coerce arithmetic expression Utf8 + Int64"),
            "Cannot coerce arithmetic expression Utf8 + Int64"
        );
    }
}
