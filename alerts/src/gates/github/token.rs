//! What opens GitHub's API: a token from a file or the environment, or the key of a GitHub App, which is exchanged for a token of
//! an hour. A file is read each time, so that whoever renews it need not restart us.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::{Client, RequestBuilder};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use super::GithubConfig;
use crate::secret::{Secret, Source};

/// A token of an app lives an hour; a new one is asked for before that.
const TOKEN_MS: i64 = 50 * 60_000;
/// Owners whose tokens are kept.
const KEPT_MAX: usize = 100;
/// Of an answer of GitHub.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What opens the API.
#[derive(Clone, Debug)]
pub enum Access {
    /// A token.
    Token(Source),
    /// An app: its number or client id, and its private key (PEM).
    App {
        /// Number or client id.
        id: String,
        /// The private key.
        key: Source,
    },
}

/// Tokens of apps, by installation.
#[derive(Default)]
pub(super) struct Tokens {
    kept: HashMap<u64, (Secret, i64)>,
}

impl Tokens {
    /// A token for an installation of the app.
    pub async fn get(
        &mut self,
        client: &Client,
        config: &GithubConfig,
        installation: Option<u64>,
        now_ms: i64,
    ) -> Result<Secret, String> {
        let env = |name: &str| std::env::var(name).ok();
        let (id, key) = match &config.access {
            Access::Token(source) => return source.read(env),
            Access::App { id, key } => (id, key),
        };
        let installation = installation.ok_or("the payload names no installation of the app")?;
        if let Some((token, until_ms)) = self.kept.get(&installation).filter(|(_, until_ms)| *until_ms > now_ms) {
            debug_assert!(*until_ms > now_ms);
            return Ok(token.clone());
        }
        let claim = claim(id, &key.read(env)?, now_ms)?;
        let url = format!("{}/app/installations/{installation}/access_tokens", config.api);
        let response =
            headers(client.post(url), &claim).send().await.map_err(|error| error.without_url().to_string())?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| error.without_url().to_string())?;
        let answer: Value = serde_json::from_slice(&bytes[..bytes.len().min(ANSWER_BYTES_MAX)]).unwrap_or_default();
        let token = answer["token"].as_str().filter(|_| status.is_success());
        let token = token.ok_or_else(|| format!("GitHub gives no token for the app: status {status}"))?;
        let token = Secret::new(token.to_owned());
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        self.kept.insert(installation, (token.clone(), now_ms + TOKEN_MS));
        Ok(token)
    }

    /// The next attempt asks for a new one.
    pub fn forget(&mut self, installation: Option<u64>) {
        if let Some(installation) = installation {
            self.kept.remove(&installation);
        }
    }
}

/// The headers that GitHub's API wants.
pub(super) fn headers(request: RequestBuilder, token: &Secret) -> RequestBuilder {
    request
        .header("authorization", format!("Bearer {}", token.expose()))
        .header("accept", "application/vnd.github+json")
        .header("content-type", "application/json")
        .header("x-github-api-version", "2022-11-28")
}

/// A claim to be the app, signed with its key (JWT, RS256), for some minutes; a minute is left for clocks that differ.
pub(super) fn claim(id: &str, key: &Secret, now_ms: i64) -> Result<Secret, String> {
    let now_s = now_ms / 1_000;
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(&json!({"alg": "RS256", "typ": "JWT"}));
    let said = encode(&json!({"iat": now_s - 60, "exp": now_s + 480, "iss": id}));
    let text = format!("{head}.{said}");
    let key = private_key(key.expose())?;
    let mut signature = vec![0; key.public().modulus_len()];
    let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
    signed.map_err(|_| "the app's key does not sign".to_owned())?;
    Ok(Secret::new(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
}

/// GitHub gives keys in PKCS#1; others have turned theirs into PKCS#8.
pub(super) fn private_key(pem: &str) -> Result<RsaKeyPair, String> {
    let wrong = |why: &str| format!("the app's key {why}");
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64_STANDARD.decode(body).map_err(|_| wrong("is no PEM"))?;
    let read =
        if pem.contains("BEGIN RSA PRIVATE KEY") { RsaKeyPair::from_der(&der) } else { RsaKeyPair::from_pkcs8(&der) };
    read.map_err(|error| wrong(&format!("cannot be used: {error}")))
}
