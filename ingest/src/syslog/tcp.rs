//! Syslog over TCP: a task for each connection, read only as fast as its messages find room.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::config::SyslogConfig;
use super::frame::Framer;
use super::intake::Intake;
use crate::ingest::Warnings;

const READ_BYTES: usize = 16 << 10;
/// Pause after the operating system refused a connection, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After shutdown was asked for a connection is read until it is quiet for so long, and at most for so long in all.
const LAST_READ_QUIET: Duration = Duration::from_millis(100);
const LAST_READS_MAX: Duration = Duration::from_secs(1);

/// Serves `listener` until `shutdown`; returns when every connection's messages are in the queue.
pub(super) async fn serve(
    listener: TcpListener,
    intake: Intake,
    config: Arc<SyslogConfig>,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let (tasks, warnings) = (TaskTracker::new(), Warnings::default());
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = Connection::new(stream, peer, place, intake.clone(), config.message_bytes_max);
                tasks.spawn(connection.run(shutdown.clone()));
            }
            Err(error) => {
                if warnings.allow() {
                    warn!(%error, "failed to accept a connection of syslog");
                }
                drop(place);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    framer: Framer,
    intake: Intake,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        intake: Intake,
        message_bytes_max: usize,
    ) -> Self {
        intake.core.metrics.syslog().connections.inc();
        let framer = Framer::new(message_bytes_max);
        Connection { stream, peer: peer.ip().to_canonical(), framer, intake, _place: place }
    }

    async fn run(mut self, shutdown: CancellationToken) {
        let mut chunk = vec![0; READ_BYTES];
        loop {
            let read = tokio::select! {
                () = shutdown.cancelled() => break,
                read = self.stream.read(&mut chunk) => read,
            };
            match read {
                Ok(0) | Err(_) => break,
                Ok(count) => self.take(&chunk[..count]).await,
            }
        }
        // What was sent before anybody could know that we stop is still on its way.
        let until = Instant::now() + LAST_READS_MAX;
        while Instant::now() < until
            && let Ok(Ok(count @ 1..)) = timeout(LAST_READ_QUIET, self.stream.read(&mut chunk)).await
        {
            self.take(&chunk[..count]).await;
        }
        // A message without its end is all there is of it.
        while let Some(frame) = self.framer.next(true) {
            self.intake.put(frame, self.peer).await;
        }
        self.intake.core.metrics.syslog().connections.dec();
    }

    async fn take(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next(false) {
            self.intake.put(frame, self.peer).await;
        }
    }
}
