//! Statements to a running Shipwake, and their answers. What is too large for one answer is asked for in halves.

use std::time::Duration;

use serde_json::{Value, json};

use super::run::ReplayError;
use crate::time;

/// Rows of one answer; what has more is asked for in halves.
const ROWS_MAX: u64 = 500_000;
/// What a statement may take.
const STATEMENT: Duration = Duration::from_secs(120);
/// Until somebody is there.
const CONNECT: Duration = Duration::from_secs(5);
/// The shortest slice: a window.
const SLICE_MIN_S: i64 = 10;

/// Whose rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The service.
    pub service: Option<String>,
    /// The environment.
    pub env: Option<String>,
}

/// Where statements go.
pub struct Asker {
    base: String,
    client: reqwest::Client,
    filter: Filter,
}

/// An answer.
pub struct Rows {
    /// Row by row, in the order of the statement's columns.
    pub rows: Vec<Vec<Value>>,
    /// There are more.
    pub is_cut: bool,
}

impl Filter {
    /// As conditions, with `and` in front.
    fn conditions(&self) -> String {
        let is = |column: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!(" and {column} = {}", quoted(value))).unwrap_or_default()
        };
        is("service", &self.service) + &is("environment", &self.env)
    }
}

impl Asker {
    pub fn new(base: &str, filter: Filter) -> Result<Asker, ReplayError> {
        let client = reqwest::Client::builder().connect_timeout(CONNECT).build();
        let client = client.map_err(|error| ReplayError::Refused(error.to_string()))?;
        Ok(Asker { base: base.to_owned(), client, filter })
    }

    /// One statement; `{wanted}` in it is replaced by the filter's conditions.
    pub async fn ask(&self, statement: &str) -> Result<Rows, ReplayError> {
        let statement = statement.replace("{wanted}", &self.filter.conditions());
        let body = json!({"query": statement, "limit": ROWS_MAX, "timeout_ms": STATEMENT.as_millis() as u64});
        let base = &self.base;
        let away =
            |error: reqwest::Error| ReplayError::Away { base: base.clone(), cause: error.without_url().to_string() };
        let request = self.client.post(format!("{base}/api/v1/sql")).header("content-type", "application/json");
        let answer = request.body(body.to_string()).timeout(STATEMENT * 2).send().await.map_err(away)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(away)?;
        let read: Option<Value> = serde_json::from_slice(&bytes).ok();
        match read {
            Some(read) if status.is_success() => rows(read),
            Some(problem) if problem["title"].is_string() => Err(ReplayError::Refused(format!(
                "{}: {}",
                problem["title"].as_str().unwrap_or_default(),
                problem["detail"].as_str().unwrap_or_default()
            ))),
            _ => Err(ReplayError::Refused(format!(
                "{base} answers {status} and no query API: is it the port of the pages (4400 by default)?"
            ))),
        }
    }

    /// A statement about a time, in as many parts as its answers need. `{from}` and `{to}` are replaced by its ends.
    pub async fn ask_between(&self, statement: &str, from_s: i64, to_s: i64) -> Result<Vec<Vec<Value>>, ReplayError> {
        let mut left = vec![(from_s, to_s)];
        let mut all = Vec::new();
        while let Some((from_s, to_s)) = left.pop() {
            let text = |at_s: i64| quoted(&time::rfc3339(at_s * 1_000));
            let answer = self.ask(&statement.replace("{from}", &text(from_s)).replace("{to}", &text(to_s))).await?;
            if !answer.is_cut {
                all.extend(answer.rows);
                continue;
            }
            let middle_s = (from_s + (to_s - from_s) / 2).div_euclid(SLICE_MIN_S) * SLICE_MIN_S;
            if middle_s <= from_s || middle_s >= to_s {
                let reason = "a window of ten seconds has more rows than fit into an answer: name a --service";
                return Err(ReplayError::Refused(reason.to_owned()));
            }
            left.extend([(middle_s, to_s), (from_s, middle_s)]);
        }
        Ok(all)
    }
}

/// The rows of an answer.
fn rows(mut answer: Value) -> Result<Rows, ReplayError> {
    let refused = |reason: String| Err(ReplayError::Refused(reason));
    if let Some(lacking) = answer["meta"]["incomplete"].as_array().filter(|lacking| !lacking.is_empty()) {
        return refused(format!("the answer lacks what {} shards have just folded: try again", lacking.len()));
    }
    let Value::Array(found) = answer["rows"].take() else { return refused("the answer has no rows".to_owned()) };
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let Value::Array(cells) = row else { return refused("a row of the answer is none".to_owned()) };
        rows.push(cells);
    }
    Ok(Rows { rows, is_cut: answer["meta"]["truncated"] == true })
}

/// A text in SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_all_shards_is_none() {
        let whole = rows(json!({"rows": [["a", 1]], "meta": {"truncated": true}})).expect("rows");
        assert_eq!((whole.rows, whole.is_cut), (vec![vec![json!("a"), json!(1)]], true));
        for bad in
            [json!({"rows": [], "meta": {"incomplete": [{"shard": 3}]}}), json!({"rows": {}}), json!({"rows": [7]})]
        {
            assert!(rows(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_cannot_end_a_text() {
        let filter = Filter { service: Some("o'brien' or 1=1".to_owned()), env: None };
        assert_eq!(filter.conditions(), " and service = 'o''brien'' or 1=1'");
        let both = Filter { service: Some("a".to_owned()), env: Some("b".to_owned()) };
        assert_eq!(both.conditions(), " and service = 'a' and environment = 'b'");
        assert_eq!(Filter::default().conditions(), "");
    }
}
