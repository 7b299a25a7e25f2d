//! What GitHub asked and was not answered yet, and its stored form (`alerts/FORMAT.md`). Pure.

use serde_json::{Value, json};

use super::super::arguments::checked;
use super::super::problem::Problem;
use super::GithubConfig;

/// Deployments that wait at a time.
const PENDING_MAX: usize = 500;
/// Names by which a release may be known.
const NAMES_MAX: usize = 8;
/// The version of the stored form.
const FORM: u64 = 1;
/// Letters of a commit that make a name where nobody writes all of them.
const SHORT: [usize; 3] = [7, 8, 12];

/// A deployment that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where the answer goes; names the question, too.
    pub callback: String,
    /// `owner/name`, for people.
    pub repository: String,
    /// The environment at GitHub.
    pub environment: String,
    /// Of the app, at the owner of the repository.
    pub installation: Option<u64>,
    /// The release: its service, namespace and environment here.
    pub service: String,
    pub namespace: Option<String>,
    pub env: String,
    /// What the version may be called, the likeliest first.
    pub versions: Vec<String>,
    pub asked_ms: i64,
    /// Attempts that failed, and when the next one is due.
    pub attempts: u32,
    pub not_before_ms: i64,
}

impl Asked {
    /// Reads the payload of a webhook whose signature is right. Its texts come from people who may start a deployment.
    pub fn read(payload: &Value, config: &GithubConfig, now_ms: i64) -> Result<Self, Problem> {
        let text = |value: &Value, name: &str| -> Result<String, Problem> {
            let text = value.as_str().filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| Problem::Body(format!("the payload has no `{name}`")))?;
            checked(name, text)?;
            Ok(text.to_owned())
        };
        let callback = text(&payload["deployment_callback_url"], "deployment_callback_url")?;
        let is_ours = callback.strip_prefix(&config.api).is_some_and(|path| path.starts_with('/'));
        if !is_ours {
            let api = &config.api;
            return Err(Problem::Body(format!(
                "deployment_callback_url is not below {api}: the token does not go elsewhere"
            )));
        }
        let repository = text(&payload["repository"]["full_name"], "repository.full_name")?;
        let environment = text(&payload["environment"], "environment")?;
        let rule = config.deployments.iter().find(|rule| rule.fits(&repository, &environment));
        let rule = rule.ok_or_else(|| {
            Problem::NotFound(format!("no entry of `deployments` fits {repository} in {environment}"))
        })?;
        let name = repository.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Asked {
            callback,
            environment: environment.clone(),
            installation: payload["installation"]["id"].as_u64(),
            service: rule.service.clone().unwrap_or(name),
            namespace: rule.namespace.clone(),
            env: rule.env.clone().unwrap_or(environment),
            versions: versions(&payload["deployment"]),
            repository,
            asked_ms: now_ms,
            attempts: 0,
            not_before_ms: 0,
        })
    }
}

/// What the version of a deployment may be called: what it says itself, the tag or branch, the commit.
fn versions(deployment: &Value) -> Vec<String> {
    let payload = match &deployment["payload"] {
        // GitHub gives it as a text where it was made as one.
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    };
    let said = ["version", "tag"].into_iter().filter_map(|name| payload[name].as_str());
    let reference = deployment["ref"].as_str().unwrap_or_default();
    let reference = reference.trim_start_matches("refs/tags/").trim_start_matches("refs/heads/");
    let without_v = reference.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let commit = deployment["sha"].as_str().unwrap_or_default();
    let short = SHORT.into_iter().filter_map(|length| commit.get(..length));
    let mut versions: Vec<String> = Vec::new();
    for name in said.chain([reference]).chain(without_v).chain([commit]).chain(short) {
        if !name.is_empty() && checked("version", name).is_ok() && !versions.iter().any(|known| known == name) {
            versions.push(name.to_owned());
        }
    }
    versions.truncate(NAMES_MAX);
    versions
}

/// All that is owed, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub pending: Vec<Asked>,
}

impl Book {
    /// Adds a question; one that is there already stays as it is.
    pub fn take(&mut self, asked: Asked) -> Result<(), String> {
        if self.pending.iter().any(|known| known.callback == asked.callback) {
            return Ok(());
        }
        if self.pending.len() >= PENDING_MAX {
            return Err(format!("{PENDING_MAX} deployments wait already"));
        }
        self.pending.push(asked);
        Ok(())
    }

    /// It is answered.
    pub fn strike_out(&mut self, callback: &str) {
        self.pending.retain(|asked| asked.callback != callback);
    }

