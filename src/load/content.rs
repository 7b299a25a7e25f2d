//! What a record with a given id holds: f(id). Pure; the generator writes it, the judge computes it again.
//!
//! Ids count from 0 within a signal of a run. The records of one resource in a request are a *group* of consecutive ids, so
//! a record's position in its group is `id % group` and its resource follows from `id / group`.

use shipwake_model::Signal;

use super::args::GenerateArgs;

/// Environment of all load, so that it stays apart from real services.
pub const ENVIRONMENT: &str = "load";
/// Attribute that holds the id of a log record or span, as twelve digits.
pub const ID_ATTRIBUTE: &str = "load.id";
/// Gauge whose value is the id.
pub const GAUGE: &str = "load.queue.depth";
/// Delta sum whose value is the id.
pub const SUM: &str = "load.orders";
/// Delta histogram whose sum is the id.
pub const HISTOGRAM: &str = "load.item.size";
/// Values that every point of [`HISTOGRAM`] counts.
pub const HISTOGRAM_COUNT: u64 = 10;
/// Records of a request lie this far apart in event time.
pub const SPACING_NS: u64 = 20_000;

const ROUTES: [(&str, &str); 5] = [
    ("GET", "/items/{id}"),
    ("POST", "/pay"),
    ("GET", "/search"),
    ("POST", "/cart/{id}/items"),
    ("GET", "/orders/{id}"),
];

/// The form of a run: with the ids, it determines every record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Shape {
    /// Name of the run: the namespace of its services.
    pub run: String,
    /// Records of a request: a multiple of `resources_per_request`.
    pub batch: u32,
    /// Resources of a request.
    pub resources_per_request: u32,
    /// Services.
    pub services: u32,
    /// Versions of a service.
    pub versions: u32,
    /// Instances of a version.
    pub instances: u32,
    /// Metric series over all services.
    pub cardinality: u32,
    /// Bytes of a record, about.
    pub record_bytes: u32,
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// `service.name`.
    pub service: String,
    /// `service.version`.
    pub version: String,
    /// `service.instance.id`.
    pub instance: String,
}

impl Shape {
    /// The form that the options ask for.
    pub fn of(args: &GenerateArgs, run: String) -> Self {
        Self {
            run,
            batch: args.batch.next_multiple_of(args.resources_per_request),
            resources_per_request: args.resources_per_request,
            services: args.services,
            versions: args.versions,
            instances: args.instances,
            cardinality: args.cardinality,
            record_bytes: args.record_bytes,
        }
    }

    /// Records of one resource in a request.
    pub fn group(&self) -> u32 {
        self.batch / self.resources_per_request.max(1)
    }

    /// The position of a record in its group.
    pub fn position(&self, id: u64) -> u32 {
        (id % u64::from(self.group())) as u32
    }

    /// How many resources send.
    pub fn resources(&self) -> u64 {
        u64::from(self.services) * u64::from(self.versions) * u64::from(self.instances)
    }

    /// The resource that a record belongs to.
    pub fn resource_of(&self, id: u64) -> u64 {
        id / u64::from(self.group()) % self.resources()
    }

    /// The identity of a resource.
    pub fn owner(&self, resource: u64) -> Owner {
        let service = resource % u64::from(self.services);
        let version = resource / u64::from(self.services) % u64::from(self.versions);
        let instance = resource / (u64::from(self.services) * u64::from(self.versions));
        Owner {
            service: format!("load-{service:03}"),
            version: format!("1.{version}.0"),
            instance: format!("load-{service:03}-{version}-{instance}"),
        }
    }

    /// The series of a point, as the attribute `series` counts them within a metric of a resource.
    pub fn series_of(&self, id: u64) -> u64 {
        let per_metric = (u64::from(self.cardinality) / (self.resources() * 3)).max(1);
        spread(id) % per_metric
    }
}

/// Which kind of point stands at a position of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// A point of [`GAUGE`].
    Gauge,
    /// A point of [`SUM`].
    Sum,
    /// A point of [`HISTOGRAM`].
    Histogram,
}

