//! The web pages: the Svelte sources are in `ui/`, what they build into is committed in `dist/`, and this crate embeds that
//! and serves it. It knows nothing of telemetry: pages read the same API as everybody else.
//!
//! - [`router`]: the pages as an axum router, to be merged with the routes of the API.
//! - `assets`: the embedded files. `answer`: which file and which headers a request gets. `encoding`: `Accept-Encoding`.

mod answer;
mod assets;
mod encoding;

use axum::Router;
use axum::extract::Request;

/// Serves the pages on every path that no other route takes.
///
/// The router consists of a fallback only. A path under `/api` or another prefix of the API that nobody serves is answered
/// 404 as `application/problem+json`; any other path is a page if the client asks for `text/html`.
pub fn router() -> Router {
    Router::new().fallback(|request: Request| async move {
        let (parts, _) = request.into_parts();
        answer::answer(&assets::Embedded, &parts.method, parts.uri.path(), &parts.headers)
    })
}
