//! `ExportTraceServiceRequest`: spans, with their events and links.

use crate::ScanError;
use crate::attributes::KeyValues;
use crate::check;
use crate::fields::{Fields, FieldsIter, Seen};
use crate::resource::{Resource, Scope, walk};
use crate::wire::{Depth, FIXED32, FIXED64, LEN, Reader, VARINT, key};

/// A span. Texts and ids are the sender's bytes; an absent field is zero or empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span<'a> {
    /// 16 bytes when valid; any length is possible.
    pub trace_id: &'a [u8],
    /// 8 bytes when valid; any length is possible.
    pub span_id: &'a [u8],
    /// The parent's span id; empty for a root.
    pub parent_span_id: &'a [u8],
    /// W3C trace state.
    pub trace_state: &'a [u8],
    /// Trace flags, and whether the parent is remote.
    pub flags: u32,
    /// What the span is called.
    pub name: &'a [u8],
    /// 1 internal, 2 server, 3 client, 4 producer, 5 consumer; 0 when unset; other numbers are possible.
    pub kind: i32,
    /// Nanoseconds since the epoch.
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the epoch; may lie before the start.
    pub end_time_unix_nano: u64,
    /// Attributes of the span.
    pub attributes: KeyValues<'a>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// Timed events.
    pub events: SpanEvents<'a>,
    /// How many events the sender left out.
    pub dropped_events_count: u32,
    /// Links to other spans.
    pub links: SpanLinks<'a>,
    /// How many links the sender left out.
    pub dropped_links_count: u32,
    /// 0 unset, 1 ok, 2 error; other numbers are possible.
    pub status_code: i32,
    /// What the sender says about the status.
    pub status_message: &'a [u8],
}

/// An event of a span.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanEvent<'a> {
    /// Nanoseconds since the epoch.
    pub time_unix_nano: u64,
    /// For instance `exception`.
    pub name: &'a [u8],
    /// Attributes of the event.
    pub attributes: KeyValues<'a>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
}

/// A link from a span to another.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanLink<'a> {
    /// The other span's trace.
    pub trace_id: &'a [u8],
    /// The other span.
    pub span_id: &'a [u8],
    /// W3C trace state of the other span.
    pub trace_state: &'a [u8],
    /// Attributes of the link.
    pub attributes: KeyValues<'a>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// Trace flags, and whether the other span is remote.
    pub flags: u32,
}

/// Takes what [`scan_spans`] finds, in this order: a resource, then each of its scopes, each with its spans. Resources and
/// scopes without spans are reported too.
pub trait SpanSink<'a> {
    /// The resource of the scopes and spans that follow.
    fn resource(&mut self, resource: &Resource<'a>);
    /// The scope of the spans that follow.
    fn scope(&mut self, scope: &Scope<'a>);
    /// One span.
    fn span(&mut self, span: &Span<'a>);
}

/// Scans an `ExportTraceServiceRequest`. What is checked, and what an error means, is as with [`crate::scan_logs`].
pub fn scan_spans<'a, S: SpanSink<'a>>(request: &'a [u8], sink: &mut S) -> Result<(), ScanError> {
    walk(request, sink, S::resource, S::scope, |sink, span, depth| {
        let mut found = Span::default();
        read_span(span, depth, &mut found)?;
        sink.span(&found);
        Ok(())
    })
}

fn read_span<'a>(mut r: Reader<'a>, depth: Depth, span: &mut Span<'a>) -> Result<(), ScanError> {
    const TRACE_ID: u64 = key(1, LEN);
    const SPAN_ID: u64 = key(2, LEN);
    const TRACE_STATE: u64 = key(3, LEN);
    const PARENT_SPAN_ID: u64 = key(4, LEN);
    const NAME: u64 = key(5, LEN);
    const KIND: u64 = key(6, VARINT);
    const START: u64 = key(7, FIXED64);
    const END: u64 = key(8, FIXED64);
    const ATTRIBUTES: u64 = key(9, LEN);
    const DROPPED_ATTRIBUTES: u64 = key(10, VARINT);
    const EVENTS: u64 = key(11, LEN);
    const DROPPED_EVENTS: u64 = key(12, VARINT);
    const LINKS: u64 = key(13, LEN);
    const DROPPED_LINKS: u64 = key(14, VARINT);
    const STATUS: u64 = key(15, LEN);
    const FLAGS: u64 = key(16, FIXED32);
    const KNOWN: u32 = 0b1_1111_1111_1111_1110;

    let (mut attributes, mut events, mut links) = (Seen::default(), Seen::default(), Seen::default());
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            TRACE_ID => span.trace_id = r.bytes()?,
            SPAN_ID => span.span_id = r.bytes()?,
            TRACE_STATE => span.trace_state = r.bytes()?,
            PARENT_SPAN_ID => span.parent_span_id = r.bytes()?,
            NAME => span.name = r.bytes()?,
            KIND => span.kind = r.varint()? as i32,
            START => span.start_time_unix_nano = r.fixed64()?,
            END => span.end_time_unix_nano = r.fixed64()?,
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            DROPPED_ATTRIBUTES => span.dropped_attributes_count = r.varint()? as u32,
            EVENTS => {
                read_event(r.message()?, depth.enter(at)?)?;
                events.note(at, &[], r);
            }
            DROPPED_EVENTS => span.dropped_events_count = r.varint()? as u32,
            LINKS => {
                read_link(r.message()?, depth.enter(at)?)?;
                links.note(at, &[], r);
            }
            DROPPED_LINKS => span.dropped_links_count = r.varint()? as u32,
            STATUS => read_status(r.message()?, depth.enter(at)?, span)?,
            FLAGS => span.flags = r.fixed32()?,
            other => r.unknown(other, at, KNOWN, depth)?,
        }
    }
    span.attributes = KeyValues::new(attributes.fields(9));
    span.events = SpanEvents { fields: events.fields(11) };
    span.links = SpanLinks { fields: links.fields(13) };
    Ok(())
}

