//! Requests at little cost: the records of a request are encoded once with marks in place of the values that change, and
//! each request is a copy with the marks overwritten. Pure.
//!
//! Every changing value has a fixed width on the wire (timestamps and numbers of points are fixed64, ids are padded texts),
//! so lengths never change. The marks are found in prost's encoding by their bytes: nothing here knows OTLP's layout.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, message};
use shipwake_model::Signal;

use super::content::{SPACING_NS, Shape, derived};
use super::records::{self, Values};

/// Begins every mark; control characters keep it apart from any text of a record.
const MARK_PREFIX: [u8; 6] = [0x01, b's', 0x02, b'w', 0x03, 0x02];
/// A mark's last byte keeps it from being a NaN when a mark stands for a double.
const MARK_END: u8 = 0x04;
const MARK_BYTES: usize = 8;

/// A value that differs from record to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// The record's time.
    Time = b'a',
    /// The time less the duration: a span's start.
    Start = b'b',
    /// The time less a second: a delta point's start.
    Before = b'c',
    /// The id as twelve digits.
    Id = b'd',
    /// The duration in microseconds as eight digits.
    Micros = b'e',
    /// The series as eight digits.
    Series = b'f',
    /// The low half of the hash as eight hexadecimal digits.
    Hash = b'g',
    /// Sixteen bytes.
    TraceId = b'h',
    /// Eight bytes.
    SpanId = b'i',
    /// The id as a 64-bit integer.
    Int = b'j',
    /// The id as a double.
    Double = b'k',
}

impl Mark {
    const ALL: [Mark; 11] = [
        Mark::Time,
        Mark::Start,
        Mark::Before,
        Mark::Id,
        Mark::Micros,
        Mark::Series,
        Mark::Hash,
        Mark::TraceId,
        Mark::SpanId,
        Mark::Int,
        Mark::Double,
    ];

    /// The bytes that stand for the value in the template.
    pub fn bytes(self) -> [u8; MARK_BYTES] {
        let mut bytes = [MARK_END; MARK_BYTES];
        bytes[..MARK_PREFIX.len()].copy_from_slice(&MARK_PREFIX);
        bytes[MARK_PREFIX.len()] = self as u8;
        bytes
    }
}

/// All templates of a run.
pub struct Templates {
    shape: Shape,
    /// The encoded `resource` field of each resource; the same for the three signals.
    resources: Vec<Vec<u8>>,
    scopes: [Scope; 3],
}

/// The encoded `scope_*` field of a request of one signal, and where its marks stand.
struct Scope {
    bytes: Vec<u8>,
    spots: Vec<(u32, Mark)>,
    spots_per_record: usize,
}

impl Templates {
    /// Encodes the templates of a run.
    pub fn new(shape: Shape) -> Self {
        let resources = (0..shape.resources())
            .map(|resource| {
                let mut bytes = Vec::new();
                message::encode(1, &records::resource(&shape, resource), &mut bytes);
                bytes
            })
            .collect();
        let group = shape.group() as usize;
        let marks = vec![Values::marks(); group];
        let scopes = Signal::ALL.map(|signal| {
            let pad = pad_for(&shape, signal);
            Scope::locate(records::encoded_scope(signal, &marks, pad), group)
        });
        Self { shape, resources, scopes }
    }

    /// Bytes of a request by [`Signal::ALL`]; requests of one signal differ by the length of their resource only.
    pub fn request_bytes(&self) -> [usize; 3] {
        let groups = self.shape.resources_per_request as usize;
        self.scopes.each_ref().map(|scope| (scope.bytes.len() + self.resources[0].len() + 8) * groups)
    }

    /// The encoded request of a signal that begins with `first_id`; its last record has the time `time_ns`.
    pub fn request(&self, signal: Signal, first_id: u64, time_ns: u64) -> Bytes {
        let scope = &self.scopes[signal as usize - 1];
        let mut out = Vec::with_capacity(self.request_bytes()[signal as usize - 1] + 512);
        for group in 0..self.shape.resources_per_request {
            let first_id = first_id + u64::from(group) * u64::from(self.shape.group());
            let resource = &self.resources[self.shape.resource_of(first_id) as usize];
            encode_key(1, WireType::LengthDelimited, &mut out);
            encode_varint((resource.len() + scope.bytes.len()) as u64, &mut out);
            out.extend_from_slice(resource);
            let scope_at = out.len();
            out.extend_from_slice(&scope.bytes);
            scope.fill(&mut out[scope_at..], &self.shape, signal, first_id, time_ns);
        }
        out.into()
    }
}

/// How many bytes of padding bring a record to the length that is asked for.
pub fn pad_for(shape: &Shape, signal: Signal) -> usize {
    let group = shape.group() as usize;
    let natural = records::encoded_scope(signal, &vec![Values::marks(); group], 0).len() / group;
    (shape.record_bytes as usize).saturating_sub(natural)
}

