//! What can be followed: the same answers as over REST, under the same arguments.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::QueryError;
use crate::http::{service_question, toggle_question};
use crate::pages::wire;
use crate::query::{Query, ServiceQuestion, ToggleQuestion};
use crate::search::request::Body;
use crate::search::wire::Tail;

/// A topic with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// `overview`, argument `env`.
    Overview { environment: Option<String> },
    /// `service.release`, arguments `service`, `env`, `from`, `to`, `cand`, `base`, `step`.
    ServiceRelease(ServiceQuestion),
    /// `service.toggle`, the same arguments, `key` and `version`.
    Toggle(ToggleQuestion),
    /// `pipeline`.
    Pipeline,
    /// `logs.tail`, arguments `q`, `service`, `env`, `version`. Its answers have the lines that are new since the one before.
    LogsTail(Box<Body>),
}

impl Topic {
    /// Reads a topic's name and arguments; empty arguments count as not given.
    pub fn parse(name: &str, mut arguments: BTreeMap<String, String>) -> Result<Self, QueryError> {
        arguments.retain(|_, value| !value.is_empty());
        match name {
            "overview" => Ok(Topic::Overview { environment: arguments.remove("env") }),
            "pipeline" => Ok(Topic::Pipeline),
            "logs.tail" => tail(arguments),
            "service.release" | "service.toggle" => {
                let service = arguments.remove("service").ok_or_else(|| QueryError::BadArgument {
                    argument: "service",
                    value: String::new(),
                    reason: format!("the topic {name} needs it"),
                })?;
                match name {
                    "service.toggle" => toggle_question(service, arguments).map(Topic::Toggle),
                    _ => Ok(Topic::ServiceRelease(service_question(service, arguments))),
                }
            }
            other => Err(QueryError::BadArgument {
                argument: "topic",
                value: other.to_owned(),
                reason: "there are overview, service.release, service.toggle, logs.tail and pipeline".to_owned(),
            }),
        }
    }

    /// The answer as of now. `cursor` is where the last answer of a tail ended.
    pub async fn answer(&self, query: &Query, cursor: Option<String>) -> Result<Answer, QueryError> {
        match self {
            Topic::Overview { environment } => query.overview(environment.clone()).await.map(Answer::Overview),
            Topic::ServiceRelease(question) => query.service(question.clone()).await.map(Answer::ServiceRelease),
            Topic::Toggle(question) => query.toggle(question.clone()).await.map(Answer::Toggle),
            Topic::Pipeline => query.pipeline().await.map(Answer::Pipeline),
            Topic::LogsTail(body) => {
                let body = Body { cursor, ..body.as_ref().clone() };
                query.log_tail(&body).await.map(Answer::LogsTail)
            }
        }
    }
}

/// A search that cannot be read is refused here, once, and not every second.
fn tail(mut arguments: BTreeMap<String, String>) -> Result<Topic, QueryError> {
    let mut next = |name: &str| arguments.remove(name);
    let (q, service) = (next("q").unwrap_or_default(), next("service"));
    let body = Body { q, service, env: next("env"), version: next("version"), ..Body::default() };
    body.search()?;
    Ok(Topic::LogsTail(Box::new(body)))
}

/// An answer of any topic.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Overview(wire::Overview),
    ServiceRelease(wire::ServiceRelease),
    Toggle(wire::ToggleDetail),
    Pipeline(wire::Pipeline),
    LogsTail(Tail),
}

impl Answer {
    pub fn meta(&self) -> &wire::Meta {
        match self {
            Answer::Overview(answer) => &answer.meta,
            Answer::ServiceRelease(answer) => &answer.meta,
            Answer::Toggle(answer) => &answer.meta,
            Answer::Pipeline(answer) => &answer.meta,
            Answer::LogsTail(answer) => &answer.meta,
        }
    }

    /// Where a tail ended.
    pub fn cursor(&self) -> Option<&str> {
        match self {
            Answer::LogsTail(answer) => Some(&answer.cursor),
            _ => None,
        }
    }

    /// The answer as JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("answers have text keys and finite numbers")
    }
}
