//! `kill -9` again and again while verdicts change: every change is told at least once, in order, and again at most once for
//! each kill and receiver.
//!
//! The process that is killed is this program, started with `child`: a caller whose state is the last sequence of each
//! release, committed with the changes. `SHIPWAKE_ALERT_KILLS` says how often (10 unless it is set; 150 are five minutes).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::registry::Registry;
use serde_json::Value;
use shipwake_alerts::{Change, Clock, FileLedger, Notifier, NotifierConfig, Word, config_file, state_bytes};
use shipwake_model::ReleaseId;
use tokio_util::sync::CancellationToken;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RELEASES: usize = 4;
/// How long a process lives before it is killed, at the most.
const LIFE: Duration = Duration::from_secs(3);
/// How many times as fast time runs in the process, so that a pager takes forty events a second.
const SPEED: u32 = 20;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("child") => child(Path::new(&args[2]), &args[3..]),
        Some("--list") => println!("kill: test"),
        // Somebody looks for another test.
        Some(filter) if !filter.starts_with('-') && !"kill".contains(filter) => {}
        _ => {
            let kills = std::env::var("SHIPWAKE_ALERT_KILLS").ok().map_or(10, |kills| kills.parse().expect("a number"));
            parent(kills);
        }
    }
}

/// The process that is killed. It tells every commit on standard output, ends by itself when `drain` is among the arguments
/// and nothing is owed, and goes on submitting otherwise.
fn child(dir: &Path, args: &[String]) {
    let [hook, other, pager, rest @ ..] = args else { panic!("three addresses") };
    let yaml = format!(
        "receivers:
  - {{ name: hook, webhook: {{ url: '{hook}', secrets: [{{ env: KEY }}] }}, verdicts: [go, no_go, watch, wait] }}
  - {{ name: other, webhook: {{ url: '{other}', secrets: [{{ env: KEY }}] }}, verdicts: [go, no_go, watch, wait] }}
  - {{ name: pager, pagerduty: {{ routing_key: {{ env: KEY }}, url: '{pager}' }} }}"
    );
    let alerts = config_file::parse(&yaml, &|_| Some(KEY.to_owned())).expect("valid");
    let ledger = FileLedger::open(dir).expect("opens");
    let config = NotifierConfig { clock: Clock::faster(SPEED), ..NotifierConfig::new(alerts) };
    let notifier = Notifier::open(config, ledger, &mut Registry::default()).expect("opens what was committed");
    let mut known = Engine::read(&notifier.caller_state());
    let (handle, stop) = (notifier.handle(), CancellationToken::new());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(async {
        let task = tokio::spawn(notifier.run(stop.clone()));
        let mut pause = tokio::time::interval(Duration::from_millis(60));
        loop {
            pause.tick().await;
            if rest.iter().any(|word| word == "drain") {
                handle.submit(Vec::new(), Some(known.write())).await.expect("committed");
                if handle.status().receivers.iter().all(|receiver| receiver.owed == 0) {
                    break;
                }
                continue;
            }
            let changes = known.change();
            handle.submit(changes, Some(known.write())).await.expect("committed");
            // Whoever reads this has gone when the test has failed.
            let _ = writeln!(std::io::stdout(), "committed");
        }
        stop.cancel();
        task.await.expect("no panic").expect("no error");
    });
}

/// The caller: the last sequence of each release, and the verdict that it had.
#[derive(Clone, Debug, Default, PartialEq)]
struct Engine {
    sequences: [u64; RELEASES],
}

