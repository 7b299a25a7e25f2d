//! What a log line costs: the CPU time of the whole server from the first record until it has settled, when every window is over, merged
//! and, where it is to be, indexed. `cargo bench --bench cost`; options through the environment, see [`Plan`].
//!
//! Windows are merged five minutes after their end. So lines are sent in the last minute of a window, and the rest is waiting: up to
//! half an hour. Servers with and without the index run at the same time, each with a generator of its own, and so do another build
//! and a peer if they are given: the machine is then the same for all, whatever else it does, and their ratios count. All take OTLP
//! over HTTP, which the peer does, too.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// The length of a window, and how long after its end it is merged.
const WINDOW_S: u64 = 900;
const SETTLE_S: u64 = 300;
/// Nothing more is merged when nothing was for so long: what was merged is committed within a minute.
const QUIET: Duration = Duration::from_secs(100);

/// What to run.
struct Plan {
    /// `SHIPWAKE_BENCH_SECONDS`: how long lines are sent. Default 60.
    seconds: u64,
    /// `SHIPWAKE_BENCH_RATE`: lines to each server, MB of OTLP a second. Default 13.9.
    rate_mb: f64,
    /// `SHIPWAKE_BENCH_BEFORE`: the program of another build, to be measured beside this one. Default none.
    before: Option<PathBuf>,
    /// `SHIPWAKE_BENCH_VICTORIALOGS`: the program of VictoriaLogs, to be measured beside this one. Default none.
    victoria_logs: Option<PathBuf>,
}

/// A server that is measured.
struct Server {
    child: Child,
    /// Where it says that it is ready, and its metrics.
    ready: (u16, &'static str),
    name: String,
    /// Where OTLP is taken over HTTP.
    endpoint: String,
    /// Where its data is; goes with it.
    _folder: tempfile::TempDir,
}

fn main() {
    // `cargo test --all-targets` runs benches with --test: nothing to check here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let plan = plan();
    let mut builds = vec![("this build", PathBuf::from(env!("CARGO_BIN_EXE_shipwake")))];
    builds.extend(plan.before.clone().map(|program| ("before", program)));
    let mut servers = Vec::new();
    for (build, program) in &builds {
        servers.push(Server::start(&format!("{build}, index"), program, true));
        servers.push(Server::start(&format!("{build}, blooms only"), program, false));
    }
    servers.extend(plan.victoria_logs.as_deref().map(Server::start_victoria_logs));
    servers.iter().for_each(Server::wait_until_ready);
    let left_s = WINDOW_S - unix_s() % WINDOW_S;
    let lead_s = plan.seconds + 20;
    let wait_s = if left_s > lead_s { left_s - lead_s } else { left_s + WINDOW_S - lead_s };
    eprintln!("lines are sent in {wait_s} s, for {} s", plan.seconds);
    rest(Duration::from_secs(wait_s));
    let begun: Vec<Duration> = servers.iter().map(Server::cpu).collect();
    let generators: Vec<Child> = servers.iter().map(|server| server.load(&plan)).collect();
    let sent: Vec<(u64, u64)> = generators.into_iter().map(sent).collect();
    let received: Vec<Duration> = servers.iter().map(Server::cpu).collect();
    let over_s = WINDOW_S - unix_s() % WINDOW_S + SETTLE_S;
    eprintln!("merged in {over_s} s");
    rest(Duration::from_secs(over_s));
    wait_until_settled(&servers);
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg").expect("Linux says it").trim());
    println!("                              MB     lines  µs a line: while sent, in all   MB a CPU second  memory MB");
    for (at, server) in servers.iter().enumerate() {
        let (bytes, lines) = sent[at];
        let per_line = |until: Duration| (until - begun[at]).as_secs_f64() * 1e6 / lines as f64;
        let in_all = per_line(server.cpu());
        println!(
            "{:<25} {:>7.0} {:>9} {:>15.2} {:>15.2} {:>17.1} {:>10.0}",
            server.name,
            bytes as f64 / 1e6,
            lines,
            per_line(received[at]),
            in_all,
            bytes as f64 / lines as f64 / in_all,
            server.memory_peak_mb()
        );
    }
}

fn plan() -> Plan {
    let variable = |name: &str| std::env::var(name).ok();
    Plan {
        seconds: variable("SHIPWAKE_BENCH_SECONDS").map_or(60, |text| text.parse().expect("whole seconds")),
        rate_mb: variable("SHIPWAKE_BENCH_RATE").map_or(13.9, |text| text.parse().expect("a rate in MB/s")),
        before: variable("SHIPWAKE_BENCH_BEFORE").map(PathBuf::from),
        victoria_logs: variable("SHIPWAKE_BENCH_VICTORIALOGS").map(PathBuf::from),
    }
}

impl Server {
    fn start(name: &str, program: &Path, with_index: bool) -> Self {
        // Below the build folder: a real disk, where the system's temporary folder may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let config = folder.path().join("shipwake.toml");
        std::fs::write(&config, format!("full_text_index = {with_index}\n")).expect("writes");
        let ports = std::array::from_fn(|_| free_port());
        let [grpc, http, ui] = ports.map(|port| format!("127.0.0.1:{port}"));
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(["--otlp-grpc-addr", &grpc, "--otlp-http-addr", &http, "--ui-addr", &ui])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        Self {
            child,
            ready: (ports[2], "/readyz"),
            name: name.to_owned(),
            endpoint: format!("http://{http}"),
            _folder: folder,
        }
    }

