//! Gates: what is judged, in the words of whoever asks. Rollout tools, CI jobs, metric queries and pages read one board, and each
//! gets the answer in the form that it can parse (`docs/gates.md`).
//!
//! A gate never acts and never keeps anything: an answer is made of the board of one moment, and names that it gives out (of
//! evaluations, of executions) say themselves which release they are of. The one exception is GitHub, which is not asked again
//! and so is owed an answer ([`github`]).
//!
//! - `question` and `answer`: which release is meant, and what is said of it. Pure; every face stands on them.
//! - `verdict`, `evaluations`, `flagger`, `prometheus`, `kayenta`, [`github`]: the faces.
//! - `page`, `page_kayenta`: what the pages of this program read. `form`: the forms of numbers that several faces share.
//! - `arguments`, `problem`: what comes in, and what is wrong with it. `poll`: waiting for the next board.

mod answer;
mod arguments;
mod evaluations;
mod flagger;
mod form;
pub mod github;
mod kayenta;
mod page;
mod page_kayenta;
mod poll;
mod problem;
mod prometheus;
mod question;
mod reference;
mod verdict;

#[cfg(test)]
#[path = "../../tests/gates/boards.rs"]
pub(crate) mod boards;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

#[cfg(test)]
use crate as shipwake;
use crate::board::{Board, Reader};
use crate::clock::Clock;
use crate::judge::windows::Windows;
use answer::Answer;
use page_kayenta::{COMPUTED_MAX, Readable};
use problem::Problem;
use question::Question;

/// Requests that wait for a change at a time; more are answered at once.
const WAITING_MAX: usize = 1_024;
/// A body of Kayenta's: a day of minutes, two sides, a few hundred metrics.
const BODY_BYTES_MAX: usize = 16 << 20;

/// All paths of gates, for a process that has to send their callers elsewhere.
pub const PATHS: [&str; 18] = [
    "/v1/verdict",
    "/v1/gate",
    "/v1/evaluations",
    "/v1/evaluations/{id}",
    "/v1/gates/flagger/{hook}",
    "/v1/hooks/github/protection",
    "/api/v1/verdicts",
    "/api/v1/services/{service}/verdict",
    "/api/v1/services/{service}/verdict/kayenta",
    "/api/v1/query",
    "/api/v1/labels",
    "/api/v1/series",
    "/canaryConfig",
    "/canaryConfig/{id}",
    "/canary/{id}",
    "/pipelines/{id}/cancel",
    "/credentials",
    "/judge",
];

/// What faces stand on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gates {
    reader: Reader,
    clock: Clock,
    /// Where people reach the pages, without a slash at the end.
    url: Option<Arc<str>>,
    waiting: Arc<Semaphore>,
    /// Where minutes are read when somebody asks what another judge would have said.
    windows: Option<Readable>,
    computing: Arc<Semaphore>,
    /// Ends every wait.
    stop: CancellationToken,
}

impl Gates {
    /// Gates over the boards of a judge. `url` is where people reach the pages, for links. At `stop`, nobody waits for a change any more.
    pub fn new(reader: Reader, url: Option<&str>, clock: Clock, stop: CancellationToken) -> Self {
        let url = url.map(|url| url.trim_end_matches('/').into());
        let (waiting, computing) = (Semaphore::new(WAITING_MAX), Semaphore::new(COMPUTED_MAX));
        Gates { reader, clock, url, waiting: Arc::new(waiting), windows: None, computing: Arc::new(computing), stop }
    }

    /// The same, with the windows that releases are judged by.
    #[must_use]
    pub fn with_windows(self, windows: Arc<dyn Windows>) -> Self {
        Gates { windows: Some(Readable(windows)), ..self }
    }

    /// The routes of all faces but GitHub's, which has some state of its own ([`github::Protection::router`]).
    pub fn router(&self) -> Router {
        Router::new()
            .merge(verdict::routes())
            .merge(evaluations::routes())
            .merge(flagger::routes())
            .merge(prometheus::routes())
            .merge(kayenta::routes())
            .merge(page::routes())
            .merge(page_kayenta::routes())
            .method_not_allowed_fallback(async |method: Method| Problem::Method(method.to_string()))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self.clone())
    }

    /// The answer of now.
    fn answer(&self, question: &Question) -> Answer {
        self.answer_of(&self.reader.now(), question)
    }

    /// Whether what was asked for and not found is a version of a service that is known: it may be seen yet.
    fn may_come(&self, answer: &Answer) -> bool {
        answer.reason == Some(question::Reason::UnknownRelease)
            && answer.question.candidate.is_some()
            && question::knows(&self.reader.now(), &answer.question)
    }

    fn answer_of(&self, board: &Board, question: &Question) -> Answer {
        Answer::of(board, question, self.clock.time_of_day_ms())
    }
}
