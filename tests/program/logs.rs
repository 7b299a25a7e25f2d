//! `shipwake logs`: prints what a search finds, says by its exit code whether there is anything, and follows over a restart. The id of
//! a line holds when the server is killed and replays its journal.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::{Value, json};

use crate::harness::{LIMIT, Shipwake, Start, free_ports, spawn, start};

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
