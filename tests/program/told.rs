//! `kill -9` again and again while verdicts change and their receiver is in a mood: every change is told at least once, in order, and again
//! at most once for each kill. The judge of it is outside: what the receiver has, beside what the tables say.
//!
//! `SHIPWAKE_VERDICT_KILLS` says how often it is killed, two seconds apart (4 unless it is set; 150 are five minutes of changes), and
//! `SHIPWAKE_VERDICT_OUTAGE` for how many seconds the receiver answers nobody in the middle of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::canary::{Answer, Heard, Receiver, S, WORD_WITHIN, is_known, judging, many, send_past};
use crate::harness::{Shipwake, eventually};
use crate::otlp::now_ns;

/// Requests a second of each version.
const RATE: u64 = 40;
/// How long it lives between two kills, at the least.
const LIFE: Duration = Duration::from_secs(2);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// A service whose every new version is bad: the next one comes when the one before is called so.
struct Service {
    name: String,
    candidate: u64,
    sent_ns: u64,
}

impl Service {
    fn version(&self) -> String {
        format!("1.{}", self.candidate)
    }

    /// Sends what has happened since the last time.
    async fn live(&mut self, shipwake: &Shipwake) {
        let (from_ns, to_ns) = (self.sent_ns, now_ns());
        send_past(shipwake, &self.name, "1.0", from_ns, to_ns, RATE, 0).await;
        send_past(shipwake, &self.name, &self.version(), from_ns, to_ns, RATE, 40).await;
        self.sent_ns = to_ns;
    }

