//! What a notification says, in plain words, before a receiver puts it into its own form: a title with verdict, service and
//! versions, the sentence, evidence, and where to look. Pure; texts of telemetry are not made harmless here.

use std::sync::Arc;

use crate::change::{Change, Check, Counts, Effect, Link};
use crate::outbox::row::{Body, Changes, Lost, Row};
use crate::time::{clock_time, rfc3339, span};

/// A notification that is later than this says so.
const LATE_MS: i64 = 60_000;

/// What is known when a notification is sent, besides the row.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Time of day, ms.
    pub now_ms: i64,
    /// Where people reach the pages, without a slash at the end.
    pub url: Option<String>,
    /// A later change of the same release that the receiver will be told of next.
    pub overtaken_by: Option<Arc<Change>>,
}

/// A notification in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Verdict, service and version: `NO-GO: shop/checkout 2.14.0 in production`.
    pub title: String,
    /// `10 % of the traffic, beside 2.13.2`.
    pub context: String,
    /// One sentence a person can act on.
    pub sentence: String,
    /// What else has to be said: what came before, how late it is, for whom it stands in.
    pub notes: Vec<String>,
    /// A line for each check.
    pub evidence: Vec<String>,
    /// Where to look, with whole addresses only.
    pub links: Vec<Link>,
}

/// Puts a row into words.
pub fn message(row: &Row, moment: &Moment) -> Message {
    let mut message = match &row.body {
        Body::Changes(changes) => of_changes(changes, moment),
        Body::Lost(lost) => of_lost(lost, &row.receiver),
        Body::Test => Message {
            title: "Shipwake: a test".to_owned(),
            sentence: format!("Receiver {} is set up, and this is what it gets messages by.", row.receiver),
            ..Message::default()
        },
    };
    if let Some(other) = &row.stands_in_for {
        message.notes.push(format!("Told here because receiver {other} cannot be reached or does not take it."));
    }
    message
}

/// The links of a change with whole addresses: a path is below the address of the pages.
pub fn links(change: &Change, moment: &Moment) -> Vec<Link> {
    let whole = |link: &Link| {
        let is_whole = ["https://", "http://"].iter().any(|scheme| link.url.starts_with(scheme));
        let is_path = link.url.starts_with('/') && !link.url.starts_with("//");
        let url = match (&moment.url, is_whole, is_path) {
            (_, true, _) => link.url.clone(),
            (Some(base), _, true) => format!("{base}{}", link.url),
            _ => return None,
        };
        // What could end the address early in some receiver's notation.
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>|\"\\^`{}".contains(&byte));
        is_plain.then(|| Link { text: link.text.clone(), url })
    };
    change.links.iter().filter_map(whole).collect()
}

/// `NO-GO: shop/checkout 2.14.0 in production`.
pub fn title(change: &Change) -> String {
    let release = &change.release;
    let service = match &*release.namespace {
        "" => release.service.to_string(),
        namespace => format!("{namespace}/{}", release.service),
    };
    let state = match change.ending {
        None => change.to.title().to_owned(),
        Some(ending) if change.from == crate::change::Word::NoGo => format!("Over, {}", ending.title()),
        Some(ending) => format!("{}, {}", change.to.title(), ending.title()),
    };
    format!("{state}: {service} {} in {}", release.version, release.environment)
}

fn of_changes(changes: &Changes, moment: &Moment) -> Message {
    let change = changes.last();
    let mut notes = Vec::new();
    if changes.told.len() > 1 {
        notes.push(history(changes));
    }
    if let Some(later) = &moment.overtaken_by {
        notes.push(format!("Since {} it is {}.", clock_time(later.at_ms), state(later)));
    }
    let late_ms = moment.now_ms - change.at_ms;
    if late_ms >= LATE_MS {
        notes.push(format!("Delivered {} after it happened ({}).", span(late_ms), rfc3339(change.at_ms)));
    }
    Message {
        title: title(change),
        context: context(change),
        sentence: change.summary.clone(),
        notes,
        evidence: change.checks.iter().map(evidence).collect(),
        links: links(change, moment),
    }
}

