//! Resources seen lately: the identity, release, slot and attributes of each, worked out once per resource instead of once
//! per request.
//!
//! A resource is recognised by the hash of its attributes. The cache may be emptied at any time; only speed depends on it.

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::release::{pod_template_hash, resolve};
use shipwake_model::slot::replicate_slot;
use shipwake_model::{ReleaseId, Source};
use shipwake_otlp::{KeyValues, Resource};
use xxhash_rust::xxh3::xxh3_64;

use crate::releases::Releases;

/// Resources are a few hundred bytes each. A sender with a new resource per request must not fill the memory.
const CACHED_MAX: usize = 16_384;
/// Command lines carry secrets and have no bound; OpenTelemetry's agents send them by default.
const NEVER_KEPT: [&[u8]; 3] = [b"process.command", b"process.command_args", b"process.command_line"];

/// What a shard knows about a resource.
#[derive(Debug)]
pub struct KnownResource {
    /// The release as it was sent: rows name it also where windows count it under an overflow release.
    pub id: ReleaseId,
    /// The instance, or empty.
    pub instance: Arc<str>,
    /// Number of the release in this shard, perhaps that of an overflow release.
    pub release: u32,
    /// Number of the service.
    pub service: u32,
    /// Replicate slot of the instance.
    pub slot: u8,
    /// Hash of all attributes.
    pub hash: u128,
    /// The attributes as text, each key once.
    pub attributes: Vec<(String, String)>,
    instance_hash: u64,
    instance_guessed: bool,
    /// Of the pod template that it comes from.
    template_hash: Option<Arc<str>>,
}

/// Resources by hash.
#[derive(Debug, Default)]
pub struct Resources {
    known: HashMap<u128, Arc<KnownResource>, ahash::RandomState>,
}

impl Resources {
    /// The resource, known or made known; its release takes note of the instance.
    pub fn find(&mut self, resource: &Resource<'_>, releases: &mut Releases, received_ns: i64) -> Arc<KnownResource> {
        let hash = resource.attributes.hash128(0);
        let known = match self.known.get(&hash) {
            Some(known) if !releases.get(known.release).removed => known.clone(),
            _ => self.learn(hash, &resource.attributes, releases, received_ns),
        };
        let release = releases.get_mut(known.release);
        release.received_ns = release.received_ns.max(received_ns);
        if !known.instance.is_empty() {
            release.has_instance(known.instance_hash, known.instance_guessed, received_ns);
        }
        known
    }

    /// Forgets everything, as when releases get new numbers.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    #[cold]
    fn learn(
        &mut self,
        hash: u128,
        attributes: &KeyValues<'_>,
        releases: &mut Releases,
        received_ns: i64,
    ) -> Arc<KnownResource> {
        let mut known = known_of(hash, attributes);
        known.release = releases.number(&known.id, received_ns);
        known.service = releases.get(known.release).service;
        if let Some(hash) = &known.template_hash {
            releases.get_mut(known.release).has_hash(hash);
        }
        let known = Arc::new(known);
        if self.known.len() >= CACHED_MAX {
            self.known.clear();
        }
        self.known.insert(hash, known.clone());
        known
    }
}

/// A resource that is talked about and need not run: it has no number among the releases, and nothing is remembered of it.
#[cold]
pub(crate) fn describe(resource: &Resource<'_>) -> Arc<KnownResource> {
    Arc::new(known_of(resource.attributes.hash128(0), &resource.attributes))
}

/// What the attributes say by themselves, without a number for the release.
fn known_of(hash: u128, attributes: &KeyValues<'_>) -> KnownResource {
    let attributes = texts(attributes);
    let get = |key: &str| attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let identity = resolve(get, None);
    let template_hash = pod_template_hash(get).map(Arc::from);
    KnownResource {
        release: u32::MAX,
        service: u32::MAX,
        slot: replicate_slot(&identity.instance),
        instance_hash: xxh3_64(identity.instance.as_bytes()),
        instance_guessed: identity.instance_guessed,
        template_hash,
        id: identity.release,
        instance: identity.instance,
        hash,
        attributes,
    }
}

impl KnownResource {
    /// Counts requests for the release.
    #[inline]
    pub fn requested(&self, releases: &mut Releases, source: Source, requests: u64) {
        releases.get_mut(self.release).requested(source, requests);
    }
}

/// The attributes as text; of a key that comes twice the first, which is the one `ingest` resolved.
fn texts(attributes: &KeyValues<'_>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut value = Vec::new();
    for attribute in attributes {
        if NEVER_KEPT.contains(&attribute.key) {
            continue;
        }
        let key = String::from_utf8_lossy(attribute.key);
        if out.iter().any(|(known, _)| *known == key) {
            continue;
        }
        value.clear();
        attribute.value.write_text(&mut value);
        out.push((key.into_owned(), String::from_utf8_lossy(&value).into_owned()));
    }
    out
}
