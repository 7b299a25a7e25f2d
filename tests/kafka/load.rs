//! The load generator and its judge: what was acknowledged, as an oracle outside of the server knows it, has to be in logs,
//! spans and windows once.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::broker::pause;
use crate::harness::{LIMIT, Shipwake};

/// A generator that runs until it is stopped. Requests are repeated for long enough to outlast an election.
pub struct Load(Child);

impl Load {
    pub fn start(ports: [u16; 3], oracle: &Path, rate: &str) -> Self {
        Self::start_at(&format!("http://127.0.0.1:{}", ports[0]), oracle, rate)
    }

    /// To several processes: endpoints of OTLP/gRPC, separated by commas.
    pub fn start_at(endpoints: &str, oracle: &Path, rate: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_shipwake"))
            .args(["load", "--rate", rate, "--duration", "10m", "--batch", "50", "--cardinality", "200"])
            .args(["--give-up", "60s", "--endpoint", endpoints])
            .arg("--oracle")
            .arg(oracle)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        Load(child)
    }

    /// Ctrl-C: it finishes what is in flight and writes the end of the oracle.
    pub fn stop(mut self) {
        let asked = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().expect("kill exists");
        assert!(asked.success(), "the generator ran until the end");
        let deadline = Instant::now() + 3 * LIMIT;
        while self.0.try_wait().expect("it was started here").is_none() {
            assert!(Instant::now() < deadline, "the generator does not stop");
            pause();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that was acknowledged is there once, and nothing else.
pub fn judge(shipwake: &Shipwake, oracle: &Path) {
    let judge = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "check", "--wait", "60s", "--url", &shipwake.ui(), "--oracle"])
        .arg(oracle)
        .output()
        .expect("it runs");
    let said = [judge.stdout, judge.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{said}");
    assert!(judge.status.success(), "{said}\n{}", shipwake.log());
}
