//! Sinks that put the messages together again from what the scan reports, and the removal from prost's messages of what the
//! scan does not report, so that the two can be compared.

use shipwake_otlp as scan;

use crate::lenient::*;

/// Collects what a scan reports into a request.
pub struct Rebuilt<R: Record>(pub Request<R>);

impl<R: Record> Rebuilt<R> {
    pub fn new() -> Self {
        Rebuilt(Request { resources: Vec::new() })
    }

    fn push_resource(&mut self, resource: &scan::Resource<'_>) {
        self.0.resources.push(ResourceRecords {
            resource: Some(rebuilt_resource(resource)),
            scopes: Vec::new(),
            schema_url: resource.schema_url.to_vec(),
        });
    }

    fn push_scope(&mut self, scope: &scan::Scope<'_>) {
        let resource = self.0.resources.last_mut().expect("a scope comes after its resource");
        resource.scopes.push(ScopeRecords {
            scope: Some(Scope {
                name: scope.name.to_vec(),
                version: scope.version.to_vec(),
                attributes: attributes(scope.attributes),
                dropped_attributes_count: scope.dropped_attributes_count,
            }),
            records: Vec::new(),
            schema_url: scope.schema_url.to_vec(),
        });
    }

    fn records(&mut self) -> &mut Vec<R> {
        let resource = self.0.resources.last_mut().expect("a record comes after its resource");
        &mut resource.scopes.last_mut().expect("a record comes after its scope").records
    }
}

pub fn rebuilt_resource(resource: &scan::Resource<'_>) -> Resource {
    Resource {
        attributes: attributes(resource.attributes),
        dropped_attributes_count: resource.dropped_attributes_count,
        entity_refs: Vec::new(),
    }
}

impl<'a> scan::LogSink<'a> for Rebuilt<LogRecord> {
    fn resource(&mut self, resource: &scan::Resource<'a>) {
        self.push_resource(resource);
    }

    fn scope(&mut self, scope: &scan::Scope<'a>) {
        self.push_scope(scope);
    }

    fn log(&mut self, record: &scan::LogRecord<'a>) {
        self.records().push(LogRecord {
            time_unix_nano: record.time_unix_nano,
            observed_time_unix_nano: record.observed_time_unix_nano,
            severity_number: record.severity_number,
            severity_text: record.severity_text.to_vec(),
            body: value(record.body),
            attributes: attributes(record.attributes),
            dropped_attributes_count: record.dropped_attributes_count,
            flags: record.flags,
            trace_id: record.trace_id.to_vec(),
            span_id: record.span_id.to_vec(),
            event_name: record.event_name.to_vec(),
        });
    }
}

impl<'a> scan::SpanSink<'a> for Rebuilt<Span> {
    fn resource(&mut self, resource: &scan::Resource<'a>) {
        self.push_resource(resource);
    }

    fn scope(&mut self, scope: &scan::Scope<'a>) {
        self.push_scope(scope);
    }

    fn span(&mut self, span: &scan::Span<'a>) {
        assert_eq!((span.events.len(), span.events.is_empty()), counted(span.events.iter()));
        assert_eq!((span.links.len(), span.links.is_empty()), counted(span.links.iter()));
        self.records().push(Span {
            trace_id: span.trace_id.to_vec(),
            span_id: span.span_id.to_vec(),
            trace_state: span.trace_state.to_vec(),
            parent_span_id: span.parent_span_id.to_vec(),
            flags: span.flags,
            name: span.name.to_vec(),
            kind: span.kind,
            start_time_unix_nano: span.start_time_unix_nano,
            end_time_unix_nano: span.end_time_unix_nano,
            attributes: attributes(span.attributes),
            dropped_attributes_count: span.dropped_attributes_count,
            events: span.events.iter().map(|found| event(&found)).collect(),
            dropped_events_count: span.dropped_events_count,
            links: span.links.iter().map(|found| link(&found)).collect(),
            dropped_links_count: span.dropped_links_count,
            status: Some(Status { message: span.status_message.to_vec(), code: span.status_code }),
        });
    }
}

fn counted(items: impl Iterator) -> (usize, bool) {
    let count = items.count();
    (count, count == 0)
}

