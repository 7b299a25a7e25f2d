//! Makes requests to receivers, and turns whatever comes back into an answer. Bounded in time and in what is read; follows no
//! redirect, uses no proxy of the environment, and repeats nothing by itself.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};

use crate::address::CheckedResolver;
use crate::outbox::attempts::{Answer, Outcome};
use crate::receivers::{Request, Target};
use crate::time;

/// How long an attempt may take, as Standard Webhooks advises.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the body of an answer is read; its status has said what matters.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// Of an answer's body.
const BODY_BYTES_MAX: usize = 4 << 10;
/// Of an error, with what caused it.
const ERROR_BYTES_MAX: usize = 1 << 10;

/// A client for one receiver, or for several that trust the same authorities.
///
/// # Errors
/// What is wrong with the certificates, or with the system's.
pub fn client(resolver: CheckedResolver, ca_file: Option<&Path>, timeout: Duration) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("shipwake/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .redirect(Policy::none())
        .no_proxy()
        // One request at a time: HTTP/2 gains nothing, and could repeat a request by itself.
        .http1_only()
        .no_gzip()
        .referer(false)
        .pool_max_idle_per_host(1)
        .dns_resolver(std::sync::Arc::new(resolver));
    if let Some(path) = ca_file {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let pem = std::fs::read(path).map_err(|error| failed(&error))?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
        if authorities.is_empty() {
            return Err(failed(&"no certificate in it"));
        }
        builder = authorities.into_iter().fold(builder, |builder, authority| builder.add_root_certificate(authority));
    }
    builder.build().map_err(|error| with_causes(&error))
}

/// Makes one attempt. `now_ms` is the time of day, for answers that name a date.
pub async fn send(client: &Client, target: &Target, request: Request, now_ms: i64) -> Answer {
    let started = Instant::now();
    let mut call = client.post(request.url.expose()).header(CONTENT_TYPE, "application/json").body(request.body);
    for (name, value) in request.headers {
        call = call.header(name, value);
    }
    let (outcome, status, text) = match call.send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let pause_ms = pause.and_then(|value| time::retry_after(value, now_ms));
            let text = read(response).await;
            (target.judge(status, &text, pause_ms), Some(status), text)
        }
        Err(error) => (Outcome::Failed(None), None, with_causes(&error.without_url())),
    };
    let took_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
    Answer { outcome, status, text: target.blank(&text), took_ms }
}

/// The first bytes of a body. One that stops half-way changes nothing about the status.
async fn read(mut response: Response) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES_MAX - bytes.len())]);
            if bytes.len() >= BODY_BYTES_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error and what caused it, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    crate::change::cut(&mut text, ERROR_BYTES_MAX);
    text
}
