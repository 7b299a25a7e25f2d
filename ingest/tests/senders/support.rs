//! A running ingest, requests to send to it, and what it appended.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus_client::registry::Registry;
use prost::Message;
use shipwake_ingest::{Ingest, IngestConfig, JournalHandle, ServeConfig};
use shipwake_journal::{Journal, JournalError, MemoryJournal, Position, Record, Stored};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for something that must happen.
pub const LIMIT: Duration = Duration::from_secs(20);

/// An ingest that listens.
pub struct Server {
    pub address: SocketAddr,
    pub ingest: Ingest,
    pub registry: Registry,
    shutdown: CancellationToken,
    served: Option<JoinHandle<()>>,
}

impl Server {
    pub async fn start(config: IngestConfig, journal: impl Into<JournalHandle>) -> Server {
        Server::start_with(config, ServeConfig::default(), journal).await
    }

    pub async fn start_with(config: IngestConfig, serve: ServeConfig, journal: impl Into<JournalHandle>) -> Server {
        let mut registry = Registry::default();
        let ingest = Ingest::new(config, journal, &mut registry).expect("valid configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let served = tokio::spawn({
            let (ingest, shutdown) = (ingest.clone(), shutdown.clone());
            async move { ingest.serve(listener, serve, shutdown).await.expect("the socket stays good") }
        });
        Server { address, ingest, registry, shutdown, served: Some(served) }
    }

    /// With a memory journal of two partitions.
    pub async fn in_memory() -> (Server, MemoryJournal) {
        Server::in_memory_with(IngestConfig::default()).await
    }

    pub async fn in_memory_with(config: IngestConfig) -> (Server, MemoryJournal) {
        let journal = MemoryJournal::new(2);
        (Server::start(config, shared(&journal)).await, journal)
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("listening")
    }

    /// Sends bytes and reads one answer.
    pub async fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // The server may answer and close before everything is written.
        let _ = stream.write_all(request).await;
        Answer::read(&mut stream).await
    }

    /// The same as a client does it that sends again when its connection is reset, on a new one. Who looks for requests that
    /// were counted twice, or refused, finds those nevertheless.
    pub async fn exchange_as_client(&self, request: &[u8]) -> Answer {
        loop {
            let mut stream = self.connect().await;
            let _ = stream.write_all(request).await;
            match stream.peek(&mut [0]).await {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => println!("connection reset"),
                _ => return Answer::read(&mut stream).await,
            }
        }
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.exchange(&post(path, headers, body)).await
    }

    /// Sends an OTLP request in protobuf.
    pub async fn export(&self, path: &str, body: &[u8]) -> Answer {
        self.post(path, &[("content-type", "application/x-protobuf")], body).await
    }

    pub fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Stops as the program does: sockets first, then what is in flight.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        let served = self.served.take().expect("stopped once");
        tokio::time::timeout(LIMIT, served).await.expect("stops in time").expect("serving does not panic");
        self.ingest.close().await;
    }

    /// The counters of refused requests, for a test that did not expect any.
    pub fn refused(&self) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("to memory");
        let refused = |line: &&str| line.starts_with("shipwake_ingest_refused") && !line.ends_with(" 0");
        text.lines().filter(refused).map(str::to_owned).collect()
    }

    /// The value of a counter or gauge, given by the beginning of its line in the text form.
    pub fn metric(&self, line: &str) -> u64 {
        self.ingest.refresh_metrics();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("to memory");
        let found = text.lines().filter(|found| found.starts_with(line));
        found.map(|found| found.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
    }
}