fn read_status<'a>(mut r: Reader<'a>, depth: Depth, span: &mut Span<'a>) -> Result<(), ScanError> {
    const MESSAGE: u64 = key(2, LEN);
    const CODE: u64 = key(3, VARINT);
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            MESSAGE => span.status_message = r.bytes()?,
            CODE => span.status_code = r.varint()? as i32,
            other => r.unknown(other, at, 0b1100, depth)?,
        }
    }
    Ok(())
}

fn read_event<'a>(mut r: Reader<'a>, depth: Depth) -> Result<SpanEvent<'a>, ScanError> {
    const TIME: u64 = key(1, FIXED64);
    const NAME: u64 = key(2, LEN);
    const ATTRIBUTES: u64 = key(3, LEN);
    const DROPPED: u64 = key(4, VARINT);
    let mut event = SpanEvent::default();
    let mut attributes = Seen::default();
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            TIME => event.time_unix_nano = r.fixed64()?,
            NAME => event.name = r.bytes()?,
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            DROPPED => event.dropped_attributes_count = r.varint()? as u32,
            other => r.unknown(other, at, 0b1_1110, depth)?,
        }
    }
    event.attributes = KeyValues::new(attributes.fields(3));
    Ok(event)
}

fn read_link<'a>(mut r: Reader<'a>, depth: Depth) -> Result<SpanLink<'a>, ScanError> {
    const TRACE_ID: u64 = key(1, LEN);
    const SPAN_ID: u64 = key(2, LEN);
    const TRACE_STATE: u64 = key(3, LEN);
    const ATTRIBUTES: u64 = key(4, LEN);
    const DROPPED: u64 = key(5, VARINT);
    const FLAGS: u64 = key(6, FIXED32);
    let mut link = SpanLink::default();
    let mut attributes = Seen::default();
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            TRACE_ID => link.trace_id = r.bytes()?,
            SPAN_ID => link.span_id = r.bytes()?,
            TRACE_STATE => link.trace_state = r.bytes()?,
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            DROPPED => link.dropped_attributes_count = r.varint()? as u32,
            FLAGS => link.flags = r.fixed32()?,
            other => r.unknown(other, at, 0b111_1110, depth)?,
        }
    }
    link.attributes = KeyValues::new(attributes.fields(4));
    Ok(link)
}

/// The events of a span, decoded as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct SpanEvents<'a> {
    fields: Fields<'a>,
}

impl<'a> SpanEvents<'a> {
    /// The events in the sender's order.
    pub fn iter(&self) -> SpanEventsIter<'a> {
        SpanEventsIter { fields: self.fields.iter() }
    }

    /// How many there are. Walks the list, stepping over the contents.
    pub fn len(&self) -> usize {
        self.fields.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.iter().next().is_none()
    }
}

/// The links of a span, decoded as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct SpanLinks<'a> {
    fields: Fields<'a>,
}

impl<'a> SpanLinks<'a> {
    /// The links in the sender's order.
    pub fn iter(&self) -> SpanLinksIter<'a> {
        SpanLinksIter { fields: self.fields.iter() }
    }

    /// How many there are. Walks the list, stepping over the contents.
    pub fn len(&self) -> usize {
        self.fields.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.iter().next().is_none()
    }
}

impl Default for SpanEvents<'_> {
    #[inline]
    fn default() -> Self {
        SpanEvents { fields: Fields::EMPTY }
    }
}

impl Default for SpanLinks<'_> {
    #[inline]
    fn default() -> Self {
        SpanLinks { fields: Fields::EMPTY }
    }
}

impl<'a> IntoIterator for SpanEvents<'a> {
    type Item = SpanEvent<'a>;
    type IntoIter = SpanEventsIter<'a>;

    #[inline]
    fn into_iter(self) -> SpanEventsIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for SpanLinks<'a> {
    type Item = SpanLink<'a>;
    type IntoIter = SpanLinksIter<'a>;

    #[inline]
    fn into_iter(self) -> SpanLinksIter<'a> {
        self.iter()
    }
}

/// Iterates over [`SpanEvents`].
#[derive(Clone, Debug)]
pub struct SpanEventsIter<'a> {
    fields: FieldsIter<'a>,
}

impl<'a> Iterator for SpanEventsIter<'a> {
    type Item = SpanEvent<'a>;

    fn next(&mut self) -> Option<SpanEvent<'a>> {
        read_event(Reader::new(self.fields.next_message()?), Depth::ROOT).ok()
    }
}

/// Iterates over [`SpanLinks`].
#[derive(Clone, Debug)]
pub struct SpanLinksIter<'a> {
    fields: FieldsIter<'a>,
}

impl<'a> Iterator for SpanLinksIter<'a> {
    type Item = SpanLink<'a>;

    fn next(&mut self) -> Option<SpanLink<'a>> {
        read_link(Reader::new(self.fields.next_message()?), Depth::ROOT).ok()
    }
}