fn event(event: &scan::SpanEvent<'_>) -> Event {
    Event {
        time_unix_nano: event.time_unix_nano,
        name: event.name.to_vec(),
        attributes: attributes(event.attributes),
        dropped_attributes_count: event.dropped_attributes_count,
    }
}

fn link(link: &scan::SpanLink<'_>) -> Link {
    Link {
        trace_id: link.trace_id.to_vec(),
        span_id: link.span_id.to_vec(),
        trace_state: link.trace_state.to_vec(),
        attributes: attributes(link.attributes),
        dropped_attributes_count: link.dropped_attributes_count,
        flags: link.flags,
    }
}

impl<'a> scan::MetricSink<'a> for Rebuilt<Metric> {
    fn resource(&mut self, resource: &scan::Resource<'a>) {
        self.push_resource(resource);
    }

    fn scope(&mut self, scope: &scan::Scope<'a>) {
        self.push_scope(scope);
    }

    fn metric(&mut self, metric: &scan::Metric<'a>) {
        let data_points = Vec::new();
        let aggregation_temporality = metric.temporality;
        let data = match metric.kind {
            scan::MetricKind::Gauge => Data::Gauge(Gauge { data_points }),
            scan::MetricKind::Sum => {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: metric.monotonic })
            }
            scan::MetricKind::Histogram => {
                Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })
            }
            scan::MetricKind::ExponentialHistogram => {
                let data_points = Vec::new();
                Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
            }
            scan::MetricKind::Summary => Data::Summary(Summary { data_points: Vec::new() }),
        };
        self.records().push(Metric {
            name: metric.name.to_vec(),
            description: metric.description.to_vec(),
            unit: metric.unit.to_vec(),
            metadata: Vec::new(),
            data: Some(data),
        });
    }

    fn point(&mut self, metric: &scan::Metric<'a>, found: &scan::Point<'a>) {
        let rebuilt = self.records().last_mut().expect("a point comes after its metric");
        assert_eq!(rebuilt.name, metric.name);
        match (rebuilt.data.as_mut(), found) {
            (Some(Data::Gauge(data)), scan::Point::Number(point)) => data.data_points.push(number_point(point)),
            (Some(Data::Sum(data)), scan::Point::Number(point)) => data.data_points.push(number_point(point)),
            (Some(Data::Histogram(data)), scan::Point::Histogram(point)) => data.data_points.push(histogram(point)),
            (Some(Data::ExponentialHistogram(data)), scan::Point::ExponentialHistogram(point)) => {
                data.data_points.push(exponential_histogram(point));
            }
            (Some(Data::Summary(data)), scan::Point::Summary(point)) => data.data_points.push(summary(point)),
            (data, point) => panic!("{point:?} is no point of {data:?}"),
        }
    }
}

fn number_point(point: &scan::NumberPoint<'_>) -> NumberPoint {
    NumberPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        exemplars: Vec::new(),
        flags: point.flags,
        value: point.value.map(|value| match value {
            scan::NumberValue::Int(value) => Number::Int(value),
            scan::NumberValue::Double(value) => Number::Double(value),
        }),
    }
}

fn histogram(point: &scan::HistogramPoint<'_>) -> HistogramPoint {
    HistogramPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        bucket_counts: point.bucket_counts.iter().collect(),
        explicit_bounds: point.explicit_bounds.iter().collect(),
        exemplars: Vec::new(),
        flags: point.flags,
        min: point.min,
        max: point.max,
    }
}

fn exponential_histogram(point: &scan::ExponentialHistogramPoint<'_>) -> ExponentialHistogramPoint {
    let buckets = |buckets: &scan::Buckets<'_>| {
        Some(Buckets { offset: buckets.offset, bucket_counts: buckets.bucket_counts.iter().collect() })
    };
    ExponentialHistogramPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        scale: point.scale,
        zero_count: point.zero_count,
        positive: buckets(&point.positive),
        negative: buckets(&point.negative),
        flags: point.flags,
        exemplars: Vec::new(),
        min: point.min,
        max: point.max,
        zero_threshold: point.zero_threshold,
    }
}

fn summary(point: &scan::SummaryPoint<'_>) -> SummaryPoint {
    let quantile = |found: scan::Quantile| Quantile { quantile: found.quantile, value: found.value };
    SummaryPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        quantile_values: point.quantiles.iter().map(quantile).collect(),
        flags: point.flags,
    }
}

