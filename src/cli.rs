//! The command line. Every option of `serve` is also an environment variable and a key of the configuration file:
//! `config.rs` merges the three. Relies on clap; decides nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{EMBEDDED, Options};
use crate::{demo, load, mark, pipe, replay, tail};

/// Production feedback for every release: telemetry in, release health live.
#[derive(Debug, Parser)]
#[command(name = "shipwake", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: take telemetry, fold it, answer queries, show the pages.
    Serve(Box<ServeArgs>),
    /// Start Shipwake in a temporary folder with a simulated shop whose canary goes wrong.
    Demo(Box<DemoArgs>),
    /// Ask a running Shipwake in SQL.
    Query(QueryArgs),
    /// Find log lines in a running Shipwake, and follow those that come.
    Logs(Box<LogsArgs>),
    /// Wait until a release is judged. Exit code 0: go; 1: no-go; 2: not decided in time; 3: an error.
    Gate(GateArgs),
    /// Send the lines of standard input to a running Shipwake.
    Pipe(Box<pipe::PipeArgs>),
    /// Follow files and send their lines to a running Shipwake, each line once, across rotation and restarts.
    Tail(Box<tail::TailArgs>),
    /// Tell a running Shipwake about a deployment, a rollback, a share of the traffic or a toggle.
    Mark(Box<mark::MarkArgs>),
    /// Send a measured load, or compare what was acknowledged with what Shipwake answers.
    Load(Box<load::Args>),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at who is told of verdicts, and try them out.
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Look at what releases are judged by.
    #[command(subcommand)]
    Policies(PoliciesCommand),
    /// Look at what was called of releases.
    #[command(subcommand)]
    Verdict(replay::VerdictCommand),
    /// Check what is stored while no Shipwake runs on it; names every damaged file and offset. Exit code 0: nothing is damaged; 1: something
    /// is; 3: it could not be checked.
    Doctor(DoctorArgs),
    /// Print the version.
    Version,
}

/// `shipwake serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A configuration file (TOML). Its keys are the long options with `_` for `-`.
    #[arg(long, env = "SHIPWAKE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The options that the file may hold too.
    #[command(flatten)]
    pub options: Options,
}

/// `shipwake demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// What happens in the shop.
    #[command(flatten)]
    pub script: demo::Args,
    /// Start no server: send to processes that run, base URLs separated by commas, for example
    /// `http://ingest-1:4318,http://ingest-2:4318`. Each instance of the shop goes to the next one when one does not answer.
    #[arg(long, env = "SHIPWAKE_DEMO_SEND_TO", value_name = "URLS")]
    pub send_to: Option<String>,
    /// The server's options; `--data` keeps the data in a folder of yours instead of a temporary one.
    #[command(flatten)]
    pub options: Options,
}

/// `shipwake query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The statement, for example
    /// `select service, version, sum(requests) from release_health where resolution_s = 60 group by 1, 2`.
    pub sql: String,
    /// Where Shipwake answers.
    #[arg(long, env = "SHIPWAKE_URL", default_value = "http://127.0.0.1:4400")]
    pub url: String,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub format: QueryFormat,
    /// Rows at the most.
    #[arg(long, default_value_t = 10_000)]
    pub limit: u64,
    /// Milliseconds after which the query is cancelled.
    #[arg(long, default_value_t = 30_000)]
    pub timeout_ms: u64,
}

/// Output forms of `shipwake query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// An aligned table for people.
    Table,
    /// The JSON answer of the API as it is.
    Json,
    /// Comma-separated values with a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

/// `shipwake logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The search, for example `'card declined' level:>=warn -service:search`; see docs/search.md. Without one, every line.
    #[arg(allow_hyphen_values = true)]
    pub search: Option<String>,
    /// Go on with the lines that come, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Only lines from here on: now-30m, '2026-11-23 14:00' (UTC), RFC 3339, epoch milliseconds, deploy:VERSION-10m.
    #[arg(long, default_value = "now-1h")]
    pub from: String,
    /// Only lines before this.
    #[arg(long, default_value = "now")]
    pub to: String,
    /// Only lines of this service.
    #[arg(long)]
    pub service: Option<String>,
    /// Only lines of this environment.
    #[arg(long)]
    pub env: Option<String>,
    /// Only lines of this version.
    #[arg(long)]
    pub version: Option<String>,
    /// How to print a line.
    #[arg(long, value_enum, default_value_t = LogsFormat::Text)]
    pub format: LogsFormat,
    /// Lines at the most; the newest are printed. 0 prints none, and the exit code says whether there is one; with --follow only lines
    /// that come are printed.
    #[arg(long, short = 'n', default_value_t = 200)]
    pub limit: u64,
    /// Where Shipwake answers.
    #[arg(long, env = "SHIPWAKE_URL", default_value = "http://127.0.0.1:4400")]
    pub url: String,
}

