//! The configuration: command line over environment over file over defaults, checked as a whole at start.
//!
//! [`Options`] is what a person may say, each part optional; [`Config`] is what is in force. All problems are reported in
//! one message, and an unknown key names the nearest known one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use serde::{Deserialize, Serialize};
use shipwake_ingest::SyslogConfig;
use shipwake_journal::kafka;

use crate::retention::RetentionDays;
use crate::roles::{self, Roles};

/// What the command line, the environment or the file may say. A key of the file is the option's name with `_` for `-`.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Options {
    /// Folder of journal, segments and manifests.
    #[arg(long, env = "SHIPWAKE_DATA")]
    pub data: Option<PathBuf>,
    /// Where segments and manifests are, if not below the data folder: another folder, or `s3://bucket/prefix`.
    #[arg(long, env = "SHIPWAKE_STORE")]
    pub store: Option<String>,
    /// Where records are kept until they are folded: `embedded` (the default, in the data folder) or a topic of Kafka,
    /// `kafka://host:port[,host:port]/topic?…` (docs/kafka.md).
    #[arg(long, env = "SHIPWAKE_JOURNAL")]
    pub journal: Option<String>,
    /// What this process does: `all` (the default), or some of `ingest`, `aggregate`, `query`, `alerts`, separated by commas;
    /// other processes do the rest (docs/scale-out.md).
    #[arg(long, env = "SHIPWAKE_ROLES")]
    pub roles: Option<String>,
    /// The base URL under which other processes reach the pages of this one, for example `http://node-1:4400`. Default: where the
    /// pages are; when that is every address of the machine, the machine's name.
    #[arg(long, env = "SHIPWAKE_ADVERTISE")]
    pub advertise: Option<String>,
    /// Base URLs of other processes, separated by commas; a name may stand for several addresses. Whoever answers queries asks those
    /// that take telemetry what they have seen, and has those that answer queries compute parts of large SQL statements.
    #[arg(long, env = "SHIPWAKE_PEERS")]
    pub peers: Option<String>,
    /// A file with the secret that processes that answer queries show each other. Without it their port has to be in a network of
    /// their own.
    #[arg(long, env = "SHIPWAKE_CLUSTER_TOKEN_FILE")]
    pub cluster_token_file: Option<PathBuf>,
    /// Topics that an OpenTelemetry Collector writes to Kafka, read as they are:
    /// `kafka://host:port/otlp_logs,otlp_metrics,otlp_spans`. Off unless it is given.
    #[arg(long, env = "SHIPWAKE_KAFKA_TOPICS")]
    pub kafka_topics: Option<String>,
    /// Password of the user that both of these name. In the environment only, or in a file (`password_file=…`): the command
    /// line is shown to everybody.
    #[arg(skip)]
    #[serde(skip)]
    pub kafka_password: Option<Secret>,
    /// A file with the secret of GitHub's webhooks; or the variable `SHIPWAKE_HOOK_SECRET_GITHUB` holds it. With it only signed
    /// deliveries are taken (docs/markers.md).
    #[arg(long, env = "SHIPWAKE_HOOK_SECRET_GITHUB_FILE")]
    pub hook_secret_github_file: Option<PathBuf>,
    /// The secret itself. In the environment only: the command line is shown to everybody.
    #[arg(skip)]
    #[serde(skip)]
    pub hook_secret_github: Option<Secret>,
    /// Address of OTLP/gRPC.
    #[arg(long, env = "SHIPWAKE_OTLP_GRPC_ADDR")]
    pub otlp_grpc_addr: Option<SocketAddr>,
    /// Address of OTLP/HTTP and of `/v1/lines`.
    #[arg(long, env = "SHIPWAKE_OTLP_HTTP_ADDR")]
    pub otlp_http_addr: Option<SocketAddr>,
    /// Address of pages, API, `/metrics` and health.
    #[arg(long, env = "SHIPWAKE_UI_ADDR")]
    pub ui_addr: Option<SocketAddr>,
    /// Address of syslog over TCP (RFC 5424 and 3164; octet-counted or a line each). Off unless it is given.
    #[arg(long, env = "SHIPWAKE_SYSLOG_TCP")]
    pub syslog_tcp: Option<SocketAddr>,
    /// Address of syslog over UDP. Off unless it is given.
    #[arg(long, env = "SHIPWAKE_SYSLOG_UDP")]
    pub syslog_udp: Option<SocketAddr>,
    /// What applications of syslog are: `APPLICATION=VERSION` or `APPLICATION=SERVICE@VERSION`, separated by commas.
    #[arg(long, env = "SHIPWAKE_SYSLOG_APPS")]
    pub syslog_apps: Option<String>,
    /// Service of syslog messages that name no application.
    #[arg(long, env = "SHIPWAKE_SYSLOG_SERVICE")]
    pub syslog_service: Option<String>,
    /// Version of syslog messages that say none and whose application has none in `syslog_apps`.
    #[arg(long, env = "SHIPWAKE_SYSLOG_VERSION")]
    pub syslog_version: Option<String>,
    /// Environment of syslog messages that say none.
    #[arg(long, env = "SHIPWAKE_SYSLOG_ENVIRONMENT")]
    pub syslog_environment: Option<String>,
    /// Zone of time stamps of syslog that have none: `UTC` (the default) or an offset such as `+02:00`.
    #[arg(long, env = "SHIPWAKE_SYSLOG_ZONE", allow_hyphen_values = true)]
    pub syslog_zone: Option<String>,
    /// Listen beyond loopback: a proxy in front takes care of TLS and of who may ask.
    #[arg(long, env = "SHIPWAKE_BEHIND_PROXY", num_args = 0..=1, default_missing_value = "true")]
    pub behind_proxy: Option<bool>,
    /// Partitions of the journal, and so shards. Fixed when the data folder is made; a topic of Kafka that is there has its
    /// own number.
    #[arg(long, env = "SHIPWAKE_PARTITIONS")]
    pub partitions: Option<u32>,
    /// Bytes of requests in flight at the most; more are held for two seconds, then told to come back.
    #[arg(long, env = "SHIPWAKE_INFLIGHT_BYTES")]
    pub inflight_bytes: Option<usize>,
    /// Bytes of one request at the most, after decompression.
    #[arg(long, env = "SHIPWAKE_REQUEST_BYTES")]
    pub request_bytes: Option<usize>,
    /// Seconds of folding that may wait in the journal; beyond them senders are held, then told to come back.
    #[arg(long, env = "SHIPWAKE_BACKLOG_SECONDS")]
    pub backlog_seconds: Option<u64>,
    /// Bytes that all queries together may use.
    #[arg(long, env = "SHIPWAKE_QUERY_MEMORY_BYTES")]
    pub query_memory_bytes: Option<usize>,
    /// Bytes of segments from which on an SQL statement is computed by all peers that answer queries; 0 is always.
    #[arg(long, env = "SHIPWAKE_SQL_SPREAD_BYTES")]
    pub sql_spread_bytes: Option<u64>,
    /// Days that logs, spans and points are kept, where `[retention]` in the file does not say otherwise.
    #[arg(long, env = "SHIPWAKE_RETENTION_DAYS")]
    pub retention_days: Option<u32>,
    /// Whether logs get a full-text index in the background: searches read less, log lines cost some 8 % more CPU time.
    #[arg(long, env = "SHIPWAKE_FULL_TEXT_INDEX", num_args = 0..=1, default_missing_value = "true")]
    pub full_text_index: Option<bool>,
    /// Seconds between commits when there is little to commit.
    #[arg(long, env = "SHIPWAKE_COMMIT_SECONDS")]
    pub commit_seconds: Option<u64>,
    /// A file of declared KPIs (YAML). Events count by their names without it.
    #[arg(long, env = "SHIPWAKE_KPIS")]
    pub kpis: Option<PathBuf>,
    /// A file of receivers that are told of verdicts (YAML; docs/notifications.md). Without it verdicts are judged and shown.
    #[arg(long, env = "SHIPWAKE_ALERTS")]
    pub alerts: Option<PathBuf>,
    /// A file of policies by which releases are judged (YAML; docs/verdicts.md). Without it all are judged by the defaults.
    #[arg(long, env = "SHIPWAKE_POLICIES")]
    pub policies: Option<PathBuf>,
    /// Form of Shipwake's own log on standard error: `text` or `json`.
    #[arg(long, env = "SHIPWAKE_LOG_FORMAT")]
    pub log_format: Option<String>,
    /// Levels of Shipwake's own log, for example `info,shipwake_journal=debug`.
    #[arg(long, env = "SHIPWAKE_LOG")]
    pub log: Option<String>,
    /// Send Shipwake's own logs, metrics and spans as OTLP/gRPC to this endpoint.
    #[arg(long, env = "SHIPWAKE_OWN_OTLP_ENDPOINT")]
    pub own_otlp_endpoint: Option<String>,
    /// How long what is kept; only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionDays>,
    /// How lines are read; only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<Lines>,
}

