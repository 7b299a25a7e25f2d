//! Which web pages may open a live connection. Browsers let any page open a WebSocket to any address, and say in `Origin`
//! which page it was; nothing else stops a foreign page from reading telemetry. Programs send no `Origin`. Pure.

use axum::http::{HeaderMap, header};

use crate::error::QueryError;
use crate::http::header_text;

/// Refuses a page that neither comes from the host it talks to nor is allowed by name.
pub(crate) fn check(headers: &HeaderMap, allowed: &[String]) -> Result<(), QueryError> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin = header_text(headers, header::ORIGIN);
    let host = header_text(headers, header::HOST);
    let same_host =
        origin.split_once("://").is_some_and(|(_, place)| !host.is_empty() && place.eq_ignore_ascii_case(host));
    if same_host || allowed.iter().any(|one| one.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    Err(QueryError::ForeignOrigin { origin: origin.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_same_host_or_allowed_ones_may_connect() {
        let allows = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a header"));
            }
            headers.insert(header::HOST, host.parse().expect("a header"));
            check(&headers, &["http://localhost:5173".to_owned()]).is_ok()
        };
        assert!(allows(None, "127.0.0.1:4400"), "programs send no origin");
        assert!(allows(Some("http://127.0.0.1:4400"), "127.0.0.1:4400"));
        assert!(allows(Some("https://shipwake.example"), "shipwake.example"));
        assert!(allows(Some("http://localhost:5173"), "127.0.0.1:4400"), "allowed by name");
        assert!(!allows(Some("http://evil.example"), "127.0.0.1:4400"));
        assert!(!allows(Some("http://127.0.0.1:4401"), "127.0.0.1:4400"));
        assert!(!allows(Some("null"), "127.0.0.1:4400"));
        assert!(!allows(Some("http://127.0.0.1:4400.evil.example"), "127.0.0.1:4400"));
    }
}
