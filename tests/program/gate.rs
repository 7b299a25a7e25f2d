//! `shipwake gate`: its exit code is what a pipeline acts on. In front of a server that answers as it is told to.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One answer: its status and its body. Status 0 closes the connection without one.
type Answer = (u16, &'static str);

const GO: Answer = (
    200,
    r#"{"verdict":"go","ok":true,"sequence":2,"summary":"Go on: errors less than 1.50x the baseline.","service":"checkout","candidate":"2.14.0","page":"/s/checkout?cand=2.14.0"}"#,
);
const NO_GO: Answer = (
    200,
    r#"{"verdict":"no_go","ok":false,"sequence":2,"summary":"Roll back: errors 0.5 % → 30 %.","service":"checkout","candidate":"2.14.0","url":"https://pages/s/checkout"}"#,
);
const WAIT: Answer = (
    200,
    r#"{"verdict":"wait","ok":false,"sequence":1,"summary":"Wait: about 340 more requests, 4 min.","service":"checkout","candidate":"2.14.0"}"#,
);
const BUSY: Answer = (503, r#"{"title":"Nothing is known yet","detail":"Shipwake has just started"}"#);
const GONE: Answer = (0, "");

/// A server that gives these answers in turn, the last one for ever; and the paths that it was asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn server(answers: &[Answer]) -> Server {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", socket.local_addr().expect("an address"));
    let (asked, of_thread) = (Arc::new(Mutex::new(Vec::new())), answers.to_vec());
    let told = asked.clone();
    std::thread::spawn(move || {
        let mut left: VecDeque<Answer> = of_thread.into();
        for stream in socket.incoming() {
            let Ok(stream) = stream else { return };
            let next = if left.len() > 1 { left.pop_front() } else { left.front().copied() };
            answer(stream, next.expect("there is one"), &told);
        }
    });
    Server { url, asked }
}

fn answer(mut stream: TcpStream, (status, body): Answer, asked: &Mutex<Vec<String>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    asked.lock().expect("not poisoned").push(head.split(' ').nth(1).unwrap_or_default().to_owned());
    if status > 0 {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}

/// Exit code, standard output, standard error.
fn gate(url: &str, rest: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
    command.args(["gate", "--service", "checkout", "--candidate", "2.14.0", "--url", url]).args(rest);
    let out = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().expect("it ends by itself"), text(&out.stdout), text(&out.stderr))
}

#[test]
fn the_exit_code_is_the_verdict_and_the_last_line_says_why_and_where() {
    let (code, said, _) = gate(&server(&[WAIT, WAIT, GO]).url, &["--timeout", "60s"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("WAIT   Wait: about 340").count(), 1, "a sentence is told once: {said}");
    let last = said.lines().last().expect("a line");
    assert!(
        last.starts_with("GO: checkout 2.14.0 Go on: errors") && last.contains("/s/checkout?cand=2.14.0"),
        "{last}"
    );
    let (code, said, _) = gate(&server(&[NO_GO]).url, &["--env", "production"]);
    assert_eq!(code, 1);
    let last = said.lines().last().expect("a line");
    assert_eq!(last, "NO-GO: checkout 2.14.0 Roll back: errors 0.5 % → 30 %. https://pages/s/checkout");
    let (code, said, _) = gate(&server(&[WAIT]).url, &["--timeout", "1s"]);
    assert_eq!(code, 2);
    assert!(said.contains("UNDECIDED: checkout 2.14.0 not decided within 1 s: Wait: about 340"), "{said}");
}

#[test]
fn a_server_that_restarts_is_waited_for() {
    let busy = server(&[WAIT, GONE, BUSY, (502, "<html>"), (404, "default backend"), NO_GO]);
    let (code, said, _) = gate(&busy.url, &["--timeout", "60s"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(said.matches("; waiting").count(), 1, "told once: {said}");
    assert!(said.contains("Shipwake answers again"), "{said}");
    let asked = busy.asked.lock().expect("not poisoned").clone();
    assert_eq!(asked[0], "/v1/verdict?service=checkout&candidate=2.14.0");
    assert!(asked[1].contains("&after=1&wait="), "then it waits for a change: {asked:?}");
}

#[test]
fn what_is_no_answer_is_an_error_and_never_go() {
    let (code, _, said) = gate("http://127.0.0.1:1", &["--timeout", "0s"]);
    assert_eq!(code, 3);
    assert!(said.contains("no answer within 0 s: no Shipwake answers at http://127.0.0.1:1"), "{said}");
    let ambiguous = r#"{"verdict":"wait","reason":"ambiguous_environment","sequence":0,"summary":"say `env`"}"#;
    for (answer, why) in [
        ((404, "not found"), "is it the port of the pages"),
        ((400, r#"{"detail":"unknown argument `x`"}"#), "unknown argument"),
        ((200, r#"{"verdict":7}"#), "no verdicts"),
        ((200, ambiguous), "say `env`"),
    ] {
        let (code, _, said) = gate(&server(&[answer]).url, &["--timeout", "60s"]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains(why), "{said}");
    }
    let (code, _, said) = gate(&server(&[BUSY]).url, &["--timeout", "1s"]);
    assert_eq!(code, 3);
    assert!(said.contains("Shipwake has just started"), "{said}");
    // A variable that nobody set must not ask for whatever release there is; and a mistake is not "undecided".
    for wrong in [&["--candidate", ""][..], &["--timeout", "soon"], &["--nonsense"]] {
        assert_eq!(gate("http://127.0.0.1:1", wrong).0, 3, "{wrong:?}");
    }
}

#[test]
fn json_is_the_last_answer_as_it_is() {
    let (code, said, told) = gate(&server(&[WAIT, GO]).url, &["--format", "json"]);
    let read: serde_json::Value = serde_json::from_str(&said).expect("one document");
    assert_eq!((code, &read["verdict"]), (0, &serde_json::json!("go")));
    assert!(told.contains("WAIT   Wait"), "{told}");
}

#[test]
fn a_reader_that_has_gone_away_is_no_go_ahead() {
    let server = server(&[NO_GO]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
    command.args(["gate", "--service", "checkout", "--candidate", "2.14.0", "--url", &server.url]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command.stdout(writer).status().expect("it runs");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn the_examples_call_it_as_it_is() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |name: &str| std::fs::read_to_string(format!("{root}/deploy/hooks/{name}")).expect("an example");
    let server = server(&[GO]);
    // Argo's job: the arguments stand one in a line.
    let job = read("argo-rollouts/analysis-templates.yaml");
    let args: Vec<String> = job
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --"))
        .map(|arg| format!("--{arg}"))
        .map(|arg| arg.replace("{{args.service}}", "checkout").replace("{{args.env}}", "production"))
        .map(|arg| arg.replace("{{args.candidate}}", "2.14.0"))
        .map(|arg| arg.replace("http://shipwake.shipwake.svc:4400", &server.url))
        .collect();
    assert_eq!(args.len(), 5, "{args:?}");
    let status = Command::new(env!("CARGO_BIN_EXE_shipwake")).arg("gate").args(&args).status().expect("it runs");
    assert_eq!(status.code(), Some(0));
    // GitHub's step: a line of a shell.
    let workflow = read("github/workflow.yaml");
    let line = workflow.lines().find_map(|line| line.trim().strip_prefix("run: shipwake gate ")).expect("a step");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{} gate {line}", env!("CARGO_BIN_EXE_shipwake"))]);
    shell.env("GITHUB_REF_NAME", "v2.14.0").env("SHIPWAKE_URL", &server.url);
    assert_eq!(shell.status().expect("it runs").code(), Some(0));
    let asked = server.asked.lock().expect("not poisoned").clone();
    let expected = "/v1/verdict?service=checkout&env=production&candidate=2.14.0";
    assert_eq!(asked, [expected, expected]);
}
