//! The judge's questions to the search: whether it finds each line once that the rows hold. A search has its own road through blooms
//! and index, so that rows are right does not say that it is.

use anyhow::Context;
use serde_json::{Value, json};
use shipwake_model::Signal;

use super::judge::Finding;
use super::oracle::{Book, Fate, Request};
use super::sql::Shipwake;

/// Lines that are looked up one by one.
const SAMPLES: usize = 24;
/// Searches with many lines, and the rows that they are to find: a part of [`super::content::log_body`] each.
const PHRASES: [(&str, &str); 4] = [
    ("", "%"),
    ("\"of user\"", "% of user %"),
    ("\"placed for customer\"", "% placed for customer %"),
    ("\"cache entry\" refreshed", "cache entry % refreshed %"),
];
/// Around the times of the run.
const MARGIN_MS: u64 = 60_000;

/// Compares searches with the rows, and single lines with what was acknowledged.
///
/// # Errors
/// When Shipwake does not answer, or not completely.
pub async fn judge(shipwake: &Shipwake, book: &Book) -> anyhow::Result<Vec<Finding>> {
    let requests = &book.requests[Signal::Logs as usize - 1];
    let times = || requests.values().map(|request| request.time_ns / 1_000_000);
    let (Some(from), Some(to)) = (times().min(), times().max()) else { return Ok(Vec::new()) };
    let range = (from.saturating_sub(MARGIN_MS), to + MARGIN_MS);
    let run = &book.shape.run;
    let mut findings = Vec::new();
    for (phrase, like) in PHRASES {
        let search = format!("{phrase} namespace:\"{run}\" -service:\"load-probe\"");
        let found = count(shipwake, search.trim(), range).await?;
        let sql = format!(
            "select count(*) from logs where namespace = '{run}' and service <> 'load-probe' and body like '{like}'"
        );
        let rows = shipwake.number(&sql).await?;
        if found != rows {
            findings.push(Finding::Search { search, found, rows });
        }
    }
    for (id, rows) in samples(requests) {
        let search = format!("{id:012} namespace:\"{run}\"");
        let found = lines(shipwake, &search, range).await?;
        if found != rows {
            findings.push(Finding::Search { search, found, rows });
        }
    }
    Ok(findings)
}

/// An id of each of some requests, and how often it has to be there.
fn samples(requests: &std::collections::BTreeMap<u64, Request>) -> Vec<(u64, i64)> {
    let known: Vec<_> = requests.iter().filter(|(_, request)| request.fate != Fate::Unknown).collect();
    let step = known.len().div_ceil(SAMPLES).max(1);
    let sample = |(at, (first, request)): (usize, &(&u64, &Request))| {
        // Not always the first of its request.
        (*first + at as u64 % u64::from(request.count.max(1)), i64::from(request.fate == Fate::Acknowledged))
    };
    known.iter().enumerate().step_by(step).map(sample).collect()
}

async fn lines(shipwake: &Shipwake, search: &str, range: (u64, u64)) -> anyhow::Result<i64> {
    let answer = ask(shipwake, "/api/v1/logs/search", search, range).await?;
    Ok(answer["lines"].as_array().context("a search answers with lines")?.len() as i64)
}

async fn count(shipwake: &Shipwake, search: &str, range: (u64, u64)) -> anyhow::Result<i64> {
    let answer = ask(shipwake, "/api/v1/logs/volume", search, range).await?;
    let series = answer["series"].as_array().context("a volume answers with series")?;
    Ok(series.iter().filter_map(|one| one["total"].as_i64()).sum())
}

async fn ask(shipwake: &Shipwake, path: &str, search: &str, (from, to): (u64, u64)) -> anyhow::Result<Value> {
    let body = json!({"q": search, "from": from.to_string(), "to": to.to_string(), "timeout_ms": 60_000});
    let answer = shipwake.post(path, &body).await?;
    anyhow::ensure!(answer["meta"]["partial"] != true, "the search `{search}` was not finished in time");
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_what_is_known_and_say_how_often_an_id_must_be_found() {
        let fates = [Fate::Acknowledged, Fate::Unknown, Fate::Refused];
        let request = |n: u64| Request { count: 10, time_ns: 0, fate: fates[n as usize % 3] };
        let requests = (0..90).map(|n| (n * 10, request(n))).collect();
        let samples = samples(&requests);
        assert!(samples.len() <= SAMPLES && samples.len() > SAMPLES / 2, "{samples:?}");
        assert!(
            samples.iter().all(|(id, rows)| *rows == i64::from(id / 10 % 3 == 0) && id / 10 % 3 != 1),
            "{samples:?}"
        );
        assert!(samples.iter().any(|(id, _)| id % 10 != 0), "not only the first of each: {samples:?}");
    }
}
