//! The bad-input corpus: every file is sent over both protocols, must get its answer, and must not disturb what comes after.

use std::fs;
use std::path::{Path, PathBuf};

use tonic::Code;

use crate::grpc::{LOGS, call, frame};
use crate::support::{Server, count, logs_bytes};

/// The files of a folder of the corpus, with the route that their name begins with.
fn files(folder: &str) -> Vec<(String, String, Vec<u8>)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut found: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is in the repository")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let signal = name.split('-').next().expect("a signal").to_owned();
            (name, format!("/v1/{signal}"), fs::read(path).expect("readable"))
        })
        .collect();
    found.sort();
    found
}

/// The gRPC method of a route.
fn method(path: &str) -> String {
    match path {
        "/v1/metrics" => LOGS.replace("logs.v1.Logs", "metrics.v1.Metrics"),
        "/v1/traces" => LOGS.replace("logs.v1.Logs", "trace.v1.Trace"),
        _ => LOGS.to_owned(),
    }
}

#[tokio::test]
async fn broken_requests_are_refused_and_lose_nothing_else() {
    let (server, journal) = Server::in_memory().await;
    let files = files("broken");
    assert!(files.len() >= 15, "{} files", files.len());
    for (name, path, bytes) in &files {
        let answer = server.export(path, bytes).await;
        assert_eq!(answer.status, 400, "{name}");
        let (code, message) = answer.rpc_status();
        assert!(code == 3 && message.contains("byte"), "{name}: {message}");
        let status = call(&server, &method(path), None, frame(0, bytes)).await;
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message.as_str()), "{name}");
        assert_eq!(server.export("/v1/logs", &logs_bytes(1, 1)).await.status, 200, "after {name}");
    }
    assert_eq!(count(&journal).await, files.len() as u64);
}

#[tokio::test]
async fn odd_requests_are_taken_because_protobuf_allows_them() {
    let (server, journal) = Server::in_memory().await;
    let files = files("odd");
    assert!(files.len() >= 6, "{} files", files.len());
    for (name, path, bytes) in &files {
        let before = count(&journal).await;
        let answer = server.export(path, bytes).await;
        assert_eq!(answer.status, 200, "{name}: {:?}", String::from_utf8_lossy(&answer.body));
        assert_eq!(call(&server, &method(path), None, frame(0, bytes)).await.code(), Code::Ok, "{name}");
        assert_eq!(count(&journal).await, before + 2, "{name}");
    }
}
