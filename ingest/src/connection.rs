//! Time limits of a connection, kept where its bytes are read: a peer that dribbles the head of a request, or says nothing
//! for long, is cut off. hyper's own limit on heads also counts the silence between requests, and would close connections
//! of senders that export once a minute just as they write.
//!
//! A connection with a request in progress has no limit here; bodies have theirs in `body.rs`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How an HTTP/2 connection begins.
const HTTP2_PREFACE: &[u8] = b"PRI";
/// How a TLS connection begins: a handshake record, and the first byte of its version.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];

/// The requests in progress on one connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct InProgress {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    running: AtomicUsize,
    /// Requests that ever began.
    begun: AtomicUsize,
    /// The connection is no longer HTTP; whoever took it over keeps its limits.
    upgraded: AtomicBool,
    /// The peer began with TLS, which nobody here speaks.
    tls: AtomicBool,
}

/// A request in progress: from its head until its answer is written.
#[derive(Debug)]
pub(crate) struct Request {
    in_progress: InProgress,
}

impl InProgress {
    pub(crate) fn begin(&self) -> Request {
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        self.counts.running.fetch_add(1, Ordering::Relaxed);
        Request { in_progress: self.clone() }
    }

    fn none(&self) -> bool {
        self.counts.running.load(Ordering::Relaxed) == 0 && !self.counts.upgraded.load(Ordering::Relaxed)
    }

    /// Whether the peer tried to speak TLS.
    pub(crate) fn tls(&self) -> bool {
        self.counts.tls.load(Ordering::Relaxed)
    }

    fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::Relaxed)
    }
}

impl Request {
    /// Ends the request when the answer's body has been sent, or was given up.
    pub(crate) fn end_with(self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.in_progress.counts.upgraded.store(true, Ordering::Relaxed);
            return response;
        }
        response.map(|body| Body::new(Answer { body, _request: self }))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.in_progress.counts.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, with the request that it ends.
struct Answer {
    body: Body,
    _request: Request,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that ends itself when its peer takes too long.
pub(crate) struct Timed {
    stream: TcpStream,
    in_progress: InProgress,
    head_time_max: Duration,
    idle_time_max: Duration,
    /// When the last byte came.
    last_read: Instant,
    /// When the first byte of the head that is being read came, and how many requests had begun by then: one more, and
    /// the head is complete. HTTP/1 only.
    head_began: Option<(Instant, usize)>,
    http2: bool,
    begun: bool,
    timer: Pin<Box<Sleep>>,
}

impl Timed {
    pub(crate) fn new(
        stream: TcpStream,
        in_progress: InProgress,
        head_time_max: Duration,
        idle_time_max: Duration,
    ) -> Self {
        let now = Instant::now();
        let timer = Box::pin(sleep_until(now + idle_time_max));
        Timed {
            stream,
            in_progress,
            head_time_max,
            idle_time_max,
            last_read: now,
            head_began: None,
            http2: false,
            begun: false,
            timer,
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.last_read = Instant::now();
        if !self.begun {
            self.begun = true;
            self.http2 = bytes.starts_with(HTTP2_PREFACE);
            self.in_progress.counts.tls.store(bytes.starts_with(TLS_HANDSHAKE), Ordering::Relaxed);
        }
        self.forget_complete_head();
        if self.in_progress.none() && !self.http2 {
            self.head_began.get_or_insert((self.last_read, self.in_progress.begun()));
        }
    }

    fn forget_complete_head(&mut self) {
        if self.head_began.is_some_and(|(_, begun)| begun != self.in_progress.begun()) {
            self.head_began = None;
        }
    }

    /// When the peer is cut off unless something happens before.
    fn deadline(&mut self) -> Option<Instant> {
        self.forget_complete_head();
        if !self.in_progress.none() {
            return None;
        }
        let idle = self.last_read + self.idle_time_max;
        Some(self.head_began.map_or(idle, |(began, _)| idle.min(began + self.head_time_max)))
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Timed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                let read = &buf.filled()[before..];
                if !read.is_empty() {
                    this.note(read);
                }
                Poll::Ready(result)
            }
            Poll::Pending => this.poll_time(cx),
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
