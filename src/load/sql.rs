//! Asks a running Shipwake: SQL over its API, and its own metrics. A shell without decisions.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// The API's bound on rows; answers that reach it are refused here, because the judge needs all rows.
pub const ROWS_MAX: usize = 10_000;
const QUERY_WITHIN: Duration = Duration::from_secs(120);

/// A client of one Shipwake.
#[derive(Clone)]
pub struct Shipwake {
    client: reqwest::Client,
    url: String,
}

impl Shipwake {
    /// A client of the Shipwake at `url` (`http://127.0.0.1:4400`).
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(QUERY_WITHIN)
            .build()
            .context("failed to make an HTTP client")?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned() })
    }

    /// The rows that a statement answers.
    ///
    /// # Errors
    /// When Shipwake cannot be reached, refuses the statement, or had to cut the answer.
    pub async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Vec<Value>>> {
        let body = json!({"query": sql, "limit": ROWS_MAX, "timeout_ms": QUERY_WITHIN.as_millis() as u64});
        let mut answer = self.post("/api/v1/sql", &body).await.with_context(|| format!("asked for `{sql}`"))?;
        if answer["meta"]["truncated"].as_bool() == Some(true) {
            bail!("the answer to `{sql}` was cut at {ROWS_MAX} rows");
        }
        let Value::Array(rows) = answer["rows"].take() else { bail!("the answer to `{sql}` has no rows") };
        Ok(rows.into_iter().map(|row| if let Value::Array(cells) = row { cells } else { Vec::new() }).collect())
    }

    /// The first cell of the first row as a whole number; 0 when there is none.
    ///
    /// # Errors
    /// As [`Shipwake::rows`].
    pub async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let rows = self.rows(sql).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(whole).unwrap_or(0))
    }

    /// The answer to a question in JSON.
    ///
    /// # Errors
    /// When Shipwake cannot be reached or refuses the question.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).json(body);
        let response = request.send().await.with_context(|| format!("no Shipwake answers at {}", self.url))?;
        let status = response.status();
        let answer: Value = response.json().await.with_context(|| format!("the answer of {path} is not JSON"))?;
        if !status.is_success() {
            bail!("Shipwake refused: {status}: {} {}", answer["title"], answer["detail"]);
        }
        Ok(answer)
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// When Shipwake cannot be reached.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let response =
            self.client.get(format!("{}/metrics", self.url)).send().await.context("failed to read /metrics")?;
        response.error_for_status().context("failed to read /metrics")?.text().await.context("failed to read /metrics")
    }
}

/// A cell as a whole number: JSON numbers, also with a fraction of zero, and numbers in texts.
pub fn whole(cell: &Value) -> Option<i64> {
    match cell {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
