//! Syslog over UDP: a message in each datagram. Read as fast as it comes; what finds no room is counted.
//!
//! The kernel drops what comes while its buffer is full, and tells nobody but `/proc/net/udp`: looked at once a second, so
//! that at least the number is known.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::config::SyslogConfig;
use super::frame::{Frame, TOO_LONG, trimmed};
use super::intake::Intake;

/// The most that a datagram can hold.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes datagrams until `shutdown`.
pub(super) async fn serve(socket: UdpSocket, intake: Intake, config: Arc<SyslogConfig>, shutdown: CancellationToken) {
    let inode = socket_inode(&socket);
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut dropped_before = 0;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => note_dropped(&intake, inode.as_deref(), &mut dropped_before),
            // An error here is one of an earlier answer (a port that nobody listens on): nothing is lost by it.
            received = socket.recv_from(&mut buffer) => if let Ok((count, peer)) = received {
                take(&intake, &config, &buffer[..count], peer).await;
            },
        }
    }
    while let Ok((count, peer)) = socket.try_recv_from(&mut buffer) {
        take(&intake, &config, &buffer[..count], peer).await;
    }
    note_dropped(&intake, inode.as_deref(), &mut dropped_before);
}

async fn take(intake: &Intake, config: &SyslogConfig, datagram: &[u8], peer: std::net::SocketAddr) {
    let message = trimmed(datagram);
    let peer = peer.ip().to_canonical();
    if message.len() > config.message_bytes_max {
        intake.put(Frame::Rejected(TOO_LONG), peer).await;
    } else if !message.is_empty() {
        intake.put_or_reject(message.to_vec(), peer);
    }
}

fn note_dropped(intake: &Intake, inode: Option<&str>, before: &mut u64) {
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let texts = tables.iter().filter_map(|table| std::fs::read_to_string(table).ok());
    let Some(dropped) = inode.and_then(|inode| texts.filter_map(|text| dropped_of(&text, inode)).next()) else {
        return;
    };
    let more = dropped.saturating_sub(*before);
    *before = dropped;
    if more > 0 {
        intake.core.metrics.syslog().kernel_dropped.inc_by(more);
        if intake.core.warnings.allow() {
            warn!(datagrams = more, "the kernel dropped datagrams of syslog: raise net.core.rmem_default, or use TCP");
        }
    }
}

fn socket_inode(socket: &UdpSocket) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some(inode.to_owned())
}

/// The last column of the socket's line; its inode is the tenth.
fn dropped_of(table: &str, inode: &str) -> Option<u64> {
    let line = table.lines().skip(1).find(|line| line.split_whitespace().nth(9) == Some(inode))?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  517: 0100007F:53A4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0
  518: 0100007F:53A5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 17\n";
        assert_eq!(dropped_of(table, "4712"), Some(17));
        assert_eq!(dropped_of(table, "4711"), Some(0));
        assert_eq!(dropped_of(table, "99"), None);
    }
}