fn attributes(attributes: scan::KeyValues<'_>) -> Vec<KeyValue> {
    assert_eq!(attributes.raw().count(), attributes.iter().count());
    let rebuilt = |attribute: scan::KeyValue<'_>| KeyValue {
        key: attribute.key.to_vec(),
        value: value(attribute.value),
        key_strindex: 0,
    };
    attributes.iter().map(rebuilt).collect()
}

fn value(found: scan::AnyValue<'_>) -> Option<AnyValue> {
    let value = match found {
        scan::AnyValue::Empty => return None,
        scan::AnyValue::String(text) => Value::String(text.to_vec()),
        scan::AnyValue::Bool(value) => Value::Bool(value),
        scan::AnyValue::Int(value) => Value::Int(value),
        scan::AnyValue::Double(value) => Value::Double(value),
        scan::AnyValue::Array(values) => {
            let values = values.iter().map(|element| value(element).unwrap_or_default()).collect();
            Value::Array(ArrayValue { values })
        }
        scan::AnyValue::Map(values) => Value::Map(KeyValueList { values: attributes(values) }),
        scan::AnyValue::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
    };
    Some(AnyValue { value: Some(value) })
}

/// Removes from a message what the scan does not report, and makes absent messages empty ones where it does not tell the
/// two apart.
pub trait Reported {
    fn reduce(&mut self);
}

impl<R: Reported + Record> Request<R> {
    /// `keep` says which records the scan reports at all.
    pub fn reduce(&mut self, keep: impl Fn(&R) -> bool) {
        for resource in &mut self.resources {
            let head = resource.resource.get_or_insert_default();
            head.entity_refs.clear();
            reduce_attributes(&mut head.attributes);
            for scope in &mut resource.scopes {
                reduce_attributes(&mut scope.scope.get_or_insert_default().attributes);
                scope.records.retain(&keep);
                scope.records.iter_mut().for_each(Reported::reduce);
            }
        }
    }
}

impl Reported for LogRecord {
    fn reduce(&mut self) {
        reduce_value(&mut self.body);
        reduce_attributes(&mut self.attributes);
    }
}

impl Reported for Span {
    fn reduce(&mut self) {
        reduce_attributes(&mut self.attributes);
        self.events.iter_mut().for_each(|event| reduce_attributes(&mut event.attributes));
        self.links.iter_mut().for_each(|link| reduce_attributes(&mut link.attributes));
        self.status.get_or_insert_default();
    }
}

impl Reported for Metric {
    fn reduce(&mut self) {
        self.metadata.clear();
        match self.data.as_mut().expect("metrics without data are not kept") {
            Data::Gauge(data) => data.data_points.iter_mut().for_each(Reported::reduce),
            Data::Sum(data) => data.data_points.iter_mut().for_each(Reported::reduce),
            Data::Histogram(data) => data.data_points.iter_mut().for_each(Reported::reduce),
            Data::ExponentialHistogram(data) => data.data_points.iter_mut().for_each(Reported::reduce),
            Data::Summary(data) => {
                data.data_points.iter_mut().for_each(|point| reduce_attributes(&mut point.attributes));
            }
        }
    }
}

impl Reported for NumberPoint {
    fn reduce(&mut self) {
        self.exemplars.clear();
        reduce_attributes(&mut self.attributes);
    }
}

impl Reported for HistogramPoint {
    fn reduce(&mut self) {
        self.exemplars.clear();
        reduce_attributes(&mut self.attributes);
    }
}

impl Reported for ExponentialHistogramPoint {
    fn reduce(&mut self) {
        self.exemplars.clear();
        self.positive.get_or_insert_default();
        self.negative.get_or_insert_default();
        reduce_attributes(&mut self.attributes);
    }
}

fn reduce_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        attribute.key_strindex = 0;
        reduce_value(&mut attribute.value);
    }
}

fn reduce_value(value: &mut Option<AnyValue>) {
    let Some(any) = value else { return };
    match &mut any.value {
        None | Some(Value::StringIndex(_)) => *value = None,
        Some(Value::Array(array)) => {
            for element in &mut array.values {
                let mut reduced = Some(std::mem::take(element));
                reduce_value(&mut reduced);
                *element = reduced.unwrap_or_default();
            }
        }
        Some(Value::Map(map)) => reduce_attributes(&mut map.values),
        Some(_) => {}
    }
}
