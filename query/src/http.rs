//! The routes: parses arguments and prints answers, decides nothing.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query as QueryString, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::QueryError;
use crate::live;
use crate::pages::annotations;
use crate::query::{DeploysQuestion, Query, ServiceQuestion, ToggleQuestion};
use crate::sql::answer::Format;
use crate::sql::run::{SqlRequest, type_name};
use crate::sql::tables::{SqlTable, comment_of};

/// A query text in JSON: every character may be written in six.
const BODY_BYTES_MAX: usize = 512 << 10;

/// All routes of the query stage.
pub(crate) fn router(query: Query) -> Router {
    Router::new()
        .route("/api/v1/sql", post(sql))
        .route("/api/v1/tables", get(tables))
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/services/{service}/release", get(service_release))
        .route("/api/v1/services/{service}/toggle", get(service_toggle))
        .route("/api/v1/deploys", get(deploys))
        .route("/api/v1/pipeline", get(pipeline))
        .merge(crate::search::http::routes())
        .merge(crate::compare::http::routes())
        .route("/api/v1/live/ws", get(live::ws::upgrade))
        .route("/api/v1/live/sse", get(live::sse::stream))
        .method_not_allowed_fallback(async |method: Method| QueryError::Method { method: method.to_string() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        // Posting them is the ingest stage's, on the same path: no fall-back for other methods here.
        .merge(Router::new().route("/api/annotations", get(annotations)))
        .with_state(query)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    query: String,
    timeout_ms: Option<u64>,
    limit: Option<usize>,
}

async fn sql(
    State(query): State<Query>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, QueryError> {
    let bad = |reason: String| QueryError::BadRequest { reason };
    let body = body.map_err(|error| bad(error.body_text()))?;
    // A form of another site can send text to this address, but not JSON without asking first.
    let content_type = header_text(&headers, header::CONTENT_TYPE);
    if !content_type.starts_with("application/json") {
        return Err(bad(format!("the body is JSON, with `Content-Type: application/json` (not {content_type:?})")));
    }
    let body: SqlBody = serde_json::from_slice(&body)
        .map_err(|error| bad(format!("expected {{\"query\":\"…\",\"timeout_ms\":30000,\"limit\":10000}}: {error}")))?;
    let format = Format::of_accept(header_text(&headers, header::ACCEPT));
    let answer = query.sql(SqlRequest { query: body.query, timeout_ms: body.timeout_ms, limit: body.limit }).await?;
    let truncated = answer.meta.truncated;
    let bytes = query.on_blocking_threads(move || format.write(&answer)).await??;
    let mut response = answered(bytes, format.content_type());
    let truncated = HeaderValue::from_static(if truncated { "true" } else { "false" });
    response.headers_mut().insert(HeaderName::from_static("x-shipwake-truncated"), truncated);
    Ok(response)
}

async fn tables() -> Response {
    let tables: Vec<Value> = SqlTable::ALL
        .into_iter()
        .map(|table| {
            let schema = table.documented_schema();
            let columns = schema.fields().iter().map(|field| {
                json!({
                    "name": field.name(),
                    "type": type_name(field.data_type()),
                    "nullable": field.is_nullable(),
                    "comment": comment_of(field),
                })
            });
            json!({"name": table.name(), "comment": table.comment(), "columns": columns.collect::<Vec<_>>()})
        })
        .collect();
    let functions = json!([
        {"name": "hdr_merge(histogram)", "comment": "aggregate: all histograms of a group as one"},
        {"name": "hdr_quantile(histogram, q)", "comment": "value at quantile q, 0 to 1, in the histogram's unit (us for durations)"},
        {"name": "hdr_quantile_bounds(histogram, q)", "comment": "a struct of value, low, high and approximate: the quantile, between what it surely lies, and whether it is an estimate within a bucket"},
        {"name": "hdr_count(histogram, low, high)", "comment": "how many values lie from low to high"},
        {"name": "matches(body, 'search text')", "comment": "whether a text has the words and phrases of a search (docs/search.md)"},
    ]);
    answered(json!({"tables": tables, "functions": functions}).to_string().into_bytes(), "application/json")
}

/// The arguments of an address. An argument without a value counts as not given.
pub(crate) type Arguments = Result<QueryString<BTreeMap<String, String>>, QueryRejection>;

pub(crate) fn arguments(arguments: Arguments) -> Result<BTreeMap<String, String>, QueryError> {
    let QueryString(mut arguments) = arguments.map_err(|error| QueryError::BadRequest { reason: error.body_text() })?;
    arguments.retain(|_, value| !value.is_empty());
    Ok(arguments)
}

async fn overview(State(query): State<Query>, given: Arguments) -> Result<Response, QueryError> {
    let mut given = arguments(given)?;
    Ok(page(&query.overview(given.remove("env")).await?))
}

async fn service_release(
    State(query): State<Query>,
    Path(service): Path<String>,
    given: Arguments,
) -> Result<Response, QueryError> {
    let question = service_question(named(service), arguments(given)?);
    Ok(page(&query.service(question).await?))
}

async fn service_toggle(
    State(query): State<Query>,
    Path(service): Path<String>,
    given: Arguments,
) -> Result<Response, QueryError> {
    let question = toggle_question(named(service), arguments(given)?)?;
    Ok(page(&query.toggle(question).await?))
}

/// The name in a part of a path. A tilde in front stands for nothing: it keeps `.` and `..`, which every browser would
/// take away from the path, and is doubled in front of names that begin with one.
fn named(part: String) -> String {
    part.strip_prefix('~').map(str::to_owned).unwrap_or(part)
}

/// Arguments that are not known are left alone: a page's address has some of its own.
pub(crate) fn service_question(service: String, mut given: BTreeMap<String, String>) -> ServiceQuestion {
    ServiceQuestion {
        service,
        environment: given.remove("env"),
        from: given.remove("from"),
        to: given.remove("to"),
        step: given.remove("step"),
        candidate: given.remove("cand"),
        baseline: given.remove("base"),
    }
}

/// The same for a toggle, which needs its key.
pub(crate) fn toggle_question(
    service: String,
    mut given: BTreeMap<String, String>,
) -> Result<ToggleQuestion, QueryError> {
    let key = given.remove("key").ok_or_else(|| QueryError::BadArgument {
        argument: "key",
        value: String::new(),
        reason: "which toggle?".to_owned(),
    })?;
    Ok(ToggleQuestion { key, version: given.remove("version"), of: service_question(service, given) })
}

async fn deploys(State(query): State<Query>, given: Arguments) -> Result<Response, QueryError> {
    let mut given = arguments(given)?;
    let limit = whole(&mut given, "limit")?;
    let question = DeploysQuestion {
        service: given.remove("service"),
        environment: given.remove("env"),
        from: given.remove("from"),
        to: given.remove("to"),
        limit,
    };
    Ok(page(&query.deploys(question).await?))
}

/// Grafana's question for annotations. Its errors are read as `message`, but whoever asks wrongly is a person.
async fn annotations(
    State(query): State<Query>,
    given: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, QueryError> {
    let QueryString(given) = given.map_err(|error| QueryError::BadRequest { reason: error.body_text() })?;
    let asked = annotations::Asked::read(given).map_err(|(argument, value, reason)| QueryError::BadArgument {
        argument,
        value,
        reason,
    })?;
    Ok(page(&query.annotations(asked).await?))
}

/// A whole number among the arguments.
fn whole(given: &mut BTreeMap<String, String>, argument: &'static str) -> Result<Option<usize>, QueryError> {
    let Some(value) = given.remove(argument) else { return Ok(None) };
    let reason = "expected a whole number above zero".to_owned();
    match value.parse() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(QueryError::BadArgument { argument, value, reason }),
    }
}

async fn pipeline(State(query): State<Query>) -> Result<Response, QueryError> {
    Ok(page(&query.pipeline().await?))
}

pub(crate) fn page(answer: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(answer).expect("answers have text keys and finite numbers");
    answered(bytes, "application/json")
}

fn answered(bytes: Vec<u8>, content_type: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    ];
    (headers, bytes).into_response()
}

pub(crate) fn header_text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}