impl Engine {
    fn read(bytes: &[u8]) -> Self {
        let mut sequences = [0; RELEASES];
        for (sequence, bytes) in sequences.iter_mut().zip(bytes.chunks_exact(8)) {
            *sequence = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        Engine { sequences }
    }

    fn write(&self) -> Vec<u8> {
        self.sequences.iter().flat_map(|sequence| sequence.to_le_bytes()).collect()
    }

    /// The next changes: of one release, or of two at once.
    fn change(&mut self) -> Vec<Change> {
        let total: u64 = self.sequences.iter().sum();
        let first = (total as usize * 7 + 3) % RELEASES;
        let second = total.is_multiple_of(3).then_some((first + 1) % RELEASES);
        [first].into_iter().chain(second).map(|release| self.change_of(release)).collect()
    }

    fn change_of(&mut self, release: usize) -> Change {
        let verdict = |sequence: u64| [Word::Wait, Word::NoGo, Word::Watch][sequence as usize % 3];
        let before = self.sequences[release];
        self.sequences[release] += 1;
        Change {
            release: ReleaseId {
                service: "checkout".into(),
                namespace: "".into(),
                environment: "production".into(),
                version: release.to_string().into(),
            },
            baseline: None,
            share: Some(0.1),
            from: verdict(before),
            to: verdict(before + 1),
            ending: None,
            summary: format!("Change {}.", before + 1),
            checks: Vec::new(),
            links: Vec::new(),
            at_ms: 1_795_428_000_000 + before as i64,
            sequence: before + 1,
        }
    }
}

fn parent(kills: usize) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    println!("{kills} kills, seed {seed}");
    let dir = tempfile::tempdir().expect("a folder");
    let (hook, other, pager) =
        (Recorder::start(200, seed), Recorder::start(204, seed ^ 1), Recorder::start(202, seed ^ 2));
    let urls = [&hook, &other, &pager].map(|recorder| recorder.url.clone());
    let mut dice = seed;
    for _ in 0..kills {
        let mut process = Process::start(dir.path(), &urls, &[]);
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let life = LIFE.mul_f64(0.05 + 0.95 * ((dice >> 33) as f64 / f64::from(1u32 << 31)));
        process.live(life);
        process.child.kill().expect("killed");
        process.child.wait().expect("ended");
    }
    let mut last = Process::start(dir.path(), &urls, &["drain"]);
    let until = Instant::now() + Duration::from_secs(60);
    while last.child.try_wait().expect("asked").is_none() {
        assert!(Instant::now() < until, "something is owed a minute after the last kill");
        last.live(Duration::from_millis(20));
    }
    assert!(last.child.wait().expect("ended").success());
    let bytes = shipwake_alerts::Ledger::load(&mut FileLedger::open(dir.path()).expect("opens")).expect("loads");
    let state = state_bytes::decode(&bytes.expect("a state")).expect("decodes");
    assert!(state.outbox.rows.is_empty());
    let engine = Engine::read(&state.caller);
    for (name, recorder) in [("hook", &hook), ("other", &other)] {
        judge_webhook(name, &recorder.taken(), &engine, kills);
    }
    judge_pager(&pager.taken(), &engine, kills);
    let told = [&hook, &other, &pager].map(|recorder| recorder.taken().len());
    println!("{} changes committed, {told:?} messages taken", engine.sequences.iter().sum::<u64>());
}

/// A child, and what it says.
struct Process {
    child: Child,
    said: Receiver<()>,
}

impl Process {
    fn start(dir: &Path, urls: &[String], words: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("child").arg(dir).args(urls).args(words);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (tell, said) = sync_channel(1_000);
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|_| tell.send(())));
        Process { child, said }
    }

    /// Lets it live for so long; a process that ends by itself while it should submit is found at the next start.
    fn live(&mut self, life: Duration) {
        let until = Instant::now() + life;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.said.recv_timeout(left) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => std::thread::yield_now(),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A receiver that takes most of what it gets, and keeps what it has taken.
struct Recorder {
    url: String,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Recorder {
    fn start(yes: u16, seed: u64) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", socket.local_addr().expect("an address"));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (kept, count) = (taken.clone(), Arc::new(Mutex::new(seed)));
        std::thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let (kept, count) = (kept.clone(), count.clone());
                std::thread::spawn(move || while serve(&stream, yes, &kept, &count).is_some() {});
            }
        });
        Recorder { url, taken }
    }

    fn taken(&self) -> Vec<(String, Value)> {
        self.taken.lock().expect("no panic while it is held").clone()
    }
}

