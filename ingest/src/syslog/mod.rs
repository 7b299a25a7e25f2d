//! Syslog over TCP and UDP, as rsyslog, syslog-ng, nginx, HAProxy and a thousand devices send it.
//!
//! `tcp.rs`, `udp.rs` → `frame.rs` → [`intake`] → `convert.rs` → `produce.rs`. Nobody waits for an answer here. So a message
//! is batched for at most [`intake::LINGER`], and a batch is tried until the journal has it; meanwhile a TCP connection is
//! not read any further, and the sender's queue fills up, where the messages are safe. UDP has nobody to wait: what does not
//! fit is counted as received and rejected.

mod config;
mod convert;
mod frame;
mod intake;
mod message;
mod metrics;
mod record;
mod rfc3164;
mod rfc5424;
mod stamp;
mod tcp;
mod udp;

use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::Ingest;

pub use config::{Application, SyslogConfig};
pub use convert::convert_syslog;
pub(crate) use metrics::SyslogMetrics;

use intake::Intake;

/// Where syslog is listened for.
#[derive(Debug, Default)]
pub struct SyslogSockets {
    /// Octet-counted messages or lines.
    pub tcp: Option<TcpListener>,
    /// A message each.
    pub udp: Option<UdpSocket>,
}

impl Ingest {
    /// Takes syslog on `sockets` until `shutdown`, and returns when everything that was read is in the journal, or is
    /// counted as rejected because the journal did not take it within `config.grace`.
    pub async fn serve_syslog(&self, sockets: SyslogSockets, config: SyslogConfig, shutdown: CancellationToken) {
        let config = Arc::new(config);
        let (intake, collector) = intake::new(self.core().clone(), config.clone(), shutdown.clone());
        let collecting = tokio::spawn(collector.run());
        let tcp = async {
            if let Some(listener) = sockets.tcp {
                tcp::serve(listener, intake.clone(), config.clone(), shutdown.clone()).await;
            }
        };
        let udp = async {
            if let Some(socket) = sockets.udp {
                udp::serve(socket, intake.clone(), config.clone(), shutdown.clone()).await;
            }
        };
        tokio::join!(tcp, udp);
        // The last handle: the collector ends when it has delivered what is in its queue.
        drop::<Intake>(intake);
        collecting.await.expect("the collector does not panic and is not aborted");
    }
}