    fn is_called_bad(&self, receiver: &Receiver) -> bool {
        let is_it =
            |data: &Value| data["service"] == self.name.as_str() && data["candidate"] == self.version().as_str();
        receiver.heard().iter().any(|heard| is_it(&heard.body["data"]) && heard.body["data"]["verdict"] == "no_go")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_judge_that_is_killed_tells_every_change_in_order_and_at_most_once_more() {
    let asked = number("SHIPWAKE_VERDICT_KILLS");
    let kills = asked.unwrap_or(4);
    let outage = Duration::from_secs(number("SHIPWAKE_VERDICT_OUTAGE").unwrap_or(0));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let is_out = Arc::new(AtomicBool::new(false));
    // One that is refused when nobody is killed any more: its row cannot be lost with a process.
    let refuses_next = Arc::new(AtomicBool::new(false));
    let (of_receiver, refuses) = (is_out.clone(), refuses_next.clone());
    let receiver = Receiver::that_answers(move |number| match number % 13 {
        _ if of_receiver.load(Ordering::Relaxed) => Answer::Nothing,
        _ if refuses.swap(false, Ordering::Relaxed) => Answer::Status("500 Internal Server Error"),
        3 => Answer::Status("500 Internal Server Error"),
        7 => Answer::Status("429 Too Many Requests\r\nretry-after: 1"),
        11 => Answer::Nothing,
        _ => Answer::Yes,
    });
    let mut shipwake = judging(&data, &receiver, None).await;
    let ports = shipwake.ports();
    let start_ns = now_ns();
    let from_ns = start_ns - 1_800 * S;
    let mut services = Vec::new();
    for number in 0..if asked.is_some() { 6 } else { 2 } {
        let name = format!("killed-{number}");
        send_past(&shipwake, &name, "1.0", from_ns, start_ns, 10, 0).await;
        is_known(&shipwake, &name, "1.0", many(from_ns, start_ns, 10)).await;
        services.push(Service { name, candidate: 1, sent_ns: start_ns });
    }
    let (begun, mut out_until) = (Instant::now(), None);
    let mut kills_done = 0;
    while kills_done < kills || out_until.is_some_and(|until| Instant::now() < until) {
        if kills_done == kills / 3 {
            out_until = Some(Instant::now() + outage);
        }
        is_out.store(out_until.is_some_and(|until| Instant::now() < until), Ordering::Relaxed);
        live_for(&shipwake, &receiver, &mut services, LIFE).await;
        shipwake.kill();
        kills_done += 1;
        shipwake = judging(&data, &receiver, Some(ports)).await;
    }
    is_out.store(false, Ordering::Relaxed);
    refuses_next.store(true, Ordering::Relaxed);
    let kills = kills_done;
    live_until_told(&shipwake, &receiver, &mut services, &refuses_next).await;
    let is_told = || async { (shipwake.metric("shipwake_notifications_owed", "").await == 0.0).then_some(()) };
    eventually("nothing is owed", is_told).await;
    // The table is written beside the messages, and what falls silent has its word taken back.
    let both = || async {
        let (said, heard) = (said(&shipwake).await, receiver.heard());
        (newest(&heard) == said).then_some((said, heard))
    };
    let (said, heard) = eventually("what was told is what is recorded", both).await;
    let figures = judge(&heard, &said);
    println!(
        "{kills} kills in {:?}: {} changes of {} releases told by {} messages, {} of them again",
        begun.elapsed(),
        figures.changes,
        said.len(),
        heard.len(),
        figures.again
    );
    assert!(figures.again <= kills, "{} messages again after {kills} kills", figures.again);
    assert!(asked.is_none() || figures.changes > 2 * kills, "verdicts did not change enough: {}", figures.changes);
    attempts_are_rows(&shipwake, &receiver).await;
}

/// Lives until every version is called bad and one message was refused.
async fn live_until_told(
    shipwake: &Shipwake,
    receiver: &Receiver,
    services: &mut [Service],
    refuses_next: &AtomicBool,
) {
    let deadline = Instant::now() + WORD_WITHIN;
    let is_still_to_refuse = || refuses_next.load(Ordering::Relaxed);
    while is_still_to_refuse() || !services.iter().all(|service| service.is_called_bad(receiver)) {
        assert!(Instant::now() < deadline, "not within {WORD_WITHIN:?}\n{}", shipwake.log());
        for service in &mut *services {
            // All that there was to tell has been told: another version gives something to refuse.
            if is_still_to_refuse() && service.is_called_bad(receiver) {
                service.candidate += 1;
            }
            service.live(shipwake).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Lives for a while: telemetry comes, and a version that is called bad gives way to the next.
async fn live_for(shipwake: &Shipwake, receiver: &Receiver, services: &mut [Service], life: Duration) {
    let until = Instant::now() + life;
    while Instant::now() < until {
        for service in services.iter_mut() {
            service.live(shipwake).await;
            if service.is_called_bad(receiver) {
                service.candidate += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many changes each release had, by the table.
async fn said(shipwake: &Shipwake) -> BTreeMap<(String, String), u64> {
    let rows = shipwake.sql("select service, version, max(sequence) from verdicts group by service, version").await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    rows.iter().map(|row| ((text(&row[0]), text(&row[1])), row[2].as_u64().expect("a number"))).collect()
}

/// The newest change of each release that was told.
fn newest(heard: &[Heard]) -> BTreeMap<(String, String), u64> {
    let mut newest = BTreeMap::new();
    for heard in heard {
        let data = &heard.body["data"];
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let sequence = newest.entry((text("service"), text("candidate"))).or_insert(0);
        *sequence = data["sequence"].as_u64().unwrap_or(0).max(*sequence);
    }
    newest
}

/// What the judge found.
struct Figures {
    changes: u64,
    again: u64,
}

/// Every change that the table has was told, in order; gives how many messages came again.
fn judge(heard: &[Heard], said: &BTreeMap<(String, String), u64>) -> Figures {
    let mut ids = BTreeSet::new();
    let mut told: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    let mut again = 0;
    for Heard { id, body, .. } in heard {
        assert_eq!(body["type"], "verdict.changed", "nothing is lost, so nothing says so: {body}");
        let data = &body["data"];
        let text = |name: &str| data[name].as_str().expect("a text").to_owned();
        let of_release = told.entry((text("service"), text("candidate"))).or_default();
        let last = data["sequence"].as_u64().expect("a number");
        assert!(of_release.last().is_none_or(|before| *before <= last), "{last} after {of_release:?}: {data}");
        // The same message again has the same id; another id never tells the same newest change.
        let is_new = ids.insert(id.clone());
        assert!(is_new || of_release.contains(&last), "an id for two messages: {data}");
        again += u64::from(!is_new);
        let earlier: Vec<u64> =
            data["earlier"].as_array().into_iter().flatten().filter_map(|change| change["sequence"].as_u64()).collect();
        // Changes that are only counted lie between the first and the second that are told.
        if let (Some(first), Some(1..)) = (earlier.first(), data["earlier_left_out"].as_u64()) {
            of_release.extend(*first..earlier.get(1).copied().unwrap_or(last));
        }
        of_release.extend(earlier);
        of_release.insert(last);
    }
    for (release, sequence) in said {
        let of_release = told.remove(release).unwrap_or_default();
        let missing: Vec<u64> = (1..=*sequence).filter(|number| !of_release.contains(number)).collect();
        assert!(missing.is_empty(), "{release:?}: never told of {missing:?} of {sequence}");
    }
    Figures { changes: said.values().sum(), again }
}

/// Every message that was taken is a row of `notifications`, delivered once, and so is the attempt that was refused after the last kill.
async fn attempts_are_rows(shipwake: &Shipwake, receiver: &Receiver) {
    let delivered =
        "from notifications where result = 'delivered' and receiver = 'tests' and kind = 'webhook' and status = 200";
    let all = || async {
        let rows = shipwake.sql(&format!("select id, service, version, sequence {delivered} order by id")).await;
        let ids: BTreeSet<String> = receiver.heard().into_iter().map(|heard| heard.id).collect();
        let found: Vec<String> =
            rows.iter().map(|row| format!("msg_{}", row[0].as_str().unwrap_or_default())).collect();
        // Each once, and no other.
        found.iter().eq(ids.iter()).then_some(rows)
    };
    let rows = eventually("every message is a row", all).await;
    assert!(rows.iter().all(|row| row[1].as_str().is_some_and(|name| name.starts_with("killed-")) && row[3].is_u64()));
    let failed = "select count(*) from notifications where result <> 'delivered' and attempt > 0 and took_ms >= 0";
    assert!(shipwake.number(failed).await > 0, "the receiver has refused one");
    // They say something about a release, and are no sign that it runs.
    assert_eq!(shipwake.number("select count(*) from releases where service = 'shipwake'").await, 0);
}
