//! Settings of Kafka clients and their text form, `kafka://host:port[,host:port]/topic?key=value&…`. Pure: no file is
//! read here, and no environment. A password never stands in the text, so the text can be shown and logged.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the brokers are and how to speak with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// `host:port` of some of the brokers.
    pub brokers: Vec<String>,
    /// Speak TLS.
    pub tls: Option<Tls>,
    /// Say who we are.
    pub sasl: Option<Sasl>,
    /// Name of the consumer group: its committed offsets show the lag to Kafka's own tools.
    pub group: String,
}

/// TLS: who the brokers must be, and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) of those who may vouch for a broker; the system's when missing.
    pub ca: Option<PathBuf>,
    /// Our certificate (PEM), where brokers ask for one.
    pub cert: Option<PathBuf>,
    /// Its private key (PEM, not encrypted).
    pub key: Option<PathBuf>,
}

/// A user and how its password is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// The mechanism by Kafka's name: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The user.
    pub user: String,
    /// Where the password comes from.
    pub password: Password,
}

/// Where a password comes from. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The first line of this file, read whenever the journal is opened.
    File(PathBuf),
    /// It was given, by the environment.
    Given(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::File(path) => write!(f, "in {}", path.display()),
            Password::Given(_) => f.write_str("given"),
        }
    }
}

/// Settings of the Kafka journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The brokers.
    pub connection: Connection,
    /// The topic. Nobody but Shipwake may write to it.
    pub topic: String,
    /// Create the topic when it is missing.
    pub create: Option<Create>,
    /// At most this many bytes of records wait for Kafka's answer; more appends wait. Default 32 MiB.
    pub queue_bytes: usize,
    /// At most this many bytes of records wait to be read, over all partitions. Default 32 MiB.
    pub read_ahead_bytes: usize,
    /// How long an append waits at a partition that takes nothing before it is refused, with nothing kept. Default 2 s:
    /// see `IngestConfig::hold_max`.
    pub hold_max: Duration,
}

/// What a topic is created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// Partitions, and so shards.
    pub partitions: u32,
    /// Brokers that keep each record; `None` leaves it to the brokers' default.
    pub replication: Option<u32>,
}

/// Topics as an OpenTelemetry Collector writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicsConfig {
    /// The brokers.
    pub connection: Connection,
    /// Topics with the signal that each holds.
    pub topics: Vec<(String, shipwake_model::Signal)>,
}

const SCHEME: &str = "kafka://";
const GROUP: &str = "shipwake";
/// A topic's name in Kafka.
const TOPIC_BYTES_MAX: usize = 249;

impl Config {
    /// Reads the text form of a journal. `password` is what the environment gave; `partitions` is for a topic that is to
    /// be created.
    ///
    /// # Errors
    /// Everything that is wrong with it, in words.
    pub fn parse(text: &str, password: Option<&str>, partitions: u32) -> Result<Self, String> {
        let mut parts = Parts::split(text)?;
        let topic = std::mem::take(&mut parts.topics);
        check_topic(&topic)?;
        let create = parts.flag("create")?;
        let replication = parts.number("replication")?;
        let connection = parts.connection(password)?;
        parts.end("create, replication")?;
        if replication.is_some() && !create {
            return Err("replication is for a topic that is to be created: add create=true".into());
        }
        Ok(Config {
            connection,
            topic,
            create: create.then_some(Create { partitions, replication }),
            queue_bytes: 32 << 20,
            read_ahead_bytes: 32 << 20,
            hold_max: Duration::from_secs(2),
        })
    }
}

impl TopicsConfig {
    /// Reads the text form of topics that a Collector writes: `kafka://host:port/otlp_logs,otlp_metrics,otlp_spans`. A
    /// topic with another name says its signal: `my-topic:logs`.
    ///
    /// # Errors
    /// Everything that is wrong with it, in words.
    pub fn parse(text: &str, password: Option<&str>) -> Result<Self, String> {
        let mut parts = Parts::split(text)?;
        let mut topics = Vec::new();
        for topic in std::mem::take(&mut parts.topics).split(',') {
            let (name, signal) = match topic.split_once(':') {
                Some((name, word)) => (name, signal_of_word(word)?),
                None => (topic, signal_of_topic(topic)?),
            };
            check_topic(name)?;
            if topics.iter().any(|(known, _)| known == name) {
                return Err(format!("the topic {name} is named twice"));
            }
            topics.push((name.to_owned(), signal));
        }
        let connection = parts.connection(password)?;
        parts.end("")?;
        Ok(TopicsConfig { connection, topics })
    }
}

fn signal_of_word(word: &str) -> Result<shipwake_model::Signal, String> {
    use shipwake_model::Signal;
    match word {
        "logs" => Ok(Signal::Logs),
        "metrics" => Ok(Signal::Metrics),
        "traces" | "spans" => Ok(Signal::Traces),
        _ => Err(format!("{word:?} is not a signal: logs, metrics or traces")),
    }
}