    /// With what it does by itself, but for how long it keeps lines.
    fn start_victoria_logs(program: &Path) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let port = free_port();
        let child = Command::new(program)
            .arg(format!("-storageDataPath={}", folder.path().display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .args(["-retentionPeriod=1y", "-loggerLevel=ERROR"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let endpoint = format!("http://127.0.0.1:{port}/insert/opentelemetry");
        Self { child, ready: (port, "/health"), name: "VictoriaLogs".to_owned(), endpoint, _folder: folder }
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.get(self.ready.1).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < deadline, "{} is not ready", self.name);
            rest(Duration::from_millis(100));
        }
    }

    fn load(&self, plan: &Plan) -> Child {
        Command::new(env!("CARGO_BIN_EXE_shipwake"))
            .args([
                "load",
                "--json",
                "--mix",
                "logs=1",
                "--protocol",
                "http",
                "--rate",
                &format!("{}MB/s", plan.rate_mb),
            ])
            .args(["--duration", &format!("{}s", plan.seconds)])
            .args(["--endpoint", &self.endpoint])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs")
    }

    /// How many jobs of the background are done, by table and kind, and which segments there are.
    fn merged(&self) -> Vec<String> {
        let text = self.get("/metrics").unwrap_or_default();
        let is_wanted =
            |line: &&str| line.starts_with("shipwake_compactions_total") || line.starts_with("shipwake_segments");
        text.lines().filter(is_wanted).map(str::to_owned).collect()
    }

    fn get(&self, path: &str) -> Option<String> {
        let port = self.ready.0;
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// User and system time of the process so far; the kernel counts in hundredths of a second.
    fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let after_name = text.rsplit_once(')').expect("a name in parentheses").1;
        let ticks = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// The most memory that was resident at once.
    fn memory_peak_mb(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = text.lines().find(|line| line.starts_with("VmHWM")).expect("Linux says it");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number") / 1e3
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    any.expect("a free port").port()
}

/// Bytes and lines that a generator has sent, all of which were acknowledged.
fn sent(generator: Child) -> (u64, u64) {
    let out = generator.wait_with_output().expect("it runs");
    let summary: Value = serde_json::from_slice(&out.stdout).expect("a summary");
    let number = |pointer: &str| summary.pointer(pointer).and_then(Value::as_u64).expect("a number");
    assert_eq!(number("/acked_records"), number("/sent/records"), "everything is taken");
    (number("/sent/bytes"), number("/sent/records"))
}

/// Returns when no server has merged anything for [`QUIET`].
fn wait_until_settled(servers: &[Server]) {
    let (mut before, mut since) = (Vec::new(), Instant::now());
    while since.elapsed() < QUIET {
        rest(Duration::from_secs(1));
        let now: Vec<Vec<String>> = servers.iter().map(Server::merged).collect();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}

/// Lets time pass: windows end when they end.
fn rest(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}
