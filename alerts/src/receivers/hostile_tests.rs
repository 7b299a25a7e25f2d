//! Every receiver's contract, line by line, with telemetry that means harm in every text that it can set: nothing is injected, no limit is
//! passed, and what is ours stays as it is.

use std::sync::Arc;

use serde_json::Value;

use super::{Target, webhook::SigningKey};
use crate::change::tests::change;
use crate::change::{Change, Ending, Link, Word};
use crate::message::Moment;
use crate::outbox::row::{Body, Changes, Lost, Row};
use crate::secret::Secret;

const OURS: &str = "https://shipwake.example.com/s/checkout?a=1&b=2";
const ROUTING_KEY: &str = "R0123456789012345678901234567890";

/// What telemetry may call itself.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "<!channel> <!here|x> <!everyone> <!subteam^S1> <@U012> <#C012>",
        "&lt;!channel&gt; &amp;lt; &#60;!channel&#62;",
        "<https://evil.example|Evidence> https://evil.example HTTP://evil.example slack://evil",
        "[Evidence](https://evil.example) ![x](evil.example) [x](//evil.example)",
        "mailto:a@evil.example MAILTO:b www.evil.example WWW.EVIL.EXAMPLE",
        "@everyone @channel @here @all",
        "*bold* _it_ ~no~ `code` ```block``` > quote\n> quote\n# title\n- item",
        "\u{202e}olleh\u{202c} \u{2066}x\u{2069} \u{200f}y \u{061c}z",
        "\0\u{1}\u{7f}\u{85}\u{9b}31m \u{1b}[31mred\r\nBcc: x\u{2028}line\u{2029}line",
        "\",\"routing_key\":\"stolen\",\"x\":\"\\\" \\u0000 ${jndi:ldap://evil} {{7*7}} %s %n",
        "'; drop table logs; -- <script>alert(1)</script> <img src=x onerror=alert(1)>",
        "\u{feff}\u{fffd}\u{10ffff}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} e\u{301}",
    ]
    .map(str::to_owned)
    .to_vec();
    for unit in ["<", "&", "\"", "\\", "\u{1}", "@", "]( ", "://", "www.", "\u{202e}", "ß", "\u{1f680}", "a"] {
        // A megabyte of it.
        texts.push(unit.repeat((1 << 20) / unit.len()));
    }
    texts
}

/// A change all of whose texts are the given one.
fn said(text: &str, to: Word, ending: Option<Ending>) -> Change {
    let mut change = change(text, 7, Word::Wait, to);
    let release = &mut change.release;
    for name in [&mut release.service, &mut release.namespace, &mut release.environment] {
        *name = text.into();
    }
    change.baseline = Some(text.into());
    change.ending = ending;
    change.summary = text.to_owned();
    let mut check = change.checks.remove(0);
    (check.id, check.title, check.why) = (text.to_owned(), text.to_owned(), text.to_owned());
    change.checks = vec![check; 40];
    change.links = vec![
        Link { text: text.to_owned(), url: OURS.to_owned() },
        Link { text: "x".to_owned(), url: text.to_owned() },
        Link { text: "x".to_owned(), url: format!("/{text}") },
    ];
    change.bounded()
}

/// One row of every kind.
fn rows(text: &str) -> Vec<Row> {
    let wrong = Arc::new(said(text, Word::NoGo, None));
    let over = Arc::new(said(text, Word::NoGo, Some(Ending::RolledBack)));
    let mut many = Changes::one(wrong.clone());
    (0..20).for_each(|_| many.push(over.clone()));
    let mut lost = Lost::default();
    let row = |body, stands_in: Option<&str>| Row::new("chat".into(), body, stands_in.map(Into::into), 1_000);
    let first = row(Body::Changes(Changes::one(wrong)), None);
    (0..9).for_each(|_| lost.add(crate::outbox::row::Loss::Expired, &first));
    vec![
        first,
        row(Body::Changes(many), Some("pager")),
        row(Body::Changes(Changes::one(over)), None),
        row(Body::Lost(lost), None),
    ]
}

fn sent(target: &Target, row: &Row) -> (usize, Value) {
    let moment = Moment {
        now_ms: 1_795_428_900_000,
        url: Some("https://shipwake.example.com".to_owned()),
        overtaken_by: Some(Arc::new(said("<!channel>", Word::Go, None))),
    };
    let request = target.request(row, &moment);
    for (name, value) in &request.headers {
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{name}: {value:?}");
    }
    (request.body.len(), serde_json::from_slice(&request.body).expect("JSON"))
}

/// Every text of a document, with the path to it.
fn texts(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, &format!("{path}[]"), found)),
        Value::Object(map) => map.iter().for_each(|(name, item)| texts(item, &format!("{path}.{name}"), found)),
        _ => {}
    }
}

fn all_texts(value: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    texts(value, "", &mut found);
    found
}