/// A `POST` with a `Content-Length`.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    [request.as_bytes(), body].concat()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer that has a `Content-Length`. An interim answer is an answer of its own.
    pub async fn read(stream: &mut TcpStream) -> Answer {
        tokio::time::timeout(LIMIT, Answer::read_from(stream)).await.expect("an answer in time")
    }

    async fn read_from(stream: &mut TcpStream) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = stream.read(&mut byte).await.expect("readable");
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).await.expect("the whole body");
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))?;
        Some(found[name.len() + 1..].trim())
    }

    /// The body as a `google.rpc.Status` in the encoding that the header names.
    pub fn rpc_status(&self) -> (i32, String) {
        match self.header("content-type") {
            Some("application/x-protobuf") => {
                let status = RpcStatus::decode(self.body.as_slice()).expect("a Status");
                (status.code, status.message)
            }
            Some("application/json") => {
                let status = self.json();
                (
                    status["code"].as_i64().expect("a number") as i32,
                    status["message"].as_str().expect("a text").to_owned(),
                )
            }
            other => panic!("unexpected type {other:?}"),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn retry_after_s(&self) -> Option<u64> {
        self.header("retry-after").map(|seconds| seconds.parse().expect("a number"))
    }
}

/// `google.rpc.Status`, written down here from its definition, not taken from the code under test.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<ProtoDuration>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ProtoDuration {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A journal whose appends wait until the test lets them go on.
#[derive(Clone)]
pub struct GatedJournal {
    pub inner: MemoryJournal,
    gate: Arc<Semaphore>,
}

impl GatedJournal {
    pub fn new() -> Self {
        GatedJournal { inner: MemoryJournal::new(1), gate: Arc::new(Semaphore::new(0)) }
    }

    pub fn let_through(&self, appends: usize) {
        self.gate.add_permits(appends);
    }
}

#[async_trait]
impl Journal for GatedJournal {
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError> {
        self.gate.acquire().await.expect("never closed").forget();
        self.inner.append(records).await
    }

    async fn read(&self, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Arc<Stored>>, JournalError> {
        self.inner.read(partition, from, max_bytes).await
    }

    fn end(&self, partition: u32) -> u64 {
        self.inner.end(partition)
    }

    async fn truncate_before(&self, partition: u32, offset: u64) -> Result<(), JournalError> {
        self.inner.truncate_before(partition, offset).await
    }

    async fn close(&self) -> Result<(), JournalError> {
        self.inner.close().await
    }

    fn record_bytes_max(&self) -> usize {
        self.inner.record_bytes_max()
    }
}

/// A journal as ingest takes it.
pub fn shared(journal: &(impl Journal + Clone)) -> Arc<dyn Journal> {
    Arc::new(journal.clone())
}

/// Everything that a journal holds, partition by partition.
pub async fn stored(journal: &impl Journal) -> Vec<Arc<Stored>> {
    let mut found = Vec::new();
    for partition in 0..journal.partitions() {
        let mut from = 0;
        while from < journal.end(partition) {
            let records = journal.read(partition, from, 1 << 20).await.expect("readable");
            from = records.last().expect("at least one").offset + 1;
            found.extend(records);
        }
    }
    found
}

/// How many telemetry records a journal holds.
pub async fn count(journal: &impl Journal) -> u64 {
    stored(journal).await.iter().map(|record| u64::from(record.header.records)).sum()
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A resource that says everything itself.
pub fn resource(service: &str) -> Option<Resource> {
    let attributes = vec![
        attribute("service.name", service),
        attribute("service.version", "1.2.3"),
        attribute("deployment.environment.name", "test"),
        attribute("service.instance.id", "i-1"),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

/// A request of `records` log records with a text of `bytes` bytes each.
pub fn logs(records: usize, bytes: usize) -> ExportLogsServiceRequest {
    let record = |n: usize| LogRecord {
        time_unix_nano: 1_795_428_000_000_000_000 + n as u64,
        severity_number: 9,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue("x".repeat(bytes))) }),
        attributes: vec![attribute("http.route", "/checkout")],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: (0..records).map(record).collect(), ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource("checkout"), scope_logs, ..ResourceLogs::default() }],
    }
}

pub fn logs_bytes(records: usize, bytes: usize) -> Bytes {
    Bytes::from(logs(records, bytes).encode_to_vec())
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

/// A gzip body of some kilobytes that unpacks to `mib` mebibytes of zeros: members of 8 MiB behind each other.
pub fn bomb(mib: usize) -> Vec<u8> {
    let member = gzip(&vec![0; 8 << 20]);
    member.repeat(mib / 8)
}

/// A configuration with a small limit for requests.
pub fn small(message_bytes_max: usize) -> IngestConfig {
    IngestConfig { message_bytes_max, ..IngestConfig::default() }
}

/// The most memory that this process has ever used, in bytes.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}