/// The `[lines]` table of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lines {
    /// Which versions are behind the names that proxies log: a `[[lines.upstreams]]` table for each.
    pub upstreams: Vec<Upstream>,
}

/// One name that proxies log, and the version behind it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Backend, `backend/server`, server, `host:port` or host, as it is logged.
    pub name: String,
    /// The service behind it; without one it is the one that the sender names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The version behind it.
    pub version: String,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// See [`Options::data`].
    pub data: PathBuf,
    /// See [`Options::store`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// See [`Options::journal`].
    pub journal: String,
    /// See [`Options::roles`].
    pub roles: String,
    /// See [`Options::advertise`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// See [`Options::peers`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<String>,
    /// See [`Options::cluster_token_file`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_token_file: Option<PathBuf>,
    /// See [`Options::kafka_topics`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_topics: Option<String>,
    /// See [`Options::kafka_password`]. Never printed.
    #[serde(skip)]
    pub kafka_password: Option<Secret>,
    /// See [`Options::hook_secret_github_file`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_secret_github_file: Option<PathBuf>,
    /// See [`Options::hook_secret_github`]. Never printed.
    #[serde(skip)]
    pub hook_secret_github: Option<Secret>,
    /// See [`Options::otlp_grpc_addr`].
    pub otlp_grpc_addr: SocketAddr,
    /// See [`Options::otlp_http_addr`].
    pub otlp_http_addr: SocketAddr,
    /// See [`Options::ui_addr`].
    pub ui_addr: SocketAddr,
    /// See [`Options::syslog_tcp`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_tcp: Option<SocketAddr>,
    /// See [`Options::syslog_udp`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_udp: Option<SocketAddr>,
    /// See [`Options::syslog_apps`].
    pub syslog_apps: String,
    /// See [`Options::syslog_service`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_service: Option<String>,
    /// See [`Options::syslog_version`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_version: Option<String>,
    /// See [`Options::syslog_environment`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_environment: Option<String>,
    /// See [`Options::syslog_zone`].
    pub syslog_zone: String,
    /// See [`Options::behind_proxy`].
    pub behind_proxy: bool,
    /// See [`Options::partitions`].
    pub partitions: u32,
    /// See [`Options::inflight_bytes`].
    pub inflight_bytes: usize,
    /// See [`Options::request_bytes`].
    pub request_bytes: usize,
    /// See [`Options::backlog_seconds`].
    pub backlog_seconds: u64,
    /// See [`Options::query_memory_bytes`].
    pub query_memory_bytes: usize,
    /// See [`Options::sql_spread_bytes`].
    pub sql_spread_bytes: u64,
    /// See [`Options::retention_days`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// See [`Options::full_text_index`].
    pub full_text_index: bool,
    /// See [`Options::commit_seconds`].
    pub commit_seconds: u64,
    /// See [`Options::kpis`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kpis: Option<PathBuf>,
    /// See [`Options::alerts`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts: Option<PathBuf>,
    /// See [`Options::policies`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<PathBuf>,
    /// Versions that were first seen within so many seconds of their service's first record were there before; the demo runs its story
    /// faster. Not to be configured.
    #[serde(skip)]
    pub settle_s: Option<i64>,
    /// See [`Options::log_format`].
    pub log_format: String,
    /// See [`Options::log`].
    pub log: String,
    /// See [`Options::own_otlp_endpoint`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_otlp_endpoint: Option<String>,
    /// See [`Options::retention`]. A table, and so behind all plain keys; what was not said is filled in.
    pub retention: RetentionDays,
    /// See [`Options::lines`]. A table, and so behind all plain keys.
    #[serde(skip_serializing_if = "Lines::is_empty")]
    pub lines: Lines,
}

