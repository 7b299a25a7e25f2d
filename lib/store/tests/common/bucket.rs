//! A real S3 server (versitygw) with an empty bucket, on loopback. Needs Go, once: the server is built into `target/s3`, which
//! takes some minutes. Shared by the tests of the store and those of several processes.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const VERSION: &str = "v1.8.0";

/// What a client of the server has in its environment.
pub const CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "testtest"), ("AWS_REGION", "us-east-1")];

/// A server that runs until it is dropped.
pub struct Bucket {
    process: Child,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Bucket {
    /// Starts a server with an empty bucket of the name `bucket`.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("bucket")).expect("a bucket is a folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let process = Command::new(versitygw())
            .args(["--port", &format!("127.0.0.1:{port}"), "--quiet", "posix"])
            .arg(dir.path())
            .envs([("ROOT_ACCESS_KEY", "test"), ("ROOT_SECRET_KEY", "testtest")])
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < Duration::from_secs(20), "the server does not listen");
            std::thread::yield_now();
        }
        Bucket { process, port, dir }
    }

    /// Where the server keeps the objects, each as a file.
    #[allow(dead_code, reason = "not every test looks behind the server")]
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("bucket")
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's program, built by the first test that asks; others wait.
pub fn versitygw() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp is in target");
    let folder = target.join("s3");
    std::fs::create_dir_all(&folder).expect("target can be written");
    let lock = File::create(target.join("s3.lock")).expect("target can be written");
    lock.lock().expect("the file system has locks");
    let program = folder.join("versitygw");
    if !program.exists() {
        let status = Command::new("go")
            .args(["install", &format!("github.com/versity/versitygw/cmd/versitygw@{VERSION}")])
            .env("GOBIN", folder.canonicalize().expect("is there"))
            .status()
            .expect("Go is there");
        assert!(status.success(), "versitygw cannot be built");
    }
    program
}