/// Output forms of `shipwake logs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogsFormat {
    /// A line of text.
    Text,
    /// An object of JSON in a line.
    Json,
}

/// `shipwake gate`.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// The service.
    #[arg(long, env = "SHIPWAKE_GATE_SERVICE", value_parser = NonEmptyStringValueParser::new())]
    pub service: String,
    /// The version that is to be judged. Without it, the newest release that is judged now: name it where a new one may not have
    /// been seen yet.
    #[arg(long, env = "SHIPWAKE_GATE_CANDIDATE", value_parser = NonEmptyStringValueParser::new())]
    pub candidate: Option<String>,
    /// The environment; needed where the service is judged in several.
    #[arg(long, env = "SHIPWAKE_GATE_ENV", value_parser = NonEmptyStringValueParser::new())]
    pub env: Option<String>,
    /// The namespace; needed where several have a service of this name.
    #[arg(long, env = "SHIPWAKE_GATE_NAMESPACE", value_parser = NonEmptyStringValueParser::new())]
    pub namespace: Option<String>,
    /// The version that it has to be compared with; a verdict beside another one is none.
    #[arg(long, env = "SHIPWAKE_GATE_BASELINE", value_parser = NonEmptyStringValueParser::new())]
    pub baseline: Option<String>,
    /// How long to wait for a decision, for example `30m`; `0s` asks once.
    #[arg(long, env = "SHIPWAKE_GATE_TIMEOUT", default_value = "30m", value_parser = load::parse_duration)]
    pub timeout: Duration,
    /// How to print: changes as lines, or the whole last answer (changes go to standard error then).
    #[arg(long, value_enum, default_value_t = GateFormat::Text)]
    pub format: GateFormat,
    /// Where Shipwake answers.
    #[arg(long, alias = "server", env = "SHIPWAKE_URL", default_value = "http://127.0.0.1:4400")]
    pub url: String,
}

/// Output forms of `shipwake gate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GateFormat {
    /// Lines of text.
    Text,
    /// The answer of `GET /v1/verdict` as it is.
    Json,
}

/// `shipwake config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with a configuration; exit code 1 if anything is.
    Check(Box<ServeArgs>),
    /// Print the configuration in force, defaults included, as TOML.
    Print(Box<ServeArgs>),
}

/// `shipwake alerts`.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Say everything that is wrong with a file of receivers, each problem with its line; exit code 1 if anything is.
    Check(AlertsArgs),
    /// Send receivers a message that says that they are being tried out; exit code 1 if one does not take it.
    Test(AlertsTestArgs),
}

/// Which file of receivers.
#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// The file (YAML); docs/notifications.md describes it.
    pub file: PathBuf,
}

/// `shipwake alerts test`.
#[derive(Debug, Args)]
pub struct AlertsTestArgs {
    /// The file (YAML); docs/notifications.md describes it.
    pub file: PathBuf,
    /// Names of receivers; without any, all of them.
    pub receivers: Vec<String>,
}

/// `shipwake policies`.
#[derive(Debug, Subcommand)]
pub enum PoliciesCommand {
    /// Say everything that is wrong with a file of policies, each problem with its line; exit code 1 if anything is.
    Check(PoliciesArgs),
}

/// Which file of policies.
#[derive(Debug, Args)]
pub struct PoliciesArgs {
    /// The file (YAML); docs/verdicts.md describes it.
    pub file: PathBuf,
}

/// `shipwake doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The data directory.
    #[arg(long, env = "SHIPWAKE_DATA", default_value = "shipwake-data")]
    pub data: PathBuf,
    /// Where the journal is, as `serve` was told: `embedded`, or a topic of Kafka, whose brokers are asked what they hold.
    #[arg(long, env = "SHIPWAKE_JOURNAL", default_value = EMBEDDED)]
    pub journal: String,
    /// Where the store is, as `serve` was told: a folder, or `s3://bucket/prefix`. By default below the data directory.
    #[arg(long, env = "SHIPWAKE_STORE")]
    pub store: Option<String>,
}
