//! A listening socket and its connections: HTTP/1 and HTTP/2 on one port, limits on what peers may cost, and a shutdown
//! that lets requests finish.
//!
//! What bounds memory here: the number of connections, in all and from one address; header lists; the windows of HTTP/2,
//! which are what a peer may send before anybody asked for it; streams and resets.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::config::ServeConfig;
use crate::connection::{InProgress, Timed};
use crate::error::IngestError;
use crate::ingest::{Core, Warnings};

/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Read and write buffer of an HTTP/1 connection; a head must fit. A connection may hold two of them while its request waits, and one
/// until the next: with a thousand connections that is most of what they cost.
const HTTP1_BUFFER_BYTES: usize = 32 << 10;
/// What one stream, and one connection, may send before its bytes are asked for: bytes that admission has not seen. A
/// stream gets 64 MB/s at 1 ms; a Collector's ten exports at once do not block each other while some of them are held.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 640 << 10;
/// Streams that a peer may reset before they were answered (CVE-2023-44487, "rapid reset").
const RESETS_MAX: usize = 32;
/// Dead HTTP/2 peers are found by pings: one after so much silence, answered within so much time.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_ANSWER_MAX: Duration = Duration::from_secs(20);
/// Pause after the operating system refused a connection, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `shutdown`, then lets requests finish for at most `config.grace`.
///
/// Handlers find the peer's address as `ConnectInfo<SocketAddr>`. Upgrades (WebSocket) work. Returns when the socket and all
/// connections are closed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    shutdown: CancellationToken,
) -> Result<(), IngestError> {
    serve_counted(listener, router, config, shutdown, None).await
}

impl crate::Ingest {
    /// Serves everything that senders may ask for on `listener`, counts the connections, and notes those that try TLS.
    pub async fn serve(
        &self,
        listener: TcpListener,
        config: ServeConfig,
        shutdown: CancellationToken,
    ) -> Result<(), IngestError> {
        serve_counted(listener, self.senders_router(), config, shutdown, Some(self.core().clone())).await
    }
}

async fn serve_counted(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    shutdown: CancellationToken,
    senders: Option<Arc<Core>>,
) -> Result<(), IngestError> {
    let gauge = senders.as_ref().map(|core| core.metrics.connections().clone()).unwrap_or_default();
    let server = Server {
        builder: builder(&config),
        router,
        peers: Peers { counts: Arc::default(), per_peer_max: config.connections_per_peer_max, gauge },
        graceful: GracefulShutdown::new(),
        tasks: TaskTracker::new(),
        cut: CancellationToken::new(),
        senders,
        config,
    };
    server.accept_until(&listener, &shutdown).await?;
    drop(listener);
    server.finish().await;
    Ok(())
}

struct Server {
    builder: Builder<TokioExecutor>,
    router: Router,
    peers: Peers,
    graceful: GracefulShutdown,
    tasks: TaskTracker,
    /// Ends connections that did not finish within the grace period.
    cut: CancellationToken,
    /// Hears of connections that could not become a request.
    senders: Option<Arc<Core>>,
    config: ServeConfig,
}

impl Server {
    async fn accept_until(&self, listener: &TcpListener, shutdown: &CancellationToken) -> Result<(), IngestError> {
        let places = Arc::new(Semaphore::new(self.config.connections_max));
        let warnings = Warnings::default();
        loop {
            let accepted = async {
                // The place first: connections beyond the limit wait in the kernel's queue.
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.connect(stream, peer, place),
                Err(error) if is_fatal(&error) => {
                    return Err(IngestError::Socket { doing: "accept connections", reason: error.to_string() });
                }
                Err(error) => {
                    if warnings.allow() {
                        warn!(%error, "failed to accept a connection");
                    }
                    drop(place);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn connect(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let Some(slot) = self.peers.enter(peer.ip().to_canonical()) else {
            debug!(%peer, "too many connections from one address");
            return;
        };
        // Answers are small: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let in_progress = InProgress::default();
        let timed = Timed::new(stream, in_progress.clone(), self.config.head_time_max, self.config.idle_time_max);
        let (router, requests, senders) = (self.router.clone(), in_progress.clone(), self.senders.clone());
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            answer(router.clone(), request, requests.clone())
        });
        let connection = self.builder.serve_connection_with_upgrades(TokioIo::new(timed), service).into_owned();
        let connection = self.graceful.watch(connection);
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            let _held = (place, slot);
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        debug!(%peer, error, "connection ended");
                    }
                }
                () = cut.cancelled() => {}
            }
            if let Some(core) = senders.filter(|_| in_progress.tls()) {
                core.note_refused(None, &IngestError::Tls { peer: peer.ip().to_canonical().to_string() });
            }
        });
    }

    async fn finish(self) {
        self.tasks.close();
        let finished = timeout(self.config.grace, async {
            self.graceful.shutdown().await;
            self.tasks.wait().await;
        });
        if finished.await.is_err() {
            warn!(connections = self.tasks.len(), "cutting connections that did not finish in time");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

async fn answer(
    router: Router,
    request: http::Request<Incoming>,
    in_progress: InProgress,
) -> Result<Response, Infallible> {
    let begun = in_progress.begin();
    let response = router.oneshot(request).await?;
    Ok(begun.end_with(response))
}

fn builder(config: &ServeConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // See `connection.rs` for the limit that replaces it.
        .header_read_timeout(None)
        .max_buf_size(HTTP1_BUFFER_BYTES)
        .timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_ANSWER_MAX);
    builder
}

/// Errors of one connection, and of a lack that passes, are not a reason to stop listening.
fn is_fatal(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported)
}

/// How many connections each address has.
#[derive(Clone)]
struct Peers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_peer_max: usize,
    gauge: Gauge,
}

/// A connection's place among its peer's.
struct Slot {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    fn enter(&self, address: IpAddr) -> Option<Slot> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= self.per_peer_max {
            return None;
        }
        *count += 1;
        self.gauge.inc();
        Some(Slot { peers: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.peers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
        self.peers.gauge.dec();
    }
}
