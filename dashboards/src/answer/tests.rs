//! What a browser, a tool and somebody with bad intentions get from the pages' handler.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::answer;
use crate::assets::{Asset, Assets};

/// A few files in place of the built ones.
struct Made(BTreeMap<&'static str, &'static str>);

impl Assets for Made {
    fn get(&self, name: &str) -> Option<Asset> {
        let text = *self.0.get(name)?;
        let mut sha256 = [0; 32];
        for (i, byte) in text.bytes().enumerate() {
            sha256[i % 16] ^= byte.wrapping_add(i as u8);
        }
        Some(Asset { bytes: text.as_bytes().into(), sha256 })
    }
}

fn made() -> Made {
    Made(BTreeMap::from([
        ("index.html", "<!doctype html>the page"),
        ("index.html.br", "brotli of the page"),
        ("index.html.gz", "gzip of the page"),
        ("theme.js", "theme"),
        ("assets/app-1a2b.js", "code"),
        ("assets/app-1a2b.js.br", "brotli of code"),
    ]))
}

struct Got {
    status: StatusCode,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

async fn got(response: Response<Body>) -> Got {
    let status = response.status();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Got { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
}

/// `GET /path` or `POST /path`, then headers as `name: value`.
async fn ask(assets: &dyn Assets, request: &str, headers: &[&str]) -> Got {
    let (method, path) = request.split_once(' ').unwrap();
    let mut builder = Request::builder().method(method).uri(path);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    got(answer(assets, &parts.method, parts.uri.path(), &parts.headers)).await
}

const HTML: &str = "accept: text/html,application/xhtml+xml,*/*;q=0.8";

#[tokio::test]
async fn the_root_is_the_page_for_everybody() {
    for headers in [&[][..], &["accept: */*"], &[HTML]] {
        let got = ask(&made(), "GET /", headers).await;
        assert_eq!((got.status, got.body.as_str()), (StatusCode::OK, "<!doctype html>the page"));
        assert_eq!(got.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(got.header("cache-control"), "no-cache");
    }
}

#[tokio::test]
async fn a_page_of_the_app_is_the_index_only_for_people() {
    assert_eq!(ask(&made(), "GET /s/checkout", &[HTML]).await.body, "<!doctype html>the page");
    let tool = ask(&made(), "GET /s/checkout", &["accept: */*"]).await;
    assert_eq!(tool.status, StatusCode::NOT_FOUND);
    assert_eq!(tool.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn a_missing_file_or_api_answer_is_never_a_page() {
    for path in ["/assets/app-0000.js", "/assets/", "/api", "/api/v1/nope", "/v1/nope", "/prom/api/v1/query", "/loki/x"]
    {
        let got = ask(&made(), &format!("GET {path}"), &[HTML]).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(got.header("content-type"), "application/problem+json", "{path}");
        assert!(got.body.contains(r#""status":404"#), "{}", got.body);
    }
}

#[tokio::test]
async fn the_client_gets_the_smallest_form_it_takes() {
    let check = async |accept: &str, encoding: &str, body: &str| {
        let got = ask(&made(), "GET /", &[accept]).await;
        assert_eq!((got.header("content-encoding"), got.body.as_str()), (encoding, body));
        assert_eq!(got.header("vary"), "accept-encoding");
        assert_eq!(got.header("content-length"), body.len().to_string());
    };
    check("accept-encoding: gzip, br", "br", "brotli of the page").await;
    check("accept-encoding: gzip", "gzip", "gzip of the page").await;
    check("accept-encoding: identity", "", "<!doctype html>the page").await;
    // Only the brotli form of this file exists.
    let got = ask(&made(), "GET /assets/app-1a2b.js", &["accept-encoding: gzip"]).await;
    assert_eq!((got.header("content-encoding"), got.body.as_str()), ("", "code"));
}

#[tokio::test]
async fn each_form_has_its_own_strong_tag_and_is_not_sent_twice() {
    let plain = ask(&made(), "GET /", &[]).await;
    let brotli = ask(&made(), "GET /", &["accept-encoding: br"]).await;
    assert_ne!(plain.header("etag"), brotli.header("etag"));
    assert!(plain.header("etag").starts_with('"'));
    let again = ask(&made(), "GET /", &[&format!("if-none-match: \"x\", {}", plain.header("etag"))]).await;
    assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(again.header("etag"), plain.header("etag"));
    let other = ask(&made(), "GET /", &[&format!("if-none-match: {}", brotli.header("etag"))]).await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn hashed_files_are_kept_for_ever_and_others_asked_for_again() {
    assert_eq!(
        ask(&made(), "GET /assets/app-1a2b.js", &[]).await.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(ask(&made(), "GET /theme.js", &[]).await.header("cache-control"), "no-cache");
    assert_eq!(ask(&made(), "GET /theme.js", &[]).await.header("content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn compressed_forms_have_no_address_of_their_own() {
    assert_eq!(ask(&made(), "GET /index.html.br", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&made(), "GET /assets/app-1a2b.js.br", &[HTML]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    for request in ["GET /", "GET /assets/nope", "POST /", "GET /theme.js", "HEAD /"] {
        let got = ask(&made(), request, &[]).await;
        assert!(
            got.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"),
            "{request}"
        );
        assert!(!got.header("content-security-policy").contains("unsafe"));
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn pages_can_only_be_read() {
    let posted = ask(&made(), "POST /", &[HTML]).await;
    assert_eq!((posted.status, posted.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
    assert_eq!(ask(&made(), "DELETE /theme.js", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(&made(), "POST /api/v1/nope", &[]).await.status, StatusCode::NOT_FOUND);
    let head = ask(&made(), "HEAD /", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), "23");
}

#[tokio::test]
async fn odd_paths_get_an_answer_that_is_valid_json() {
    for path in ["/../Cargo.toml", "/%2e%2e/x", "//", "/a%22b", "/api/%22%5C"] {
        let got = ask(&made(), &format!("GET {path}"), &["accept: application/json"]).await;
        assert!(got.status == StatusCode::NOT_FOUND || got.status == StatusCode::OK, "{path}");
        assert!(!got.body.contains("package"), "{path}");
    }
    assert_eq!(super::json_text("a\"\\\n"), "a\\\"\\\\\\u000a");
}

#[tokio::test]
async fn a_binary_without_pages_says_so() {
    let got = ask(&Made(BTreeMap::new()), "GET /s/checkout", &[HTML]).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.body.contains("without its pages"));
    assert_eq!(got.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_router_serves_the_embedded_page() {
    let request = Request::builder().uri("/s/checkout").header("accept", "text/html").body(Body::empty()).unwrap();
    let got = got(crate::router().oneshot(request).await.unwrap()).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.body.contains("<div id=\"app\">"), "{}", got.body);
}
