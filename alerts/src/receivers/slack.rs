//! Slack's incoming webhook, and chats that understand the same: `text` for the push notification, blocks for the channel.
//!
//! Telemetry is text to Slack as well: `&`, `<` and `>` are escaped, so it cannot name a channel, a person or a link; `@` and
//! what begins an address are taken apart, so that no client makes one of it, Markdown's links included; and Slack is told not to
//! look for any.

use serde_json::{Value, json};

use crate::message::{self, Message, Moment};
use crate::outbox::row::Row;
use crate::receivers::{Request, cut_chars, plain};
use crate::secret::Secret;

/// Characters that Slack takes: of a header, of a section. All of a message has about 13 000.
const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 3_000;
/// Of the evidence, so that the whole stays within the bound.
const EVIDENCE_LINES_MAX: usize = 8;
/// Text for the push notification.
const TEXT_CHARS_MAX: usize = 1_000;
/// Shows nothing and parts what must not be read as one.
const PART: char = '\u{200b}';

/// What Slack says when it will never take the message: the rest of its complaints is about the address or the channel.
const FINAL: [&str; 6] =
    ["invalid_payload", "no_text", "invalid_blocks", "msg_too_long", "msg_blocks_too_long", "too_many_attachments"];

/// The request for a row.
pub fn request(url: &Secret, row: &Row, moment: &Moment) -> Request {
    let said = message::message(row, moment);
    Request { url: url.clone(), headers: Vec::new(), body: document(&said).to_string().into_bytes() }
}

/// Whether an answer means that the message will never be taken.
pub fn is_final(status: u16, text: &str) -> bool {
    status == 413 || status == 400 && FINAL.iter().any(|word| text.contains(word))
}

fn document(said: &Message) -> Value {
    let mut blocks = vec![json!({
        // Plain text: nothing in it is read as anything else.
        "type": "header", "text": { "type": "plain_text", "text": cut_chars(&parted(&said.title), HEADER_CHARS_MAX), "emoji": false }
    })];
    let mut body = escaped(&said.sentence);
    for note in &said.notes {
        body.push_str(&format!("\n{}", escaped(note)));
    }
    let body = if body.is_empty() { escaped(&said.title) } else { body };
    blocks.push(section(&body));
    if !said.evidence.is_empty() {
        let mut lines: Vec<String> =
            said.evidence.iter().take(EVIDENCE_LINES_MAX).map(|line| format!("• {}", escaped(line))).collect();
        if said.evidence.len() > EVIDENCE_LINES_MAX {
            lines.push(format!("and {} more", said.evidence.len() - EVIDENCE_LINES_MAX));
        }
        blocks.push(section(&lines.join("\n")));
    }
    let footer = footer(said);
    if !footer.is_empty() {
        blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": footer, "verbatim": true }] }));
    }
    let text = cut_escaped(&escaped(&format!("{}. {}", said.title, said.sentence)), TEXT_CHARS_MAX);
    json!({
        "text": text, "blocks": blocks, "parse": "none", "link_names": false, "unfurl_links": false, "unfurl_media": false,
    })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut_escaped(text, SECTION_CHARS_MAX), "verbatim": true } })
}

/// What is beside, and links: the one place where angle brackets are ours. Links have no characters that end them early.
fn footer(said: &Message) -> String {
    let mut parts: Vec<String> = Vec::new();
    if !said.context.is_empty() {
        parts.push(cut_escaped(&escaped(&said.context), HEADER_CHARS_MAX * 4));
    }
    let links = said.links.iter().map(|link| {
        let text = cut_chars(&plain(&link.text).replace('|', " "), HEADER_CHARS_MAX);
        format!("<{}|{}>", link.url.replace('&', "&amp;"), escape(&parted(&text)))
    });
    parts.extend(links);
    let mut footer = String::new();
    for part in parts {
        // A link is whole or not there.
        if footer.chars().count() + part.chars().count() + 3 > SECTION_CHARS_MAX {
            break;
        }
        if !footer.is_empty() {
            footer.push_str(" · ");
        }
        footer.push_str(&part);
    }
    footer
}

fn escaped(text: &str) -> String {
    escape(&parted(text))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The text on one line, with what a client could make a mention or a link of taken apart. Looks the same.
fn parted(text: &str) -> String {
    let text = plain(text);
    let mut parted = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        if c == ':' && ends_like(before, "mailto") || c == '.' && ends_like(before, "www") {
            parted.push(PART);
        }
        parted.push(c);
        // `](` is where chats that know Markdown begin the address of a link.
        if c == '@' || c == ':' && after.starts_with("//") || c == ']' && after.starts_with('(') {
            parted.push(PART);
        }
    }
    parted
}

/// Whether a text ends with a word, in whatever case it is written.
fn ends_like(text: &str, word: &str) -> bool {
    let end = text.len().checked_sub(word.len()).and_then(|at| text.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(word))
}

