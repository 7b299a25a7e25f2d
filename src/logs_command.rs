//! `shipwake logs`: finds log lines in a running Shipwake over its API and prints them, oldest first; with `--follow` goes on with
//! those that come.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::{LogsArgs, LogsFormat};
use crate::query_command::{REFUSED, base_of, refusal};
use crate::visible::visible_line;

/// Exit code when there is no such line.
const NONE_FOUND: u8 = 3;
/// Lines of one answer of the API.
const PAGE_LINES: u64 = 1_000;
/// Between two looks for new lines.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// New lines of one look: as many as the API gives.
const FOLLOWED_LINES: u64 = 5_000;
/// How far in a line stands that goes on with the one above.
const INDENT: &str = "    ";
/// Conditions that are named when nothing was found.
const HINTS_MAX: usize = 3;

/// Runs the command. Exit code 0 when lines were printed (or followed until Ctrl-C), 3 when there are none, 2 with the reason on
/// standard error when the search was refused.
///
/// # Errors
/// When Shipwake cannot be reached or standard output is closed.
pub fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(find(args))
}

async fn find(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let asker = Asker {
        base: base_of(&args.url),
        client: reqwest::Client::new(),
        search: args.search.clone().unwrap_or_default(),
    };
    // Before the lines: what comes in between is then in both, and told apart by its id.
    let mut cursor = Value::Null;
    if args.follow {
        match asker.ask("tail", filters(args)).await? {
            Ok(answer) => cursor = answer["cursor"].clone(),
            Err(code) => return Ok(code),
        }
    }
    let lines = match page_by_page(args, &asker).await? {
        Ok(lines) => lines,
        Err(code) => return Ok(code),
    };
    let printed_max = usize::try_from(args.limit).unwrap_or(usize::MAX);
    for line in lines.iter().take(printed_max).rev() {
        print(args.format, line)?;
    }
    if !args.follow {
        return Ok(if lines.is_empty() { ExitCode::from(NONE_FOUND) } else { ExitCode::SUCCESS });
    }
    let printed: Vec<String> = lines.iter().map(|line| text(&line["id"]).to_owned()).collect();
    tokio::select! {
        ended = follow(args, &asker, cursor, &printed) => ended,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

/// The newest lines, newest first. Of a search that is to print none one line is looked for: the exit code says whether there is one.
async fn page_by_page(args: &LogsArgs, asker: &Asker) -> anyhow::Result<Result<Vec<Value>, ExitCode>> {
    let mut lines: Vec<Value> = Vec::new();
    let mut before = Value::Null;
    let mut warned: Vec<String> = Vec::new();
    let limit = if args.follow { args.limit } else { args.limit.max(1) };
    while (lines.len() as u64) < limit {
        let mut body = filters(args);
        body["from"] = json!(args.from);
        body["to"] = json!(args.to);
        body["limit"] = json!(PAGE_LINES.min(limit - lines.len() as u64));
        body["before"] = before;
        let answer = match asker.ask("search", body).await? {
            Ok(answer) => answer,
            Err(code) => return Ok(Err(code)),
        };
        lines.extend(answer["lines"].as_array().into_iter().flatten().cloned());
        let now = warnings(&answer);
        if now != warned {
            now.iter().for_each(|warning| eprintln!("shipwake: {warning}"));
            warned = now;
        }
        hint(&answer["without"]);
        if answer["meta"]["partial"] == true {
            let seen = &answer["meta"]["seen_until"];
            eprintln!("shipwake: the time was over; not everything before {seen} (epoch ms) was looked at");
            break;
        }
        before = answer["next"].clone();
        if before.is_null() {
            break;
        }
    }
    Ok(Ok(lines))
}

async fn follow(args: &LogsArgs, asker: &Asker, mut cursor: Value, printed: &[String]) -> anyhow::Result<ExitCode> {
    let mut is_away = false;
    let mut warned: Vec<String> = Vec::new();
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let mut body = filters(args);
        body["cursor"] = cursor.clone();
        body["limit"] = json!(FOLLOWED_LINES);
        let answer = match asker.ask("tail", body).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(code)) => return Ok(code),
            Err(error) => {
                // The cursor holds over a restart, so nothing is missed by waiting.
                if !is_away {
                    eprintln!("shipwake: {error:#}; waiting");
                }
                is_away = true;
                continue;
            }
        };
        if is_away {
            eprintln!("shipwake: {} answers again", asker.base);
        }
        is_away = false;
        let now = warnings(&answer);
        if now != warned {
            match now.is_empty() {
                true => eprintln!("shipwake: the newest lines of all shards are there again"),
                false => now.iter().for_each(|warning| eprintln!("shipwake: {warning}")),
            }
            warned = now;
        }
        if let Some(skipped) = answer["skipped"].as_u64().filter(|skipped| *skipped > 0) {
            eprintln!("shipwake: {skipped} more lines came at once and are left out; a narrower search shows them");
        }
        let is_new = |line: &&Value| !printed.iter().any(|id| id == text(&line["id"]));
        for line in answer["lines"].as_array().into_iter().flatten().filter(is_new) {
            print(args.format, line)?;
        }
        cursor = answer["cursor"].clone();
    }
}

