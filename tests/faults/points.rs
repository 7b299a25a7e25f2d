//! The process dies before, after, or in the middle of one named system call: every step between a request and its answer, and between
//! a row and its commit, is cut off there. (F2 of `docs/faults.md`)

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use prost::Message;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::chance::{chances, is_long, rounds};
use crate::harness::{LIMIT, Start, free_ports, spawn};
use crate::load::{Load, judge};
use crate::old_lines::OldLines;
use crate::otlp::{logs, post, resource};
use crate::shim::spawn_faulty;

const SIGKILL: i32 = 9;

/// Name, call and path, up to which occurrence it is chosen by chance, and where in the call the process dies.
type Point = (&'static str, &'static str, u32, &'static [&'static str]);

const AROUND: &[&str] = &["before", "after"];
const WITHIN: &[&str] = &["before", "half", "after"];

/// What a program that takes telemetry does again and again.
const POINTS: [Point; 16] = [
    ("append", "write,/journal/p", 400, WITHIN),
    ("sync of an append", "sync,/journal/p", 200, AROUND),
    ("answer", "write,socket:", 400, WITHIN),
    ("file that becomes a segment, state or manifest", "write,/store/tmp/", 20, WITHIN),
    ("sync of such a file", "sync,/store/tmp/", 20, AROUND),
    ("segment gets its name", "link,/store/data/logs/", 4, AROUND),
    ("blooms get their name", "link,.blooms", 3, AROUND),
    ("windows get their name", "link,/store/data/windows/", 3, AROUND),
    ("state gets its name", "link,/store/state/", 3, AROUND),
    ("commit: manifest gets its name", "link,/store/manifest/", 3, AROUND),
    ("sync of the folder of manifests", "sync,/store/manifest/", 3, AROUND),
    ("merged segment gets its name", "link,-m", 1, AROUND),
    ("full-text index gets its name", "link,.index", 1, AROUND),
    ("temporary name is removed", "unlink,/store/tmp/", 20, AROUND),
    ("state that is no longer needed is removed", "unlink,/store/state/", 3, AROUND),
    ("segment of no commit is removed at a start", "unlink,/store/data/", 1, AROUND),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_each_named_step_loses_nothing_and_counts_nothing_twice() {
    let mut random = chances("points");
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) };
    let mut cases: Vec<(usize, &str)> =
        (0..POINTS.len()).flat_map(|at| POINTS[at].3.iter().map(move |how| (at, *how))).collect();
    // The short test takes some of them by chance.
    cases.shuffle(&mut random);
    let all = cases.len() as u32;
    let cases = cases.into_iter().cycle().take(rounds(9, 20 * all) as usize);

    let first = spawn(&start);
    first.wait_ready().await;
    let load = Load::start(ports, &oracle, "grpc", "2000/s");
    let old_lines = OldLines::start(ports[1]);
    load.wait_acknowledged(10).await;
    first.kill();
    for (at, how) in cases {
        let (name, call, occurrences, _) = POINTS[at];
        if call == "unlink,/store/data/" {
            leave_a_segment_of_no_commit(&start).await;
        }
        let fault = format!("{call},{},{how}", random.random_range(1..=occurrences));
        println!("{name}: {fault}");
        let mut shipwake = spawn_faulty(&start, &fault);
        let status = shipwake.wait_exit().await;
        assert_eq!(status.signal(), Some(SIGKILL), "{name}, {fault}: {status}\n{}", shipwake.log());
    }
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    load.stop().await;
    judge(&shipwake, &oracle).await;
    old_lines.stop(&shipwake).await;
}

/// Ends a process between its segments and their manifest.
async fn leave_a_segment_of_no_commit(start: &Start<'_>) {
    let mut shipwake = spawn_faulty(start, "link,/store/manifest/,1,before");
    assert_eq!(shipwake.wait_exit().await.signal(), Some(SIGKILL), "{}", shipwake.log());
}

/// A first start that is killed at the first, second, third … call that changes something, until one gets through. The short test
/// leaves some out.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_is_killed_at_any_of_its_steps_can_be_made_again() {
    let mut random = chances("first start");
    let stride = if is_long() { 1 } else { 4 };
    for call in ["create", "write", "sync", "rename", "link"] {
        let mut nth = random.random_range(1..=stride);
        loop {
            let folder = tempfile::tempdir().expect("a folder");
            let data = folder.path().join("data");
            let start = Start { data: &data, options: &["--partitions", "1"], ports: None };
            let how = if call == "write" { "half" } else { *AROUND.choose(&mut random).expect("two") };
            let fault = format!("{call},/data/,{nth},{how}");
            let (was_killed, was_acknowledged) = first_life(&start, &fault).await;
            let again = spawn(&start);
            again.wait_ready().await;
            post(&again.http(), "logs", &logs(resource("a", "1", "a"), &["second"])).await;
            again.wait_number("select count(*) from logs where body = 'second'", 1).await;
            let first = again.number("select count(*) from logs where body = 'first'").await;
            assert!(first == 1 || first == 0 && !was_acknowledged, "{fault}: {first}");
            if !was_killed {
                break;
            }
            nth += stride;
        }
        println!("{call}: got through at {nth}");
    }
}

/// Starts the program, sends a record when it is ready, and gives whether it was killed and whether the record was acknowledged.
async fn first_life(start: &Start<'_>, fault: &str) -> (bool, bool) {
    let mut shipwake = spawn_faulty(start, fault);
    let url = shipwake.http();
    let body = logs(resource("a", "1", "a"), &["first"]).encode_to_vec();
    let client = reqwest::Client::new();
    let deadline = Instant::now() + LIMIT;
    loop {
        let request = client.post(format!("{url}/v1/logs")).header("content-type", "application/x-protobuf");
        let answer = request.body(body.clone()).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            // What follows an answer, a mark in the journal, has its turn too.
            let _ = client.get(format!("{}/readyz", shipwake.ui())).send().await;
            let was_killed = shipwake.has_ended().is_some();
            return (was_killed, true);
        }
        if let Some(status) = shipwake.has_ended() {
            assert_eq!(status.signal(), Some(SIGKILL), "{fault}: {status}\n{}", shipwake.log());
            return (true, false);
        }
        assert!(Instant::now() < deadline, "{fault}: neither killed nor ready\n{}", shipwake.log());
        tokio::task::yield_now().await;
    }
}
