//! Which release a record belongs to: service, namespace, environment and version, read from resource attributes.
//!
//! `ingest` tags with these rules what senders push; `aggregate` applies the same rules to records that a Collector wrote
//! straight to Kafka. The rules are pure: the caller gives a look-up of one attribute as text.
//! Order of the version's fall-backs: OpenTelemetry's specification for Kubernetes attributes, then commit and pod template.

use std::fmt;
use std::sync::Arc;

/// The version of a record whose resource names none. Never null, never dropped.
pub const UNVERSIONED: &str = "unversioned";
/// Version of the releases beyond the bound of their service, and service beyond the bound of services: many, not one.
pub const OVERFLOW: &str = "__overflow__";
/// The service of a resource that names none, as the OpenTelemetry SDKs spell it.
pub const UNKNOWN_SERVICE: &str = "unknown_service";
/// The environment of a resource that names none.
pub const DEFAULT_ENVIRONMENT: &str = "default";
/// Identity texts are cut to this many bytes (at a character): a longer one is a mistake, and every series repeats it.
pub const IDENTITY_BYTES_MAX: usize = 256;

/// Canonical resource attribute of the service.
pub const SERVICE_NAME: &str = "service.name";
/// Canonical resource attribute of the namespace.
pub const SERVICE_NAMESPACE: &str = "service.namespace";
/// Canonical resource attribute of the version.
pub const SERVICE_VERSION: &str = "service.version";
/// Canonical resource attribute of the instance.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// Canonical resource attribute of the environment.
pub const DEPLOYMENT_ENVIRONMENT: &str = "deployment.environment.name";
/// Attribute that `ingest` adds when the instance was guessed from the host or the peer address.
pub const INSTANCE_GUESSED: &str = "shipwake.instance.guessed";

const SERVICE_FALLBACKS: [&str; 4] =
    ["k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.container.name"];
const VERSION_FALLBACKS: [&str; 3] = [
    "k8s.pod.annotation.resource.opentelemetry.io/service.version",
    "k8s.pod.label.app.kubernetes.io/version",
    "k8s.pod.labels.app.kubernetes.io/version",
];
const REVISION_FALLBACKS: [&str; 4] = [
    "vcs.ref.head.revision",
    "k8s.pod.label.pod-template-hash",
    "k8s.pod.labels.pod-template-hash",
    "k8s.replicaset.name",
];
const TEMPLATE_HASH_LABELS: [&str; 4] = [
    "k8s.pod.label.rollouts-pod-template-hash",
    "k8s.pod.labels.rollouts-pod-template-hash",
    "k8s.pod.label.pod-template-hash",
    "k8s.pod.labels.pod-template-hash",
];

/// A release: what a rollout brings into an environment. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseId {
    /// `service.name`.
    pub service: Arc<str>,
    /// `service.namespace`, or empty.
    pub namespace: Arc<str>,
    /// `deployment.environment.name`, or [`DEFAULT_ENVIRONMENT`].
    pub environment: Arc<str>,
    /// `service.version`, or [`UNVERSIONED`].
    pub version: Arc<str>,
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({})", self.service, self.version, self.environment)
    }
}

/// What a resource says about itself: its release and which instance of it this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The release.
    pub release: ReleaseId,
    /// The instance, or empty when neither the resource nor the caller knows one.
    pub instance: Arc<str>,
    /// Whether the instance was guessed from the host, the process or the peer address.
    pub instance_guessed: bool,
    /// Whether the version came from a fall-back attribute, or is [`UNVERSIONED`].
    pub version_from_fallback: bool,
}