/// Answers one request; `None` when the connection is over.
fn serve(mut stream: &TcpStream, yes: u16, kept: &Mutex<Vec<(String, Value)>>, count: &Mutex<u64>) -> Option<()> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65_536];
    let (head, length) = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..at].to_vec()).ok()?.to_ascii_lowercase();
            let length: usize = header(&head, "content-length")?.parse().ok()?;
            if bytes.len() >= at + 4 + length {
                bytes.drain(..at + 4);
                break (head, length);
            }
        }
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    };
    let number = {
        let mut count = count.lock().expect("no panic while it is held");
        *count = count.wrapping_add(1);
        *count
    };
    let answer = match number % 23 {
        5 => "503 Unavailable\r\n".to_owned(),
        11 => "429 Slow down\r\nretry-after: 1\r\n".to_owned(),
        _ => {
            let id = header(&head, "webhook-id").unwrap_or_default();
            let body = serde_json::from_slice(&bytes[..length]).expect("JSON");
            kept.lock().expect("no panic while it is held").push((id, body));
            format!("{yes} Taken\r\n")
        }
    };
    stream.write_all(format!("HTTP/1.1 {answer}content-length: 0\r\n\r\n").as_bytes()).ok()
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn judge_webhook(name: &str, taken: &[(String, Value)], engine: &Engine, kills: usize) {
    let mut ids = BTreeSet::new();
    let repeated = taken.iter().filter(|(id, _)| !ids.insert(id.clone())).count();
    assert!(repeated <= kills, "{name}: {repeated} repetitions after {kills} kills");
    let mut told: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    for (_, body) in taken {
        let data = &body["data"];
        assert_eq!(body["type"], "verdict.changed", "{name}: nothing is lost, so no summary says so: {body}");
        let release = data["candidate"].as_str().expect("a version").to_owned();
        let last = number(&data["sequence"]);
        let earlier: Vec<u64> =
            data["earlier"].as_array().into_iter().flatten().map(|change| number(&change["sequence"])).collect();
        let of_release = told.entry(release.clone()).or_default();
        // Changes that are only counted lie between the first and the second that are told.
        if let (Some(first), true) =
            (earlier.first(), data["earlier_left_out"].as_u64().is_some_and(|left_out| left_out > 0))
        {
            of_release.extend(*first..earlier.get(1).copied().unwrap_or(last));
        }
        of_release.extend(earlier);
        of_release.insert(last);
        let before = newest.insert(release.clone(), last).unwrap_or(0);
        assert!(before <= last, "{name}, release {release}: {last} after {before}");
    }
    for (release, sequence) in engine.sequences.iter().enumerate() {
        let told = told.remove(&release.to_string()).unwrap_or_default();
        let missing: Vec<u64> = (1..=*sequence).filter(|sequence| !told.contains(sequence)).collect();
        assert!(missing.is_empty(), "{name}, release {release}: never told of {missing:?} of {sequence}");
        assert!(told.last().is_none_or(|last| last <= sequence), "{name}: told of what was never committed");
    }
    println!("{name}: {repeated} repetitions after {kills} kills");
}

/// Incidents open with sequences 1, 4, 7 … of a release, and close after each.
fn judge_pager(taken: &[(String, Value)], engine: &Engine, kills: usize) {
    let mut opened: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut actions: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (_, event) in taken {
        let key = event["dedup_key"].as_str().expect("a key").to_owned();
        let is_trigger = event["event_action"] == "trigger";
        actions.entry(key.clone()).or_default().push(is_trigger);
        let is_of_release = event["event_action"] == "resolve" || event["payload"]["component"] == "checkout";
        assert!(is_of_release, "nothing is lost, so no summary says so: {event}");
        if is_trigger {
            opened.entry(key).or_default().push(number(&event["payload"]["custom_details"]["sequence"]));
        }
    }
    let mut repeated = 0;
    for (key, sequences) in &opened {
        assert!(sequences.windows(2).all(|pair| pair[0] <= pair[1]), "{key}: {sequences:?}");
        repeated += sequences.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let told: BTreeSet<u64> = sequences.iter().copied().collect();
        let expected = |last: u64| (1..=last).filter(|sequence| sequence % 3 == 1).collect::<BTreeSet<u64>>();
        let of_release = engine.sequences.iter().any(|last| expected(*last) == told);
        assert!(of_release, "{key}: opened by {told:?}, of {:?}", engine.sequences);
    }
    for (key, actions) in &actions {
        // An event after another of its kind is a repetition.
        let same = actions.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(same <= kills, "{key}: {same} events twice in a row");
        assert_eq!(actions.first(), Some(&true), "{key}: a resolve before any trigger");
    }
    let releases = engine.sequences.iter().filter(|last| **last > 0).count();
    assert_eq!(opened.len(), releases);
    assert!(repeated <= kills, "pager: {repeated} repetitions after {kills} kills");
}