/// The journal in the data folder.
pub const EMBEDDED: &str = "embedded";

/// The environment variable that holds [`Options::kafka_password`].
const KAFKA_PASSWORD: &str = "SHIPWAKE_KAFKA_PASSWORD";

/// The environment variable that holds [`Options::hook_secret_github`].
const HOOK_SECRET_GITHUB: &str = "SHIPWAKE_HOOK_SECRET_GITHUB";

/// The secret of GitHub's webhooks that the environment gives.
pub fn hook_secret_github() -> Option<Secret> {
    std::env::var(HOOK_SECRET_GITHUB).ok().map(Secret)
}

/// The password that the environment gives.
pub fn kafka_password() -> Option<Secret> {
    std::env::var(KAFKA_PASSWORD).ok().map(Secret)
}

/// Something that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Everything that is wrong with a configuration, one problem a line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Merges what was said with the file (if any) and the defaults, and checks the whole.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found: unreadable file, unknown or ill-typed keys, values out of range.
    pub fn load(said: &Options, file: Option<&Path>) -> Result<Self, ConfigError> {
        let from_file = match file {
            None => Options::default(),
            Some(path) => read_file(path)?,
        };
        let config = Self::merge(said, &from_file);
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
    }

    fn merge(said: &Options, file: &Options) -> Self {
        macro_rules! pick {
            ($field:ident, $default:expr) => {
                said.$field.clone().or_else(|| file.$field.clone()).unwrap_or_else(|| $default)
            };
        }
        macro_rules! optional {
            ($field:ident) => {
                said.$field.clone().or_else(|| file.$field.clone())
            };
        }
        Self {
            data: pick!(data, PathBuf::from("shipwake-data")),
            store: optional!(store),
            journal: pick!(journal, EMBEDDED.to_owned()),
            roles: pick!(roles, "all".to_owned()),
            advertise: optional!(advertise),
            peers: optional!(peers),
            cluster_token_file: optional!(cluster_token_file),
            kafka_topics: optional!(kafka_topics),
            kafka_password: optional!(kafka_password),
            hook_secret_github_file: optional!(hook_secret_github_file),
            hook_secret_github: optional!(hook_secret_github),
            otlp_grpc_addr: pick!(otlp_grpc_addr, SocketAddr::from(([127, 0, 0, 1], 4317))),
            otlp_http_addr: pick!(otlp_http_addr, SocketAddr::from(([127, 0, 0, 1], 4318))),
            ui_addr: pick!(ui_addr, SocketAddr::from(([127, 0, 0, 1], 4400))),
            syslog_tcp: optional!(syslog_tcp),
            syslog_udp: optional!(syslog_udp),
            syslog_apps: pick!(syslog_apps, String::new()),
            syslog_service: optional!(syslog_service),
            syslog_version: optional!(syslog_version),
            syslog_environment: optional!(syslog_environment),
            syslog_zone: pick!(syslog_zone, "UTC".to_owned()),
            behind_proxy: pick!(behind_proxy, false),
            // Two cores are the machine that the figures are promised for; a shard is a thread.
            partitions: pick!(partitions, 2),
            inflight_bytes: pick!(inflight_bytes, 64 << 20),
            request_bytes: pick!(request_bytes, 64 << 20),
            backlog_seconds: pick!(backlog_seconds, 30),
            query_memory_bytes: pick!(query_memory_bytes, 256 << 20),
            sql_spread_bytes: pick!(sql_spread_bytes, 32 << 20),
            retention_days: optional!(retention_days),
            full_text_index: pick!(full_text_index, true),
            commit_seconds: pick!(commit_seconds, 60),
            kpis: said.kpis.clone().or_else(|| file.kpis.clone()),
            alerts: said.alerts.clone().or_else(|| file.alerts.clone()),
            policies: said.policies.clone().or_else(|| file.policies.clone()),
            settle_s: None,
            log_format: pick!(log_format, "text".to_owned()),
            log: pick!(log, "info".to_owned()),
            own_otlp_endpoint: optional!(own_otlp_endpoint),
            retention: pick!(retention, RetentionDays::default()).or_default(optional!(retention_days)),
            lines: pick!(lines, Lines::default()),
        }
    }

    /// The address of the journal on Kafka, read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn kafka_journal(&self) -> Result<kafka::Config, String> {
        kafka::Config::parse(&self.journal, self.password(), self.partitions)
    }

    /// The topics of a Collector, if there are any.
    pub fn collector_topics(&self) -> Option<Result<kafka::TopicsConfig, String>> {
        self.kafka_topics.as_deref().map(|text| kafka::TopicsConfig::parse(text, self.password()))
    }

    /// What this process does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn roles(&self) -> Result<Roles, String> {
        Roles::parse(&self.roles)
    }

    /// The base URLs of other processes.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn peers(&self) -> Result<Vec<String>, String> {
        roles::base_urls(self.peers.as_deref().unwrap_or_default())
    }

    /// The secret that processes show each other, if there is one.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn cluster_token(&self) -> Result<Option<String>, String> {
        self.cluster_token_file.as_deref().map(secret_of_file).transpose()
    }

    /// The secret that GitHub signs with, if there is one.
    ///
    /// # Errors
    /// Why it cannot be used; never what it is.
    pub fn github_secret(&self) -> Result<Option<String>, String> {
        match (&self.hook_secret_github, &self.hook_secret_github_file) {
            (Some(_), Some(_)) => {
                Err(format!("both the variable {HOOK_SECRET_GITHUB} and a file hold it: which one counts?"))
            }
            (Some(Secret(secret)), None) if secret.trim().is_empty() => {
                Err(format!("the variable {HOOK_SECRET_GITHUB} is empty"))
            }
            (Some(Secret(secret)), None) => Ok(Some(secret.trim().to_owned())),
            (None, path) => path.as_deref().map(secret_of_file).transpose(),
        }
    }

    /// Whether several processes can work together: they share the journal on Kafka and the store in a bucket. One process
    /// alone on both is then one of several too; more may come.
    pub fn is_shared(&self) -> bool {
        self.journal != EMBEDDED && self.store.as_deref().is_some_and(shipwake_store::s3::is_url)
    }

    /// What is wrong with the part of this process among several.
    fn role_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.roles() {
            Err(problem) => problems.push(format!("roles: {problem}")),
            Ok(roles) if roles.is_all() || self.is_shared() => {}
            Ok(_) if self.journal == EMBEDDED => problems.push(format!(
                "roles = {}: the embedded journal is for one process that does everything; several share a journal on Kafka \
                 (journal = kafka://…) and a store in a bucket (store = s3://…)",
                self.roles
            )),
            Ok(roles) if roles.needs_store() => problems.push(format!(
                "roles = {}: a store in a folder is for one process that does everything; several share one in a bucket \
                 (store = s3://…)",
                self.roles
            )),
            Ok(_) => {}
        }
        if self.kafka_topics.is_some() && self.roles().is_ok_and(|roles| !roles.ingest) {
            problems.push("kafka_topics: a process without the role ingest reads no topics of a Collector".to_owned());
        }
        if let Some(Err(problem)) = self.advertise.as_deref().map(roles::base_url) {
            problems.push(format!("advertise: {problem}"));
        }
        if let Err(problem) = self.peers() {
            problems.push(format!("peers: {problem}"));
        }
        problems
    }

    fn password(&self) -> Option<&str> {
        self.kafka_password.as_ref().map(|Secret(password)| password.as_str())
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.journal != EMBEDDED
            && let Err(problem) = self.kafka_journal()
        {
            // Not the text: somebody may have put a password into it.
            problems.push(format!("journal: {problem} (or it is `embedded`)"));
        }
        if let Err(problem) = self.github_secret() {
            problems.push(format!("hook_secret_github_file: {problem}"));
        }
        problems.extend(self.role_problems());
        if let Some(Err(problem)) = self.collector_topics() {
            problems.push(format!("kafka_topics: {problem}"));
        }
        for (name, address) in [
            ("otlp_grpc_addr", Some(self.otlp_grpc_addr)),
            ("otlp_http_addr", Some(self.otlp_http_addr)),
            ("ui_addr", Some(self.ui_addr)),
            ("syslog_tcp", self.syslog_tcp),
            ("syslog_udp", self.syslog_udp),
        ] {
            let Some(address) = address else { continue };
            if !address.ip().is_loopback() && !self.behind_proxy {
                problems.push(format!(
                    "{name} = {address}: Shipwake has no users or TLS of its own yet, so it listens on loopback; \
                     with a proxy in front that asks who is there, set behind_proxy"
                ));
            }
        }
        check_range(&mut problems, "partitions", u64::from(self.partitions), 1, 64);
        check_range(&mut problems, "inflight_bytes", self.inflight_bytes as u64, 1 << 20, 64 << 30);
        check_range(&mut problems, "request_bytes", self.request_bytes as u64, 1 << 10, 1 << 30);
        check_range(&mut problems, "backlog_seconds", self.backlog_seconds, 1, 3600);
        check_range(&mut problems, "query_memory_bytes", self.query_memory_bytes as u64, 16 << 20, 1 << 40);
        problems.extend(self.retention.problems());
        check_range(&mut problems, "commit_seconds", self.commit_seconds, 1, 600);
        if let Err(problem) = SyslogConfig::read_applications(&self.syslog_apps) {
            problems.push(format!("syslog_apps: {problem}"));
        }
        if let Err(problem) = SyslogConfig::read_offset(&self.syslog_zone) {
            problems.push(format!("syslog_zone: {problem}"));
        }
        if self.request_bytes > self.inflight_bytes {
            problems.push(format!(
                "request_bytes = {} is more than inflight_bytes = {}: such a request could never be let in",
                self.request_bytes, self.inflight_bytes
            ));
        }
        problems.extend(self.lines.problems());
        if let Some(Err(mut found)) = self.kpis.as_deref().map(crate::kpis::load) {
            problems.append(&mut found);
        }
        if let Some(Err(mut found)) = self.alerts.as_deref().map(shipwake_alerts::config_file::load) {
            problems.append(&mut found);
        }
        if let Some(Err(mut found)) = self.policies.as_deref().map(shipwake_alerts::policies::file::load) {
            problems.append(&mut found);
        }
        if !["text", "json"].contains(&self.log_format.as_str()) {
            problems.push(format!("log_format = {:?}: it is `text` or `json`", self.log_format));
        }
        problems
    }
}

