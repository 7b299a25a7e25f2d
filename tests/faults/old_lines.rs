//! Log lines of windows that are over, so that segments are merged and indexed while a test runs. Each is sent until it is
//! acknowledged, as a client does; it has its own time, so a repetition is recognised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::harness::{Shipwake, eventually};
use crate::otlp::now_ns;

const LINES: u64 = 20;
const EVERY: Duration = Duration::from_millis(100);
const WINDOW_MS: u64 = 900_000;

/// A sender that runs until it is stopped.
pub struct OldLines {
    task: JoinHandle<()>,
    acknowledged: Arc<AtomicU64>,
}

impl OldLines {
    pub fn start(http: u16) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let count = acknowledged.clone();
        // All in one window of two hours ago.
        let window_ms = (now_ns() / 1_000_000 - 2 * 3_600_000) / WINDOW_MS * WINDOW_MS;
        let task = tokio::spawn(async move {
            let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
            let url = format!("http://127.0.0.1:{http}/v1/lines?service=old&version=1&environment=test");
            for batch in 0.. {
                let line = |n: u64| {
                    let at = window_ms + (batch * LINES + n) % WINDOW_MS;
                    format!("{{\"time\":{at},\"message\":\"old order {} placed\"}}", batch * LINES + n)
                };
                let body = (0..LINES).map(line).collect::<Vec<_>>().join("\n");
                loop {
                    let answer = client.post(&url).body(body.clone()).send().await;
                    if answer.is_ok_and(|answer| answer.status().is_success()) {
                        break;
                    }
                    tokio::time::sleep(EVERY).await;
                }
                count.fetch_add(LINES, Ordering::Relaxed);
                tokio::time::sleep(EVERY).await;
            }
        });
        OldLines { task, acknowledged }
    }

    /// Stops, and checks that each line is there once, in rows and in windows.
    pub async fn stop(self, shipwake: &Shipwake) {
        // A request that is under way when the task ends may have been taken: no more than its lines.
        self.task.abort();
        let acknowledged = self.acknowledged.load(Ordering::Relaxed) as i64;
        let range = acknowledged..=acknowledged + LINES as i64;
        eventually("all old lines are there", || async {
            let rows = shipwake.number("select count(*) from logs where service = 'old'").await;
            (rows >= acknowledged).then_some(())
        })
        .await;
        let rows = shipwake.number("select count(*) from logs where service = 'old'").await;
        let different = shipwake.number("select count(distinct body) from logs where service = 'old'").await;
        assert!(
            rows == different && range.contains(&rows),
            "{rows} rows, {different} lines, {acknowledged} acknowledged"
        );
        let windows =
            "select sum(count) from windows where service = 'old' and signal = 'pattern' and resolution_s = 3600";
        assert_eq!(shipwake.number(windows).await, rows, "in windows");
    }
}
