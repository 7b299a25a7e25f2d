//! What remote-write counts about itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    what: &'static str,
}

/// The counters. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RemoteWriteMetrics {
    exemplars: Counter,
    fractions: Counter,
}

impl RemoteWriteMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let not_kept = Family::<Labels, Counter>::default();
        let of_part = |what| not_kept.get_or_create(&Labels { what }).clone();
        let (exemplars, fractions) = (of_part("exemplars"), of_part("fractions"));
        registry.register(
            "shipwake_remote_write_parts_not_kept",
            "What remote-write brought beside its samples and is not kept: exemplars, and histograms whose counts were rounded",
            not_kept,
        );
        RemoteWriteMetrics { exemplars, fractions }
    }

    /// Exemplars that a request brought, and histograms whose counts were no whole numbers.
    pub(crate) fn not_kept(&self, exemplars: u64, fractions: u64) {
        self.exemplars.inc_by(exemplars);
        self.fractions.inc_by(fractions);
    }
}
