//! A real S3 server (versitygw) on loopback with an empty bucket, and the proxy in front of it. The server is built with Go on first
//! use, into `target/s3`, which takes some minutes.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::proxy::Proxy;

const VERSION: &str = "v1.8.0";
/// What a client of the server needs in its environment.
pub const CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "testtest"), ("AWS_REGION", "us-east-1")];

/// The server; ends with the value.
pub struct Gateway {
    process: Child,
    pub port: u16,
    pub proxy: Proxy,
    /// Holds the bucket as a folder.
    pub dir: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    /// Starts it. `target` is the build's folder.
    pub fn start(target: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("bucket")).expect("a bucket is a folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let process = Command::new(program(target))
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
        Gateway { process, port, proxy: Proxy::start(port), dir }
    }

    /// The address of a store in the bucket, by way of the proxy.
    pub fn url(&self) -> String {
        format!("s3://bucket/shop/store?endpoint=http://127.0.0.1:{}", self.proxy.port)
    }
}

/// The server's program, built on first use, as for the tests of the store.
fn program(target: &Path) -> PathBuf {
    let folder = target.join("s3");
    let program = folder.join("versitygw");
    if !program.exists() {
        std::fs::create_dir_all(&folder).expect("a folder");
        let folder = folder.canonicalize().expect("is there");
        let status = Command::new("go")
            .args(["install", &format!("github.com/versity/versitygw/cmd/versitygw@{VERSION}")])
            .env("GOBIN", folder)
            .status()
            .expect("Go is there");
        assert!(status.success(), "versitygw cannot be built");
    }
    program
}
