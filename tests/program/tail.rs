//! `shipwake tail`: each line of a file counts once, across rotation, truncation, restarts and kills.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::harness::{Shipwake, eventually, start, start_with};
use crate::sender::{Sender, lines};

const COUNT: &str = "select count(*) from logs where service = 'tailed' and version = '1.0'";
const DISTINCT: &str = "select count(distinct body) from logs where service = 'tailed'";

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
}

/// As logrotate does: `app.log.1` becomes `app.log.2`, then `app.log` becomes `app.log.1`.
fn rotate(path: &Path, by: &str) {
    let numbered = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..9).rev() {
        let _ = fs::rename(numbered(n), numbered(n + 1));
    }
    match by {
        "rename" => fs::rename(path, numbered(1)).expect("renamed"),
        _ => {
            fs::copy(path, numbered(1)).expect("copied");
            OpenOptions::new().write(true).open(path).expect("there").set_len(0).expect("truncated");
        }
    }
}

async fn assert_counts(shipwake: &Shipwake, expected: i64, tail: &Sender) {
    eventually(&format!("{expected} lines"), || async {
        let found = shipwake.number(COUNT).await;
        assert!(found <= expected, "{found} lines of {expected}:\n{}", tail.said());
        (found == expected).then_some(())
    })
    .await;
    assert_eq!(shipwake.number(DISTINCT).await, expected, "each once");
}

#[tokio::test]
async fn files_that_come_go_rotate_and_shrink_are_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).expect("made");
    let (app, pattern, state) = (logs.join("app.log"), logs.join("web-*.log*"), folder.path().join("state"));
    let tail = Sender::tail(&shipwake.http(), &state, &[&app, &pattern], &[]);
    eventually("says that it waits", || async { tail.said().contains("nothing at").then_some(()) }).await;

    append(&app, &lines(0, 10));
    assert_counts(&shipwake, 10, &tail).await;
    append(&app, "line 10\nline 1");
    append(&app, "1\n");
    assert_counts(&shipwake, 12, &tail).await;
    // Written right before and right after, so that nothing of it was read when it happens.
    append(&app, &lines(12, 20));
    rotate(&app, "rename");
    append(&app.with_extension("log.1"), &lines(20, 25));
    append(&app, &lines(25, 30));
    assert_counts(&shipwake, 30, &tail).await;
    append(&app, &lines(30, 40));
    rotate(&app, "copytruncate");
    append(&app, &lines(40, 45));
    assert_counts(&shipwake, 45, &tail).await;
    // The pattern matches rotated files too: they are known by what they hold.
    append(&logs.join("web-1.log"), &lines(45, 50));
    append(&logs.join("web-2.log"), &lines(50, 55));
    assert_counts(&shipwake, 55, &tail).await;
    append(&logs.join("web-1.log"), &lines(55, 60));
    rotate(&logs.join("web-1.log"), "copytruncate");
    rotate(&logs.join("web-2.log"), "rename");
    append(&logs.join("web-1.log"), &lines(60, 65));
    append(&logs.join("web-2.log"), &lines(65, 70));
    assert_counts(&shipwake, 70, &tail).await;
    fs::write(&app, lines(70, 71)).expect("written anew");
    assert_counts(&shipwake, 71, &tail).await;
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was_also_when_files_were_rotated_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let (app, other) = (folder.path().join("app.log"), folder.path().join("other.log"));
    let state = folder.path().join("state");
    append(&app, &lines(0, 10));
    append(&other, &lines(10, 20));
    let mut tail = Sender::tail(&shipwake.http(), &state, &[&app, &other], &[]);
    assert_counts(&shipwake, 20, &tail).await;
    tail.signal("-TERM");
    assert_eq!(tail.exit_code().await, 0, "{}", tail.said());

    append(&app, &lines(20, 30));
    rotate(&app, "rename");
    append(&app, &lines(30, 40));
    rotate(&app, "rename");
    append(&app, &lines(40, 50));
    append(&other, &lines(50, 60));
    rotate(&other, "copytruncate");
    append(&other, &lines(60, 70));
    // From the end is for files that were never followed.
    let tail = Sender::tail(&shipwake.http(), &state, &[&app, &other], &["--from", "end"]);
    assert_counts(&shipwake, 70, &tail).await;
    let again = Sender::tail(&shipwake.http(), &state, &[&app], &[]).exit_code().await;
    assert_eq!(again, 1, "two on one state");
}

#[tokio::test]
async fn from_the_end_leaves_out_what_was_there_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let (old, new, state) = (folder.path().join("old.log"), folder.path().join("new.log"), folder.path().join("state"));
    append(&old, "before\n");
    let tail = Sender::tail(&shipwake.http(), &state, &[&old, &new], &["--from", "end"]);
    eventually("it has begun", || async { state.join("positions").exists().then_some(()) }).await;
    append(&old, "line a\n");
    append(&new, "line b\n");
    assert_counts(&shipwake, 2, &tail).await;
}

#[tokio::test]
async fn kills_at_any_moment_lose_no_line_and_double_none() {
    let seed: u64 =
        std::env::var("SHIPWAKE_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("SHIPWAKE_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start_with(&folder.path().join("data"), &["--commit-seconds", "1"]).await;
    let (app, state) = (folder.path().join("app.log"), folder.path().join("state"));
    append(&app, &lines(0, 100));
    let mut written = 100;
    let mut tail = Sender::tail(&shipwake.http(), &state, &[&app], &[]);
    for round in 0..20 {
        for _ in 0..random.random_range(1..6) {
            let count = random.random_range(1..400);
            append(&app, &lines(written, written + count));
            written += count;
            // The moment of the kill is the randomness that is tested; nothing waits for a condition here.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..120))).await;
        }
        // Rotated sometimes while it runs, sometimes while it does not.
        if random.random_range(0..4) == 0 {
            rotate(&app, "rename");
            append(&app, &lines(written, written + 50));
            written += 50;
        }
        tail.kill();
        if round % 5 == 4 {
            rotate(&app, if round % 10 == 4 { "rename" } else { "copytruncate" });
            append(&app, &lines(written, written + 50));
            written += 50;
        }
        tail = Sender::tail(&shipwake.http(), &state, &[&app], &[]);
    }
    assert_counts(&shipwake, written as i64, &tail).await;
    // And nothing comes behind it.
    tail.signal("-TERM");
    assert_eq!(tail.exit_code().await, 0, "{}", tail.said());
    assert_counts(&shipwake, written as i64, &tail).await;
}
