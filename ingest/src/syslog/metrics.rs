//! What syslog counts besides the records: connections, and datagrams that never reached us.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyslogMetrics {
    pub(super) connections: Gauge,
    pub(super) kernel_dropped: Counter,
}

impl SyslogMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = SyslogMetrics::default();
        registry.register("shipwake_syslog_connections", "Open TCP connections of syslog", metrics.connections.clone());
        registry.register(
            "shipwake_syslog_kernel_dropped_datagrams",
            "Datagrams that the kernel dropped because its buffer was full; not counted as received",
            metrics.kernel_dropped.clone(),
        );
        metrics
    }
}
