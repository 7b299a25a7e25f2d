//! The wire form of a record: a scan of OTLP export requests that copies nothing, and the few encoders that `ingest` needs.
//!
//! [`scan_logs`], [`scan_spans`] and [`scan_metrics`] walk the bytes of an export request once and hand every record to a
//! sink as a view that borrows from those bytes. They allocate nothing, whatever the request holds. What they accept, and
//! what they read from it, is what prost reads: fields in any order, unknown fields and groups, repeated occurrences of
//! fields that are not repeated, at most 100 levels of nesting. The one difference: text is bytes here, because one string
//! that is not UTF-8 must not cost its whole batch. Consumers show it lossily.
//!
//! [`json`] makes such bytes from OTLP's JSON form.
//!
//! Pure: no I/O, no clock, no knowledge of releases. Nothing else in Shipwake knows the bytes of an OTLP message.

mod attributes;
mod check;
mod cut;
mod error;
mod fields;
pub mod json;
mod logs;
mod metrics;
mod numbers;
mod points;
mod resource;
mod retain;
mod spans;
mod text;
mod value;
mod wire;
pub mod write;

pub use attributes::{KeyValue, KeyValues, KeyValuesIter};
pub use cut::cut;
pub use error::ScanError;
pub use logs::{LogRecord, LogSink, scan_logs};
pub use metrics::{Metric, MetricKind, MetricSink, scan_metrics};
pub use numbers::{F64s, F64sIter, U64s, U64sIter};
pub use points::{
    Buckets, ExponentialHistogramPoint, HistogramPoint, NumberPoint, NumberValue, Point, Quantile, Quantiles,
    QuantilesIter, SummaryPoint,
};
pub use resource::{RawResource, Resource, Resources, Scope, resources};
pub use retain::retain_points;
pub use spans::{
    Span, SpanEvent, SpanEvents, SpanEventsIter, SpanLink, SpanLinks, SpanLinksIter, SpanSink, scan_spans,
};
pub use value::{AnyValue, ArrayIter, ArrayValue};
