//! `shipwake query`: asks a running Shipwake over its API and prints the answer.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::{QueryArgs, QueryFormat};
use crate::visible::visible;

/// Exit code for a statement that Shipwake refused, as opposed to Shipwake not being there.
pub const REFUSED: u8 = 2;

/// Runs the command. Exit code 0 with the answer on standard output; 2 with the reason on standard error when the
/// statement was refused.
///
/// # Errors
/// When Shipwake cannot be reached or standard output is closed.
pub fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(args))
}

async fn ask(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let base = base_of(&args.url);
    let url = format!("{base}/api/v1/sql");
    let accept = match args.format {
        QueryFormat::Table | QueryFormat::Json => "application/json",
        QueryFormat::Csv => "text/csv",
        QueryFormat::Arrow => "application/vnd.apache.arrow.stream",
    };
    let body = json!({"query": args.sql, "limit": args.limit, "timeout_ms": args.timeout_ms});
    let answer = reqwest::Client::new()
        .post(&url)
        .header("accept", accept)
        .json(&body)
        .send()
        .await
        .with_context(|| format!("no Shipwake answers at {base} (start it with `shipwake serve`, or say --url)"))?;
    let status = answer.status();
    let bytes = answer.bytes().await.context("the answer broke off")?;
    if !status.is_success() {
        match refusal(&args.sql, &bytes) {
            Some(message) => eprintln!("{message}"),
            None => {
                eprintln!("{base} answers {status} and no query API: is it the port of the pages (4400 by default)?");
            }
        }
        return Ok(ExitCode::from(REFUSED));
    }
    let mut out = std::io::stdout().lock();
    if args.format == QueryFormat::Table {
        let answer: Value = serde_json::from_slice(&bytes).context("the answer is not JSON")?;
        out.write_all(table(&answer).as_bytes())?;
    } else {
        out.write_all(&bytes)?;
        if args.format == QueryFormat::Json {
            out.write_all(b"\n")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The address of the API.
pub fn base_of(url: &str) -> String {
    let base = url.trim_end_matches('/');
    if base.contains("://") { base.to_owned() } else { format!("http://{base}") }
}

/// The problem in words, with a caret under the place in the statement when it is known; `None` when the answer is not one
/// of the query API.
pub fn refusal(sql: &str, body: &[u8]) -> Option<String> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    let mut message = format!("{}: {}", problem["title"].as_str()?, problem["detail"].as_str()?);
    let position = &problem["position"];
    if let (Some(line), Some(column)) = (position["line"].as_u64(), position["column"].as_u64())
        && let Some(source) = sql.lines().nth(line.saturating_sub(1) as usize)
    {
        let caret = " ".repeat(column.saturating_sub(1) as usize);
        message.push_str(&format!("\n  {source}\n  {caret}^"));
    }
    Some(message)
}

/// Columns aligned under their names, numbers to the right, then what the query cost.
fn table(answer: &Value) -> String {
    let empty = Vec::new();
    let names: Vec<String> = answer["schema"]
        .as_array()
        .unwrap_or(&empty)
        .iter()
        .map(|column| column["name"].as_str().unwrap_or("").to_owned())
        .collect();
    let rows: Vec<Vec<(String, bool)>> = answer["rows"]
        .as_array()
        .unwrap_or(&empty)
        .iter()
        .map(|row| row.as_array().unwrap_or(&empty).iter().map(cell).collect())
        .collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|(text, _)| text.chars().count());
        cells.chain([names[at].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut out = String::new();
    let header: Vec<(String, bool)> = names.iter().map(|name| (name.clone(), false)).collect();
    push_row(&mut out, &header, &widths);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    out.push_str(&format!("{}\n", rule.join("──")));
    for row in &rows {
        push_row(&mut out, row, &widths);
    }
    let meta = &answer["meta"];
    let noun = if meta["rows"] == 1 { "row" } else { "rows" };
    out.push_str(&format!("{} {noun}, {} ms", meta["rows"], meta["elapsed_ms"]));
    if meta["truncated"].as_bool() == Some(true) {
        out.push_str(", cut at the limit: there are more (--limit)");
    }
    out.push('\n');
    for warning in meta["warnings"].as_array().unwrap_or(&empty) {
        out.push_str(&format!("note: {}\n", warning.as_str().unwrap_or_default()));
    }
    out
}

fn push_row(out: &mut String, row: &[(String, bool)], widths: &[usize]) {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .map(|((text, right), width)| if *right { format!("{text:>width$}") } else { format!("{text:<width$}") })
        .collect();
    out.push_str(cells.join("  ").trim_end());
    out.push('\n');
}

/// A cell's text, control characters made visible, and whether it stands to the right.
fn cell(value: &Value) -> (String, bool) {
    let text = match value {
        Value::Null => "—".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (visible(&text), value.is_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_says_what_it_cost() {
        let answer = json!({"schema": [{"name": "service"}, {"name": "n"}], "rows": [["checkout", 7], [null, 12]],
            "meta": {"rows": 2, "elapsed_ms": 3, "truncated": false}});
        let expected = "service   n\n────────────\ncheckout   7\n—         12\n2 rows, 3 ms\n";
        assert_eq!(table(&answer), expected);
    }

    #[test]
    fn a_refusal_points_at_the_place() {
        let body =
            br#"{"title":"The statement cannot be read","detail":"expected FROM","position":{"line":1,"column":8}}"#;
        let expected = "The statement cannot be read: expected FROM\n  select form x\n         ^";
        assert_eq!(refusal("select form x", body).as_deref(), Some(expected));
        assert_eq!(refusal("select 1", b"not found"), None);
    }

    #[test]
    fn control_characters_of_telemetry_stay_inert() {
        assert_eq!(cell(&json!("a\u{1b}[31mb")).0, "a\\u{1b}[31mb");
    }
}