/// Nothing in it moves a cursor, ends a line that is not ours, or turns the direction of writing.
fn is_plain(text: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.chars().any(|c| c.is_control() && c != '\n' || turns(c))
}

fn length(value: &Value) -> usize {
    value.as_str().expect("a text").chars().count()
}

#[test]
fn slack_gets_text_and_blocks_within_its_limits_and_nothing_of_telemetry_means_anything() {
    let target = Target::Slack { url: Secret::new("https://hooks.slack.com/services/x".to_owned()) };
    for text in hostile() {
        for row in rows(&text) {
            let (_, document) = sent(&target, &row);
            assert!(length(&document["text"]) > 0, "what a push notification shows is always there");
            let blocks = document["blocks"].as_array().expect("blocks");
            assert!(blocks.len() <= 50 && length(&blocks[0]["text"]["text"]) <= 150);
            assert_eq!(blocks[0]["text"]["type"], "plain_text");
            let mut total = 0;
            for (path, text) in all_texts(&document) {
                total += text.chars().count();
                assert!(text.chars().count() <= 3_000 && is_plain(&text), "{path}: {text:?}");
                if path == ".blocks[].text.text" && text == blocks[0]["text"]["text"] {
                    // Plain text: neither mentions nor links are read in it.
                    continue;
                }
                let ours = "<https://shipwake.example.com/s/checkout?a=1&amp;b=2|";
                let rest = text.replace(ours, "(ours)");
                assert_eq!(rest.matches('>').count(), text.matches(ours).count(), "{path}: {text:?}");
                let mut escapes = rest.split('&').skip(1);
                assert!(
                    escapes.all(|after| ["amp;", "lt;", "gt;"].iter().any(|end| after.starts_with(end))),
                    "{text:?}"
                );
                let rest = rest.to_lowercase();
                for harm in ["<", "://", "](", "www.", "mailto:", "@e", "@c", "@h", "@a"] {
                    assert!(!rest.contains(harm), "{path}: {harm} in {text:?}");
                }
            }
            assert!(total < 13_000, "{total} characters");
            for setting in ["link_names", "unfurl_links", "unfurl_media"] {
                assert_eq!(document[setting], false);
            }
            assert_eq!(document["parse"], "none");
        }
    }
}

#[test]
fn pagerduty_gets_its_fields_within_its_limits() {
    let secret = |text: &str| Secret::new(text.to_owned());
    let events = Target::PagerDuty { url: secret("https://events"), key: secret(ROUTING_KEY) };
    let changes = Target::PagerDutyChanges { url: secret("https://events"), key: secret(ROUTING_KEY) };
    for text in hostile() {
        for row in rows(&text) {
            for target in [&events, &changes] {
                let (bytes, event) = sent(target, &row);
                assert!(bytes <= 512_000, "{bytes} bytes");
                assert_eq!(event["routing_key"], ROUTING_KEY, "not what telemetry says");
                assert!(all_texts(&event).iter().all(|(_, text)| is_plain(text)), "{event}");
                for link in event["links"].as_array().into_iter().flatten() {
                    assert!(
                        link["href"].as_str().is_some_and(|url| url.starts_with("https://shipwake.example.com/")),
                        "{link}"
                    );
                }
                let action = event["event_action"].as_str();
                if action.is_some() {
                    assert!(length(&event["dedup_key"]) <= 255);
                }
                if action == Some("resolve") {
                    assert!(event.get("payload").is_none(), "the key says what is over");
                    continue;
                }
                assert_eq!(action, std::ptr::eq(target, &events).then_some("trigger"));
                let payload = &event["payload"];
                assert!(
                    (1..=1_024).contains(&length(&payload["summary"]))
                        && payload["source"].as_str().is_some_and(|source| !source.trim().is_empty())
                );
                if action.is_some() {
                    assert!(["critical", "error", "warning", "info"].iter().any(|word| payload["severity"] == *word));
                }
                assert!(
                    payload["timestamp"].as_str().is_some_and(|time| time.len() >= 20 && time.ends_with('Z')),
                    "{payload}"
                );
            }
        }
    }
}

#[test]
fn a_webhook_stays_within_what_is_advised_and_its_texts_are_plain() {
    let key = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
    let keys = vec![SigningKey::parse(&key).expect("a key")];
    let target = Target::Webhook { url: Secret::new("https://hooks".to_owned()), keys };
    // Programs compare these with what they deploy: they are as the sender wrote them, cut to their bounds.
    let names = [".data.service", ".data.namespace", ".data.env", ".data.candidate", ".data.baseline"];
    for text in hostile() {
        for row in rows(&text) {
            let (bytes, document) = sent(&target, &row);
            assert!(bytes <= 20_000, "{bytes} bytes of {:?}", text.chars().take(20).collect::<String>());
            for (path, text) in all_texts(&document) {
                assert!(names.contains(&path.as_str()) || is_plain(&text), "{path}: {text:?}");
            }
        }
    }
}
