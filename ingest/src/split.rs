//! Splitting: the records of one resource go to one partition, chosen by a hash of its attributes, so that one shard sees
//! all points of a cumulative series. A request is cut between resources and never inside one, and its bytes are copied
//! only when they have to be cut or tagged.
//!
//! Pure. The hash of a partition's part is taken over what the client sent, before tagging: its retry gives the same.

use std::sync::Arc;

use bytes::Bytes;
use shipwake_journal::{Header, Record};
use shipwake_model::Signal;
use shipwake_otlp::{ScanError, write};
use xxhash_rust::xxh3::Xxh3;

use crate::decode::{Decoded, Part};
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
}

/// A request as the journal takes it.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) records: Vec<Record>,
    /// Resources whose instance was guessed.
    pub(crate) instances_guessed: u64,
    /// Records of resources without any version.
    pub(crate) unversioned: u64,
}

/// Tags the parts of `request` and sorts them by partition. Parts without records are left out.
pub(crate) fn split(request: &Bytes, decoded: &Decoded<'_>, context: &Context<'_>) -> Result<Split, ScanError> {
    let mut split = Split::default();
    let mut parts = Vec::with_capacity(decoded.parts.len());
    for part in decoded.parts.iter().filter(|part| part.counts.records > 0) {
        let tag = tag(&part.resource.attributes, context.peer);
        split.instances_guessed += u64::from(tag.instance_guessed);
        split.unversioned += if tag.unversioned { part.counts.records } else { 0 };
        parts.push((partition_of(part, context.partitions), part, tag));
    }
    parts.sort_by_key(|(partition, ..)| *partition);

    let untouched = parts.windows(2).all(|pair| pair[0].0 == pair[1].0)
        && parts.iter().all(|(_, part, tag)| tag.resource.is_empty() && part.counts.rejected == 0);
    for group in parts.chunk_by(|a, b| a.0 == b.0) {
        let value = if untouched { request.clone() } else { framed(group, context.signal)? };
        let header = header(group, context);
        split.records.push(Record { partition: group[0].0, header, value });
    }
    Ok(split)
}

type Placed<'a, 'b> = (u32, &'b Part<'a>, Tag);

/// The order of attributes does not matter: some SDKs keep them in a hash map.
fn partition_of(part: &Part<'_>, partitions: u32) -> u32 {
    (part.resource.attributes.hash(0) % u64::from(partitions.max(1))) as u32
}

/// A request of these parts: the tag as a resource of its own in front of the client's bytes. Protobuf joins the two.
fn framed(group: &[Placed<'_, '_>], signal: Signal) -> Result<Bytes, ScanError> {
    // Key and length of two fields take at most 12 bytes.
    let bytes = group.iter().map(|(_, part, tag)| part.message.len() + tag.resource.len() + 12).sum();
    let mut value = Vec::with_capacity(bytes);
    let (mut head, mut kept) = (Vec::new(), Vec::new());
    for (_, part, tag) in group {
        head.clear();
        if !tag.resource.is_empty() {
            write::put_len_field(&mut head, ENTRY_RESOURCE, &tag.resource);
        }
        let message = usable(part, signal, &mut kept)?;
        write::put_len_header(&mut value, REQUEST_RESOURCES, head.len() + message.len());
        value.extend_from_slice(&head);
        value.extend_from_slice(message);
    }
    Ok(Bytes::from(value))
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

fn header(group: &[Placed<'_, '_>], context: &Context<'_>) -> Header {
    let times = group.iter().filter_map(|(_, part, _)| part.counts.times);
    let times = times.reduce(|(min, max), (first, last)| (min.min(first), max.max(last)));
    let request_hash = match context.repetition {
        Repetition::Never => None,
        Repetition::ByKey(key) => Some(key),
        Repetition::ByBytes => Some(hash(group, context)),
    };
    let (time_min_ns, time_max_ns) = times.unwrap_or((context.received_ns, context.received_ns));
    let records = group.iter().map(|(_, part, _)| part.counts.records).sum::<u64>();
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

fn hash(group: &[Placed<'_, '_>], context: &Context<'_>) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(context.tenant.as_bytes());
    hash.update(&[0, context.signal as u8]);
    for (_, part, _) in group {
        hash.update(&(part.message.len() as u64).to_le_bytes());
        hash.update(part.message);
    }
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