/// Half of the points are gauges, three tenths sums, the rest histograms, in this order.
pub fn point_kind(position: u32, group: u32) -> PointKind {
    match u64::from(position) * 10 / u64::from(group.max(1)) {
        0..5 => PointKind::Gauge,
        5..8 => PointKind::Sum,
        _ => PointKind::Histogram,
    }
}

/// Severity number and text of the log record at a position: 94 % info, 4 % warnings, 2 % errors.
pub fn severity(position: u32) -> (i32, &'static str) {
    match position % 100 {
        0..94 => (9, "INFO"),
        94..98 => (13, "WARN"),
        _ => (17, "ERROR"),
    }
}

/// Method and route of the span at a position.
pub fn route(position: u32) -> (&'static str, &'static str) {
    ROUTES[position as usize % ROUTES.len()]
}

/// Whether the span at a position is a server span; the others are client spans, which are no requests.
pub fn is_server(position: u32) -> bool {
    position % 4 != 3
}

/// Whether the span at a position failed: one in fifty, and only server spans.
pub fn is_error(position: u32) -> bool {
    position.is_multiple_of(50)
}

/// The body of a log record. `id` has twelve characters, `hash` and `micros` eight.
pub fn log_body(position: u32, id: &str, hash: &str, micros: &str, pad: &str) -> String {
    match position % 3 {
        0 => format!("request {id} of user {hash} answered in {micros} us {pad}"),
        1 => format!("order {id} placed for customer {hash} after {micros} us {pad}"),
        _ => format!("cache entry {hash} refreshed for {id} in {micros} us {pad}"),
    }
}

/// Readable filling of so many bytes.
pub fn padding(bytes: usize) -> String {
    const WORDS: &[u8] = b"the quick brown fox jumps over the lazy dog while the harbour sleeps under a pale moon ";
    WORDS.iter().cycle().take(bytes).map(|byte| char::from(*byte)).collect()
}

/// The values of an id that are not its position.
#[derive(Clone, Copy, Debug)]
pub struct Derived {
    /// Spread over 64 bits, different for each signal.
    pub hash: u64,
    /// Duration in microseconds, 2 to 402 ms, a tenth of them above 290 ms.
    pub duration_us: u64,
}

/// f(id), but for positions.
pub fn derived(signal: Signal, id: u64) -> Derived {
    let hash = spread(id ^ (signal as u64) << 56);
    // The cube of a uniform fraction leans low and has a long tail, as durations do.
    let fraction = (hash >> 44) as f64 / (1u64 << 20) as f64;
    Derived { hash, duration_us: 2_000 + (fraction * fraction * fraction * 400_000.0) as u64 }
}

/// SplitMix64's finaliser: a bijection that mixes every bit.
pub fn spread(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            run: "t".to_owned(),
            batch: 20,
            resources_per_request: 2,
            services: 2,
            versions: 3,
            instances: 2,
            cardinality: 360,
            record_bytes: 300,
        }
    }

    #[test]
    fn every_resource_sends_in_turn_and_has_its_own_identity() {
        let shape = shape();
        let owners: std::collections::BTreeSet<Owner> =
            (0..12).map(|n| shape.owner(shape.resource_of(n * 10 + 9))).collect();
        assert_eq!(owners.len(), 12);
        assert_eq!(shape.owner(0).service, shape.owner(2).service);
        assert_ne!(shape.owner(0).version, shape.owner(2).version);
    }

    #[test]
    fn series_are_as_many_as_asked_for() {
        let shape = shape();
        let mut seen = std::collections::BTreeSet::new();
        for id in 0..12_000 {
            let kind = point_kind((id % 10) as u32, 10) as u8;
            seen.insert((shape.resource_of(id), kind, shape.series_of(id)));
        }
        assert_eq!(seen.len(), 360);
    }

    #[test]
    fn derived_values_repeat_and_differ() {
        let durations: Vec<u64> = (0..1_000).map(|id| derived(Signal::Traces, id).duration_us).collect();
        assert_eq!(durations[7], derived(Signal::Traces, 7).duration_us);
        let mean = durations.iter().sum::<u64>() / 1_000;
        assert!((80_000..130_000).contains(&mean), "{mean}");
        assert_ne!(derived(Signal::Logs, 7).hash, derived(Signal::Traces, 7).hash);
    }
}
