//! Names of evaluations and executions that say which release they are of: nothing is kept, and any process can answer for a
//! name that another one gave out.
//!
//! A name is a question in JSON, in base64 for addresses. It is no secret and proves nothing: it is as good as the question.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, checked};
use super::problem::Problem;
use super::question::{NAMES, Question};
use crate::board::Judged;

/// A name that is longer is none of ours.
const NAME_BYTES_MAX: usize = 4_096;
/// The form of a name; another one is of a later version.
const FORM: u64 = 1;

/// A release, and what the face that gives out the name wants to find again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference {
    pub question: Question,
    /// Of the face.
    pub more: Map<String, Value>,
}

impl Reference {
    /// A name for exactly this release.
    pub fn of(judged: &Judged, more: Map<String, Value>) -> Self {
        let release = &judged.release;
        let question = Question {
            service: release.service.to_string(),
            namespace: Some(release.namespace.to_string()),
            env: Some(release.environment.to_string()),
            candidate: Some(release.version.to_string()),
            ..Question::default()
        };
        Reference { question, more }
    }

    /// The name.
    pub fn name(&self) -> String {
        let question = &self.question;
        let text = json!({
            "v": FORM,
            "service": question.service,
            "namespace": question.namespace,
            "env": question.env,
            "candidate": question.candidate,
            "more": self.more,
        });
        BASE64_URL_SAFE_NO_PAD.encode(text.to_string())
    }

    /// Reads a name.
    pub fn read(name: &str) -> Result<Self, Problem> {
        let unknown =
            || Problem::NotFound("nothing has this name: it is one that an earlier answer gave out".to_owned());
        if name.len() > NAME_BYTES_MAX {
            return Err(unknown());
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(name).map_err(|_| unknown())?;
        let read: Value = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
        if read["v"] != FORM {
            return Err(unknown());
        }
        let named = NAMES.iter().filter_map(|name| Some((name.to_string(), read[*name].as_str()?.to_owned())));
        let arguments: Arguments = named.collect();
        for (name, value) in &arguments {
            checked(name, value).map_err(|_| unknown())?;
        }
        // An empty namespace is a namespace here: nobody gave it, the release has it.
        let get = |name: &str| arguments.get(name).cloned();
        let question = Question {
            service: get("service").ok_or_else(unknown)?,
            namespace: get("namespace"),
            env: get("env"),
            candidate: get("candidate"),
            ..Question::default()
        };
        let more = read["more"].as_object().cloned().unwrap_or_default();
        Ok(Reference { question, more })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::boards::Release;
    use super::*;

    #[test]
    fn a_name_says_which_release_it_is_of() {
        let judged = Release::new("checkout", "2.14.0+x/ü").namespace("shop").judged();
        let more = json!({"pass": 75}).as_object().cloned().expect("a map");
        let reference = Reference::of(&judged, more);
        let name = reference.name();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{name}");
        assert_eq!(Reference::read(&name), Ok(reference));
    }

    proptest! {
        #[test]
        fn what_is_no_name_is_not_found(text in ".{0,80}") {
            prop_assert!(Reference::read(&text).is_err());
            let inside = BASE64_URL_SAFE_NO_PAD.encode(&text);
            prop_assert!(Reference::read(&inside).is_err());
        }
    }
}
