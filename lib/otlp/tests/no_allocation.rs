//! The scan allocates nothing, whatever is in the request: counted by the global allocator, on this thread, while requests
//! of all signals are scanned and everything that is decoded when asked for is asked for.
//!
//! The only `unsafe` of the crate: a global allocator cannot be written without. It passes every call on to the system's
//! allocator unchanged and only counts, so the system allocator's guarantees hold as they are.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use shipwake_otlp::write::{self, Value, put_fixed64_field, put_len_field, put_message, put_varint_field};
use shipwake_otlp::{
    KeyValues, LogRecord, LogSink, Metric, MetricSink, Point, Resource, Scope, Span, SpanSink, resources, scan_logs,
    scan_metrics, scan_spans,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: see the header.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Asks for everything and keeps nothing.
#[derive(Default)]
struct Everything {
    records: u32,
}

fn walk_attributes(attributes: KeyValues<'_>) {
    black_box(attributes.hash128(1));
    black_box(attributes.get("none"));
    for attribute in attributes {
        black_box(attribute);
    }
}

impl<'a> LogSink<'a> for Everything {
    fn resource(&mut self, resource: &Resource<'a>) {
        walk_attributes(resource.attributes);
    }
    fn scope(&mut self, scope: &Scope<'a>) {
        walk_attributes(scope.attributes);
    }
    fn log(&mut self, record: &LogRecord<'a>) {
        self.records += 1;
        walk_attributes(record.attributes);
        black_box(record);
    }
}

impl<'a> SpanSink<'a> for Everything {
    fn resource(&mut self, resource: &Resource<'a>) {
        walk_attributes(resource.attributes);
    }
    fn scope(&mut self, scope: &Scope<'a>) {
        walk_attributes(scope.attributes);
    }
    fn span(&mut self, span: &Span<'a>) {
        self.records += 1;
        walk_attributes(span.attributes);
        span.events.iter().for_each(|event| walk_attributes(event.attributes));
        span.links.iter().for_each(|link| walk_attributes(link.attributes));
    }
}

impl<'a> MetricSink<'a> for Everything {
    fn resource(&mut self, resource: &Resource<'a>) {
        walk_attributes(resource.attributes);
    }
    fn scope(&mut self, scope: &Scope<'a>) {
        walk_attributes(scope.attributes);
    }
    fn metric(&mut self, metric: &Metric<'a>) {
        black_box(metric);
    }
    fn point(&mut self, _: &Metric<'a>, point: &Point<'a>) {
        self.records += 1;
        walk_attributes(point.attributes());
        match point {
            Point::Histogram(point) => drop(black_box((point.bucket_counts.len(), point.explicit_bounds.len()))),
            Point::ExponentialHistogram(point) => drop(black_box(point.positive.bucket_counts.iter().sum::<u64>())),
            Point::Summary(point) => drop(black_box(point.quantiles.iter().count())),
            Point::Number(point) => drop(black_box(point.value)),
        }
    }
}

const ATTRIBUTES: [(&str, Value<'static>); 3] = [
    ("service.name", Value::String(b"checkout")),
    ("list", Value::Array(&[Value::Int(1), Value::Map(&[("k", Value::Double(0.5))])])),
    ("ok", Value::Bool(true)),
];

/// A request with 100 records, each written by `write_record` as the content of field 2 of the scope; heads come in two
/// pieces, one of them behind the records.
fn request(write_record: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| write::put_attributes(out, 1, &ATTRIBUTES));
        put_message(out, 2, |out| {
            put_message(out, 1, |out| write::put_attributes(out, 3, &ATTRIBUTES));
            for _ in 0..100 {
                put_message(out, 2, &write_record);
            }
        });
        put_message(out, 1, |out| write::put_attributes(out, 1, &ATTRIBUTES));
    });
    out
}

/// Runs a scan and gives how often it allocated, and how many records it saw.
fn allocations(scan: impl FnOnce(&mut Everything)) -> (u64, u32) {
    let mut sink = Everything::default();
    let before = ALLOCATIONS.with(Cell::get);
    scan(&mut sink);
    (ALLOCATIONS.with(Cell::get) - before, sink.records)
}

#[test]
fn the_allocator_counts() {
    let (count, _) = allocations(|_| drop(black_box(vec![1u8; 10])));
    assert_eq!(count, 1);
}

#[test]
fn scanning_logs_allocates_nothing() {
    let request = request(|out| {
        write::put_attributes(out, 6, &ATTRIBUTES);
        put_message(out, 5, |out| put_len_field(out, 1, b"a"));
        put_varint_field(out, 90, 1);
        put_message(out, 5, |out| put_message(out, 6, |out| write::put_attributes(out, 1, &ATTRIBUTES)));
    });
    assert_eq!(allocations(|sink| scan_logs(&request, sink).unwrap()), (0, 100));
    assert_eq!(allocations(|sink| sink.records = resources(&request).count() as u32), (0, 1));
    let broken = &request[..request.len() - 1];
    assert_eq!(allocations(|sink| assert!(scan_logs(broken, sink).is_err())).0, 0);
}

#[test]
fn scanning_spans_allocates_nothing() {
    let request = request(|out| {
        write::put_attributes(out, 9, &ATTRIBUTES);
        put_message(out, 11, |out| write::put_attributes(out, 3, &ATTRIBUTES));
        put_message(out, 13, |out| write::put_attributes(out, 4, &ATTRIBUTES));
    });
    assert_eq!(allocations(|sink| scan_spans(&request, sink).unwrap()), (0, 100));
}

#[test]
fn scanning_metrics_allocates_nothing() {
    let request = request(|out| {
        put_len_field(out, 1, b"name");
        put_message(out, 5, |out| put_message(out, 1, |out| put_fixed64_field(out, 6, 1)));
        put_message(out, 9, |out| {
            put_message(out, 1, |out| {
                put_len_field(out, 6, &[0; 80]);
                put_len_field(out, 7, &[0; 72]);
                write::put_attributes(out, 9, &ATTRIBUTES);
            });
        });
        put_message(out, 10, |out| {
            put_message(out, 1, |out| {
                put_message(out, 8, |out| put_len_field(out, 2, &[1; 40]));
                put_message(out, 8, |out| put_len_field(out, 2, &[1; 40]));
            });
        });
    });
    assert_eq!(allocations(|sink| scan_metrics(&request, sink).unwrap()), (0, 100));
}
