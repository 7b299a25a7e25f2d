//! `shipwake alerts`: a file of receivers is checked, and receivers are tried out, before anything depends on them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/alerts/alerts.yaml");
const SECRETS: [(&str, &str); 4] = [
    ("SLACK_URL", "https://hooks.slack.com/services/T0/B0/canary"),
    ("PAGERDUTY_KEY", "R0123456789012345678901234canary"),
    ("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("WEBHOOK_SECRET_OLD", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
];

/// Whether it went well, and what it said.
fn alerts(words: &[&str], file: &Path, rest: &[&str], env: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
    command.arg("alerts").args(words).arg(file).args(rest).envs(env.iter().copied());
    let out = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(!said.contains("canary"), "a secret is shown: {said}");
    (out.status.success(), said)
}

/// A receiver that answers one request.
fn receiver(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/canary", socket.local_addr().expect("an address"));
    let request = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().expect("a connection");
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while !bytes.ends_with(b"}") {
            let read = stream.read(&mut chunk).expect("a request");
            bytes.extend_from_slice(&chunk[..read]);
        }
        stream.write_all(answer.as_bytes()).expect("answered");
        String::from_utf8(bytes).expect("text")
    });
    (url, request)
}

#[test]
fn the_example_is_valid_and_a_mistake_is_named_with_its_line() {
    let (is_valid, said) = alerts(&["check"], Path::new(EXAMPLE), &[], &SECRETS);
    assert!(is_valid && said.contains("4 receivers, valid"), "{said}");
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("alerts.yaml");
    std::fs::write(&file, "receivers:\n  - name: chat\n    slak: { url: { env: SLACK_URL } }\n").expect("written");
    let (is_valid, said) = alerts(&["check"], &file, &[], &SECRETS);
    assert!(!is_valid && said.contains("line 3: unknown key `slak`; did you mean `slack`?"), "{said}");
}

#[test]
fn receivers_are_tried_out_and_say_what_they_answer() {
    let (chat, of_chat) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let (hook, of_hook) = receiver("HTTP/1.1 404 Not Found\r\ncontent-length: 17\r\n\r\nnothing at canary");
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("alerts.yaml");
    let yaml = "receivers:
  - { name: chat, slack: { url: { env: CHAT } } }
  - { name: hook, webhook: { url: { env: HOOK }, secrets: [{ env: WEBHOOK_SECRET }] } }";
    std::fs::write(&file, yaml).expect("written");
    let env = [SECRETS[2], ("CHAT", &chat), ("HOOK", &hook)];
    let (is_taken, said) = alerts(&["test"], &file, &["chat"], &env);
    assert!(is_taken && said.contains("chat: taken (status 200"), "{said}");
    assert!(of_chat.join().expect("asked").contains("Shipwake: a test"));
    let (is_taken, said) = alerts(&["test"], &file, &["hook"], &env);
    assert!(
        !is_taken && said.contains("hook: not taken (status 404") && said.contains("nothing at [secret]"),
        "{said}"
    );
    assert!(of_hook.join().expect("asked").contains("webhook-signature: v1,"));
    let (is_known, said) = alerts(&["test"], &file, &["pager"], &env);
    assert!(!is_known && said.contains("there is no receiver pager"), "{said}");
}