/// `It was NO-GO from 10:02:10 UTC on, GO from 10:09:00 UTC on.`
fn history(changes: &Changes) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (place, change) in changes.told.iter().enumerate() {
        if place == 1 && changes.left_out > 0 {
            parts.push(format!("then {} changes that are not listed", changes.left_out));
        }
        parts.push(format!("{} from {} on", state(change), clock_time(change.at_ms)));
    }
    format!("Told late, as one message: it was {}.", parts.join(", "))
}

fn state(change: &Change) -> String {
    match change.ending {
        None => change.to.title().to_owned(),
        Some(ending) => ending.title().to_owned(),
    }
}

fn context(change: &Change) -> String {
    let share = change
        .share
        .filter(|share| share.is_finite())
        .map(|share| format!("{} % of the traffic", figure(share * 100.0)));
    let beside = change.baseline.as_ref().map(|baseline| format!("beside {baseline}"));
    let before = (change.from != change.to).then(|| format!("before: {}", change.from.title()));
    [share, beside, before].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn of_lost(lost: &Lost, receiver: &str) -> Message {
    let counted = [
        (lost.expired, "expired undelivered"),
        (lost.dropped, "dropped because there were too many"),
        (lost.rejected, "refused by this receiver for what is in them"),
    ];
    let parts: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
    let plural = if lost.total() == 1 { "notification" } else { "notifications" };
    Message {
        title: format!("Shipwake: {} {plural} not delivered to {receiver}", lost.total()),
        context: String::new(),
        sentence: format!(
            "{}; they were made between {} and {}.",
            parts.join(", "),
            rfc3339(lost.first_ms),
            rfc3339(lost.last_ms)
        ),
        notes: Vec::new(),
        evidence: lost.titles.clone(),
        links: Vec::new(),
    }
}

/// `Server errors: worse, 3.1x (2.2x … 4.3x), limit 1.1x; 188 of 60110 against 548 of 541200. 92 % of it is POST /pay`.
fn evidence(check: &Check) -> String {
    let name = if check.title.is_empty() { &check.id } else { &check.title };
    let mut line = format!("{name}: {}", check.state.as_str().replace('_', " "));
    if let Some(Effect { kind, value, low, high, margin }) = &check.effect {
        let said = |number: f64| match kind.as_str() {
            "ratio" => format!("{}x", figure(number)),
            "change" => format!("{}{} %", if number >= 0.0 { "+" } else { "" }, figure(number * 100.0)),
            _ => figure(number),
        };
        let interval = match (low, high) {
            (Some(low), Some(high)) => format!(" ({} … {})", said(*low), said(*high)),
            (Some(low), None) => format!(" (at least {})", said(*low)),
            (None, Some(high)) => format!(" (at most {})", said(*high)),
            (None, None) => String::new(),
        };
        line.push_str(&format!(", {}{interval}, limit {}", said(*value), said(*margin)));
    }
    if let (Some(candidate), Some(baseline)) = (check.candidate, check.baseline) {
        let said = |counts: Counts| format!("{} of {}", counts.bad, counts.all);
        line.push_str(&format!("; {} against {}", said(candidate), said(baseline)));
    }
    if !check.why.is_empty() {
        line.push_str(&format!(". {}", check.why));
    }
    line
}

/// A number with the digits that mean something.
fn figure(number: f64) -> String {
    let decimals = match number.abs() {
        _ if !number.is_finite() => return "unknown".to_owned(),
        100.0.. => 0,
        10.0.. => 1,
        0.01.. => 2,
        0.0 => return "0".to_owned(),
        _ => return format!("{number:.1e}"),
    };
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::tests::change;
    use crate::change::{Ending, Word};

    fn moment(change: &Change, late_ms: i64) -> Moment {
        Moment { now_ms: change.at_ms + late_ms, url: Some("https://pages".to_owned()), overtaken_by: None }
    }

    #[test]
    fn a_message_says_what_a_person_can_act_on() {
        let told = change("2.14.0", 1, Word::Wait, Word::NoGo);
        let row = Row::new("chat".into(), Body::Changes(Changes::one(Arc::new(told.clone()))), None, 0);
        let said = message(&row, &moment(&told, 2_000));
        assert_eq!(said.title, "NO-GO: shop/checkout 2.14.0 in production");
        assert_eq!(said.context, "10 % of the traffic, beside 2.13.2, before: WAIT");
        assert_eq!(said.sentence, told.summary);
        assert_eq!(
            said.evidence,
            [
                "Server errors: worse, 3.1x (2.2x … 4.3x), limit 1.1x; 188 of 60110 against 548 of 541200. 92 % of it is POST /pay"
            ]
        );
        assert!(said.notes.is_empty());
        assert_eq!(said.links, told.links);
    }

    #[test]
    fn a_pair_that_waited_is_told_as_one_story() {
        let first = change("2.14.0", 1, Word::Wait, Word::NoGo);
        let mut last = change("2.14.0", 421, Word::NoGo, Word::NoGo);
        last.ending = Some(Ending::RolledBack);
        let mut changes = Changes::one(Arc::new(first));
        changes.push(Arc::new(last.clone()));
        let row = Row::new("chat".into(), Body::Changes(changes), Some("pager".into()), 0);
        let said = message(&row, &moment(&last, 540_000));
        assert_eq!(said.title, "Over, rolled back: shop/checkout 2.14.0 in production");
        assert_eq!(
            said.notes,
            [
                "Told late, as one message: it was NO-GO from 10:00:01 UTC on, rolled back from 10:07:01 UTC on.",
                "Delivered 9 min after it happened (2026-11-23T10:07:01Z).",
                "Told here because receiver pager cannot be reached or does not take it.",
            ]
        );
    }

    #[test]
    fn what_was_lost_is_counted_by_reason() {
        let lost = Lost { expired: 3, rejected: 1, titles: vec!["NO-GO: a 1 in b".to_owned()], ..Lost::default() };
        let said = message(&Row::new("chat".into(), Body::Lost(lost), None, 0), &Moment::default());
        assert_eq!(said.title, "Shipwake: 4 notifications not delivered to chat");
        assert!(said.sentence.starts_with("3 expired undelivered, 1 refused by this receiver"), "{}", said.sentence);
    }

    #[test]
    fn links_are_whole_and_plain_or_left_out() {
        let mut told = change("2", 1, Word::Wait, Word::NoGo);
        let link = |url: &str| Link { text: "x".to_owned(), url: url.to_owned() };
        told.links = [
            "/s/checkout?cand=2",
            "//evil",
            "javascript:alert(1)",
            "https://a/b|<!channel>",
            "http://a/ b",
            "https://ok",
        ]
        .map(link)
        .to_vec();
        let urls = |moment: &Moment| links(&told, moment).into_iter().map(|link| link.url).collect::<Vec<_>>();
        assert_eq!(urls(&moment(&told, 0)), ["https://pages/s/checkout?cand=2", "https://ok"]);
        assert_eq!(urls(&Moment::default()), ["https://ok"]);
    }

    #[test]
    fn an_interval_that_nothing_bounds_is_said_so() {
        let mut check = change("2", 1, Word::Wait, Word::NoGo).checks.remove(0);
        (check.candidate, check.why) = (None, String::new());
        let mut said = |kind: &str, low, high, expected: &str| {
            check.effect = Some(Effect { kind: kind.to_owned(), value: 0.38, low, high, margin: 0.1 });
            assert_eq!(evidence(&check), format!("Server errors: worse, {expected}"));
        };
        said("change", Some(0.29), Some(0.47), "+38 % (+29 % … +47 %), limit +10 %");
        said("change", Some(-0.02), None, "+38 % (at least -2 %), limit +10 %");
        said("ratio", None, Some(0.4), "0.38x (at most 0.4x), limit 0.1x");
        said("seconds", None, None, "0.38, limit 0.1");
    }

    #[test]
    fn figures_have_the_digits_that_mean_something() {
        let check = |number: f64, expected: &str| assert_eq!(figure(number), expected);
        check(3.1, "3.1");
        check(10.0, "10");
        check(0.0, "0");
        check(1234.6, "1235");
        check(37.25, "37.2");
        check(0.000_31, "3.1e-4");
        check(f64::NAN, "unknown");
        check(-2.5, "-2.5");
    }
}