/// Reads the identity from resource attributes.
///
/// `attribute` gives the text of an attribute, or `None`; empty text counts as absent. `peer` is the sender's address,
/// used as the instance of last resort.
pub fn resolve(attribute: impl Fn(&str) -> Option<String>, peer: Option<&str>) -> Identity {
    let get = |name: &str| attribute(name).map(|text| bounded(text.trim())).filter(|text| !text.is_empty());
    let first = |names: &[&str]| names.iter().find_map(|name| get(name));

    let service = get(SERVICE_NAME).or_else(|| first(&SERVICE_FALLBACKS));
    let namespace = get(SERVICE_NAMESPACE).or_else(|| get("k8s.namespace.name"));
    let environment = get(DEPLOYMENT_ENVIRONMENT).or_else(|| get("deployment.environment"));
    let version = get(SERVICE_VERSION);
    let version_from_fallback = version.is_none();
    let version = version
        .or_else(|| first(&VERSION_FALLBACKS))
        .or_else(|| image_version(&get))
        .or_else(|| first(&REVISION_FALLBACKS));
    let stated = get(SERVICE_INSTANCE_ID);
    let instance_guessed = stated.is_none() || get(INSTANCE_GUESSED).is_some();
    let instance = stated.or_else(|| guessed_instance(&get)).or_else(|| peer.map(bounded));

    Identity {
        release: ReleaseId {
            service: service.as_deref().unwrap_or(UNKNOWN_SERVICE).into(),
            namespace: namespace.as_deref().unwrap_or("").into(),
            environment: environment.as_deref().unwrap_or(DEFAULT_ENVIRONMENT).into(),
            version: version.as_deref().unwrap_or(UNVERSIONED).into(),
        },
        instance: instance.as_deref().unwrap_or("").into(),
        instance_guessed,
        version_from_fallback,
    }
}

/// The hash of the pod template that a resource comes from: the name by which rollout tools that know no versions tell the two sides of a
/// release apart. From the pod's labels, else from the name of its replica set or of the pod, which end in it.
pub fn pod_template_hash(attribute: impl Fn(&str) -> Option<String>) -> Option<String> {
    let get = |name: &str| attribute(name).map(|text| bounded(text.trim())).filter(|text| !text.is_empty());
    let label = || TEMPLATE_HASH_LABELS.iter().find_map(|name| get(name));
    let of_set = || get("k8s.replicaset.name").and_then(|name| last_part(&name).map(|(_, hash)| hash.to_owned()));
    let of_pod = || {
        let pod = get("k8s.pod.name")?;
        let (set, random) = last_part(&pod)?;
        let (_, hash) = last_part(set)?;
        (random.len() == 5).then(|| hash.to_owned())
    };
    label().or_else(of_set).or_else(of_pod)
}

/// What stands before and behind the last hyphen, where the latter is of the letters and digits that Kubernetes makes hashes of: no vowels,
/// and nothing that looks like one.
fn last_part(name: &str) -> Option<(&str, &str)> {
    let (before, last) = name.rsplit_once('-')?;
    let is_hash =
        (5..=10).contains(&last.len()) && last.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte));
    is_hash.then_some((before, last))
}

/// `<tag>@<digest>`, else the digest, else the tag of the container image. `latest` says nothing and is passed over.
fn image_version(get: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let list_item = |text: String| text.trim_matches(['[', ']', '"', ' ']).split("\",").next().map(str::to_owned);
    let tag = get("container.image.tags")
        .and_then(list_item)
        .or_else(|| get("container.image.tag"))
        .filter(|tag| !tag.is_empty() && tag != "latest");
    let digest = get("container.image.repo_digests")
        .and_then(list_item)
        .and_then(|text| text.split_once('@').map(|(_, digest)| digest.to_owned()))
        .filter(|digest| !digest.is_empty());
    match (tag, digest) {
        (Some(tag), Some(digest)) => Some(bounded(&format!("{tag}@{digest}"))),
        (tag, digest) => digest.or(tag),
    }
}

fn guessed_instance(get: &impl Fn(&str) -> Option<String>) -> Option<String> {
    if let Some(pod) = get("k8s.pod.name") {
        return Some(pod);
    }
    let host = get("host.name")?;
    Some(match get("process.pid") {
        Some(pid) => bounded(&format!("{host}:{pid}")),
        None => host,
    })
}

