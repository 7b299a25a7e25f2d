//! `shipwake logs`: prints what a search finds, says by its exit code whether there is anything, and follows over a restart. The id of
//! a line holds when the server is killed and replays its journal.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{LIMIT, Shipwake, Start, free_ports, spawn, start};
use crate::otlp::now_ns;

fn command(shipwake: &Shipwake, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
    command.arg("logs").args(arguments).args(["--url", &shipwake.ui()]);
    command
}

fn run(shipwake: &Shipwake, arguments: &[&str]) -> Output {
    command(shipwake, arguments).output().expect("the binary was built by cargo")
}

async fn send(shipwake: &Shipwake, text: &str) {
    let url = format!("{}/v1/lines?service=shop&version=1.0&environment=prod&instance=a", shipwake.http());
    let answer = reqwest::Client::new().post(url).body(text.to_owned()).send().await.expect("an answer");
    assert!(answer.status().is_success());
}

async fn wait_lines(shipwake: &Shipwake, lines: i64) {
    shipwake.wait_number("select count(*) from logs where service = 'shop'", lines).await;
}

#[tokio::test]
async fn what_is_found_is_printed_and_the_exit_code_says_whether_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    send(&shipwake, "order A-1 placed\norder A-2 placed\ncard declined for order A-2").await;
    wait_lines(&shipwake, 3).await;
    let found = run(&shipwake, &["\"order A-2\"", "--service", "shop"]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((found.status.code(), lines.len()), (Some(0), 2), "{text}");
    assert!(lines[0].ends_with("shop 1.0 order A-2 placed"), "oldest first: {text}");
    assert!(lines[1].ends_with("shop 1.0 card declined for order A-2"), "{text}");
    let newest = run(&shipwake, &["--limit", "1", "--format", "json"]);
    let line: Value = serde_json::from_slice(&newest.stdout).expect("one object");
    assert_eq!(line["body"], "card declined for order A-2");
    assert_eq!(run(&shipwake, &["nowhere"]).status.code(), Some(3));
    let refused = run(&shipwake, &["order (a"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("not closed") && said.contains("\n  order (a\n        ^"), "{said}");
}

#[tokio::test]
async fn a_stack_trace_is_printed_as_lines_below_its_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    send(
        &shipwake,
        "ERROR Boom: it is \u{1b}[31mred\u{1b}[0m\u{7}\n\tat com.acme.Foo.bar(Foo.java:7)\nCaused by: Bang",
    )
    .await;
    wait_lines(&shipwake, 1).await;
    let found = run(&shipwake, &["boom"]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let [first, rest @ ..] = &lines[..] else { panic!("{text}") };
    assert!(first.ends_with("shop 1.0 ERROR Boom: it is red\\u{7}"), "{text}");
    assert_eq!(rest, ["        at com.acme.Foo.bar(Foo.java:7)", "    Caused by: Bang"], "{text}");
}

#[tokio::test]
async fn no_lines_are_asked_for_to_know_whether_there_is_one_or_to_see_only_those_that_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    send(&shipwake, "order A-1 placed").await;
    wait_lines(&shipwake, 1).await;
    let code_of = |search: &str| {
        let found = run(&shipwake, &[search, "-n", "0"]);
        assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
        found.status.code()
    };
    assert_eq!((code_of("order"), code_of("nowhere")), (Some(0), Some(3)));
    let followed = Followed::start(command(&shipwake, &["-n", "0", "--follow"]));
    // It follows from when it has asked; a line of before it would be the first that is printed.
    for number in 0.. {
        send(&shipwake, &format!("order B-{number} placed")).await;
        if let Ok(line) = followed.lines.recv_timeout(Duration::from_secs(2)) {
            assert!(line.contains("order B-"), "{line}");
            break;
        }
        assert!(number < 30, "nothing is printed");
    }
}