/// Cuts a text that is escaped, not within an escape.
fn cut_escaped(text: &str, chars_max: usize) -> String {
    let cut = cut_chars(text, chars_max);
    if cut == text {
        return cut;
    }
    let before = cut.trim_end_matches('…');
    match before.rfind('&') {
        Some(at) if !before[at..].contains(';') => format!("{}…", &before[..at]),
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::tests::change;
    use crate::change::{Change, Link, Word};
    use crate::outbox::row::{Body, Changes};

    fn sent(told: Change) -> Value {
        let moment = Moment { now_ms: told.at_ms, ..Moment::default() };
        let row = Row::new("chat".into(), Body::Changes(Changes::one(Arc::new(told))), None, 0);
        let request = request(&Secret::new("https://hooks.slack.com/x".to_owned()), &row, &moment);
        serde_json::from_slice(&request.body).expect("JSON")
    }

    /// Every text of a document.
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(map) => map.values().for_each(|item| texts(item, found)),
            _ => {}
        }
    }

    #[test]
    fn a_message_has_text_and_blocks() {
        let document = sent(change("2.14.0", 1, Word::Wait, Word::NoGo));
        let text = document["text"].as_str().expect("a text");
        assert!(text.starts_with("NO-GO: shop/checkout 2.14.0 in production. p99 latency +38 %"), "{text}");
        let kinds: Vec<&str> =
            document["blocks"].as_array().expect("blocks").iter().filter_map(|block| block["type"].as_str()).collect();
        assert_eq!(kinds, ["header", "section", "section", "context"]);
        let footer = document["blocks"][3]["elements"][0]["text"].as_str().expect("a text");
        assert_eq!(
            footer,
            "10 % of the traffic, beside 2.13.2, before: WAIT · <https://shipwake.example.com/s/checkout|Evidence>"
        );
    }

    #[test]
    fn telemetry_can_name_neither_people_nor_links() {
        let hostile = "<!channel> <@U1> <https://evil|click> &lt;!here> @everyone https://evil.example mailto:a@b \u{202e}x\r\n*b*";
        let mut told = change(hostile, 1, Word::Wait, Word::NoGo);
        told.release.service = hostile.into();
        told.release.environment = hostile.into();
        told.baseline = Some(hostile.into());
        told.summary = hostile.to_owned();
        told.checks[0].id = hostile.to_owned();
        told.checks[0].why = hostile.to_owned();
        told.links = vec![
            Link { text: hostile.to_owned(), url: "https://ok.example/a?b=1&c=2".to_owned() },
            Link { text: "x".to_owned(), url: "https://evil|<!channel>".to_owned() },
        ];
        let mut found = Vec::new();
        texts(&sent(told), &mut found);
        for text in &found {
            let ours = "<https://ok.example/a?b=1&amp;c=2|";
            let rest = text.replacen(ours, "", 1);
            let rest = if rest.len() < text.len() { rest.replacen('>', "", 1) } else { rest };
            // The header is plain text, in which nothing is read as a mention.
            if !text.starts_with("NO-GO: shop/<!channel>") {
                assert!(!rest.contains('<') && !rest.contains('>'), "{text}");
            }
            assert!(!rest.contains("@everyone") && !rest.contains("://") && !rest.contains('\u{202e}'), "{text}");
            assert!(rest.lines().all(|line| !line.contains('\r')), "{text}");
        }
    }

    #[test]
    fn the_longest_message_stays_within_what_slack_takes() {
        let mut told = change("2.14.0", 1, Word::Wait, Word::NoGo);
        told.summary = "<&>".repeat(3_000);
        told.checks = vec![told.checks[0].clone(); 40];
        told.checks.iter_mut().for_each(|check| check.why = "&".repeat(2_000));
        told.links = vec![Link { text: "<".repeat(500), url: format!("https://a/{}", "b".repeat(900)) }; 9];
        let document = sent(told.bounded());
        let mut found = Vec::new();
        texts(&document, &mut found);
        for text in &found {
            assert!(text.chars().count() <= SECTION_CHARS_MAX, "{} characters", text.chars().count());
            for escape in text.split('&').skip(1) {
                assert!(["amp;", "lt;", "gt;"].iter().any(|end| escape.starts_with(end)), "a cut escape: {text}");
            }
        }
        assert!(found.iter().map(|text| text.chars().count()).sum::<usize>() < 13_000);
        let header = document["blocks"][0]["text"]["text"].as_str().expect("a text");
        assert!(header.chars().count() <= HEADER_CHARS_MAX);
    }

    #[test]
    fn an_escape_is_not_cut_in_two() {
        assert_eq!(cut_escaped("ab&amp;", 5), "ab…", "the ellipsis has as many bytes as what it stands for");
        assert_eq!(cut_escaped("ab&amp;c", 7), "ab…");
        assert_eq!(cut_escaped("ab&amp;cd", 8), "ab&amp;…");
        assert_eq!(cut_escaped("ab&amp;", 7), "ab&amp;");
    }

    #[test]
    fn addresses_and_links_of_markdown_are_taken_apart_and_look_the_same() {
        for text in ["[x](evil.example)", "![x](//evil)", "WWW.evil.example", "MailTo:a", "HTTPS://evil", "a@b.c"] {
            let safe = parted(text);
            assert_eq!(safe.replace(PART, ""), text);
            assert_eq!(safe.matches(PART).count(), 1, "{safe:?}");
        }
        for text in ["ä.www", "a: //", "[x] (y)", "1.www2.3", "www"] {
            assert_eq!(parted(text), text);
        }
    }

    proptest::proptest! {
        /// Whatever a service calls itself.
        #[test]
        fn no_text_leaves_a_bracket_or_a_mention(text in "[<>&@!|:/a-z\\u{202e}\\u{0}é;*`#]{0,80}") {
            let safe = escaped(&text);
            assert!(!safe.contains(['<', '>', '\u{202e}', '\u{0}']), "{safe}");
            assert!(!safe.contains("://") && !safe.split('@').skip(1).any(|rest| rest.starts_with(char::is_alphanumeric)), "{safe}");
            let cut = cut_escaped(&safe, 20);
            assert!(cut.chars().count() <= 20);
            assert!(cut.split('&').skip(1).all(|rest| ["amp;", "lt;", "gt;"].iter().any(|end| rest.starts_with(end))), "{cut}");
        }
    }
}
