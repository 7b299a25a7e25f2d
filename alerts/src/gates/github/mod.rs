//! GitHub's deployment protection rules: a job that wants to deploy waits until we say yes or no.
//!
//! GitHub asks once, by a signed webhook, and is never asked back: so what was asked is written down before it is answered, and
//! survives a restart. When the release is judged, `approved` or `rejected` goes to the address that came with the question. Nothing
//! else is sent there, and only below the API that is configured, because the request carries a token.
//!
//! - `pending`: what is owed, and its stored form. `decide`: what is said of it. Both pure.
//! - `token`: what opens GitHub's API. This file: the route and the task.

mod decide;
mod pending;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use reqwest::Client;
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::Gates;
use super::problem::{Problem, json_answer};
use crate::address::CheckedResolver;
use crate::error::LedgerError;
use crate::http;
use crate::ledger::Ledger;
use crate::secret::Secret;
use decide::{Decision, decide};
use pending::{Asked, Book};
pub use token::Access;
use token::Tokens;

/// The header that carries the signature.
const SIGNATURE: &str = "x-hub-signature-256";
/// Between two attempts at an address that does not answer, at first and at the most.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX_MS: i64 = 5 * 60_000;
/// An answer that cannot be delivered for so long after the decision is given up; GitHub gives up after thirty days.
const DELIVERY_MAX_MS: i64 = 24 * 3_600_000;

/// How GitHub is spoken to.
#[derive(Clone, Debug)]
pub struct GithubConfig {
    /// Secrets that a webhook may be signed with: the new one, and the old one while they are changed.
    pub secrets: Vec<Secret>,
    /// What opens the API.
    pub access: Access,
    /// Where the API is, without a slash at the end.
    pub api: String,
    /// After how long a deployment that is not decided is rejected, ms.
    pub give_up_ms: i64,
    /// Which releases deployments are of; the first that fits.
    pub deployments: Vec<Deployment>,
}

/// Deployments of a repository, and the release that each is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// `owner/name`, or `owner/*`.
    pub repository: String,
    /// The environment at GitHub; all of them unless it is said.
    pub environment: Option<String>,
    /// The service; the repository's name unless it is said.
    pub service: Option<String>,
    /// The service's namespace.
    pub namespace: Option<String>,
    /// The environment here that is judged; the one at GitHub unless it is said.
    pub env: Option<String>,
}

impl Deployment {
    fn fits(&self, repository: &str, environment: &str) -> bool {
        let is_repository = match self.repository.strip_suffix("/*") {
            Some(owner) => repository.split_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(owner)),
            None => repository.eq_ignore_ascii_case(&self.repository),
        };
        is_repository && self.environment.as_deref().is_none_or(|of| of == environment)
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Protection(Arc<Shared>);

struct Shared {
    gates: Gates,
    config: GithubConfig,
    client: Client,
    tokens: Mutex<Tokens>,
    /// Held while it is written down: what is answered for is on disk.
    book: Mutex<Kept>,
    /// Something was asked.
    asked: Notify,
}

struct Kept {
    book: Book,
    /// `None` while it is being written.
    ledger: Option<Box<dyn Ledger + Send>>,
}

impl Protection {
    /// Goes on with what is owed.
    ///
    /// # Errors
    /// When the stored form cannot be read, or no client can be made.
    pub fn open(gates: Gates, config: GithubConfig, mut ledger: Box<dyn Ledger + Send>) -> Result<Self, String> {
        let stored = ledger.load().map_err(|error| error.to_string())?;
        let book = stored.map_or_else(|| Ok(Book::default()), |bytes| Book::read(&bytes))?;
        let client = http::client(CheckedResolver::default(), None, http::REQUEST_TIMEOUT)?;
        let shared = Shared {
            gates,
            config,
            client,
            tokens: Mutex::default(),
            book: Mutex::new(Kept { book, ledger: Some(ledger) }),
            asked: Notify::new(),
        };
        Ok(Protection(Arc::new(shared)))
    }

    /// The route that GitHub calls.
    pub fn router(&self) -> Router {
        Router::new().route("/v1/hooks/github/protection", post(hook)).with_state(self.clone())
    }

