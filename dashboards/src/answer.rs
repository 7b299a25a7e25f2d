//! Which file, status and headers a request for a page gets. Relies on hashed names under `assets/`; never decides by
//! anything but method, path and headers, and never sends a page in place of a missing file or API answer.

use axum::body::Body;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::assets::{Asset, Assets};
use crate::encoding;

/// Telemetry is shown as text and never as markup. Should that ever fail, no script, style or address of another origin
/// runs, and no string becomes markup except through the framework's own templates.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; \
     trusted-types svelte-trusted-html";

/// Names under `assets/` contain a hash of their content.
const HASHED: &str = "public, max-age=31536000, immutable";
/// Everything else is asked for again each time, which the entity tag makes cheap.
const REVALIDATED: &str = "no-cache";

/// First parts of paths that belong to the API: there is no page below them.
const API_PREFIXES: [&str; 6] = ["api", "v1", "prom", "loki", "alertmanager", "assets"];

const INDEX: &str = "index.html";
const FALLBACK: &str = include_str!("../fallback.html");

pub(crate) fn answer(assets: &dyn Assets, method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
    let reads = method == Method::GET || method == Method::HEAD;
    let name = path.trim_start_matches('/');
    let mut response = if let Some((name, file)) = find(assets, name, headers).filter(|_| !name.is_empty()) {
        if reads { file_answer(&name, file, headers) } else { method_not_allowed(path) }
    } else if is_api(name) || !(name.is_empty() || wants_page(headers)) {
        problem(StatusCode::NOT_FOUND, "not found", &format!("nothing is served at {path}"))
    } else if !reads {
        method_not_allowed(path)
    } else {
        page(assets, headers)
    };
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut response, REFERRER_POLICY, "no-referrer");
    set(&mut response, CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// A file in the form that suits the client best.
struct Found {
    asset: Asset,
    encoding: Option<encoding::Encoding>,
}

fn find(assets: &dyn Assets, name: &str, headers: &HeaderMap) -> Option<(String, Found)> {
    if name.ends_with(".br") || name.ends_with(".gz") {
        return None;
    }
    let plain = assets.get(name)?;
    let header = text(headers, &ACCEPT_ENCODING);
    for encoding in encoding::accepted(header) {
        if let Some(asset) = assets.get(&format!("{name}{}", encoding.suffix())) {
            return Some((name.to_owned(), Found { asset, encoding: Some(encoding) }));
        }
    }
    Some((name.to_owned(), Found { asset: plain, encoding: None }))
}

fn page(assets: &dyn Assets, headers: &HeaderMap) -> Response<Body> {
    match find(assets, INDEX, headers) {
        Some((name, file)) => file_answer(&name, file, headers),
        None => {
            let mut response = Response::new(Body::from(FALLBACK));
            set(&mut response, CONTENT_TYPE, "text/html; charset=utf-8");
            set(&mut response, CACHE_CONTROL, "no-store");
            response
        }
    }
}

fn file_answer(name: &str, file: Found, headers: &HeaderMap) -> Response<Body> {
    let tag = entity_tag(&file.asset.sha256);
    let unchanged = matches_tag(text(headers, &IF_NONE_MATCH), &tag);
    let length = file.asset.bytes.len();
    let mut response = Response::new(if unchanged { Body::empty() } else { Body::from(file.asset.bytes) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        set(&mut response, CONTENT_TYPE, content_type(name));
        set(&mut response, CONTENT_LENGTH, &length.to_string());
        if let Some(encoding) = file.encoding {
            set(&mut response, CONTENT_ENCODING, encoding.token());
        }
    }
    set(&mut response, ETAG, &tag);
    set(&mut response, VARY, "accept-encoding");
    set(&mut response, CACHE_CONTROL, if name.starts_with("assets/") { HASHED } else { REVALIDATED });
    response
}

/// Strong: it is made of the bytes that are sent, so each stored form has its own.
fn entity_tag(sha256: &[u8; 32]) -> String {
    let hex: String = sha256[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn matches_tag(header: &str, tag: &str) -> bool {
    header.split(',').map(|each| each.trim().trim_start_matches("W/")).any(|each| each == tag || each == "*")
}

fn is_api(name: &str) -> bool {
    API_PREFIXES.contains(&name.split('/').next().unwrap_or_default())
}

/// Browsers name `text/html` when a person goes somewhere; scripts and tools do not.
fn wants_page(headers: &HeaderMap) -> bool {
    text(headers, &ACCEPT).split(',').any(|each| each.trim().to_ascii_lowercase().starts_with("text/html"))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn method_not_allowed(path: &str) -> Response<Body> {
    let detail = format!("{path} can only be read");
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", &detail);
    set(&mut response, ALLOW, "GET, HEAD");
    response
}

/// RFC 9457.
fn problem(status: StatusCode, title: &str, detail: &str) -> Response<Body> {
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{}"}}"#,
        status.as_u16(),
        json_text(detail)
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, "application/problem+json");
    set(&mut response, CACHE_CONTROL, "no-store");
    response
}

/// The inside of a JSON string. A path is ASCII by now; the rest of the escapes are for safety, not for beauty.
fn json_text(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("every value set here is visible ASCII");
    response.headers_mut().insert(name, value);
}

#[cfg(test)]
mod tests;
