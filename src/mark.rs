//! `shipwake mark`: tells a running Shipwake something about a release, tried until it is on disk there.
//!
//! The marker gets its id and its time here, before the first attempt, so that one whose answer was lost counts once. Exit code 0: it
//! is on disk; 1: nobody took it in time; 2: Shipwake refused it, and says why.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Url};
use serde_json::{Value, json};
use shipwake_model::marker::{DeployStatus, Exposure, MarkerKind, Role};
use shipwake_model::moment;
use tokio::time::Instant;

use crate::load;
use crate::send::answer::{self, pause};
use crate::send::post;
use crate::send::words::say;

const AGENT: &str = concat!("shipwake-mark/", env!("CARGO_PKG_VERSION"));
/// Exit code when nobody took it in time, and when it was refused.
const NOT_DELIVERED: u8 = 1;
const REFUSED: u8 = 2;

/// `shipwake mark`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct MarkArgs {
    /// What to say: deploy, rollback, promote, weight, toggle, freeze or note.
    #[arg(value_parser = MarkerKind::from_word)]
    pub kind: MarkerKind,
    /// Service that it is about.
    #[arg(long, env = "SHIPWAKE_SERVICE")]
    pub service: String,
    /// Namespace of the service.
    #[arg(long, env = "SHIPWAKE_NAMESPACE")]
    pub namespace: Option<String>,
    /// Version that it is about, as the service itself sends it in service.version.
    #[arg(long = "version", env = "SHIPWAKE_VERSION", id = "release_version", value_name = "VERSION")]
    pub version: Option<String>,
    /// Environment that it is about.
    #[arg(long, visible_alias = "environment", env = "SHIPWAKE_ENVIRONMENT")]
    pub env: Option<String>,
    /// The version before.
    #[arg(long)]
    pub previous: Option<String>,
    /// Share of the traffic that the version is to get: 0.1, or 10%.
    #[arg(long, value_parser = share)]
    pub weight: Option<f64>,
    /// What the version is from now on: stable, candidate, dark, shadow or retired.
    #[arg(long, value_parser = Role::from_word)]
    pub role: Option<Role>,
    /// Who can reach it: public or internal.
    #[arg(long, value_parser = Exposure::from_word)]
    pub exposure: Option<Exposure>,
    /// How far a deployment is: started, succeeded or failed.
    #[arg(long, value_parser = DeployStatus::from_word)]
    pub status: Option<DeployStatus>,
    /// Key of the toggle that was turned.
    #[arg(long)]
    pub toggle: Option<String>,
    /// Commit that the version was built from.
    #[arg(long)]
    pub commit: Option<String>,
    /// Who did it.
    #[arg(long, env = "SHIPWAKE_BY")]
    pub by: Option<String>,
    /// Where a person finds more: an address that begins with http:// or https://. Where Shipwake is says --server.
    #[arg(long, value_parser = web_address)]
    pub url: Option<String>,
    /// A sentence for people.
    #[arg(long)]
    pub text: Option<String>,
    /// When it happened: '2026-11-23 14:00' (UTC), RFC 3339, or a number since 1970, whose unit shows in its size. Default: now.
    #[arg(long, value_parser = time)]
    pub at: Option<u64>,
    /// Until when it lasts, as --at: of a freeze.
    #[arg(long, value_parser = time)]
    pub until: Option<u64>,
    /// Tells it from all others: the same id again is the same marker. Default: a new one.
    #[arg(long)]
    pub id: Option<String>,
    /// Where Shipwake takes telemetry; the port of its pages will do too.
    #[arg(long, env = "SHIPWAKE_ENDPOINT", default_value = "http://127.0.0.1:4318")]
    pub server: String,
    /// How long to try: `30s`, `5m`.
    #[arg(long, env = "SHIPWAKE_WAIT", default_value = "30s", value_parser = load::parse_duration)]
    pub wait: Duration,
}

/// What became of one attempt.
enum Attempt {
    Taken(String),
    Refused(String),
    Later(String, Option<Duration>),
}

/// Runs until the marker is on disk, refused, or the time is over.
///
/// # Errors
/// When `--server` is not an address.
pub fn run(args: &MarkArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (place, url) = post::address("--server", &args.server, "/v1/markers")?;
    let client = post::client(&url, AGENT)?;
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let marker = marker(args, u64::try_from(now_ms)?, rand::random()).to_string();
    Ok(runtime.block_on(deliver(&client, &url, &place, &marker, args.wait)))
}

async fn deliver(client: &Client, url: &Url, place: &str, marker: &str, wait: Duration) -> ExitCode {
    let give_up = Instant::now() + wait;
    for attempt in 1.. {
        let (reason, hint) = match attempt_once(client, url, marker).await {
            Attempt::Taken(id) => {
                println!("{id}");
                return ExitCode::SUCCESS;
            }
            Attempt::Refused(reason) => {
                say(&reason);
                return ExitCode::from(REFUSED);
            }
            Attempt::Later(reason, hint) => (reason, hint),
        };
        let next = Instant::now() + pause(attempt, hint, rand::random());
        if next > give_up {
            say(&format!(
                "{place} {reason}; the marker is not delivered: is Shipwake elsewhere? (--server, SHIPWAKE_ENDPOINT)"
            ));
            return ExitCode::from(NOT_DELIVERED);
        }
        if attempt == 1 {
            say(&format!("{place} {reason}; trying for {} s", wait.as_secs()));
        }
        tokio::time::sleep_until(next).await;
    }
    unreachable!("attempts do not end")
}

