//! The generic webhook: a JSON document, signed as Standard Webhooks 1.0 says. Any program can check who sent it, and tells a
//! repetition by `webhook-id`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Map, Value, json};

use crate::change::{Change, Check, Counts};
use crate::message::{self, Moment};
use crate::outbox::row::{Body, Changes, Lost, Row};
use crate::receivers::{Request, plain};
use crate::secret::Secret;
use crate::time::rfc3339;

/// What the specification advises.
const BODY_BYTES_MAX: usize = 20_000;
/// Bytes that a key has.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What a key is written behind.
const KEY_PREFIX: &str = "whsec_";

/// A key to sign with.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl SigningKey {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// What is wrong with the form; never the text.
    pub fn parse(secret: &Secret) -> Result<Self, String> {
        let Some(text) = secret.expose().strip_prefix(KEY_PREFIX) else {
            return Err(format!("a signing secret begins with `{KEY_PREFIX}`"));
        };
        let bytes = STANDARD.decode(text).map_err(|_| format!("behind `{KEY_PREFIX}` comes base64"))?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(format!("a signing secret has 24 to 64 bytes, this one {}", bytes.len()));
        }
        Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// What stands in `webhook-signature` for this key.
    pub fn signature(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.tag(id, timestamp_s, body)))
    }

    /// Whether one of the signatures of a webhook is of this key: what a receiver does. How old it may be is the receiver's.
    pub fn fits(&self, id: &str, timestamp_s: i64, body: &[u8], signatures: &str) -> bool {
        let own = self.tag(id, timestamp_s, body);
        let given = signatures.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        // In a time that does not tell how much of it fits.
        let is_same = |given: &[u8]| {
            given.len() == own.as_ref().len()
                && given.iter().zip(own.as_ref()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
        };
        given.into_iter().any(|given| is_same(&given))
    }

    fn tag(&self, id: &str, timestamp_s: i64, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body);
        context.sign()
    }
}

/// The request for a row, signed with every key.
pub fn request(url: &Secret, keys: &[SigningKey], row: &Row, moment: &Moment) -> Request {
    let body = body(row, moment);
    let (id, timestamp_s) = (format!("msg_{}", row.id), moment.now_ms.div_euclid(1_000));
    let mut headers = vec![("webhook-id", id.clone()), ("webhook-timestamp", timestamp_s.to_string())];
    if !keys.is_empty() {
        let signatures: Vec<String> = keys.iter().map(|key| key.signature(&id, timestamp_s, &body)).collect();
        headers.push(("webhook-signature", signatures.join(" ")));
    }
    Request { url: url.clone(), headers, body }
}

/// The document, cut to the size that is advised: the last checks go first, and their number is said.
fn body(row: &Row, moment: &Moment) -> Vec<u8> {
    let mut document = document(row, moment);
    loop {
        let bytes = document.to_string().into_bytes();
        if bytes.len() <= BODY_BYTES_MAX {
            return bytes;
        }
        let data = &mut document["data"];
        let left_out = data["metrics_left_out"].as_u64().unwrap_or(0) + 1;
        match data["metrics"].as_array_mut().and_then(Vec::pop) {
            Some(_) => data["metrics_left_out"] = left_out.into(),
            None => return bytes,
        }
    }
}

fn document(row: &Row, moment: &Moment) -> Value {
    let said = message::message(row, moment);
    let (kind, at_ms, mut data) = match &row.body {
        Body::Changes(changes) => ("verdict.changed", changes.last().at_ms, of_changes(changes, moment)),
        Body::Lost(lost) => ("notifications.lost", row.created_ms, of_lost(lost)),
        Body::Test => ("test", row.created_ms, Map::new()),
    };
    data.insert("title".to_owned(), plain(&said.title).into());
    data.insert("receiver".to_owned(), row.receiver.to_string().into());
    if let Some(other) = &row.stands_in_for {
        data.insert("stands_in_for".to_owned(), other.to_string().into());
    }
    if !said.notes.is_empty() {
        data.insert("notes".to_owned(), said.notes.iter().map(|note| plain(note)).collect());
    }
    json!({ "type": kind, "timestamp": rfc3339(at_ms), "data": data })
}

