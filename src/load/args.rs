//! Options of `shipwake load` and their text forms: rates, mixes, durations. Pure.

use std::path::PathBuf;
use std::time::Duration;

use shipwake_model::Signal;

use super::wire::Protocol;

/// Send a measured load to Shipwake, or check that everything acknowledged is there.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do instead of sending.
    #[command(subcommand)]
    pub command: Option<LoadCommand>,
    /// How to send.
    #[command(flatten)]
    pub generate: GenerateArgs,
}

/// What `shipwake load` does besides sending.
#[derive(Debug, clap::Subcommand)]
pub enum LoadCommand {
    /// Compare an oracle file with what Shipwake answers; exit code 1 when they differ.
    Check(CheckArgs),
}

/// Options of the generator.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// Records (`46000/s`) or bytes (`13.9MB/s`) per second, before compression.
    #[arg(long, env = "SHIPWAKE_LOAD_RATE", default_value = "10000/s", value_parser = parse_rate)]
    pub rate: Rate,
    /// How long to send: `30s`, `5m`, `500ms`.
    #[arg(long, env = "SHIPWAKE_LOAD_DURATION", default_value = "60s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Shares of the signals by records.
    #[arg(long, env = "SHIPWAKE_LOAD_MIX", default_value = "logs=60,spans=25,points=15", value_parser = parse_mix)]
    pub mix: Mix,
    /// Services that send.
    #[arg(long, env = "SHIPWAKE_LOAD_SERVICES", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub services: u32,
    /// Versions of each service.
    #[arg(long, env = "SHIPWAKE_LOAD_VERSIONS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub versions: u32,
    /// Instances of each version.
    #[arg(long, env = "SHIPWAKE_LOAD_INSTANCES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub instances: u32,
    /// Series of metric points, over all services.
    #[arg(long, env = "SHIPWAKE_LOAD_CARDINALITY", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=90_000_000))]
    pub cardinality: u32,
    /// Bytes of an encoded record, about.
    #[arg(long, env = "SHIPWAKE_LOAD_RECORD_BYTES", default_value_t = 302, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub record_bytes: u32,
    /// Records of a request.
    #[arg(long, env = "SHIPWAKE_LOAD_BATCH", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub batch: u32,
    /// Resources of a request, each with its part of the records: 1 as an SDK sends, more as a Collector does.
    #[arg(long, env = "SHIPWAKE_LOAD_RESOURCES_PER_REQUEST", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub resources_per_request: u32,
    /// Connections, used in turn. Over HTTP, requests that wait for answers open more.
    #[arg(long, env = "SHIPWAKE_LOAD_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Requests without an answer at the most; the schedule goes on and latency counts from it.
    #[arg(long, env = "SHIPWAKE_LOAD_IN_FLIGHT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// How requests travel.
    #[arg(long, env = "SHIPWAKE_LOAD_PROTOCOL", value_enum, default_value_t = Protocol::Grpc)]
    pub protocol: Protocol,
    /// Compress requests with gzip; costs the generator much CPU.
    #[arg(long, env = "SHIPWAKE_LOAD_GZIP")]
    pub gzip: bool,
    /// Where OTLP is taken; by default 127.0.0.1 at 4317 (gRPC) or 4318 (HTTP). Several, separated by commas, are used in turn, also
    /// when a request is repeated.
    #[arg(long, env = "SHIPWAKE_LOAD_ENDPOINT")]
    pub endpoint: Option<String>,
    /// Where Shipwake answers queries, for `--visible-lag`.
    #[arg(long, env = "SHIPWAKE_URL", default_value = "http://127.0.0.1:4400")]
    pub url: String,
    /// How long a request is repeated before it is given up.
    #[arg(long, env = "SHIPWAKE_LOAD_GIVE_UP", default_value = "30s", value_parser = parse_duration)]
    pub give_up: Duration,
    /// File that takes what was sent and what was acknowledged, for `check`. Must not exist.
    #[arg(long, env = "SHIPWAKE_LOAD_ORACLE")]
    pub oracle: Option<PathBuf>,
    /// Name of this run: the namespace of its services, so that runs do not mix. By default made from the time.
    #[arg(long, env = "SHIPWAKE_LOAD_RUN")]
    pub run: Option<String>,
    /// Measure how long a record takes to be seen by a query.
    #[arg(long, env = "SHIPWAKE_LOAD_VISIBLE_LAG")]
    pub visible_lag: bool,
    /// Print the summary as JSON; progress goes to standard error.
    #[arg(long, env = "SHIPWAKE_LOAD_JSON")]
    pub json: bool,
    /// Time between lines of progress.
    #[arg(long, env = "SHIPWAKE_LOAD_REPORT_EVERY", default_value = "5s", value_parser = parse_duration)]
    pub report_every: Duration,
}

