//! The notifier against real HTTP on loopback: receivers that answer rightly, wrongly, late or not at all. Time runs faster
//! where pauses of minutes matter.

mod faults;
mod ledgers;
mod notified;
mod server;

use std::time::Duration;

use prometheus_client::registry::Registry;
use shipwake_alerts::{
    AlertsConfig, Change, Check, CheckState, Clock, Counts, FileLedger, Handle, Link, Notifier, NotifierConfig, Word,
    config_file,
};
use shipwake_model::ReleaseId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_KEY: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A configuration out of YAML; `{NAME}` in it is where a receiver listens.
fn config(yaml: &str, urls: &[(&str, String)]) -> AlertsConfig {
    let env = |name: &str| match name {
        "KEY" => Some(KEY.to_owned()),
        "OLD_KEY" => Some(OLD_KEY.to_owned()),
        "ROUTING_KEY" => Some("R0canary8901234567890123456789012".to_owned()),
        _ => urls.iter().find(|(known, _)| *known == name).map(|(_, url)| url.clone()),
    };
    config_file::parse(yaml, &env).expect("a valid configuration")
}

/// One signed webhook named `hook`.
fn one_hook(url: String) -> AlertsConfig {
    config("receivers: [{ name: hook, webhook: { url: { env: URL }, secrets: [{ env: KEY }] } }]", &[("URL", url)])
}

fn change(version: &str, sequence: u64, from: Word, to: Word) -> Change {
    let release = ReleaseId {
        service: "checkout".into(),
        namespace: "".into(),
        environment: "production".into(),
        version: version.into(),
    };
    let counts = |bad, all| Some(Counts { bad, all });
    Change {
        release,
        baseline: Some("2.13.2".into()),
        share: Some(0.1),
        from,
        to,
        ending: None,
        summary: format!("Change {sequence} of {version}."),
        checks: vec![Check {
            id: "http_5xx".to_owned(),
            title: "Server errors".to_owned(),
            state: CheckState::Worse,
            effect: None,
            e_worse: Some(5e6),
            candidate: counts(188, 60_110),
            baseline: counts(548, 541_200),
            why: "mostly POST /pay".to_owned(),
        }],
        links: vec![Link { text: "Evidence".to_owned(), url: "/s/checkout".to_owned() }],
        at_ms: Clock::default().now_ms(),
        sequence,
    }
}

fn no_go(version: &str, sequence: u64) -> Change {
    change(version, sequence, Word::Wait, Word::NoGo)
}

/// A notifier that runs.
struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), shipwake_alerts::AlertsError>>,
    registry: Registry,
}

impl Running {
    fn start(config: NotifierConfig, ledger: impl shipwake_alerts::Ledger) -> Self {
        let mut registry = Registry::default();
        let notifier = Notifier::open(config, ledger, &mut registry).expect("opens");
        let (handle, stop) = (notifier.handle(), CancellationToken::new());
        let task = tokio::spawn(notifier.run(stop.clone()));
        Running { handle, stop, task, registry }
    }

    async fn submit(&self, changes: impl IntoIterator<Item = Change>) {
        self.handle.submit(changes.into_iter().collect(), None).await.expect("committed");
    }

    /// Waits until nothing is owed.
    async fn is_done(&self) {
        let owes = || self.handle.status().receivers.iter().map(|receiver| receiver.owed).sum::<usize>();
        // What was submitted shows in the status after the next turn.
        self.handle.submit(Vec::new(), Some(Vec::new())).await.expect("committed");
        server::eventually("nothing is owed", || owes() == 0).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("no error");
    }

    /// A sample of the metrics, or 0.
    fn metric(&self, line: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let sample = text.lines().find_map(|known| known.strip_prefix(line));
        sample.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }
}

/// Time that runs so many times as fast, and attempts that end soon.
fn fast(alerts: AlertsConfig, speed: u32) -> NotifierConfig {
    NotifierConfig {
        clock: Clock::faster(speed),
        request_timeout: Duration::from_secs(2),
        ..NotifierConfig::new(alerts)
    }
}

fn folder() -> (tempfile::TempDir, FileLedger) {
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = FileLedger::open(dir.path()).expect("opens");
    (dir, ledger)
}
