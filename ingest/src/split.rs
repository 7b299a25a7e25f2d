//! Splitting: the records of one resource go to one partition, chosen by a hash of its attributes, so that one shard sees
//! all points of a cumulative series. A request is cut between resources, and inside one only where the journal does not take
//! so much at once; its bytes are copied only when they have to be cut or tagged.
//!
//! Pure. The hash of a partition's part is taken over what the client sent, before tagging: its retry gives the same.

use std::sync::Arc;

use bytes::Bytes;
use shipwake_journal::{Header, Record};
use shipwake_model::Signal;
use shipwake_otlp::{ScanError, write};
use xxhash_rust::xxh3::Xxh3;

use crate::decode::{Counts, Decoded, Part};
use crate::sender::{Sender, Senders};
use crate::tag::{Tag, tag};

/// Field of a request that holds its resources, and field of those that holds the `Resource`.
const REQUEST_RESOURCES: u32 = 1;
const ENTRY_RESOURCE: u32 = 1;

/// How a repetition of a request is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// By the client's bytes, whether they hold times or not: the times that are given to records without one are ours.
    ByBytes,
    /// By a key that the client sent, or that stands for its bytes.
    ByKey(u128),
    /// Not at all.
    Never,
}

/// What is known about a request besides its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) tenant: &'a Arc<str>,
    pub(crate) signal: Signal,
    pub(crate) peer: Option<&'a str>,
    pub(crate) repetition: Repetition,
    pub(crate) received_ns: i64,
    pub(crate) partitions: u32,
    /// The largest value that the journal takes.
    pub(crate) value_bytes_max: usize,
}

/// A request as the journal takes it.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) records: Vec<Record>,
    /// Resources whose instance was guessed.
    pub(crate) instances_guessed: u64,
    /// Records of resources without any version.
    pub(crate) unversioned: u64,
    /// The languages of the SDKs that its resources name.
    pub(crate) senders: Senders,
}

/// Tags the parts of `request` and sorts them by partition. Parts without records are left out.
pub(crate) fn split(request: &Bytes, decoded: &Decoded<'_>, context: &Context<'_>) -> Result<Split, ScanError> {
    let mut split = Split::default();
    let mut parts = Vec::with_capacity(decoded.parts.len());
    for part in decoded.parts.iter().filter(|part| part.counts.records > 0) {
        let tag = tag(&part.resource.attributes, context.peer);
        split.instances_guessed += u64::from(tag.instance_guessed);
        split.unversioned += if tag.unversioned { part.counts.records } else { 0 };
        let language = part.resource.attributes.get("telemetry.sdk.language");
        if let Some(language) = language.as_ref().and_then(|language| language.as_bytes()) {
            split.senders = split.senders.with(Sender::of_language(language));
        }
        parts.push((partition_of(part, context.partitions), part, tag));
    }
    parts.sort_by_key(|(partition, ..)| *partition);

    let untouched = parts.windows(2).all(|pair| pair[0].0 == pair[1].0)
        && parts.iter().all(|(_, part, tag)| tag.resource.is_empty() && part.counts.rejected == 0);
    for group in parts.chunk_by(|a, b| a.0 == b.0) {
        let chunks = chunks(group, context)?;
        let whole = untouched && chunks.len() == 1 && request.len() <= context.value_bytes_max;
        for (at, chunk) in chunks.iter().enumerate() {
            let place = chunks.len() - 1 - at;
            let value = if whole { request.clone() } else { chunk.framed(context.signal)? };
            split.records.push(Record { partition: group[0].0, header: chunk.header(place, context), value });
        }
    }
    Ok(split)
}

type Placed<'a, 'b> = (u32, &'b Part<'a>, Tag);

/// What becomes one record of the journal.
enum Chunk<'g, 'a, 'b> {
    /// Whole resources.
    Whole(&'g [Placed<'a, 'b>]),
    /// A piece of one that is too large for one record.
    Piece { tag: &'g Tag, message: Vec<u8>, counts: Counts },
}

/// Key and length of two fields take at most so much.
const FRAME_BYTES: usize = 12;

/// Cuts what goes to one partition into what the journal takes at once: between resources, and inside one where it alone is
/// too large. A record that is too large by itself stays so, and the journal says that it is.
fn chunks<'g, 'a, 'b>(group: &'g [Placed<'a, 'b>], context: &Context<'_>) -> Result<Vec<Chunk<'g, 'a, 'b>>, ScanError> {
    let mut chunks = Vec::with_capacity(1);
    let (mut start, mut bytes) = (0, 0);
    for (at, (_, part, tag)) in group.iter().enumerate() {
        let size = part.message.len() + tag.resource.len() + FRAME_BYTES;
        let is_too_large = size > context.value_bytes_max;
        if (is_too_large || bytes + size > context.value_bytes_max) && start < at {
            chunks.push(Chunk::Whole(&group[start..at]));
            (start, bytes) = (at, 0);
        }
        if is_too_large {
            pieces(part, tag, context, &mut chunks)?;
            start = at + 1;
        } else {
            bytes += size;
        }
    }
    if start < group.len() {
        chunks.push(Chunk::Whole(&group[start..]));
    }
    Ok(chunks)
}

fn pieces<'g>(
    part: &Part<'_>,
    tag: &'g Tag,
    context: &Context<'_>,
    chunks: &mut Vec<Chunk<'g, '_, '_>>,
) -> Result<(), ScanError> {
    let mut kept = Vec::new();
    let message = usable(part, context.signal, &mut kept)?;
    let bytes_max = context.value_bytes_max.saturating_sub(tag.resource.len() + FRAME_BYTES);
    for message in shipwake_otlp::cut(message, bytes_max)? {
        let mut framed = Vec::with_capacity(message.len() + FRAME_BYTES);
        write::put_len_field(&mut framed, REQUEST_RESOURCES, &message);
        let decoded = crate::decode::decode(context.signal, &framed)?;
        let counts = decoded.parts.first().map(|part| part.counts).unwrap_or_default();
        if counts.records > 0 {
            chunks.push(Chunk::Piece { tag, message, counts });
        }
    }
    Ok(())
}