    /// It could not be delivered: later, and later still the next time.
    pub fn put_off(&mut self, callback: &str, now_ms: i64, pause_ms: i64, pause_max_ms: i64) {
        for asked in self.pending.iter_mut().filter(|asked| asked.callback == callback) {
            let doubled = pause_ms.saturating_mul(1 << asked.attempts.min(16));
            asked.not_before_ms = now_ms.saturating_add(doubled.min(pause_max_ms));
            asked.attempts = asked.attempts.saturating_add(1);
        }
    }

    /// The stored form.
    pub fn write(&self) -> Vec<u8> {
        let pending = self.pending.iter().map(|asked| {
            json!({
                "callback": asked.callback, "repository": asked.repository, "environment": asked.environment,
                "installation": asked.installation, "service": asked.service, "namespace": asked.namespace,
                "env": asked.env, "versions": asked.versions, "asked_ms": asked.asked_ms,
                "attempts": asked.attempts, "not_before_ms": asked.not_before_ms,
            })
        });
        json!({"format": FORM, "pending": pending.collect::<Vec<_>>()}).to_string().into_bytes()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// What is wrong with it. Nothing of it is passed over.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let stored: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if stored["format"] != FORM {
            return Err(format!("deployments of GitHub are stored in form {}, and {FORM} is known", stored["format"]));
        }
        let list = stored["pending"].as_array().ok_or("`pending` is no list")?;
        let pending = list.iter().map(|form| one(form).ok_or_else(|| format!("a deployment cannot be read: {form}")));
        Ok(Book { pending: pending.collect::<Result<_, _>>()? })
    }
}

fn one(form: &Value) -> Option<Asked> {
    let text = |name: &str| Some(form[name].as_str()?.to_owned());
    let versions = form["versions"].as_array()?;
    Some(Asked {
        callback: text("callback")?,
        repository: text("repository")?,
        environment: text("environment")?,
        installation: form["installation"].as_u64(),
        service: text("service")?,
        namespace: text("namespace"),
        env: text("env")?,
        versions: versions.iter().map(|version| Some(version.as_str()?.to_owned())).collect::<Option<_>>()?,
        asked_ms: form["asked_ms"].as_i64()?,
        attempts: form["attempts"].as_u64()?.try_into().ok()?,
        not_before_ms: form["not_before_ms"].as_i64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(callback: &str) -> Asked {
        Asked {
            callback: callback.to_owned(),
            repository: "acme/checkout".to_owned(),
            environment: "production".to_owned(),
            installation: Some(7),
            service: "checkout".to_owned(),
            namespace: None,
            env: "canary".to_owned(),
            versions: vec!["2.14.0".to_owned()],
            asked_ms: 5,
            attempts: 0,
            not_before_ms: 0,
        }
    }

    #[test]
    fn a_version_may_have_several_names() {
        let deployment =
            json!({"ref": "refs/tags/v2.14.0", "sha": "0123456789abcdef", "payload": "{\"version\":\"2.14\"}"});
        let expected = ["2.14", "v2.14.0", "2.14.0", "0123456789abcdef", "0123456", "01234567", "0123456789ab"];
        assert_eq!(versions(&deployment), expected);
        assert_eq!(versions(&json!({"ref": "main", "payload": {}})), ["main"]);
        assert!(versions(&Value::Null).is_empty());
    }

    #[test]
    fn a_question_is_one_however_often_it_comes_and_there_is_an_end_to_them() {
        let mut book = Book::default();
        for k in 0..PENDING_MAX {
            book.take(asked(&format!("https://api/{k}"))).expect("room");
        }
        assert!(book.take(asked("https://api/0")).is_ok());
        assert!(book.take(asked("https://api/more")).is_err());
        book.strike_out("https://api/0");
        assert_eq!(book.pending.len(), PENDING_MAX - 1);
    }

    #[test]
    fn what_is_stored_reads_back_and_damage_is_said() {
        let mut book = Book::default();
        book.take(asked("https://api/1")).expect("room");
        book.put_off("https://api/1", 1_000, 5_000, 300_000);
        assert_eq!((book.pending[0].attempts, book.pending[0].not_before_ms), (1, 6_000));
        book.put_off("https://api/1", 1_000, 5_000, 300_000);
        assert_eq!(book.pending[0].not_before_ms, 11_000);
        assert_eq!(Book::read(&book.write()), Ok(book));
        for bytes in [&b"{"[..], b"{}", br#"{"format":2,"pending":[]}"#, br#"{"format":1,"pending":[{}]}"#] {
            assert!(Book::read(bytes).is_err());
        }
        // A file of version 1, as it was written first.
        let old = br#"{"format":1,"pending":[{"asked_ms":5,"attempts":0,"callback":"https://api/1","env":"canary","environment":"production","installation":7,"namespace":null,"not_before_ms":0,"repository":"acme/checkout","service":"checkout","versions":["2.14.0"]}]}"#;
        assert_eq!(Book::read(old).expect("opens").pending, [asked("https://api/1")]);
    }
}
