//! OTLP's messages as data: the names that fields have in JSON, their numbers in protobuf, and how their values are written.
//! The fields stand in the order in which exporters write them, because the reader looks at the next one first.

/// A message and its fields; at most 32, so that a set of them is a word.
pub(super) struct Message {
    pub(super) fields: &'static [Field],
}

pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
}

/// Whether a zero is told from an absent value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// A zero is not written.
    Implicit,
    /// A zero is written.
    Explicit,
    /// A zero is written, and only one such field of a message may be given. No OTLP message has two choices.
    Choice,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Bytes in hexadecimal: ids of traces and spans.
    Hex,
    /// Bytes in base64.
    Base64,
    Bool,
    /// `int32`.
    Int32,
    /// `sint32`.
    Sint32,
    /// `uint32`.
    Uint32,
    /// `int64` as a varint.
    Int64,
    /// `uint64` as a varint.
    Uint64,
    /// `fixed32`.
    Fixed32,
    /// `fixed64`.
    Fixed64,
    /// `sfixed64`.
    Sfixed64,
    Double,
    /// An enumeration: an integer, never a name.
    Enum,
    Message(&'static Message),
    Messages(&'static Message),
    Texts,
    /// Packed numbers of one kind, which has a fixed size or is a varint.
    Packed(&'static Kind),
}

use Kind::{
    Base64, Bool, Double, Enum, Fixed32, Fixed64, Hex, Int32, Int64, Message as One, Messages, Packed, Sfixed64,
    Sint32, Text, Texts, Uint32, Uint64,
};

const fn field(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, presence: Presence::Implicit }
}

const fn optional(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, presence: Presence::Explicit }
}

const fn choice(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, presence: Presence::Choice }
}

pub(super) static LOGS_REQUEST: Message = Message { fields: &[field("resourceLogs", 1, Messages(&RESOURCE_LOGS))] };
pub(super) static SPANS_REQUEST: Message = Message { fields: &[field("resourceSpans", 1, Messages(&RESOURCE_SPANS))] };
pub(super) static METRICS_REQUEST: Message =
    Message { fields: &[field("resourceMetrics", 1, Messages(&RESOURCE_METRICS))] };

static RESOURCE_LOGS: Message = Message {
    fields: &[
        field("resource", 1, One(&RESOURCE)),
        field("scopeLogs", 2, Messages(&SCOPE_LOGS)),
        field("schemaUrl", 3, Text),
    ],
};
static RESOURCE_SPANS: Message = Message {
    fields: &[
        field("resource", 1, One(&RESOURCE)),
        field("scopeSpans", 2, Messages(&SCOPE_SPANS)),
        field("schemaUrl", 3, Text),
    ],
};
static RESOURCE_METRICS: Message = Message {
    fields: &[
        field("resource", 1, One(&RESOURCE)),
        field("scopeMetrics", 2, Messages(&SCOPE_METRICS)),
        field("schemaUrl", 3, Text),
    ],
};
static SCOPE_LOGS: Message = Message {
    fields: &[
        field("scope", 1, One(&SCOPE)),
        field("logRecords", 2, Messages(&LOG_RECORD)),
        field("schemaUrl", 3, Text),
    ],
};
static SCOPE_SPANS: Message = Message {
    fields: &[field("scope", 1, One(&SCOPE)), field("spans", 2, Messages(&SPAN)), field("schemaUrl", 3, Text)],
};
static SCOPE_METRICS: Message = Message {
    fields: &[field("scope", 1, One(&SCOPE)), field("metrics", 2, Messages(&METRIC)), field("schemaUrl", 3, Text)],
};

static RESOURCE: Message = Message {
    fields: &[
        field("attributes", 1, Messages(&KEY_VALUE)),
        field("droppedAttributesCount", 2, Uint32),
        field("entityRefs", 3, Messages(&ENTITY_REF)),
    ],
};
static ENTITY_REF: Message = Message {
    fields: &[
        field("schemaUrl", 1, Text),
        field("type", 2, Text),
        field("idKeys", 3, Texts),
        field("descriptionKeys", 4, Texts),
    ],
};
static SCOPE: Message = Message {
    fields: &[
        field("name", 1, Text),
        field("version", 2, Text),
        field("attributes", 3, Messages(&KEY_VALUE)),
        field("droppedAttributesCount", 4, Uint32),
    ],
};

static KEY_VALUE: Message =
    Message { fields: &[field("key", 1, Text), field("value", 2, One(&ANY_VALUE)), field("keyStrindex", 3, Int32)] };
static ANY_VALUE: Message = Message {
    fields: &[
        choice("stringValue", 1, Text),
        choice("intValue", 3, Int64),
        choice("boolValue", 2, Bool),
        choice("doubleValue", 4, Double),
        choice("arrayValue", 5, One(&ARRAY_VALUE)),
        choice("kvlistValue", 6, One(&KEY_VALUE_LIST)),
        choice("bytesValue", 7, Base64),
        choice("stringValueStrindex", 8, Int32),
    ],
};
static ARRAY_VALUE: Message = Message { fields: &[field("values", 1, Messages(&ANY_VALUE))] };
static KEY_VALUE_LIST: Message = Message { fields: &[field("values", 1, Messages(&KEY_VALUE))] };

static LOG_RECORD: Message = Message {
    fields: &[
        field("timeUnixNano", 1, Fixed64),
        field("observedTimeUnixNano", 11, Fixed64),
        field("severityNumber", 2, Enum),
        field("severityText", 3, Text),
        field("body", 5, One(&ANY_VALUE)),
        field("eventName", 12, Text),
        field("attributes", 6, Messages(&KEY_VALUE)),
        field("droppedAttributesCount", 7, Uint32),
        field("flags", 8, Fixed32),
        field("traceId", 9, Hex),
        field("spanId", 10, Hex),
    ],
};