impl Lines {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.upstreams.iter().filter_map(|upstream| shipwake_ingest::Upstream::from(upstream).problem()).collect();
        let mut names: Vec<&str> = self.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).filter(|pair| pair[0] == pair[1]);
        problems.extend(twice.map(|pair| format!("lines.upstreams has {:?} twice: which version is it?", pair[0])));
        problems
    }
}

impl From<&Upstream> for shipwake_ingest::Upstream {
    fn from(upstream: &Upstream) -> Self {
        let Upstream { name, service, version } = upstream.clone();
        shipwake_ingest::Upstream { name, service, version }
    }
}

/// The one line of a file that holds a secret.
fn secret_of_file(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        token if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
        _ => Err(format!("{} has more than one line of visible ASCII", path.display())),
    }
}

fn check_range(problems: &mut Vec<String>, name: &str, value: u64, low: u64, high: u64) {
    if !(low..=high).contains(&value) {
        problems.push(format!("{name} = {value}: it is between {low} and {high}"));
    }
}

fn read_file(path: &Path) -> Result<Options, ConfigError> {
    let one = |problem: String| ConfigError(vec![problem]);
    let text = std::fs::read_to_string(path).map_err(|e| one(format!("{}: {e}", path.display())))?;
    parse(&text).map_err(|ConfigError(problems)| {
        ConfigError(problems.into_iter().map(|problem| format!("{}: {problem}", path.display())).collect())
    })
}