/// Options of the judge.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The file that `shipwake load --oracle` wrote.
    #[arg(long, env = "SHIPWAKE_LOAD_ORACLE")]
    pub oracle: PathBuf,
    /// Where Shipwake answers queries.
    #[arg(long, env = "SHIPWAKE_URL", default_value = "http://127.0.0.1:4400")]
    pub url: String,
    /// How long to wait until everything acknowledged is visible.
    #[arg(long, env = "SHIPWAKE_LOAD_WAIT", default_value = "30s", value_parser = parse_duration)]
    pub wait: Duration,
    /// Print the findings as JSON.
    #[arg(long, env = "SHIPWAKE_LOAD_JSON")]
    pub json: bool,
}

/// What the schedule keeps constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Records per second.
    Records(f64),
    /// Uncompressed bytes of requests per second.
    Bytes(f64),
}

/// Relative shares of the signals by records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Log records.
    pub logs: u32,
    /// Spans.
    pub spans: u32,
    /// Metric points.
    pub points: u32,
}

impl Mix {
    /// The share of a signal, of [`Mix::total`].
    pub fn of(&self, signal: Signal) -> u32 {
        match signal {
            Signal::Logs => self.logs,
            Signal::Metrics => self.points,
            Signal::Traces => self.spans,
        }
    }

    /// The sum of the shares; above zero.
    pub fn total(&self) -> u32 {
        self.logs + self.spans + self.points
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is not a rate like 46000/s or 13.9MB/s");
    let amount = text.trim().trim_end_matches("/s").trim();
    let split = amount.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(amount.len());
    let number: f64 = amount[..split].trim().parse().map_err(|_| wrong())?;
    let rate = match &amount[split..] {
        "" => Rate::Records(number),
        "k" => Rate::Records(number * 1e3),
        "B" => Rate::Bytes(number),
        "kB" => Rate::Bytes(number * 1e3),
        "MB" => Rate::Bytes(number * 1e6),
        "GB" => Rate::Bytes(number * 1e9),
        _ => return Err(wrong()),
    };
    if number.is_finite() && number > 0.0 { Ok(rate) } else { Err(wrong()) }
}

fn parse_mix(text: &str) -> Result<Mix, String> {
    let mut mix = Mix { logs: 0, spans: 0, points: 0 };
    for part in text.split(',') {
        let (name, share) = part.split_once('=').ok_or_else(|| format!("`{part}` is not a share like logs=60"))?;
        let share: u32 = share.trim().parse().map_err(|_| format!("`{share}` is not a whole number"))?;
        if share > 1_000_000 {
            return Err(format!("{share} is too large for a share"));
        }
        match name.trim() {
            "logs" => mix.logs = share,
            "spans" => mix.spans = share,
            "points" => mix.points = share,
            other => return Err(format!("`{other}` is none of logs, spans, points")),
        }
    }
    if mix.total() == 0 { Err("a mix of nothing sends nothing".to_owned()) } else { Ok(mix) }
}

/// A duration such as `250ms`, `30s`, `5m`, `2h`; a bare number is seconds.
///
/// # Errors
/// When the text is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration like 30s, 5m or 500ms");
    let text_trimmed = text.trim();
    let split = text_trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text_trimmed.len());
    let number: f64 = text_trimmed[..split].parse().map_err(|_| wrong())?;
    let seconds = match &text_trimmed[split..] {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_records_or_bytes() {
        assert_eq!(parse_rate("46000/s"), Ok(Rate::Records(46_000.0)));
        assert_eq!(parse_rate("46k"), Ok(Rate::Records(46_000.0)));
        assert_eq!(parse_rate("13.9MB/s"), Ok(Rate::Bytes(13_900_000.0)));
        assert!(parse_rate("0/s").is_err());
        assert!(parse_rate("12 parsecs").is_err());
    }

    #[test]
    fn a_mix_names_its_signals() {
        assert_eq!(parse_mix("logs=60,spans=25,points=15"), Ok(Mix { logs: 60, spans: 25, points: 15 }));
        assert_eq!(parse_mix("points=1").map(|mix| mix.total()), Ok(1));
        assert!(parse_mix("logs=0").is_err());
        assert!(parse_mix("traces=1").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1_500)));
        assert!(parse_duration("-1s").is_err());
    }
}
