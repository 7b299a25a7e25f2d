//! `shipwake gate`: waits until a release is judged, and says so by its exit code: 0 go, 1 no-go, 2 not decided in time, 3 an error.
//!
//! A server that is restarted, or cannot be reached for a while, is waited for: only a decision, the end of the time or a question
//! that makes no sense ends it. Whatever goes wrong, it never ends with 0.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::{GateArgs, GateFormat};
use crate::query_command::base_of;
use crate::visible::visible;

/// Exit codes; a pipeline acts on them.
const NO_GO: u8 = 1;
const UNDECIDED: u8 = 2;
const ERROR: u8 = 3;
/// How long the server holds an answer back that has not changed: below what proxies in between allow.
const POLL: Duration = Duration::from_secs(9);
/// What a request may take beyond that.
const REQUEST_EXTRA: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Between two attempts while the server is away.
const AGAIN: Duration = Duration::from_secs(1);
/// The figures of a sentence change with every window; so often they are told anew.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Runs the command. It has no error of its own: what goes wrong is said on standard error, and is exit code 3.
pub fn run(args: &GateArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(wait(args)),
        Err(error) => Outcome { code: ERROR, reason: error.to_string(), answer: Value::Null },
    };
    say(args, &outcome);
    ExitCode::from(outcome.code)
}

/// Says what is wrong with a command line, and ends: as an error, not as "not decided", when it was to be a gate or a replay.
pub fn refuse(error: &clap::Error) -> ! {
    let is_gate = std::env::args().nth(1).is_some_and(|command| command == "gate" || command == "verdict");
    // Nobody is there to read it.
    let _ = error.print();
    std::process::exit(if is_gate && error.use_stderr() { ERROR.into() } else { error.exit_code() })
}

/// How it ended.
struct Outcome {
    code: u8,
    reason: String,
    /// The last one, or null.
    answer: Value,
}

/// What came of one request.
#[derive(Debug, PartialEq)]
enum Heard {
    Answer(Value),
    /// Waiting may help.
    Away(String),
    /// It does not.
    Refused(String),
}

