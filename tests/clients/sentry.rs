//! An unmodified `sentry-cli` from npm: releases new, set-commits, finalize and deploys new, as a CI job runs them.

use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::harness::{Shipwake, start};
use crate::install;

/// Runs `sentry-cli` as a job does that was pointed at Shipwake by its variables. Gives what it said.
async fn sentry_cli(shipwake: &Shipwake, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(install::sentry_cli())
        .args(arguments)
        .env("SENTRY_URL", shipwake.ui())
        .env("SENTRY_AUTH_TOKEN", "anything")
        .env("SENTRY_ORG", "acme")
        .env("SENTRY_PROJECT", "checkout")
        // It has nothing to tell anybody else.
        .env("SENTRY_DISABLE_UPDATE_CHECK", "1")
        .env("SENTRYCLI_SKIP_CHECKSUM_VALIDATION", "1")
        .env("SENTRY_NO_PROGRESS_BAR", "1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("it is installed");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "sentry-cli {arguments:?}: {}\n{said}\n{}", output.status, shipwake.log());
    said
}

/// A repository with one commit, which `set-commits` reads.
async fn repository(folder: &Path) -> String {
    let git = async |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(folder).output().await.expect("git exists");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch", "main"]).await;
    git(&["remote", "add", "origin", "https://git.example/acme/checkout.git"]).await;
    let identity = ["-c", "user.name=ana", "-c", "user.email=ana@example.org"];
    let commit = ["commit", "--quiet", "--allow-empty", "--message", "a change"];
    git(&[&identity[..], &commit[..]].concat()).await;
    git(&["rev-parse", "HEAD"]).await
}

#[tokio::test]
async fn sentry_cli_announces_releases_and_deploys_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let source = folder.path().join("source");
    std::fs::create_dir(&source).expect("a folder");
    let commit = repository(&source).await;
    let run = async |arguments: &[&str]| sentry_cli(&shipwake, &source, arguments).await;

    let said = run(&["releases", "new", "checkout@2.14.0", "--url", "https://ci.example/run/7"]).await;
    assert!(said.contains("Created release"), "{said}");
    run(&["releases", "set-commits", "checkout@2.14.0", "--local"]).await;
    run(&["releases", "set-commits", "checkout@2.14.0", "--commit", &format!("acme/checkout@{commit}")]).await;
    run(&["releases", "finalize", "checkout@2.14.0"]).await;
    let deploy = [
        "deploys",
        "new",
        "--release",
        "checkout@2.14.0",
        "--env",
        "production",
        "--name",
        "run 7",
        "--started",
        "1795428000",
        "--finished",
        "1795428060",
    ];
    for _ in 0..2 {
        let said = run(&deploy).await;
        assert!(said.contains("Created new deploy"), "{said}");
    }
    // The project is the one of the release, which a deploy does not name; or it is named.
    run(&["releases", "new", "2.15.0"]).await;
    run(&["deploys", "new", "--release", "2.15.0", "--env", "staging", "-t", "30"]).await;
    run(&["deploys", "new", "--project", "cart", "--release", "7", "--env", "staging"]).await;
    run(&["releases", "list"]).await;

    let deploys = "select environment, version, status, message, cast(to_unixtime(time) as bigint) from markers \
                   where kind = 'deploy' and service = 'checkout' and source = 'sentry' order by environment";
    shipwake.wait_number("select count(*) from markers where kind = 'deploy'", 3).await;
    let rows = shipwake.sql(deploys).await;
    assert_eq!(
        rows[0],
        [json!("production"), json!("2.14.0"), json!("succeeded"), json!("run 7"), json!(1_795_428_060)]
    );
    assert_eq!(rows[1][..3], [json!("staging"), json!("2.15.0"), json!("succeeded")]);
    let notes = shipwake
        .sql("select message, commit_sha from markers where kind = 'note' and version = '2.14.0' order by message")
        .await;
    let messages: Vec<_> = notes.iter().map(|row| row[0].as_str().unwrap_or_default()).collect();
    assert_eq!(messages, ["commits of the release set", "release created", "release finalised"]);
    assert_eq!(notes[0][1], json!(commit));
    let listed = shipwake.api("/api/v1/deploys?service=checkout&from=0000000000000&env=production").await;
    assert_eq!(listed["deploys"][0]["outcome"], "announced_only", "{listed}");
}