fn parse(text: &str) -> Result<Options, ConfigError> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| ConfigError(vec![e.to_string()]))?;
    let known = known_keys();
    let unknown: Vec<String> = table
        .keys()
        .filter(|key| !known.contains(key))
        .map(|key| match nearest(key, &known) {
            Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
            None => format!("unknown key `{key}`; known keys: {}", known.join(", ")),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(ConfigError(unknown));
    }
    let options: Result<Options, _> = table.try_into();
    options.map_err(|e| ConfigError(vec![e.to_string().trim().to_owned()]))
}

/// The keys of the file are the options that clap knows, so the two cannot drift apart.
fn known_keys() -> Vec<String> {
    #[derive(clap::Parser)]
    struct Known {
        #[command(flatten)]
        _options: Options,
    }
    Known::command()
        .get_arguments()
        .map(|argument| argument.get_id().to_string())
        .filter(|id| id != "help" && id != "version")
        // Tables are in the file only.
        .chain(["lines".to_owned(), "retention".to_owned()])
        .collect()
}

/// The known key with the fewest edits, if a third of the letters or fewer differ.
pub fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a str> {
    let key = key.replace('-', "_");
    let best = known.iter().min_by_key(|candidate| edits(&key, candidate))?;
    (edits(&key, best) <= best.len().max(3) / 3).then_some(best.as_str())
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = parse("ui_addr = \"127.0.0.1:9\"\ncommit_seconds = 5").expect("valid");
        let said = Options { commit_seconds: Some(7), ..Options::default() };
        let config = Config::merge(&said, &file);
        assert_eq!(config.commit_seconds, 7);
        assert_eq!(config.ui_addr.port(), 9);
    }

    #[test]
    fn roles_that_cannot_work_together_with_journal_and_store_are_refused_in_words() {
        const KAFKA: &str = "kafka://k:9092/journal";
        const BUCKET: &str = "s3://bucket/shipwake";
        for (roles, journal, store, said) in [
            ("all", None, None, None),
            ("all", Some(KAFKA), None, None),
            ("all", Some(KAFKA), Some(BUCKET), None),
            ("ingest", Some(KAFKA), None, None),
            ("ingest,aggregate", Some(KAFKA), Some(BUCKET), None),
            ("query", Some(KAFKA), Some(BUCKET), None),
            ("ingest", None, None, Some("embedded journal is for one process")),
            ("query", None, Some(BUCKET), Some("embedded journal is for one process")),
            ("aggregate", Some(KAFKA), None, Some("store in a folder is for one process")),
            ("ingest,query", Some(KAFKA), Some("/srv/store"), Some("store in a folder is for one process")),
            ("aggregator", Some(KAFKA), Some(BUCKET), Some("is not a role")),
        ] {
            let said_options = Options {
                roles: Some(roles.to_owned()),
                journal: journal.map(str::to_owned),
                store: store.map(str::to_owned),
                ..Options::default()
            };
            let found = Config::load(&said_options, None).err().map(|error| error.to_string());
            let fits = match (&found, said) {
                (None, None) => true,
                (Some(found), Some(said)) => found.contains(said),
                _ => false,
            };
            assert!(fits, "{roles} {journal:?} {store:?}: {found:?}");
        }
        let said = Options {
            advertise: Some("https://node-1".into()),
            peers: Some("http://a:4400,b".into()),
            ..Options::default()
        };
        let error = Config::load(&said, None).expect_err("two problems").0;
        assert!(error.len() == 2 && error[0].starts_with("advertise") && error[1].starts_with("peers"), "{error:?}");
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = parse("comit_seconds = 5\nzzz = 1").expect_err("two unknown keys");
        assert_eq!(error.0.len(), 2);
        assert!(error.0[0].contains("did you mean `commit_seconds`"), "{error}");
        assert!(error.0[1].contains("known keys"), "{error}");
    }

    #[test]
    fn all_problems_are_said_at_once() {
        let said = Options {
            ui_addr: Some(SocketAddr::from(([0, 0, 0, 0], 4400))),
            partitions: Some(0),
            log_format: Some("xml".into()),
            syslog_udp: Some(SocketAddr::from(([0, 0, 0, 0], 514))),
            syslog_apps: Some("nginx".into()),
            syslog_zone: Some("CET".into()),
            ..Options::default()
        };
        let error = Config::load(&said, None).expect_err("six problems");
        assert_eq!(error.0.len(), 6, "{error}");
    }

    #[test]
    fn the_address_of_a_journal_is_checked_and_its_password_never_printed() {
        let mut said = Options { journal: Some("kafka://a:9092/t?sasl=plain&user=u".into()), ..Options::default() };
        let error = Config::load(&said, None).expect_err("no password");
        assert!(error.to_string().contains("SHIPWAKE_KAFKA_PASSWORD"), "{error}");
        said.kafka_password = Some(Secret("secret-word".into()));
        let config = Config::load(&said, None).expect("complete");
        let printed = format!("{config:?}{}", toml::to_string(&config).expect("plain values"));
        assert!(printed.contains("kafka://a:9092/t") && !printed.contains("secret-word"), "{printed}");
        said.journal = Some("kafka".into());
        said.kafka_topics = Some("kafka://a:9092/things".into());
        let error = Config::load(&said, None).expect_err("two problems");
        assert_eq!(error.0.len(), 2, "{error}");
    }

    #[test]
    fn the_secret_of_githubs_webhooks_comes_from_a_file_or_the_environment_and_is_never_printed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        std::fs::write(&path, "of-the-file\n").expect("written");
        let mut said = Options { hook_secret_github_file: Some(path), ..Options::default() };
        let config = Config::load(&said, None).expect("valid");
        assert_eq!(config.github_secret(), Ok(Some("of-the-file".to_owned())));
        said.hook_secret_github = Some(Secret("of-the-environment".into()));
        assert!(Config::load(&said, None).expect_err("two").to_string().contains("which one counts"));
        said.hook_secret_github_file = None;
        let config = Config::load(&said, None).expect("valid");
        assert_eq!(config.github_secret(), Ok(Some("of-the-environment".to_owned())));
        let printed = format!("{config:?}{}", toml::to_string(&config).expect("plain values"));
        assert!(!printed.contains("of-the-environment"), "{printed}");
        said.hook_secret_github = Some(Secret(" ".into()));
        assert!(Config::load(&said, None).is_err(), "an empty secret would let everybody in");
    }

    #[test]
    fn beyond_loopback_only_behind_a_proxy() {
        let mut said = Options { ui_addr: Some(SocketAddr::from(([0, 0, 0, 0], 4400))), ..Options::default() };
        assert!(Config::load(&said, None).is_err());
        said.behind_proxy = Some(true);
        assert!(Config::load(&said, None).is_ok());
    }

    #[test]
    fn upstreams_are_tables_and_their_mistakes_are_said() {
        let text = "commit_seconds = 5\n[[lines.upstreams]]\nname = \"blue\"\nversion = \"1.41.0\"\n\
                    [[lines.upstreams]]\nname = \"blue\"\nservice = \"\"\nversion = \"2\"\n";
        let config = Config::merge(&Options::default(), &parse(text).expect("known keys"));
        assert_eq!(config.lines.upstreams[0].version, "1.41.0");
        let problems = config.problems();
        assert!(problems.len() == 2 && problems[0].contains("blue") && problems[1].contains("twice"), "{problems:?}");
        assert!(parse("[[lines.upstreams]]\nname = \"a\"\nvesion = \"1\"").is_err());
    }

    #[test]
    fn what_print_shows_can_be_read_back() {
        let mut config = Config::load(&Options::default(), None).expect("defaults are valid");
        let green = Upstream { name: "green".into(), service: None, version: "1.42.0".into() };
        config.lines.upstreams.push(green);
        let printed = toml::to_string(&config).expect("plain values");
        let read = Config::merge(&Options::default(), &parse(&printed).expect("known keys"));
        assert_eq!(read, config);
    }
}