/// What an answer lacks, in words: the newest lines of shards whose owner does not answer, for one.
fn warnings(answer: &Value) -> Vec<String> {
    answer["meta"]["warnings"].as_array().into_iter().flatten().map(|warning| text(warning).to_owned()).collect()
}

/// When nothing was found: what keeps the most lines away.
fn hint(without: &Value) {
    for one in without.as_array().into_iter().flatten().take(HINTS_MAX) {
        let at_least = if one["at_least"] == true { " or more" } else { "" };
        eprintln!("shipwake: no line; without {} there are {}{at_least}", text(&one["condition"]), one["lines"]);
    }
}

fn filters(args: &LogsArgs) -> Value {
    json!({"q": args.search.as_deref().unwrap_or(""), "service": args.service, "env": args.env, "version": args.version})
}

/// Where the API is.
struct Asker {
    base: String,
    client: reqwest::Client,
    search: String,
}

impl Asker {
    /// An answer, or the exit code after the reason was said.
    async fn ask(&self, what: &str, body: Value) -> anyhow::Result<Result<Value, ExitCode>> {
        let base = &self.base;
        let sent = self.client.post(format!("{base}/api/v1/logs/{what}")).json(&body).send().await;
        let answer = sent
            .with_context(|| format!("no Shipwake answers at {base} (start it with `shipwake serve`, or say --url)"))?;
        let status = answer.status();
        let bytes = answer.bytes().await.context("the answer broke off")?;
        if status.is_success() {
            return Ok(Ok(serde_json::from_slice(&bytes).context("the answer is not JSON")?));
        }
        match refusal(&self.search, &bytes) {
            Some(message) => eprintln!("{message}"),
            None => {
                eprintln!("{base} answers {status} and no query API: is it the port of the pages (4400 by default)?");
            }
        }
        Ok(Err(ExitCode::from(REFUSED)))
    }
}

fn print(format: LogsFormat, line: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        LogsFormat::Json => writeln!(out, "{line}")?,
        LogsFormat::Text => writeln!(out, "{}", in_words(line))?,
    }
    out.flush()?;
    Ok(())
}

/// `time LEVEL service version message name=value …`, without colours, and other control characters made visible. What goes on over
/// more lines, of the message or an attribute, stands below, further in: only a record begins at the left.
fn in_words(line: &Value) -> String {
    let level = text(&line["level"]).to_uppercase();
    let time = milliseconds(text(&line["time"]));
    let (message, rest) = lines_of(text(&line["body"]));
    let mut first = format!("{time} {level:<7} {} {} {message}", text(&line["service"]), text(&line["version"]));
    let mut below = String::new();
    rest.for_each(|line| put_below(&mut below, 1, line));
    for (name, value) in line["attrs"].as_object().into_iter().flatten() {
        let (value, mut rest) = lines_of(text(value));
        match rest.next() {
            None => first += &format!(" {name}={value}"),
            Some(second) => {
                put_below(&mut below, 1, &format!("{name}={value}"));
                std::iter::once(second).chain(rest).for_each(|line| put_below(&mut below, 2, line));
            }
        }
    }
    visible_line(&first) + &below
}

