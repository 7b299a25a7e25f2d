//! The producer and the judge. The producer (`shipwake load`) writes down what it sends and what was acknowledged in a file outside of
//! the server; the judge (`shipwake load check`) compares that with rows, windows and searches, and the counters have to add up.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Shipwake, eventually};

/// A generator that runs until it is stopped, and repeats requests until they are answered.
pub struct Load {
    child: Child,
    oracle: PathBuf,
}

impl Load {
    /// Sends `rate` to the port of `protocol` (`grpc` or `http`).
    pub fn start(ports: [u16; 3], oracle: &Path, protocol: &str, rate: &str) -> Self {
        let port = if protocol == "grpc" { ports[0] } else { ports[1] };
        Self::start_at(port, ports[2], oracle, &["--protocol", protocol, "--rate", rate])
    }

    /// Sends to a port, which need not be that of the program.
    pub fn start_at(port: u16, ui: u16, oracle: &Path, options: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_shipwake"))
            .args(["load", "--duration", "1h", "--batch", "50", "--cardinality", "300", "--give-up", "120s"])
            .args(options)
            .args(["--endpoint", &format!("http://127.0.0.1:{port}"), "--url", &format!("http://127.0.0.1:{ui}")])
            .arg("--oracle")
            .arg(oracle)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built by cargo");
        Load { child, oracle: oracle.to_owned() }
    }

    /// How many requests have been acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        let text = std::fs::read(&self.oracle).unwrap_or_default();
        text.split(|byte| *byte == b'\n').filter(|line| line.windows(7).any(|part| part == b" acked ")).count()
    }

    /// Waits until so many more requests are acknowledged.
    pub async fn wait_acknowledged(&self, more: usize) {
        let wanted = self.acknowledged() + more;
        eventually(&format!("{more} more requests are acknowledged"), || async {
            (self.acknowledged() >= wanted).then_some(())
        })
        .await;
    }

    /// Ctrl-C: it finishes what is in flight and writes the end of the oracle.
    pub async fn stop(mut self) {
        let asked = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill exists");
        assert!(asked.success(), "the generator ran until the end");
        let mut ended = || self.child.try_wait().expect("it was started here").is_some();
        eventually("the generator stops", || std::future::ready(ended().then_some(()))).await;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that was acknowledged is there once and nothing else, and every record that this process has received is accounted for.
pub async fn judge(shipwake: &Shipwake, oracle: &Path) {
    let judge = tokio::process::Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "check", "--wait", "60s", "--url", &shipwake.ui(), "--oracle"])
        .arg(oracle)
        .output()
        .await
        .expect("it runs");
    let said = [judge.stdout, judge.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{said}");
    assert!(judge.status.success(), "{said}\n{}", shipwake.log());
    accounted(shipwake).await;
}

/// Waits until received = stored + rejected + deduplicated, for each signal.
pub async fn accounted(shipwake: &Shipwake) {
    for signal in ["logs", "metrics", "traces"] {
        let filter = format!("signal=\"{signal}\"");
        eventually(&format!("every record of {signal} is accounted for"), || async {
            let mut counts = [0.0; 4];
            let names = ["received", "stored", "rejected", "deduplicated"];
            for (count, name) in counts.iter_mut().zip(names) {
                *count = shipwake.metric(&format!("shipwake_records_{name}_total"), &filter).await;
            }
            let [received, stored, rejected, deduplicated] = counts;
            (received == stored + rejected + deduplicated).then_some(())
        })
        .await;
    }
}

/// SIGTERM, without holding up the test's own tasks.
pub async fn terminate(shipwake: Shipwake) -> (std::process::ExitStatus, std::time::Duration) {
    tokio::task::spawn_blocking(move || shipwake.terminate()).await.expect("joined")
}

/// What `shipwake doctor` says about a folder: its exit code and its words.
pub fn doctor(data: &Path) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_shipwake")).args(["doctor", "--data"]).arg(data).output();
    let out = out.expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said)
}