#[tokio::test]
async fn a_time_is_given_as_a_person_writes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    // An hour of today or yesterday.
    let ten_s = now_ns() / 3_600_000_000_000 * 3_600 - 3 * 3_600;
    let lines = [(0, "before"), (60, "at the minute"), (1_800, "later")]
        .map(|(after_s, text)| format!("{{\"time\":{},\"msg\":\"{text}\"}}", ten_s + after_s));
    send(&shipwake, &lines.join("\n")).await;
    wait_lines(&shipwake, 3).await;
    let at = |after_s: u64, form: &str| {
        let date = Command::new("date").args(["-u", "-d", &format!("@{}", ten_s + after_s), form]).output();
        String::from_utf8(date.expect("date exists").stdout).expect("text").trim().to_owned()
    };
    for (from, to) in [
        (at(60, "+%Y-%m-%d %H:%M"), at(1_860, "+%Y-%m-%d %H:%M")),
        (at(60, "+%Y-%m-%dT%H:%M:%S"), at(1_860, "+%Y-%m-%dT%H:%MZ")),
        (at(3_660, "+%Y-%m-%d %H:%M:%S+01:00"), at(36 * 3_600, "+%Y-%m-%d")),
    ] {
        let found = run(&shipwake, &["--from", &from, "--to", &to]);
        let text = String::from_utf8_lossy(&found.stdout).into_owned() + &String::from_utf8_lossy(&found.stderr);
        assert_eq!(text.lines().count(), 2, "{from} to {to}: {text}");
    }
    let refused = run(&shipwake, &["--from", "yesterday"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for form in ["now-30m", "2026-11-23 14:00", "2026-11-23T14:00:00Z", "epoch milliseconds"] {
        assert!(said.contains(form), "{said}");
    }
}

#[tokio::test]
async fn nothing_of_a_json_line_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let ahead = now_ns() + 3 * 3_600_000_000_000;
    let lines = [
        r#"{"nested":{"a":{"b":null}},"msg":"with nothing"}"#.to_owned(),
        r#"{"message":{"text":"obj message","order":{"id":17}}}"#.to_owned(),
        format!(r#"{{"msg":"from the future","time":{ahead}}}"#),
    ];
    send(&shipwake, &lines.join("\n")).await;
    wait_lines(&shipwake, 3).await;
    let found = |search: &str| {
        let found = run(&shipwake, &[search, "--format", "json"]);
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(text.lines().count(), 1, "{search}: {text}{}", String::from_utf8_lossy(&found.stderr));
        serde_json::from_str::<Value>(&text).expect("one object")
    };
    assert_eq!(found("nested.a.b:*")["body"], "with nothing");
    assert_eq!(found("\"obj message\"")["attrs"]["message.order.id"], "17");
    assert_eq!(found("message.order.id:17")["body"], r#"{"order":{"id":17},"text":"obj message"}"#);

    // The row says its own time, the page whose clock it is, and the counter how often.
    let line = found("shipwake.original_time:*");
    assert_eq!(line["body"], "from the future");
    let said = line["attrs"]["shipwake.original_time"].as_str().expect("a text");
    assert_eq!(shipwake_model::moment::parse(said), Some((ahead / 1_000_000).cast_signed()), "{said}");
    let pipeline = shipwake.api("/api/v1/pipeline").await;
    let problems = pipeline["problems"].as_array().expect("a list");
    let is_told =
        |problem: &&Value| problem.as_str().is_some_and(|text| text.contains("clock of service shop is ahead"));
    assert_eq!(problems.iter().filter(is_told).count(), 1, "{pipeline}");
    assert_eq!(shipwake.metric("shipwake_records_ahead_total", "shop").await, 1.0);
}

/// Lines that are read before the test looks at them.
const LINES_AHEAD: usize = 100;

struct Followed {
    child: Child,
    lines: Receiver<String>,
}

impl Followed {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary was built by cargo");
        let out: ChildStdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = sync_channel(LINES_AHEAD);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn following_goes_on_over_a_kill_with_every_line_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let start = Start { data: &data, options: &[], ports: Some(free_ports()) };
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    send(&shipwake, "before 1\nbefore 2").await;
    wait_lines(&shipwake, 2).await;
    let followed = Followed::start(command(&shipwake, &["--follow", "--service", "shop"]));
    assert!(followed.next().ends_with("before 1") && followed.next().ends_with("before 2"));
    send(&shipwake, "while it runs").await;
    assert!(followed.next().ends_with("while it runs"));
    shipwake.kill();
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    send(&shipwake, "after the kill").await;
    assert!(followed.next().ends_with("after the kill"), "nothing is printed twice");
}

/// The number of a line is in the journal's order, so a replay gives the same.
#[tokio::test]
async fn the_id_of_a_line_holds_over_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let start = Start { data: &data, options: &[], ports: Some(free_ports()) };
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    for batch in 0..20 {
        send(&shipwake, &format!("line {batch}-0\nline {batch}-1\nline {batch}-2")).await;
    }
    wait_lines(&shipwake, 60).await;
    let ask = async |shipwake: &Shipwake| {
        let url = format!("{}/api/v1/logs/search", shipwake.ui());
        let answer = reqwest::Client::new().post(url).json(&json!({"q": "line"})).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["lines"].clone()
    };
    let before = ask(&shipwake).await;
    shipwake.kill();
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    wait_lines(&shipwake, 60).await;
    assert_eq!(ask(&shipwake).await, before);
    let id = before[7]["id"].as_str().expect("an id");
    let around = shipwake.api(&format!("/api/v1/logs/context?line={id}&before=1&after=1")).await;
    assert_eq!(around["line"]["body"], before[7]["body"]);
    assert_eq!((&around["before"][0]["id"], &around["after"][0]["id"]), (&before[8]["id"], &before[6]["id"]));
}
