//! The two outer levels of every export request, which all signals share: resources and scopes.
//!
//! A request is a list of `ResourceLogs`, `ResourceMetrics` or `ResourceSpans`; each has a resource in field 1, a list of
//! `Scope…` in field 2 and a schema URL in field 3; a `Scope…` has the same shape, with the records in field 2. The
//! resource and the scope may stand behind their records, or in several pieces, and still reach the sink first and whole:
//! each level is walked once for its head, stepping over the list by lengths, and then for its list.

use crate::ScanError;
use crate::attributes::KeyValues;
use crate::check;
use crate::fields::Seen;
use crate::wire::{Depth, LEN, Reader, VARINT, key};

/// The only field of a request, the head of a level, its list, and its schema URL.
const REQUEST_RESOURCES: u64 = key(1, LEN);
const LEVEL_HEAD: u64 = key(1, LEN);
const LEVEL_LIST: u64 = key(2, LEN);
const LEVEL_SCHEMA_URL: u64 = key(3, LEN);
const LEVEL_KNOWN: u32 = 0b1110;

/// What sent the records: all occurrences of the `resource` field taken together, as protobuf merges them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resource<'a> {
    /// The attributes of all occurrences in the order in which they stand in the message.
    pub attributes: KeyValues<'a>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// The schema that the resource follows, or empty.
    pub schema_url: &'a [u8],
}

/// Which instrumentation made the records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// Name of the library, or empty.
    pub name: &'a [u8],
    /// Version of the library, or empty.
    pub version: &'a [u8],
    /// Attributes of the scope.
    pub attributes: KeyValues<'a>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// The schema that the records follow, or empty.
    pub schema_url: &'a [u8],
}

/// One entry of a request, undecoded but for its resource.
#[derive(Clone, Copy, Debug)]
pub struct RawResource<'a> {
    /// The content of the `ResourceLogs`, `ResourceMetrics` or `ResourceSpans`: a request that holds only this entry is
    /// `write::put_len_field(out, 1, message)`.
    pub message: &'a [u8],
    /// The resource.
    pub resource: Resource<'a>,
}

/// The entries of an export request of any signal. Resources are checked to the end; what is inside the scopes is not.
/// After an error the iteration ends.
pub fn resources(request: &[u8]) -> Resources<'_> {
    Resources { rest: Reader::new(request) }
}

/// Iterates over the entries of a request; see [`resources`].
#[derive(Clone, Debug)]
pub struct Resources<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for Resources<'a> {
    type Item = Result<RawResource<'a>, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = next_resource(&mut self.rest).transpose()?;
        if found.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(found.and_then(|(message, depth)| {
            let resource = read_resource(message, depth)?;
            Ok(RawResource { message: message.rest(), resource })
        }))
    }
}

/// Walks a request: resources and scopes go to their callbacks, each record of a scope as a reader on its content.
pub(crate) fn walk<'a, S>(
    request: &'a [u8],
    sink: &mut S,
    on_resource: impl Fn(&mut S, &Resource<'a>),
    on_scope: impl Fn(&mut S, &Scope<'a>),
    on_record: impl Fn(&mut S, Reader<'a>, Depth) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let mut r = Reader::new(request);
    while let Some((resource, depth)) = next_resource(&mut r)? {
        on_resource(sink, &read_resource(resource, depth)?);
        let mut scopes = resource;
        while let Some((scope, depth)) = next_of_list(&mut scopes, depth)? {
            on_scope(sink, &read_scope(scope, depth)?);
            let mut records = scope;
            while let Some((record, depth)) = next_of_list(&mut records, depth)? {
                on_record(sink, record, depth)?;
            }
        }
    }
    Ok(())
}

fn next_resource<'a>(r: &mut Reader<'a>) -> Result<Option<(Reader<'a>, Depth)>, ScanError> {
    while !r.is_at_end() {
        let at = *r;
        match r.key()? {
            REQUEST_RESOURCES => return Ok(Some((r.message()?, Depth::ROOT.enter(at)?))),
            other => r.unknown(other, at, 0b10, Depth::ROOT)?,
        }
    }
    Ok(None)
}

/// The next element of a level's list; the level's other fields were read before.
#[inline(always)]
fn next_of_list<'a>(r: &mut Reader<'a>, depth: Depth) -> Result<Option<(Reader<'a>, Depth)>, ScanError> {
    while !r.is_at_end() {
        let at = *r;
        match r.key()? {
            LEVEL_LIST => return Ok(Some((r.message()?, depth.enter(at)?))),
            other => r.skip(other, at, depth)?,
        }
    }
    Ok(None)
}

