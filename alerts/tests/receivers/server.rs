//! A receiver on loopback that answers as it is told to, wrongly too, and keeps what it was sent. Speaks just enough HTTP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, headers (each with its line end), body.
    Answer(u16, &'static str, &'static str),
    /// Reads it and closes the connection with a reset.
    Reset,
    /// Reads it and closes the connection.
    Close,
    /// Reads it and never answers.
    Hang,
    /// A status, then a body that never ends.
    Endless(u16),
    /// A status, then a byte of body every now and then.
    Drip(u16),
    /// Something that is not HTTP.
    Garbage,
    /// A status and the path that was asked for.
    Echo(u16),
}

pub const OK: Reply = Reply::Answer(200, "", "ok");

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }
}

type Plan = Arc<dyn Fn(usize, &Received) -> Reply + Send + Sync>;

/// A running receiver.
pub struct Server {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// `plan` answers the n-th request.
    pub async fn start(plan: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::on(socket, None, plan)
    }

    pub async fn with_tls(
        acceptor: tokio_rustls::TlsAcceptor,
        plan: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::on(socket, Some(acceptor), plan)
    }

    pub fn on(
        socket: TcpListener,
        tls: Option<tokio_rustls::TlsAcceptor>,
        plan: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = socket.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let (plan, kept): (Plan, _) = (Arc::new(plan), received.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (plan, kept, tls) = (plan.clone(), kept.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &plan, &kept).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &plan, &kept).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Server { address, received, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no panic while it is held").clone()
    }

    /// Waits until it has so many requests.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually(&format!("{count} requests"), || self.received().len() >= count).await;
        self.received()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for a condition, at most half a minute.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "not within half a minute: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Answers the requests of a connection, one after the other; `None` when it is over.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + MaybeReset>(
    mut stream: S,
    plan: &Plan,
    kept: &Mutex<Vec<Received>>,
) -> Option<()> {
    loop {
        let request = read(&mut stream).await?;
        let reply = {
            let mut kept = kept.lock().expect("no panic while it is held");
            kept.push(request.clone());
            plan(kept.len() - 1, &request)
        };
        match reply {
            Reply::Answer(status, headers, body) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
                stream.write_all(head.as_bytes()).await.ok()?;
                stream.write_all(body.as_bytes()).await.ok()?;
            }
            Reply::Echo(status) => {
                let body = format!("nothing at {}", request.path);
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).await.ok()?;
            }
            Reply::Reset => {
                stream.reset();
                return None;
            }
            Reply::Close => return None,
            Reply::Hang => {
                // Until the other end gives up.
                let _ = stream.read(&mut [0; 1]).await;
                return None;
            }
            Reply::Endless(status) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 99999999999\r\n\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(&[b'x'; 65_536]).await.ok()?;
                }
            }
            Reply::Drip(status) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 1000000\r\n\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(b"x").await.ok()?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Reply::Garbage => {
                stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n").await.ok()?;
                return None;
            }
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { path, headers, body, at: Instant::now() })
}

/// A connection that can be cut off so that the other end notices.
trait MaybeReset {
    fn reset(&self);
}

impl MaybeReset for TcpStream {
    fn reset(&self) {
        // Closing with a linger of zero sends a reset.
        let _ = self.set_zero_linger();
    }
}

impl MaybeReset for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }
}
