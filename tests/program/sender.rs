//! `shipwake pipe` and `shipwake tail` as a person starts them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::harness::LIMIT;

/// A running sender.
pub struct Sender {
    child: Child,
    stdin: Option<ChildStdin>,
    said: PathBuf,
    stdout: PathBuf,
}

impl Sender {
    pub fn pipe(endpoint: &str, options: &[&str]) -> Self {
        Self::pipe_of(endpoint, Stdio::piped(), &[&["--service", "piped", "--version", "1.0"], options].concat())
    }

    pub fn tail(endpoint: &str, state: &Path, files: &[&Path], options: &[&str]) -> Self {
        Self::tail_of(endpoint, state, files, &[&["--service", "tailed", "--version", "1.0"], options].concat())
    }

    /// The same, with nothing said about the lines but in `options`.
    pub fn tail_of(endpoint: &str, state: &Path, files: &[&Path], options: &[&str]) -> Self {
        let mut args = vec!["tail", "--endpoint", endpoint, "--state", state.to_str().expect("text")];
        args.extend(files.iter().map(|file| file.to_str().expect("text")));
        args.extend_from_slice(options);
        Self::start(&args, Stdio::piped())
    }

    /// A pipe that reads what another program writes.
    pub fn pipe_of(endpoint: &str, stdin: Stdio, options: &[&str]) -> Self {
        Self::start(&[&["pipe", "--endpoint", endpoint], options].concat(), stdin)
    }

    fn start(args: &[&str], stdin: Stdio) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sender-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let file = |ending: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{ending}"));
        let (said, stdout) = (file("err"), file("out"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_shipwake"))
            .args(args)
            .stdin(stdin)
            .stdout(File::create(&stdout).expect("a file"))
            .stderr(File::create(&said).expect("a file"))
            .spawn()
            .expect("the binary was built by cargo");
        let stdin = child.stdin.take();
        Sender { child, stdin, said, stdout }
    }

    /// Writes to its standard input.
    pub fn write(&mut self, text: &str) {
        self.stdin.as_mut().expect("open").write_all(text.as_bytes()).expect("it reads");
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// What it said on standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).expect("readable")
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).expect("readable")
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it was started here");
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill exists");
        assert!(sent.success());
    }

    /// Waits for its end and gives the exit code.
    pub async fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("it was started here") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "still running:\n{}", self.said());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_file(&self.said);
            let _ = std::fs::remove_file(&self.stdout);
        }
    }
}

/// Lines `from..to`, each different.
pub fn lines(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("line {n}\n")).collect()
}