/// The order of attributes does not matter: some SDKs keep them in a hash map.
fn partition_of(part: &Part<'_>, partitions: u32) -> u32 {
    (part.resource.attributes.hash(0) % u64::from(partitions.max(1))) as u32
}

impl Chunk<'_, '_, '_> {
    /// A request of these parts: the tag as a resource of its own in front of the client's bytes. Protobuf joins the two.
    fn framed(&self, signal: Signal) -> Result<Bytes, ScanError> {
        let mut value = Vec::new();
        match self {
            Chunk::Piece { tag, message, .. } => frame(&mut value, tag, message),
            Chunk::Whole(group) => {
                let size = |(_, part, tag): &Placed<'_, '_>| part.message.len() + tag.resource.len() + FRAME_BYTES;
                value.reserve_exact(group.iter().map(size).sum());
                let mut kept = Vec::new();
                for (_, part, tag) in *group {
                    frame(&mut value, tag, usable(part, signal, &mut kept)?);
                }
            }
        }
        Ok(Bytes::from(value))
    }

    fn counts(&self) -> impl Iterator<Item = Counts> {
        let (whole, piece) = match self {
            Chunk::Whole(group) => (*group, None),
            Chunk::Piece { counts, .. } => (&[][..], Some(*counts)),
        };
        whole.iter().map(|(_, part, _)| part.counts).chain(piece)
    }

    /// `place` tells the chunks of one partition apart, which may carry the same key. The last one is 0 and carries the key
    /// as it is: when it is there, all of them are.
    fn header(&self, place: usize, context: &Context<'_>) -> Header {
        let times = self.counts().filter_map(|counts| counts.times);
        let times = times.reduce(|(min, max), (first, last)| (min.min(first), max.max(last)));
        let request_hash = match context.repetition {
            Repetition::Never => None,
            Repetition::ByKey(key) => Some(if place == 0 { key } else { hash_of_place(key, place) }),
            Repetition::ByBytes => Some(self.hash(context)),
        };
        let (time_min_ns, time_max_ns) = times.unwrap_or((context.received_ns, context.received_ns));
        let records = self.counts().map(|counts| counts.records).sum::<u64>();
        Header {
            tenant: context.tenant.clone(),
            signal: context.signal,
            received_ns: context.received_ns,
            // A record takes two bytes at least, and a request is far smaller than 8 GiB.
            records: u32::try_from(records).expect("fewer records than bytes"),
            time_min_ns,
            time_max_ns,
            request_hash,
        }
    }

    fn hash(&self, context: &Context<'_>) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(context.tenant.as_bytes());
        hash.update(&[0, context.signal as u8]);
        let mut add = |message: &[u8]| {
            hash.update(&(message.len() as u64).to_le_bytes());
            hash.update(message);
        };
        match self {
            Chunk::Whole(group) => group.iter().for_each(|(_, part, _)| add(part.message)),
            Chunk::Piece { message, .. } => add(message),
        }
        hash.digest128()
    }
}

fn frame(value: &mut Vec<u8>, tag: &Tag, message: &[u8]) {
    let head = if tag.resource.is_empty() { 0 } else { write::len_field_size(ENTRY_RESOURCE, tag.resource.len()) };
    write::put_len_header(value, REQUEST_RESOURCES, head + message.len());
    if !tag.resource.is_empty() {
        write::put_len_field(value, ENTRY_RESOURCE, &tag.resource);
    }
    value.extend_from_slice(message);
}

/// The part's bytes without the points that are rejected.
fn usable<'k>(part: &'k Part<'_>, signal: Signal, kept: &'k mut Vec<u8>) -> Result<&'k [u8], ScanError> {
    if part.counts.rejected == 0 || signal != Signal::Metrics {
        return Ok(part.message);
    }
    kept.clear();
    shipwake_otlp::retain_points(part.message, kept, |metric, point| crate::decode::fault(metric, point).is_none())?;
    Ok(kept)
}

/// The key of a further part of a request that carries one key.
fn hash_of_place(key: u128, place: usize) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&key.to_le_bytes());
    hash.update(&(place as u64).to_le_bytes());
    hash.digest128()
}

/// The key of a request that carries an idempotency key: the same key on another route or signal is another request.
pub(crate) fn hash_of_key(tenant: &str, route: &str, key: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    for field in [tenant.as_bytes(), route.as_bytes(), key] {
        hash.update(&(field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    hash.digest128()
}

#[cfg(test)]
mod tests;