    /// Answers what is decided, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let shared = &self.0;
        let mut reader = shared.gates.reader.clone();
        let mut seen = 0;
        loop {
            let board = reader.now();
            seen = seen.max(board.revision);
            let answering = async {
                for (asked, decision) in shared.due().await {
                    shared.answer(&asked, &decision).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = answering => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = shared.asked.notified() => {}
                board = reader.changed(seen) => seen = board.revision,
                // Attempts that failed, and questions whose time is over.
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// GitHub's webhook. 2xx once it is written down; anything else shows in the app's list of deliveries.
async fn hook(
    State(protection): State<Protection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let shared = &protection.0;
    let body = body.map_err(|error| Problem::Body(error.body_text()))?;
    check_signature(&shared.config.secrets, &headers, &body)?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let event = header("x-github-event");
    let read: Value = serde_json::from_slice(&body).map_err(|error| {
        Problem::Body(format!("not JSON ({error}): is the content type of the webhook application/json?"))
    })?;
    if event != "deployment_protection_rule" || read["action"] != "requested" {
        return Ok(json_answer(StatusCode::OK, &json!({"done": format!("nothing to do for {event}")})));
    }
    let asked = Asked::read(&read, &shared.config, shared.gates.clock.time_of_day_ms())?;
    let said = format!("{} waits for the verdict on {}", asked.environment, asked.service);
    // A task of its own: a caller that goes away must not leave half of it done.
    let keeping = protection.clone();
    let kept = tokio::spawn(async move { keeping.0.take(asked).await }).await;
    kept.map_err(|error| Problem::Busy(error.to_string()))??;
    shared.asked.notify_one();
    Ok(json_answer(StatusCode::ACCEPTED, &json!({"done": said})))
}

fn check_signature(secrets: &[Secret], headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let forbidden = |why: &str| Problem::Forbidden(format!("{SIGNATURE} {why}"));
    let given = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let given = given.ok_or_else(|| forbidden("is missing: give the webhook a secret"))?;
    let hex = given.strip_prefix("sha256=").and_then(from_hex).ok_or_else(|| forbidden("is no sha256=…"))?;
    let is_signed = |secret: &Secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        hmac::verify(&key, body, &hex).is_ok()
    };
    if secrets.iter().any(is_signed) { Ok(()) } else { Err(forbidden("does not fit the body and the secret")) }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}

impl Shared {
    /// Writes a question down. The same one again is one.
    async fn take(&self, asked: Asked) -> Result<(), Problem> {
        let mut kept = self.book.lock().await;
        let mut next = kept.book.clone();
        next.take(asked).map_err(Problem::Busy)?;
        self.keep(&mut kept, next).await
    }

    /// What there is an answer for now, and time to try it.
    async fn due(&self) -> Vec<(Asked, Decision)> {
        let (board, now_ms) = (self.gates.reader.now(), self.gates.clock.time_of_day_ms());
        let kept = self.book.lock().await;
        let decided = kept.book.pending.iter().filter(|asked| asked.not_before_ms <= now_ms);
        decided
            .filter_map(|asked| Some((asked.clone(), decide(asked, &board, now_ms, self.config.give_up_ms)?)))
            .collect()
    }

    /// Tells GitHub, and strikes it out once GitHub has it.
    async fn answer(&self, asked: &Asked, decision: &Decision) {
        let outcome = self.deliver(asked, decision).await;
        let (now_ms, url) = (self.gates.clock.time_of_day_ms(), &asked.callback);
        let mut kept = self.book.lock().await;
        let mut next = kept.book.clone();
        match outcome {
            Ok(()) => {
                tracing::info!(repository = %asked.repository, state = decision.state(), "told GitHub of a verdict");
                next.strike_out(url);
            }
            Err(Refusal { reason, is_final }) => {
                let is_over = is_final || now_ms - asked.asked_ms > self.config.give_up_ms + DELIVERY_MAX_MS;
                tracing::warn!(repository = %asked.repository, reason, is_over, "GitHub does not take a verdict");
                if is_over {
                    next.strike_out(url);
                } else {
                    let pause_ms = i64::try_from(PAUSE.as_millis()).unwrap_or(i64::MAX);
                    next.put_off(url, now_ms, pause_ms, PAUSE_MAX_MS);
                }
            }
        }
        // When it cannot be written down GitHub is told once more after a restart, which it takes as said already.
        if let Err(problem) = self.keep(&mut kept, next).await {
            tracing::warn!(%problem, "what GitHub was told is not written down");
        }
    }

    async fn deliver(&self, asked: &Asked, decision: &Decision) -> Result<(), Refusal> {
        let later = |reason: String| Refusal { reason, is_final: false };
        let installation = asked.installation;
        let token = {
            let mut tokens = self.tokens.lock().await;
            let now_ms = self.gates.clock.time_of_day_ms();
            tokens.get(&self.client, &self.config, installation, now_ms).await.map_err(later)?
        };
        let body =
            json!({"environment_name": asked.environment, "state": decision.state(), "comment": decision.comment});
        let request = self.client.post(&asked.callback).body(body.to_string());
        let response = token::headers(request, &token).send().await;
        let response = response.map_err(|error| later(error.without_url().to_string()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        if [401, 403].contains(&status.as_u16()) {
            self.tokens.lock().await.forget(installation);
        }
        // What GitHub does not know any more, or has an answer to, stays so.
        let is_final = [404, 410, 422].contains(&status.as_u16());
        Err(Refusal { reason: format!("status {status}"), is_final })
    }

    /// Writes a book down; from then on it is the one that counts.
    async fn keep(&self, kept: &mut Kept, next: Book) -> Result<(), Problem> {
        let failed = |error: String| Problem::Busy(format!("it cannot be written down now: {error}"));
        if next == kept.book {
            return Ok(());
        }
        let mut ledger = kept.ledger.take().ok_or_else(|| failed("an attempt before was broken off".to_owned()))?;
        let bytes = next.write();
        let written = tokio::task::spawn_blocking(move || {
            let outcome = ledger.commit(&bytes);
            (ledger, outcome)
        });
        let (ledger, outcome) = written.await.map_err(|error| failed(error.to_string()))?;
        // Somebody else goes on here, or it is not known what is on disk: nothing more is written by this process.
        if !matches!(outcome, Err(LedgerError::Fenced { .. } | LedgerError::InDoubt { .. })) {
            kept.ledger = Some(ledger);
        }
        outcome.map_err(|error| failed(error.to_string()))?;
        kept.book = next;
        Ok(())
    }
}

/// Why GitHub did not take it.
struct Refusal {
    reason: String,
    /// Trying again would change nothing.
    is_final: bool,
}

#[cfg(test)]
mod tests;
