//! RFC 4180 with a header line. Text that a spreadsheet would run as a formula gets an apostrophe in front: log bodies and
//! attributes are written by whoever sends them.

use serde_json::Value;

use super::SqlAnswer;
use super::value::json_value;

/// Characters that make a spreadsheet compute a cell.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(super) fn write(answer: &SqlAnswer) -> String {
    let mut out = String::new();
    line(&mut out, answer.schema.fields().iter().map(|field| text_cell(field.name())));
    for batch in &answer.batches {
        for row in 0..batch.num_rows() {
            line(&mut out, batch.columns().iter().map(|column| cell(json_value(column, row))));
        }
    }
    out
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    let mut first = true;
    for cell in cells {
        if !first {
            out.push(',');
        }
        first = false;
        out.push_str(&cell);
    }
    out.push_str("\r\n");
}

fn cell(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text_cell(&text),
        number @ (Value::Number(_) | Value::Bool(_)) => number.to_string(),
        nested => text_cell(&nested.to_string()),
    }
}

fn text_cell(text: &str) -> String {
    let guard = if text.starts_with(FORMULA_STARTS) { "'" } else { "" };
    // An empty text is quoted, so that it is not read as null.
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) || text.starts_with(' ') {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_guarded() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"x\"\n", "\"say \"\"x\"\"\n\""),
            ("=cmd|'/c calc'!A0", "'=cmd|'/c calc'!A0"),
            ("+1", "'+1"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("=1,2", "\"'=1,2\""),
        ] {
            assert_eq!(text_cell(text), expected, "{text}");
        }
        assert_eq!(cell(Value::from(-5)), "-5", "a number is no formula");
        assert_eq!(cell(Value::Null), "");
    }
}
