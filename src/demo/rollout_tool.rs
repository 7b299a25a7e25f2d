//! The shop's rollout tool: it is told of verdicts by the signed webhook that any rollout tool can be told by, checks the signature, and
//! acts: a canary that is NO-GO is rolled back, one that is GO gets everybody. It says what it heard and what it does.
//!
//! It knows nothing of Shipwake but what the webhook says, and sits on loopback. What it decides the simulation plays.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use shipwake_alerts::receivers::webhook::SigningKey;
use shipwake_alerts::secret::Secret;
use tokio::sync::mpsc;

use crate::visible::visible;

/// A signature is good for so long, so that nobody repeats an old one.
const SIGNATURE_AGE_MAX: Duration = Duration::from_secs(300);
/// Decisions that wait for the next tick: there are a few in a demo.
const DECISIONS_MAX: usize = 16;
const PATH: &str = "/hooks/shipwake";

/// What the tool does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Takes the traffic from this version.
    RollBack(String),
    /// Gives this version all of it.
    Promote(String),
}

/// The tool's receiver, which is there before it is told of anything.
pub struct RolloutTool {
    socket: TcpListener,
    /// Secret of its webhook.
    secret: Secret,
    secret_text: String,
}

impl RolloutTool {
    /// Opens its port.
    ///
    /// # Errors
    /// When there is no port, or no chance for a secret.
    pub fn open() -> anyhow::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").context("failed to listen for the demo's webhook")?;
        socket.set_nonblocking(true)?;
        let mut random = [0; 16];
        let mut source = std::fs::File::open("/dev/urandom").context("failed to make a secret")?;
        source.read_exact(&mut random).context("failed to make a secret")?;
        // Hexadecimal digits are base64 as well: 32 of them are a key of 24 bytes.
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret_text = format!("whsec_{digits}");
        Ok(RolloutTool { socket, secret: Secret::new(secret_text.clone()), secret_text })
    }

    /// Writes the files by which a Shipwake tells this tool, into a folder; `pages` is where people reach its pages. Gives the path of the
    /// file of receivers.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_receivers(&self, dir: &Path, pages: &str) -> anyhow::Result<PathBuf> {
        let address: SocketAddr = self.socket.local_addr()?;
        let (secret, receivers) = (dir.join("webhook-secret"), dir.join("alerts.yaml"));
        std::fs::write(&secret, &self.secret_text).context("failed to write the demo's secret")?;
        let secret = serde_json::to_string(&secret.display().to_string())?;
        let yaml = format!(
            "url: {pages}\nreceivers:\n  - name: rollout-tool\n    webhook: {{ url: 'http://{address}{PATH}', secrets: [{{ file: {secret} }}] }}\n"
        );
        std::fs::write(&receivers, yaml).context("failed to write the demo's receivers")?;
        Ok(receivers)
    }

    /// Listens from now on; decisions come out. Must be called inside the runtime.
    ///
    /// # Errors
    /// When the port is gone.
    pub fn start(self) -> anyhow::Result<mpsc::Receiver<Decision>> {
        let key = SigningKey::parse(&self.secret).map_err(|problem| anyhow::anyhow!(problem))?;
        let (decisions, decided) = mpsc::channel(DECISIONS_MAX);
        let hook = Arc::new(Hook { key, decisions });
        let router = Router::new().route(PATH, post(told)).with_state(hook);
        let socket = tokio::net::TcpListener::from_std(self.socket)?;
        tokio::spawn(async move { axum::serve(socket, router).await });
        Ok(decided)
    }
}

struct Hook {
    key: SigningKey,
    decisions: mpsc::Sender<Decision>,
}

