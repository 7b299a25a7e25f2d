//! Tagging: which release the records of a resource belong to. `shipwake_model::release` decides; this file puts what was
//! found in fall-backs, or guessed from the peer's address, in front of the resource as canonical attributes, so that
//! every reader of the journal finds the same release without knowing who sent it.
//!
//! Pure. A resource that says everything itself gets no tag, and its bytes are never touched. What cannot be resolved is
//! not written down either: a reader that applies the same rules comes to `unversioned` by itself.

use shipwake_model::release::{
    DEPLOYMENT_ENVIRONMENT, INSTANCE_GUESSED, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION,
    UNKNOWN_SERVICE, resolve,
};
use shipwake_model::{UNVERSIONED, release};
use shipwake_otlp::{AnyValue, KeyValues, write};

/// Field of a `Resource` that holds its attributes.
const RESOURCE_ATTRIBUTES: u32 = 1;

/// What is put in front of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The content of a `Resource` message with the canonical attributes; empty when nothing has to be said.
    pub(crate) resource: Vec<u8>,
    /// Whether the instance was guessed.
    pub(crate) instance_guessed: bool,
    /// Whether no version could be found.
    pub(crate) unversioned: bool,
}

/// The tag of a resource. `peer` is the address of the sender.
pub(crate) fn tag(attributes: &KeyValues<'_>, peer: Option<&str>) -> Tag {
    if says_everything(attributes) {
        return Tag::default();
    }
    let text = |name: &str| attributes.get(name).and_then(text_of);
    let identity = resolve(text, peer);
    let found = &identity.release;
    let mut resource = Vec::new();
    let mut put = |name: &str, value: &str, nothing: &str| {
        let stated = text(name).is_some_and(|stated| !stated.trim().is_empty());
        if !stated && value != nothing {
            write::key_value_string(&mut resource, RESOURCE_ATTRIBUTES, name, value);
        }
    };
    put(SERVICE_NAME, &found.service, UNKNOWN_SERVICE);
    put(SERVICE_NAMESPACE, &found.namespace, "");
    put(SERVICE_VERSION, &found.version, UNVERSIONED);
    put(DEPLOYMENT_ENVIRONMENT, &found.environment, release::DEFAULT_ENVIRONMENT);
    put(SERVICE_INSTANCE_ID, &identity.instance, "");
    let guessed = identity.instance_guessed && !identity.instance.is_empty();
    if guessed {
        put(INSTANCE_GUESSED, "true", "");
    }
    Tag { resource, instance_guessed: guessed, unversioned: &*found.version == UNVERSIONED }
}

/// Whether the resource carries every canonical attribute itself: the usual case, told without allocating.
fn says_everything(attributes: &KeyValues<'_>) -> bool {
    let (mut service, mut version, mut environment, mut instance) = (false, false, false, false);
    let (mut namespace, mut namespace_fallback) = (false, false);
    for attribute in attributes {
        let stated = attribute.value.as_bytes().is_some_and(|text| !text.trim_ascii().is_empty());
        match attribute.key {
            b"service.name" => service |= stated,
            b"service.version" => version |= stated,
            b"deployment.environment.name" => environment |= stated,
            b"service.instance.id" => instance |= stated,
            b"service.namespace" => namespace |= stated,
            b"k8s.namespace.name" => namespace_fallback |= stated,
            // Said by somebody who tagged before us, and the answer is remembered with the tag.
            b"shipwake.instance.guessed" => return false,
            _ => {}
        }
    }
    service && version && environment && instance && (namespace || !namespace_fallback)
}

fn text_of(value: AnyValue<'_>) -> Option<String> {
    if value.is_empty() {
        return None;
    }
    let mut text = Vec::new();
    value.write_text(&mut text);
    Some(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use shipwake_otlp::resources;

    use super::*;

    /// The attributes of a tag, as `name=value` texts.
    fn tagged(attributes: &[(&str, &str)], peer: Option<&str>) -> Vec<String> {
        let mut resource = Vec::new();
        for (name, value) in attributes {
            write::key_value_string(&mut resource, 1, name, value);
        }
        let request = request_with(&resource);
        let found = resources(&request).next().expect("one").expect("valid");
        let tag = tag(&found.resource.attributes, peer);
        let request = request_with(&tag.resource);
        let found = resources(&request).next().expect("one").expect("valid");
        let text = |value| text_of(value).unwrap_or_default();
        found
            .resource
            .attributes
            .iter()
            .map(|attribute| format!("{}={}", String::from_utf8_lossy(attribute.key), text(attribute.value)))
            .collect()
    }

    fn request_with(resource: &[u8]) -> Vec<u8> {
        let (mut entry, mut request) = (Vec::new(), Vec::new());
        write::put_len_field(&mut entry, 1, resource);
        write::put_len_field(&mut request, 1, &entry);
        request
    }

    const CANONICAL: [(&str, &str); 4] = [
        ("service.name", "checkout"),
        ("service.version", "2.14.0"),
        ("deployment.environment.name", "prod"),
        ("service.instance.id", "i-1"),
    ];

    #[test]
    fn a_resource_that_says_everything_gets_no_tag() {
        assert!(tagged(&CANONICAL, Some("10.0.0.1")).is_empty());
    }

    #[test]
    fn only_what_is_missing_is_added() {
        assert_eq!(
            tagged(&CANONICAL[..3], Some("10.0.0.1")),
            ["service.instance.id=10.0.0.1", "shipwake.instance.guessed=true"]
        );
        let with_namespace = [&CANONICAL[..], &[("k8s.namespace.name", "shop")]].concat();
        assert_eq!(tagged(&with_namespace, None), ["service.namespace=shop"]);
    }

    #[test]
    fn fallbacks_become_canonical() {
        let attributes = [
            ("k8s.deployment.name", "cart"),
            ("service.name", "  "),
            ("k8s.pod.label.app.kubernetes.io/version", "7"),
            ("deployment.environment", "staging"),
            ("k8s.pod.name", "cart-1"),
        ];
        assert_eq!(
            tagged(&attributes, Some("10.0.0.1")),
            [
                "service.name=cart",
                "service.version=7",
                "deployment.environment.name=staging",
                "service.instance.id=cart-1",
                "shipwake.instance.guessed=true"
            ]
        );
    }

    #[test]
    fn what_cannot_be_resolved_is_not_invented() {
        assert!(tagged(&[], None).is_empty());
        assert!(tag(&KeyValues::EMPTY, None).unversioned);
    }
}