static SPAN: Message = Message {
    fields: &[
        field("traceId", 1, Hex),
        field("spanId", 2, Hex),
        field("parentSpanId", 4, Hex),
        field("traceState", 3, Text),
        field("name", 5, Text),
        field("kind", 6, Enum),
        field("startTimeUnixNano", 7, Fixed64),
        field("endTimeUnixNano", 8, Fixed64),
        field("attributes", 9, Messages(&KEY_VALUE)),
        field("droppedAttributesCount", 10, Uint32),
        field("events", 11, Messages(&EVENT)),
        field("droppedEventsCount", 12, Uint32),
        field("status", 15, One(&STATUS)),
        field("links", 13, Messages(&LINK)),
        field("droppedLinksCount", 14, Uint32),
        field("flags", 16, Fixed32),
    ],
};
static EVENT: Message = Message {
    fields: &[
        field("attributes", 3, Messages(&KEY_VALUE)),
        field("name", 2, Text),
        field("timeUnixNano", 1, Fixed64),
        field("droppedAttributesCount", 4, Uint32),
    ],
};
static LINK: Message = Message {
    fields: &[
        field("attributes", 4, Messages(&KEY_VALUE)),
        field("traceId", 1, Hex),
        field("spanId", 2, Hex),
        field("traceState", 3, Text),
        field("droppedAttributesCount", 5, Uint32),
        field("flags", 6, Fixed32),
    ],
};
static STATUS: Message = Message { fields: &[field("code", 3, Enum), field("message", 2, Text)] };

static METRIC: Message = Message {
    fields: &[
        field("name", 1, Text),
        field("description", 2, Text),
        field("unit", 3, Text),
        choice("sum", 7, One(&SUM)),
        choice("gauge", 5, One(&GAUGE)),
        choice("histogram", 9, One(&HISTOGRAM)),
        choice("exponentialHistogram", 10, One(&EXPONENTIAL_HISTOGRAM)),
        choice("summary", 11, One(&SUMMARY)),
        field("metadata", 12, Messages(&KEY_VALUE)),
    ],
};
static GAUGE: Message = Message { fields: &[field("dataPoints", 1, Messages(&NUMBER_POINT))] };
static SUM: Message = Message {
    fields: &[
        field("aggregationTemporality", 2, Enum),
        field("isMonotonic", 3, Bool),
        field("dataPoints", 1, Messages(&NUMBER_POINT)),
    ],
};
static HISTOGRAM: Message =
    Message { fields: &[field("aggregationTemporality", 2, Enum), field("dataPoints", 1, Messages(&HISTOGRAM_POINT))] };
static EXPONENTIAL_HISTOGRAM: Message = Message {
    fields: &[field("aggregationTemporality", 2, Enum), field("dataPoints", 1, Messages(&EXPONENTIAL_POINT))],
};
static SUMMARY: Message = Message { fields: &[field("dataPoints", 1, Messages(&SUMMARY_POINT))] };

static NUMBER_POINT: Message = Message {
    fields: &[
        field("attributes", 7, Messages(&KEY_VALUE)),
        field("startTimeUnixNano", 2, Fixed64),
        field("timeUnixNano", 3, Fixed64),
        choice("asInt", 6, Sfixed64),
        choice("asDouble", 4, Double),
        field("exemplars", 5, Messages(&EXEMPLAR)),
        field("flags", 8, Uint32),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    fields: &[
        field("attributes", 9, Messages(&KEY_VALUE)),
        field("startTimeUnixNano", 2, Fixed64),
        field("timeUnixNano", 3, Fixed64),
        field("count", 4, Fixed64),
        optional("sum", 5, Double),
        field("bucketCounts", 6, Packed(&Fixed64)),
        field("explicitBounds", 7, Packed(&Double)),
        field("exemplars", 8, Messages(&EXEMPLAR)),
        field("flags", 10, Uint32),
        optional("min", 11, Double),
        optional("max", 12, Double),
    ],
};
static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        field("attributes", 1, Messages(&KEY_VALUE)),
        field("startTimeUnixNano", 2, Fixed64),
        field("timeUnixNano", 3, Fixed64),
        field("count", 4, Fixed64),
        optional("sum", 5, Double),
        field("scale", 6, Sint32),
        field("zeroCount", 7, Fixed64),
        field("positive", 8, One(&BUCKETS)),
        field("negative", 9, One(&BUCKETS)),
        field("flags", 10, Uint32),
        field("exemplars", 11, Messages(&EXEMPLAR)),
        optional("min", 12, Double),
        optional("max", 13, Double),
        field("zeroThreshold", 14, Double),
    ],
};
static BUCKETS: Message = Message { fields: &[field("offset", 1, Sint32), field("bucketCounts", 2, Packed(&Uint64))] };
static SUMMARY_POINT: Message = Message {
    fields: &[
        field("attributes", 7, Messages(&KEY_VALUE)),
        field("startTimeUnixNano", 2, Fixed64),
        field("timeUnixNano", 3, Fixed64),
        field("count", 4, Fixed64),
        field("sum", 5, Double),
        field("quantileValues", 6, Messages(&QUANTILE)),
        field("flags", 8, Uint32),
    ],
};
static QUANTILE: Message = Message { fields: &[field("quantile", 1, Double), field("value", 2, Double)] };
static EXEMPLAR: Message = Message {
    fields: &[
        field("filteredAttributes", 7, Messages(&KEY_VALUE)),
        field("timeUnixNano", 2, Fixed64),
        choice("asDouble", 3, Double),
        choice("asInt", 6, Sfixed64),
        field("spanId", 4, Hex),
        field("traceId", 5, Hex),
    ],
};
