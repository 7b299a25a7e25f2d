//! The client programs, and how they are told where and how to send: by the environment variables of OpenTelemetry, as
//! anybody would.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::harness::Shipwake;
use crate::install;

/// Longer than any client tries.
const PATIENCE: Duration = Duration::from_secs(90);
/// Nothing is exported before the program says so.
const NEVER_MS: &str = "3600000";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
    Java,
    Go,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

/// One way to send a dose.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub protocol: Protocol,
    pub delta: bool,
    pub gzip: bool,
}

impl Way {
    /// As the SDKs send when nobody says otherwise.
    pub fn plain(protocol: Protocol) -> Way {
        Way { protocol, delta: false, gzip: false }
    }
}

/// Stands in for the version of the release, so that each way is judged apart.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let temporality = if self.delta { "delta" } else { "cumulative" };
        let compression = if self.gzip { "gzip" } else { "plain" };
        write!(f, "{}-{temporality}-{compression}", self.protocol.name().replace('/', "-"))
    }
}

impl Protocol {
    /// As in OTEL_EXPORTER_OTLP_PROTOCOL.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf => "http/protobuf",
            Protocol::HttpJson => "http/json",
        }
    }

    pub fn endpoint(self, shipwake: &Shipwake) -> String {
        if self == Protocol::Grpc { shipwake.grpc() } else { shipwake.http() }
    }
}

impl Language {
    /// The name of the service, too.
    pub fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::JavaScript => "javascript",
            Language::Java => "java",
            Language::Go => "go",
        }
    }

    /// Installs what the program needs, if that is not done yet.
    fn program(self) -> Command {
        let path = install::sources().join(self.name());
        match self {
            Language::Python => command(install::python(), &[path.join("send.py").as_os_str()]),
            Language::JavaScript => command("node", &[install::javascript().as_os_str()]),
            Language::Go => command(install::go(), &[] as &[&str]),
            Language::Java => {
                let folder = install::java();
                let classes = format!("{0}/classes:{0}/lib/*", folder.display());
                // Both save a second of each start.
                command("java", &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &classes, "shop.Send"])
            }
        }
    }

    /// Starts the program that sends a dose.
    pub fn start(self, way: Way, endpoint: &str) -> Running {
        let mut command = self.program();
        configure(&mut command, self.name(), &way.to_string(), way, endpoint);
        Running::new(command, format!("{} {way}", self.name()))
    }
}

fn command(program: impl AsRef<Path>, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments);
    command
}

/// Tells a program where to send. Nothing but the standard variables.
pub fn configure(command: &mut Command, service: &str, version: &str, way: Way, endpoint: &str) {
    let temporality = if way.delta { "delta" } else { "cumulative" };
    let attributes = format!("service.version={version},deployment.environment.name=test,team=tests");
    command
        .env("OTEL_SERVICE_NAME", service)
        .env("OTEL_RESOURCE_ATTRIBUTES", attributes)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", way.protocol.name())
        .env("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality)
        .env("OTEL_METRICS_EXPORTER", "otlp")
        .env("OTEL_LOGS_EXPORTER", "otlp")
        .env("OTEL_TRACES_EXPORTER", "otlp")
        .env("OTEL_METRIC_EXPORT_INTERVAL", NEVER_MS)
        .env("OTEL_BSP_SCHEDULE_DELAY", NEVER_MS)
        .env("OTEL_BLRP_SCHEDULE_DELAY", NEVER_MS);
    // Never "none": Python's gRPC exporter does not start with it.
    if way.gzip {
        command.env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    }
}

/// A program that was started.
pub struct Running {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    what: String,
}

impl Running {
    pub fn new(mut command: Command, what: String) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Running { child, lines, what }
    }

    /// Waits for a line that begins like this, and gives the rest of it.
    pub async fn says(&mut self, beginning: &str) -> String {
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.trim().to_owned();
                }
            }
            panic!("{} ended without saying {beginning:?}", self.what);
        });
        found.await.unwrap_or_else(|_| panic!("{} has not said {beginning:?} within {PATIENCE:?}", self.what))
    }

    /// Waits until it ends by itself, as it must.
    pub async fn finish(mut self) {
        let ended = timeout(PATIENCE, async {
            while self.lines.next_line().await.expect("text").is_some() {}
            self.child.wait().await.expect("it was started here")
        });
        let status = ended.await.unwrap_or_else(|_| panic!("{} still runs after {PATIENCE:?}", self.what));
        assert!(status.success(), "{}: {status}", self.what);
    }
}