async fn told(State(hook): State<Arc<Hook>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let timestamp_s: i64 = header("webhook-timestamp").parse().unwrap_or_default();
    let is_fresh = (now_s as i64).abs_diff(timestamp_s) <= SIGNATURE_AGE_MAX.as_secs();
    if !is_fresh || !hook.key.fits(header("webhook-id"), timestamp_s, &body, header("webhook-signature")) {
        say("a webhook came whose signature is not right: nothing is done");
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    if message["type"] == "verdict.changed" {
        let (heard, decision) = decide(&message["data"]);
        say(&format!("{heard} (webhook, signature right)"));
        if message["data"]["ending"] == "rolled_back" {
            say("  → the rollback worked: the traffic is back at the version before");
        }
        if let Some(decision) = decision {
            say(match decision {
                Decision::RollBack(_) => "  → the rollout tool rolls back",
                Decision::Promote(_) => "  → the rollout tool gives it all of the traffic",
            });
            // It is tried again when the shop is busy.
            if hook.decisions.try_send(decision).is_err() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        }
    }
    StatusCode::OK
}

/// What a change says, and what is done about it. What is over is only told.
fn decide(change: &Value) -> (String, Option<Decision>) {
    let text = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
    let heard =
        if change["ending"].is_null() { format!("{}. {}", text("title"), text("summary")) } else { text("title") };
    let decision = match (change["ending"].is_null(), text("verdict").as_str()) {
        (true, "no_go") => Some(Decision::RollBack(text("candidate"))),
        (true, "go") => Some(Decision::Promote(text("candidate"))),
        _ => None,
    };
    (heard, decision)
}

/// A line of the story, with the time of day. Sentences have texts of telemetry in them: control characters are made visible.
pub fn say(line: &str) {
    let day_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    let line = visible(line);
    println!("  {:02}:{:02}:{:02} UTC  {line}", day_s / 3_600, day_s / 60 % 60, day_s % 60);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_acted_on_and_what_is_over_is_told() {
        let change = |verdict: &str, ending: Value| json!({"verdict": verdict, "ending": ending, "candidate": "2.14.0", "title": "NO-GO: checkout 2.14.0 in production", "summary": "Roll back: errors."});
        let (heard, decision) = decide(&change("no_go", Value::Null));
        assert_eq!(heard, "NO-GO: checkout 2.14.0 in production. Roll back: errors.");
        assert_eq!(decision, Some(Decision::RollBack("2.14.0".to_owned())));
        assert_eq!(decide(&change("go", Value::Null)).1, Some(Decision::Promote("2.14.0".to_owned())));
        assert_eq!(decide(&change("no_go", json!("rolled_back"))).1, None);
        assert_eq!(decide(&change("watch", Value::Null)).1, None);
    }

    #[tokio::test]
    async fn only_what_is_signed_is_acted_on() {
        let tool = RolloutTool::open().expect("a port");
        let url = format!("http://{}{PATH}", tool.socket.local_addr().expect("an address"));
        let key = SigningKey::parse(&tool.secret).expect("a key");
        let dir = tempfile::tempdir().expect("a folder");
        let receivers = tool.write_receivers(dir.path(), "http://127.0.0.1:4400").expect("written");
        let config = shipwake_alerts::config_file::load(&receivers).expect("valid");
        assert_eq!((config.receivers.len(), config.url.as_deref()), (1, Some("http://127.0.0.1:4400")));
        let mut decided = tool.start().expect("it starts");
        let body =
            json!({"type": "verdict.changed", "data": {"verdict": "no_go", "ending": null, "candidate": "2.14.0"}});
        let body = body.to_string();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        let send = async |timestamp_s: i64, body: &str, signed: &str| {
            let request = reqwest::Client::new()
                .post(&url)
                .header("webhook-id", "msg_1")
                .header("webhook-timestamp", timestamp_s.to_string())
                .header("webhook-signature", key.signature("msg_1", timestamp_s, signed.as_bytes()));
            request.body(body.to_owned()).send().await.expect("an answer").status().as_u16()
        };
        assert_eq!(send(now_s, &body, "another body").await, 401);
        assert_eq!(send(now_s - 3_600, &body, &body).await, 401);
        assert!(decided.try_recv().is_err());
        assert_eq!(send(now_s, &body, &body).await, 200);
        assert_eq!(decided.try_recv(), Ok(Decision::RollBack("2.14.0".to_owned())));
    }
}