/// The first line of a text, and the others. Line ends at its end are none.
fn lines_of(text: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut lines = text.trim_end_matches(['\n', '\r']).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    (lines.next().unwrap_or_default(), lines)
}

/// Appends a line that is so far in. Tabs that it begins with are as wide: frames of a stack trace do.
fn put_below(out: &mut String, depth: usize, line: &str) {
    let content = line.trim_start_matches('\t');
    out.push('\n');
    if !content.is_empty() {
        out.push_str(&INDENT.repeat(depth + line.len() - content.len()));
        out.push_str(&visible_line(content));
    }
}

/// A time of the API (RFC 3339, UTC, as many digits as it needs) in milliseconds, so that columns line up.
fn milliseconds(time: &str) -> String {
    let (seconds, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    format!("{seconds}.{:0<3.3}Z", fraction)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_act_on_a_terminal_is_shown_and_line_ends_are_line_ends() {
        let check = |body: &str, attributes: Value, expected: &str| {
            let line = json!({"time": "2026-11-23T14:00:00Z", "level": "error", "service": "checkout", "version": "2.14.0",
                "body": body, "attrs": attributes});
            assert_eq!(
                in_words(&line),
                format!("2026-11-23T14:00:00.000Z ERROR   checkout 2.14.0 {expected}"),
                "{body:?}"
            );
        };
        let order = json!({"order.id": "A-17"});
        check("card \u{1b}[31mdeclined\u{1b}[0m\u{7}", order.clone(), r"card declined\u{7} order.id=A-17");
        check("a\tb\rc\n", json!({}), r"a\tb\rc");
        check(
            "Boom: no\r\n\tat a.B\r\n\t\t... 2 more\n\nCaused by: \u{1b}[2Jx\ty\u{202e}\n",
            order,
            "Boom: no order.id=A-17\n        at a.B\n            ... 2 more\n\n    Caused by: x\\ty\\u{202e}",
        );
        check(
            "failed",
            json!({"exception.stacktrace": "E: x\n\tat f\n", "k": "v"}),
            "failed k=v\n    exception.stacktrace=E: x\n            at f",
        );
    }

    #[test]
    fn no_text_of_a_line_begins_where_a_record_does() {
        let forged = "x\n2026-11-23T14:00:00.000Z FATAL   bank 1 robbed\n\u{b}\n\u{85}2026";
        let line = json!({"body": forged, "attrs": {"a\n2026": "b\n2026"}});
        let shown = in_words(&line);
        assert!(shown.split('\n').skip(1).all(|line| line.is_empty() || line.starts_with(INDENT)), "{shown}");
    }

    #[test]
    fn what_an_answer_lacks_is_told() {
        let answer = json!({"lines": [], "meta": {"warnings": ["the newest records of shard 1 are missing"]}});
        assert_eq!(warnings(&answer), ["the newest records of shard 1 are missing"]);
        assert!(warnings(&json!({"lines": []})).is_empty());
    }

    #[test]
    fn times_have_one_width() {
        for (time, expected) in [
            ("2026-11-23T14:00:00Z", "2026-11-23T14:00:00.000Z"),
            ("2026-11-23T14:00:00.7Z", "2026-11-23T14:00:00.700Z"),
            ("2026-11-23T14:00:00.378629632Z", "2026-11-23T14:00:00.378Z"),
        ] {
            assert_eq!(milliseconds(time), expected);
        }
    }
}