/// The fields have the names of `GET /v1/verdict`. `from` is the verdict that the receiver was last told of, where it can
/// know one: changes that were told late as one message are in `earlier`.
fn of_changes(changes: &Changes, moment: &Moment) -> Map<String, Value> {
    let change = changes.last();
    let first = changes.told.first().unwrap_or(change);
    let mut data = identity(change);
    data.insert("verdict".to_owned(), change.to.as_str().into());
    data.insert("from".to_owned(), first.from.as_str().into());
    data.insert("decided".to_owned(), change.to.is_decided().into());
    data.insert("ok".to_owned(), (change.to == crate::change::Word::Go).into());
    data.insert("ending".to_owned(), change.ending.map(crate::change::Ending::as_str).into());
    data.insert("sequence".to_owned(), change.sequence.into());
    data.insert("as_of".to_owned(), rfc3339(change.at_ms).into());
    data.insert("summary".to_owned(), plain(&change.summary).into());
    data.insert("metrics".to_owned(), change.checks.iter().map(metric).collect());
    let links = message::links(change, moment);
    data.insert(
        "links".to_owned(),
        links.iter().map(|link| json!({ "text": plain(&link.text), "url": link.url })).collect(),
    );
    if changes.told.len() > 1 {
        let earlier = &changes.told[..changes.told.len() - 1];
        data.insert("earlier".to_owned(), earlier.iter().map(|change| earlier_change(change)).collect());
        data.insert("earlier_left_out".to_owned(), changes.left_out.into());
    }
    data
}

fn identity(change: &Change) -> Map<String, Value> {
    let release = &change.release;
    let mut data = Map::new();
    for (name, text) in [
        ("service", &release.service),
        ("namespace", &release.namespace),
        ("env", &release.environment),
        ("candidate", &release.version),
    ] {
        data.insert(name.to_owned(), text.to_string().into());
    }
    data.insert("baseline".to_owned(), change.baseline.as_deref().into());
    data.insert("candidate_share".to_owned(), change.share.into());
    data
}

fn earlier_change(change: &Change) -> Value {
    let summary = crate::receivers::cut_chars(&plain(&change.summary), 200);
    json!({
        "verdict": change.to.as_str(), "from": change.from.as_str(), "sequence": change.sequence,
        "ending": change.ending.map(crate::change::Ending::as_str), "as_of": rfc3339(change.at_ms), "summary": summary,
    })
}

fn metric(check: &Check) -> Value {
    let effect = check.effect.as_ref().map(|effect| {
        json!({ "kind": effect.kind, "value": effect.value, "low": effect.low, "high": effect.high, "margin": effect.margin })
    });
    let counts = |counts: Option<Counts>| counts.map(|counts| json!([counts.bad, counts.all]));
    // JSON has no infinity; so much evidence is as good as any.
    let e_worse = check.e_worse.map(|evidence| evidence.min(f64::MAX));
    json!({
        "id": plain(&check.id), "title": plain(&check.title), "state": check.state.as_str(), "effect": effect, "evidence": { "e_worse": e_worse },
        "counts": { "candidate": counts(check.candidate), "baseline": counts(check.baseline) }, "why": plain(&check.why),
    })
}

