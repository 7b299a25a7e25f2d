//! Answers as text tables, for the command line.

use serde_json::Value;

/// Wider cells are cut: one long log line must not push every other column off the screen.
const CELL_CHARS_MAX: usize = 80;

/// A JSON answer of `POST /api/v1/sql` as an aligned table with a line about it. Control characters are shown escaped,
/// because log text must not drive the reader's terminal.
pub fn table(answer: &Value) -> String {
    let empty = Vec::new();
    let columns = answer["schema"].as_array().unwrap_or(&empty);
    let rows = answer["rows"].as_array().unwrap_or(&empty);
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| cell(&column["name"])).collect()];
    for row in rows {
        lines.push(row.as_array().unwrap_or(&empty).iter().map(cell).collect());
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let right: Vec<bool> =
        columns.iter().map(|column| matches!(column["type"].as_str(), Some("integer" | "double"))).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        write_line(&mut out, line, &widths, &right);
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            out.push_str(rule.join("─┼─").trim_end());
            out.push('\n');
        }
    }
    out.push_str(&summary(rows.len(), &answer["meta"]));
    out
}

fn write_line(out: &mut String, cells: &[String], widths: &[usize], right: &[bool]) {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        if column > 0 {
            line.push_str(" │ ");
        }
        let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
        if right[column] {
            line.push_str(&padding);
            line.push_str(cell);
        } else {
            line.push_str(cell);
            line.push_str(&padding);
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

fn summary(rows: usize, meta: &Value) -> String {
    let plural = if rows == 1 { "row" } else { "rows" };
    let cut = if meta["truncated"].as_bool() == Some(true) {
        ", more were left out: raise --limit or ask for less"
    } else {
        ""
    };
    match meta["elapsed_ms"].as_u64() {
        Some(ms) => format!("{rows} {plural} in {ms} ms{cut}\n"),
        None => format!("{rows} {plural}{cut}\n"),
    }
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == CELL_CHARS_MAX {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_control_characters_are_shown() {
        let answer = json!({
            "schema": [{"name": "service", "type": "text"}, {"name": "requests", "type": "integer"}],
            "rows": [["checkout", 812], ["a\u{1b}[2Jb", null]],
            "meta": {"rows": 2, "elapsed_ms": 3, "truncated": true},
        });
        let expected = "service     │ requests\n\
                        ────────────┼─────────\n\
                        checkout    │      812\n\
                        a\\u{1b}[2Jb │        -\n\
                        2 rows in 3 ms, more were left out: raise --limit or ask for less\n";
        assert_eq!(table(&answer), expected);
    }

    #[test]
    fn a_long_cell_is_cut() {
        assert_eq!(cell(&Value::from("x".repeat(500))).chars().count(), CELL_CHARS_MAX + 1);
    }
}