async fn wait(args: &GateArgs) -> Outcome {
    let ended = |code, reason: String, answer: Value| Outcome { code, reason, answer };
    let client = reqwest::Client::builder().connect_timeout(CONNECT_MAX).timeout(POLL + REQUEST_EXTRA).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return ended(ERROR, error.to_string(), Value::Null),
    };
    let started = Instant::now();
    let mut teller = Teller { args, started, last: None, is_away: false };
    let mut last = Value::Null;
    loop {
        // The first answer comes at once, later ones when the word changes.
        let left = args.timeout.saturating_sub(started.elapsed());
        let seen = last["sequence"].as_u64();
        match ask(args, &client, seen.map(|seen| (seen, POLL.min(left)))).await {
            Heard::Answer(answer) => {
                teller.tell(&answer);
                last = answer;
                if let Some((code, reason)) = decided(&last) {
                    return ended(code, reason, last);
                }
                if started.elapsed() >= args.timeout {
                    let reason = format!("not decided within {}: {}", span(args.timeout), text(&last["summary"]));
                    return ended(UNDECIDED, reason, last);
                }
                // Where an answer comes early, as from a server that has too many who wait.
                tokio::time::sleep(AGAIN.min(args.timeout.saturating_sub(started.elapsed()))).await;
            }
            // A proxy in front has words of its own while what is behind it restarts.
            Heard::Refused(reason) if !last.is_null() && started.elapsed() < args.timeout => {
                teller.tell_away(&reason);
                tokio::time::sleep(AGAIN).await;
            }
            Heard::Refused(reason) => return ended(ERROR, reason, last),
            Heard::Away(reason) if started.elapsed() + AGAIN >= args.timeout => {
                return ended(ERROR, format!("no answer within {}: {reason}", span(args.timeout)), last);
            }
            Heard::Away(reason) => {
                teller.tell_away(&reason);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// One request; with what was seen, it is answered when there is something else, or after a while.
async fn ask(args: &GateArgs, client: &reqwest::Client, seen: Option<(u64, Duration)>) -> Heard {
    let base = base_of(&args.url);
    let mut query: Vec<(&str, String)> = vec![("service", args.service.clone())];
    let optional = [
        ("namespace", &args.namespace),
        ("env", &args.env),
        ("candidate", &args.candidate),
        ("baseline", &args.baseline),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    if let Some((sequence, wait)) = seen {
        query.push(("after", sequence.to_string()));
        query.push(("wait", format!("{}ms", wait.as_millis())));
    }
    let response = match client.get(format!("{base}/v1/verdict")).query(&query).send().await {
        Ok(response) => response,
        Err(error) => return Heard::Away(format!("no Shipwake answers at {base}: {}", cause(&error))),
    };
    let status = response.status();
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(error) => return Heard::Away(format!("an answer broke off: {}", cause(&error))),
    };
    heard(&base, status.as_u16(), &bytes)
}

/// What an answer means. Pure.
fn heard(base: &str, status: u16, bytes: &[u8]) -> Heard {
    let read: Option<Value> = serde_json::from_slice(bytes).ok();
    let detail = read.as_ref().and_then(|read| read["detail"].as_str());
    match (status, read.as_ref()) {
        (200, Some(answer)) if answer["verdict"].is_string() => Heard::Answer(answer.clone()),
        (408 | 425 | 429 | 500.., _) => {
            Heard::Away(format!("{base} answers {status}: {}", detail.unwrap_or("no more is said")))
        }
        (400..=499, _) if detail.is_some() => Heard::Refused(detail.unwrap_or_default().to_owned()),
        _ => Heard::Refused(format!(
            "{base} answers {status} and no verdicts: is it the port of the pages (4400 by default)?"
        )),
    }
}

/// Whether an answer ends it: a decision, or that there will be none. Pure.
fn decided(answer: &Value) -> Option<(u8, String)> {
    let summary = text(&answer["summary"]).to_owned();
    let reason = text(&answer["reason"]);
    match text(&answer["verdict"]) {
        "go" if answer["ok"] == true => Some((0, summary)),
        "no_go" => Some((NO_GO, summary)),
        _ if reason.starts_with("ambiguous") => Some((ERROR, summary)),
        _ => {
            // The sentence of a release that has ended says how.
            answer["ending"].as_str()?;
            Some((UNDECIDED, summary))
        }
    }
}

/// Tells what changes, once.
struct Teller<'a> {
    args: &'a GateArgs,
    started: Instant,
    /// What was told last, without its figures, and when.
    last: Option<(String, Instant)>,
    is_away: bool,
}

impl Teller<'_> {
    fn tell(&mut self, answer: &Value) {
        if self.is_away {
            self.line("Shipwake answers again");
            self.is_away = false;
        }
        let line = format!("{:<6} {}", word(answer), text(&answer["summary"]));
        let without_figures: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
        let is_told = self.last.as_ref().is_some_and(|(last, at)| *last == without_figures && at.elapsed() < SAY_AGAIN);
        if !is_told {
            self.line(&line);
            self.last = Some((without_figures, Instant::now()));
        }
    }

    fn tell_away(&mut self, reason: &str) {
        if !self.is_away {
            self.line(&format!("{reason}; waiting"));
            self.is_away = true;
        }
    }

    /// A line with the time that has passed in front. In JSON, standard output is for the document.
    fn line(&self, line: &str) {
        let passed = self.started.elapsed().as_secs();
        let line = format!("{:>3}:{:02}  {}", passed / 60, passed % 60, visible(line));
        match self.args.format {
            GateFormat::Text => print(std::io::stdout().lock(), &line),
            GateFormat::Json => print(std::io::stderr().lock(), &line),
        }
    }
}

/// The last words: the reason, and where to look.
fn say(args: &GateArgs, outcome: &Outcome) {
    let answer = &outcome.answer;
    let link = match (answer["url"].as_str(), answer["page"].as_str()) {
        (Some(url), _) => Some(url.to_owned()),
        (None, Some(page)) => Some(format!("{}{page}", base_of(&args.url))),
        _ => None,
    };
    if args.format == GateFormat::Json && !answer.is_null() {
        print(std::io::stdout().lock(), &answer.to_string());
    }
    if outcome.code == ERROR {
        print(std::io::stderr().lock(), &format!("shipwake: {}", visible(&outcome.reason)));
        return;
    }
    if args.format == GateFormat::Text {
        let name = ["GO", "NO-GO", "UNDECIDED"][usize::from(outcome.code)];
        let what = [text(&answer["service"]), text(&answer["candidate"])].join(" ");
        let link = link.map(|link| format!(" {link}")).unwrap_or_default();
        print(std::io::stdout().lock(), &visible(&format!("{name}: {} {}{link}", what.trim(), outcome.reason)));
    }
}

/// Prints a line. A reader that has gone away changes nothing about the exit code.
fn print(mut out: impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn word(answer: &Value) -> &'static str {
    match text(&answer["verdict"]) {
        "go" => "GO",
        "no_go" => "NO-GO",
        "watch" => "WATCH",
        _ => "WAIT",
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// A time as people say it.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 120 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// The bottom of an error: what is above it repeats the address.
fn cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_decision_ends_it_and_only_go_is_zero() {
        let check = |answer: Value, expected: Option<u8>| {
            assert_eq!(decided(&answer).map(|(code, _)| code), expected, "{answer}");
        };
        check(json!({"verdict": "go", "ok": true}), Some(0));
        check(json!({"verdict": "go", "ok": true, "ending": "promoted"}), Some(0));
        check(json!({"verdict": "go", "ok": false}), None);
        check(json!({"verdict": "no_go", "ok": false}), Some(1));
        check(json!({"verdict": "wait", "reason": "unknown_release"}), None);
        check(json!({"verdict": "watch"}), None);
        check(json!({"verdict": "wait", "reason": "ambiguous_environment"}), Some(3));
        check(json!({"verdict": "wait", "ending": "rolled_back"}), Some(2));
        check(json!({"verdict": "hurray"}), None);
        check(Value::Null, None);
    }

    #[test]
    fn what_may_pass_is_waited_for_and_a_wrong_question_is_not() {
        let of = |status, body: &str| heard("http://a", status, body.as_bytes());
        assert!(matches!(of(200, r#"{"verdict":"wait"}"#), Heard::Answer(_)));
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(of(status, "<html>"), Heard::Away(_)), "{status}");
        }
        assert_eq!(of(400, r#"{"detail":"unknown argument"}"#), Heard::Refused("unknown argument".to_owned()));
        for (status, body) in [(404, "not found"), (200, "<html>"), (200, r#"{"status":"success"}"#), (301, "")] {
            assert!(matches!(of(status, body), Heard::Refused(_)), "{status} {body}");
        }
    }
}
