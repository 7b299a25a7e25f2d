//! Routes that another process answers: one that does not judge hands questions about verdicts to a peer that does, so that a
//! rollout tool may ask any process of a site.
//!
//! What comes back goes on as it is. A question that has been handed on once is not handed on again, and a peer that cannot be asked
//! is one of several. Without any, the answer says which process to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::json;
use shipwake_alerts::gates;

use crate::roles::Roles;

/// Marks a question that was handed on, and an answer of a process that does not judge.
const HANDED_ON: HeaderName = HeaderName::from_static("x-shipwake-handed-on");
/// A body of Kayenta's judge is the largest.
const BODY_BYTES_MAX: usize = 16 << 20;
/// A long poll takes thirty seconds.
const TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Of this hop, and not to be repeated at the next; the length of what was read is written anew.
const OF_THE_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::ACCEPT_ENCODING,
];

#[derive(Clone)]
struct Peers {
    roles: Roles,
    urls: Arc<[String]>,
    http: reqwest::Client,
    /// The one that answered last.
    at: Arc<AtomicUsize>,
}

/// The paths of gates, in a process without the role `alerts`.
///
/// # Errors
/// When no HTTP client can be made.
pub fn router(roles: Roles, urls: Vec<String>) -> anyhow::Result<Router> {
    let http = reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .build()?;
    let peers = Peers { roles, urls: urls.into(), http, at: Arc::default() };
    let router = gates::PATHS.into_iter().fold(Router::new(), |router, path| router.route(path, any(hand_on)));
    Ok(router.with_state(peers))
}

async fn hand_on(State(peers): State<Peers>, request: Request) -> Response {
    if request.headers().contains_key(HANDED_ON) {
        return nobody(peers.roles, "it was handed on to this one");
    }
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {BODY_BYTES_MAX} bytes"));
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut reasons: Vec<String> = Vec::new();
    let first = peers.at.load(Ordering::Relaxed);
    for step in 0..peers.urls.len() {
        let at = (first + step) % peers.urls.len();
        let url = &peers.urls[at];
        match ask(&peers.http, &head.method, &format!("{url}{path}"), &head.headers, body.clone()).await {
            Ok(response) => {
                peers.at.store(at, Ordering::Relaxed);
                return response;
            }
            Err(reason) => reasons.push(format!("{url}: {reason}")),
        }
    }
    let reasons = if reasons.is_empty() { "no peers are configured".to_owned() } else { reasons.join("; ") };
    nobody(peers.roles, &reasons)
}

/// The answer of a peer; an error when it cannot be asked, or does not judge either.
async fn ask(
    http: &reqwest::Client,
    method: &Method,
    url: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, String> {
    let mut given: HeaderMap = headers.clone();
    for name in &OF_THE_HOP {
        given.remove(name);
    }
    // Links in the answer lead to where the caller asked.
    given.insert(HANDED_ON, header::HeaderValue::from_static("1"));
    let sent = http.request(method.clone(), url).headers(given).body(body).send().await;
    let answer = sent.map_err(|error| error.without_url().to_string())?;
    if answer.headers().contains_key(HANDED_ON) {
        return Err("it does not judge releases".to_owned());
    }
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    for name in &OF_THE_HOP {
        headers.remove(name);
    }
    let bytes = answer.bytes().await.map_err(|error| error.without_url().to_string())?;
    let mut response = (status, Body::from(bytes)).into_response();
    *response.headers_mut() = headers;
    Ok(response)
}

fn nobody(roles: Roles, why: &str) -> Response {
    let detail =
        format!("this process has the roles {roles}: ask one with the role alerts, or name it in `peers` ({why})");
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, &detail);
    response.headers_mut().insert(HANDED_ON, header::HeaderValue::from_static("1"));
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let document = json!({"type": "urn:shipwake:problem:elsewhere", "title": "Another process judges releases",
        "status": status.as_u16(), "detail": detail});
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, document.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;

    const ROLES: Roles = Roles { ingest: false, aggregate: false, query: true, alerts: false };

    async fn serve(router: Router) -> String {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(socket, router).await });
        format!("http://{address}")
    }

    async fn answer(url: &str) -> (u16, String) {
        let answer = reqwest::get(url).await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    #[tokio::test]
    async fn a_question_reaches_the_process_that_judges_by_way_of_those_that_do_not() {
        let judges = Router::new().route(
            "/v1/gate",
            get(|request: Request| async move { (StatusCode::PRECONDITION_FAILED, request.uri().to_string()) }),
        );
        let judging = serve(judges).await;
        let also_not = serve(router(ROLES, vec![judging.clone()]).expect("a client")).await;
        let urls = vec!["http://127.0.0.1:1".to_owned(), also_not, judging];
        let asked = serve(router(ROLES, urls).expect("a client")).await;
        for _ in 0..2 {
            let (status, text) = answer(&format!("{asked}/v1/gate?service=a&candidate=1")).await;
            assert_eq!((status, text.as_str()), (412, "/v1/gate?service=a&candidate=1"));
        }
    }

    #[tokio::test]
    async fn without_anybody_who_judges_it_says_whom_to_ask() {
        let asked = serve(router(ROLES, Vec::new()).expect("a client")).await;
        let (status, text) = answer(&format!("{asked}/v1/verdict?service=a")).await;
        assert_eq!(status, 503);
        assert!(
            text.contains("the roles query") && text.contains("role alerts") && text.contains("no peers"),
            "{text}"
        );
        // Two that name each other do not hand it to and fro.
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = format!("http://{}", socket.local_addr().expect("an address"));
        let itself = router(ROLES, vec![own.clone()]).expect("a client");
        tokio::spawn(async move { axum::serve(socket, itself).await });
        assert_eq!(answer(&format!("{own}/v1/verdict?service=a")).await.0, 503);
    }
}