/// The signal cannot be told from the bytes, so it has to be in the name or beside it.
fn signal_of_topic(topic: &str) -> Result<shipwake_model::Signal, String> {
    let word = topic.rsplit(['_', '-', '.']).next().unwrap_or("");
    signal_of_word(word).map_err(|_| {
        format!("which signal is in the topic {topic:?}? Say it: {topic}:logs, {topic}:metrics or {topic}:traces")
    })
}

fn check_topic(name: &str) -> Result<(), String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    if name.is_empty() {
        return Err("the topic is missing: kafka://host:port/topic".into());
    }
    if name.len() > TOPIC_BYTES_MAX || !name.chars().all(is_known) || name == "." || name == ".." {
        return Err(format!("{name:?} cannot be the name of a topic: letters, digits, '.', '_' and '-', at most 249"));
    }
    Ok(())
}

/// The text form, taken apart.
struct Parts {
    brokers: Vec<String>,
    topics: String,
    options: Vec<(String, String)>,
}

impl Parts {
    fn split(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(SCHEME).ok_or("it begins with kafka://")?;
        let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (brokers, topics) =
            address.split_once('/').ok_or("the topic is missing: kafka://host:port[,host:port]/topic")?;
        if brokers.contains('@') {
            return Err(
                "no user or password before the host, where everybody sees it: use user=…, and password_file=… \
                        or SHIPWAKE_KAFKA_PASSWORD"
                    .into(),
            );
        }
        let brokers: Vec<String> = brokers.split(',').map(with_port).collect::<Result<_, _>>()?;
        let options = options.split('&').filter(|option| !option.is_empty()).map(|option| {
            let (key, value) = option.split_once('=').unwrap_or((option, "true"));
            Ok((key.to_owned(), decoded(value)?))
        });
        let options: Vec<(String, String)> = options.collect::<Result<_, String>>()?;
        let mut names: Vec<&str> = options.iter().map(|(key, _)| key.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{} is given twice", pair[0]));
        }
        Ok(Parts { brokers, topics: topics.to_owned(), options })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let place = self.options.iter().position(|(key, _)| key == name)?;
        Some(self.options.swap_remove(place).1)
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.take(name).map(PathBuf::from)
    }

    fn flag(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(format!("{name}={other}: it is true or false")),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u32>, String> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let number = text.parse::<u32>().ok().filter(|number| (1..=1000).contains(number));
        number.map(Some).ok_or_else(|| format!("{name}={text}: it is a number between 1 and 1000"))
    }

    fn connection(&mut self, password: Option<&str>) -> Result<Connection, String> {
        let wants_tls = self.flag("tls")?;
        let tls = Tls { ca: self.path("ca"), cert: self.path("cert"), key: self.path("key") };
        if tls.cert.is_some() != tls.key.is_some() {
            return Err("cert and key belong together".into());
        }
        let wants_tls = wants_tls || tls != Tls::default();
        let sasl = self.sasl(password)?;
        let group = self.take("group").unwrap_or_else(|| GROUP.to_owned());
        if group.is_empty() || group.len() > TOPIC_BYTES_MAX {
            return Err("group is a name of 1 to 249 bytes".into());
        }
        Ok(Connection { brokers: self.brokers.clone(), tls: wants_tls.then_some(tls), sasl, group })
    }

    fn sasl(&mut self, password: Option<&str>) -> Result<Option<Sasl>, String> {
        if self.take("password").is_some() {
            return Err("no password in the address, where everybody sees it: use password_file=… or \
                        SHIPWAKE_KAFKA_PASSWORD"
                .into());
        }
        let (user, file) = (self.take("user"), self.path("password_file"));
        let Some(mechanism) = self.take("sasl") else {
            return match (user, file) {
                (None, None) => Ok(None),
                _ => Err("user and password_file need sasl=plain, sasl=scram-sha-256 or sasl=scram-sha-512".into()),
            };
        };
        let mechanism = match mechanism.to_ascii_lowercase().as_str() {
            "plain" => "PLAIN",
            "scram-sha-256" => "SCRAM-SHA-256",
            "scram-sha-512" => "SCRAM-SHA-512",
            other => return Err(format!("sasl={other}: it is plain, scram-sha-256 or scram-sha-512")),
        };
        let user = user.filter(|user| !user.is_empty()).ok_or("sasl needs user=…")?;
        let password = match (file, password) {
            (Some(file), _) => Password::File(file),
            (None, Some(given)) if !given.is_empty() => Password::Given(given.to_owned()),
            _ => return Err("the password is missing: password_file=… or SHIPWAKE_KAFKA_PASSWORD".into()),
        };
        Ok(Some(Sasl { mechanism, user, password }))
    }

