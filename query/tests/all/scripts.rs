//! Runs `tests/scripts/*.test`: load records, ask, expect an answer.
//!
//! A script is a list of commands, one a line, in the order in which things happen:
//!
//! ```text
//! log t=1.5 service=checkout version=1 severity=17 body="card <declined>" attr.code=51
//! requests t=0 service=checkout version=1 n=10 errors=1 us=5000 route=/pay source=spans slot=3 final=true
//! span t=0 service=checkout version=1 us=5000 route=/pay
//! commit                      # what was hot is written to segments
//! query select …              # up to the line ----, then the expected answer as CSV up to an empty line
//! ```
//!
//! Times are seconds after 2026-11-23T14:00:00Z. With `SHIPWAKE_REGENERATE=1` the expected parts are written anew: look at
//! the difference before you keep it.

use std::path::{Path, PathBuf};

use shipwake_model::Source;

use crate::support::rows::{Log, Requests, release_in};
use crate::support::{T0, World};

#[tokio::test]
async fn every_script_gives_the_expected_answers() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "test"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "there are scripts");
    let mut failures = Vec::new();
    for path in scripts {
        run(&path, &mut failures).await;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

async fn run(path: &Path, failures: &mut Vec<String>) {
    let text = std::fs::read_to_string(path).expect("a readable script");
    let world = World::new();
    let mut written = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        written.push_str(line);
        written.push('\n');
        let Some(first) = line.strip_prefix("query") else {
            command(&world, line).unwrap_or_else(|problem| panic!("{}:{}: {problem}", path.display(), number + 1));
            continue;
        };
        let mut query = first.trim_start().to_owned();
        for (_, more) in lines.by_ref() {
            written.push_str(more);
            written.push('\n');
            if more == "----" {
                break;
            }
            query.push('\n');
            query.push_str(more);
        }
        let expected: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.is_empty()).collect();
        let answer = answer(&world, &query).await;
        written.push_str(&answer);
        written.push('\n');
        if answer.trim_end() != expected.join("\n") {
            let place = format!("{}:{}", path.display(), number + 1);
            failures.push(format!("{place}: {query}\nexpected:\n{}\nanswered:\n{answer}", expected.join("\n")));
        }
    }
    if std::env::var_os("SHIPWAKE_REGENERATE").is_some() {
        std::fs::write(path, written.trim_end().to_owned() + "\n").expect("a writable script");
        failures.clear();
    }
}

/// The answer as CSV, or the problem in a line or two.
async fn answer(world: &World, query: &str) -> String {
    let (status, _, body) = world.post_sql(serde_json::json!({"query": query}), "text/csv").await;
    let text = String::from_utf8(body).expect("text");
    if status.is_success() {
        return text.replace("\r\n", "\n");
    }
    let problem: serde_json::Value = serde_json::from_str(&text).expect("a problem document");
    let kind = problem["type"].as_str().and_then(|kind| kind.rsplit(':').next()).unwrap_or("?").to_owned();
    let place = match problem["position"]["line"].as_u64() {
        Some(line) => format!(" at {line}:{}", problem["position"]["column"]),
        None => String::new(),
    };
    format!("{status} {kind}{place}: {}\n", problem["detail"].as_str().unwrap_or("?"))
}

fn command(world: &World, line: &str) -> Result<(), String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let fields = Fields(fields(rest)?);
    match verb {
        "commit" => world.shard.commit(),
        "log" => world.shard.log(&fields.log()?),
        "requests" => world.shard.requests(&fields.requests()?),
        "span" => world.shard.span(&fields.requests()?),
        other => return Err(format!("no such command: {other}")),
    }
    Ok(())
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn get<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.iter().find(|(key, _)| key == name).map_or(default, |(_, value)| value)
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: &str) -> Result<T, String> {
        self.get(name, default).parse().map_err(|_| format!("{name} is not a number: {}", self.get(name, default)))
    }

    fn t_ns(&self) -> Result<i64, String> {
        let seconds: f64 = self.number("t", "0")?;
        Ok(T0 * 1_000_000 + (seconds * 1e9) as i64)
    }

    fn log(&self) -> Result<Log, String> {
        let attributes =
            self.0.iter().filter_map(|(key, value)| Some((key.strip_prefix("attr.")?.to_owned(), value.clone())));
        Ok(Log {
            release: release_in(self.get("service", "checkout"), self.get("env", "prod"), self.get("version", "1")),
            time_ns: self.t_ns()?,
            severity: self.number("severity", "9")?,
            body: self.get("body", "").to_owned(),
            attributes: attributes.collect(),
        })
    }

    fn requests(&self) -> Result<Requests, String> {
        Ok(Requests {
            release: release_in(self.get("service", "checkout"), self.get("env", "prod"), self.get("version", "1")),
            source: Source::from_word(self.get("source", "spans")).ok_or("no such source")?,
            route: self.get("route", "/pay").into(),
            t_ms: self.t_ns()? / 1_000_000,
            count: self.number("n", "1")?,
            errors: self.number("errors", "0")?,
            duration_us: self.number("us", "100000")?,
            slot: self.number("slot", "0")?,
            is_final: self.get("final", "false") == "true",
        })
    }
}

/// `key=value key="value with spaces"`.
fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| format!("expected key=value at: {rest}"))?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| format!("a quote is not closed: {rest}"))?,
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        found.push((key.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    Ok(found)
}