async fn attempt_once(client: &Client, url: &Url, marker: &str) -> Attempt {
    let request = client.post(url.clone()).header("content-type", "application/json").body(marker.to_owned());
    let sent = match request.send().await {
        Ok(sent) => sent,
        Err(error) => return Attempt::Later(post::cause(&error), None),
    };
    let status = sent.status().as_u16();
    let retry_after = sent.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = match sent.bytes().await {
        Ok(body) => body,
        Err(error) => return Attempt::Later(post::cause(&error), None),
    };
    match answer::read(status, retry_after.as_deref(), &body) {
        answer::Answer::Taken(_) => {
            let said: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Attempt::Taken(said["ids"][0].as_str().unwrap_or_default().to_owned())
        }
        answer::Answer::Later { reason, hint } => Attempt::Later(reason, hint),
        answer::Answer::TooLarge(reason) | answer::Answer::Refused(reason) => Attempt::Refused(reason),
    }
}

/// The marker as it is posted. What was not said has no field.
fn marker(args: &MarkArgs, now_ms: u64, random: u128) -> Value {
    let fields = [
        ("id", Some(json!(args.id.clone().unwrap_or_else(|| format!("cli-{random:032x}"))))),
        ("kind", Some(json!(args.kind.as_str()))),
        ("service", Some(json!(args.service))),
        ("namespace", args.namespace.as_ref().map(|text| json!(text))),
        ("env", args.env.as_ref().map(|text| json!(text))),
        ("version", args.version.as_ref().map(|text| json!(text))),
        ("previous", args.previous.as_ref().map(|text| json!(text))),
        ("at", Some(json!(args.at.unwrap_or(now_ms)))),
        ("until", args.until.map(|number| json!(number))),
        ("weight", args.weight.map(|weight| json!(weight))),
        ("role", args.role.map(|role| json!(role.as_str()))),
        ("exposure", args.exposure.map(|exposure| json!(exposure.as_str()))),
        ("status", args.status.map(|status| json!(status.as_str()))),
        ("toggle", args.toggle.as_ref().map(|text| json!(text))),
        ("commit", args.commit.as_ref().map(|text| json!(text))),
        ("url", args.url.as_ref().map(|text| json!(text))),
        ("by", args.by.as_ref().map(|text| json!(text))),
        ("text", args.text.as_ref().map(|text| json!(text))),
        ("source", Some(json!("cli"))),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A point in time: a number as it is, and anything else in milliseconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let ms = moment::parse(text).and_then(|ms| u64::try_from(ms).ok());
    ms.ok_or_else(|| format!("it is neither {} nor a number since 1970", moment::FORMS))
}

/// An address that pages can link to.
fn web_address(text: &str) -> Result<String, String> {
    // A pipeline without one gives an empty one.
    let is_of_web = text.is_empty() || Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if is_of_web { Ok(text.to_owned()) } else { Err("it begins with neither http:// nor https://".to_owned()) }
}

/// A share: 0.1 or 10%.
fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share =
        number.trim().parse::<f64>().map_err(|_| format!("{text:?} is not a share such as 0.1 or 10%"))? / scale;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text} is not between 0 and 1, or 0% and 100%")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Mark {
        #[command(flatten)]
        args: MarkArgs,
    }

    #[test]
    fn what_is_said_on_the_command_line_is_what_is_posted() {
        let words = "mark deploy --service checkout --version 2.14.0 --env production --weight 10% --role candidate --by ana \
                     --at 2026-11-23T10:00:00Z --until 1795428000000";
        let said = Mark::try_parse_from(words.split_whitespace()).expect("known options").args;
        let expected = json!({
            "id": "cli-00000000000000000000000000000007", "kind": "deploy", "service": "checkout", "env": "production",
            "version": "2.14.0", "at": 1_795_428_000_000u64, "until": 1_795_428_000_000u64, "weight": 0.1,
            "role": "candidate", "by": "ana", "source": "cli",
        });
        assert_eq!(marker(&said, 5, 7), expected);
        let bare =
            Mark::try_parse_from(["mark", "note", "--service", "checkout", "--id", "n-1"]).expect("known options").args;
        let expected = json!({ "id": "n-1", "kind": "note", "service": "checkout", "at": 5, "source": "cli" });
        assert_eq!(marker(&bare, 5, 7), expected);
        for at in ["2026-11-23 10:00", "2026-11-23T11:00:00+01:00", "1795428000000"] {
            let said = Mark::try_parse_from(["mark", "note", "--service", "a", "--at", at]).expect("a time").args;
            assert_eq!(marker(&said, 5, 7)["at"], 1_795_428_000_000u64, "{at}");
        }
        for wrong in [
            "mark deplyo --service a",
            "mark deploy",
            "mark weight --service a --weight 20",
            "mark note --service a --role canary",
            "mark note --service a --url javascript:alert(1)",
            "mark note --service a --url ci.example/7",
            "mark note --service a --at yesterday",
            "mark note --service a --at 1969-12-31",
        ] {
            assert!(Mark::try_parse_from(wrong.split_whitespace()).is_err(), "{wrong}");
        }
    }
}
