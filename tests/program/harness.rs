//! Starts, kills and asks the real binary. Everything waits for a condition with a limit; nothing sleeps for luck.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a condition may take to come true before a test fails. Generous: the machine may be busy, and a client whose request was
/// lost waits for thirty seconds before it asks again.
pub const LIMIT: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running Shipwake.
pub struct Shipwake {
    child: Child,
    ports: [u16; 3],
    log: PathBuf,
}

/// How to start it.
pub struct Start<'a> {
    pub data: &'a Path,
    pub options: &'a [&'a str],
    pub ports: Option<[u16; 3]>,
}

/// Ports that nobody uses right now: gRPC, HTTP, UI.
pub fn free_ports() -> [u16; 3] {
    std::array::from_fn(|_| free_port())
}

/// Below the ports that the kernel gives to outgoing connections: one of these could take a port before the program listens.
fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 12_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Programs of tests that run at once begin at different places.
    let begin = std::process::id().wrapping_mul(613);
    let port = |_| {
        let at = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        u16::try_from(PORTS.start + at).expect("a port")
    };
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    PORTS.map(port).find(is_free).expect("a free port")
}

/// Starts the program without waiting for anything.
pub fn spawn(start: &Start<'_>) -> Shipwake {
    spawn_with(start, &[])
}

/// The same with more in its environment.
pub fn spawn_with(start: &Start<'_>, environment: &[(&str, &str)]) -> Shipwake {
    let ports = start.ports.unwrap_or_else(free_ports);
    // Not beside the data: that may be a disk that is full or cannot be written.
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shipwake-{}-{}.log", std::process::id(), ports[2]));
    let child = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["serve", "--data"])
        .arg(start.data)
        .args(["--otlp-grpc-addr", &format!("127.0.0.1:{}", ports[0])])
        .args(["--otlp-http-addr", &format!("127.0.0.1:{}", ports[1])])
        .args(["--ui-addr", &format!("127.0.0.1:{}", ports[2])])
        .args(start.options)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("a log file"))
        .spawn()
        .expect("the binary was built by cargo");
    Shipwake { child, ports, log }
}

/// Starts the program on `data` and waits until it is ready.
pub async fn start(data: &Path) -> Shipwake {
    start_with(data, &[]).await
}

/// The same with options.
pub async fn start_with(data: &Path, options: &[&str]) -> Shipwake {
    let shipwake = spawn(&Start { data, options, ports: None });
    shipwake.wait_ready().await;
    shipwake
}

/// Waits until `condition` gives a value, or fails with what it was waiting for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Shipwake {
    pub fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    pub fn ui(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[2])
    }

    pub fn ports(&self) -> [u16; 3] {
        self.ports
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the program has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub async fn wait_ready(&self) {
        let url = format!("{}/readyz", self.ui());
        let deadline = Instant::now() + LIMIT;
        while !matches!(reqwest::get(&url).await, Ok(answer) if answer.status().is_success()) {
            assert!(Instant::now() < deadline, "not ready within {LIMIT:?}:\n{}", self.log());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it was started here");
    }

    /// SIGTERM; gives the exit status and how long it took.
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        let killed = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().expect("kill exists");
        assert!(killed.success());
        let status = self.child.wait().expect("it was started here");
        (status, asked.elapsed())
    }

    /// How the program has ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it was started here")
    }

    /// Waits for the program to end by itself, within the limit.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.has_ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {LIMIT:?}:\n{}", self.log());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The answer of `POST /api/v1/sql`, whatever its status.
    pub async fn sql_answer(&self, query: &str) -> (u16, Value) {
        let body = json!({"query": query});
        let answer = reqwest::Client::new().post(format!("{}/api/v1/sql", self.ui())).json(&body).send().await;
        let answer = answer.unwrap_or_else(|e| panic!("{e}\n{}", self.log()));
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    /// The rows of a statement that must succeed.
    pub async fn sql(&self, query: &str) -> Vec<Vec<Value>> {
        let (status, answer) = self.sql_answer(query).await;
        assert_eq!(status, 200, "{query}: {answer}\n{}", self.log());
        let rows = answer["rows"].as_array().expect("rows");
        rows.iter().map(|row| row.as_array().expect("a row").clone()).collect()
    }

    /// One number. NULL (a sum over nothing) counts as 0.
    pub async fn number(&self, query: &str) -> i64 {
        let rows = self.sql(query).await;
        rows[0][0].as_i64().unwrap_or(0)
    }

    /// Waits until a statement gives this number.
    pub async fn wait_number(&self, query: &str, expected: i64) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = self.number(query).await;
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{query} gives {found}, expected {expected}\n{}", self.log());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A page API's answer.
    pub async fn api(&self, path: &str) -> Value {
        let answer = reqwest::get(format!("{}{path}", self.ui())).await.expect("an answer");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// The sum of a metric's samples over all labels that contain `filter`.
    pub async fn metric(&self, name: &str, filter: &str) -> f64 {
        let text = reqwest::get(format!("{}/metrics", self.ui())).await.expect("an answer").text().await.expect("text");
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(filter)
        });
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

impl Drop for Shipwake {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}