/// Reads the head of a `ResourceLogs` or its like, which `r` stands at the beginning of.
fn read_resource<'a>(r: Reader<'a>, depth: Depth) -> Result<Resource<'a>, ScanError> {
    let mut resource = Resource::default();
    let mut seen = Seen::default();
    resource.schema_url = read_level(r, depth, &mut seen, |head, depth| resource_fields(head, depth, &mut resource))?;
    resource.attributes = KeyValues::new(seen.inner_fields(1, 1));
    Ok(resource)
}

fn resource_fields(mut r: Reader<'_>, depth: Depth, resource: &mut Resource<'_>) -> Result<(), ScanError> {
    const ATTRIBUTES: u64 = key(1, LEN);
    const DROPPED: u64 = key(2, VARINT);
    const ENTITY_REFS: u64 = key(3, LEN);
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            ATTRIBUTES => check::key_value(r.message()?, depth.enter(at)?)?,
            DROPPED => resource.dropped_attributes_count = r.varint()? as u32,
            ENTITY_REFS => check::entity_ref(r.message()?, depth.enter(at)?)?,
            other => r.unknown(other, at, 0b1110, depth)?,
        }
    }
    Ok(())
}

/// Reads the head of a `ScopeLogs` or its like, which `r` stands at the beginning of.
fn read_scope<'a>(r: Reader<'a>, depth: Depth) -> Result<Scope<'a>, ScanError> {
    let mut scope = Scope::default();
    let mut seen = Seen::default();
    scope.schema_url = read_level(r, depth, &mut seen, |head, depth| scope_fields(head, depth, &mut scope))?;
    scope.attributes = KeyValues::new(seen.inner_fields(1, 3));
    Ok(scope)
}

fn scope_fields<'a>(mut r: Reader<'a>, depth: Depth, scope: &mut Scope<'a>) -> Result<(), ScanError> {
    const NAME: u64 = key(1, LEN);
    const VERSION: u64 = key(2, LEN);
    const ATTRIBUTES: u64 = key(3, LEN);
    const DROPPED: u64 = key(4, VARINT);
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            NAME => scope.name = r.bytes()?,
            VERSION => scope.version = r.bytes()?,
            ATTRIBUTES => check::key_value(r.message()?, depth.enter(at)?)?,
            DROPPED => scope.dropped_attributes_count = r.varint()? as u32,
            other => r.unknown(other, at, 0b1_1110, depth)?,
        }
    }
    Ok(())
}

/// Walks one level for its head, all occurrences of it, and gives the schema URL. The list is stepped over.
fn read_level<'a>(
    mut r: Reader<'a>,
    depth: Depth,
    seen: &mut Seen<'a>,
    mut on_head: impl FnMut(Reader<'a>, Depth) -> Result<(), ScanError>,
) -> Result<&'a [u8], ScanError> {
    let mut schema_url: &[u8] = &[];
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            LEVEL_LIST => drop(r.bytes()?),
            LEVEL_HEAD => {
                let head = r.message()?;
                on_head(head, depth.enter(at)?)?;
                seen.note(at, head.rest(), r);
            }
            LEVEL_SCHEMA_URL => schema_url = r.bytes()?,
            other => r.unknown(other, at, LEVEL_KNOWN, depth)?,
        }
    }
    Ok(schema_url)
}
