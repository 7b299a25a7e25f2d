//! OTLP's messages as data, for the generator of wild bytes: field numbers and how each field is written.

/// How a field is written.
#[derive(Clone, Copy)]
pub enum Kind {
    Varint,
    Fixed32,
    Fixed64,
    /// Text or bytes.
    Bytes,
    Message(&'static Schema),
    /// Repeated numbers, packed or not.
    Varints,
    Fixed64s,
}

/// A message: its fields with their numbers.
pub struct Schema {
    pub fields: &'static [(u32, Kind)],
}

use Kind::{Bytes, Fixed32, Fixed64, Fixed64s, Message, Varint, Varints};

pub static LOGS_REQUEST: Schema = Schema { fields: &[(1, Message(&RESOURCE_LOGS))] };
pub static SPANS_REQUEST: Schema = Schema { fields: &[(1, Message(&RESOURCE_SPANS))] };
pub static METRICS_REQUEST: Schema = Schema { fields: &[(1, Message(&RESOURCE_METRICS))] };

static RESOURCE_LOGS: Schema = Schema { fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_LOGS)), (3, Bytes)] };
static RESOURCE_SPANS: Schema = Schema { fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_SPANS)), (3, Bytes)] };
static RESOURCE_METRICS: Schema =
    Schema { fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_METRICS)), (3, Bytes)] };

static SCOPE_LOGS: Schema = Schema { fields: &[(1, Message(&SCOPE)), (2, Message(&LOG_RECORD)), (3, Bytes)] };
static SCOPE_SPANS: Schema = Schema { fields: &[(1, Message(&SCOPE)), (2, Message(&SPAN)), (3, Bytes)] };
static SCOPE_METRICS: Schema = Schema { fields: &[(1, Message(&SCOPE)), (2, Message(&METRIC)), (3, Bytes)] };

static RESOURCE: Schema = Schema { fields: &[(1, Message(&KEY_VALUE)), (2, Varint), (3, Message(&ENTITY_REF))] };
static SCOPE: Schema = Schema { fields: &[(1, Bytes), (2, Bytes), (3, Message(&KEY_VALUE)), (4, Varint)] };
static ENTITY_REF: Schema = Schema { fields: &[(1, Bytes), (2, Bytes), (3, Bytes), (4, Bytes)] };

static KEY_VALUE: Schema = Schema { fields: &[(1, Bytes), (2, Message(&ANY_VALUE)), (3, Varint)] };
static ANY_VALUE: Schema = Schema {
    fields: &[
        (1, Bytes),
        (2, Varint),
        (3, Varint),
        (4, Fixed64),
        (5, Message(&ARRAY_VALUE)),
        (6, Message(&KEY_VALUE_LIST)),
        (7, Bytes),
        (8, Varint),
    ],
};
static ARRAY_VALUE: Schema = Schema { fields: &[(1, Message(&ANY_VALUE))] };
static KEY_VALUE_LIST: Schema = Schema { fields: &[(1, Message(&KEY_VALUE))] };

static LOG_RECORD: Schema = Schema {
    fields: &[
        (1, Fixed64),
        (2, Varint),
        (3, Bytes),
        (5, Message(&ANY_VALUE)),
        (6, Message(&KEY_VALUE)),
        (7, Varint),
        (8, Fixed32),
        (9, Bytes),
        (10, Bytes),
        (11, Fixed64),
        (12, Bytes),
    ],
};

static SPAN: Schema = Schema {
    fields: &[
        (1, Bytes),
        (2, Bytes),
        (3, Bytes),
        (4, Bytes),
        (5, Bytes),
        (6, Varint),
        (7, Fixed64),
        (8, Fixed64),
        (9, Message(&KEY_VALUE)),
        (10, Varint),
        (11, Message(&EVENT)),
        (12, Varint),
        (13, Message(&LINK)),
        (14, Varint),
        (15, Message(&STATUS)),
        (16, Fixed32),
    ],
};
static EVENT: Schema = Schema { fields: &[(1, Fixed64), (2, Bytes), (3, Message(&KEY_VALUE)), (4, Varint)] };
static LINK: Schema =
    Schema { fields: &[(1, Bytes), (2, Bytes), (3, Bytes), (4, Message(&KEY_VALUE)), (5, Varint), (6, Fixed32)] };
static STATUS: Schema = Schema { fields: &[(2, Bytes), (3, Varint)] };

static METRIC: Schema = Schema {
    fields: &[
        (1, Bytes),
        (2, Bytes),
        (3, Bytes),
        (5, Message(&GAUGE)),
        (7, Message(&SUM)),
        (9, Message(&HISTOGRAM)),
        (10, Message(&EXPONENTIAL_HISTOGRAM)),
        (11, Message(&SUMMARY)),
        (12, Message(&KEY_VALUE)),
    ],
};
static GAUGE: Schema = Schema { fields: &[(1, Message(&NUMBER_POINT))] };
static SUM: Schema = Schema { fields: &[(1, Message(&NUMBER_POINT)), (2, Varint), (3, Varint)] };
static HISTOGRAM: Schema = Schema { fields: &[(1, Message(&HISTOGRAM_POINT)), (2, Varint)] };
static EXPONENTIAL_HISTOGRAM: Schema = Schema { fields: &[(1, Message(&EXPONENTIAL_POINT)), (2, Varint)] };
static SUMMARY: Schema = Schema { fields: &[(1, Message(&SUMMARY_POINT))] };

static NUMBER_POINT: Schema = Schema {
    fields: &[
        (2, Fixed64),
        (3, Fixed64),
        (4, Fixed64),
        (5, Message(&EXEMPLAR)),
        (6, Fixed64),
        (7, Message(&KEY_VALUE)),
        (8, Varint),
    ],
};
static HISTOGRAM_POINT: Schema = Schema {
    fields: &[
        (2, Fixed64),
        (3, Fixed64),
        (4, Fixed64),
        (5, Fixed64),
        (6, Fixed64s),
        (7, Fixed64s),
        (8, Message(&EXEMPLAR)),
        (9, Message(&KEY_VALUE)),
        (10, Varint),
        (11, Fixed64),
        (12, Fixed64),
    ],
};
static EXPONENTIAL_POINT: Schema = Schema {
    fields: &[
        (1, Message(&KEY_VALUE)),
        (2, Fixed64),
        (3, Fixed64),
        (4, Fixed64),
        (5, Fixed64),
        (6, Varint),
        (7, Fixed64),
        (8, Message(&BUCKETS)),
        (9, Message(&BUCKETS)),
        (10, Varint),
        (11, Message(&EXEMPLAR)),
        (12, Fixed64),
        (13, Fixed64),
        (14, Fixed64),
    ],
};
static BUCKETS: Schema = Schema { fields: &[(1, Varint), (2, Varints)] };
static SUMMARY_POINT: Schema = Schema {
    fields: &[
        (2, Fixed64),
        (3, Fixed64),
        (4, Fixed64),
        (5, Fixed64),
        (6, Message(&QUANTILE)),
        (7, Message(&KEY_VALUE)),
        (8, Varint),
    ],
};
static QUANTILE: Schema = Schema { fields: &[(1, Fixed64), (2, Fixed64)] };
static EXEMPLAR: Schema =
    Schema { fields: &[(2, Fixed64), (3, Fixed64), (4, Bytes), (5, Bytes), (6, Fixed64), (7, Message(&KEY_VALUE))] };
