//! A program of the distribution, running.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::harness::eventually;

/// Ended when it is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `program`, which stays in the foreground.
    pub fn start(program: &str, args: &[&str]) -> Self {
        Self::with_stdout(program, args, Stdio::null())
    }

    /// Starts it and gives its standard output.
    pub fn start_piped(program: &str, args: &[&str]) -> (Self, ChildStdout) {
        let mut process = Self::with_stdout(program, args, Stdio::piped());
        let stdout = process.child.stdout.take().expect("it is piped");
        (process, stdout)
    }

    fn with_stdout(program: &str, args: &[&str], stdout: Stdio) -> Self {
        let found = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(program));
        let found = found.iter().find(|path| path.exists());
        let path = found.unwrap_or_else(|| panic!("{program} is missing: make needs-test installs it"));
        let child = Command::new(path).args(args).stdin(Stdio::null()).stdout(stdout).spawn();
        Process { child: child.unwrap_or_else(|error| panic!("{program}: {error}")) }
    }

    /// Asks it to end, which writes what it still has, and waits.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.end();
        }
    }
}

/// Waits until somebody listens on the port.
pub async fn listens(port: u16) {
    eventually(&format!("somebody listens on {port}"), || async {
        TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    })
    .await;
}

/// Whether the tests run as root, which servers do not like to do.
pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id exists");
    id.stdout.trim_ascii() == b"0"
}