/// The text, cut to [`IDENTITY_BYTES_MAX`] at a character boundary.
pub fn bounded(text: &str) -> String {
    if text.len() <= IDENTITY_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=IDENTITY_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(attributes: &[(&str, &str)], peer: Option<&str>) -> Identity {
        resolve(|name| attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()), peer)
    }

    #[test]
    fn canonical_attributes_win_over_fallbacks() {
        let found = identity(
            &[
                ("service.name", "checkout"),
                ("service.version", "2.14.0"),
                ("deployment.environment", "old"),
                ("deployment.environment.name", "prod"),
                ("k8s.pod.label.app.kubernetes.io/version", "9"),
                ("service.instance.id", "i-1"),
            ],
            Some("10.0.0.1"),
        );
        assert_eq!(&*found.release.service, "checkout");
        assert_eq!(&*found.release.version, "2.14.0");
        assert_eq!(&*found.release.environment, "prod");
        assert_eq!(&*found.instance, "i-1");
        assert!(!found.instance_guessed && !found.version_from_fallback);
    }

    #[test]
    fn version_falls_back_in_the_order_of_the_specification() {
        let check = |attributes: &[(&str, &str)], expected: &str| {
            assert_eq!(&*identity(attributes, None).release.version, expected, "{attributes:?}");
        };
        check(&[], UNVERSIONED);
        check(&[("service.version", "  ")], UNVERSIONED);
        check(&[("container.image.tags", "[\"1.2\",\"latest\"]")], "1.2");
        check(&[("container.image.tag", "latest")], UNVERSIONED);
        check(
            &[("container.image.tag", "1.2"), ("container.image.repo_digests", "[\"r/app@sha256:ab\"]")],
            "1.2@sha256:ab",
        );
        check(&[("vcs.ref.head.revision", "abc"), ("k8s.replicaset.name", "rs-1")], "abc");
    }

    #[test]
    fn the_hash_of_the_pod_template_is_read_from_labels_and_names() {
        let check = |attributes: &[(&str, &str)], expected: Option<&str>| {
            let get =
                |name: &str| attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(pod_template_hash(get).as_deref(), expected, "{attributes:?}");
        };
        check(&[], None);
        check(
            &[("k8s.pod.label.pod-template-hash", "7d9f8c6b5"), ("k8s.replicaset.name", "shop-5c6b")],
            Some("7d9f8c6b5"),
        );
        check(
            &[("k8s.pod.labels.pod-template-hash", "a"), ("k8s.pod.label.rollouts-pod-template-hash", "6b8f9d7c54")],
            Some("6b8f9d7c54"),
        );
        check(&[("k8s.replicaset.name", "shop-api-7d9f8c6b5d")], Some("7d9f8c6b5d"));
        check(&[("k8s.pod.name", "shop-api-7d9f8c6b5d-x2k9z")], Some("7d9f8c6b5d"));
        // A stateful set counts its pods, and a job's pods have one random part.
        check(&[("k8s.pod.name", "kafka-2")], None);
        check(&[("k8s.pod.name", "nightly-report-x2k9z")], None);
        check(&[("k8s.replicaset.name", "checkout")], None);
    }

    #[test]
    fn instance_is_guessed_from_pod_host_or_peer() {
        assert_eq!(&*identity(&[("k8s.pod.name", "p")], Some("peer")).instance, "p");
        assert_eq!(&*identity(&[("host.name", "h"), ("process.pid", "7")], None).instance, "h:7");
        let peer = identity(&[], Some("127.0.0.1"));
        assert_eq!(&*peer.instance, "127.0.0.1");
        assert!(peer.instance_guessed);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let cut = bounded(&"é".repeat(300));
        assert_eq!(cut.len(), 256);
    }
}