/// The time of a record of a request whose last record has the time `time_ns`.
pub fn record_time(shape: &Shape, id: u64, time_ns: u64) -> u64 {
    let batch = u64::from(shape.batch);
    time_ns.saturating_sub((batch - 1 - id % batch) * SPACING_NS)
}

impl Scope {
    fn locate(bytes: Vec<u8>, records: usize) -> Self {
        let mut spots = Vec::new();
        let mut at = 0;
        while at + MARK_BYTES <= bytes.len() {
            match Mark::ALL.iter().find(|mark| bytes[at..at + MARK_BYTES] == mark.bytes()) {
                Some(mark) => {
                    spots.push((at as u32, *mark));
                    at += MARK_BYTES;
                }
                None => at += 1,
            }
        }
        assert_eq!(spots.len() % records, 0, "every record of a template has the same number of marks");
        let spots_per_record = spots.len() / records;
        Self { bytes, spots, spots_per_record }
    }

    fn fill(&self, out: &mut [u8], shape: &Shape, signal: Signal, first_id: u64, time_ns: u64) {
        for (position, spots) in self.spots.chunks_exact(self.spots_per_record).enumerate() {
            let id = first_id + position as u64;
            let time = record_time(shape, id, time_ns);
            let values = derived(signal, id);
            for (at, mark) in spots {
                let out = &mut out[*at as usize..];
                match mark {
                    Mark::Time => put(out, time.to_le_bytes()),
                    Mark::Start => put(out, (time - values.duration_us * 1_000).to_le_bytes()),
                    Mark::Before => put(out, (time - 1_000_000_000).to_le_bytes()),
                    Mark::Id => put(out, digits::<12>(id)),
                    Mark::Micros => put(out, digits::<8>(values.duration_us)),
                    Mark::Series => put(out, digits::<8>(shape.series_of(id))),
                    Mark::Hash => put(out, hex8(values.hash as u32)),
                    Mark::TraceId => put(out, trace_id(values.hash)),
                    Mark::SpanId => put(out, values.hash.to_le_bytes()),
                    Mark::Int => put(out, id.to_le_bytes()),
                    Mark::Double => put(out, (id as f64).to_le_bytes()),
                }
            }
        }
    }
}

fn put<const N: usize>(out: &mut [u8], value: [u8; N]) {
    out[..N].copy_from_slice(&value);
}

/// The number as `N` decimal digits, zeros in front.
pub fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

/// The number as eight hexadecimal digits.
pub fn hex8(number: u32) -> [u8; 8] {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    std::array::from_fn(|at| HEX[(number >> (28 - 4 * at)) as usize & 15])
}

/// The trace of the record with this hash.
pub fn trace_id(hash: u64) -> [u8; 16] {
    let mut bytes = [0x5a; 16];
    bytes[8..].copy_from_slice(&hash.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn shape() -> Shape {
        Shape {
            run: "t".to_owned(),
            batch: 60,
            resources_per_request: 1,
            services: 2,
            versions: 3,
            instances: 2,
            cardinality: 360,
            record_bytes: 300,
        }
    }

    #[test]
    fn a_filled_template_equals_the_encoding_of_the_same_records() {
        for resources_per_request in [1, 3] {
            let shape = Shape { resources_per_request, ..shape() };
            let templates = Templates::new(shape.clone());
            for signal in Signal::ALL {
                for (number, time) in
                    [(0, 1_795_000_000_000_000_000), (7, 1_795_000_000_123_456_789), (123_456, 1 << 60)]
                {
                    let first = number * u64::from(shape.batch);
                    let reference =
                        records::reference::encoded_request(&shape, signal, first, time, pad_for(&shape, signal));
                    assert_eq!(
                        templates.request(signal, first, time).as_ref(),
                        reference.as_slice(),
                        "{signal:?} {number}"
                    );
                }
            }
        }
    }

    #[test]
    fn records_have_about_the_length_that_is_asked_for() {
        let templates = Templates::new(shape());
        for bytes in templates.request_bytes() {
            assert!((290..330).contains(&(bytes / 60)), "{bytes}");
        }
    }

    #[test]
    fn requests_are_valid_and_hold_their_ids() {
        let templates = Templates::new(shape());
        let bytes = templates.request(Signal::Logs, 600, 1_795_000_000_000_000_000);
        let request =
            opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest::decode(bytes).expect("valid");
        let logs = &request.resource_logs[0].scope_logs[0].log_records;
        assert_eq!(logs.len(), 60);
        assert!(format!("{:?}", logs[59].attributes).contains("000000000659"));
        assert_eq!(logs[59].time_unix_nano - logs[0].time_unix_nano, 59 * SPACING_NS);
    }
}