    /// Nothing may be left that nobody has asked for.
    fn end(&self, besides: &str) -> Result<(), String> {
        let Some((name, _)) = self.options.first() else { return Ok(()) };
        let comma = if besides.is_empty() { "" } else { ", " };
        Err(format!(
            "unknown option {name}; known are tls, ca, cert, key, sasl, user, password_file, group{comma}{besides}"
        ))
    }
}

fn with_port(broker: &str) -> Result<String, String> {
    let wrong = || format!("{broker:?} is not host:port");
    let (host, port) = broker.rsplit_once(':').ok_or_else(wrong)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || !is_port { Err(wrong()) } else { Ok(broker.to_owned()) }
}

/// `%41` is `A`.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let hex = if first == b'%' { others.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()) } else { None };
        match hex.map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) => (bytes.push(byte), rest = &others[2..]),
            _ if first == b'%' => return Err(format!("{text:?}: after % come two hexadecimal digits")),
            _ => (bytes.push(first), rest = others),
        };
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipwake_model::Signal;

    fn config(text: &str) -> Result<Config, String> {
        Config::parse(text, None, 4)
    }

    #[test]
    fn the_shortest_form_is_brokers_and_a_topic() {
        let config = config("kafka://a:9092,[::1]:9093/shipwake-journal").unwrap();
        assert_eq!(config.connection.brokers, ["a:9092", "[::1]:9093"]);
        assert_eq!((config.topic.as_str(), config.create), ("shipwake-journal", None));
        assert_eq!((config.connection.tls, config.connection.sasl), (None, None));
        assert_eq!(config.connection.group, "shipwake");
    }

    #[test]
    fn everything_can_be_said_in_the_text_but_the_password() {
        let text = "kafka://a:1/t?ca=/etc/a%20b.pem&sasl=SCRAM-SHA-512&user=alice&password_file=/run/p&create=true\
                    &replication=3&group=g";
        let config = config(text).unwrap();
        let Connection { tls, sasl, group, .. } = config.connection;
        assert_eq!(tls.unwrap().ca, Some(PathBuf::from("/etc/a b.pem")));
        let sasl = sasl.unwrap();
        assert_eq!((sasl.mechanism, sasl.user.as_str(), group.as_str()), ("SCRAM-SHA-512", "alice", "g"));
        assert_eq!(sasl.password, Password::File("/run/p".into()));
        assert_eq!(config.create, Some(Create { partitions: 4, replication: Some(3) }));
        let given = Config::parse("kafka://a:1/t?sasl=plain&user=bob", Some("secret-word"), 1).unwrap();
        assert!(!format!("{given:?}").contains("secret-word"), "a password is never printed");
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        for (text, said) in [
            ("http://a:1/t", "begins with kafka://"),
            ("kafka://a:1", "topic is missing"),
            ("kafka://a:1/", "topic is missing"),
            ("kafka://a/t", "host:port"),
            ("kafka://a:0/t", "host:port"),
            ("kafka://:1/t", "host:port"),
            ("kafka://a:1/t,u", "name of a topic"),
            ("kafka://u:p@a:1/t", "everybody sees"),
            ("kafka://a:1/t?password=x", "everybody sees"),
            ("kafka://a:1/t?sasl=kerberos", "plain, scram-sha-256"),
            ("kafka://a:1/t?sasl=plain", "needs user"),
            ("kafka://a:1/t?sasl=plain&user=u", "password is missing"),
            ("kafka://a:1/t?user=u", "need sasl"),
            ("kafka://a:1/t?cert=/c", "belong together"),
            ("kafka://a:1/t?tls=yes", "true or false"),
            ("kafka://a:1/t?create=true&replication=0", "between 1 and 1000"),
            ("kafka://a:1/t?replication=3", "create=true"),
            ("kafka://a:1/t?tls=true&tls=true", "twice"),
            ("kafka://a:1/t?acks=0", "unknown option acks"),
            ("kafka://a:1/t?ca=%zz", "hexadecimal"),
            ("kafka://a:1/t?group=", "group"),
        ] {
            let problem = config(text).expect_err(text);
            assert!(problem.contains(said), "{text}: {problem}");
        }
    }

    #[test]
    fn topics_of_a_collector_name_their_signal() {
        let config = TopicsConfig::parse("kafka://a:1/otlp_logs,otlp_metrics,otlp_spans,mine:traces", None).unwrap();
        let signals: Vec<Signal> = config.topics.iter().map(|(_, signal)| *signal).collect();
        assert_eq!(signals, [Signal::Logs, Signal::Metrics, Signal::Traces, Signal::Traces]);
        for (text, said) in [
            ("kafka://a:1/mine", "which signal"),
            ("kafka://a:1/mine:things", "not a signal"),
            ("kafka://a:1/a_logs,a_logs", "twice"),
            ("kafka://a:1/a_logs?create=true", "unknown option create"),
        ] {
            let problem = TopicsConfig::parse(text, None).expect_err(text);
            assert!(problem.contains(said), "{text}: {problem}");
        }
    }
}
