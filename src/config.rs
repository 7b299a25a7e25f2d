//! The configuration: command line over environment over file over defaults, checked as a whole at start.
//!
//! [`Options`] is what a person may say, each part optional; [`Config`] is what is in force. All problems are reported in
//! one message, and an unknown key names the nearest known one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use serde::{Deserialize, Serialize};

/// What the command line, the environment or the file may say. A key of the file is the option's name with `_` for `-`.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Options {
    /// Folder of journal, segments and manifests.
    #[arg(long, env = "SHIPWAKE_DATA")]
    pub data: Option<PathBuf>,
    /// Address of OTLP/gRPC.
    #[arg(long, env = "SHIPWAKE_OTLP_GRPC_ADDR")]
    pub otlp_grpc_addr: Option<SocketAddr>,
    /// Address of OTLP/HTTP and of `/v1/lines`.
    #[arg(long, env = "SHIPWAKE_OTLP_HTTP_ADDR")]
    pub otlp_http_addr: Option<SocketAddr>,
    /// Address of pages, API, `/metrics` and health.
    #[arg(long, env = "SHIPWAKE_UI_ADDR")]
    pub ui_addr: Option<SocketAddr>,
    /// Listen beyond loopback: a proxy in front takes care of TLS and of who may ask.
    #[arg(long, env = "SHIPWAKE_BEHIND_PROXY", num_args = 0..=1, default_missing_value = "true")]
    pub behind_proxy: Option<bool>,
    /// Partitions of the embedded journal, and so shards. Fixed when the data folder is made.
    #[arg(long, env = "SHIPWAKE_PARTITIONS")]
    pub partitions: Option<u32>,
    /// Bytes of requests in flight at the most; more are held for two seconds, then told to come back.
    #[arg(long, env = "SHIPWAKE_INFLIGHT_BYTES")]
    pub inflight_bytes: Option<usize>,
    /// Bytes of one request at the most, after decompression.
    #[arg(long, env = "SHIPWAKE_REQUEST_BYTES")]
    pub request_bytes: Option<usize>,
    /// Bytes that all queries together may use.
    #[arg(long, env = "SHIPWAKE_QUERY_MEMORY_BYTES")]
    pub query_memory_bytes: Option<usize>,
    /// Days that logs, spans and points are kept.
    #[arg(long, env = "SHIPWAKE_RETENTION_DAYS")]
    pub retention_days: Option<u32>,
    /// Seconds between commits when there is little to commit.
    #[arg(long, env = "SHIPWAKE_COMMIT_SECONDS")]
    pub commit_seconds: Option<u64>,
    /// A file of declared KPIs (YAML). Events count by their names without it.
    #[arg(long, env = "SHIPWAKE_KPIS")]
    pub kpis: Option<PathBuf>,
    /// Form of Shipwake's own log on standard error: `text` or `json`.
    #[arg(long, env = "SHIPWAKE_LOG_FORMAT")]
    pub log_format: Option<String>,
    /// Levels of Shipwake's own log, for example `info,shipwake_journal=debug`.
    #[arg(long, env = "SHIPWAKE_LOG")]
    pub log: Option<String>,
    /// Send Shipwake's own logs, metrics and spans as OTLP/gRPC to this endpoint.
    #[arg(long, env = "SHIPWAKE_OWN_OTLP_ENDPOINT")]
    pub own_otlp_endpoint: Option<String>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// See [`Options::data`].
    pub data: PathBuf,
    /// See [`Options::otlp_grpc_addr`].
    pub otlp_grpc_addr: SocketAddr,
    /// See [`Options::otlp_http_addr`].
    pub otlp_http_addr: SocketAddr,
    /// See [`Options::ui_addr`].
    pub ui_addr: SocketAddr,
    /// See [`Options::behind_proxy`].
    pub behind_proxy: bool,
    /// See [`Options::partitions`].
    pub partitions: u32,
    /// See [`Options::inflight_bytes`].
    pub inflight_bytes: usize,
    /// See [`Options::request_bytes`].
    pub request_bytes: usize,
    /// See [`Options::query_memory_bytes`].
    pub query_memory_bytes: usize,
    /// See [`Options::retention_days`].
    pub retention_days: u32,
    /// See [`Options::commit_seconds`].
    pub commit_seconds: u64,
    /// See [`Options::kpis`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kpis: Option<PathBuf>,
    /// See [`Options::log_format`].
    pub log_format: String,
    /// See [`Options::log`].
    pub log: String,
    /// See [`Options::own_otlp_endpoint`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_otlp_endpoint: Option<String>,
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
        Self {
            data: pick!(data, PathBuf::from("shipwake-data")),
            otlp_grpc_addr: pick!(otlp_grpc_addr, SocketAddr::from(([127, 0, 0, 1], 4317))),
            otlp_http_addr: pick!(otlp_http_addr, SocketAddr::from(([127, 0, 0, 1], 4318))),
            ui_addr: pick!(ui_addr, SocketAddr::from(([127, 0, 0, 1], 4400))),
            behind_proxy: pick!(behind_proxy, false),
            // Two cores are the machine that the figures are promised for; a shard is a thread.
            partitions: pick!(partitions, 2),
            inflight_bytes: pick!(inflight_bytes, 64 << 20),
            request_bytes: pick!(request_bytes, 64 << 20),
            query_memory_bytes: pick!(query_memory_bytes, 256 << 20),
            retention_days: pick!(retention_days, 7),
            commit_seconds: pick!(commit_seconds, 60),
            kpis: said.kpis.clone().or_else(|| file.kpis.clone()),
            log_format: pick!(log_format, "text".to_owned()),
            log: pick!(log, "info".to_owned()),
            own_otlp_endpoint: said.own_otlp_endpoint.clone().or_else(|| file.own_otlp_endpoint.clone()),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, address) in [
            ("otlp_grpc_addr", self.otlp_grpc_addr),
            ("otlp_http_addr", self.otlp_http_addr),
            ("ui_addr", self.ui_addr),
        ] {
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
        check_range(&mut problems, "query_memory_bytes", self.query_memory_bytes as u64, 16 << 20, 1 << 40);
        check_range(&mut problems, "retention_days", u64::from(self.retention_days), 1, 3650);
        check_range(&mut problems, "commit_seconds", self.commit_seconds, 1, 600);
        if self.request_bytes > self.inflight_bytes {
            problems.push(format!(
                "request_bytes = {} is more than inflight_bytes = {}: such a request could never be let in",
                self.request_bytes, self.inflight_bytes
            ));
        }
        if let Some(Err(mut found)) = self.kpis.as_deref().map(crate::kpis::load) {
            problems.append(&mut found);
        }
        if !["text", "json"].contains(&self.log_format.as_str()) {
            problems.push(format!("log_format = {:?}: it is `text` or `json`", self.log_format));
        }
        problems
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
            ..Options::default()
        };
        let error = Config::load(&said, None).expect_err("three problems");
        assert_eq!(error.0.len(), 3, "{error}");
    }

    #[test]
    fn beyond_loopback_only_behind_a_proxy() {
        let mut said = Options { ui_addr: Some(SocketAddr::from(([0, 0, 0, 0], 4400))), ..Options::default() };
        assert!(Config::load(&said, None).is_err());
        said.behind_proxy = Some(true);
        assert!(Config::load(&said, None).is_ok());
    }

    #[test]
    fn what_print_shows_can_be_read_back() {
        let config = Config::load(&Options::default(), None).expect("defaults are valid");
        let printed = toml::to_string(&config).expect("plain values");
        let read = Config::merge(&Options::default(), &parse(&printed).expect("known keys"));
        assert_eq!(read, config);
    }
}