fn of_lost(lost: &Lost) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("expired".to_owned(), lost.expired.into());
    data.insert("dropped".to_owned(), lost.dropped.into());
    data.insert("rejected".to_owned(), lost.rejected.into());
    data.insert("first".to_owned(), rfc3339(lost.first_ms).into());
    data.insert("last".to_owned(), rfc3339(lost.last_ms).into());
    data.insert("titles".to_owned(), lost.titles.iter().map(|title| plain(title)).collect());
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Word;
    use crate::change::tests::change;
    use std::sync::Arc;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NEXT_KEY: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn key(text: &str) -> SigningKey {
        SigningKey::parse(&Secret::new(text.to_owned())).expect("a key")
    }

    fn header<'a>(request: &'a Request, name: &str) -> &'a str {
        let found = request.headers.iter().find(|(known, _)| *known == name);
        &found.unwrap_or_else(|| panic!("no {name}")).1
    }

    /// The example of the specification.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let signature = key(KEY).signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_receiver_knows_its_own_signature_among_several() {
        let (old, new) = (key(KEY), key(NEXT_KEY));
        let both = format!("{} {}", new.signature("a", 1, b"x"), old.signature("a", 1, b"x"));
        assert!(old.fits("a", 1, b"x", &both) && new.fits("a", 1, b"x", &both));
        assert!(!old.fits("b", 1, b"x", &both) && !old.fits("a", 2, b"x", &both) && !old.fits("a", 1, b"y", &both));
        for forged in ["", "v1,", "v1", "v2,g0hM9SsE", &new.signature("a", 1, b"x")[..20]] {
            assert!(!old.fits("a", 1, b"x", forged), "{forged}");
        }
    }

    #[test]
    fn both_keys_sign_while_they_are_rotated_and_the_id_stays() {
        let told = change("2.14.0", 1, Word::Wait, Word::NoGo);
        let row = Row::new("hook".into(), Body::Changes(Changes::one(Arc::new(told))), None, 0);
        let keys = [key(NEXT_KEY), key(KEY)];
        let url = Secret::new("https://hooks".to_owned());
        let at = |now_ms| request(&url, &keys, &row, &Moment { now_ms, ..Moment::default() });
        let (first, second) = (at(1_795_428_001_000), at(1_795_428_061_500));
        assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
        assert_eq!(header(&second, "webhook-timestamp"), "1795428061");
        assert_eq!(header(&first, "webhook-signature").split(' ').count(), 2);
        assert_ne!(header(&first, "webhook-signature"), header(&second, "webhook-signature"));
    }

    #[test]
    fn the_document_has_the_fields_of_the_verdict() {
        let told = change("2.14.0", 148, Word::Wait, Word::NoGo);
        let moment = Moment { now_ms: told.at_ms, ..Moment::default() };
        let row = Row::new("hook".into(), Body::Changes(Changes::one(Arc::new(told))), None, 0);
        let document: Value = serde_json::from_slice(&body(&row, &moment)).expect("JSON");
        assert_eq!(document["type"], "verdict.changed");
        assert_eq!(document["timestamp"], "2026-11-23T10:02:28Z");
        let data = &document["data"];
        assert_eq!((&data["verdict"], &data["ok"], &data["decided"]), (&json!("no_go"), &json!(false), &json!(true)));
        assert_eq!(
            (&data["candidate"], &data["baseline"], &data["env"]),
            (&json!("2.14.0"), &json!("2.13.2"), &json!("production"))
        );
        assert_eq!(data["metrics"][0]["counts"]["candidate"], json!([188, 60_110]));
        assert_eq!(data["metrics"][0]["effect"]["margin"], json!(1.1));
    }

    #[test]
    fn the_largest_document_stays_near_what_is_advised() {
        let mut large = change("2.14.0", 1, Word::NoGo, Word::Watch);
        large.summary = "\u{1}\"".repeat(5_000);
        large.checks = vec![large.checks[0].clone(); 50];
        large.checks.iter_mut().for_each(|check| check.why = "\\\u{7f}".repeat(500));
        let mut changes = Changes::one(Arc::new(large.clone().bounded()));
        for _ in 0..20 {
            changes.push(Arc::new(large.clone().bounded()));
        }
        let row = Row::new("hook".into(), Body::Changes(changes), None, 0);
        let bytes = body(&row, &Moment::default());
        assert!(bytes.len() <= BODY_BYTES_MAX, "{} bytes", bytes.len());
        let document: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(document["data"]["earlier_left_out"], 13);
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_being_shown() {
        for text in ["canary-secret", "whsec_canary!", "whsec_Y2FuYXJ5", &format!("whsec_{}", "A".repeat(200))] {
            let error = SigningKey::parse(&Secret::new(text.to_owned())).expect_err(text);
            assert!(!error.contains("canary") && !error.contains("Y2FuYXJ5"), "{error}");
        }
    }
}
